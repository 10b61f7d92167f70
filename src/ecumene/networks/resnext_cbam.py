"""ResNeXt-29 for small patches, with or without block attention."""

from __future__ import annotations

from torch import Tensor, nn

from ecumene.core.errors import ConfigurationError
from ecumene.networks.base import BaseNetwork
from ecumene.networks.cbam import Cbam
from ecumene.networks.sen2lcz import he_normal

STAGES = 3


class ResNeXt(BaseNetwork):
    """ResNeXt for patches of about 32 pixels, the baseline of So2Sat LCZ42, with CBAM where `attention` is set.

    A 3x3 convolution to 64 channels, then three stages of `(depth - 2) / 9` bottleneck blocks with 256, 512 and 1024
    channels; the second and third stage begin with stride 2. A block is 1x1, grouped 3x3 and 1x1 convolutions without
    bias, each with batch normalisation; its inner width is `cardinality * base_width`, doubled from stage to stage.
    The first block of a stage projects its input by a 1x1 convolution. Attention acts on a block's result before the
    addition. Global average pooling and a linear layer classify.

    Number of weights without attention: 9 C 64 + 128 for the stem; for a block with input a, inner width d, output b
    and g groups: a d + 9 d^2 / g + d b + 4 d + 2 b, and a b + 2 b for a projection; 1024 K + K for the classifier.

    Xie, Girshick, Dollar, Tu, He (2017), Aggregated residual transformations for deep neural networks, CVPR, section
    5.3 (29 layers, 8 x 64d: 34.4 million weights on three bands and ten classes); CBAM as in Woo et al. (2018). Zhu et
    al. (2020), So2Sat LCZ42, name the network but not its cardinality and width; those of Xie et al. are taken.

    Args:
        in_channels: Bands.
        n_outputs: Classes.
        depth: 9 n + 2.
        cardinality: Groups of the 3x3 convolutions.
        base_width: Channels of a group in the first stage.
        attention: Whether blocks have CBAM.

    Raises:
        ConfigurationError: If an argument is out of range.
    """

    def __init__(
        self,
        in_channels: int,
        n_outputs: int,
        depth: int = 29,
        cardinality: int = 8,
        base_width: int = 64,
        attention: bool = True,
    ) -> None:
        super().__init__()
        if depth < 11 or (depth - 2) % 9 or cardinality < 1 or base_width < 1:
            raise ConfigurationError(
                f"resnext needs a depth of 11, 20, 29, ..., and positive cardinality and width, but got {depth}, "
                f"{cardinality} and {base_width}."
            )
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)
        )
        blocks: list[nn.Module] = []
        before = 64
        for stage in range(STAGES):
            inner, after = cardinality * base_width * 2**stage, 256 * 2**stage
            for number in range((depth - 2) // 9):
                stride = 2 if stage > 0 and number == 0 else 1
                blocks.append(_Block(before, inner, after, cardinality, stride, attention))
                before = after
        self.blocks = nn.Sequential(*blocks)
        self.feature_channels = before
        self.head = nn.Linear(before, n_outputs)
        self.apply(he_normal)

    def forward_features(
        self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return (raw outputs `[B, n_outputs]`, pooled features `[B, 1024]`)."""
        pooled: Tensor = self.blocks(self.stem(x)).mean(dim=(2, 3))
        output: Tensor = self.head(pooled)
        return output, pooled


class _Block(nn.Module):
    """A bottleneck with grouped convolutions."""

    def __init__(self, before: int, inner: int, after: int, groups: int, stride: int, attention: bool) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(before, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, inner, 3, stride, 1, groups=groups, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, after, 1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.attention = Cbam(after) if attention else nn.Identity()
        self.projection: nn.Module = nn.Identity()
        if before != after or stride != 1:
            self.projection = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's result `[B, after, H / stride, W / stride]`."""
        result: Tensor = self.activation(self.projection(x) + self.attention(self.path(x)))
        return result
