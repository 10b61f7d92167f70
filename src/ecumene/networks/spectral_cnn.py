"""A convolutional network along the spectrum of a pixel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ecumene.core.errors import ConfigurationError
from ecumene.networks.projection import FixedProjection
from ecumene.networks.spectral import SpectralNetwork


class SpectralCNN(SpectralNetwork):
    """One convolution along the bands, max pooling, one hidden layer, linear classifier, all with tanh.

    Hu et al., "Deep Convolutional Neural Networks for Hyperspectral Image Classification", Journal of Sensors 2015,
    doi 10.1155/2015/258619: 20 kernels of floor(C / 9) bands, pooling that leaves about 40 positions, 100 hidden units.
    Layer sizes are quoted from memory. For C bands and K outputs, with `k = max(1, C // 9)`, `m = C - k + 1`,
    `p = ceil(m / 40)`, `n = m // p`: weights `20 k + 20`, `(20 n + 1) hidden` and `(hidden + 1) K`.

    Args:
        in_channels: Bands C, in the order of their wavelength.
        n_outputs: Output channels K.
        kernels: Kernels of the convolution.
        hidden: Units of the hidden layer.
        positions: Positions that pooling leaves at most.
        chunk: Pixels run at once where no gradient is needed.

    Raises:
        ConfigurationError: If an argument is out of range.
    """

    def __init__(
        self,
        in_channels: int,
        n_outputs: int,
        kernels: int = 20,
        hidden: int = 100,
        positions: int = 40,
        chunk: int = 4096,
    ) -> None:
        super().__init__()
        if min(kernels, hidden, positions, chunk) < 1:
            raise ConfigurationError("spectral-cnn needs at least one kernel, hidden unit, position and pixel a chunk.")
        length = max(1, in_channels // 9)
        left = in_channels - length + 1
        pooled = -(-left // positions)
        self.chunk = chunk
        self.convolution = nn.Conv1d(1, kernels, length)
        self.pooling = nn.MaxPool1d(pooled)
        self.hidden = nn.Linear(kernels * (left // pooled), hidden)
        self.classifier = nn.Linear(hidden, n_outputs)
        self.projection = FixedProjection(hidden, 32)
        self.feature_channels = self.projection.out_channels

    def encode(self, spectra: Tensor) -> Tensor:
        """Return the hidden layer `[N, hidden]` of spectra `[N, C]`."""
        pooled = self.pooling(torch.tanh(self.convolution(spectra[:, None])))
        return torch.tanh(self.hidden(pooled.flatten(1)))
