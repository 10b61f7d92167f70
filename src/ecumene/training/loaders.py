"""Batches of what is learned from: patches that are in memory, or images that are read in the background."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ecumene.samples.augmentation import Augmentation
from ecumene.samples.crops import CropSamples
from ecumene.samples.restoration_set import RestorationSamples
from ecumene.samples.scene_set import SceneSamples
from ecumene.training.batches import Batches, default_batch_size
from ecumene.training.crop_batches import CropBatches, crop_batch_size
from ecumene.training.epoch_batches import EpochBatches
from ecumene.training.restoration_batches import RestorationBatches
from ecumene.training.scene_batches import SceneBatches, scene_batch_size

if TYPE_CHECKING:
    from ecumene.samples.patch_set import PatchSet

    Data = PatchSet | SceneSamples | RestorationSamples | CropSamples


def usual_batch_size(samples: Data) -> int:
    """Return the samples of a batch where nobody says."""
    if isinstance(samples, CropSamples):
        return crop_batch_size(samples)
    if isinstance(samples, SceneSamples | RestorationSamples):
        return scene_batch_size(len(samples))
    return default_batch_size(samples)


def batches_of(
    samples: Data,
    size: int,
    *,
    epoch: Callable[[], int] = lambda: 0,
    seed: int = 0,
    augmentation: Augmentation | None = None,
    shuffle: bool = False,
    observed: bool = True,
) -> EpochBatches:
    """Return an iterable of batches; see `Batches` for the arguments, and `RestorationBatches` for `observed`.

    Cloudy images and their clear counterparts are turned and flipped alike; their radiometry stays as measured.
    """
    if isinstance(samples, RestorationSamples):
        turned = augmentation is not None
        return RestorationBatches(
            samples, size, epoch=epoch, seed=seed, turned=turned, shuffle=shuffle, observed=observed
        )
    if isinstance(samples, CropSamples):
        return CropBatches(samples, size, epoch=epoch, seed=seed, augmentation=augmentation, shuffle=shuffle)
    if isinstance(samples, SceneSamples):
        return SceneBatches(samples, size, epoch=epoch, seed=seed, augmentation=augmentation, shuffle=shuffle)
    return Batches(samples, size, epoch=epoch, seed=seed, augmentation=augmentation, shuffle=shuffle)
