"""A series followed observation by observation until consecutive ones leave the model, compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_OPTIONS: Any = {"cache": True, "nogil": True, "error_model": "numpy"}
_PIVOT = 1e-9


@njit(**_OPTIONS)
def _add(design: Any, values: Any, t: int, matrix: Any, right: Any) -> None:
    """Add date t to the normal equations of all bands."""
    size = design.shape[1]
    for a in range(size):
        for b in range(a + 1):
            matrix[a, b] += design[t, a] * design[t, b]
        for band in range(values.shape[0]):
            right[band, a] += design[t, a] * values[band, t]


@njit(**_OPTIONS)
def _solve(matrix: Any, right: Any, factor: Any, beta: Any) -> bool:
    """Fill the Cholesky factor and the coefficients `[B, D]`; return False where they are not determined."""
    size = matrix.shape[0]
    for a in range(size):
        for b in range(a + 1):
            total = matrix[a, b]
            for c in range(b):
                total -= factor[a, c] * factor[b, c]
            if a == b:
                if not total > _PIVOT * matrix[a, a]:
                    return False
                factor[a, a] = np.sqrt(total)
            else:
                factor[a, b] = total / factor[b, b]
    for band in range(right.shape[0]):
        row = beta[band]
        for a in range(size):
            row[a] = right[band, a]
            for c in range(a):
                row[a] -= factor[a, c] * row[c]
            row[a] /= factor[a, a]
        for a in range(size - 1, -1, -1):
            for c in range(a + 1, size):
                row[a] -= factor[c, a] * row[c]
            row[a] /= factor[a, a]
    return True


@njit(**_OPTIONS)
def _residual(design: Any, values: Any, beta: Any, band: int, t: int) -> float:
    rest = np.float64(values[band, t])
    for a in range(design.shape[1]):
        rest -= design[t, a] * beta[band, a]
    return rest


@njit(**_OPTIONS)
def _scales(design: Any, values: Any, beta: Any, kept: Any, number: int, floor: Any, scale: Any) -> None:
    """Fill the residual standard deviation of each band, not below its floor."""
    for band in range(values.shape[0]):
        total = 0.0
        for k in range(number):
            rest = _residual(design, values, beta, band, kept[k])
            total += rest * rest
        scale[band] = max(np.sqrt(total / (number - design.shape[1])), floor[band])


@njit(**_OPTIONS)
def _score(design: Any, values: Any, beta: Any, factor: Any, scale: Any, t: int, solved: Any) -> float:
    """Return the sum over bands of squared prediction errors over their variance (with that of the coefficients)."""
    size, leverage = design.shape[1], 0.0
    for a in range(size):
        solved[a] = design[t, a]
        for c in range(a):
            solved[a] -= factor[a, c] * solved[c]
        solved[a] /= factor[a, a]
        leverage += solved[a] * solved[a]
    total = 0.0
    for band in range(values.shape[0]):
        rest = _residual(design, values, beta, band, t) / scale[band] if scale[band] > 0.0 else 0.0
        total += rest * rest / (1.0 + leverage)
    return total


@njit(**_OPTIONS)
def _stable(design: Any, values: Any, beta: Any, scale: Any, kept: Any, number: int, trend: int) -> Any:
    """Whether slope, first and last residual are below three residual scales, in the root mean square of bands."""
    bands, first, last = values.shape[0], kept[0], kept[number - 1]
    slope, start, end = 0.0, 0.0, 0.0
    for band in range(bands):
        limit = 3.0 * scale[band]
        if limit <= 0.0:
            continue
        drift = 0.0 if trend < 0 else beta[band, trend] * (design[last, trend] - design[first, trend])
        slope += (drift / limit) ** 2
        start += (_residual(design, values, beta, band, first) / limit) ** 2
        end += (_residual(design, values, beta, band, last) / limit) ** 2
    return slope <= bands and start <= bands and end <= bands


@njit(**_OPTIONS)
def _begin(
    days: Any, design: Any, values: Any, seen: Any, total: int, start: int, rules: Any, floor: Any, trend: int,
    model: Any, kept: Any,
) -> tuple[int, int]:  # fmt: skip
    """Find the first stable window from observation `start`: (observations in it, its end) or (0, total)."""
    matrix, right, factor, beta, scale, _ = model
    least, span = rules[0], rules[1]
    while True:
        end = start + int(least)
        while end <= total and (end <= start or days[seen[end - 1]] - days[seen[start]] < span):
            end += 1
        if end > total:
            return 0, total
        matrix[:] = 0.0
        right[:] = 0.0
        for k in range(start, end):
            kept[k - start] = seen[k]
            _add(design, values, seen[k], matrix, right)
        number = end - start
        if _solve(matrix, right, factor, beta):
            _scales(design, values, beta, kept, number, floor, scale)
            if _stable(design, values, beta, scale, kept, number, trend):
                return number, end
        start += 1


@njit(**_OPTIONS)
def _ahead(design: Any, values: Any, seen: Any, now: int, many: int, limit: float, model: Any) -> tuple[int, float]:
    """Return (how many of the next observations in a row leave the model, their summed score)."""
    _, _, factor, beta, scale, solved = model
    total, count = 0.0, 0
    for k in range(many):
        score = _score(design, values, beta, factor, scale, seen[now + k], solved)
        if score <= limit:
            break
        total += score
        count += 1
    return count, total


@njit(**_OPTIONS)
def _record(
    days: Any, design: Any, values: Any, seen: Any, now: int, many: int, beta: Any, last: int, total: float, slot: int,
    pixel: int, found: Any, magnitude: Any,
) -> None:  # fmt: skip
    """Store one change: the dates around it, its score, and the median residual of each band."""
    found[0, slot, pixel] = days[last]
    found[1, slot, pixel] = days[seen[now]]
    found[2, slot, pixel] = total
    rest = np.empty(many)
    for band in range(values.shape[0]):
        for k in range(many):
            rest[k] = _residual(design, values, beta, band, seen[now + k])
        magnitude[slot, band, pixel] = np.median(rest)


@njit(**_OPTIONS)
def _follow(
    days: Any, design: Any, values: Any, seen: Any, total: int, rules: Any, limits: Any, floor: Any, trend: int,
    model: Any, kept: Any, pixel: int, counts: Any, found: Any, magnitude: Any,
) -> None:  # fmt: skip
    """Follow one pixel to its end."""
    matrix, right, factor, beta, scale, _ = model
    many, most, size = int(rules[2]), found.shape[1], design.shape[1]
    start, changes, outliers, segments = 0, 0, 0, 0
    while changes <= most:
        number, now = _begin(days, design, values, seen, total, start, rules, floor, trend, model, kept)
        if number == 0:
            break
        segments += 1
        changed = False
        while now + many <= total:
            count, score = _ahead(design, values, seen, now, many, limits[number - size], model)
            if count == many:
                if changes < most:
                    _record(days, design, values, seen, now, many, beta, kept[number - 1], score, changes, pixel,
                            found, magnitude)  # fmt: skip
                changed = True
                break
            if count > 0:
                outliers += 1
            else:
                kept[number] = seen[now]
                number += 1
                _add(design, values, seen[now], matrix, right)
                _solve(matrix, right, factor, beta)
                _scales(design, values, beta, kept, number, floor, scale)
            now += 1
        if not changed:
            break
        changes += 1
        start = now
    counts[0, pixel] = changes if segments else -1
    counts[1, pixel] = outliers


@njit(**_OPTIONS)
def follow_pixels(
    values: Any, valid: Any, start: int, stop: int, days: Any, design: Any, rules: Any, limits: Any, floor: Any,
    trend: int, counts: Any, found: Any, magnitude: Any,
) -> None:  # fmt: skip
    """Follow pixels start..stop; a date counts where all bands are observed.

    Args:
        values: `[B, T, P]`.
        valid: bool `[B or 1, T, P]` or `[1, 0, 0]`.
        start: First pixel.
        stop: End of the pixels.
        days: float64 `[T]`.
        design: `[T, D]`.
        rules: Fewest observations of a first window, its shortest length in days, observations of a change.
        limits: Of the score, by degrees of freedom of the model, `[T]`.
        floor: Smallest residual scale, `[B]`.
        trend: Column of the linear trend, -1 without.
        counts: int32 `[2, P]`, filled: changes (-1 where no window was stable), outliers left out.
        found: float32 `[3, N, P]`, filled: last day before, first day after, summed score.
        magnitude: float32 `[N, B, P]`, filled.
    """
    bands, dates, _ = values.shape
    size = design.shape[1]
    series = np.empty((bands, dates))
    seen, kept = np.empty(dates, np.int64), np.empty(dates, np.int64)
    model = (np.zeros((size, size)), np.zeros((bands, size)), np.zeros((size, size)), np.zeros((bands, size)),
             np.zeros(bands), np.zeros(size))  # fmt: skip
    for pixel in range(start, stop):
        total = 0
        for t in range(dates):
            there = True
            for band in range(bands):
                value = np.float64(values[band, t, pixel])
                series[band, t] = value
                there = there and value == value
                if valid.shape[1] > 0:
                    there = there and valid[min(band, valid.shape[0] - 1), t, pixel]
            if there:
                seen[total] = t
                total += 1
        _follow(days, design, series, seen, total, rules, limits, floor, trend, model, kept, pixel, counts, found,
                magnitude)  # fmt: skip
