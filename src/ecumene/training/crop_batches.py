"""Batches of windows that are drawn anew in every epoch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ecumene.samples.augmentation import Augmentation
from ecumene.samples.contract import Sample
from ecumene.samples.crops import CropSamples
from ecumene.training.batches import PIXELS_OF_A_BATCH, stack_samples
from ecumene.training.epoch_batches import EpochBatches


def crop_batch_size(samples: CropSamples) -> int:
    """Return samples of about 32,768 pixels and dates together, and not more than an epoch has."""
    dates = samples.regions[0].image.shape[0]
    return int(np.clip(PIXELS_OF_A_BATCH // (samples.size**2 * dates), 2, max(2, len(samples))))


class CropBatches(EpochBatches):
    """Batches of windows; see `EpochBatches`.

    Which window a sample is, and how it is augmented, depend on seed, epoch and number of the sample only.

    Args:
        samples: Where windows are drawn from.
        batch_size: Samples of a batch.
        epoch: Called at the start of an iteration.
        seed: Of order and windows.
        augmentation: Applied to every sample, or None.
        shuffle: False keeps the order of the regions.
    """

    def __init__(
        self,
        samples: CropSamples,
        batch_size: int,
        *,
        epoch: Callable[[], int] = lambda: 0,
        seed: int = 0,
        augmentation: Augmentation | None = None,
        shuffle: bool = False,
    ) -> None:
        super().__init__(len(samples), batch_size, epoch=epoch, seed=seed, shuffle=shuffle)
        self._samples, self._augmentation = samples, augmentation

    def _batch(self, index: NDArray[np.int64], epoch: int) -> dict[str, Tensor]:
        return stack_samples([self._sample(int(number), epoch) for number in index])

    def _sample(self, number: int, epoch: int) -> Sample:
        generator = np.random.default_rng([self._seed, epoch, number])
        sample = self._samples.draw(number, generator)
        return sample if self._augmentation is None else self._augmentation(sample, generator)
