"""Residual convolutions that learn to rebuild a patch, and a classifier that begins with them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ecumene.core.errors import ConfigurationError
from ecumene.networks.base import BaseNetwork

WIDTHS = (64, 128, 256)
PATCH = 15


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with normalisation, added to their input (He et al. 2016).

    Weights for a input and b output channels: `9 a b + 9 b b + 4 b`, and `a b + 2 b` where a and b differ.

    Args:
        inputs: Channels a.
        outputs: Channels b.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return `[B, b, H, W]` of `[B, a, H, W]`."""
        return torch.relu(self.body(x) + self.shortcut(x))


class ConvolutionalHalf(nn.Module):
    """Stages of a residual block and max pooling that remembers where each maximum was.

    Args:
        in_channels: Bands.
        widths: Channels of the stages.
    """

    def __init__(self, in_channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        befores = (in_channels, *widths[:-1])
        self.stages = nn.ModuleList(ResidualBlock(a, b) for a, b in zip(befores, widths, strict=True))
        self.pool = nn.MaxPool2d(2, return_indices=True)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor], list[torch.Size]]:
        """Return (features, positions of the maxima, sizes before pooling), stage after stage."""
        positions, sizes = [], []
        for stage in self.stages:
            x = stage(x)
            sizes.append(x.shape)
            x, where = self.pool(x)
            positions.append(where)
        return x, positions, sizes


class ResidualConvDeconv(nn.Module):
    """A network that rebuilds hyperspectral patches, learned without labels.

    Mou, Ghamisi and Zhu, "Unsupervised Spectral-Spatial Feature Learning via Deep Residual Conv-Deconv Network for
    Hyperspectral Image Classification", IEEE TGRS 56(1), 2018: residual blocks with max pooling that remembers its
    positions, and their mirror with un-pooling at these positions; the mean squared error of the patch is minimised.
    Number and width of the stages and the patch are not known from the paper; three stages of 64, 128 and 256 channels
    are a choice.

    Weights: those of the blocks of both halves (see `ResidualBlock`), and `9 widths[0] C + C` of the last layer.

    Args:
        in_channels: Bands C.
        widths: Channels of the stages.

    Raises:
        ConfigurationError: If a width is out of range.
    """

    def __init__(self, in_channels: int, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        _check(widths)
        self.encoder = ConvolutionalHalf(in_channels, widths)
        afters = (*reversed(widths[:-1]), widths[0])
        self.mirror = nn.ModuleList(ResidualBlock(a, b) for a, b in zip(reversed(widths), afters, strict=True))
        self.last = nn.Conv2d(widths[0], in_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the rebuilt `[B, C, H, W]` of `x` `[B, C, H, W]` in standardised units."""
        features, positions, sizes = self.encoder(x)
        for block, where, size in zip(self.mirror, reversed(positions), reversed(sizes), strict=True):
            features = block(unpool(features, where, size))
        rebuilt: Tensor = self.last(features)
        return rebuilt

    def feature_maps(self, x: Tensor) -> Tensor:
        """Return the first stage's maps `[B, widths[0], H, W]` of images of any size."""
        maps: Tensor = self.encoder.stages[0](x)
        return maps


class ResidualConvClassifier(BaseNetwork):
    """The convolutional half with two fully connected layers: the class of a patch's centre.

    Its `encoder` has the names and shapes of that of `ResidualConvDeconv`, so that what was learned without labels
    is where it begins. Weights besides the encoder's, for a patch of P pixels and s = P // 2^stages:
    `(widths[-1] s s + 1) hidden + (hidden + 1) K`.

    Args:
        in_channels: Bands.
        n_outputs: Output channels K.
        widths: Channels of the stages.
        hidden: Units of the first fully connected layer.
        patch: Rows and columns P of a patch.
        dropout: Share of the hidden units dropped while training.

    Raises:
        ConfigurationError: If an argument is out of range.
    """

    def __init__(
        self,
        in_channels: int,
        n_outputs: int,
        widths: Sequence[int] = WIDTHS,
        hidden: int = 256,
        patch: int = PATCH,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        _check(widths)
        side = patch >> len(widths)
        if hidden < 1 or side < 1 or not 0.0 <= dropout < 1.0:
            raise ConfigurationError(
                f"residual-conv needs hidden units, a dropout in [0, 1) and patches of at least {1 << len(widths)} "
                f"pixels, but got {hidden}, {dropout} and {patch}."
            )
        self.encoder = ConvolutionalHalf(in_channels, widths)
        self.hidden = nn.Linear(widths[-1] * side * side, hidden)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(hidden, n_outputs)
        self.feature_channels = hidden

    def forward_features(
        self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return (raw outputs `[B, n_outputs]`, hidden units `[B, F]`) of patches `x` `[B, C, P, P]`."""
        features = torch.relu(self.hidden(self.encoder(x)[0].flatten(1)))
        output: Tensor = self.classifier(self.dropout(features))
        return output, features


def unpool(x: Tensor, where: Tensor, size: torch.Size) -> Tensor:
    """Put the values of a pooled map back to the positions that they came from; 0 elsewhere.

    Windows of the pooling do not overlap, so that no position is written twice.

    Args:
        x: `[B, K, h, w]`.
        where: int64 `[B, K, h, w]`, positions in the flattened larger map.
        size: Shape `[B, K, H, W]` of that map.
    """
    return x.new_zeros(*size[:2], size[2] * size[3]).scatter(2, where.flatten(2), x.flatten(2)).view(size)


def _check(widths: Sequence[int]) -> None:
    if not widths or min(widths) < 1:
        raise ConfigurationError(f"The stages of a residual network need positive widths, but got {list(widths)}.")
