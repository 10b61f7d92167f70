"""Masked least squares of one season-trend model for many pixels at once, compiled.

Pixels lie beside each other in memory, so every step works on `LANES` neighbouring pixels: the innermost loop runs over
pixels and becomes vector instructions; a missing observation has weight zero. Each pixel's operations and their
order are the same wherever it lies.

Symmetric matrices are packed by rows of their lower triangle: element (a, b <= a) is row a (a + 1) / 2 + b of
`[D (D + 1) / 2, LANES]`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

LANES = 64
SINGULAR = 1e-9
"""A pivot below this share of its diagonal element means that observations cannot tell parameters apart."""

ROUNDING = 1e-20
"""Residuals whose square is below this share of a series' own sum of squares are rounding."""

_SQRT2 = 1.4142135623730951
_LN2 = 0.6931471805599453
_LOG2E = 1.4426950408889634
_MANTISSA = (1 << 52) - 1
_ONE = 1023 << 52
_OPTIONS: Any = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": {"contract"}}


@njit(**_OPTIONS)
def load(values: Any, valid: Any, start: int, stop: int, y: Any, weight: Any) -> None:
    """Fill `y` and `weight` `[T, LANES]` with pixels start..stop of `values` `[T, P]`; missing ones get zeros.

    `valid` `[T, P]` may be empty (`[0, 0]`): then only NaN is missing.
    """
    count = stop - start
    masked = valid.shape[0] > 0
    for t in range(values.shape[0]):
        row, target, seen = values[t], y[t], weight[t]
        if count == LANES:
            for i in range(LANES):
                value = np.float64(row[start + i])
                there = value == value
                target[i] = value if there else 0.0
                seen[i] = 1.0 if there else 0.0
        else:
            target[:] = 0.0
            seen[:] = 0.0
            for i in range(count):
                value = np.float64(row[start + i])
                if value == value:
                    target[i], seen[i] = value, 1.0
        if masked:
            flags = valid[t]
            for i in range(count):
                keep = 1.0 if flags[start + i] else 0.0
                seen[i] *= keep
                target[i] *= keep


@njit(**_OPTIONS)
def normal(design: Any, y: Any, weight: Any, matrix: Any, right: Any) -> None:
    """Fill `matrix` = X'WX (packed) and `right` = X'Wy `[D, LANES]` for a design `[T, D]`; missing y are zero."""
    dates, size = design.shape
    matrix[:] = 0.0
    right[:] = 0.0
    fours = dates - dates % 4
    for t in range(0, fours, 4):  # four dates at a time, so that sums are loaded and stored less often
        w0, w1, w2, w3 = weight[t], weight[t + 1], weight[t + 2], weight[t + 3]
        v0, v1, v2, v3 = y[t], y[t + 1], y[t + 2], y[t + 3]
        for a in range(size):
            x0, x1, x2, x3 = design[t, a], design[t + 1, a], design[t + 2, a], design[t + 3, a]
            total = right[a]
            for i in range(LANES):
                total[i] += x0 * v0[i] + x1 * v1[i] + x2 * v2[i] + x3 * v3[i]
            for b in range(a + 1):
                p0, p1, p2, p3 = x0 * design[t, b], x1 * design[t + 1, b], x2 * design[t + 2, b], x3 * design[t + 3, b]
                target = matrix[a * (a + 1) // 2 + b]
                for i in range(LANES):
                    target[i] += p0 * w0[i] + p1 * w1[i] + p2 * w2[i] + p3 * w3[i]
    for t in range(fours, dates):
        w, v = weight[t], y[t]
        for a in range(size):
            x, total = design[t, a], right[a]
            for i in range(LANES):
                total[i] += x * v[i]
            for b in range(a + 1):
                product, target = x * design[t, b], matrix[a * (a + 1) // 2 + b]
                for i in range(LANES):
                    target[i] += product * w[i]


@njit(**_OPTIONS)
def cholesky(matrix: Any, size: int, good: Any) -> None:
    """Replace a packed matrix by its lower Cholesky factor with inverted diagonal; `good` is cleared where singular."""
    for a in range(size):
        base = a * (a + 1) // 2
        diagonal = matrix[base + a]
        limit = diagonal.copy()
        for b in range(a):
            other, row = b * (b + 1) // 2, matrix[base + b]
            for c in range(b):
                left, right = matrix[base + c], matrix[other + c]
                for i in range(LANES):
                    row[i] -= left[i] * right[i]
            pivot = matrix[other + b]
            for i in range(LANES):
                row[i] *= pivot[i]
                diagonal[i] -= row[i] * row[i]
        for i in range(LANES):
            fine = diagonal[i] > SINGULAR * limit[i]
            good[i] = good[i] and fine
            diagonal[i] = 1.0 / np.sqrt(diagonal[i] if fine else 1.0)


@njit(**_OPTIONS)
def forward(factor: Any, size: int, vector: Any) -> None:
    """Replace `vector` `[D, LANES]` by L^-1 vector."""
    for a in range(size):
        base, row = a * (a + 1) // 2, vector[a]
        for b in range(a):
            left, other = factor[base + b], vector[b]
            for i in range(LANES):
                row[i] -= left[i] * other[i]
        pivot = factor[base + a]
        for i in range(LANES):
            row[i] *= pivot[i]


@njit(**_OPTIONS)
def backward(factor: Any, size: int, vector: Any) -> None:
    """Replace `vector` `[D, LANES]` by L^-T vector."""
    for a in range(size - 1, -1, -1):
        row = vector[a]
        for b in range(a + 1, size):
            left, other = factor[b * (b + 1) // 2 + a], vector[b]
            for i in range(LANES):
                row[i] -= left[i] * other[i]
        pivot = factor[a * (a + 1) // 2 + a]
        for i in range(LANES):
            row[i] *= pivot[i]


@njit(**_OPTIONS)
def residuals(design: Any, y: Any, weight: Any, beta: Any, out: Any, squares: Any) -> None:
    """Fill `out` `[T, LANES]` with w (y - X beta) and `squares` `[LANES]` with the sum of their squares."""
    squares[:] = 0.0
    for t in range(design.shape[0]):
        row, v, w = out[t], y[t], weight[t]
        for i in range(LANES):
            row[i] = v[i]
        for a in range(design.shape[1]):
            x, coefficient = design[t, a], beta[a]
            for i in range(LANES):
                row[i] -= x * coefficient[i]
        for i in range(LANES):
            row[i] *= w[i]
            squares[i] += row[i] * row[i]


@njit(**_OPTIONS)
def drop_rounding(y: Any, weight: Any, out: Any, squares: Any) -> None:
    """Set residuals of `out` that are rounding to zero, and sum the squares of the others anew.

    A series that its model describes exactly leaves residuals of the last digits, which would pass for noise and make
    every scaled sum of them look large.
    """
    total = np.zeros(LANES)
    for t in range(out.shape[0]):
        v, w = y[t], weight[t]
        for i in range(LANES):
            total[i] += v[i] * v[i] * w[i]
    squares[:] = 0.0
    for t in range(out.shape[0]):
        row = out[t]
        for i in range(LANES):
            square = row[i] * row[i]
            kept = square >= ROUNDING * total[i]
            row[i] = row[i] if kept else 0.0
            squares[i] += square if kept else 0.0


@njit(**_OPTIONS)
def logarithm(value: Any, bits: Any, out: Any) -> None:
    """Fill `out` with ln of a row of positive numbers; `value` is overwritten, `bits` is its int64 view.

    The mantissa m in [sqrt(1/2), sqrt(2)) gives ln m = 2 artanh((m - 1) / (m + 1)); the relative error of the series
    is below 1e-13.
    """
    for i in range(LANES):
        out[i] = np.float64((bits[i] >> 52) - 1023)
        bits[i] = (bits[i] & _MANTISSA) | _ONE
    for i in range(LANES):
        m = value[i]
        large = m > _SQRT2
        m = 0.5 * m if large else m
        power = out[i] + 1.0 if large else out[i]
        s = (m - 1.0) / (m + 1.0)
        z = s * s
        series = 1 / 15 + z * (1 / 17)
        series = 1 / 9 + z * (1 / 11 + z * (1 / 13 + z * series))
        series = 1 / 3 + z * (1 / 5 + z * (1 / 7 + z * series))
        out[i] = power * _LN2 + 2.0 * s * (1.0 + z * series)


@njit(**_OPTIONS)
def exponential(value: Any, out: Any, bits: Any) -> None:
    """Fill `out` with exp of a row of numbers in (-inf, 700]; below -700 zero. `bits` is the int64 view of `out`."""
    for i in range(LANES):
        x = value[i] if value[i] > -700.0 else -700.0
        bits[i] = (np.int64(np.floor(x * _LOG2E + 0.5)) + 1023) << 52
    for i in range(LANES):
        x = value[i] if value[i] > -700.0 else -700.0
        r = x - np.floor(x * _LOG2E + 0.5) * _LN2
        series = 1 / 40320 + r * (1 / 362880 + r * (1 / 3628800 + r * (1 / 39916800)))
        series = 1 / 24 + r * (1 / 120 + r * (1 / 720 + r * (1 / 5040 + r * series)))
        series = 1.0 + r * (1.0 + r * (0.5 + r * (1 / 6 + r * series)))
        out[i] = out[i] * series if value[i] > -700.0 else 0.0


@njit(**_OPTIONS)
def fit_lanes(
    values: Any, valid: Any, start: int, stop: int, design: Any, least: int, coefficients: Any, scale: Any, seen: Any
) -> None:
    """Fit pixels start..stop of one band.

    Args:
        values: `[T, P]`.
        valid: bool `[T, P]` or `[0, 0]`.
        start: First pixel.
        stop: End of the pixels.
        design: `[T, D]`.
        least: Fewest observations of a fit.
        coefficients: float32 or float64 `[D, P]`, filled; NaN where there is no fit.
        scale: `[P]`, residual standard deviation, filled.
        seen: int32 `[P]`, observations, filled.
    """
    dates, size = design.shape
    y, weight, out = np.empty((dates, LANES)), np.empty((dates, LANES)), np.empty((dates, LANES))
    matrix, beta = np.empty((size * (size + 1) // 2, LANES)), np.empty((size, LANES))
    squares, good, number = np.empty(LANES), np.empty(LANES, np.bool_), np.empty(LANES)
    for first in range(start, stop, LANES):
        last = min(first + LANES, stop)
        load(values, valid, first, last, y, weight)
        number[:] = 0.0
        for t in range(dates):
            number += weight[t]
        normal(design, y, weight, matrix, beta)
        good[:] = True
        cholesky(matrix, size, good)
        forward(matrix, size, beta)
        backward(matrix, size, beta)
        residuals(design, y, weight, beta, out, squares)
        for i in range(last - first):
            fine = good[i] and number[i] >= least
            seen[first + i] = np.int32(number[i])
            scale[first + i] = np.sqrt(squares[i] / (number[i] - size)) if fine and number[i] > size else np.nan
            for a in range(size):
                coefficients[a, first + i] = beta[a, i] if fine else np.nan


@njit(**_OPTIONS)
def _huber(rest: Any, weight: Any, lane: int, limit: float, held: Any, robust: Any) -> Any:
    """Fill a lane of `robust` with Huber's weights of its residuals and return 1.4826 times their median size."""
    number = 0
    for t in range(rest.shape[0]):
        if weight[t, lane] > 0.0:
            held[number] = abs(rest[t, lane])
            number += 1
    if number == 0:
        return 0.0
    scale = 1.4826 * np.median(held[:number])
    for t in range(rest.shape[0]):
        size = abs(rest[t, lane])
        far = scale > 0.0 and size > limit * scale
        robust[t, lane] = weight[t, lane] * (limit * scale / size if far else 1.0)
    return scale


@njit(**_OPTIONS)
def fit_lanes_robust(
    values: Any, valid: Any, start: int, stop: int, design: Any, least: int, limit: float, rounds: int,
    coefficients: Any, scale: Any, seen: Any,
) -> None:  # fmt: skip
    """Fit pixels start..stop of one band with Huber's weights, as `fit_lanes` does without them.

    `limit` is that of Huber's function in residual scales, `rounds` the reweighted fits after the plain one.
    """
    dates, size = design.shape
    y, weight, out = np.empty((dates, LANES)), np.empty((dates, LANES)), np.empty((dates, LANES))
    robust, scaled, held = np.empty((dates, LANES)), np.empty((dates, LANES)), np.empty(dates)
    matrix, beta = np.empty((size * (size + 1) // 2, LANES)), np.empty((size, LANES))
    squares, good, number, spread = np.empty(LANES), np.empty(LANES, np.bool_), np.empty(LANES), np.empty(LANES)
    for first in range(start, stop, LANES):
        last = min(first + LANES, stop)
        load(values, valid, first, last, y, weight)
        number[:] = 0.0
        for t in range(dates):
            number += weight[t]
        robust[:] = weight
        good[:] = True
        for _ in range(rounds + 1):
            for t in range(dates):
                for i in range(LANES):
                    scaled[t, i] = robust[t, i] * y[t, i]
            normal(design, scaled, robust, matrix, beta)
            cholesky(matrix, size, good)
            forward(matrix, size, beta)
            backward(matrix, size, beta)
            residuals(design, y, weight, beta, out, squares)
            drop_rounding(y, weight, out, squares)
            for i in range(last - first):
                spread[i] = _huber(out, weight, i, limit, held, robust)
        for i in range(last - first):
            fine = good[i] and number[i] >= least
            seen[first + i] = np.int32(number[i])
            scale[first + i] = spread[i] if fine and number[i] > size else np.nan
            for a in range(size):
                coefficients[a, first + i] = beta[a, i] if fine else np.nan
