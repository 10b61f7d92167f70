"""Moving sums of the residuals of a history model, compiled; see `breaks_monitoring`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ecumene.change.series_kernels import (
    _OPTIONS,
    LANES,
    backward,
    cholesky,
    drop_rounding,
    forward,
    load,
    normal,
    residuals,
)


@njit(**_OPTIONS)
def _moving_sum(
    lane: int, weight: Any, rest: Any, history: int, past: int, window: int, norm: float, boundary: float, sums: Any
) -> tuple[int, float, float]:
    """Follow one pixel: (date of the first crossing or -1, largest |process| over its growth, mean residual)."""
    seen, total, alarm, peak, mean = 0, 0.0, -1, 0.0, 0.0
    sums[0] = 0.0
    for t in range(weight.shape[0]):
        if weight[t, lane] == 0.0:
            continue
        total += rest[t, lane]
        seen += 1
        sums[seen] = total
        if t < history:
            continue
        mean += rest[t, lane]
        ratio = seen / past
        growth = np.sqrt(np.log(ratio)) if ratio > np.e else 1.0
        process = abs(sums[seen] - sums[seen - window]) / (norm * growth)
        peak = max(peak, process)
        if process > boundary and alarm < 0:
            alarm = t
    return alarm, peak, mean / (seen - past) if seen > past else np.nan


@njit(**_OPTIONS)
def monitor_lanes(
    values: Any, valid: Any, start: int, stop: int, design: Any, history: int, share: float, boundary: float,
    least: int, alarms: Any, summary: Any,
) -> None:  # fmt: skip
    """Fit the first `history` dates of pixels start..stop and follow the others.

    Args:
        values: `[T, P]`.
        valid: bool `[T, P]` or `[0, 0]`.
        start: First pixel.
        stop: End of the pixels.
        design: `[T, D]`.
        history: Number of dates of the history.
        share: Length of the moving window, as a share of the history's observations.
        boundary: Of the process.
        least: Fewest observations of the history.
        alarms: int32 `[P]`, filled: date of the first crossing; -1: none; -2: too few observations.
        summary: float32 `[3, P]`, filled: largest process over its growth, mean residual since, residual scale.
    """
    dates, size = design.shape
    y, weight, rest = np.empty((dates, LANES)), np.empty((dates, LANES)), np.empty((dates, LANES))
    matrix, beta = np.empty((size * (size + 1) // 2, LANES)), np.empty((size, LANES))
    squares, good, sums = np.empty(LANES), np.empty(LANES, np.bool_), np.empty(dates + 1)
    past = np.empty(LANES)
    for first in range(start, stop, LANES):
        last = min(first + LANES, stop)
        load(values, valid, first, last, y, weight)
        past[:] = 0.0
        for t in range(history):
            for i in range(LANES):
                past[i] += weight[t, i]
        normal(design[:history], y[:history], weight[:history], matrix, beta)
        good[:] = True
        cholesky(matrix, size, good)
        forward(matrix, size, beta)
        backward(matrix, size, beta)
        residuals(design, y, weight, beta, rest, squares)
        drop_rounding(y, weight, rest, squares)
        for i in range(last - first):
            number = int(past[i])
            window = int(number * share)
            fine = good[i] and number >= least and window >= 1
            scale = 0.0
            for t in range(history):
                scale += rest[t, i] * rest[t, i]
            scale = np.sqrt(scale / (number - size)) if fine else np.nan
            alarm, peak, mean = -2, np.nan, np.nan
            if fine:
                norm = scale * np.sqrt(number) if scale > 0.0 else 1e-300
                alarm, peak, mean = _moving_sum(i, weight, rest, history, number, window, norm, boundary, sums)
            alarms[first + i] = alarm
            summary[0, first + i], summary[1, first + i], summary[2, first + i] = peak, mean, scale
