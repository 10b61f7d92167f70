"""Temporal attention that gives weights of dates at a coarse grid, and the weighing of features with them."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecumene.core.errors import ConfigurationError

PERIOD = 1000.0
FIRST_DAY = 16_163.0
"""Days since 1970-01-01 of the launch of Sentinel-1A (2014-04-03), from which the published code counts."""
_MASKED = -1.0e4
DayCount = Literal["since-launch", "since-first", "of-year"]
_YEAR = 365.2425


class TemporalMasks(nn.Module):
    """L-TAE without values: how much each head attends to each date ("LTAE2dtiny" of Ebel et al. 2023).

    Per pixel: group normalisation with one group a head over channels and dates, linear to `d_model`, plus the
    sinusoidal encoding of the day count (its length `d_model / heads`, repeated for each head), keys by a linear layer,
    one learned query a head, softmax over dates.

    Args:
        channels: Of the features; a multiple of `heads`.
        heads: Number of heads.
        d_model: Width of the embedding; a multiple of twice the heads.
        d_k: Length of a key.
        days: How days are counted: `since-launch` as published; `since-first` from the series' first date and
            `of-year`, for series of other years than those learned from.

    Raises:
        ConfigurationError: If the numbers do not fit.
    """

    frequency: Tensor

    def __init__(
        self, channels: int, heads: int = 16, d_model: int = 256, d_k: int = 4, days: DayCount = "since-launch"
    ) -> None:
        super().__init__()
        if min(heads, d_k) < 1 or channels % heads or d_model % (2 * heads):
            raise ConfigurationError(
                f"Attention masks need channels that are a multiple of the heads and d_model one of twice the heads, "
                f"but got {channels}, {heads} and {d_model}."
            )
        if days not in ("since-launch", "since-first", "of-year"):
            raise ConfigurationError(f"Days are counted since-launch, since-first or of-year, not {days!r}.")
        self.heads, self.d_k, self.days = heads, d_k, days
        self.norm = nn.GroupNorm(heads, channels)
        self.embed = nn.Conv1d(channels, d_model, 1)
        self.query = nn.Parameter(torch.empty(heads, d_k))
        self.key = nn.Linear(d_model, heads * d_k)
        for weight in (self.query, self.key.weight):
            nn.init.normal_(weight, std=math.sqrt(2.0 / d_k))
        length = d_model // heads
        exponent = 2.0 * (torch.arange(length) // 2) / length
        self.register_buffer("frequency", PERIOD**-exponent, persistent=False)

    def position(self, dates: Tensor) -> Tensor:
        """Return the encoding `[B, T, d_model]` of dates `[B, T]`."""
        days = dates.float()
        if self.days == "since-launch":
            days = days - FIRST_DAY
        elif self.days == "since-first":
            days = days - days.amin(dim=1, keepdim=True)
        else:
            days = days - _YEAR * torch.floor(days / _YEAR)
        angle = days[:, :, None] * self.frequency
        even = torch.arange(angle.shape[-1], device=angle.device) % 2 == 0
        return torch.where(even, torch.sin(angle), torch.cos(angle)).repeat(1, 1, self.heads)

    def forward(self, x: Tensor, dates: Tensor, present: Tensor) -> Tensor:
        """Return attention `[B, heads, T, h, w]`, which sums to one over the dates that are present.

        Args:
            x: Features `[B, T, C, h, w]`.
            dates: Days since 1970-01-01, `[B, T]`.
            present: bool `[B, T]`: dates with data.
        """
        batch, rows, cols = x.shape[0], *x.shape[-2:]
        # Absent dates are zeros in the norm's statistics, as padded ones are in the published code.
        known = x * present[:, :, None, None, None].to(x.dtype)
        pixels = known.permute(0, 3, 4, 2, 1).flatten(0, 2)  # [B h w, C, T]
        embedded = self.embed(self.norm(pixels)).transpose(1, 2)
        place = self.position(dates).to(embedded.dtype)
        embedded = embedded.unflatten(0, (batch, rows * cols)) + place[:, None]
        keys = self.key(embedded).unflatten(-1, (self.heads, self.d_k))
        scores = (keys * self.query.to(keys.dtype)).sum(dim=-1).float() / math.sqrt(self.d_k)  # [B, P, T, heads]
        scores = scores.masked_fill(~present[:, None, :, None], _MASKED)
        attention = torch.softmax(scores, dim=2).to(x.dtype)
        masks: Tensor = attention.permute(0, 3, 2, 1).unflatten(-1, (rows, cols))
        return masks


def weigh_dates(x: Tensor, attention: Tensor, present: Tensor, dropout: nn.Module) -> Tensor:
    """Return features `[B, C, H, W]` of `[B, T, C, H, W]`: each head's channels averaged with its weights.

    Args:
        x: Features.
        attention: `[B, heads, T, h, w]`, on a coarser grid or the same; grown bilinearly.
        present: bool `[B, T]`.
        dropout: Applied to the grown weights.
    """
    batch, heads = attention.shape[:2]
    size = x.shape[-2:]
    grown = attention.flatten(0, 1)
    if grown.shape[-2:] != size:
        grown = F.interpolate(grown, size=size, mode="bilinear", align_corners=False)
    weights = dropout(grown).unflatten(0, (batch, heads)) * present[:, None, :, None, None]
    grouped = x.unflatten(2, (heads, -1)).transpose(1, 2)  # [B, heads, T, C / heads, H, W]
    merged: Tensor = (grouped * weights[:, :, :, None]).sum(dim=2).flatten(1, 2)
    return merged
