"""A multi-layer perceptron on the bands of one pixel."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ecumene.core.errors import ConfigurationError
from ecumene.networks.base import BaseNetwork
from ecumene.networks.projection import FixedProjection


class PixelMLP(BaseNetwork):
    """Fully connected layers on every pixel by itself, written as 1x1 convolutions.

    Each hidden layer is a 1x1 convolution without bias, batch normalisation and ReLU. Number of weights for
    hidden widths `h1..hn`, C bands and K outputs: `C h1 + 2 h1 + h1 h2 + 2 h2 + ... + hn K + K`.

    Args:
        in_channels: Bands.
        n_outputs: Output channels.
        hidden: Widths of the hidden layers.
        dropout: Share of the last hidden units dropped while training.

    Raises:
        ConfigurationError: If an argument is out of range.
    """

    def __init__(
        self, in_channels: int, n_outputs: int, hidden: Sequence[int] = (128, 128, 64), dropout: float = 0.1
    ) -> None:
        super().__init__()
        if not hidden or min(hidden) < 1 or not 0.0 <= dropout < 1.0:
            raise ConfigurationError(
                f"mlp needs positive hidden widths and a dropout in [0, 1), but got {list(hidden)} and {dropout}."
            )
        layers: list[nn.Module] = []
        for before, after in zip((in_channels, *hidden[:-1]), hidden, strict=True):
            layers += [nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
        self.body = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Conv2d(hidden[-1], n_outputs, 1)
        self.projection = FixedProjection(hidden[-1], 32)
        self.feature_channels = self.projection.out_channels

    def forward(self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None) -> Tensor:
        """Return raw outputs `[B, n_outputs, H, W]` of `x` `[B, C, H, W]` in normalised units."""
        output: Tensor = self.head(self.dropout(self.body(x)))
        return output

    def forward_features(
        self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return (raw outputs `[B, n_outputs, H, W]`, features `[B, F, H, W]`)."""
        hidden = self.body(x)
        output: Tensor = self.head(self.dropout(hidden))
        return output, self.projection(hidden)
