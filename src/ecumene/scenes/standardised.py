"""A stack whose dates are each brought to one brightness and contrast by their own pixels.

Two images of one place differ by sun, haze and season before anything has changed. A network that compares dates and
shall work where it has not learned sees less of that when every date has mean 0 and standard deviation 1 over its
scene, all bands of a sensor together; the networks of Caye Daudt et al. (ICIP 2018) were trained so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from ecumene.core.window import Window
from ecumene.scenes.altered import AlteredStack
from ecumene.scenes.contract import Block, Channel

_LOCK = Lock()
"""Of all stacks, so that a stack can be sent to another process."""

SIDE = 512
MOST = 8
"""Statistics of a stack come from at most MOST x MOST windows of SIDE pixels, evenly over it."""


def standardise_dates(image: NDArray[np.float32], channels: Sequence[Channel]) -> NDArray[np.float32]:
    """Return an image with mean 0 and standard deviation 1 on each date, all bands of a sensor together.

    Args:
        image: `[T, C, H, W]`, NaN where there is no data.
        channels: Of its axis C. Bands of one sensor in one unit belong together.

    Returns:
        float32 of the same shape, NaN where the image is; an image of one value becomes 0.
    """
    return _standardise(image, *DateSums.of(image).mean_and_std(channels))


@dataclass(frozen=True)
class DateSums:
    """What mean and standard deviation of each date are made of; sums of parts add up.

    Attributes:
        count: Finite values `[T, C]`.
        total: Their sum, float64.
        squares: The sum of their squares, float64.
    """

    count: NDArray[np.int64]
    total: NDArray[np.float64]
    squares: NDArray[np.float64]

    @classmethod
    def of(cls, image: NDArray[np.float32]) -> DateSums:
        """Return the sums of an image `[T, C, H, W]` with NaN where there is no data."""
        there = np.isfinite(image)
        values = np.where(there, image, 0.0).astype(np.float64)
        return cls(there.sum(axis=(2, 3)), values.sum(axis=(2, 3)), (values**2).sum(axis=(2, 3)))

    def __add__(self, other: DateSums) -> DateSums:
        return DateSums(self.count + other.count, self.total + other.total, self.squares + other.squares)

    def mean_and_std(self, channels: Sequence[Channel]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return mean and standard deviation `[T, C]`, the same for bands of one sensor in one unit.

        Without a value they are 0 and 1; the deviation of one value is 1.
        """
        groups = [(channel.sensor, channel.unit) for channel in channels]
        together = np.array([[one == other for other in groups] for one in groups], np.float64)
        count = np.maximum(self.count @ together, 1.0)
        mean = self.total @ together / count
        variance = np.maximum(self.squares @ together / count - mean**2, 0.0)
        # Rounding leaves a constant image a tiny variance, by which nothing may be divided.
        flat = variance <= 1e-10 * np.maximum(mean**2, 1e-30)
        return mean.astype(np.float32), np.where(flat, 1.0, np.sqrt(variance)).astype(np.float32)


def _standardise(
    image: NDArray[np.float32], mean: NDArray[np.float32], std: NDArray[np.float32]
) -> NDArray[np.float32]:
    return (image - mean[..., None, None]) / std[..., None, None]


@dataclass(frozen=True)
class StandardisedStack(AlteredStack):
    """Another stack, in which each date has mean 0 and standard deviation 1; channels keep the names of their units.

    Mean and deviation are of the whole stack, or of 64 windows spread evenly over a large one. They are computed when
    pixels are read first. Parts of an image that are opened apart are therefore standardised apart. A pixel that the
    other stack lacks on one date should be missing on all, or the dates are made equal over different ground
    (`scenes.complete.CompleteStack`).
    """

    def alter(self, block: Block) -> Block:
        """Return a block in standard deviations from the mean of date and sensor."""
        return Block(_standardise(block.image, *self._mean_and_std), block.valid, block.dates)

    @property
    def _mean_and_std(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        with _LOCK:  # several threads read; the first of them looks at the whole
            return self._statistics

    @cached_property
    def _statistics(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        rows, cols = (int(side) for side in self.geobox.shape)
        sums: DateSums | None = None
        for row in _starts(rows):
            for col in _starts(cols):
                window = Window(row, col, min(SIDE, rows - row), min(SIDE, cols - col))
                part = DateSums.of(self.stack.read_intact(window)[0].image)
                sums = part if sums is None else sums + part
        assert sums is not None  # a grid has pixels
        return sums.mean_and_std(self.channels)


def _starts(length: int) -> list[int]:
    """Return where windows along an axis begin: all, side by side, or as many as MOST, evenly spread."""
    whole = range(0, length, SIDE)
    if len(whole) <= MOST:
        return list(whole)
    return [round(position) for position in np.linspace(0, length - SIDE, MOST)]
