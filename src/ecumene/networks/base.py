"""What the architectures have in common: the usual answers of the contract, and checks of widths and dropout."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from ecumene.core.errors import ConfigurationError


class BaseNetwork(nn.Module, ABC):
    """A network of images that needs no context, see `contract.Network`; others state what is different.

    Subclasses set `feature_channels` and define `forward_features`; they define `forward` as well where the output
    alone is cheaper.
    """

    temporal: bool = False
    stride: int = 1
    margin: int = 0
    feature_channels: int

    def forward(self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None) -> Tensor:
        """Return the raw outputs of `forward_features`."""
        return self.forward_features(x, dates, valid)[0]

    @abstractmethod
    def forward_features(
        self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return (raw outputs `[B, n_outputs, H, W]` or `[B, n_outputs]`, features `[B, F, H, W]` or `[B, F]`)."""

    def forward_parts(
        self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None
    ) -> tuple[Tensor, tuple[tuple[Tensor, int], ...]]:
        """Return (raw outputs, features as (part, pixels on a side of its cells), each on its own grid).

        The parts, brought to the image's grid and put together, are the features of `forward_features`. Networks whose
        features are of several grids return them apart, because a score need not be computed a pixel for cells of
        several.
        """
        output, features = self.forward_features(x, dates, valid)
        return output, ((features, 1),)


def check_widths(widths: Sequence[int], what: str, *, count: int | None = None, multiple: int = 1) -> tuple[int, ...]:
    """Return the widths of levels as a tuple.

    Args:
        widths: As given.
        what: Whose they are.
        count: How many there must be; None: one or more.
        multiple: Of which each must be a positive multiple.

    Raises:
        ConfigurationError: If that is not so.
    """
    given = tuple(widths)
    whole = all(isinstance(w, int) and not isinstance(w, bool) and w >= 1 and w % multiple == 0 for w in given)
    if not given or not whole or (count is not None and len(given) != count):
        number = "one or more" if count is None else str(count)
        kind = "positive widths" if multiple == 1 else f"widths, each a positive multiple of {multiple}"
        raise ConfigurationError(f"{what} needs {number} {kind}, one a level, but got {list(given)}.")
    return given


def check_dropout(dropout: float, what: str) -> None:
    """Refuse a share that cannot be dropped.

    Raises:
        ConfigurationError: If it is not in [0, 1); `what` says whose it is.
    """
    if not 0.0 <= dropout < 1.0:
        raise ConfigurationError(f"The dropout of {what} must be in [0, 1), but is {dropout}.")
