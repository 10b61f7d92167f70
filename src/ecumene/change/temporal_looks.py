"""Equivalent number of looks of a radar series from ratios of consecutive dates, whatever the scene's texture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from ecumene.core.errors import ConfigurationError, SceneError

_LEAST_PIXELS = 100
_RANGE = (0.3, 2000.0)
_SHARE = 0.75  # of the pairs of dates: the season changes some pairs, and lowers their looks


def looks_of_spread(spread: float) -> float:
    """Return the number of looks L at which the quartiles of `ln(x / y)` lie `spread` apart.

    x and y are independent gamma intensities of L looks and equal mean, so that x / y has an F law with 2 L and 2 L
    degrees of freedom; it is symmetric in the logarithm.

    Args:
        spread: Difference of the upper and lower quartile, positive.
    """

    def miss(logarithm: float) -> float:
        looks = np.exp(logarithm)
        return float(2.0 * np.log(stats.f.ppf(0.75, 2.0 * looks, 2.0 * looks)) - spread)

    low, high = np.log(_RANGE)
    if miss(low) <= 0.0:
        return _RANGE[0]
    if miss(high) >= 0.0:
        return _RANGE[1]
    return float(np.exp(optimize.brentq(miss, low, high, xtol=1e-6)))


def temporal_looks(intensity: NDArray[np.floating]) -> float:
    """Estimate the number of looks of a series from pixels that do not change between consecutive dates.

    The quartiles of the log-ratio leave changed pixels out as long as they are few, and a common change of brightness
    shifts both. What changes from date to date in most pixels (crops, moisture that differs from field to field) widens
    them: of all pairs of dates and channels the looks that a quarter exceeds are taken.

    Args:
        intensity: Linear, `[T, channels, n]`, T >= 2; not positive or not finite is nodata.

    Returns:
        The number of looks, 0.51 to 2000 (the omnibus test needs more than one half).

    Raises:
        ConfigurationError: If the shape is wrong.
        SceneError: If no pair of dates has 100 pixels with data.
    """
    if intensity.ndim != 3 or len(intensity) < 2:
        raise ConfigurationError("Looks of a series need dates x channels x pixels, two dates or more.")
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(intensity > 0.0, np.log(np.asarray(intensity, np.float64)), np.nan)
    found = []
    for apart in np.diff(logs, axis=0).reshape(-1, logs.shape[2]):
        known = apart[np.isfinite(apart)]
        if known.size >= _LEAST_PIXELS:
            low, high = np.percentile(known, (25.0, 75.0))
            found.append(looks_of_spread(float(high - low)))
    if not found:
        raise SceneError(
            "Too few pixels have data at two dates in a row to estimate the looks; state them with --looks."
        )
    return max(float(np.quantile(found, _SHARE)), 0.51)
