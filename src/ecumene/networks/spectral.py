"""What networks share that read the spectrum of each pixel by itself."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ecumene.networks.base import BaseNetwork
from ecumene.networks.projection import FixedProjection


class SpectralNetwork(BaseNetwork):
    """An encoder of spectra with a linear classifier behind it, run on every pixel.

    Subclasses set `chunk`, `classifier`, `projection` and `feature_channels`, and define `encode`.
    """

    chunk: int
    classifier: nn.Linear
    projection: FixedProjection

    @abstractmethod
    def encode(self, spectra: Tensor) -> Tensor:
        """Return what the classifier sees, `[N, S]`, of spectra `[N, C]`."""

    def summarise(self, encoded: Tensor) -> Tensor:
        """Return the part of what the classifier sees that the features are made of."""
        return encoded

    def forward(self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None) -> Tensor:
        """Return raw outputs `[B, n_outputs, H, W]` of `x` `[B, C, H, W]` in normalised units."""
        return per_pixel(x, lambda spectra: (self.classifier(self.encode(spectra)),), self.chunk)[0]

    def forward_features(
        self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return (raw outputs `[B, n_outputs, H, W]`, features `[B, F, H, W]`)."""
        output, features = per_pixel(x, self._both, self.chunk)
        return output, features

    def _both(self, spectra: Tensor) -> tuple[Tensor, Tensor]:
        encoded = self.encode(spectra)
        features = self.projection(self.summarise(encoded)[:, :, None, None])[:, :, 0, 0]
        return self.classifier(encoded), features


def per_pixel(x: Tensor, run: Callable[[Tensor], tuple[Tensor, ...]], chunk: int) -> tuple[Tensor, ...]:
    """Run something that reads spectra on every pixel of images.

    Args:
        x: `[B, C, H, W]`.
        run: Takes spectra `[N, C]`, returns tensors `[N, D]`.
        chunk: Pixels of one call where no gradient is needed (an exported graph has one call).

    Returns:
        The tensors as `[B, D, H, W]`.
    """
    batch, channels, height, width = x.shape
    spectra = x.permute(0, 2, 3, 1).reshape(-1, channels)
    if torch.is_grad_enabled() or torch.compiler.is_exporting():
        results = run(spectra)
    else:
        parts = [run(part) for part in spectra.split(chunk)]
        results = tuple(torch.cat(same) for same in zip(*parts, strict=True))
    return tuple(result.reshape(batch, height, width, -1).permute(0, 3, 1, 2) for result in results)
