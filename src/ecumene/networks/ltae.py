"""Lightweight temporal attention on the time series of every pixel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from ecumene.core.errors import ConfigurationError
from ecumene.networks.base import BaseNetwork
from ecumene.networks.projection import FixedProjection

DAYS_PER_YEAR = 365.2425
MASKED_SCORE = -1.0e4
"""Attention score of a date without data; finite, so that a pixel without any date stays finite too."""


class LTAE(BaseNetwork):
    """Per-pixel series network: spectral encoder, lightweight temporal attention encoder, decoder.

    After Garnot and Landrieu, "Lightweight Temporal Self-Attention for Classifying Satellite Image Time Series"
    (2020, arXiv 2007.00586). Kept from the paper: learned master queries (one a head, instead of queries from the
    input), channel grouping (head h sees the h-th slice of the channels as its values), no value projection,
    keys from a linear layer, scores over sqrt(d_k), sinusoidal positional encoding of day numbers with period
    parameter 1000, initialisation of keys and queries with standard deviation sqrt(2/d_k), dropout on the
    attention, an MLP over the concatenated heads, dimensions d_k = 8 and 16 heads.

    Differences: (1) the pixel-set encoder pools a field's pixels; here every pixel is alone, so that it becomes a
    spectral MLP C -> 32 -> 64 -> d_model. (2) d_model is 128 instead of 256, and normalisation is over channels
    (layer normalisation) everywhere, so that a pixel depends on nothing but itself. (3) Dates without data get
    no attention. (4) A query and a key enter only by their product, which is linear in the input:
    q_h . (W_h x + b_h) = (q_h W_h) . x + q_h . b_h, so that the product q_h W_h is formed once and keys are never
    stored; the numbers are the paper's, the memory is a d_k-th.

    Days: with `dates_as="day-of-year"` (default) the position is the day in its (mean Gregorian) year, 0..365, so
    that a model maps another year; with `"days-since-first"` it is the days since the series' first date, as in the
    paper's code, which needs series that begin alike. Dates are days since 1970-01-01, float32 or float64.

    Number of weights for C bands, spectral widths s1..sn = d_model, H heads of size d_k, MLP width m, decoder widths
    d1..dn and K outputs: every linear layer a -> b has `ab + b`, each but the last of the decoder is followed by a
    layer normalisation with `2b`; the attention has `H d_k` (queries) and `d_model H d_k + H d_k` (keys), and a layer
    normalisation with `2 d_model` before it. For 13 bands and 6 outputs: 55,718 (pinned by a test).

    Args:
        in_channels: Bands.
        n_outputs: Output channels.
        d_model: Channels of the attention; a multiple of `n_heads`.
        n_heads: Attention heads.
        d_k: Size of a key.
        spectral: Widths of the spectral encoder before `d_model`.
        mlp: Width after the heads.
        decoder: Widths of the decoder's hidden layers.
        dropout: Of the attention and of the MLP, while training.
        dates_as: What the positional encoding sees.
        chunk: Pixels that are encoded at once when not training; bounds the memory of a window.

    Raises:
        ConfigurationError: If an argument is out of range.
    """

    temporal = True

    def __init__(
        self,
        in_channels: int,
        n_outputs: int,
        d_model: int = 128,
        n_heads: int = 16,
        d_k: int = 8,
        spectral: Sequence[int] = (32, 64),
        mlp: int = 128,
        decoder: Sequence[int] = (64, 32),
        dropout: float = 0.2,
        dates_as: Literal["day-of-year", "days-since-first"] = "day-of-year",
        chunk: int = 16384,
    ) -> None:
        super().__init__()
        if min(d_model, n_heads, d_k, mlp, chunk, *spectral, *decoder) < 1 or d_model % n_heads or d_model % 2:
            raise ConfigurationError(
                f"ltae needs positive sizes and an even d_model that is a multiple of n_heads, but got d_model "
                f"{d_model} and n_heads {n_heads}."
            )
        if not decoder or dates_as not in ("day-of-year", "days-since-first") or not 0.0 <= dropout < 1.0:
            raise ConfigurationError(
                "ltae needs at least one decoder width, dates_as 'day-of-year' or 'days-since-first', "
                "and a dropout in [0, 1)."
            )
        self.n_heads, self.d_k, self.chunk, self.dates_as = n_heads, d_k, chunk, dates_as
        self.spectral = _perceptron((in_channels, *spectral, d_model))
        self.norm = nn.LayerNorm(d_model)
        self.query = nn.Parameter(torch.empty(n_heads, d_k))
        self.key = nn.Linear(d_model, n_heads * d_k)
        nn.init.normal_(self.query, std=math.sqrt(2.0 / d_k))
        nn.init.normal_(self.key.weight, std=math.sqrt(2.0 / d_k))
        nn.init.zeros_(self.key.bias)
        self.attention_dropout = nn.Dropout(dropout)
        self.mlp = _perceptron((d_model, mlp))
        self.mlp_dropout = nn.Dropout(dropout)
        self.decoder = _perceptron((mlp, *decoder))
        self.head = nn.Linear(decoder[-1], n_outputs)
        self.projection = FixedProjection(decoder[-1], 32)
        self.feature_channels = self.projection.out_channels
        frequency = 1000.0 ** (-2.0 * torch.arange(d_model // 2, dtype=torch.float64) / d_model)
        self.register_buffer("frequency", frequency.float(), persistent=False)
        self.frequency: Tensor

    def position(self, dates: Tensor) -> Tensor:
        """Return the sinusoidal encoding `[B, T, d_model]` of dates `[B, T]` (days since 1970-01-01)."""
        days = dates.to(torch.float32)
        if self.dates_as == "day-of-year":
            days = days - DAYS_PER_YEAR * torch.floor(days / DAYS_PER_YEAR)
        else:
            days = days - days.amin(dim=1, keepdim=True)
        angle = days[:, :, None] * self.frequency
        return torch.cat((torch.sin(angle), torch.cos(angle)), dim=-1)

    def attend(self, x: Tensor, position: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Encode series of pixels.

        Args:
            x: `[B, P, T, C]` in normalised units, P pixels.
            position: `[B, 1, T, d_model]`, the same for the pixels of an element.
            valid: bool `[B, P, T]`.

        Returns:
            (last hidden layer of the decoder `[B, P, decoder[-1]]`, attention `[B, P, heads, T]`). The attention of
            a pixel without any valid date is zero throughout, else it sums to one.
        """
        encoded = self.norm(self.spectral(x)) + position.to(x.dtype)
        keys = self.key.weight.view(self.n_heads, self.d_k, -1)
        direction = torch.einsum("hk,hkc->hc", self.query, keys)
        offset = (self.query * self.key.bias.view(self.n_heads, self.d_k)).sum(dim=1)
        scores = (torch.matmul(encoded, direction.T.to(encoded.dtype)) + offset) / math.sqrt(self.d_k)
        mask = valid[:, :, :, None]
        attention = torch.softmax(scores.float().masked_fill(~mask, MASKED_SCORE), dim=2) * mask
        dropped = self.attention_dropout(attention).to(encoded.dtype)
        # Channel grouping: head h weighs the h-th slice of the channels.
        grouped = encoded.unflatten(3, (self.n_heads, -1))
        pooled = (grouped * dropped[..., None]).sum(dim=2).flatten(2)
        hidden: Tensor = self.decoder(self.mlp_dropout(self.mlp(pooled)))
        return hidden, attention.transpose(2, 3)

    def _hidden(self, x: Tensor, dates: Tensor | None, valid: Tensor | None) -> Tensor:
        """Return the decoder's last hidden layer `[B, H, W, D]`."""
        if dates is None:
            raise ConfigurationError("ltae needs the dates of its series; declare them in scene.yaml beside the files.")
        height, width = x.shape[3], x.shape[4]
        series = x.permute(0, 3, 4, 1, 2).flatten(1, 2)
        position = self.position(dates)[:, None]
        if valid is None:
            present = torch.ones_like(series[..., 0], dtype=torch.bool)
        else:
            present = valid.permute(0, 2, 3, 1).flatten(1, 2)
        if self.training or torch.compiler.is_compiling():
            hidden = self.attend(series, position, present)[0]
        else:
            step = max(1, self.chunk // x.shape[0])
            pieces = zip(series.split(step, dim=1), present.split(step, dim=1), strict=True)
            hidden = torch.cat([self.attend(pixels, position, has)[0] for pixels, has in pieces], dim=1)
        shaped: Tensor = hidden.unflatten(1, (height, width))
        return shaped

    def forward(self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None) -> Tensor:
        """Return raw outputs `[B, n_outputs, H, W]` of a series.

        Args:
            x: `[B, T, C, H, W]` in normalised units.
            dates: `[B, T]` days since 1970-01-01.
            valid: bool `[B, T, H, W]`; None means that all are.
        """
        hidden = self._hidden(x, dates, valid)
        output: Tensor = self.head(hidden).permute(0, 3, 1, 2)
        return output

    def forward_features(
        self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return (raw outputs `[B, n_outputs, H, W]`, features `[B, F, H, W]`)."""
        hidden = self._hidden(x, dates, valid)
        output: Tensor = self.head(hidden).permute(0, 3, 1, 2)
        return output, self.projection(hidden.permute(0, 3, 1, 2))


def _perceptron(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers, each followed by layer normalisation and ReLU."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.LayerNorm(after), nn.ReLU()]
    return nn.Sequential(*layers)
