"""What the architectures have in common: the usual answers of the contract, and the check of a dropout."""

from __future__ import annotations

from abc import ABC, abstractmethod

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


def check_dropout(dropout: float, what: str) -> None:
    """Refuse a share that cannot be dropped.

    Raises:
        ConfigurationError: If it is not in [0, 1); `what` says whose it is.
    """
    if not 0.0 <= dropout < 1.0:
        raise ConfigurationError(f"The dropout of {what} must be in [0, 1), but is {dropout}.")
