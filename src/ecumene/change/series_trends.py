"""Trends without assumptions about the noise: the Mann-Kendall test and Theil and Sen's slope."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import stats

from ecumene.change.series import DAYS_A_YEAR, pixel_series, run_blocks
from ecumene.core.errors import ConfigurationError

Single = NDArray[np.float32]
_OPTIONS: Any = {"cache": True, "nogil": True, "error_model": "numpy"}


@dataclass(frozen=True)
class MonotoneTrend:
    """Trends of every pixel; NaN where there are fewer than three observations.

    Attributes:
        slope: float32 `[B, *space]`, Theil-Sen slope, change a year.
        slope_low: float32 `[B, *space]`, lower end of its interval (Sen 1968).
        slope_high: float32 `[B, *space]`, upper end.
        p_value: float32 `[B, *space]`, two-sided, of no monotone trend.
        tau: float32 `[B, *space]`, Kendall's rank correlation with time, S over the number of pairs.
        observations: int32 `[B, *space]`.
        level: Of the interval.
    """

    slope: Single
    slope_low: Single
    slope_high: Single
    p_value: Single
    tau: Single
    observations: NDArray[np.int32]
    level: float


def monotone_trend(
    values: Any, dates: Any, valid: Any = None, *, level: float = 0.9, threads: int | None = None
) -> MonotoneTrend:
    """Estimate the median of all pairwise slopes, its interval, and the Mann-Kendall test.

    Theil-Sen: the median of (y_j - y_i) / (t_j - t_i); its interval counts slopes on both sides by the variance of
    Kendall's S (Sen 1968, JASA 63(324):1379-1389). Mann-Kendall: S = sum of sign(y_j - y_i), normal with the variance
    corrected for ties and continuity (Kendall 1975). Observations are taken as independent; season and
    autocorrelation make p values too small, so give yearly values, or residuals of `fit_seasons`.

    Args:
        values: `[B, T, *space]`; NaN: missing.
        dates: `[T]`, ascending.
        valid: bool `[T, *space]` or `[B, T, *space]`.
        level: Of the slope's interval.
        threads: None: all; results do not depend on it.

    Returns:
        The trends.

    Raises:
        SceneError: If dates are not usable, or nothing is valid.
        ConfigurationError: If shapes or the level are wrong.
    """
    if not 0.0 < level < 1.0:
        raise ConfigurationError("The level of an interval must lie between 0 and 1.")
    series = pixel_series(values, dates, valid)
    years = series.days / DAYS_A_YEAR
    result = np.empty((5, series.bands, series.pixels), np.float32)
    seen = np.empty((series.bands, series.pixels), np.int32)
    width = float(stats.norm.ppf(0.5 * (1.0 + level)))
    for b in range(series.bands):
        mask = series.valid[min(b, series.valid.shape[0] - 1)]

        def work(start: int, stop: int, b: int = b, mask: NDArray[np.bool_] = mask) -> None:
            _trends(series.values[b], mask, start, stop, years, width, result[:, b], seen[b])

        run_blocks(work, series.pixels, threads)
    result[3] = 2.0 * stats.norm.sf(np.abs(result[3]))
    slope, low, high, p_value, tau = (series.spread(row) for row in result)
    return MonotoneTrend(slope, low, high, p_value, tau, series.spread(seen), level)


@njit(**_OPTIONS)
def _kendall_variance(y: Any, number: int) -> float:
    """Return the variance of Kendall's S without a trend, with ties."""
    variance = number * (number - 1.0) * (2.0 * number + 5.0)
    ordered = np.sort(y[:number])
    run = 1
    for i in range(1, number + 1):
        if i < number and ordered[i] == ordered[i - 1]:
            run += 1
        else:
            variance -= run * (run - 1.0) * (2.0 * run + 5.0)
            run = 1
    return variance / 18.0


@njit(**_OPTIONS)
def _between(ordered: Any, count: int, place: float) -> Any:
    """Return the value at a fractional place of sorted values, at the ends the outermost ones."""
    place = min(max(place, 0.0), count - 1.0)
    low = int(np.floor(place))
    high = min(low + 1, count - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


@njit(**_OPTIONS)
def _trends(values: Any, valid: Any, start: int, stop: int, years: Any, width: float, result: Any, seen: Any) -> None:
    """Fill slope, low, high, test statistic z and tau `[5, P]` of pixels start..stop."""
    dates = values.shape[0]
    y, t = np.empty(dates), np.empty(dates)
    slopes = np.empty(dates * (dates - 1) // 2)
    for pixel in range(start, stop):
        number = 0
        for k in range(dates):
            value = np.float64(values[k, pixel])
            if value == value and (valid.shape[0] == 0 or valid[k, pixel]):
                y[number], t[number] = value, years[k]
                number += 1
        seen[pixel] = number
        if number < 3:
            result[:, pixel] = np.nan
            continue
        pairs, total = 0, 0.0
        for i in range(number):
            for j in range(i + 1, number):
                slopes[pairs] = (y[j] - y[i]) / (t[j] - t[i])
                total += np.sign(y[j] - y[i])
                pairs += 1
        ordered = np.sort(slopes[:pairs])
        variance = _kendall_variance(y, number)
        reach = width * np.sqrt(variance)
        result[0, pixel] = _between(ordered, pairs, 0.5 * (pairs - 1.0))
        result[1, pixel] = _between(ordered, pairs, 0.5 * (pairs - reach) - 1.0)
        result[2, pixel] = _between(ordered, pairs, 0.5 * (pairs + reach))
        result[3, pixel] = (total - np.sign(total)) / np.sqrt(variance) if variance > 0.0 else 0.0
        result[4, pixel] = total / pairs
