"""Batches of cloudy images with their clear counterparts, read in the background, turned and cropped alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecumene.samples.augmentation import d4_array
from ecumene.training.epoch_batches import EpochBatches

if TYPE_CHECKING:
    from ecumene.samples.restoration_set import RestorationSamples

AHEAD = 2
"""Batches that are read ahead of the training; they bound the memory."""


class RestorationBatches(EpochBatches):
    """Batches of cloudy images with their clear counterparts; see `EpochBatches`.

    A batch has `image`, `target` and, for series, `dates`.

    Args:
        samples: Its `read` is called from a thread.
        size: Samples of a batch.
        epoch: Called at the start of an iteration; its result and `seed` fix order, turns and windows.
        seed: See there.
        turned: Turn, flip and crop each sample at random; False: as they are.
        shuffle: False keeps the order of the samples.
        crop: Side of a random window of each sample (with `turned`); None: what the samples say.
        observed: The target is what `RestorationSet.packed` gives, the bands as observed in it; False: the clear bands
            alone, which saves a median over the dates of a series.
    """

    def __init__(
        self,
        samples: RestorationSamples,
        size: int,
        *,
        epoch: Callable[[], int] = lambda: 0,
        seed: int = 0,
        turned: bool = False,
        shuffle: bool = False,
        crop: int | None = None,
        observed: bool = True,
    ) -> None:
        super().__init__(len(samples), size, epoch=epoch, seed=seed, shuffle=shuffle, workers=1, ahead=AHEAD)
        self._samples, self._turned, self._observed = samples, turned, observed
        self._crop = crop if crop is not None else samples.crop

    def _batch(self, index: NDArray[np.int64], epoch: int) -> dict[str, Tensor]:
        chosen = self._samples.read(index)
        image, target = chosen.image, chosen.packed() if self._observed else chosen.target
        if self._turned:
            pairs = [
                self._augmented(image[place], target[place], np.random.default_rng([self._seed, epoch, int(number)]))
                for place, number in enumerate(index)
            ]
            image, target = (np.stack([pair[part] for pair in pairs]) for part in (0, 1))
        batch = {"image": _tensor(image), "target": _tensor(target)}
        if chosen.temporal:
            batch["dates"] = _tensor(chosen.dates)
        return batch

    def _augmented(
        self, image: NDArray[np.float32], target: NDArray[np.float32], generator: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return a window of both, turned and flipped by the same of the eight symmetries."""
        rows, cols = image.shape[-2:]
        if self._crop is not None and self._crop < min(rows, cols):
            row, col = (int(generator.integers(side - self._crop + 1)) for side in (rows, cols))
            inside: Any = (..., slice(row, row + self._crop), slice(col, col + self._crop))
            image, target = image[inside], target[inside]
        element = int(generator.integers(8)) if image.shape[-1] == image.shape[-2] else 2 * int(generator.integers(4))
        return d4_array(image, element), d4_array(target, element)


def _tensor(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))
