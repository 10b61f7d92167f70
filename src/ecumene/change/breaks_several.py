"""Several breaks in a series: parts are divided as long as a break in them is probable, then dates are refined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.change.breaks import BreakModel, break_probability, search
from ecumene.change.series import PixelSeries, pixel_series
from ecumene.core.errors import ConfigurationError

Single = NDArray[np.float32]


@dataclass(frozen=True)
class SeveralBreaks:
    """Breaks of every pixel in order of their dates; NaN after the last one.

    Attributes:
        count: int16 `[*space]`; -1 where the series is too short for the model.
        date: float32 `[N, *space]`, days since 1970-01-01, as in `Breaks`.
        date_low: float32 `[N, *space]`, lower end of the interval.
        date_high: float32 `[N, *space]`, upper end.
        probability: float32 `[N, *space]`, of this break within the dates between its neighbours.
        magnitude: float32 `[N, B, *space]`, value after minus before, without season.
        magnitude_deviation: float32 `[N, B, *space]`.
        level: Of the intervals.
    """

    count: NDArray[np.int16]
    date: Single
    date_low: Single
    date_high: Single
    probability: Single
    magnitude: Single
    magnitude_deviation: Single
    level: float


def detect_several_breaks(
    values: Any,
    dates: Any,
    valid: Any = None,
    *,
    model: BreakModel | None = None,
    most: int = 3,
    probability: float = 0.9,
    block: int = 65536,
    threads: int | None = None,
) -> SeveralBreaks:
    """Find several breaks a pixel by dividing its series.

    Each part of a series is searched as a whole by `detect_breaks`; a break of at least the given probability divides
    it, and its parts are searched again. Then every break is looked for once more between its neighbours, which moves
    it to where it belongs now that they are known (repartition, Bai 1997, Econometric Theory 13(3):315-352), and
    gives its interval. A break that is no longer probable then is dropped.

    Each part has season and trend of its own, so parts need more observations than the model has coefficients.

    Args:
        values: `[B, T, *space]`; NaN: missing.
        dates: `[T]`, ascending.
        valid: As for `detect_breaks`.
        model: What can break.
        most: Largest number of breaks.
        probability: Least probability of a break that divides a part.
        block: Pixels that are worked on together; memory depends on it, results do not.
        threads: None: all; results do not depend on it.

    Returns:
        The breaks.

    Raises:
        SceneError: As `detect_breaks`.
        ConfigurationError: If shapes or options are wrong.
    """
    if most < 1 or block < 1 or not 0.0 < probability < 1.0:
        raise ConfigurationError("Give at least one break, a positive block and a probability between 0 and 1.")
    model = model or BreakModel()
    series = pixel_series(values, dates, valid)
    count = np.full(series.pixels, -1, np.int16)
    numbers = np.full((4 + 2 * series.bands, most, series.pixels), np.nan, np.float32)
    for start in range(0, series.pixels, block):
        part = slice(start, min(start + block, series.pixels))
        inside = PixelSeries(
            series.days,
            np.ascontiguousarray(series.values[:, :, part]),
            np.ascontiguousarray(series.valid[..., part]) if series.valid.size else series.valid,
            (part.stop - start,),
        )
        count[part], numbers[:, :, part] = _divide(inside, model, most, probability, threads)
    spread, bands = series.spread, series.bands
    return SeveralBreaks(
        count=spread(count),
        date=spread(numbers[0]),
        date_low=spread(numbers[1]),
        date_high=spread(numbers[2]),
        probability=spread(numbers[3]),
        magnitude=spread(np.moveaxis(numbers[4 : 4 + bands], 0, 1)),
        magnitude_deviation=spread(np.moveaxis(numbers[4 + bands :], 0, 1)),
        level=model.level,
    )


def _divide(
    series: PixelSeries, model: BreakModel, most: int, probability: float, threads: int | None
) -> tuple[NDArray[np.int16], Single]:
    """Return (number of breaks `[P]`, numbers `[4 + 2B, N, P]`) of one block."""
    pixels, dates = series.pixels, series.days.size
    observed = series.observed()
    splits = np.zeros((dates, pixels), np.bool_)  # a break lies just before this date
    unusable = np.zeros(pixels, np.bool_)
    candidates, first = np.arange(pixels), True
    while candidates.size:
        chosen = _best_split(series, observed, splits, candidates, model, probability, threads)
        if first:
            unusable[candidates[chosen[1]]] = True
            first = False
        found = chosen[0] > 0
        splits[chosen[0][found], candidates[found]] = True
        candidates = candidates[found]
        candidates = candidates[splits[:, candidates].sum(axis=0) < most]
    return _refine(series, observed, splits, unusable, model, most, probability, threads)


def _search_between(
    series: PixelSeries, observed: NDArray[np.bool_], pixels: NDArray[np.int64], low: NDArray[np.int64],
    high: NDArray[np.int64], model: BreakModel, threads: int | None,
) -> tuple[Single, NDArray[np.int32], Single]:  # fmt: skip
    """Search the dates low..high - 1 of some pixels."""
    position = np.arange(series.days.size)[:, None]
    inside = (position >= low) & (position < high)
    part = PixelSeries(
        series.days,
        np.ascontiguousarray(series.values[:, :, pixels]),
        np.ascontiguousarray(observed[:, :, pixels] & inside),
        (pixels.size,),
    )
    summary, brackets, magnitudes, _ = search(part, model, False, threads)
    return summary, brackets, magnitudes


def _best_split(
    series: PixelSeries, observed: NDArray[np.bool_], splits: NDArray[np.bool_], pixels: NDArray[np.int64],
    model: BreakModel, probability: float, threads: int | None,
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:  # fmt: skip
    """Return (date of the most probable new break or 0, whether no part could be searched) of some pixels."""
    dates = series.days.size
    best, split = np.full(pixels.size, -np.inf), np.zeros(pixels.size, np.int64)
    silent = np.ones(pixels.size, np.bool_)
    part_of = splits[:, pixels].cumsum(axis=0)
    for number in range(int(part_of[-1].max(initial=0)) + 1):
        here = np.flatnonzero(part_of[-1] >= number)
        low = (part_of[:, here] == number).argmax(axis=0)
        high = dates - (part_of[::-1, here] == number).argmax(axis=0)
        summary, brackets, _ = _search_between(series, observed, pixels[here], low, high, model, threads)
        chance = break_probability(summary[0], model.prior)
        silent[here] &= ~np.isfinite(summary[0])
        better = np.isfinite(summary[0]) & (chance >= probability) & (summary[0] > best[here])
        best[here[better]] = summary[0][better]
        split[here[better]] = brackets[1][better]
    return split, silent


def _refine(
    series: PixelSeries, observed: NDArray[np.bool_], splits: NDArray[np.bool_], unusable: NDArray[np.bool_],
    model: BreakModel, most: int, probability: float, threads: int | None,
) -> tuple[NDArray[np.int16], Single]:  # fmt: skip
    """Look for each break again between its neighbours and return the results of `_divide`."""
    dates, pixels, bands = series.days.size, series.pixels, series.bands
    rank = splits.cumsum(axis=0)
    place = np.full((most + 2, pixels), dates, np.int64)
    place[0] = 0
    for number in range(1, most + 1):
        reached = rank >= number
        place[number] = np.where(reached[-1], reached.argmax(axis=0), dates)
    numbers = np.full((4 + 2 * bands, most, pixels), np.nan, np.float32)
    for number in range(1, most + 1):
        here = np.flatnonzero(place[number] < dates)
        if not here.size:
            break
        low, high = place[number - 1, here], place[number + 1, here]
        summary, brackets, magnitudes = _search_between(series, observed, here, low, high, model, threads)
        chance = break_probability(summary[0], model.prior)
        kept = np.isfinite(summary[0]) & (chance >= probability)
        moved = here[kept]
        place[number, moved] = brackets[1][kept]
        place[number, here[~kept]] = place[number - 1, here[~kept]]
        target = numbers[:, number - 1]
        target[:3, moved] = summary[[3, 4, 5]][:, kept]
        target[3, moved] = chance[kept]
        target[4 : 4 + bands, moved] = magnitudes[0][:, kept]
        target[4 + bands :, moved] = magnitudes[1][:, kept]
    order = np.argsort(np.where(np.isnan(numbers[0]), np.inf, numbers[0]), axis=0, kind="stable")
    numbers = np.take_along_axis(numbers, order[None], axis=1)
    count = np.isfinite(numbers[0]).sum(axis=0).astype(np.int16)
    count[unusable] = -1
    return count, numbers
