"""What every method of filling takes and gives: the pixels of a series, a day that is wanted, mean and deviation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError

Floats = NDArray[np.floating]
Array = NDArray[np.float64]

OBSERVED, FILLED, BEYOND = 0, 1, 2
"""Codes of the layer `state`: measured under a clear sky, estimated, or nothing is known."""
STATE_CLASSES = ((OBSERVED, "observed", "#d9d9d9"), (FILLED, "filled", "#0072b2"), (BEYOND, "beyond repair", "#d55e00"))
"""Code, name and colour of each state."""

NO_KNOWLEDGE = float(np.sqrt(1.0 / 12.0))
"""Standard deviation of a reflectance of which nothing is known but that it lies between 0 and 1."""


@dataclass(frozen=True)
class SeriesPixels:
    """Pixels of a series, in any order.

    Attributes:
        image: float32 `[T, K, P]`, reflectance; NaN where the sky was not clear or there are no data.
        clear: bool `[T, P]`: all bands were measured under a clear sky.
        days: float64 `[T]`, days since 1970-01-01, ascending.
        radar: float32 `[T, R, P]`, backscatter in dB of the acquisition nearest to each date; NaN where there is
            none. None without radar.
        wanted: float32 `[R, P]`, the same for a wanted day that is none of the dates; None: there is no such day, or
            no radar near it.
    """

    image: NDArray[np.float32]
    clear: NDArray[np.bool_]
    days: Array
    radar: NDArray[np.float32] | None = None
    wanted: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit together."""
        dates, _, pixels = self.image.shape
        radar = self.radar
        if self.clear.shape != (dates, pixels) or self.days.shape != (dates,):
            raise ConfigurationError("A series needs image [T, K, P], clear [T, P] and days [T] of one T and P.")
        if radar is not None and (radar.shape[0], radar.shape[2]) != (dates, pixels):
            raise ConfigurationError("The radar of a series needs the same dates and pixels as its image.")
        if np.any(np.diff(self.days) < 0):
            raise ConfigurationError("The dates of a series must ascend; sort them.")

    @property
    def bands(self) -> int:
        """Number of optical bands."""
        return int(self.image.shape[1])

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return int(self.image.shape[2])

    def hide(self, date: int, where: NDArray[np.bool_] | None = None) -> SeriesPixels:
        """Return the series as if one date were clouded there (everywhere if None); the values stay in `image`."""
        clear = self.clear.copy()
        clear[date, slice(None) if where is None else where] = False
        return replace(self, clear=clear)

    def take(self, which: NDArray[np.bool_] | NDArray[np.intp]) -> SeriesPixels:
        """Return some of the pixels."""
        radar, wanted = (None if part is None else part[..., which] for part in (self.radar, self.wanted))
        return SeriesPixels(self.image[..., which], self.clear[:, which], self.days, radar, wanted)


@dataclass(frozen=True)
class Sample:
    """Pixels that methods learn from and are judged on.

    Attributes:
        series: The pixels.
        group: int64 `[P]`, block of each pixel; pixels of a block are not independent.
        rows: int64 `[P]`, row of each pixel on the scene's grid.
        cols: int64 `[P]`, its column.
    """

    series: SeriesPixels
    group: NDArray[np.int64]
    rows: NDArray[np.int64]
    cols: NDArray[np.int64]


@dataclass(frozen=True)
class Target:
    """The day that is wanted.

    Attributes:
        day: Days since 1970-01-01.
        index: Its date in the series; None: the series has no such date.
    """

    day: float
    index: int | None = None


@dataclass(frozen=True)
class Filled:
    """What a method says of one day.

    Attributes:
        mean: float32 `[K, P]`, NaN where the method knows nothing.
        deviation: float32 `[K, P]`, standard deviation of the error of `mean`; NaN where that is.
        surprise: float32 `[P]`: how much the pixel contradicts what the method assumes (1: as much as usual);
            NaN where it cannot tell.
    """

    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]
    surprise: NDArray[np.float32]


class FillMethod(Protocol):
    """A fitted method. What it says of a pixel does not depend on that pixel's own value on the wanted date.

    Its parameters may have been learned from other pixels of that date.
    """

    @property
    def name(self) -> str:
        """As the user types it."""

    def fill(self, series: SeriesPixels, target: Target) -> Filled:
        """Estimate every pixel of a day from the rest of the series."""
