"""Batches of images with one answer each: read, augmented and stacked in the background.

What a batch holds depends on seed and epoch only. Threads are ahead of the training by a few batches; files are read
and pixels computed in code that leaves Python's lock to the training.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecumene.samples.augmentation import Augmentation
from ecumene.samples.batch_augmentation import augment_batch
from ecumene.samples.scene_set import SceneSamples
from ecumene.training.batches import target_tensor
from ecumene.training.epoch_batches import EpochBatches

WORKERS, AHEAD = 1, 2
"""Threads, and batches that each may be ahead of a training on processors, whose threads they get in the way of."""
GPU_WORKERS, GPU_AHEAD = 2, 3
"""The same for a training on a GPU."""
USUAL_BATCH = 32


def scene_batch_size(count: int) -> int:
    """Return the usual samples of a batch: 32, and at least four steps an epoch."""
    return int(np.clip(USUAL_BATCH, 2, max(2, count // 4)))


class SceneBatches(EpochBatches):
    """Batches of images; see `EpochBatches`.

    Args:
        scenes: The samples; its `read` is called from several threads.
        batch_size: Samples of a batch.
        epoch: Called at the start of an iteration; its result and `seed` fix the order.
        seed: Of order and augmentation.
        augmentation: Applied to every sample with a generator of its own (of seed, epoch, sample), or None.
        shuffle: False keeps the order of the samples.
        workers: Threads; None: as many as suit what trains.
    """

    def __init__(
        self,
        scenes: SceneSamples,
        batch_size: int,
        *,
        epoch: Callable[[], int] = lambda: 0,
        seed: int = 0,
        augmentation: Augmentation | None = None,
        shuffle: bool = False,
        workers: int | None = None,
    ) -> None:
        self._pinned = torch.cuda.is_available()
        usual, ahead = (GPU_WORKERS, GPU_AHEAD) if self._pinned else (WORKERS, AHEAD)
        threads = usual if workers is None else max(1, workers)
        super().__init__(len(scenes), batch_size, epoch=epoch, seed=seed, shuffle=shuffle, workers=threads, ahead=ahead)
        self._scenes, self._augmentation = scenes, augmentation

    def _batch(self, index: NDArray[np.int64], epoch: int) -> dict[str, Tensor]:
        scenes = self._scenes.read(index)
        image: Any = scenes.image
        if self._augmentation is not None:
            # One generator for each sample of each epoch: nothing depends on what was drawn before.
            generators = [np.random.default_rng([self._seed, epoch, int(number)]) for number in index]
            image = augment_batch(image, self._augmentation, generators)
        image = torch.from_numpy(np.ascontiguousarray(image, np.float32))
        batch = {"image": image, "target": target_tensor(scenes.label)}
        return {name: tensor.pin_memory() for name, tensor in batch.items()} if self._pinned else batch
