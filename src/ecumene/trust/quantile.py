"""The quantile that conformal prediction rests on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError


def check_coverage(coverage: float) -> float:
    """Return `coverage` if it lies strictly between 0 and 1.

    Raises:
        ConfigurationError: If it does not.
    """
    if not 0.0 < coverage < 1.0:
        raise ConfigurationError(f"The coverage must lie between 0 and 1, but is {coverage}.")
    return float(coverage)


def best_coverage(n_units: int) -> float:
    """Return the largest coverage that `n_units` exchangeable calibration units can promise, n / (n + 1)."""
    return n_units / (n_units + 1)


Aim = Literal["promise", "average"]


def too_few(count: int, units: str, coverage: float) -> str:
    """Return the sentence for calibration units that are too few for a coverage."""
    best = math.floor(1000 * best_coverage(count)) / 1000
    return (
        f"{count} calibration {units} are too few for a coverage of {coverage:g}; ask for at most {best:g}, or label "
        "more places."
    )


@dataclass(frozen=True)
class Threshold:
    """A threshold for scores, and what it promises.

    Attributes:
        value: Scores up to it are inside; infinite if nothing can be said.
        promised: Share of new scores that is inside at least on average, whatever the scores' distribution, for new
            elements that are exchangeable with the calibration elements (or lie in a new block exchangeable with the
            calibration blocks).
        n_units: Elements or blocks that the promise rests on.
    """

    value: float
    promised: float
    n_units: int


def fit_threshold(
    scores: NDArray[np.floating],
    coverage: float,
    groups: NDArray[np.generic] | None = None,
    aim: Aim = "promise",
) -> Threshold:
    """Return the threshold that aims at a coverage, and what it promises.

    Args:
        scores: As `conformal_quantile`.
        coverage: As there.
        groups: As there.
        aim: `promise`: the conformal quantile, which keeps the coverage for whatever distribution and is infinite with
            too few units. With G blocks that are alike it covers coverage / G more than was asked for. `average`: the
            same quantile without the weight at infinity. It hits the coverage on average over blocks like those of
            the calibration, with any number of them, but promises only G / (G + 1) of it for a new block.

    Raises:
        ConfigurationError: If coverage or scores are not usable.
    """
    if aim not in ("promise", "average"):
        raise ConfigurationError(f"A threshold aims at a promise or at the average, not at {aim!r}.")
    units = len(scores) if groups is None else len(np.unique(groups))
    if aim == "promise" or units == 0:
        value = conformal_quantile(scores, coverage, groups)
        return Threshold(value, coverage if math.isfinite(value) else 1.0, units)
    return Threshold(
        conformal_quantile(scores, coverage * best_coverage(units), groups), coverage * best_coverage(units), units
    )


def conformal_quantile(
    scores: NDArray[np.floating], coverage: float, groups: NDArray[np.generic] | None = None
) -> float:
    """Return the threshold that a new score exceeds with probability at most 1 - coverage.

    Without groups: the ceil((n + 1) coverage)-th smallest score (Vovk et al. 2005; Lei et al. 2018), for scores that
    are exchangeable with the new one. With groups: hierarchical conformal prediction (Lee, Barber and Willett 2023,
    "Distribution-free inference with hierarchical data"): groups are exchangeable, every group has the weight
    1 / (G + 1) shared evenly by its scores, and 1 / (G + 1) lies at infinity. Neighbouring pixels are no independent
    trials; blocks nearly are.

    Args:
        scores: `[N]`, larger is stranger.
        coverage: Wanted, between 0 and 1.
        groups: `[N]` label of each score's spatial block.

    Returns:
        The threshold, infinite if there are too few units for the coverage (see `best_coverage`).

    Raises:
        ConfigurationError: If coverage or scores are not usable.
    """
    check_coverage(coverage)
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or np.isnan(values).any():
        raise ConfigurationError("Conformal scores must be a list of numbers without NaN.")
    if values.size == 0:
        return math.inf
    if groups is None:
        rank = math.ceil((values.size + 1) * coverage - 1e-9)
        return math.inf if rank > values.size else float(np.partition(values, rank - 1)[rank - 1])
    _, position, counts = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    if position.shape != values.shape:
        raise ConfigurationError(f"There are {values.size} scores, but {position.size} group labels.")
    weights = 1.0 / ((counts.size + 1) * counts[position])
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    first = int(np.searchsorted(reached, coverage - 1e-9))
    return math.inf if first >= values.size else float(values[order[first]])
