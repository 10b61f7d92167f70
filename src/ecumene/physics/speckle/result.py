"""What every speckle filter gives: reflectivity with its error bar and flags."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

INVALID = 1
"""No usable intensity."""
POINT_TARGET = 2
"""Too bright for speckle on its neighbourhood: kept as observed."""
IMPROBABLE = 4
"""The observation is improbable (two-sided, 1e-4) under gamma speckle about the estimate."""
FEW_SAMPLES = 8
"""The estimate rests on fewer than four independent samples."""

OUTLIER_FLAGS = POINT_TARGET | IMPROBABLE | FEW_SAMPLES
IMPROBABLE_BELOW = 1e-4


@dataclass(frozen=True)
class Despeckled:
    """Filtered intensity.

    Attributes:
        value: Reflectivity, linear, `[H, W]`; NaN where invalid.
        standard_deviation: Of `value`, in its unit, `[H, W]`.
        looks: Equivalent number of looks of the mean that the estimate rests on, `[H, W]`.
        flags: Bits of this module, `[H, W]`.
    """

    value: NDArray[np.float64]
    standard_deviation: NDArray[np.float64]
    looks: NDArray[np.float64]
    flags: NDArray[np.uint8]

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Pixels with a value."""
        return np.asarray((self.flags & INVALID) == 0)

    @property
    def outlier(self) -> NDArray[np.bool_]:
        """Pixels where the speckle model does not hold, so that the error bar must not be trusted."""
        return np.asarray((self.flags & OUTLIER_FLAGS) != 0)


def improbable(
    intensity: NDArray[np.float64], estimate: NDArray[np.float64], looks: float, relative_error: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return where an observation is too far from an estimate for gamma speckle of `looks` looks.

    The error of the estimate widens the law: the ratio of observation and estimate is compared with a gamma law
    of `1 / (1/L + relative_error^2)` looks, which has the variance of both together.

    Args:
        intensity: Observation, linear.
        estimate: Reflectivity, linear.
        looks: Looks of the observation.
        relative_error: Standard deviation of the estimate over the estimate.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        shape = 1.0 / (1.0 / looks + relative_error**2)
        scaled = shape * intensity / estimate
        tail = np.minimum(special.gammainc(shape, scaled), special.gammaincc(shape, scaled))
    return np.asarray(2.0 * tail < IMPROBABLE_BELOW)


def assemble(
    intensity: NDArray[np.float64],
    usable: NDArray[np.bool_],
    estimate: NDArray[np.float64],
    variance: NDArray[np.float64],
    looks_of_mean: NDArray[np.float64],
    looks: float,
    kept: NDArray[np.bool_],
) -> Despeckled:
    """Build a result with its flags.

    Args:
        intensity: Observation `[H, W]`.
        usable: Pixels with data.
        estimate: Filtered reflectivity.
        variance: Of the estimate.
        looks_of_mean: Looks of the mean behind it.
        looks: Looks of the observation.
        kept: Point targets kept as observed.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(variance)
        odd = improbable(intensity, estimate, looks, error / estimate)
    flags = np.zeros(intensity.shape, np.uint8)
    flags |= np.where(kept, POINT_TARGET, 0).astype(np.uint8)
    flags |= np.where(odd & ~kept, IMPROBABLE, 0).astype(np.uint8)
    flags |= np.where(looks_of_mean < 4.0 * looks, FEW_SAMPLES, 0).astype(np.uint8)
    flags = np.where(usable, flags, INVALID).astype(np.uint8)
    return Despeckled(
        np.where(usable, estimate, np.nan),
        np.where(usable, error, np.nan),
        np.where(usable, looks_of_mean, np.nan),
        flags,
    )
