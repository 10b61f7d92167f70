"""Augmentation of windows of several dates: crops where something happens, other brightness of each band and date."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ecumene.core.errors import ConfigurationError
from ecumene.samples.contract import Sample
from ecumene.samples.importance import draw_window, summed


@dataclass(frozen=True)
class ImportanceCrop:
    """A crop out of several drawn ones, see `importance.draw_window`; without rare or known pixels it is any of them.

    Attributes:
        size: Rows and columns of the crop; smaller samples stay whole.
        rare: Class indices that count, in the first map of the mask.
        draws: Crops to choose from.
        floor: The constant.
    """

    size: int
    rare: tuple[int, ...] = (1,)
    draws: int = 20
    floor: float = 5.0

    def __post_init__(self) -> None:
        if self.size < 1 or self.draws < 1 or self.floor <= 0.0:
            raise ConfigurationError(
                f"A crop needs a positive size, number of draws and constant, not {self.size}, {self.draws} and "
                f"{self.floor}."
            )

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Return the sample cropped."""
        height, width = sample["image"].shape[-2:]
        rows, cols = min(self.size, height), min(self.size, width)
        mask = sample["mask"] if sample["mask"].ndim == 2 else sample["mask"][0]
        top, left = draw_window(summed(np.isin(mask, self.rare)), (rows, cols), self.draws, self.floor, rng)
        part = (slice(top, top + rows), slice(left, left + cols))
        return {
            **sample,
            "image": sample["image"][..., part[0], part[1]],
            "mask": sample["mask"][..., part[0], part[1]],
            "valid": sample["valid"][..., part[0], part[1]],
        }


@dataclass(frozen=True)
class BandGamma:
    """Reflectance to the power of a random number, one for each band and date (Hafner et al. 2022: 0.25 to 2).

    Values are limited to 0..1 before. Not for backscatter, whose decibels are no share.

    Attributes:
        channels: Which channels are reflectance.
        low: Smallest power.
        high: Largest power.
    """

    channels: tuple[int, ...]
    low: float = 0.25
    high: float = 2.0

    def __post_init__(self) -> None:
        if not 0.0 < self.low <= self.high:
            raise ConfigurationError(
                f"Powers of reflectance are positive and ascending, not {self.low} to {self.high}."
            )

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Return the sample with other brightness; NaN stays NaN."""
        image = sample["image"].copy()
        chosen = list(self.channels)
        part = image[..., chosen, :, :]
        power = rng.uniform(self.low, self.high, (*part.shape[:-2], 1, 1)).astype(np.float32)
        image[..., chosen, :, :] = np.clip(part, 0.0, 1.0) ** power
        return {**sample, "image": image}
