"""What is known of the error of distributed persons, and how it is measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecumene.core.errors import ConfigurationError


@dataclass(frozen=True)
class AllocationError:
    """How far distributed persons are from counted ones in parts of zones.

    Attributes:
        mean_absolute: Mean absolute error, persons.
        root_mean_square: Root of the mean squared error, persons.
        mean_absolute_percentage: Mean of |error| / counted over parts with persons, percent.
        misplaced_share: Half the sum of absolute errors over all persons: the share that is in a wrong part.
        r2: 1 - sum of squares / sum of squares about the mean.
        dispersion: See `dispersion_of`.
        parts: Number of parts.
    """

    mean_absolute: float
    root_mean_square: float
    mean_absolute_percentage: float
    misplaced_share: float
    r2: float
    dispersion: float
    parts: int


def allocation_error(counted: ArrayLike, distributed: ArrayLike, zones: ArrayLike) -> AllocationError:
    """Compare distributed with counted persons in finer units than those that were distributed.

    Args:
        counted: `[N]` persons of each part.
        distributed: `[N]` persons that the distribution put there.
        zones: `[N]` zone that each part belongs to.

    Raises:
        ConfigurationError: If shapes differ, or nobody was counted.
    """
    truth, found, zone = (np.asarray(a, dtype=np.float64) for a in (counted, distributed, zones))
    if truth.shape != found.shape or truth.shape != zone.shape or truth.ndim != 1 or truth.sum() <= 0:
        raise ConfigurationError("Counted and distributed persons must be equally long lists with somebody in them.")
    error = found - truth
    spread = float(((truth - truth.mean()) ** 2).sum())
    some = truth > 0
    return AllocationError(
        float(np.abs(error).mean()),
        float(np.sqrt((error**2).mean())),
        float(100 * (np.abs(error[some]) / truth[some]).mean()),
        float(np.abs(error).sum() / 2 / truth.sum()),
        float(1 - (error**2).sum() / spread) if spread > 0 else float("nan"),
        dispersion_of(truth, found, zone),
        truth.size,
    )


def dispersion_of(counted: NDArray[np.float64], distributed: NDArray[np.float64], zones: NDArray[np.float64]) -> float:
    """Return the over-dispersion rho of the allocation, in [0, 1], by the method of moments.

    If persons settled in the parts of a zone at random with the shares p that the weights say, counts would be
    multinomial with the variance N p (1 - p). They settle together, and weights are wrong: the variance is
    N p (1 - p) (1 + (N - 1) rho), that of a Dirichlet-multinomial distribution. rho = 0: weights are exact.
    """
    expected = excess = 0.0
    for zone in np.unique(zones):
        own = zones == zone
        total = float(counted[own].sum())
        placed = float(distributed[own].sum())
        if total <= 1 or placed <= 0 or own.sum() < 2:
            continue
        p = distributed[own] / placed
        basic = total * p * (1 - p)
        square = (counted[own] - total * p) ** 2
        excess += float((square - basic).sum())
        expected += float((basic * (total - 1)).sum())
    return float(np.clip(excess / expected, 0.0, 1.0)) if expected > 0 else 0.0


def placement_error(
    persons: NDArray[np.float64], zone_persons: NDArray[np.float64], dispersion: float = 0.0
) -> NDArray[np.float64]:
    """Return the standard deviation of the persons in each pixel, given those of its zone.

    With `dispersion` 0 it is the multinomial one: what chance alone does if the weights are right, and so a lower
    bound of the error, not the error. A dispersion measured by `allocation_error` on finer counts makes it an estimate,
    for parts of about the size it was measured on.

    Args:
        persons: Distributed persons of each pixel.
        zone_persons: Persons of the pixel's zone, same shape.
        dispersion: In [0, 1].

    Raises:
        ConfigurationError: If the dispersion is out of range.
    """
    if not 0.0 <= dispersion <= 1.0:
        raise ConfigurationError(f"A dispersion lies between 0 and 1, but is {dispersion:g}.")
    share = np.divide(persons, zone_persons, out=np.zeros_like(persons), where=zone_persons > 0)
    share = np.clip(share, 0.0, 1.0)
    factor = 1.0 + np.maximum(zone_persons - 1.0, 0.0) * dispersion
    result: NDArray[np.float64] = np.sqrt(zone_persons * share * (1 - share) * factor)
    return result
