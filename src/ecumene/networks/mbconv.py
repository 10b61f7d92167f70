"""MBConv blocks at full resolution, with context of the window or of a pixel's surroundings only."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Context = Literal["window", "local"]
Norm = Literal["group", "batch"]
GROUPS = 4
LOCAL_RADIUS = 4
"""Radius of the square that squeeze-and-excitation averages over, with local context."""


class PixelGroupNorm(nn.GroupNorm):
    """Group normalisation with the statistics of each pixel alone, so that a map does not depend on its windows."""

    def forward(self, input: Tensor) -> Tensor:
        """Return `[N, C, H, W]` normalised over the channels of each group, pixel by pixel."""
        grouped = input.unflatten(1, (self.num_groups, -1))
        mean = grouped.mean(dim=2, keepdim=True)
        variance = (grouped - mean).square().mean(dim=2, keepdim=True)
        normed = ((grouped - mean) * torch.rsqrt(variance + self.eps)).flatten(1, 2)
        result: Tensor = normed * self.weight[:, None, None] + self.bias[:, None, None]
        return result


def make_norm(channels: int, norm: Norm, context: Context, groups: int = GROUPS) -> nn.Module:
    """Return a normalisation of `channels` channels."""
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(groups, channels) if context == "window" else PixelGroupNorm(groups, channels)


class SqueezeExcitation(nn.Module):
    """Weighs channels by what the window (or a pixel's surroundings) has of them (Hu et al. 2018).

    Args:
        channels: Of the map.
        hidden: Width between.
        context: `window`: averaged over the whole window; `local`: over 9 x 9 pixels.
    """

    def __init__(self, channels: int, hidden: int, context: Context) -> None:
        super().__init__()
        self.context = context
        self.squeeze = nn.Conv2d(channels, hidden, 1, bias=False)
        self.excite = nn.Conv2d(hidden, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighed map."""
        if self.context == "window":
            pooled = x.mean(dim=(-2, -1), keepdim=True)
        else:
            side = 2 * LOCAL_RADIUS + 1
            pooled = F.avg_pool2d(x, side, stride=1, padding=LOCAL_RADIUS, count_include_pad=False)
        return x * torch.sigmoid(self.excite(F.gelu(self.squeeze(pooled))))


class MBConv(nn.Module):
    """Inverted residual block with pre-normalisation (Sandler et al. 2018; as Ebel et al. 2023 have it).

    Norm, 1 x 1 to twice the channels, norm, GELU, depthwise 3 x 3 with reflection, norm, GELU,
    squeeze-and-excitation (a quarter of the block's channels), 1 x 1 back, norm; the input is added.

    Args:
        channels: Of input and output.
        norm: Kind of normalisation.
        context: See `SqueezeExcitation`.
        expansion: Of the channels inside.
    """

    def __init__(self, channels: int, norm: Norm, context: Context, expansion: int = 2) -> None:
        super().__init__()
        inner = channels * expansion
        self.block = nn.Sequential(
            make_norm(channels, norm, context),
            nn.Conv2d(channels, inner, 1, bias=False),
            make_norm(inner, norm, context),
            nn.GELU(),
            nn.Conv2d(inner, inner, 3, padding=1, padding_mode="reflect", groups=inner, bias=False),
            make_norm(inner, norm, context),
            nn.GELU(),
            SqueezeExcitation(inner, max(1, channels // 4), context),
            nn.Conv2d(inner, channels, 1, bias=False),
            make_norm(channels, norm, context),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return `[N, channels, H, W]`."""
        added: Tensor = x + self.block(x)
        return added
