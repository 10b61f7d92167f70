"""Monitoring: does what comes in still fit the model of a stable history (OLS-MOSUM, as in BFAST monitor)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.change.breaks_monitoring_kernels import monitor_lanes
from ecumene.change.seasons import season_design
from ecumene.change.series import day_of, pixel_series, run_blocks
from ecumene.core.errors import ConfigurationError, SceneError

Single = NDArray[np.float32]
_SIMULATIONS = 20_000


@dataclass(frozen=True)
class Alarms:
    """Alarms of the monitored dates.

    Attributes:
        date: float32 `[*space]`, day since 1970-01-01 of the observation at which the process crossed its boundary;
            NaN: no alarm.
        last_before: float32 `[*space]`, the last history date: the change lies between it and `date`.
        magnitude: float32 `[*space]`, mean residual since the history.
        scale: float32 `[*space]`, residual standard deviation of the history.
        peak: float32 `[*space]`, largest absolute process over its growth; an alarm is a peak above the boundary.
        valid: bool `[*space]`, whether the history had enough observations.
        boundary: Of the process.
    """

    date: Single
    last_before: float
    magnitude: Single
    scale: Single
    peak: Single
    valid: NDArray[np.bool_]
    boundary: float


def monitor_breaks(
    values: Any,
    dates: Any,
    history: Any,
    valid: Any = None,
    *,
    order: int = 1,
    trend: bool = True,
    window: float = 0.25,
    boundary: float | None = None,
    false_alarms: float = 0.05,
    threads: int | None = None,
) -> Alarms:
    """Fit a season-trend model to the history and watch moving sums of the residuals of later dates.

    The process at an observation is the sum of the last h residuals over s sqrt(n), with n observations and residual
    standard deviation s of the history and h = floor(window n); an alarm is |process| > boundary sqrt(log+(m / n)), m
    the observations up to there and log+ the logarithm, at least 1 (Verbesselt, Zeileis, Herold 2012, doi
    10.1016/j.rse.2012.02.022; Zeileis et al. 2005, doi 10.1002/jae.776).

    Difference: the boundary is the quantile of the largest process of simulated series on the same dates (white noise,
    nothing missing), because the asymptotic one gives far more false alarms after a short history. The history is taken
    as stable; its stability is not tested (`detect_breaks` on it does that).

    Args:
        values: `[T, *space]` of one band; NaN: missing.
        dates: `[T]`, ascending.
        history: Last date of the history (a date, or days since 1970-01-01).
        valid: bool `[T, *space]`; None: NaN says what is missing.
        order: Harmonics of the year.
        trend: Whether the model has a linear trend.
        window: Length of the moving sum, as a share of the history's observations.
        boundary: None: from `false_alarms`.
        false_alarms: Probability that a stable pixel raises an alarm in the monitored dates.
        threads: None: all; results do not depend on it.

    Returns:
        The alarms.

    Raises:
        SceneError: If dates are not usable, or the history or the rest of the series is too short.
        ConfigurationError: If shapes or options are wrong.
    """
    series = pixel_series(np.asarray(values)[None], dates, None if valid is None else np.asarray(valid)[None])
    if not 0.0 < window <= 1.0 or not 0.0 < false_alarms < 1.0 or (boundary is not None and not boundary > 0.0):
        raise ConfigurationError("The window must be in (0, 1], the false alarms in (0, 1) and the boundary above 0.")
    end = day_of(history, "last date of the history")
    past = int(np.searchsorted(series.days, end, side="right"))
    columns = season_design(series.days, order=order, trend=trend)
    fewest = max(columns.shape[1] + 2, int(np.ceil(1.0 / window)))
    if past < fewest or past == series.days.size:
        raise SceneError(
            f"The history has {past} of {series.days.size} dates; it needs at least {fewest}, and one date after it."
        )
    limit = boundary
    if limit is None:
        days = tuple(int(day) for day in series.days)
        limit = simulated_boundary(days, past, order, trend, window, false_alarms, threads)
    alarms, summary = watch(series.values[0], series.valid[0], columns, past, window, limit, fewest, threads)
    date = np.where(alarms >= 0, series.days[np.maximum(alarms, 0)], np.nan).astype(np.float32)
    spread = series.spread
    return Alarms(
        spread(date), float(series.days[past - 1]), spread(summary[1]), spread(summary[2]), spread(summary[0]),
        spread(alarms > -2), float(limit),
    )  # fmt: skip


def watch(
    values: NDArray[Any], valid: NDArray[np.bool_], design: NDArray[np.float64], past: int, window: float,
    boundary: float, fewest: int, threads: int | None,
) -> tuple[NDArray[np.int32], Single]:  # fmt: skip
    """Watch one band with any design.

    Args:
        values: `[T, P]`, float32 or float64, C-contiguous; NaN: missing.
        valid: bool `[T, P]` or `[0, 0]`.
        design: `[T, D]`.
        past: Dates of the history.
        window: As for `monitor_breaks`.
        boundary: Of the process.
        fewest: Observations that a history needs.
        threads: None: all.

    Returns:
        (date index of the alarm `[P]`, -1 none, -2 too few observations; peak, mean residual, scale `[3, P]`).
    """
    pixels = values.shape[1]
    alarms, summary = np.empty(pixels, np.int32), np.empty((3, pixels), np.float32)

    def work(start: int, stop: int) -> None:
        monitor_lanes(values, valid, start, stop, design, past, window, boundary, fewest, alarms, summary)

    run_blocks(work, pixels, threads)
    return alarms, summary


@lru_cache(maxsize=32)
def simulated_boundary(
    days: tuple[int, ...],
    past: int,
    order: int,
    trend: bool,
    window: float,
    false_alarms: float,
    threads: int | None = None,
) -> float:
    """Return the boundary that white noise on these dates crosses with the given probability.

    Args:
        days: Days since 1970-01-01, ascending.
        past: How many of them are history.
        order: Harmonics of the year.
        trend: Whether there is a linear trend.
        window: Length of the moving sum, as a share of the history.
        false_alarms: Probability.
        threads: None: all; the boundary does not depend on it.

    Returns:
        The boundary, the quantile of 20,000 simulated series.
    """
    noise = np.random.default_rng(0).standard_normal((len(days), _SIMULATIONS))
    design = season_design(np.array(days), order=order, trend=trend)
    _, summary = watch(noise, np.empty((0, 0), np.bool_), design, past, window, np.inf, 1, threads)
    return float(np.quantile(summary[0], 1.0 - false_alarms))
