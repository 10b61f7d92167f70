"""The U-Net and the patch discriminator of image translation against a discriminator (pix2pix)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ecumene.core.errors import ConfigurationError
from ecumene.networks.base import check_dropout
from ecumene.networks.projection import FixedProjection
from ecumene.networks.restoration import RestorationNetwork

DROPPED_LEVELS = 3
"""Innermost levels of the decoder with dropout."""
START_STD = 0.02


class Pix2PixUNet(RestorationNetwork):
    """The U-Net of pix2pix (Isola et al. 2017, arXiv 1611.07004) for cloud removal (Grohnfeldt, Schmitt, Zhu 2018).

    Eight convolutions 4 x 4 with stride 2 down (LeakyReLU 0.2), eight transposed ones up (ReLU), skip connections,
    batch normalisation but for the outermost and the innermost maps, dropout 0.5 in the three innermost levels of the
    decoder while training, tanh. Reflectance and backscatter come and go in [-1, 1].

    Differences: batch normalisation uses its running statistics and dropout is off when a map is made (pix2pix keeps
    both as in training, so that a map would depend on its windows and on chance). Its 256 x 256 pixels see the whole
    window; `margin` states what is usually enough. Variances as `RestorationNetwork.with_change` has them.

    For three channels and three bands 54,413,955 weights (pinned by a test), the 54.4 million of pix2pix.

    Args:
        in_channels: Channels, the bands to restore first.
        n_outputs: See `RestorationNetwork`.
        targets: See there.
        width: w.
        depth: d; windows are multiples of 2^d.
        dropout: Of the three innermost levels.
        scaling: See there.

    Raises:
        ConfigurationError: If an argument is out of range.
    """

    def __init__(
        self,
        in_channels: int,
        n_outputs: int,
        targets: int | None = None,
        width: int = 64,
        depth: int = 8,
        dropout: float = 0.5,
        scaling: str = "symmetric",
    ) -> None:
        super().__init__(in_channels, n_outputs, targets, scaling)
        check_dropout(dropout, "pix2pix-unet")
        if width < 1 or not 2 <= depth <= 8:
            raise ConfigurationError(
                f"pix2pix-unet needs a width of 1 or more and a depth of 2 to 8, not {width} and {depth}."
            )
        widths = [min(2**level, 8) * width for level in range(depth)]
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        for level, after in enumerate(widths):
            parts: list[nn.Module] = [] if level == 0 else [nn.LeakyReLU(0.2)]
            before = in_channels if level == 0 else widths[level - 1]
            parts.append(nn.Conv2d(before, after, 4, stride=2, padding=1, bias=False))
            if 0 < level < depth - 1:
                parts.append(nn.BatchNorm2d(after))
            self.down.append(nn.Sequential(*parts))
        for level in reversed(range(1, depth)):
            before = widths[level] * (1 if level == depth - 1 else 2)
            steps: list[nn.Module] = [
                nn.ReLU(),
                nn.ConvTranspose2d(before, widths[level - 1], 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(widths[level - 1]),
            ]
            if depth - 1 - level < DROPPED_LEVELS:
                steps.append(nn.Dropout(dropout))
            self.up.append(nn.Sequential(*steps))
        self.head = nn.Sequential(
            nn.ReLU(), nn.ConvTranspose2d(2 * widths[0], self.bands, 4, stride=2, padding=1), nn.Tanh()
        )
        self.projection = FixedProjection(self.bands, 32)
        self.feature_channels = self.projection.out_channels
        self.stride, self.margin = 2**depth, min(64, 2 ** (depth + 1))
        start_normal(self)

    def translate(self, x: Tensor) -> Tensor:
        """Return the clear bands `[B, K, H, W]` in [-1, 1] of `x` `[B, C, H, W]` within its limits."""
        maps = []
        for block in self.down:
            x = block(x)
            maps.append(x)
        for block, skip in zip(self.up, reversed(maps[:-1]), strict=True):
            x = torch.cat((block(x), skip), dim=1)
        clear: Tensor = self.head(x)
        return clear

    def forward_features(
        self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return (means and variances, features `[B, F, H, W]`: what was changed)."""
        limited = self.limited(x)
        seen = limited[:, : self.bands]
        clear = self.translate(limited)
        return self.with_change(clear, [seen]), self.projection(clear - seen)


class PatchDiscriminator(nn.Module):
    """Says of each 70 x 70 pixels whether they are real (the "70 x 70 PatchGAN" of pix2pix).

    Convolutions 4 x 4: three with stride 2 and two with stride 1, 64 to 512 channels, LeakyReLU 0.2, batch
    normalisation but for the first and the last; logits out. For 6 channels and width 64: 2,768,705 weights (pinned by
    a test).

    Args:
        in_channels: Of condition and image together.
        width: Channels of the first layer.
    """

    def __init__(self, in_channels: int, width: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(in_channels, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for before, after, stride in ((1, 2, 2), (2, 4, 2), (4, 8, 1)):
            layers += [
                nn.Conv2d(before * width, after * width, 4, stride=stride, padding=1, bias=False),
                nn.BatchNorm2d(after * width),
                nn.LeakyReLU(0.2),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(8 * width, 1, 4, stride=1, padding=1))
        start_normal(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `[B, 1, h, w]`, positive for real."""
        logits: Tensor = self.layers(x)
        return logits


def start_normal(network: nn.Module) -> None:
    """Begin as pix2pix does: convolutions with a standard deviation of 0.02, normalisations around 1."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, START_STD)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, START_STD)
            nn.init.zeros_(module.bias)
