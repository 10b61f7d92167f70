"""The ratio of two estimates with errors: Fieller's confidence set, and the delta method where it holds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from ecumene.core.errors import ConfigurationError


@dataclass(frozen=True)
class RatioSet:
    """A confidence set of a ratio.

    Attributes:
        kind: `interval`: between `low` and `high`; `outside`: everything at most `low` or at least `high` (the
            denominator cannot be told from 0); `all`: every number is possible.
        low: See `kind`; None for `all`.
        high: See `kind`; None for `all`.
    """

    kind: Literal["interval", "outside", "all"]
    low: float | None = None
    high: float | None = None

    def __contains__(self, ratio: object) -> bool:
        if self.low is None or self.high is None:
            return True
        value = float(ratio)  # type: ignore[arg-type]
        inside = self.low <= value <= self.high
        return inside if self.kind == "interval" else not self.low < value < self.high

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return "any number"
        if self.kind == "outside":
            return f"at most {self.low:.3g} or at least {self.high:.3g}"
        return f"{self.low:.3g} to {self.high:.3g}"


def normal_quantile(confidence: float) -> float:
    """Return z such that a standard normal number lies within +-z with the given probability.

    Raises:
        ConfigurationError: If the confidence is not in (0, 1).
    """
    if not 0.0 < confidence < 1.0:
        raise ConfigurationError(f"The confidence must lie between 0 and 1, but is {confidence}.")
    return NormalDist().inv_cdf(0.5 + 0.5 * confidence)


def fieller_set(
    numerator: float,
    denominator: float,
    numerator_variance: float,
    denominator_variance: float,
    covariance: float = 0.0,
    confidence: float = 0.95,
) -> RatioSet:
    """Return the confidence set of a ratio of two normal means (Fieller 1954, JRSS B 16(2), 175-185).

    It is the set of all r for which numerator - r denominator is not significantly different from 0, and covers the
    true ratio exactly as often as stated however small the denominator is; the delta method does not.

    Args:
        numerator: Estimate.
        denominator: Estimate.
        numerator_variance: Its variance.
        denominator_variance: Its variance.
        covariance: Of both estimates.
        confidence: Level in (0, 1).

    Raises:
        ConfigurationError: If a variance is negative or the confidence is out of range.
    """
    if numerator_variance < 0 or denominator_variance < 0:
        raise ConfigurationError("A variance cannot be negative.")
    square = normal_quantile(confidence) ** 2
    # (n - r d)^2 <= z^2 (V_n - 2 r C + r^2 V_d), as a r^2 - 2 b r + c <= 0.
    a = denominator**2 - square * denominator_variance
    b = numerator * denominator - square * covariance
    c = numerator**2 - square * numerator_variance
    discriminant = b * b - a * c
    if a > 0:
        root = math.sqrt(max(0.0, discriminant))
        return RatioSet("interval", (b - root) / a, (b + root) / a)
    if a == 0.0 or discriminant <= 0:
        return RatioSet("all")
    root = math.sqrt(discriminant)
    return RatioSet("outside", (b + root) / a, (b - root) / a)


def delta_error(
    numerator: float,
    denominator: float,
    numerator_variance: float,
    denominator_variance: float,
    covariance: float = 0.0,
) -> float:
    """Return the standard error of a ratio by the delta method: right for a denominator far from 0.

    Raises:
        ConfigurationError: If the denominator is 0.
    """
    if denominator == 0:
        raise ConfigurationError("A ratio with the denominator 0 has no standard error.")
    ratio = numerator / denominator
    variance = numerator_variance - 2 * ratio * covariance + ratio**2 * denominator_variance
    return math.sqrt(max(0.0, variance)) / abs(denominator)
