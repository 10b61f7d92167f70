"""How far the values of a band have moved from those of the training data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError

_TAIL = (0.0, 0.001, 0.005, 0.01, 0.02)
LEVELS = (*_TAIL, *(round(0.05 * step, 2) for step in range(1, 20)), *(1.0 - level for level in reversed(_TAIL)))
"""Levels of the quantiles that summarise a band: steps of 5 %, finer in the tails."""
_DECILES = [LEVELS.index(round(0.1 * step, 2)) for step in range(1, 10)]
SHARE_FLOOR = 1e-4
"""Least share of a bin: the logarithm of an empty one would be infinite."""


@dataclass(frozen=True)
class BandShift:
    """The difference of one band between a scene and the training data.

    Attributes:
        mean_difference: Mean of the scene minus mean of the training data, in standard deviations of the latter.
        spread_ratio: Standard deviation of the scene over that of the training data.
        wasserstein: 1-Wasserstein distance of the two distributions in the same standard deviations, from quantiles;
            None without quantiles of the training data.
        stability_index: Population stability index over the training deciles, sum (p - q) ln(p / q): below 0.1 is
            usually called stable, above 0.25 a shift; None without quantiles.
        outside: Share of the scene beyond the 0.1 % and 99.9 % quantiles of the training data; None without them.
    """

    mean_difference: float
    spread_ratio: float
    wasserstein: float | None
    stability_index: float | None
    outside: float | None


def band_quantiles(values: NDArray[np.floating]) -> list[float]:
    """Return the quantiles of a band at `LEVELS`.

    Args:
        values: Any shape; what is not finite is ignored.

    Raises:
        ConfigurationError: If no value is finite.
    """
    finite = np.asarray(values, np.float64)[np.isfinite(values)]
    if finite.size == 0:
        raise ConfigurationError("A band without a finite value has no quantiles; leave that band out.")
    return [float(value) for value in np.quantile(finite, LEVELS)]


def band_shift(
    values: NDArray[np.floating],
    mean: float,
    std: float,
    *,
    quantiles: list[float] | None = None,
    limits: tuple[float, float] | None = None,
) -> BandShift:
    """Compare a band of a scene with what is known of the training data.

    Args:
        values: Of the scene, any shape; what is not finite is ignored.
        mean: Of the training data.
        std: Of the training data, positive.
        quantiles: Of the training data at `LEVELS`.
        limits: 0.1 % and 99.9 % quantiles of the training data.

    Raises:
        ConfigurationError: If no value is finite, or a summary of the training data is not usable.
    """
    finite = np.asarray(values, np.float64)[np.isfinite(values)]
    if finite.size == 0:
        raise ConfigurationError("The scene has no valid pixel to compare with the training data.")
    if not (np.isfinite(mean) and np.isfinite(std) and std > 0.0):
        raise ConfigurationError("The model's band statistics are not usable; train it again.")
    wasserstein = stability = None
    if quantiles is not None:
        wasserstein = quantile_distance(finite, quantiles) / std
        stability = stability_index(finite, quantiles)
    outside = None
    if limits is not None:
        outside = float(((finite < limits[0]) | (finite > limits[1])).mean())
    return BandShift(
        mean_difference=float((finite.mean() - mean) / std),
        spread_ratio=float(finite.std() / std),
        wasserstein=wasserstein,
        stability_index=stability,
        outside=outside,
    )


def quantile_distance(values: NDArray[np.float64], quantiles: list[float]) -> float:
    """Return the 1-Wasserstein distance between values and a distribution known by its quantiles at `LEVELS`.

    In one dimension it is the integral over the levels of |difference of the quantile functions|; both are taken as
    linear between the levels.

    Raises:
        ConfigurationError: If the quantiles are not a rising list of `len(LEVELS)` numbers.
    """
    known = _checked(quantiles)
    differences = np.quantile(values, LEVELS) - known
    first, second = differences[:-1], differences[1:]
    widths = np.diff(LEVELS)
    # |linear function| integrated over an interval: a trapezium, or two triangles where the sign changes.
    crossing = first * second < 0.0
    total = np.abs(first) + np.abs(second)
    triangles = (first**2 + second**2) / np.where(total > 0.0, 2.0 * total, 1.0)
    return float((widths * np.where(crossing, triangles, total / 2.0)).sum())


def stability_index(values: NDArray[np.float64], quantiles: list[float]) -> float:
    """Return the population stability index over the training deciles.

    Deciles that coincide with a neighbouring quantile (a band that is often 0) are left out, because the training share
    below them is not known; of a constant band, only the share that equals it is compared.

    Raises:
        ConfigurationError: If the quantiles are not a rising list of `len(LEVELS)` numbers.
    """
    known = _checked(quantiles)
    alone = [at for at in _DECILES if known[at - 1] < known[at] < known[at + 1]]
    if alone:
        expected = np.diff(np.concatenate([[0.0], np.asarray(LEVELS)[alone], [1.0]]))
        counts = np.bincount(np.searchsorted(known[alone], values, side="left"), minlength=len(expected))
    else:
        inside = int(((values >= known[0]) & (values <= known[-1])).sum())
        expected, counts = np.array([1.0, 0.0]), np.array([inside, len(values) - inside])
    found = np.maximum(counts / len(values), SHARE_FLOOR)
    expected = np.maximum(expected, SHARE_FLOOR)
    return float(((found - expected) * np.log(found / expected)).sum())


def _checked(quantiles: list[float]) -> NDArray[np.float64]:
    known = np.asarray(quantiles, np.float64)
    if known.shape != (len(LEVELS),) or not np.isfinite(known).all() or (np.diff(known) < 0.0).any():
        raise ConfigurationError("The model's band quantiles are damaged; get the model again from its source.")
    return known
