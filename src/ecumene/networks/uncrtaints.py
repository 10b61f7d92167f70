"""UnCRtainTS: clouds removed from series at full resolution, with a variance for every pixel and band."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecumene.core.errors import ConfigurationError
from ecumene.networks.attention_masks import DayCount, TemporalMasks, weigh_dates
from ecumene.networks.mbconv import LOCAL_RADIUS, Context, MBConv, make_norm
from ecumene.networks.projection import FixedProjection
from ecumene.networks.restoration import RestorationNetwork, TargetDate

LATTICE = 32
"""Side of the grid that attention is computed on, with the context of a window."""
LOCAL_CELL = 8
"""Side of a cell of that grid in pixels, with local context."""


class UnCRtainTS(RestorationNetwork):
    """UnCRtainTS (Ebel, Garnot, Schmitt, Wegner, Zhu 2023, arXiv 2304.05464), after paper and released code.

    Each date: 1 x 1 convolution, group normalisation, ReLU, one MBConv with group normalisation. Attention of 16 heads
    on features that are max-pooled to 32 x 32; the channels, in as many groups, are averaged over dates with their
    head's weights, grown to full size. Five MBConv with batch normalisation; 1 x 1 convolution to K means, as
    `scale * sigmoid`, and variances, as softplus plus 1e-3 (of data times ten). Where the two differ, the code is
    followed: dropout 0.1 on the grown weights, and attention without values.

    `context="window"` is as published: group normalisation, squeeze-and-excitation and the 32 x 32 grid look at the
    whole window, so that a map depends on its windows; execute it on windows of the size that it was trained with.
    `context="local"` looks at a pixel's surroundings only (normalisation over channels, 9 x 9 pixels, cells of 8 x 8
    pixels), so that windows give what the whole image gives; it has as many weights.

    Number of weights with C channels, width D, attention width M, H heads of length k, o outputs and n blocks after
    the encoder's: first convolution and norm `CD + 3D`; a block `5DD + 30D` (norms 12D, depthwise 18D, convolutions
    4DD, squeeze-and-excitation DD), n + 1 times; attention `2D + DM + M + Hk + MHk + Hk`; head `Do + o`. For C = 15,
    D = 128, M = 256, H = 16, k = 4, o = 26, n = 5: 570,010 (pinned by a test).

    Args:
        in_channels: Channels of a date, the bands to restore first.
        n_outputs: See `RestorationNetwork`.
        targets: See there.
        width: D.
        blocks: n.
        heads: H; D must be a multiple.
        d_model: M.
        d_k: k.
        context: See above.
        days: See `TemporalMasks`.
        dropout: On the grown weights, while training.
        scaling: See `RestorationNetwork`.

    Raises:
        ConfigurationError: If an argument is out of range.
    """

    temporal = True
    target_date: ClassVar[TargetDate] = "clear-state"

    def __init__(
        self,
        in_channels: int,
        n_outputs: int,
        targets: int | None = None,
        width: int = 128,
        blocks: int = 5,
        heads: int = 16,
        d_model: int = 256,
        d_k: int = 4,
        context: Context = "window",
        days: DayCount = "since-launch",
        dropout: float = 0.1,
        scaling: str = "times-ten",
    ) -> None:
        super().__init__(in_channels, n_outputs, targets, scaling)
        if width < 4 or width % 4 or blocks < 1 or context not in ("window", "local") or not 0.0 <= dropout < 1.0:
            raise ConfigurationError(
                f"uncrtaints needs a width that is a multiple of 4, a block, a dropout in [0, 1) and the context "
                f"'window' or 'local', but got {width}, {blocks}, {dropout} and {context!r}."
            )
        self.context, self.scaling = context, scaling
        self.first = nn.Sequential(nn.Conv2d(in_channels, width, 1), make_norm(width, "group", context), nn.ReLU())
        self.encoder = MBConv(width, "group", context)
        self.attention = TemporalMasks(width, heads, d_model, d_k, days) if self.temporal else None
        self.dropout = nn.Dropout(dropout)
        self.decoder = nn.Sequential(*(MBConv(width, "batch", context) for _ in range(blocks)))
        self.head = nn.Conv2d(width, n_outputs, 1)
        self.projection = FixedProjection(width, 32)
        self.feature_channels = self.projection.out_channels
        reach = 1 + LOCAL_RADIUS
        cells = 2 * LOCAL_CELL if self.temporal else 0
        local = context == "local"
        self.stride = LOCAL_CELL if local and self.temporal else 1
        self.margin = -(-((blocks + 1) * reach + cells) // LOCAL_CELL) * LOCAL_CELL if local else 32

    def _encode(self, x: Tensor) -> Tensor:
        encoded: Tensor = self.encoder(self.first(self.limited(x)))
        return encoded

    def _pooled(self, x: Tensor) -> Tensor:
        """Return the largest values of the cells of the attention's grid."""
        rows, cols = x.shape[-2:]
        if self.context == "local":
            return F.max_pool2d(x, LOCAL_CELL)
        if rows % LATTICE == 0 and cols % LATTICE == 0:  # the same cells, in an operation that every executor has
            return F.max_pool2d(x, (rows // LATTICE, cols // LATTICE))
        return F.adaptive_max_pool2d(x, LATTICE)

    def _merged(self, x: Tensor, dates: Tensor | None, valid: Tensor | None) -> Tensor:
        """Return one map of features `[B, D, H, W]` of the dates."""
        if dates is None or self.attention is None:
            raise ConfigurationError("uncrtaints needs the dates of its series; declare them beside the files.")
        batch, count = x.shape[:2]
        encoded = self._encode(x.flatten(0, 1))
        coarse = self._pooled(encoded).unflatten(0, (batch, count))
        present = torch.ones(batch, count, dtype=torch.bool, device=x.device)
        if valid is not None:
            present = valid.flatten(2).any(dim=2)
        attention = self.attention(coarse, dates, present)
        return weigh_dates(encoded.unflatten(0, (batch, count)), attention, present, self.dropout)

    def _head(self, merged: Tensor) -> tuple[Tensor, Tensor]:
        """Return (means and variances, last features)."""
        features = self.decoder(merged)
        return self.bounded(self.head(features)), features

    def forward(self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None) -> Tensor:
        """Return means and variances `[B, n_outputs, H, W]` of a series.

        Args:
            x: `[B, T, C, H, W]` in scaled units.
            dates: `[B, T]` days since 1970-01-01.
            valid: bool `[B, T, H, W]`; a date without a valid pixel does not count.
        """
        return self._head(self._merged(x, dates, valid))[0]

    def forward_features(
        self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return (means and variances, features `[B, F, H, W]`)."""
        output, features = self._head(self._merged(x, dates, valid))
        return output, self.projection(features)


class UnCRtainTSMono(UnCRtainTS):
    """UnCRtainTS for one date: the same without attention (`is_mono` of the released code).

    Number of weights: that of `UnCRtainTS` without its attention; 520,218 as published (pinned by a test).
    """

    temporal = False
    target_date = "same-date"

    def _merged(self, x: Tensor, dates: Tensor | None, valid: Tensor | None) -> Tensor:
        return self._encode(x)
