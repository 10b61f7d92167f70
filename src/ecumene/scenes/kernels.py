"""Compiled resampling kernels; imported late, because numba is slow to import."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

NEAREST, BILINEAR, CUBIC, AVERAGE, MODE = range(5)

Array = NDArray[Any]


def _compiled(function: Callable[..., Any]) -> Any:
    """Compile without the interpreter lock; keep the machine code on disk where a folder can be written."""
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # no cache folder is writable
        return numba.njit(nogil=True)(function)


@_compiled
def _weight(kernel: int, distance: float) -> float:
    """Weight of a native pixel at `distance` (in units of the kernel) from the target pixel's centre."""
    d = abs(distance)
    if kernel == BILINEAR:
        return max(0.0, 1.0 - d)
    if kernel == CUBIC:  # cubic convolution, a = -0.5 (Keys 1981, IEEE TASSP 29(6), eq. 15)
        if d <= 1.0:
            return (1.5 * d - 2.5) * d * d + 1.0
        return ((-0.5 * d + 2.5) * d - 4.0) * d + 2.0 if d < 2.0 else 0.0
    return 1.0 if -0.5 < distance <= 0.5 else 0.0


@_compiled
def _weighted(
    band: Array, px: float, py: float, kernel: int, reach_x: float, reach_y: float, span_x: float, span_y: float
) -> tuple[float, float, float]:
    """Return (weighted sum of values, weight on values, weight in all); beyond the border values repeat."""
    height, width = band.shape
    summed, valid, total = 0.0, 0.0, 0.0
    for row in range(math.floor(py - reach_y), math.floor(py + reach_y) + 1):
        weight_y = _weight(kernel, (row + 0.5 - py) / span_y)
        inner_row = min(max(row, 0), height - 1)
        for col in range(math.floor(px - reach_x), math.floor(px + reach_x) + 1):
            weight = weight_y * _weight(kernel, (col + 0.5 - px) / span_x)
            if weight != 0.0:
                value = band[inner_row, min(max(col, 0), width - 1)]
                total += weight
                if not np.isnan(value):
                    valid += weight
                    summed += weight * value
    return summed, valid, total


@_compiled
def _most_frequent(band: Array, px: float, py: float, span_x: float, span_y: float) -> Any:
    """Return the most frequent value in the target pixel (the smallest of several), or NaN."""
    height, width = band.shape
    found = np.empty(int((span_x + 2) * (span_y + 2)), band.dtype)
    count = 0
    for row in range(max(0, math.floor(py - span_y / 2)), min(height, math.floor(py + span_y / 2) + 1)):
        for col in range(max(0, math.floor(px - span_x / 2)), min(width, math.floor(px + span_x / 2) + 1)):
            inside = _weight(AVERAGE, (row + 0.5 - py) / span_y) * _weight(AVERAGE, (col + 0.5 - px) / span_x)
            value = band[row, col]
            if inside > 0.0 and not np.isnan(value):
                found[count] = value
                count += 1
    best, best_length, length = np.nan, 0, 0
    ordered = np.sort(found[:count])
    for position in range(count):
        length = length + 1 if position > 0 and ordered[position] == ordered[position - 1] else 1
        if length > best_length:
            best, best_length = ordered[position], length
    return best


@_compiled
def _one(
    band: Array, px: float, py: float, kernel: int, reach_x: float, reach_y: float, span_x: float, span_y: float
) -> Any:
    """Return the resampled value of one band at one place, NaN in a gap."""
    under = band[int(py), int(px)]
    if kernel == NEAREST:
        return under
    summed, valid, total = _weighted(band, px, py, kernel, reach_x, reach_y, span_x, span_y)
    missing = valid < 0.5 * total if max(span_x, span_y) > 1.05 else np.isnan(under)
    if missing or valid <= 1e-6:
        return np.nan
    if kernel == MODE:
        return _most_frequent(band, px, py, span_x, span_y)
    return summed / valid


@_compiled
def resample(
    values: Array, x: Array, y: Array, kernel: int, radius: float, span_x: float, span_y: float, out: Array
) -> None:
    """Resample `values` `[C, h, w]` at native pixel coordinates into `out` `[C, H, W]`.

    Args:
        values: float32, NaN in gaps.
        x: Native column coordinates `[1 or H, W]`, corners at integers.
        y: Native row coordinates `[H, 1 or W]`.
        kernel: One of this module's codes.
        radius: The kernel's reach in native pixels where it does not shrink the image.
        span_x: Native columns a target pixel spans, at least 1.
        span_y: Native rows a target pixel spans, at least 1.
        out: float32, overwritten; NaN outside of the image.
    """
    bands, height, width = values.shape
    for r in range(out.shape[1]):
        for c in range(out.shape[2]):
            px, py = x[min(r, x.shape[0] - 1), c], y[r, min(c, y.shape[1] - 1)]
            if 0.0 <= px < width and 0.0 <= py < height:
                for b in range(bands):
                    out[b, r, c] = _one(values[b], px, py, kernel, radius * span_x, radius * span_y, span_x, span_y)
            else:
                out[:, r, c] = np.nan


@_compiled
def bilinear_separable(values: Array, x: Array, y: Array, out: Array) -> None:
    """Do what `resample` does for the bilinear kernel without shrinking on parallel axes, many times faster.

    Args:
        values: float32 `[C, h, w]`, NaN in gaps.
        x: Native column coordinates `[W]`.
        y: Native row coordinates `[H]`.
        out: float32 `[C, H, W]`, overwritten.
    """
    bands, height, width = values.shape
    left, right = np.empty(x.size, np.int64), np.empty(x.size, np.int64)
    share = np.empty(x.size, np.float64)
    inside = np.empty(x.size, np.bool_)
    for c in range(x.size):
        inside[c] = 0.0 <= x[c] < width
        position = x[c] - 0.5 if inside[c] else 0.0
        first = math.floor(position)
        left[c], right[c] = max(first, 0), min(first + 1, width - 1)
        share[c] = position - first
    for b in range(bands):
        band = values[b]
        for r in range(y.size):
            if not 0.0 <= y[r] < height:
                out[b, r, :] = np.nan
                continue
            first = math.floor(y[r] - 0.5)
            upper, lower = band[max(first, 0)], band[min(first + 1, height - 1)]
            down = y[r] - 0.5 - first
            for c in range(x.size):
                top = upper[left[c]] * (1.0 - share[c]) + upper[right[c]] * share[c]
                bottom = lower[left[c]] * (1.0 - share[c]) + lower[right[c]] * share[c]
                value = top * (1.0 - down) + bottom * down
                if not inside[c]:
                    value = np.nan
                elif np.isnan(value):
                    value = _one(band, x[c], y[r], BILINEAR, 1.0, 1.0, 1.0, 1.0)
                out[b, r, c] = value
