"""A compact U-Net that learns from a few polygons on a small scene in about a minute on a laptop."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ecumene.core.errors import ConfigurationError
from ecumene.networks.base import BaseNetwork
from ecumene.networks.projection import FixedProjection

SHALLOW_FEATURES = 16


class _DoubleConvolution(nn.Sequential):
    """Twice 3x3 convolution, batch normalisation, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


class UNetSmall(BaseNetwork):
    """Four-level U-Net with padded convolutions.

    Differences from Ronneberger, Fischer, Brox (2015, doi 10.1007/978-3-319-24574-4_28): four levels instead of
    five; widths `w, 3w/2, 2w, 3w` instead of doubling; padded convolutions; batch normalisation (its running
    statistics keep the output local when mapping, which group normalisation, whose statistics span the
    window, would not); nearest-neighbour upsampling followed by the convolutions instead of transposed ones.

    Number of weights, with levels `w1..w4`, bands C and outputs K: a double convolution from a to b has
    `9ab + 9bb + 4b`; there are seven (C->w1, w1->w2, w2->w3, w3->w4, w4+w3->w3, w3+w2->w2, w2+w1->w1), and the
    head has `w1 K + K`. For width 32, 13 bands and 6 outputs: 482,406 (pinned by a test).

    The theoretical receptive field is 96 pixels wide (convolutions 4 at every level on the way down, 4 on the
    way up, pooling 1 + 2 + 4); `margin` states its useful half.

    Args:
        in_channels: Bands.
        n_outputs: Output channels.
        width: Channels of the first level, a multiple of 2.
        dropout: Share of channels dropped before the head and at the bottom while training.

    Raises:
        ConfigurationError: If an argument is out of range.
    """

    stride = 8
    margin = 16

    def __init__(self, in_channels: int, n_outputs: int, width: int = 32, dropout: float = 0.1) -> None:
        super().__init__()
        if width < 4 or width % 2 or not 0.0 <= dropout < 1.0:
            raise ConfigurationError(
                f"unet-small needs an even width of at least 4 and a dropout in [0, 1), but got {width} and {dropout}."
            )
        widths = (width, 3 * width // 2, 2 * width, 3 * width)
        self.down = nn.ModuleList(
            _DoubleConvolution(before, after) for before, after in zip((in_channels, *widths[:-1]), widths, strict=True)
        )
        self.up = nn.ModuleList(
            _DoubleConvolution(widths[level + 1] + widths[level], widths[level]) for level in (2, 1, 0)
        )
        self.pool = nn.MaxPool2d(2)
        self.grow = nn.Upsample(scale_factor=2, mode="nearest")
        self.bottom_dropout = nn.Dropout2d(dropout)
        self.dropout = nn.Dropout2d(dropout)
        self.head = nn.Conv2d(width, n_outputs, 1)
        self.decoder_projection = FixedProjection(width, 32, seed=1)
        self.shallow_projection = FixedProjection(width, SHALLOW_FEATURES)
        self.feature_channels = self.decoder_projection.out_channels + self.shallow_projection.out_channels

    def _decode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (last decoder map, first encoder map), both at full resolution."""
        maps: list[Tensor] = []
        current = x
        for level, block in enumerate(self.down):
            current = block(current if level == 0 else self.pool(current))
            maps.append(current)
        current = self.bottom_dropout(current)
        for block, skip in zip(self.up, reversed(maps[:-1]), strict=True):
            current = block(torch.cat((self.grow(current), skip), dim=1))
        return current, maps[0]

    def forward(self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None) -> Tensor:
        """Return raw outputs `[B, n_outputs, H, W]` of `x` `[B, C, H, W]` in normalised units."""
        decoded, _ = self._decode(x)
        output: Tensor = self.head(self.dropout(decoded))
        return output

    def forward_features(
        self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return (raw outputs `[B, n_outputs, H, W]`, features `[B, F, H, W]`)."""
        decoded, shallow = self._decode(x)
        output: Tensor = self.head(self.dropout(decoded))
        return output, torch.cat((self.decoder_projection(decoded), self.shallow_projection(shallow)), dim=1)
