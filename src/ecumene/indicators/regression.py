"""Accuracy of predicted numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.indicators.accuracy import number


@dataclass(frozen=True)
class RegressionReport:
    """Errors of predicted numbers, in the unit of the numbers.

    Attributes:
        count: Pairs.
        bias: Mean of prediction minus reference.
        mae: Mean absolute error.
        rmse: Root of the mean squared error.
        r2: `1 - sum (y - p)^2 / sum (y - mean y)^2`; NaN where the reference is constant.
        intervals: (low, high) of each by block bootstrap; empty without blocks.
    """

    count: int
    bias: float
    mae: float
    rmse: float
    r2: float
    intervals: dict[str, tuple[float, float]]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able numbers; undefined ones are None."""
        return {
            "count": self.count,
            **{key: number(getattr(self, key)) for key in ("bias", "mae", "rmse", "r2")},
            "intervals": {key: [number(end) for end in ends] for key, ends in self.intervals.items()},
        }


def regression_report(
    reference: ArrayLike,
    prediction: ArrayLike,
    *,
    blocks: ArrayLike | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> RegressionReport:
    """Return errors of predicted numbers over pairs that are both finite.

    Args:
        reference: Numbers.
        prediction: Numbers of the same shape and unit.
        blocks: Spatial block of each element, for intervals that respect dependence.
        confidence: Two-sided level in (0, 1).
        resamples: Bootstrap replicates.
        seed: Seed of the bootstrap.

    Raises:
        ConfigurationError: If shapes differ or the level is out of range.
        LabelError: If no pair is finite.
    """
    truth = np.asarray(reference, dtype=np.float64).reshape(-1)
    guess = np.asarray(prediction, dtype=np.float64).reshape(-1)
    if truth.shape != guess.shape:
        raise ConfigurationError("Reference and prediction must have the same number of elements.")
    if not 0 < confidence < 1:
        raise ConfigurationError("The confidence level must lie between 0 and 1, for example 0.95.")
    usable = np.isfinite(truth) & np.isfinite(guess)
    if not usable.any():
        raise LabelError("There is no place where both the reference and the map have a number.")
    truth, guess = truth[usable], guess[usable]
    # Sums about the reference's mean, so that squares of large offsets (years, kelvin) do not cancel.
    centred, error = truth - truth.mean(), guess - truth
    terms = np.stack([np.ones_like(error), error, np.abs(error), error**2, centred, centred**2], axis=1)
    measures = _measures(terms.sum(axis=0))
    intervals: dict[str, tuple[float, float]] = {}
    if blocks is not None:
        names, inverse = np.unique(np.asarray(blocks).reshape(-1)[usable], return_inverse=True)
        sums = np.stack([np.bincount(inverse, weights=terms[:, i]) for i in range(terms.shape[1])], axis=1)
        rng = np.random.default_rng(seed)
        draws = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), resamples)
        tail = (1 - confidence) / 2
        for key, values in _measures(draws.astype(np.float64) @ sums).items():
            ends = np.quantile(values, [tail, 1 - tail]) if len(names) > 1 else np.full(2, np.nan)
            intervals[key] = (float(ends[0]), float(ends[1]))
    return RegressionReport(int(usable.sum()), **{k: float(v) for k, v in measures.items()}, intervals=intervals)


def _measures(sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return the measures of sums `[..., 6]` over pairs."""
    n, error, absolute, squared, centred, spread = np.moveaxis(sums, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        total = spread - centred**2 / n
        r2 = np.where(total > 0, 1 - squared / total, np.nan)
        return {"bias": error / n, "mae": absolute / n, "rmse": np.sqrt(squared / n), "r2": r2}
