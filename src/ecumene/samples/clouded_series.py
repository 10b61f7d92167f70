"""Samples of cloudy images with clear ones, made from clear dates by putting clouds on them; the truth is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ecumene.samples.hidden_clouds import ClearSeries, made_of, usable_places
from ecumene.samples.made_samples import MadeSamples
from ecumene.samples.restoration_set import RestorationSet

Clouding = Callable[
    [ClearSeries, NDArray[np.float32], float, float, int], tuple[NDArray[np.float32], NDArray[np.bool_]]
]
"""(place, clear bands `[K, H, W]`, day, share, seed) to (the same under clouds, covered pixels `[H, W]`)."""
OVERCAST, CLOUDLESS = 0.1, 0.1
"""Shares of the dates that are clouded wholly, and not at all."""


def clouded_samples(
    places: Sequence[ClearSeries],
    clouding: Clouding,
    targets: int,
    *,
    number: int,
    dates: int,
    series: bool,
    side: int,
    seed: int = 0,
) -> MadeSamples:
    """Draw windows, put clouds on them, and keep the clear bands as the target.

    A single image is a date that is clear somewhere, under clouds; its target is what it was. A series has `dates` of
    the place's other dates, ascending, each under clouds of its own; its target is the date that was left out. Real
    clouds stay in the images as measured; where the target's date was not clear, the target is not known. Radar is left
    as it is. Places take turns, whatever their size.

    Args:
        places: With the same channels, unmasked.
        clouding: Puts clouds on a window.
        targets: K, the bands that are restored, the first channels.
        number: Samples.
        dates: Of a series.
        series: Whether samples are series.
        side: Rows and columns of a sample; smaller places are padded without data.
        seed: Of everything.

    Raises:
        LabelError: If no place has enough dates, or channels differ.
    """
    usable = usable_places(places, 1, dates + 1 if series else 1)
    channels = usable[0].channels

    def make(index: int) -> RestorationSet:
        place, rng = usable[index % len(usable)], np.random.default_rng([seed, index, 31])
        wanted = int(rng.choice(place.clear_dates))
        rest = np.array([date for date in range(len(place.days)) if date != wanted])
        chosen = np.sort(rng.permutation(rest)[:dates]) if series else np.array([wanted])
        inside = _window(place, side, rng)
        image = np.full((len(chosen), len(channels), side, side), np.nan, np.float32)
        target = np.full((targets, side, side), np.nan, np.float32)
        cloudy = np.ones((side, side), bool)
        size = (slice(0, inside[0].stop - inside[0].start), slice(0, inside[1].stop - inside[1].start))
        for frame, date in enumerate(chosen):
            bands, clear = place.image[date][(slice(0, targets), *inside)], place.clear[date][inside]
            made, covered = clouding(place, bands, float(place.days[date]), _share(rng), int(rng.integers(1 << 30)))
            image[(frame, slice(0, targets), *size)] = made
            image[(frame, slice(targets, None), *size)] = place.image[date][(slice(targets, None), *inside)]
            cloudy[size] &= covered | ~clear
        truth, known = place.image[wanted][(slice(0, targets), *inside)], place.clear[wanted][inside]
        target[(slice(None), *size)] = np.where(known, truth, np.float32(np.nan))
        group = np.array([index % len(usable)], np.int32)
        days = place.days[chosen].astype(np.int64)[None]
        return RestorationSet(image[None] if series else image, target[None], cloudy[None], days, group, channels)

    return made_of(usable, make, number, f"clouded {targets} {dates} {series} {side} {seed}")


def _window(place: ClearSeries, side: int, rng: np.random.Generator) -> tuple[slice, slice]:
    """Return rows and columns of a window of the place."""
    height, width = place.clear.shape[1:]
    row, col = (int(rng.integers(max(0, length - side) + 1)) for length in (height, width))
    return slice(row, min(row + side, height)), slice(col, min(col + side, width))


def _share(rng: np.random.Generator) -> float:
    """Return the share of a date that is clouded."""
    draw = float(rng.uniform())
    return 0.0 if draw < CLOUDLESS else 1.0 if draw > 1.0 - OVERCAST else float(rng.uniform(0.1, 0.8))
