"""Weighted means and covariances summed block by block."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Moments:
    """Weighted mean and covariance of vectors that come in blocks.

    Blocks are joined by the update of Chan, Golub and LeVeque (1983), which does not lose digits where the mean is
    large beside the deviation.
    """

    def __init__(self, size: int) -> None:
        self.weight = 0.0
        self.mean = np.zeros(size)
        self._scatter = np.zeros((size, size))

    def add(self, vectors: NDArray[np.float64], weights: NDArray[np.float64] | None = None) -> None:
        """Add vectors.

        Args:
            vectors: `[size, n]`.
            weights: `[n]`, >= 0; all 1 if left out.
        """
        if not vectors.shape[1]:
            return
        total = float(vectors.shape[1] if weights is None else weights.sum())
        if total <= 0.0:
            return
        mean = vectors.mean(axis=1) if weights is None else vectors @ weights / total
        centred = vectors - mean[:, None]
        scatter = (centred if weights is None else centred * weights) @ centred.T
        apart = mean - self.mean
        joint = self.weight + total
        self._scatter += scatter + np.outer(apart, apart) * (self.weight * total / joint)
        self.mean = self.mean + apart * (total / joint)
        self.weight = joint

    @property
    def covariance(self) -> NDArray[np.float64]:
        """Covariance matrix, divided by the sum of weights."""
        return np.asarray(self._scatter / max(self.weight, 1e-300))

    @property
    def deviation(self) -> NDArray[np.float64]:
        """Standard deviations."""
        return np.asarray(np.sqrt(np.diagonal(self.covariance)))
