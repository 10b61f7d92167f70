"""Samples for filling clouds, made from clear dates: pixels are hidden in the shape of clouds, the truth is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import LabelError
from ecumene.samples.contract import digest_of
from ecumene.samples.made_samples import MadeSamples
from ecumene.samples.restoration_set import RestorationSet
from ecumene.scenes.contract import Channel

Cover = Callable[[tuple[int, int], float, int], NDArray[np.bool_]]
"""(rows and columns, share, seed) to bool `[H, W]`, covered pixels in the shape of clouds."""
WHOLE = 0.25
"""Share of the samples whose wanted date is hidden wholly."""
OTHERS_HIDDEN = 0.5
"""Share of the other dates that are hidden in part."""
LEAST_CLEAR = 0.05
"""Share of a date's pixels that must be clear for it to be learned from."""
_DAY_SHIFT = 20


@dataclass(frozen=True)
class ClearSeries:
    """A place with several dates.

    Attributes:
        name: Of the place.
        image: float32 `[T, C, H, W]`: K bands in reflectance, then radar, if any.
        clear: bool `[T, H, W]`: all bands were measured under a clear sky.
        days: float64 `[T]`, days since 1970-01-01, ascending.
        channels: The C channels.
        latitude: Degrees; with the day it says where the sun stands.
    """

    name: str
    image: NDArray[np.float32]
    clear: NDArray[np.bool_]
    days: NDArray[np.float64]
    channels: tuple[Channel, ...]
    latitude: float

    def __post_init__(self) -> None:
        dates, bands, *shape = self.image.shape
        if self.clear.shape != (dates, *shape) or len(self.days) != dates or bands != len(self.channels):
            raise LabelError(f"Image, clear pixels, days and bands of {self.name} do not fit together.")

    @cached_property
    def clear_dates(self) -> NDArray[np.intp]:
        """The dates that may be a target."""
        return np.flatnonzero(self.clear.mean(axis=(1, 2)) > LEAST_CLEAR)


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
    made = hidden_samples(places, cover, number=number, dates=dates, side=side, seed=seed)
    return made.read(range(number))


def hidden_samples(
    places: Sequence[ClearSeries], cover: Cover, *, number: int, dates: int = 4, side: int = 96, seed: int = 0
) -> MadeSamples:
    """Return what `hide_under_clouds` does as samples that are made when they are read."""
    usable = usable_places(places, 2)
    channels = usable[0].channels

    def make(index: int) -> RestorationSet:
        image, target, days = _sample(usable[index % len(usable)], cover, dates, side, seed, index)
        cloudy: NDArray[np.bool_] = np.asarray(np.isfinite(target).all(axis=0))
        group = np.array([index % len(usable)], np.int32)
        return RestorationSet(image[None], target[None], cloudy[None], days[None].astype(np.int64), group, channels)

    return made_of(usable, make, number, f"hidden {dates} {side} {seed}")


def usable_places(places: Sequence[ClearSeries], clear_dates: int, dates: int = 1) -> list[ClearSeries]:
    """Return the places with enough dates.

    Args:
        places: With the same channels.
        clear_dates: Least dates that are clear somewhere.
        dates: Least dates, clouded ones among them.

    Raises:
        LabelError: If there is none, or channels differ.
    """
    usable = [place for place in places if len(place.clear_dates) >= clear_dates and len(place.days) >= dates]
    if not usable:
        few = {1: "a date that is", 2: "two dates that are"}.get(clear_dates, f"{clear_dates} dates that are")
        more = f", and {dates} dates in all" if dates > clear_dates else ""
        raise LabelError(f"Filling clouds is learned from places with {few} clear somewhere{more}; give such scenes.")
    keys = [channel.key for channel in usable[0].channels]
    if any([channel.key for channel in place.channels] != keys for place in usable):
        raise LabelError("The places to learn from have different bands; choose those that all have.")
    return usable


def made_of(
    places: Sequence[ClearSeries], make: Callable[[int], RestorationSet], number: int, what: str
) -> MadeSamples:
    """Return samples that take turns among places.

    Args:
        places: Usable ones.
        make: Of a number; its place is the number modulo the number of places.
        number: Of samples.
        what: All else that they depend on.
    """
    key = b"".join(digest_of(place.image, place.clear, place.days, np.array([place.latitude])) for place in places)
    names = "\n".join(channel.key for channel in places[0].channels)
    numbers = np.arange(number, dtype=np.int64)
    group = (numbers % len(places)).astype(np.int32)
    return MadeSamples(make, numbers, group, places[0].channels, key + f"{names}\n{what}".encode())


def _sample(
    place: ClearSeries, cover: Cover, dates: int, side: int, seed: int, index: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]]:
    """Return image `[T, K, P, P]`, target `[K, P, P]` and days `[T]`."""
    rng = np.random.default_rng([seed, index, 29])
    bands = place.image.shape[1]
    wanted = int(rng.choice(place.clear_dates))
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
