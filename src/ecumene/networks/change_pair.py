"""What networks of two dates have in common: a pair in, one answer a pixel, and their blocks of convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from ecumene.networks.base import BaseNetwork

PAIR = 2
"""Dates that such a network reads; `NetworkInfo.dates` says it before torch is imported."""


class PairNetwork(BaseNetwork):
    """A network that compares two dates, see `contract.Network`.

    The first and the last date of `x` `[B, T, C, H, W]` are compared, so that a made-up series may be longer; what
    maps real scenes refuses any other number than two. Days and `valid` are not read: a pixel that lacks a date is 0
    on both, as `scenes.complete` delivers it.
    """

    temporal = True


def both_dates(x: Tensor) -> Tensor:
    """Return the first and the last date of `[B, T, C, H, W]` as images `[2 B, C, H, W]`, a pair side by side.

    Pairs stay together along the batch, so that whatever repeats a batch (members) finds its parts in order.
    """
    return x[:, :: max(1, x.shape[1] - 1)][:, :PAIR].flatten(0, 1)


def apart(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return the features of the earlier and of the later date, each `[B, ...]`, of `[2 B, ...]`."""
    pairs = features.unflatten(0, (-1, PAIR))
    return pairs[:, 0], pairs[:, 1]


def convolutions(widths: Sequence[int], dropout: float = 0.0) -> nn.Sequential:
    """Return 3x3 convolutions with bias, each with batch normalisation, ReLU and (if any) dropout of channels.

    Args:
        widths: Channels before, between and after.
        dropout: Share of channels dropped after each while training.
    """
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
        if dropout:
            layers.append(nn.Dropout2d(dropout))
    return nn.Sequential(*layers)
