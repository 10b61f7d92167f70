"""Statistics of an index over time, in one pass over every pixel's observations (TimeScan)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ecumene.change.series import pixel_series, run_blocks
from ecumene.core.errors import ConfigurationError

_OPTIONS: Any = {"cache": True, "nogil": True, "error_model": "numpy"}
_FIXED = ("minimum", "maximum", "mean", "standard_deviation", "gradient")


def temporal_statistics(
    values: Any,
    dates: Any,
    valid: Any = None,
    *,
    percentiles: tuple[float, ...] = (10.0, 50.0, 90.0),
    threads: int | None = None,
) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.int32]]:
    """Compute the statistics of TimeScan for every index and pixel.

    Esch et al. (2018, doi 10.1016/j.rse.2018.01.014) describe settlement mapping from minimum, maximum, mean, standard
    deviation and mean slope of spectral indices over all valid observations of a period; the mean slope is here the
    `gradient`, the mean absolute difference of consecutive valid observations.

    Args:
        values: Indices `[B, T, *space]`; NaN: missing.
        dates: `[T]`, ascending.
        valid: bool `[T, *space]` or `[B, T, *space]`: clouds, shadows, snow and saturation are False.
        percentiles: 0 to 100, linear between observations.
        threads: None: all; results do not depend on it.

    Returns:
        (statistics by name, each float32 `[B, *space]`: minimum, maximum, mean, standard_deviation (over n),
        gradient, p10, p50 ...; number of observations int32 `[B, *space]`). NaN where nothing was observed, and for
        the gradient where fewer than two observations are.

    Raises:
        SceneError: If dates are not usable, or nothing is valid.
        ConfigurationError: If shapes or percentiles are wrong.
    """
    if any(not 0.0 <= p <= 100.0 for p in percentiles):
        raise ConfigurationError("Percentiles must lie between 0 and 100.")
    series = pixel_series(values, dates, valid, least=1)
    shares = np.array(percentiles, np.float64) / 100.0
    result = np.empty((len(_FIXED) + shares.size, series.bands, series.pixels), np.float32)
    seen = np.empty((series.bands, series.pixels), np.int32)
    for b in range(series.bands):
        mask = series.valid[min(b, series.valid.shape[0] - 1)]

        def work(start: int, stop: int, b: int = b, mask: NDArray[np.bool_] = mask) -> None:
            _describe(series.values[b], mask, start, stop, shares, result[:, b], seen[b])

        run_blocks(work, series.pixels, threads)
    names = (*_FIXED, *(f"p{p:g}" for p in percentiles))
    return {name: series.spread(row) for name, row in zip(names, result, strict=True)}, series.spread(seen)


@njit(**_OPTIONS)
def _describe(values: Any, valid: Any, start: int, stop: int, shares: Any, result: Any, seen: Any) -> None:
    """Fill the statistics `[5 + S, P]` and the observations `[P]` of pixels start..stop."""
    dates = values.shape[0]
    found = np.empty(dates)
    for pixel in range(start, stop):
        number, total, change = 0, 0.0, 0.0
        for t in range(dates):
            value = np.float64(values[t, pixel])
            if value == value and (valid.shape[0] == 0 or valid[t, pixel]):
                if number:
                    change += abs(value - found[number - 1])
                found[number] = value
                total += value
                number += 1
        seen[pixel] = number
        if number == 0:
            result[:, pixel] = np.nan
            continue
        mean, squares = total / number, 0.0
        for k in range(number):
            squares += (found[k] - mean) ** 2
        ordered = np.sort(found[:number])
        result[0, pixel], result[1, pixel] = ordered[0], ordered[number - 1]
        result[2, pixel], result[3, pixel] = mean, np.sqrt(squares / number)
        result[4, pixel] = change / (number - 1) if number > 1 else np.nan
        for s in range(shares.size):
            place = shares[s] * (number - 1)
            low = int(place)
            high = min(low + 1, number - 1)
            result[5 + s, pixel] = ordered[low] + (place - low) * (ordered[high] - ordered[low])
