"""How much a band changes over a number of days: the temporal variogram of a series, from its own clear pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ecumene.core.errors import LabelError
from ecumene.restoration.contract import Array, Sample

RANGES_DAYS = (5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0)
FEWEST_PIXELS = 30
"""Pixels that a pair of dates needs in common to say anything."""
_PRIOR_DAYS, _PRIOR_WEIGHT = (3.0, 30.0, 120.0), 0.15
_LEAST = 1e-10  # smallest semivariance, far below the square of any digital number


@dataclass(frozen=True)
class Variogram:
    """gamma_b(h) = nugget_b + sill_b (1 - exp(-h / range)): half of the mean squared difference over h days.

    A semivariogram needs no mean of the series, and gives the error of every estimate that is a weighted mean of
    other dates (see `error_variance`). An exponential model is the usual first choice of geostatistics (Cressie 1993,
    Statistics for Spatial Data, chapter 2.3); seasons that return are not in it, so that two dates a year apart count
    as unlike.

    Attributes:
        nugget: `[K]`, what two dates differ by however near they are: noise, atmosphere, registration.
        sill: `[K]`, what time adds.
        range_days: Days after which 63 % of that have come.
        pairs: For the report: (days apart, pixels, mean over bands of the semivariance).
    """

    nugget: Array
    sill: Array
    range_days: float
    pairs: tuple[tuple[float, int, float], ...] = ()

    def __call__(self, days: Any) -> Array:
        """Return semivariances `[K, *days.shape]`; 0 for 0 days."""
        apart = np.abs(np.asarray(days, np.float64))
        grown = 1.0 - np.exp(-apart / self.range_days)
        shape = (-1, *(1,) * apart.ndim)
        values = self.nugget.reshape(shape) + self.sill.reshape(shape) * grown
        return np.where(apart > 0.0, values, 0.0)

    def shape(self, days: Any) -> Array:
        """Return the mean over bands of the semivariance relative to the band's largest, like `days`."""
        top = (self.nugget + self.sill).reshape(-1, *(1,) * np.ndim(days))
        return np.asarray((self(days) / top).mean(axis=0))

    def error_variance(self, weights: Array, days: Array, target_day: float) -> Array:
        """Return the mean squared error of weighted means of dates.

        2 sum_i w_i gamma(t - t_i) - sum_i sum_j w_i w_j gamma(t_i - t_j), for weights with sum 1 (Cressie 1993,
        equation 3.2.4). A date on the wanted day itself counts as one that is very near, not as the truth.

        Args:
            weights: `[N, T]`, rows with sum 1.
            days: `[T]`.
            target_day: The day that is estimated.

        Returns:
            `[N, K]`, positive.
        """
        to_target = self(np.maximum(np.abs(days - target_day), 1e-6))
        between = self(days[:, None] - days[None, :])
        first = 2.0 * np.einsum("nt,kt->nk", weights, to_target)
        second = np.einsum("ns,kst,nt->nk", weights, between, weights, optimize=True)
        return np.asarray(np.maximum(first - second, self.nugget[None] + _LEAST), np.float64)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        return {
            "nugget": [float(f"{v:.6g}") for v in self.nugget],
            "sill": [float(f"{v:.6g}") for v in self.sill],
            "range_days": self.range_days,
            "pairs": [{"days": d, "pixels": n, "semivariance": float(f"{g:.6g}")} for d, n, g in self.pairs],
        }


def fit_variogram(sample: Sample) -> Variogram:
    """Fit the variogram of a series on the pixels that two dates have clear in common.

    Non-negative least squares on relative errors, pairs weighted by the root of their number of blocks; the range that
    fits best is taken. Few pairs cannot tell nugget from sill: three weak pseudo-observations of the mean level, with
    equal nugget and sill and a range of 30 days, keep the fit from extremes.

    Args:
        sample: At least two dates that share `FEWEST_PIXELS` clear pixels.

    Raises:
        LabelError: If no two dates do.
    """
    lags, values, weights, pairs = _empirical(sample)
    if not lags:
        raise LabelError("No two dates have clear pixels in common, so that nothing can be learned from the series.")
    lag, gamma = np.array(lags), np.maximum(np.array(values), _LEAST)
    weight = np.array(weights)
    level = np.exp(np.average(np.log(gamma), axis=0, weights=weight))
    prior = 0.5 + 0.5 * (1.0 - np.exp(-np.array(_PRIOR_DAYS) / 30.0))
    at_pairs = 0.5 + 0.5 * (1.0 - np.exp(-lag / 30.0))
    prior = prior / np.exp(np.average(np.log(at_pairs), weights=weight))
    lag = np.concatenate([lag, _PRIOR_DAYS])
    gamma = np.concatenate([gamma, prior[:, None] * level[None]])
    weight = np.concatenate([weight, np.full(len(_PRIOR_DAYS), _PRIOR_WEIGHT * float(weight.mean()))])
    best: tuple[float, float, Array, Array] | None = None
    for range_days in RANGES_DAYS:
        nugget, sill, misfit = _fit_range(lag, gamma, weight, range_days)
        if best is None or misfit < best[0]:
            best = (misfit, range_days, nugget, sill)
    assert best is not None
    _, range_days, nugget, sill = best
    return Variogram(np.maximum(nugget, _LEAST), sill, range_days, tuple(pairs))


def unknown_variogram(sample: Sample) -> Variogram:
    """Return the variogram of a series that has no two dates in common: any two days differ as any two pixels do.

    Half of the mean squared difference of two pixels drawn at random is the variance of the band in the scene: a wide
    error bar, and all that is known.
    """
    clear = sample.series.clear
    values = np.moveaxis(sample.series.image, 1, 0)[:, clear].astype(np.float64)
    if values.shape[1] == 0:
        raise LabelError("No pixel of the series is clear on any date, so that nothing can be filled from it.")
    variance = np.maximum(values.var(axis=1), _LEAST)
    return Variogram(variance, np.zeros_like(variance), RANGES_DAYS[0])


def _empirical(sample: Sample) -> tuple[list[float], list[Array], list[float], list[tuple[float, int, float]]]:
    """Return days apart, semivariances `[K]`, weights and the report of every pair of dates."""
    series = sample.series
    lags, values, weights, pairs = [], [], [], []
    for i in range(len(series.days)):
        for j in range(i + 1, len(series.days)):
            both = series.clear[i] & series.clear[j]
            number = int(both.sum())
            if number < FEWEST_PIXELS:
                continue
            difference = series.image[i][:, both].astype(np.float64) - series.image[j][:, both]
            gamma = 0.5 * np.mean(difference**2, axis=1)
            apart = float(series.days[j] - series.days[i])
            lags.append(max(apart, 0.1))
            values.append(gamma)
            weights.append(float(np.sqrt(len(np.unique(sample.group[both])))))
            pairs.append((apart, number, float(gamma.mean())))
    return lags, values, weights, pairs


def _fit_range(lag: Array, gamma: Array, weight: Array, range_days: float) -> tuple[Array, Array, float]:
    """Return nugget `[K]`, sill `[K]` and the summed relative misfit of one range."""
    from scipy.optimize import nnls

    grown = 1.0 - np.exp(-lag / range_days)
    nugget, sill, misfit = np.empty(gamma.shape[1]), np.empty(gamma.shape[1]), 0.0
    for band in range(gamma.shape[1]):
        scale = weight / gamma[:, band]
        design = np.stack([np.ones_like(lag), grown], axis=1) * scale[:, None]
        (nugget[band], sill[band]), residual = nnls(design, gamma[:, band] * scale)
        misfit += residual**2
    return nugget, sill, misfit
