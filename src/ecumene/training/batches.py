"""Batches of patches that are in memory, in an order that depends on seed and epoch only."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecumene.samples.augmentation import Augmentation
from ecumene.samples.contract import Sample
from ecumene.training.epoch_batches import EpochBatches

if TYPE_CHECKING:
    from ecumene.samples.patches import PatchSet

PIXELS_OF_A_BATCH = 32_768
PIXELS_OF_A_STRIP = 32


def default_batch_size(patches: PatchSet) -> int:
    """Return samples of about 32,768 pixels and dates together, and at least four steps an epoch."""
    shape = patches.image.shape
    pixels = shape[-1] * shape[-2] * (shape[1] if len(shape) == 5 else 1)
    return int(np.clip(PIXELS_OF_A_BATCH // pixels, 2, max(2, len(patches) // 4)))


class Batches(EpochBatches):
    """Batches of patches; see `EpochBatches`.

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
        super().__init__(len(patches), batch_size, epoch=epoch, seed=seed, shuffle=shuffle)
        self._patches, self._augmentation = patches, augmentation

    def _batch(self, index: NDArray[np.int64], epoch: int) -> dict[str, Tensor]:
        patches = self._patches
        if self._augmentation is not None and patches.image.shape[-2:] != (1, 1):
            # One generator for each sample of each epoch: nothing depends on what was drawn before.
            return stack_samples([self._augmented(patches[int(number)], epoch, int(number)) for number in index])
        image = np.ascontiguousarray(patches.image[index], np.float32)
        if self._augmentation is not None:
            for start in range(0, len(index), PIXELS_OF_A_STRIP):
                part = slice(start, start + PIXELS_OF_A_STRIP)
                image[part] = self._augmented_pixels(index[part], epoch)
        batch = {"image": torch.from_numpy(image), "target": target_tensor(patches.mask[index])}
        if image.ndim == 5:
            batch["dates"] = torch.from_numpy(np.asarray(patches.dates[index], np.float32))
        return batch

    def _augmented(self, sample: Sample, epoch: int, number: int) -> Sample:
        assert self._augmentation is not None
        return self._augmentation(sample, np.random.default_rng([self._seed, epoch, number]))

    def _augmented_pixels(self, index: NDArray[np.int64], epoch: int) -> NDArray[np.float32]:
        """Augment single pixels as the strip of pixels of one image: alone, each would cost as much as a patch."""
        patches = self._patches
        # [n, (T), C, 1, 1] -> [(T), C, n, 1]
        strip = Sample(
            image=np.moveaxis(patches.image[index, ..., 0, :], 0, -2),
            mask=patches.mask[index, 0, :],
            valid=np.moveaxis(patches.valid[index, ..., 0, :], 0, -2),
            dates=patches.dates[index[0]],
        )
        image = self._augmented(strip, epoch, int(index[0]))["image"]
        return np.moveaxis(image, -2, 0)[..., None, :]


def target_tensor(values: Any) -> Tensor:
    """Return targets as float32 or int64, as numbers or classes are."""
    array = np.asarray(values)
    return torch.from_numpy(np.ascontiguousarray(array, np.float32 if array.dtype.kind == "f" else np.int64))


def stack_samples(samples: list[Sample]) -> dict[str, Tensor]:
    """Return samples of one shape as a batch: `image`, `target`, and of series `dates`."""
    targets: list[Any] = [sample["mask"] if "mask" in sample else sample["label"] for sample in samples]
    batch = {
        "image": torch.from_numpy(np.stack([np.asarray(sample["image"], np.float32) for sample in samples])),
        "target": target_tensor(np.stack(targets)),
    }
    if "dates" in samples[0] and samples[0]["image"].ndim == 4:
        batch["dates"] = torch.from_numpy(np.stack([np.asarray(s["dates"], np.float32) for s in samples]))
    return batch
