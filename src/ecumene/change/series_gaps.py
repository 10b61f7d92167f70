"""Daily masks (snow, water, ice) with clouds: gaps filled step by step, days counted, begin and end of a season."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.change.series import day_of, days_of
from ecumene.core.errors import ConfigurationError, SceneError

NODATA = 255
OBSERVED, OTHER_SENSOR, NEIGHBOURING_DAYS, SEASON, UNFILLED = 0, 1, 2, 3, 4
"""Where a value comes from, in the order of trust."""


@dataclass(frozen=True)
class FilledSeries:
    """A mask series without most of its gaps.

    Attributes:
        mask: uint8 `[T, *space]`: 0 without, 1 with the class, 255 still unknown.
        step: uint8 `[T, *space]`: OBSERVED, OTHER_SENSOR, NEIGHBOURING_DAYS, SEASON or UNFILLED.
        days: int64 `[T]`.
    """

    mask: NDArray[np.uint8]
    step: NDArray[np.uint8]
    days: NDArray[np.int64]


@dataclass(frozen=True)
class SeasonDays:
    """What a season looked like at every pixel.

    Attributes:
        duration: float32 `[*space]`, days with the class; each date stands for the days that are nearest to it.
        unknown: float32 `[*space]`, days of the period that no date could tell.
        inferred: float32 `[*space]`, days whose value came from the season's climatology.
        onset: float32 `[*space]`, first day of the longest unbroken run, days since 1970-01-01; NaN without.
        end: float32 `[*space]`, its last day.
    """

    duration: NDArray[np.float32]
    unknown: NDArray[np.float32]
    inferred: NDArray[np.float32]
    onset: NDArray[np.float32]
    end: NDArray[np.float32]


def fill_gaps(
    mask: Any,
    dates: Any,
    other: Any = None,
    *,
    reach: int = 3,
    season_window: int = 15,
    fewest: int = 3,
) -> FilledSeries:
    """Fill the gaps of a mask series in three steps, each noted as the quality of the value.

    (1) The other sensor of the same day (Terra and Aqua). (2) Days within `reach`: the nearest known values before and
    after agree, or only one of them exists. (3) The season: the majority of known values (not filled ones) of all other
    dates within `season_window` days of the same day of the year, where at least `fewest` exist. What is left
    stays unknown.

    Args:
        mask: uint8 or bool `[T, *space]`: 0, 1; 255 is unknown.
        dates: `[T]`, ascending.
        other: The same of another sensor, or None.
        reach: Days before and after.
        season_window: Days around the day of the year.
        fewest: Known values of the season that are needed.

    Returns:
        The filled series.

    Raises:
        SceneError: If dates are not usable, or no date is known anywhere.
        ConfigurationError: If shapes, codes or options are wrong.
    """
    days = days_of(dates, least=1)
    first = _codes(mask, days)
    if reach < 0 or season_window < 0 or fewest < 1:
        raise ConfigurationError("Reach and window must not be negative, and the season needs at least one value.")
    filled, step = first.copy(), np.where(first == NODATA, UNFILLED, OBSERVED).astype(np.uint8)
    if other is not None:
        second = _codes(other, days)
        if second.shape != first.shape:
            raise ConfigurationError("The masks of the two sensors must have the same shape.")
        _take(filled, step, second, OTHER_SENSOR)
    if (filled == NODATA).all():
        raise SceneError("No date of the mask series is known anywhere; check cloud masks and nodata.")
    known = filled.copy()
    _take(filled, step, _from_neighbours(known, days, reach), NEIGHBOURING_DAYS)
    _take(filled, step, _from_season(known, days, season_window, fewest), SEASON)
    return FilledSeries(filled, step, days)


def _codes(mask: Any, days: NDArray[np.int64]) -> NDArray[np.uint8]:
    given = np.asarray(mask)
    if given.shape[:1] != days.shape or given.dtype.kind not in "bu":
        raise ConfigurationError(f"A mask series must be uint8 [{days.size} dates, ...] of 0, 1 and 255 (unknown).")
    codes = given.astype(np.uint8)
    if ((codes > 1) & (codes != NODATA)).any():
        raise ConfigurationError("A mask series holds codes besides 0, 1 and 255; select one class first.")
    return codes


def _take(filled: NDArray[np.uint8], step: NDArray[np.uint8], values: NDArray[np.uint8], name: int) -> None:
    new = (filled == NODATA) & (values != NODATA)
    filled[new] = values[new]
    step[new] = name


def _from_neighbours(known: NDArray[np.uint8], days: NDArray[np.int64], reach: int) -> NDArray[np.uint8]:
    """Return what the nearest known dates within reach say, 255 where they disagree or do not exist."""

    def carry(order: NDArray[np.int64]) -> NDArray[np.uint8]:
        held, when = np.full(known.shape[1:], NODATA, np.uint8), np.zeros(known.shape[1:], np.int64)
        result = np.empty_like(known)
        for t in order:
            near = (held != NODATA) & (np.abs(days[t] - when) <= reach)
            result[t] = np.where(near, held, NODATA)
            there = known[t] != NODATA
            held = np.where(there, known[t], held)
            when = np.where(there, days[t], when)
        return result

    forward, backward = carry(np.arange(days.size)), carry(np.arange(days.size)[::-1])
    either = np.where(forward == NODATA, backward, forward)
    conflict = (forward != NODATA) & (backward != NODATA) & (forward != backward)
    return np.where(conflict, NODATA, either).astype(np.uint8)


def _from_season(known: NDArray[np.uint8], days: NDArray[np.int64], window: int, fewest: int) -> NDArray[np.uint8]:
    """Return the majority of known dates around the same day of the year; ties stay unknown."""
    year = days.astype("datetime64[D]").astype("datetime64[Y]")
    position = (days - year.astype("datetime64[D]").astype(np.int64)).astype(np.int64)
    result = np.full(known.shape, NODATA, np.uint8)
    for t in range(days.size):
        if (known[t] != NODATA).all():
            continue
        apart = np.abs(position - position[t])
        near = known[np.minimum(apart, 365 - np.minimum(apart, 365)) <= window]
        there, with_it = (near != NODATA).sum(axis=0), (near == 1).sum(axis=0)
        enough = there >= fewest
        result[t][enough & (2 * with_it > there)] = 1
        result[t][enough & (2 * with_it < there)] = 0
    return result


def count_days(series: FilledSeries, start: Any, stop: Any) -> SeasonDays:
    """Count the days with the class between two dates.

    Args:
        series: The filled masks.
        start: First day of the period (a date, or days since 1970-01-01).
        stop: Day after the last one.

    Returns:
        The season. Each date stands for the days that are nearer to it than to other dates, half a gap on either side,
        within the period, also where the date itself lies outside; a run is unbroken where the class is known on all
        its dates. Days before the first and after the last date of the series are unknown.

    Raises:
        ConfigurationError: If the period is empty.
        SceneError: If no date lies in it.
    """
    first, end = (day_of(day, "limit of the period") for day in (start, stop))
    if end <= first:
        raise ConfigurationError("The period of a season must end after it begins.")
    middle = 0.5 * (series.days[1:] + series.days[:-1] + 1)
    left = np.clip(np.concatenate([series.days[:1], middle]), first, end)
    right = np.clip(np.concatenate([middle, series.days[-1:] + 1]), first, end)
    inside = right > left
    if not (inside & (series.days >= first) & (series.days < end)).any():
        raise SceneError("No date of the series lies in the period of the season; widen it.")
    left, right = left[inside], right[inside]
    mask, step, space = series.mask[inside], series.step[inside], series.mask.shape[1:]
    length = (right - left).reshape(-1, *[1] * len(space))
    onset, last = np.full(space, np.nan), np.full(space, np.nan)
    run, since, longest = np.zeros(space), np.zeros(space), np.zeros(space)
    for t in range(mask.shape[0]):
        with_it = mask[t] == 1
        since = np.where(with_it & (run == 0), left[t], since)
        run = np.where(with_it, run + length[t], 0.0)
        longer = run > longest
        longest = np.where(longer, run, longest)
        onset, last = np.where(longer, since, onset), np.where(longer, right[t] - 1, last)
    return SeasonDays(
        duration=((mask == 1) * length).sum(axis=0).astype(np.float32),
        unknown=((mask == NODATA) * length).sum(axis=0).astype(np.float32) + np.float32(end - first - length.sum()),
        inferred=((step == SEASON) * length).sum(axis=0).astype(np.float32),
        onset=onset.astype(np.float32),
        end=last.astype(np.float32),
    )
