"""The harmonic season-trend model of a pixel's series: least squares with missing observations, optionally robust."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.change.series import DAYS_A_YEAR, pixel_series, run_blocks
from ecumene.change.series_kernels import fit_lanes, fit_lanes_robust
from ecumene.core.errors import ConfigurationError, SceneError
from ecumene.physics.series.trend import harmonic_columns

Float = NDArray[np.float64]
ORDERS = (0, 1, 2, 3)
_HUBER = 1.345  # 95 % efficiency for Gaussian noise
_ROUNDS = 10


@dataclass(frozen=True)
class SeasonTrend:
    """Fitted season-trend models.

    y(t) = c0 + c1 (t - middle) / year + sum over k of a_k cos(2 pi k t / year) + b_k sin(2 pi k t / year), with t in
    days since 1970-01-01 and a year of 365.25 days.

    Attributes:
        coefficients: float32 `[B, D, *space]`: level, change a year (if there is a trend), a_1, b_1, ...; NaN without
            a fit.
        scale: float32 `[B, *space]`, residual standard deviation (for robust fits 1.4826 times the median absolute
            residual), in the unit of the values.
        observations: int32 `[B, *space]`.
        days: int64 `[T]`, the dates of the fit.
        order: Harmonics of the year.
        trend: Whether there is a linear term.
        middle: Day at which the trend is zero.
    """

    coefficients: NDArray[np.float32]
    scale: NDArray[np.float32]
    observations: NDArray[np.int32]
    days: NDArray[np.int64]
    order: int
    trend: bool
    middle: float

    def predict(self, days: Any) -> Float:
        """Return what the model says on other days.

        Args:
            days: Days since 1970-01-01, `[N]`.

        Returns:
            `[B, N, *space]`.
        """
        design = season_design(days, order=self.order, trend=self.trend, middle=self.middle)
        return np.asarray(np.einsum("td,bd...->bt...", design, self.coefficients.astype(np.float64)))


def season_design(days: Any, *, order: int = 1, trend: bool = True, middle: float | None = None) -> Float:
    """Return the design matrix of the season-trend model.

    Args:
        days: Days since 1970-01-01, `[T]`.
        order: Harmonics of the year, 0 to 3.
        trend: Whether to add a linear term, in years.
        middle: Day at which the linear term is zero; None: half way between the first and the last day.

    Returns:
        float64 `[T, 1 + trend + 2 order]`: ones, years since `middle`, cosine and sine of each harmonic.

    Raises:
        ConfigurationError: If the order is out of range.
    """
    if order not in ORDERS:
        raise ConfigurationError(f"The order of the season is {order}; use 0, 1, 2 or 3 harmonics of the year.")
    time = np.asarray(days, np.float64)
    centre = 0.5 * (time[0] + time[-1]) if middle is None else middle
    columns = [np.ones_like(time)]
    if trend:
        columns.append((time - centre) / DAYS_A_YEAR)
    columns += harmonic_columns(time, DAYS_A_YEAR, order)
    return np.stack(columns, axis=1)


def fit_seasons(
    values: Any,
    dates: Any,
    valid: Any = None,
    *,
    order: int = 1,
    trend: bool = True,
    robust: bool = False,
    threads: int | None = None,
) -> SeasonTrend:
    """Fit the season-trend model to every pixel and band.

    The robust fit minimises Huber's function of the residuals over 1.4826 times their median absolute value, with
    its usual limit of 1.345 (Huber 1981, Robust Statistics, chapter 7), by ten reweighted least squares: missed clouds
    then move the season little.

    Args:
        values: `[B, T, *space]`; NaN: missing.
        dates: `[T]`, ascending.
        valid: bool `[T, *space]` or `[B, T, *space]`; None: NaN says what is missing.
        order: Harmonics of the year, 0 to 3.
        trend: Whether to fit a linear trend.
        robust: Whether outliers get less weight.
        threads: None: all; results do not depend on it.

    Returns:
        The models; a pixel with fewer observations than coefficients, or whose observations cannot tell them apart,
        gets NaN.

    Raises:
        SceneError: If dates are not usable or fewer than the model's coefficients, or nothing is valid.
        ConfigurationError: If shapes or options are wrong.
    """
    series = pixel_series(values, dates, valid)
    design = model_design(series.days, order, trend)
    bands, pixels = series.bands, series.pixels
    coefficients = np.empty((bands, design.shape[1], pixels), np.float32)
    scale, seen = np.empty((bands, pixels), np.float32), np.empty((bands, pixels), np.int32)
    for b in range(bands):
        mask = series.valid[min(b, series.valid.shape[0] - 1)]

        def work(start: int, stop: int, b: int = b, mask: NDArray[np.bool_] = mask) -> None:
            least = design.shape[1]
            if robust:
                fit_lanes_robust(series.values[b], mask, start, stop, design, least, _HUBER, _ROUNDS,
                                 coefficients[b], scale[b], seen[b])  # fmt: skip
            else:
                fit_lanes(series.values[b], mask, start, stop, design, least, coefficients[b], scale[b], seen[b])

        run_blocks(work, pixels, threads)
    middle = 0.5 * float(series.days[0] + series.days[-1])
    return SeasonTrend(
        series.spread(coefficients), series.spread(scale), series.spread(seen), series.days, order, trend, middle
    )


def model_design(days: NDArray[np.int64], order: int, trend: bool) -> Float:
    """Return the design of a series after checking that it has more dates than coefficients.

    Raises:
        SceneError: If it has not.
        ConfigurationError: If the order is out of range.
    """
    design = season_design(days, order=order, trend=trend)
    if days.size <= design.shape[1]:
        raise SceneError(
            f"{days.size} dates are too few for a season-trend model of {design.shape[1]} coefficients; "
            "give more dates, or lower the order of the season."
        )
    return design


def noise_autocorrelation(
    values: Any, dates: Any, valid: Any = None, *, order: int = 1, trend: bool = True, sample: int = 4096
) -> float:
    """Estimate how noise of consecutive observations is correlated, for `BreakModel(autocorrelation=...)`.

    The median over pixels and bands of the residuals' lag-one correlation, less what fitting the model causes in white
    noise, tr(M S) / tr(M) with the residual maker M and the shift S to the next date. The median ignores pixels that
    break, as long as they are the minority. Gaps count as steps.

    Args:
        values: `[B, T, *space]`; NaN: missing.
        dates: `[T]`, ascending.
        valid: bool `[T, *space]` or `[B, T, *space]`.
        order: Harmonics of the year.
        trend: Whether the model has a linear trend.
        sample: Largest number of pixels that are used, evenly over the image.

    Returns:
        The correlation, in [0, 0.95].

    Raises:
        SceneError: If dates are not usable, or no sampled pixel has enough observations.
        ConfigurationError: If shapes or options are wrong.
    """
    series = pixel_series(values, dates, valid)
    design = model_design(series.days, order, trend)
    fewest = design.shape[1] + 4
    chosen = np.unique(np.linspace(0, series.pixels - 1, min(sample, series.pixels)).astype(np.int64))
    found = []
    for b in range(series.bands):
        for p in chosen:
            y = series.values[b, :, p].astype(np.float64)
            seen = ~np.isnan(y)
            if series.valid.size:
                seen &= series.valid[min(b, series.valid.shape[0] - 1), :, p]
            if seen.sum() < fewest:
                continue
            basis = np.linalg.qr(design[seen])[0]
            rest = y[seen] - basis @ (basis.T @ y[seen])
            squares = float(rest @ rest)
            if squares > 0.0:
                caused = -float((basis[1:] * basis[:-1]).sum()) / (seen.sum() - design.shape[1])
                found.append(float(rest[1:] @ rest[:-1]) / squares - caused)
    if not found:
        raise SceneError(f"No sampled pixel has {fewest} observations; the noise's correlation cannot be estimated.")
    return float(np.clip(np.median(found), 0.0, 0.95))
