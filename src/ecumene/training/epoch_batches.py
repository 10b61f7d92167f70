"""What every iterable of batches shares: an order that depends on seed and epoch only, and reading ahead of it."""

from __future__ import annotations

import abc
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ecumene.training.batch_order import BatchOrder


class EpochBatches(abc.ABC):
    """An iterable of batches; iterating again gives the batches of the epoch that it is then.

    Args:
        count: Number of samples.
        batch_size: Samples of a batch.
        epoch: Called at the start of an iteration; its result and `seed` fix what a batch holds.
        seed: Of the order and of all that is drawn.
        shuffle: False keeps the order of the samples.
        workers: Threads that make batches ahead of the training; 0: each is made when it is asked for.
        ahead: Batches that each thread may be ahead; they bound the memory.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        *,
        epoch: Callable[[], int],
        seed: int,
        shuffle: bool,
        workers: int = 0,
        ahead: int = 1,
    ) -> None:
        self._epoch, self._seed, self._workers, self._ahead = epoch, seed, workers, ahead
        self._order = BatchOrder(count, batch_size, seed, shuffle)

    def __len__(self) -> int:
        return len(self._order)

    @abc.abstractmethod
    def _batch(self, index: NDArray[np.int64], epoch: int) -> dict[str, Tensor]:
        """Return the batch of the samples with these numbers; called from several threads where there are workers."""

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        epoch = self._epoch()
        parts = deque(self._order.batches(epoch))
        if not self._workers:
            for index in parts:
                yield self._batch(index, epoch)
            return
        waiting: deque[Future[dict[str, Tensor]]] = deque()
        pool = ThreadPoolExecutor(self._workers, "batches")
        try:
            while parts or waiting:
                while parts and len(waiting) < self._ahead * self._workers:
                    waiting.append(pool.submit(self._batch, parts.popleft(), epoch))
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
