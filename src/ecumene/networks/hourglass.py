"""An encoder-decoder with skips whose layers know the date: the prior that a network is fitted to one series with."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecumene.core.errors import ConfigurationError

_SLOPE = 0.2


class DatedNorm(nn.Module):
    """Normalises the channels of an image, then scales and shifts them as its date asks.

    Feature-wise linear modulation (Perez et al. 2018, FiLM): scale and shift are linear in the code of the date, so
    that a date between two others gets what lies between theirs.

    Args:
        channels: Of the image.
        codes: Length of a date's code.
    """

    def __init__(self, channels: int, codes: int) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm2d(channels, affine=False)
        self.scale = nn.Parameter(torch.ones(codes, channels))
        self.shift = nn.Parameter(torch.zeros(codes, channels))

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """Return `[B, C, H, W]` for codes `[B, D]`."""
        scale, shift = code @ self.scale, code @ self.shift
        normed: Tensor = self.norm(x)
        return normed * scale[:, :, None, None] + shift[:, :, None, None]


class _Layer(nn.Module):
    """Convolution, normalisation, leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, codes: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, padding_mode="reflect", bias=False)
        self.norm = DatedNorm(outputs, codes)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        found: Tensor = F.leaky_relu(self.norm(self.conv(x), code), _SLOPE)
        return found


class Hourglass(nn.Module):
    """The hourglass of the deep image prior (Ulyanov, Vedaldi and Lempitsky 2018), for a date of a series at a time.

    Each level halves the image by a strided convolution, convolves once more, and comes back by bilinear interpolation;
    the narrow skip of the level is joined to it, followed by a convolution 3 x 3 and one 1 x 1. Convolutions are padded
    by reflection; leaky ReLU with slope 0.2. The last layer is a convolution 1 x 1 to the bands, without an
    activation, because reflectances come standardised.

    Fewer channels and levels than its authors use, by default. Chosen here: normalisation over the image is followed by
    a scale and shift for each date (`DatedNorm`), because one network makes all dates. It is fitted to one series
    (`restoration.internal_learning`) and no model that could be stored: what it says depends on the whole window, so
    that it is no `BaseNetwork`.

    Args:
        in_channels: Channels of the input.
        bands: Channels of the result.
        codes: Length of a date's code.
        width: Channels of each level.
        skip: Channels of each skip.
        levels: Halvings.

    Raises:
        ConfigurationError: If an argument is out of range.
    """

    def __init__(
        self, in_channels: int, bands: int, codes: int, width: int = 32, skip: int = 8, levels: int = 4
    ) -> None:
        super().__init__()
        if min(in_channels, bands, codes, width, skip, levels) < 1:
            raise ConfigurationError("An hourglass needs channels, bands, codes, width, skips and levels of 1 or more.")
        inputs = [in_channels] + [width] * (levels - 1)
        self.skips = nn.ModuleList(_Layer(size, skip, codes, 1) for size in inputs)
        self.halves = nn.ModuleList(_Layer(size, width, codes, 3, 2) for size in inputs)
        self.downs = nn.ModuleList(_Layer(width, width, codes) for _ in inputs)
        self.joins = nn.ModuleList(DatedNorm(skip + width, codes) for _ in inputs)
        self.ups = nn.ModuleList(_Layer(skip + width, width, codes) for _ in inputs)
        self.mixes = nn.ModuleList(_Layer(width, width, codes, 1) for _ in inputs)
        self.head = nn.Conv2d(width, bands, 1)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """Return `[B, K, H, W]` for inputs `[B, C, H, W]` and the codes `[B, D]` of their dates."""
        seen = []
        for skip, half, down in zip(self.skips, self.halves, self.downs, strict=True):
            seen.append(skip(x, code))
            x = down(half(x, code), code)
        levels = zip(seen, self.joins, self.ups, self.mixes, strict=True)
        for beside, join, up, mix in reversed(list(levels)):
            x = F.interpolate(x, size=beside.shape[-2:], mode="bilinear", align_corners=False)
            x = mix(up(join(torch.cat([beside, x], dim=1), code), code), code)
        result: Tensor = self.head(x)
        return result
