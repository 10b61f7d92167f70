"""U-TAE with means and variances of clear bands, the U-shaped ablation of UnCRtainTS."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from ecumene.core.errors import ConfigurationError
from ecumene.networks.attention_masks import DayCount, TemporalMasks, weigh_dates
from ecumene.networks.mbconv import make_norm
from ecumene.networks.projection import FixedProjection
from ecumene.networks.restoration import RestorationNetwork


class UTAERestoration(RestorationNetwork):
    """U-TAE (Garnot, Landrieu 2021, arXiv 2107.07933) with the head of UnCRtainTS (Ebel et al. 2023).

    Every date passes an encoder of strided convolutions 4 x 4 with residual pairs of convolutions and group
    normalisation; attention masks are computed on the coarsest maps, grown, and average the maps of all levels over
    time, group by group; a decoder of transposed convolutions with skip connections and batch normalisation follows.
    Left out: the attention's values (the coarsest map is averaged with the masks as the others are), as UnCRtainTS
    leaves them out. Group normalisation looks at the whole window, so that a map depends on its windows.

    Args:
        in_channels: Channels of a date, the bands to restore first.
        n_outputs: See `RestorationNetwork`.
        targets: See there.
        encoder: Widths of the levels, finest first; the last is a multiple of the heads, as all are.
        decoder: Widths of the decoder's levels, finest first; the coarsest as the encoder's.
        heads: Of the attention.
        d_model: Width of the attention.
        d_k: Length of a key.
        days: See `TemporalMasks`.
        scaling: See `RestorationNetwork`.

    Raises:
        ConfigurationError: If an argument is out of range.
    """

    temporal = True
    target_date = "clear-state"

    def __init__(
        self,
        in_channels: int,
        n_outputs: int,
        targets: int | None = None,
        encoder: Sequence[int] = (64, 64, 64, 128),
        decoder: Sequence[int] = (32, 32, 64, 128),
        heads: int = 16,
        d_model: int = 256,
        d_k: int = 4,
        days: DayCount = "since-launch",
        scaling: str = "times-ten",
    ) -> None:
        super().__init__(in_channels, n_outputs, targets, scaling)
        fits = len(encoder) == len(decoder) >= 2 and encoder[-1] == decoder[-1]
        if not fits or any(width < 1 or width % max(4, heads) for width in encoder) or min(decoder) < 1:
            raise ConfigurationError(
                "utae-restoration needs as many widths in the decoder as in the encoder, the last ones equal, and the "
                "encoder's multiples of 4 and of the heads."
            )
        self.first = nn.Sequential(
            *_convolution(in_channels, encoder[0], "group"), *_convolution(encoder[0], encoder[0], "group")
        )
        self.down = nn.ModuleList(_Down(before, after) for before, after in pairwise(encoder))
        self.attention = TemporalMasks(encoder[-1], heads, d_model, d_k, days)
        self.up = nn.ModuleList(
            _Up(decoder[level], decoder[level - 1], encoder[level - 1]) for level in range(len(encoder) - 1, 0, -1)
        )
        self.head = nn.Conv2d(decoder[0], n_outputs, 1)
        self.dropout = nn.Dropout(0.0)
        self.projection = FixedProjection(decoder[0], 32)
        self.feature_channels = self.projection.out_channels
        self.stride, self.margin = 2 ** (len(encoder) - 1), 32

    def forward_features(
        self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return (means and variances, features `[B, F, H, W]`) of `x` `[B, T, C, H, W]`."""
        if dates is None:
            raise ConfigurationError("utae-restoration needs the dates of its series; declare them beside the files.")
        batch, count = x.shape[:2]
        present = torch.ones(batch, count, dtype=torch.bool, device=x.device)
        if valid is not None:
            present = valid.flatten(2).any(dim=2)
        maps = [self.first(self.limited(x.flatten(0, 1)))]
        for block in self.down:
            maps.append(block(maps[-1]))
        levels = [level.unflatten(0, (batch, count)) for level in maps]
        attention = self.attention(levels[-1], dates, present)
        merged = [weigh_dates(level, attention, present, self.dropout) for level in levels]
        current = merged[-1]
        for block, skip in zip(self.up, reversed(merged[:-1]), strict=True):
            current = block(current, skip)
        return self.bounded(self.head(current)), self.projection(current)


def _convolution(before: int, after: int, norm: str) -> list[nn.Module]:
    chosen = make_norm(after, "group" if norm == "group" else "batch", "window")
    return [nn.Conv2d(before, after, 3, padding=1, padding_mode="reflect"), chosen, nn.ReLU()]


class _Down(nn.Module):
    """Halves a map: strided convolution, convolution, and one more that is added."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.halve = nn.Sequential(
            nn.Conv2d(before, before, 4, stride=2, padding=1, padding_mode="reflect"),
            make_norm(before, "group", "window"),
            nn.ReLU(),
        )
        self.first = nn.Sequential(*_convolution(before, after, "group"))
        self.second = nn.Sequential(*_convolution(after, after, "group"))

    def forward(self, x: Tensor) -> Tensor:
        """Return the smaller map."""
        current = self.first(self.halve(x))
        added: Tensor = current + self.second(current)
        return added


class _Up(nn.Module):
    """Doubles a map and joins it with the finer level's."""

    def __init__(self, before: int, after: int, skip: int) -> None:
        super().__init__()
        self.skip = nn.Sequential(nn.Conv2d(skip, skip, 1), nn.BatchNorm2d(skip), nn.ReLU())
        self.grow = nn.Sequential(
            nn.ConvTranspose2d(before, after, 4, stride=2, padding=1), nn.BatchNorm2d(after), nn.ReLU()
        )
        self.first = nn.Sequential(*_convolution(after + skip, after, "batch"))
        self.second = nn.Sequential(*_convolution(after, after, "batch"))

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Return the larger map."""
        current = self.first(torch.cat((self.grow(x), self.skip(skip)), dim=1))
        added: Tensor = current + self.second(current)
        return added
