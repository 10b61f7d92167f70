"""Which pixels are filled worse than others: a variance function, learned from hidden clear pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecumene.restoration.contract import Array, Floats

_STEPS, _RIDGE, _MOST_RATIO, _LARGEST = 40, 1e-2, 400.0, 16.0
_SEED = 0


@dataclass(frozen=True)
class VarianceFunction:
    """A log-linear factor on the variances of a pixel, from what it was filled with.

    The squared error of a pixel over its predicted variance, mean over bands, is taken as gamma distributed with
    log-linear mean (Davidian and Carroll 1987, "Variance function estimation", JASA 82, 1079-1091; McCullagh and Nelder
    1989, chapter 8). Its features are the filled reflectances, their squares, and the logarithm of the surprise: fields
    change more than forests, and what contradicted itself before will again. The factor lies between 1/16 and 16.

    Attributes:
        center: `[K]`, mean of the filled reflectances.
        scale: `[K]`, their standard deviation.
        coefficients: `[2 K + 2]`: intercept, reflectances, squares, surprise.
    """

    center: Array
    scale: Array
    coefficients: Array

    def factor(self, mean: Floats, surprise: Floats) -> Array:
        """Return the factor on the variances of each pixel `[P]`, for means `[K, P]` and surprises `[P]`."""
        design = _design(np.asarray(mean, np.float64), np.asarray(surprise, np.float64), self.center, self.scale)
        return np.asarray(np.exp(np.clip(design @ self.coefficients, -np.log(_LARGEST), np.log(_LARGEST))))

    def to_dict(self) -> dict[str, list[float]]:
        """Return a JSON-able form."""
        return {
            name: [float(f"{value:.6g}") for value in getattr(self, name)]
            for name in ("center", "scale", "coefficients")
        }


def fit_variance_function(
    mean: Array, deviation: Array, truth: Array, surprise: Array, group: NDArray[np.int64]
) -> VarianceFunction | None:
    """Fit the function on hidden pixels, if it helps on blocks that it was not fitted on.

    Args:
        mean: `[K, N]`, filled.
        deviation: `[K, N]`, predicted standard deviations.
        truth: `[K, N]`.
        surprise: `[N]`; NaN where unknown.
        group: `[N]`, block of each pixel; blocks have the same weight.

    Returns:
        The function; None if the Gaussian likelihood of either of two random halves of the blocks is no better with the
        function of the other half.
    """
    ratio = np.minimum(np.mean(((truth - mean) / deviation) ** 2, axis=0), _MOST_RATIO)
    center, scale = mean.mean(axis=1), np.maximum(mean.std(axis=1), 1e-6)
    design = _design(mean, surprise, center, scale)
    _, block, counts = np.unique(group, return_inverse=True, return_counts=True)
    weight = 1.0 / counts[block]
    if len(counts) < 8:
        return None
    # Numbers of blocks go with dates and rows, so that halves by number would not be alike.
    half = (np.random.default_rng(_SEED).permutation(len(counts)) % 2 == 0)[block]
    for inside in (half, ~half):
        coefficients = _fit(design[~inside], ratio[~inside], weight[~inside])
        level = np.log(np.average(ratio[~inside], weights=weight[~inside]))  # what one factor alone would have said
        log_factor = np.clip(design[inside] @ coefficients, -np.log(_LARGEST), np.log(_LARGEST))
        with_it = log_factor + ratio[inside] * np.exp(-log_factor)
        without = level + ratio[inside] * np.exp(-level)
        if np.average(without - with_it, weights=weight[inside]) <= 0.0:
            return None
    return VarianceFunction(center, scale, _fit(design, ratio, weight))


def _design(mean: Array, surprise: Array, center: Array, scale: Array) -> Array:
    """Return features `[N, 2 K + 2]`; reflectances beyond four deviations count as four."""
    z = np.clip((mean.T - center) / scale, -4.0, 4.0)
    known = np.isfinite(surprise)
    logarithm = np.where(known, np.log(np.clip(np.where(known, surprise, 1.0), 1e-2, 1e2)), 0.0)
    return np.concatenate([np.ones((len(z), 1)), z, z**2 / 4.0, logarithm[:, None]], axis=1)


def _fit(design: Array, ratio: Array, weight: Array) -> Array:
    """Return the coefficients of a gamma regression with logarithmic link, by Fisher scoring with a small ridge."""
    share = weight / weight.sum()
    penalty = _RIDGE * np.eye(design.shape[1])
    penalty[0, 0] = 1e-9
    information = np.linalg.inv(design.T @ (share[:, None] * design) + penalty)
    coefficients = np.zeros(design.shape[1])
    coefficients[0] = np.log(max(float(share @ ratio), 1e-12))
    for _ in range(_STEPS):
        excess = np.minimum(ratio * np.exp(-np.clip(design @ coefficients, -20.0, 20.0)), 50.0) - 1.0
        step = information @ (design.T @ (share * excess) - penalty @ coefficients * (np.arange(len(penalty)) > 0))
        coefficients = coefficients + np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < 1e-6:
            break
    return coefficients
