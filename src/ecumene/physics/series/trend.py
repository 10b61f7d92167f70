"""Linear trends of series with season, autocorrelated variability and correlated calibration errors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from threadpoolctl import threadpool_limits

from ecumene.core.errors import ConfigurationError, SceneError

Float = NDArray[np.float64]

NOT_SIGNIFICANT = 1
"""Zero is within two standard deviations."""
STRONG_MEMORY = 2
"""Autocorrelation above 0.9: the series is too short for its memory, the error bar is rough."""


@dataclass(frozen=True)
class Trend:
    """A linear trend.

    Attributes:
        value: Change a time step.
        standard_deviation: Of `value`, with autocorrelation and calibration errors.
        level: Value at the mean time.
        harmonics: Cosine and sine coefficients of the season, `[H, 2]`.
        autocorrelation: Lag-one correlation of the variability that is not measurement error.
        variability: Standard deviation of that variability.
        fitted: Fitted series, `[T]`.
        flags: Bits of this module.
    """

    value: float
    standard_deviation: float
    level: float
    harmonics: Float
    autocorrelation: float
    variability: float
    fitted: Float
    flags: int


def fit_trend(
    step: NDArray[np.int64],
    value: Float,
    covariance: Float | None = None,
    *,
    period: float | None = 12.0,
    harmonics: int = 2,
) -> Trend:
    """Fit level, linear trend and season by generalised least squares.

    Weatherhead et al. (1998, doi 10.1029/98JD00995): natural variability is first-order autoregressive, which widens
    the error of a trend by about sqrt((1 + phi)/(1 - phi)). Differences: gaps are allowed (correlation
    phi^|lag|); phi and the variability's size are found by restricted maximum likelihood, which does not
    underestimate them as the residuals' own correlation does; the covariance of measurement and bias errors of a merged
    series (`merge_series`) is part of the noise, so that a jump in calibration counts fully.

    Args:
        step: Ascending integer time steps, `[T]`.
        value: `[T]`, finite.
        covariance: Of the values' errors, `[T, T]` or variances `[T]`; None: no measurement error apart
            from the variability.
        period: Steps of a season's cycle; None: no season.
        harmonics: Pairs of cosine and sine.

    Raises:
        ConfigurationError: If shapes differ, or period or harmonics are out of range.
        SceneError: If the series is too short for its parameters.
    """
    time = np.asarray(step, np.float64)
    y = np.asarray(value, np.float64)
    if time.ndim != 1 or time.shape != y.shape or not np.isfinite(y).all() or (np.diff(time) <= 0.0).any():
        raise ConfigurationError("A trend needs one finite value for each of ascending time steps.")
    if harmonics < 0 or (period is not None and not period > 2.0):
        raise ConfigurationError(
            "The season needs a period of more than 2 steps and a number of harmonics of at least 0."
        )
    known = np.zeros((y.size, y.size)) if covariance is None else np.asarray(covariance, np.float64)
    known = np.diag(known) if known.ndim == 1 else known
    if known.shape != (y.size, y.size):
        raise ConfigurationError("The covariance must be as long as the series.")
    middle = float(time.mean())
    columns = [np.ones_like(time), time - middle]
    pairs = harmonics if period is not None else 0
    columns += harmonic_columns(time, float(period or 1.0), pairs)
    design = np.stack(columns, axis=1)
    if y.size < design.shape[1] + 4 or np.linalg.matrix_rank(design) < design.shape[1]:
        raise SceneError(
            f"A series of {y.size} values is too short for a trend with {pairs} harmonics; drop the season or add data."
        )
    # On matrices this small the threads of a linear algebra library mostly wait for each other.
    with threadpool_limits(1, user_api="blas"):
        phi, size = _variability(time, y, design, known)
    coefficients, spread, _ = _generalised(y, design, _noise(time, known, phi, size))
    error = math.sqrt(float(spread[1, 1]))
    flags = NOT_SIGNIFICANT if abs(float(coefficients[1])) < 2.0 * error else 0
    flags |= STRONG_MEMORY if phi > 0.9 else 0
    season = np.asarray(coefficients[2:]).reshape(pairs, 2)
    return Trend(float(coefficients[1]), error, float(coefficients[0]), season, phi, size, design @ coefficients, flags)


def harmonic_columns(time: Float, period: float, pairs: int) -> list[Float]:
    """Return cosine and sine of a cycle and its harmonics, the columns of a season in a design matrix.

    Args:
        time: `[T]`, any unit.
        period: Of the cycle, in that unit.
        pairs: Number of harmonics.

    Returns:
        `2 pairs` arrays `[T]`: cosine and sine of 2 pi k time / period for k = 1, 2 ...
    """
    angles = [2.0 * math.pi * k * time / period for k in range(1, pairs + 1)]
    return [wave for angle in angles for wave in (np.cos(angle), np.sin(angle))]


def _noise(time: Float, known: Float, phi: float, size: float) -> Float:
    lags = np.abs(time[:, None] - time[None, :])
    memory = np.where(lags == 0.0, 1.0, phi**lags) if phi > 0.0 else (lags == 0.0).astype(np.float64)
    return known + size**2 * memory


def _generalised(y: Float, design: Float, noise: Float) -> tuple[Float, Float, float]:
    """Return (coefficients, covariance, -2 ln restricted likelihood)."""
    root = np.linalg.cholesky(noise)
    both = solve_triangular(root, np.column_stack([design, y]), lower=True, check_finite=False)
    left, right = both[:, :-1], both[:, -1]
    normal = left.T @ left
    covariance = np.linalg.inv(normal)
    coefficients = covariance @ (left.T @ right)
    residual = right - left @ coefficients
    likelihood = (
        2.0 * float(np.log(np.diag(root)).sum()) + float(np.linalg.slogdet(normal)[1]) + float(residual @ residual)
    )
    return coefficients, covariance, likelihood


def _variability(time: Float, y: Float, design: Float, known: Float) -> tuple[float, float]:
    """Find autocorrelation and size of the variability by restricted maximum likelihood."""
    from scipy.optimize import minimize

    residual = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    scale = float(np.sqrt((residual**2).sum() / (y.size - design.shape[1])))
    if not scale > 1e-12 * max(1.0, float(np.abs(y).max())):
        return 0.0, max(scale, 1e-12 * max(1.0, float(np.abs(y).max())))

    def cost(parameters: Float) -> float:
        phi = 0.98 / (1.0 + math.exp(-float(parameters[0])))
        noise = _noise(time, known, phi, scale * math.exp(float(np.clip(parameters[1], -7.0, 7.0))))
        return _generalised(y, design, noise)[2]

    starts = [np.array([-3.0, -0.1]), np.array([0.5, -0.1])]
    fits = [minimize(cost, start, method="Nelder-Mead", options={"xatol": 1e-3, "fatol": 1e-4}) for start in starts]
    best = min(fits, key=lambda fit: float(fit.fun)).x
    return 0.98 / (1.0 + math.exp(-float(best[0]))), scale * math.exp(float(np.clip(best[1], -7.0, 7.0)))
