"""Which samples form which batch of an epoch, by seed and epoch only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class BatchOrder:
    """The batches of every epoch as numbers of samples.

    Args:
        count: Samples.
        size: Samples of a batch.
        seed: Of the order.
        shuffle: False keeps the order of the samples.
    """

    def __init__(self, count: int, size: int, seed: int, shuffle: bool) -> None:
        self._count, self._seed, self._shuffle = count, seed, shuffle
        self._bounds = [(start, min(start + size, count)) for start in range(0, count, size)]
        # Batch statistics of a single sample mean nothing: it joins the batch before.
        if shuffle and len(self._bounds) > 1 and self._bounds[-1][1] - self._bounds[-1][0] == 1:
            self._bounds[-2:] = [(self._bounds[-2][0], count)]

    def __len__(self) -> int:
        return len(self._bounds)

    def batches(self, epoch: int) -> list[NDArray[np.int64]]:
        """Return the numbers of each batch's samples in an epoch."""
        order = np.arange(self._count)
        if self._shuffle:
            order = np.random.default_rng([self._seed, epoch]).permutation(len(order))
        return [order[start:stop] for start, stop in self._bounds]
