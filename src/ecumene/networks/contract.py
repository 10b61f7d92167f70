"""What a network is, and the registry that rebuilds one from a bundle's JSON.

Modules in this room import torch at module level; so nothing outside of `networks`, `training` and
torch execution imports them at start-up. `networks/__init__.py` itself stays free of torch: it maps
names to module paths and imports late.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Network(Protocol):
    """A pixel network: normalised units in, raw outputs and features out.

    Image networks take `x` `[B, C, H, W]`; series networks `x` `[B, T, C, H, W]` with `dates`
    `[B, T]` (days since 1970-01-01, float) and `valid` `[B, T, H, W]` (bool). Invalid pixels are 0 in `x`.

    Attributes:
        temporal: True for series networks.
        stride: H and W must be multiples of it (1 for per-pixel networks).
        margin: Pixels at a window's border whose output lacks context (half the useful receptive
            field; 0 for per-pixel networks).
        feature_channels: Channels F of the features.
    """

    temporal: bool
    stride: int
    margin: int
    feature_channels: int

    def forward(self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None) -> Tensor:
        """Return raw outputs `[B, n_outputs, H, W]`."""

    def forward_features(
        self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return (raw outputs `[B, n_outputs, H, W]`, features `[B, F, H, W]`) for outlier scores."""


Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(raw output `[B, K, H, W]`, target, valid) to the mean loss of one member."""


@runtime_checkable
class OwnLoss(Protocol):
    """A network that says itself how it is trained: its members see different samples, or it weighs losses itself."""

    def training_loss(self, loss: Loss, x: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Return the loss of a batch in normalised units."""


@runtime_checkable
class DateAttention(Protocol):
    """A network of series that weighs the dates of a pixel."""

    def position(self, dates: Tensor) -> Tensor:
        """Return the encoding `[B, T, D]` of dates `[B, T]` (days since 1970-01-01)."""

    def attend(self, x: Tensor, position: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Return (hidden layer `[B, P, H]`, attention `[B, P, heads, T]`) of pixels `x` `[B, P, T, C]`.

        Args:
            x: In normalised units.
            position: `[B, 1, T, D]`.
            valid: bool `[B, P, T]`.
        """


@runtime_checkable
class ClassAttention(Protocol):
    """A network of whole images that has a map of each class itself."""

    def class_attention(self, x: Tensor) -> Tensor:
        """Return the maps `[B, K, h, w]` of `x` `[B, C, H, W]` in normalised units."""
