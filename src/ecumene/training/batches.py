"""Batches of patches that are in memory, in an order that depends on seed and epoch only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecumene.samples.augmentation import Augmentation
from ecumene.samples.contract import Sample

if TYPE_CHECKING:
    from ecumene.samples.patches import PatchSet

PIXELS_OF_A_BATCH = 32_768


def default_batch_size(patches: PatchSet) -> int:
    """Return samples of about 32,768 pixels and dates together, and at least four steps an epoch."""
    shape = patches.image.shape
    pixels = shape[-1] * shape[-2] * (shape[1] if len(shape) == 5 else 1)
    return int(np.clip(PIXELS_OF_A_BATCH // pixels, 2, max(2, len(patches) // 4)))


class Batches:
    """An iterable of batches; iterating again gives the batches of the epoch that it is then.

    Args:
        patches: The samples.
        batch_size: Samples of a batch.
        epoch: Called at the start of an iteration; its result and `seed` fix the order.
        seed: Of the order.
        augmentation: Applied to every sample with a generator of its own, or None.
        shuffle: False keeps the order of the patches.
    """

    def __init__(
        self,
        patches: PatchSet,
        batch_size: int,
        *,
        epoch: Callable[[], int] = lambda: 0,
        seed: int = 0,
        augmentation: Augmentation | None = None,
        shuffle: bool = False,
    ) -> None:
        self._patches = patches
        self._size = batch_size
        self._epoch = epoch
        self._seed = seed
        self._augmentation = augmentation
        self._shuffle = shuffle

    def _bounds(self) -> list[tuple[int, int]]:
        count = len(self._patches)
        bounds = [(start, min(start + self._size, count)) for start in range(0, count, self._size)]
        # Batch statistics of a single sample mean nothing: it joins the batch before.
        if self._shuffle and len(bounds) > 1 and bounds[-1][1] - bounds[-1][0] == 1:
            bounds[-2:] = [(bounds[-2][0], count)]
        return bounds

    def __len__(self) -> int:
        return len(self._bounds())

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        epoch = self._epoch()
        order = np.arange(len(self._patches))
        if self._shuffle:
            order = np.random.default_rng([self._seed, epoch]).permutation(len(order))
        for start, stop in self._bounds():
            yield self._batch(order[start:stop], epoch)

    def _batch(self, index: NDArray[np.int64], epoch: int) -> dict[str, Tensor]:
        if self._augmentation is not None:
            # One generator for each sample of each epoch: nothing depends on what was drawn before.
            numbers = [int(position) for position in index]
            generators = [np.random.default_rng([self._seed, epoch, number]) for number in numbers]
            return _stack([self._augmentation(self._patches[n], g) for n, g in zip(numbers, generators, strict=True)])
        patches = self._patches
        batch = {
            "image": torch.from_numpy(np.ascontiguousarray(patches.image[index], np.float32)),
            "target": _target(patches.mask[index]),
        }
        if patches.dates is not None and patches.image.ndim == 5:
            dates = np.asarray(patches.dates, np.float32)
            dates = np.tile(dates, (len(index), 1)) if dates.ndim == 1 else dates[index]
            batch["dates"] = torch.from_numpy(dates)
        return batch


def _target(values: Any) -> Tensor:
    array = np.asarray(values)
    return torch.from_numpy(np.ascontiguousarray(array, np.float32 if array.dtype.kind == "f" else np.int64))


def _stack(samples: list[Sample]) -> dict[str, Tensor]:
    targets: list[Any] = [sample["mask"] if "mask" in sample else sample["label"] for sample in samples]
    batch = {
        "image": torch.from_numpy(np.stack([np.asarray(sample["image"], np.float32) for sample in samples])),
        "target": _target(np.stack(targets)),
    }
    if "dates" in samples[0] and samples[0]["image"].ndim == 4:
        batch["dates"] = torch.from_numpy(np.stack([np.asarray(s["dates"], np.float32) for s in samples]))
    return batch
