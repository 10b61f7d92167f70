"""Fully convolutional networks for change between two dates: early fusion and two Siamese variants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ecumene.core.errors import ConfigurationError
from ecumene.networks.base import check_dropout, check_widths
from ecumene.networks.change_pair import PairNetwork, apart, both_dates, convolutions

LEVELS = 4
_CONVOLUTIONS = (2, 2, 3, 3)
FUSIONS = ("early", "concatenate", "difference")

Fusion = Literal["early", "concatenate", "difference"]


class FcSiam(PairNetwork):
    """FC-EF (`early`), FC-Siam-conc (`concatenate`) and FC-Siam-diff (`difference`).

    An encoder of four levels with 2, 2, 3 and 3 convolutions 3x3 (bias, batch normalisation, ReLU, dropout of
    channels) and maximum pooling after each; a decoder of the mirrored form, whose levels begin with a transposed
    convolution 3x3 of stride 2 and the skip connection. FC-EF sees both dates as one image of 2C bands. The Siamese
    variants encode each date with the same weights; the skip connections hold both dates' features, or the absolute
    difference; the decoder starts from the later date's deepest features alone, as in the authors' code.

    Number of weights for C bands (2C with early fusion), K outputs, widths a, b, c, d and skip connections of width
    s(w) = w, or 2w for `concatenate`, with v(i, o) = 9 i o + 3 o of a convolution with its normalisation and
    u(w) = 9 w w + w of a transposed one:
    v(C, a) + v(a, a) + v(a, b) + v(b, b) + v(b, c) + 2 v(c, c) + v(c, d) + 2 v(d, d)
    + u(d) + v(d + s(d), d) + v(d, d) + v(d, c) + u(c) + v(c + s(c), c) + v(c, c) + v(c, b)
    + u(b) + v(b + s(b), b) + v(b, a) + u(a) + v(a + s(a), a) + 9 a K + K.
    For 13 bands and 2 outputs: 1,353,458 (early), 1,547,426 (concatenate) and 1,351,586 (difference).

    The theoretical reach is 114 pixels to each side; `margin` states its useful part.

    Caye Daudt, Le Saux, Boulch (2018), Fully convolutional Siamese networks for change detection, ICIP 4063-4067,
    section 2; layers as in the authors' code (rcdaudt/fully_convolutional_change_detection). Differences: while
    training, batch normalisation sees both dates of a batch together, the authors' code one date after the other;
    windows are multiples of 16 pixels, so that nothing has to be padded by replication.

    Args:
        in_channels: Bands of one date.
        n_outputs: Output channels.
        fusion: Which of the three networks.
        widths: Channels of the four levels.
        dropout: Share of channels dropped after each convolution while training.

    Raises:
        ConfigurationError: If an argument is out of range.
    """

    stride = 16
    margin = 32

    def __init__(
        self,
        in_channels: int,
        n_outputs: int,
        fusion: Fusion = "difference",
        widths: Sequence[int] = (16, 32, 64, 128),
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if fusion not in FUSIONS:
            raise ConfigurationError(f"fc-siam fuses dates by {', '.join(FUSIONS)}, not by {fusion!r}.")
        check_dropout(dropout, "fc-siam")
        self.fusion = fusion
        levels = check_widths(widths, "fc-siam", count=LEVELS)
        self.encoder = nn.ModuleList()
        before = 2 * in_channels if fusion == "early" else in_channels
        for width, count in zip(levels, _CONVOLUTIONS, strict=True):
            self.encoder.append(convolutions((before, *(width,) * count), dropout))
            before = width
        self.up = nn.ModuleList()
        self.decoder = nn.ModuleList()
        for level in reversed(range(LEVELS)):
            width = levels[level]
            skip = 2 * width if fusion == "concatenate" else width
            # The deep levels have three convolutions; the last one of a level narrows to the level above.
            inner = (width,) * (_CONVOLUTIONS[level] - 1) + ((levels[level - 1],) if level else ())
            self.up.append(nn.ConvTranspose2d(width, width, 3, stride=2, padding=1, output_padding=1))
            self.decoder.append(convolutions((width + skip, *inner), dropout))
        self.feature_channels = levels[0]
        self.head = nn.Conv2d(levels[0], n_outputs, 3, padding=1)

    def _skip(self, features: Tensor) -> Tensor:
        """Return what a level hands to the decoder."""
        if self.fusion == "early":
            return features
        earlier, later = apart(features)
        return torch.cat((earlier, later), dim=1) if self.fusion == "concatenate" else (earlier - later).abs()

    def forward_features(
        self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return (raw outputs `[B, n_outputs, H, W]`, features `[B, widths[0], H, W]`) of pairs `[B, 2, C, H, W]`."""
        images = both_dates(x)
        if self.fusion == "early":
            images = torch.cat(apart(images), dim=1)
        skips = []
        for level in self.encoder:
            images = level(images)
            skips.append(self._skip(images))
            images = nn.functional.max_pool2d(images, 2)
        hidden = images if self.fusion == "early" else apart(images)[1]
        for up, level, skip in zip(self.up, self.decoder, reversed(skips), strict=True):
            hidden = level(torch.cat((up(hidden), skip), dim=1))
        output: Tensor = self.head(hidden)
        return output, hidden
