"""A network that learns to remove speckle from complex images alone: one part of the signal predicts the other."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ecumene.core.errors import ConfigurationError
from ecumene.networks.base import BaseNetwork
from ecumene.networks.projection import FixedProjection


class _Block(nn.Sequential):
    """Twice 3x3 convolution and leaky ReLU; no normalisation, so that the output keeps the radiometry of its input."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, padding=1, padding_mode="reflect"),
            nn.LeakyReLU(0.1, inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, padding_mode="reflect"),
            nn.LeakyReLU(0.1, inplace=True),
        )


class MerlinUNet(BaseNetwork):
    """U-Net from the log intensity of the real (or imaginary) part to the log reflectivity.

    Dalsasso, Denis and Tupin (2022, doi 10.1109/TGRS.2021.3128621, MERLIN) train the U-Net of Noise2Noise. Differences:
    three levels and widths w, 2w, 2w, small enough to be trained on one scene on a laptop; leaky ReLU; reflected
    borders; bilinear upsampling.

    Number of weights for width w, C input and K output channels, a block from a to b having `9ab + 9bb + 2b`:
    blocks C->w, w->2w, 2w->2w, 4w->2w, 3w->w, and the head `w K + K`.

    Args:
        in_channels: Channels; one a polarisation.
        n_outputs: Output channels.
        width: Channels of the first level.

    Raises:
        ConfigurationError: If the width is below 4.
    """

    stride = 4
    margin = 24

    def __init__(self, in_channels: int = 1, n_outputs: int = 1, width: int = 24) -> None:
        super().__init__()
        if width < 4:
            raise ConfigurationError(f"merlin needs a width of at least 4, but got {width}.")
        self.width = width
        self.down = nn.ModuleList([_Block(in_channels, width), _Block(width, 2 * width), _Block(2 * width, 2 * width)])
        self.up = nn.ModuleList([_Block(4 * width, 2 * width), _Block(3 * width, width)])
        self.pool = nn.AvgPool2d(2)
        self.grow = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.head = nn.Conv2d(width, n_outputs, 1)
        self.projection = FixedProjection(width, 32)
        self.feature_channels = self.projection.out_channels

    def _decode(self, x: Tensor) -> Tensor:
        first = self.down[0](x)
        second = self.down[1](self.pool(first))
        third = self.down[2](self.pool(second))
        second = self.up[0](torch.cat((self.grow(third), second), dim=1))
        decoded: Tensor = self.up[1](torch.cat((self.grow(second), first), dim=1))
        return decoded

    def forward(self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None) -> Tensor:
        """Return standardised log reflectivity `[B, K, H, W]` of standardised log intensities `[B, C, H, W]`."""
        output: Tensor = self.head(self._decode(x))
        return output

    def forward_features(
        self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return (outputs `[B, K, H, W]`, features `[B, F, H, W]`)."""
        decoded = self._decode(x)
        return self.head(decoded), self.projection(decoded)


def merlin_loss(log_reflectivity: Tensor, other_part: Tensor, valid: Tensor) -> Tensor:
    """Return the mean negative log-likelihood of the other part of the signal.

    For circular Gaussian speckle of reflectivity R both parts are independent normals of variance R / 2, so
    `-ln p(b | R) = b^2 / R + ln(R) / 2` up to a constant (Dalsasso et al. 2022, eq. 6). Its minimum over functions
    of the real part is the reflectivity that the real part lets expect, without any speckle-free image.

    Args:
        log_reflectivity: ln R predicted from one part, any shape.
        other_part: The other part, same shape.
        valid: Pixels that count, bool, same shape.
    """
    # Clamped so that one wild start does not overflow exp; reflectivities of a scene span far less.
    bounded = log_reflectivity.clamp(-60.0, 60.0)
    each = other_part.square() * torch.exp(-bounded) + 0.5 * bounded
    return (each * valid).sum() / valid.sum().clamp(min=1)
