"""Convolutional block attention: which channels, then where."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ecumene.core.errors import ConfigurationError


class Cbam(nn.Module):
    """Channel attention, then spatial attention.

    The channel's weight is the sigmoid of the sum of one shared two-layer perceptron on the average and on the
    maximum of the channel; the place's weight is the sigmoid of a convolution of the mean and the maximum over the
    channels. Number of weights for C channels, ratio r and kernel k: 2 C (C/r) + C/r + C + 2 k^2.

    Averages and maxima go over the whole window, so that a result depends on how far the window reaches.

    Woo, Park, Lee, Kweon (2018), CBAM: Convolutional block attention module, ECCV; without the batch normalisation
    that some implementations put behind the spatial convolution.

    Args:
        channels: Of the map.
        ratio: Channels for each unit of the hidden layer.
        kernel: Side of the spatial convolution, odd.

    Raises:
        ConfigurationError: If an argument is out of range.
    """

    def __init__(self, channels: int, ratio: int = 8, kernel: int = 7) -> None:
        super().__init__()
        if ratio < 1 or channels < ratio or kernel < 1 or kernel % 2 == 0:
            raise ConfigurationError(
                f"Block attention needs at least as many channels as its ratio and an odd kernel, but got "
                f"{channels} channels, ratio {ratio} and kernel {kernel}."
            )
        self.channel = nn.Sequential(
            nn.Conv2d(channels, channels // ratio, 1), nn.ReLU(inplace=True), nn.Conv2d(channels // ratio, channels, 1)
        )
        self.place = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the attended map `[B, C, H, W]`."""
        average, most = x.mean(dim=(2, 3), keepdim=True), x.amax(dim=(2, 3), keepdim=True)
        x = x * torch.sigmoid(self.channel(average) + self.channel(most))
        seen = torch.cat([x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)], dim=1)
        attended: Tensor = x * torch.sigmoid(self.place(seen))
        return attended
