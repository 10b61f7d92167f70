"""A histogram of magnitudes that grows with what it sees, the same whatever the blocks and their order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BINS = 8192


class MagnitudeHistogram:
    """Counts of magnitudes >= 0 in bins of one width, a power of two that fits the largest value seen.

    Bins are merged in pairs when a larger value comes, so counts do not depend on the order of the values. The
    largest value lies in the upper half, so a bin is at most 1/4096 of it.
    """

    def __init__(self) -> None:
        self.counts = np.zeros(BINS, np.int64)
        self._exponent: int | None = None

    @property
    def width(self) -> float:
        """Width of a bin."""
        return 2.0 ** (self._exponent if self._exponent is not None else 0)

    @property
    def centres(self) -> NDArray[np.float64]:
        """Centres of the bins."""
        return np.asarray((np.arange(BINS) + 0.5) * self.width)

    @property
    def total(self) -> int:
        """Number of values."""
        return int(self.counts.sum())

    def add(self, values: NDArray[np.floating]) -> None:
        """Count values, all finite and >= 0.

        Args:
            values: Of any shape.
        """
        flat = np.asarray(values, np.float64).ravel()
        largest = float(flat.max(initial=0.0))
        if largest > 0.0:
            needed = int(np.frexp(largest / BINS)[1])
            if self._exponent is None:
                # Zeros seen before lie in the first bin of any width.
                self._exponent = needed
            while self._exponent < needed:
                self.counts = np.concatenate([self.counts.reshape(-1, 2).sum(axis=1), np.zeros(BINS // 2, np.int64)])
                self._exponent += 1
        index = np.minimum((flat / self.width).astype(np.int64), BINS - 1)
        self.counts += np.bincount(index, minlength=BINS)

    def quantile(self, share: float) -> float:
        """Return the value below which `share` (0..1) of the values lie, linear within a bin.

        Args:
            share: Of the values.
        """
        below = np.concatenate([[0], np.cumsum(self.counts)])
        return float(np.interp(share * below[-1], below, np.arange(BINS + 1) * self.width))
