"""A fixed reduction of feature channels."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FixedProjection(nn.Module):
    """Orthonormal random projection of channels, a 1x1 convolution that is never trained.

    Random projections keep distances up to a small distortion (Johnson and Lindenstrauss 1984), which is what
    outlier scores need of features, at a cost that does not depend on any fitting. With no more channels
    than wanted it is a rotation. The matrix is drawn from a fixed seed and stored with the weights.

    Args:
        in_channels: Channels of the map.
        out_channels: Most channels to keep; the result has `min(in_channels, out_channels)`.
        seed: Of the draw.
    """

    weight: Tensor

    def __init__(self, in_channels: int, out_channels: int, seed: int = 0) -> None:
        super().__init__()
        self.out_channels = min(in_channels, out_channels)
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randn(in_channels, self.out_channels, generator=generator, dtype=torch.float64)
        basis, _ = torch.linalg.qr(drawn)
        # Rows of unit length times sqrt(in/out) keep squared norms in expectation.
        scaled = basis.T * math.sqrt(in_channels / self.out_channels)
        self.register_buffer("weight", scaled.float()[:, :, None, None].contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """Return `[B, out_channels, H, W]` of `[B, in_channels, H, W]`."""
        return F.conv2d(x, self.weight.to(x.dtype))
