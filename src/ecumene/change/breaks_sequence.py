"""Changes found while a series is followed: consecutive observations that leave the model (CCDC-like)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ecumene.change.breaks_sequence_kernels import follow_pixels
from ecumene.change.seasons import season_design
from ecumene.change.series import pixel_series, run_blocks
from ecumene.core.errors import ConfigurationError, SceneError

Single = NDArray[np.float32]


@dataclass(frozen=True)
class FollowedChanges:
    """Changes of every pixel in the order of their dates; NaN after the last one.

    Attributes:
        count: int32 `[*space]`; -1 where no part of the series is long and stable enough for a model. It may exceed N,
            the number that is stored.
        date: float32 `[N, *space]`, day since 1970-01-01 half way between the last observation that fits and the first
            one that does not.
        date_low: float32 `[N, *space]`, day of the last observation that fits.
        date_high: float32 `[N, *space]`, day of the first one that does not: the change lies between the two.
        magnitude: float32 `[N, B, *space]`, median residual of the observations that showed the change.
        p_value: float32 `[N, *space]`, probability that noise alone gives so large a sum of scores in these
            observations, from the chi-square distribution; not corrected for the number of dates that were tried.
        outliers: int32 `[*space]`, single observations that did not fit and were left out.
    """

    count: NDArray[np.int32]
    date: Single
    date_low: Single
    date_high: Single
    magnitude: Single
    p_value: Single
    outliers: NDArray[np.int32]


def follow_changes(
    values: Any,
    dates: Any,
    valid: Any = None,
    *,
    order: int = 1,
    trend: bool = True,
    confirm: int = 6,
    confidence: float = 0.99,
    least: int = 12,
    span: float = 365.0,
    floor: Any = 0.0,
    most: int = 3,
    threads: int | None = None,
) -> FollowedChanges:
    """Follow every pixel from its first stable window, in the manner of CCDC.

    Zhu and Woodcock (2014, doi 10.1016/j.rse.2014.01.011): a window of observations is the start of a model if its
    slope and its first and last residuals are small beside three residual scales; then each observation joins the
    model unless it and the next ones, `confirm` in a row, all leave it, which is a change; the model begins anew there.
    A score is the sum over bands of (residual / scale)^2; its limit is the `confidence` quantile.

    Differences: the score's variance includes that of the model's coefficients, and its limit follows the F
    distribution of the degrees of freedom, so that short models do not raise false alarms (exact for one band; for
    several it takes the bands as independent with a pooled variance); models are refitted with every observation. Left
    out: the Tmask screening of clouds (give a mask), the LASSO penalty, the number of coefficients that grows with
    the observations, the look back before the first window, and snow procedures.

    Args:
        values: `[B, T, *space]`; NaN: missing. A date counts where all bands are there.
        dates: `[T]`, ascending.
        valid: bool `[T, *space]` or `[B, T, *space]`; None: NaN says what is missing.
        order: Harmonics of the year.
        trend: Whether models have a linear trend.
        confirm: Consecutive observations that make a change.
        confidence: Of the limit, in (0, 1).
        least: Fewest observations of a first window; at least three more than the coefficients.
        span: Its shortest length in days.
        floor: Smallest residual scale, a number or `[B]`, in the unit of the values.
        most: Largest number of changes that are stored.
        threads: None: all; results do not depend on it.

    Returns:
        The changes.

    Raises:
        SceneError: If dates are not usable or too few, or nothing is valid.
        ConfigurationError: If shapes or options are wrong.
    """
    if confirm < 1 or most < 1 or not 0.0 < confidence < 1.0 or not span >= 0.0:
        raise ConfigurationError("Changes need at least one confirming date and place, and a confidence in (0, 1).")
    series = pixel_series(values, dates, valid)
    design = season_design(series.days, order=order, trend=trend)
    fewest = max(least, design.shape[1] + 3)
    if series.days.size < fewest + confirm:
        raise SceneError(
            f"{series.days.size} dates are too few to follow: a first window of {fewest} and {confirm} that confirm a "
            "change are needed; lower them, or give more dates."
        )
    lowest = _floors(floor, series.bands)
    freedom = np.arange(series.days.size + 1)
    limits = np.full(freedom.size, np.inf)
    limits[1:] = series.bands * stats.f.ppf(confidence, series.bands, freedom[1:])
    rules = np.array([fewest, span, confirm], np.float64)
    days, pixels = series.days.astype(np.float64), series.pixels
    counts = np.empty((2, pixels), np.int32)
    found = np.full((3, most, pixels), np.nan, np.float32)
    magnitude = np.full((most, series.bands, pixels), np.nan, np.float32)

    def work(start: int, stop: int) -> None:
        follow_pixels(
            series.values, series.valid, start, stop, days, design, rules, limits, lowest, 1 if trend else -1, counts,
            found, magnitude,
        )  # fmt: skip

    run_blocks(work, pixels, threads)
    tail = stats.chi2.sf(found[2], confirm * series.bands).astype(np.float32)
    spread = series.spread
    return FollowedChanges(
        count=spread(counts[0]),
        date=spread(0.5 * (found[0] + found[1])),
        date_low=spread(found[0]),
        date_high=spread(found[1]),
        magnitude=spread(magnitude),
        p_value=spread(tail),
        outliers=spread(counts[1]),
    )


def _floors(floor: Any, bands: int) -> NDArray[np.float64]:
    """Return the smallest residual scale of every band, `[B]`."""
    given = np.asarray(floor)
    if given.dtype.kind not in "biuf" or given.shape not in ((), (1,), (bands,)):
        raise ConfigurationError(f"The smallest residual scale must be one number, or {bands} of them, one a band.")
    if not (np.isfinite(given) & (given >= 0.0)).all():
        raise ConfigurationError("The smallest residual scale must be a number of at least 0.")
    return np.ascontiguousarray(np.broadcast_to(given.astype(np.float64), (bands,)))
