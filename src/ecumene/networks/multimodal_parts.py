"""Parts of U-Nets that read radar and optical bands in a stream each.

Widths `w0 .. w(n-1)` make n poolings and levels of width `w0, w1, .., w(n-1), w(n-1)`: the last one repeats the width.
With d(a, b) = 9ab + 9bb + 6b weights of a double convolution, an encoder of C bands has d(C, w0) + sum over levels of
d(L(i), L(i+1)) weights, and a decoder sum over i < n of 4 L(i)^2 + L(i) + d(2 L(i), L(max(i-1, 0))).

Layers as in the authors' code of Hafner, Ban, Nascetti (RSE 280, 113192, 2022; Remote Sensing 15(21), 5135, 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from ecumene.core.errors import ConfigurationError
from ecumene.networks.contract import Loss
from ecumene.samples.contract import IGNORE

LARGEST_MARGIN = 32


class DoubleConvolution(nn.Sequential):
    """Twice 3x3 convolution with bias, batch normalisation, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, padding=1),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


class Encoder(nn.Module):
    """Way down of a U-Net.

    Args:
        in_channels: Bands.
        widths: See the module.
    """

    def __init__(self, in_channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.first = DoubleConvolution(in_channels, widths[0])
        self.down = nn.ModuleList(DoubleConvolution(a, b) for a, b in pairwise(levels_of(widths)))
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the maps of all levels, finest first."""
        maps = [self.first(x)]
        for block in self.down:
            maps.append(block(self.pool(maps[-1])))
        return maps


class Decoder(nn.Module):
    """Way up of a U-Net: transposed convolution of the coarser map, joined with the finer one.

    Args:
        widths: See the module.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        upwards = list(reversed(range(len(widths))))
        self.grow = nn.ModuleList(nn.ConvTranspose2d(widths[i], widths[i], 2, stride=2) for i in upwards)
        self.join = nn.ModuleList(DoubleConvolution(2 * widths[i], widths[max(i - 1, 0)]) for i in upwards)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return `[B, w0, H, W]` of the maps of all levels, finest first."""
        x = maps[-1]
        for grow, join, skip in zip(self.grow, self.join, reversed(maps[:-1]), strict=True):
            x = join(torch.cat((skip, grow(x)), dim=1))
        return x


def levels_of(widths: Sequence[int]) -> tuple[int, ...]:
    """Return the widths of all levels, finest first."""
    return (*widths, widths[-1])


def check_streams(in_channels: int, streams: Sequence[Sequence[int]], what: str) -> list[list[int]]:
    """Return the positions of each stream's channels.

    Raises:
        ConfigurationError: If the streams do not share out the channels; `what` says whose they are.
    """
    chosen = [list(stream) for stream in streams]
    listed = [position for stream in chosen for position in stream]
    if not all(chosen) or sorted(listed) != list(range(in_channels)):
        raise ConfigurationError(
            f"The streams of {what} must hold each of the {in_channels} channels once, but are {chosen}."
        )
    return chosen


def radar_and_optical(
    in_channels: int, streams: Sequence[Sequence[int]] | None, what: str
) -> tuple[list[int], list[int]]:
    """Return the positions of the radar and of the optical channels.

    Args:
        in_channels: All channels.
        streams: Both; None: the first two channels, and the others.
        what: Whose they are.

    Raises:
        ConfigurationError: If there are not two streams, or they do not share out the channels.
    """
    chosen = (range(2), range(2, in_channels)) if streams is None else streams
    if len(chosen) != 2 or not all(len(stream) for stream in chosen):
        raise ConfigurationError(
            f"{what} reads radar and optical bands in a stream each, but its {in_channels} channels make "
            f"{[list(stream) for stream in chosen]}; give bands of both sensors."
        )
    radar, optical = check_streams(in_channels, chosen, what)
    return radar, optical


def margin_of(widths: Sequence[int]) -> int:
    """Return the useful half of the receptive field, a multiple of the stride while that is no larger."""
    stride = 1 << len(widths)
    return max(stride, min(LARGEST_MARGIN, 4 * stride))


def head_width(n_outputs: int) -> int:
    """Return the channels of a head: the published single score for two classes, else one a class."""
    return 1 if n_outputs == 2 else n_outputs


def as_logits(score: Tensor) -> Tensor:
    """Return class logits `[B, K, H, W]`: of a single score s (-s/2, s/2), whose softmax is the logistic of s."""
    return torch.cat((-0.5 * score, 0.5 * score), dim=1) if score.shape[1] == 1 else score


def first_map(target: Tensor) -> Tensor:
    """Return the map that is the network's answer, `[B, H, W]`, of one or several maps `[B, (M,) H, W]`."""
    return target[:, 0] if target.ndim == 4 else target


def agreement(loss: Loss, student: Tensor, teacher: Tensor, target: Tensor, valid: Tensor, *, detach: bool) -> Tensor:
    """Return the loss of a student against a teacher's class probabilities, over samples without any label.

    Args:
        loss: Of an objective that takes probabilities `[B, K, H, W]` as soft targets.
        student: Logits `[B, K, H, W]`.
        teacher: Logits `[B, K, H, W]`.
        target: Labels `[B, (M,) H, W]`, -1 unlabelled.
        valid: bool `[B, H, W]`.
        detach: Whether the teacher learns nothing from it.
    """
    labelled = (target != IGNORE).flatten(1).any(dim=1)
    soft = teacher.float().softmax(dim=1)
    return loss(student.float(), soft.detach() if detach else soft, valid & ~labelled[:, None, None])
