"""Seasons of many years: days with a class by year and their trend, and how right filled gaps are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.change.series import days_of
from ecumene.change.series_gaps import (
    NEIGHBOURING_DAYS,
    NODATA,
    OTHER_SENSOR,
    SEASON,
    FilledSeries,
    count_days,
    fill_gaps,
)
from ecumene.change.series_trends import MonotoneTrend, monotone_trend
from ecumene.core.errors import ConfigurationError, SceneError

Single = NDArray[np.float32]
_STEPS = {"other sensor": OTHER_SENSOR, "neighbouring days": NEIGHBOURING_DAYS, "season": SEASON}


@dataclass(frozen=True)
class YearlySeasons:
    """Days with a class, season by season.

    Attributes:
        years: Year in which each season begins, `[Y]`.
        duration: float32 `[Y, *space]`, days with the class; NaN where more than the allowed share is unknown.
        onset: float32 `[Y, *space]`, first day of the longest run, days after the season's begin; NaN without.
        end: float32 `[Y, *space]`, its last day, alike.
        inferred: float32 `[Y, *space]`, share of the season that was filled by the climatology.
        trend: Of the duration, days a year: Mann-Kendall test and Theil-Sen slope with its interval (band 0).
    """

    years: tuple[int, ...]
    duration: Single
    onset: Single
    end: Single
    inferred: Single
    trend: MonotoneTrend


def yearly_seasons(
    series: FilledSeries, *, begin: str = "01-01", unknown: float = 0.2, level: float = 0.9
) -> YearlySeasons:
    """Count the days of every whole season of a series, and test them for a trend.

    Args:
        series: Filled masks of several years.
        begin: Month and day at which a season begins, `MM-DD`: `09-01` keeps a northern winter whole.
        unknown: Largest share of a season's days without value; seasons with more of them are left out of the trend.
        level: Of the slope's interval.

    Returns:
        The seasons that lie wholly between the first and the last date.

    Raises:
        ConfigurationError: If the begin or a share is wrong.
        SceneError: If there are fewer than three whole seasons.
    """
    if not 0.0 <= unknown < 1.0:
        raise ConfigurationError("The unknown share of a season must be at least 0 and below 1.")
    first, last = (int(str(np.datetime64(int(day), "D"))[:4]) for day in series.days[[0, -1]])
    starts = [_day(year, begin) for year in range(first, last + 2)]
    whole = [k for k in range(len(starts) - 1) if starts[k] >= series.days[0] and starts[k + 1] - 1 <= series.days[-1]]
    if len(whole) < 3:
        raise SceneError(f"The series holds {len(whole)} whole seasons from {begin}; a trend needs at least three.")
    parts = [(starts[k], starts[k + 1], count_days(series, starts[k], starts[k + 1])) for k in whole]
    lengths = np.array([stop - start for start, stop, _ in parts], np.float32)
    tail = (1,) * (series.mask.ndim - 1)
    missing = np.stack([part.unknown for _, _, part in parts]) > unknown * lengths.reshape(-1, *tail)
    duration = np.where(missing, np.nan, np.stack([part.duration for _, _, part in parts])).astype(np.float32)
    if np.isnan(duration).all():
        raise SceneError(
            "Every season of every pixel has too many unknown days; fill more gaps, or allow more of them."
        )
    shift = np.array([start for start, _, _ in parts], np.float32).reshape(-1, *tail)
    return YearlySeasons(
        tuple(first + k for k in whole),
        duration,
        np.where(missing, np.nan, np.stack([part.onset for _, _, part in parts]) - shift).astype(np.float32),
        np.where(missing, np.nan, np.stack([part.end for _, _, part in parts]) - shift).astype(np.float32),
        (np.stack([part.inferred for _, _, part in parts]) / lengths.reshape(-1, *tail)).astype(np.float32),
        monotone_trend(duration[None], [starts[k] for k in whole], level=level),
    )


def _day(year: int, begin: str) -> int:
    try:
        return int(np.datetime64(f"{year:04d}-{begin}", "D").astype(np.int64))
    except ValueError as error:
        raise ConfigurationError(f"A season begins at MM-DD, such as 09-01, not at {begin!r}.") from error


def filling_accuracy(
    mask: Any, dates: Any, other: Any = None, *, share: float = 0.1, seed: int = 0, **options: Any
) -> dict[str, dict[str, float]]:
    """Measure how right filled values are, by hiding known ones.

    Half of the hidden values are hidden alone; the other half take all values within reach with them, of both sensors,
    as a spell of clouds does, so that only the season can fill them.

    Args:
        mask: As for `fill_gaps`.
        dates: As there.
        other: As there.
        share: Of the known values that are hidden, above 0 and below 1.
        seed: The same seed hides the same values.
        options: Of `fill_gaps`.

    Returns:
        For each step that filled some: overall accuracy, share of the class that was found (recall), and how many
        hidden values there are; under `unfilled` the share of hidden values that stay unknown.

    Raises:
        ConfigurationError: If the share is out of range, or as `fill_gaps`.
        SceneError: As `fill_gaps`.
    """
    if not 0.0 < share < 1.0:
        raise ConfigurationError("The share of values to hide must lie between 0 and 1.")
    truth, days = np.asarray(mask).astype(np.uint8), days_of(dates, least=1)
    if truth.shape[:1] != days.shape:
        raise ConfigurationError(f"A mask series must be uint8 [{days.size} dates, ...] of 0, 1 and 255 (unknown).")
    rng = np.random.default_rng([seed, truth.size])
    hidden = (truth != NODATA) & (rng.random(truth.shape) < share)
    if not hidden.any():
        raise SceneError("No known value of the mask series could be hidden; give a longer one.")
    spell = hidden & (rng.random(truth.shape) < 0.5)
    reach = int(options.get("reach", 3))
    gone = np.stack([spell[np.abs(days - day) <= reach].any(axis=0) for day in days])
    left = np.where(hidden | gone, NODATA, truth).astype(np.uint8)
    second = None if other is None else np.where(gone, NODATA, np.asarray(other)).astype(np.uint8)
    filled = fill_gaps(left, dates, second, **options)
    found: dict[str, dict[str, float]] = {}
    for name, step in _STEPS.items():
        here = hidden & (filled.step == step)
        if here.any():
            right = filled.mask[here] == truth[here]
            with_it = truth[here] == 1
            found[name] = {
                "accuracy": float(right.mean()),
                "recall": float(right[with_it].mean()) if with_it.any() else float("nan"),
                "values": float(here.sum()),
            }
    found["unfilled"] = {"share": float((filled.mask[hidden] == NODATA).mean())}
    return found
