"""Samples for filling clouds, made from clear dates: pixels are hidden in the shape of clouds, the truth is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import LabelError
from ecumene.samples.restoration_set import RestorationSet
from ecumene.scenes.contract import Channel

Cover = Callable[[tuple[int, int], float, int], NDArray[np.bool_]]
"""(rows and columns, share, seed) to bool `[H, W]`, covered pixels in the shape of clouds."""
WHOLE = 0.25
"""Share of the samples whose wanted date is hidden wholly."""
OTHERS_HIDDEN = 0.5
"""Share of the other dates that are hidden in part."""
_DAY_SHIFT = 20


@dataclass(frozen=True)
class ClearSeries:
    """A place with several dates.

    Attributes:
        name: Of the place.
        image: float32 `[T, K, H, W]`, reflectance.
        clear: bool `[T, H, W]`: measured under a clear sky.
        days: float64 `[T]`, days since 1970-01-01.
        channels: The K bands.
    """

    name: str
    image: NDArray[np.float32]
    clear: NDArray[np.bool_]
    days: NDArray[np.float64]
    channels: tuple[Channel, ...]

    def __post_init__(self) -> None:
        dates, bands, *shape = self.image.shape
        if self.clear.shape != (dates, *shape) or len(self.days) != dates or bands != len(self.channels):
            raise LabelError(f"Image, clear pixels, days and bands of {self.name} do not fit together.")


def hide_under_clouds(
    places: Sequence[ClearSeries],
    cover: Cover,
    *,
    number: int,
    dates: int = 4,
    side: int = 96,
    seed: int = 0,
) -> RestorationSet:
    """Draw windows of clear dates, hide pixels of them in the shape of clouds, and keep what was hidden as the target.

    The wanted date is the first of a sample and always a clear one; the others are drawn from the place's dates and
    come in random order. Hidden and clouded pixels have no data (NaN). The target is known where the wanted date was
    clear and is hidden. Places take turns, whatever their size; a place of fewer dates has dates without data.

    Args:
        places: With the same bands; those with less than two dates that are clear somewhere are left out.
        cover: Makes cloud shapes.
        number: Samples.
        dates: T.
        side: Rows and columns of a sample; smaller places are padded without data.
        seed: Of everything.

    Raises:
        LabelError: If no place has two dates, or bands differ.
    """
    usable = [place for place in places if int((place.clear.mean(axis=(1, 2)) > 0.05).sum()) >= 2]
    if not usable:
        raise LabelError("Filling clouds is learned from places with two dates that are clear somewhere; give such.")
    keys = [channel.key for channel in usable[0].channels]
    if any([channel.key for channel in place.channels] != keys for place in usable):
        raise LabelError("The places to learn from have different bands; choose those that all have.")
    samples = [_sample(usable[index % len(usable)], cover, dates, side, seed, index) for index in range(number)]
    image, target = np.stack([sample[0] for sample in samples]), np.stack([sample[1] for sample in samples])
    days = np.stack([sample[2] for sample in samples])
    group = np.array([index % len(usable) for index in range(number)], np.int32)
    cloudy: NDArray[np.bool_] = np.asarray(np.isfinite(target).all(axis=1))
    return RestorationSet(image, target, cloudy, days.astype(np.int64), group, usable[0].channels)


def _sample(
    place: ClearSeries, cover: Cover, dates: int, side: int, seed: int, index: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]]:
    """Return image `[T, K, P, P]`, target `[K, P, P]` and days `[T]`."""
    rng = np.random.default_rng([seed, index, 29])
    bands = place.image.shape[1]
    shares = place.clear.mean(axis=(1, 2))
    wanted = int(rng.choice(np.flatnonzero(shares > 0.05)))
    height, width = place.clear.shape[1:]
    row, col = (int(rng.integers(max(0, length - side) + 1)) for length in (height, width))
    inside = (slice(row, row + side), slice(col, col + side))
    rest = np.array([date for date in range(len(place.days)) if date != wanted])
    rest = rng.permutation(rest)[: dates - 1]
    image = np.full((dates, bands, side, side), np.nan, np.float32)
    target = np.full((bands, side, side), np.nan, np.float32)
    days = np.full(dates, place.days[wanted])
    for frame, date in enumerate((wanted, *rest)):
        pixels, clear = place.image[date][(slice(None), *inside)], place.clear[date][inside]
        share = _share(rng, first=frame == 0)
        hidden = cover(clear.shape, share, int(rng.integers(1 << 30))) if share < 1.0 else np.ones(clear.shape, bool)
        shown = clear & ~hidden
        size = (slice(0, clear.shape[0]), slice(0, clear.shape[1]))
        image[(frame, slice(None), *size)] = np.where(shown, pixels, np.float32(np.nan))
        days[frame] = place.days[date]
        if frame == 0:
            target[(slice(None), *size)] = np.where(clear & hidden, pixels, np.float32(np.nan))
    # Days since an epoch must not be learned by heart: only differences mean something.
    return image, target, days + float(rng.integers(-_DAY_SHIFT, _DAY_SHIFT + 1))


def _share(rng: np.random.Generator, *, first: bool) -> float:
    """Return the share of a date that is hidden."""
    if first:
        return 1.0 if rng.uniform() < WHOLE else float(rng.uniform(0.2, 0.8))
    return float(rng.uniform(0.1, 0.7)) if rng.uniform() < OTHERS_HIDDEN else 0.0
