"""Change between two maps of numbers with error bars: the difference and whether it can be chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ecumene.core.errors import ConfigurationError


@dataclass(frozen=True)
class Difference:
    """Second minus first map.

    Attributes:
        value: In the maps' unit, float32 `[*space]`; NaN where not valid.
        deviation: Its standard deviation, alike; NaN where a map has none.
        p_value: Probability of a difference at least as large if the true one is not beyond the tolerance, float32
            `[*space]`; NaN where the deviation is unknown.
        sign: 1 increase, -1 decrease, 0 neither, int8 `[*space]`: p value below the level.
        valid: Where both maps have a number.
    """

    value: NDArray[np.float32]
    deviation: NDArray[np.float32]
    p_value: NDArray[np.float32]
    sign: NDArray[np.int8]
    valid: NDArray[np.bool_]


def compare_numbers(
    before: NDArray[np.floating],
    after: NDArray[np.floating],
    before_deviation: NDArray[np.floating] | None,
    after_deviation: NDArray[np.floating] | None,
    *,
    tolerance: float = 0.0,
    level: float = 0.05,
) -> Difference:
    """Subtract two maps of numbers.

    The errors of the dates are taken as independent and normal, `s = sqrt(s1^2 + s2^2)`; errors that both maps share
    cancel in the difference, which makes s too large, never too small. The p value is that of the least favourable
    difference within the tolerance, `P(|Z - tolerance / s| >= |d| / s)` with both tails of the normal law: with
    tolerance 0 the usual two-sided test.

    Args:
        before: First map `[*space]`, NaN where it has no number.
        after: Second map.
        before_deviation: Standard deviations, or None.
        after_deviation: Of the second map.
        tolerance: Differences up to it do not count, in the maps' unit.
        level: Significance level of `sign`; a pixel without deviations has a sign where it is beyond the tolerance.

    Raises:
        ConfigurationError: If tolerance or level are out of range.
    """
    if not (np.isfinite(tolerance) and tolerance >= 0.0) or not 0.0 < level < 1.0:
        raise ConfigurationError("The tolerance must be a number of at least 0, and the level lie between 0 and 1.")
    difference = np.asarray(after, np.float64) - np.asarray(before, np.float64)
    valid = np.isfinite(difference)
    deviation = np.full(difference.shape, np.nan)
    if before_deviation is not None and after_deviation is not None:
        deviation = np.hypot(np.asarray(before_deviation, np.float64), np.asarray(after_deviation, np.float64))
    with np.errstate(divide="ignore", invalid="ignore"):
        size, bound = np.abs(difference) / deviation, tolerance / deviation
        p_value = special.ndtr(bound - size) + special.ndtr(-bound - size)
    p_value = np.where(deviation > 0, np.minimum(p_value, 1.0), np.nan)
    beyond = np.where(np.isnan(p_value), np.abs(difference) > tolerance, p_value < level) & valid
    return Difference(
        np.where(valid, difference, np.nan).astype(np.float32),
        np.where(valid, deviation, np.nan).astype(np.float32),
        np.where(valid, p_value, np.nan).astype(np.float32),
        np.where(beyond, np.sign(np.nan_to_num(difference)), 0).astype(np.int8),
        valid,
    )
