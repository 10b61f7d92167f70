"""Statistics of indices over time from running sums, one date after the other (TimeScan)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ecumene.change.series import day_of, mask_of, pixel_series, run_blocks
from ecumene.core.errors import ConfigurationError, SceneError

_OPTIONS: Any = {"cache": True, "nogil": True, "error_model": "numpy"}

STATISTICS = ("min", "max", "mean", "std", "mean_slope")
"""Names of the statistics; `std` is over n, `mean_slope` the mean absolute difference of consecutive observations."""

TIMESCAN_INDICES = ("NDVI", "NDBI", "MNDWI", "NDMI", "NDTI", "NGRDI")
"""Six normalised differences, by their names in `scenes.indices`; the last two (both short-wave infrared bands; green
and red) are a choice of this package."""


class RunningStatistics:
    """Statistics of many pixels that grow with every date; no date is held once it was added.

    Esch et al. (2018, doi 10.1016/j.rse.2018.01.014) describe settlement mapping from minimum, maximum, mean, standard
    deviation and mean slope of six spectral indices over all valid observations of a period: 30 numbers, and how many
    observations they are from. Mean and squares follow Welford (1962, Technometrics 4(3):419-420), so that they lose no
    digits.

    Args:
        indices: Number B of indices.
        space: Shape of the pixels, such as (rows, columns).

    Raises:
        ConfigurationError: If there is no index or no pixel.
    """

    def __init__(self, indices: int, space: tuple[int, ...]) -> None:
        pixels = int(np.prod(space, dtype=np.int64))
        if indices < 1 or pixels < 1:
            raise ConfigurationError("Statistics over time need at least one index and one pixel.")
        self._space = space
        self._last_day: int | None = None
        self._seen = np.zeros((indices, pixels), np.int32)
        self._extremes = np.zeros((2, indices, pixels), np.float32)
        self._sums = np.zeros((3, indices, pixels))  # mean, squares about it, absolute differences
        self._last = np.zeros((indices, pixels))

    def add(self, values: Any, date: Any, valid: Any = None, *, threads: int | None = None) -> None:
        """Add one date.

        Args:
            values: Indices `[B, *space]`; NaN: missing.
            date: A date, or days since 1970-01-01; after the date before.
            valid: bool `[*space]` or `[B, *space]`: clouds, shadows, snow and saturation are False.
            threads: None: all; results do not depend on it.

        Raises:
            ConfigurationError: If shapes are wrong.
            SceneError: If the dates repeat or run backwards.
        """
        given = np.asarray(values)
        indices, pixels = self._seen.shape
        if given.shape != (indices, *self._space):
            raise ConfigurationError(
                f"A date must be {[indices, *self._space]} (indices, pixels), not of shape {list(given.shape)}."
            )
        day = day_of(date)
        if self._last_day is not None and day <= self._last_day:
            raise SceneError(
                f"The dates of the series repeat or run backwards at {np.datetime64(day, 'D')}; sort the images by "
                "date and keep one a date."
            )
        flat = np.ascontiguousarray(given, np.float32 if given.dtype.itemsize <= 4 else np.float64)
        mask = np.empty((1, 0), np.bool_)
        if valid is not None:
            there = np.asarray(valid, np.bool_)
            whole = there if there.shape == given.shape else there[None]
            mask = mask_of(whole, (len(whole), *self._space))[0]
        self._last_day = day
        self._update(flat.reshape(indices, pixels), mask, threads)

    def _update(self, values: NDArray[Any], mask: NDArray[np.bool_], threads: int | None) -> None:
        run_blocks(
            lambda start, stop: _update(values, mask, start, stop, self._seen, self._extremes, self._sums, self._last),
            values.shape[1],
            threads,
        )

    def result(self) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.int32]]:
        """Return the statistics of the dates so far.

        Returns:
            (statistics by the names in `STATISTICS`, each float32 `[B, *space]`; observations int32 `[B, *space]`). NaN
            where nothing was observed, and for the mean slope where fewer than two observations are.
        """
        seen, missing = self._seen, self._seen == 0
        number = np.maximum(seen, 1)
        rows = (
            self._extremes[0],
            self._extremes[1],
            self._sums[0],
            np.sqrt(self._sums[1] / number),
            np.where(seen > 1, self._sums[2] / np.maximum(seen - 1, 1), np.nan),
        )
        shape = (len(seen), *self._space)
        found = {
            name: np.where(missing, np.nan, row).astype(np.float32).reshape(shape)
            for name, row in zip(STATISTICS, rows, strict=True)
        }
        return found, seen.reshape(shape).copy()


def temporal_statistics(
    values: Any,
    dates: Any,
    valid: Any = None,
    *,
    percentiles: tuple[float, ...] = (),
    threads: int | None = None,
) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.int32]]:
    """Compute the statistics of a series that is in memory; `RunningStatistics` reads one date at a time.

    Args:
        values: Indices `[B, T, *space]`; NaN: missing.
        dates: `[T]`, ascending.
        valid: bool `[T, *space]` or `[B, T, *space]`: clouds, shadows, snow and saturation are False.
        percentiles: 0 to 100, linear between observations; they need all dates at once. `p50` is the median.
        threads: None: all; results do not depend on it.

    Returns:
        (statistics by name, each float32 `[B, *space]`: those of `STATISTICS`, then p10, p50 ...; number of
        observations int32 `[B, *space]`); missing ones as in `RunningStatistics.result`.

    Raises:
        SceneError: If dates are not usable, or nothing is valid.
        ConfigurationError: If shapes or percentiles are wrong.
    """
    if any(not 0.0 <= p <= 100.0 for p in percentiles):
        raise ConfigurationError("Percentiles must lie between 0 and 100.")
    series = pixel_series(values, dates, valid, least=1)
    running = RunningStatistics(series.bands, series.space or (1,))
    for t in range(series.days.size):
        mask = np.ascontiguousarray(series.valid[:, t]) if series.valid.size else np.empty((1, 0), np.bool_)
        running._update(np.ascontiguousarray(series.values[:, t]), mask, threads)
    found, seen = running.result()
    shape = (series.bands, *series.space)
    result = {name: row.reshape(shape) for name, row in found.items()}
    if percentiles:
        shares = np.array(percentiles, np.float64) / 100.0
        ordered = np.empty((shares.size, series.bands, series.pixels), np.float32)
        for b in range(series.bands):
            mask = series.valid[min(b, series.valid.shape[0] - 1)]

            def work(start: int, stop: int, b: int = b, mask: NDArray[np.bool_] = mask) -> None:
                _percentiles(series.values[b], mask, start, stop, shares, ordered[:, b])

            run_blocks(work, series.pixels, threads)
        result |= {f"p{p:g}": series.spread(row) for p, row in zip(percentiles, ordered, strict=True)}
    return result, seen.reshape(shape)


@njit(**_OPTIONS)
def _update(values: Any, valid: Any, start: int, stop: int, seen: Any, extremes: Any, sums: Any, last: Any) -> None:
    """Add one date `[B, P]` of pixels start..stop to the running sums; `valid` is `[B or 1, P]` or `[1, 0]`."""
    for b in range(values.shape[0]):
        flags = valid[min(b, valid.shape[0] - 1)]
        for pixel in range(start, stop):
            value = np.float64(values[b, pixel])
            if value != value or (flags.size > 0 and not flags[pixel]):
                continue
            number = seen[b, pixel] + 1
            if number == 1:
                extremes[0, b, pixel] = extremes[1, b, pixel] = value
            else:
                extremes[0, b, pixel] = min(extremes[0, b, pixel], value)
                extremes[1, b, pixel] = max(extremes[1, b, pixel], value)
                sums[2, b, pixel] += abs(value - last[b, pixel])
            away = value - sums[0, b, pixel]
            sums[0, b, pixel] += away / number
            sums[1, b, pixel] += away * (value - sums[0, b, pixel])
            seen[b, pixel], last[b, pixel] = number, value


@njit(**_OPTIONS)
def _percentiles(values: Any, valid: Any, start: int, stop: int, shares: Any, result: Any) -> None:
    """Fill percentiles `[S, P]` of pixels start..stop."""
    dates = values.shape[0]
    found = np.empty(dates)
    for pixel in range(start, stop):
        number = 0
        for t in range(dates):
            value = np.float64(values[t, pixel])
            if value == value and (valid.shape[0] == 0 or valid[t, pixel]):
                found[number] = value
                number += 1
        ordered = np.sort(found[:number])
        for s in range(shares.size):
            if number == 0:
                result[s, pixel] = np.nan
                continue
            place = shares[s] * (number - 1)
            low = int(place)
            high = min(low + 1, number - 1)
            result[s, pixel] = ordered[low] + (place - low) * (ordered[high] - ordered[low])
