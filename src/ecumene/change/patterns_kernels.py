"""Least squares of steps, ramps and pulses at all dates of a pixel, compiled; see `patterns` for the formulas.

Sums over dates are kept as prefix sums, so that a fit at two dates costs as much as at one. Index k of a prefix sum is
the sum over dates before k: a change "at k" lies between dates k - 1 and k.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_OPTIONS: Any = {"cache": True, "nogil": True, "error_model": "numpy"}
_ROUNDING = 1e-20  # share of a series' sum of squares below which what is left is rounding
_FLOOR = 1e-12  # share of the sum of squares that a pattern leaves at least: noise-free steps stay finite
_STEP, _RAMP, _PULSE = 0, 1, 2
_SINGULAR = 1e-9


@njit(**_OPTIONS)
def _prefix(values: Any, valid: Any, pixel: int, years: Any, sums: Any, state: Any) -> bool:
    """Fill prefix sums `[B, T + 1, 5]` of w, w t, w t^2, r and r t, and `state` `[B, 3]` = (n, mean, sum of r^2).

    r is the value minus its band's mean; return whether every band has an observation.
    """
    bands, dates = values.shape[0], values.shape[1]
    fine = True
    for b in range(bands):
        flags = valid[min(b, valid.shape[0] - 1)]
        number, total, whole = 0.0, 0.0, 0.0
        for t in range(dates):
            value = np.float64(values[b, t, pixel])
            if value == value and (flags.shape[0] == 0 or flags[t, pixel]):
                number += 1.0
                total += value
                whole += value * value
        mean = total / number if number > 0.0 else 0.0
        fine = fine and number > 0.0
        squares = 0.0
        sums[b, 0, :] = 0.0
        for t in range(dates):
            value = np.float64(values[b, t, pixel])
            there = value == value and (flags.shape[0] == 0 or flags[t, pixel])
            w = 1.0 if there else 0.0
            r = value - mean if there else 0.0
            squares += r * r
            sums[b, t + 1, 0] = sums[b, t, 0] + w
            sums[b, t + 1, 1] = sums[b, t, 1] + w * years[t]
            sums[b, t + 1, 2] = sums[b, t, 2] + w * years[t] * years[t]
            sums[b, t + 1, 3] = sums[b, t, 3] + r
            sums[b, t + 1, 4] = sums[b, t, 4] + r * years[t]
        state[b, 0], state[b, 1] = number, mean
        state[b, 2] = squares if squares > _ROUNDING * whole else 0.0
    return fine


@njit(**_OPTIONS)
def _moments(kind: int, i: int, j: int, sums: Any, years: Any) -> tuple[float, float, float]:
    """Return (sum of w z, of w z^2, of r z) of one band's prefix sums `[T + 1, 5]` for a pattern at i and j."""
    last = sums.shape[0] - 1
    if kind == _STEP:
        number = sums[last, 0] - sums[i, 0]
        return number, number, sums[last, 3] - sums[i, 3]
    if kind == _PULSE:
        number = sums[j, 0] - sums[i, 0]
        return number, number, sums[j, 3] - sums[i, 3]
    begin, length = years[i], years[j] - years[i]
    w, wt, wtt = sums[j, 0] - sums[i, 0], sums[j, 1] - sums[i, 1], sums[j, 2] - sums[i, 2]
    r, rt = sums[j, 3] - sums[i, 3], sums[j, 4] - sums[i, 4]
    after = sums[last, 0] - sums[j, 0]
    first = (wt - begin * w) / length + after
    second = (wtt - 2.0 * begin * wt + begin * begin * w) / (length * length) + after
    return first, second, (rt - begin * r) / length + sums[last, 3] - sums[j, 3]


@njit(**_OPTIONS)
def _allowed(kind: int, i: int, j: int, sums: Any, least: int) -> Any:
    """Whether a band has enough observations before, during and after a pattern at i and j."""
    last = sums.shape[0] - 1
    total = sums[last, 0]
    if kind == _STEP:
        return sums[i, 0] >= least and total - sums[i, 0] >= least
    if kind == _PULSE:
        return sums[i, 0] >= least and sums[j, 0] - sums[i, 0] >= least and total - sums[j, 0] >= least
    # Between the two nodes of a ramp lies at least one observation; with none it would be a step.
    return sums[i + 1, 0] >= least and total - sums[j, 0] >= least and sums[j, 0] - sums[i + 1, 0] >= 1.0


@njit(**_OPTIONS)
def _score(kind: int, i: int, j: int, sums: Any, years: Any, state: Any, independent: float) -> tuple[float, float]:
    """Return (log Bayes factor against the constant, direction) of a pattern at i and j, over all bands."""
    total, sign = 0.0, 0.0
    for b in range(sums.shape[0]):
        n, squares = state[b, 0], state[b, 2]
        first, second, product = _moments(kind, i, j, sums[b], years)
        spread = second - first * first / n
        if not spread > _SINGULAR * second:
            continue
        base = squares if squares > 0.0 else 1.0
        gain = product * product / spread if squares > 0.0 else 0.0
        left = max(base - gain, _FLOOR * base) / base
        own = n * independent
        total += 0.5 * (own - 2.0) * np.log(1.0 + own) - 0.5 * (own - 1.0) * np.log(1.0 + own * left)
        sign += product / np.sqrt(spread * base)
    return total, sign


@njit(**_OPTIONS)
def _middle(years: Any, k: int) -> Any:
    """Return the time of a change at k: half way between its dates."""
    return 0.5 * (years[k - 1] + years[k])


@njit(**_OPTIONS)
def _times(kind: int, i: int, j: int, years: Any) -> tuple[float, float, float]:
    """Return (begin, end, variance of each within its gap) of a pattern at i and j."""
    if kind == _RAMP:
        return years[i], years[j], (years[i + 1] - years[i]) ** 2 / 12.0
    begin = _middle(years, i)
    within = (years[i] - years[i - 1]) ** 2 / 12.0
    return begin, begin if kind == _STEP else _middle(years, j), within


@njit(**_OPTIONS)
def _add(family: Any, score: float, begin: float, end: float, within: float, kind: int, i: int, j: int) -> None:
    """Add one placement to a family's sums: scaled weight, count, largest, placement, moments of begin and length."""
    family[1] += 1.0
    if score > family[2]:
        shrink = np.exp(family[2] - score) if family[2] > -np.inf else 0.0
        family[0] *= shrink
        family[6:] *= shrink
        family[2], family[3], family[4], family[5] = score, kind, i, j
    weight, length = np.exp(score - family[2]), end - begin
    family[0] += weight
    family[6] += weight * begin
    family[7] += weight * (begin * begin + within)
    family[8] += weight * length
    family[9] += weight * (length * length + (0.0 if kind == _STEP else 2.0 * within))


@njit(**_OPTIONS)
def _try(
    kind: int, i: int, j: int, sums: Any, years: Any, state: Any, least: int, independent: float, families: Any
) -> None:
    """Score one placement and add it to its family `[4, 10]`: step up, step down, ramp, pulse."""
    for b in range(sums.shape[0]):
        if not _allowed(kind, i, j, sums[b], least):
            return
    score, sign = _score(kind, i, j, sums, years, state, independent)
    begin, end, within = _times(kind, i, j, years)
    if kind == _STEP:
        place = 0 if sign >= 0.0 else 1
        families[1 - place, 1] += 1.0  # the other direction could have been here as well
    else:
        place = 2 if kind == _RAMP else 3
    _add(families[place], score, begin, end, within, kind, i, j)


@njit(**_OPTIONS)
def _search(sums: Any, years: Any, state: Any, least: int, independent: float, families: Any) -> None:
    """Try all patterns of one pixel."""
    dates = years.size
    families[:] = 0.0
    families[:, 2] = -np.inf
    for i in range(1, dates):
        # A change between the same two observations is one placement: it is tried at the date of the later one.
        _try(_STEP, i, i, sums, years, state, least, independent, families)
        for j in range(i + 1, dates):
            _try(_PULSE, i, j, sums, years, state, least, independent, families)
    for i in range(dates - 2):
        for j in range(i + 2, dates):
            _try(_RAMP, i, j, sums, years, state, least, independent, families)


@njit(**_OPTIONS)
def _sizes(family: Any, sums: Any, years: Any, state: Any, sizes: Any, pixel: int) -> None:
    """Store amplitude, its deviation, the level at the end and the residual scale of every band."""
    for b in range(sums.shape[0]):
        n, mean, squares = state[b, 0], state[b, 1], state[b, 2]
        if family[2] == -np.inf:
            sizes[0, b, pixel] = sizes[1, b, pixel] = np.nan
            sizes[2, b, pixel], sizes[3, b, pixel] = mean, np.sqrt(squares / (n - 1.0)) if n > 1.0 else np.nan
            continue
        kind, i, j = int(family[3]), int(family[4]), int(family[5])
        first, second, product = _moments(kind, i, j, sums[b], years)
        spread = second - first * first / n
        size = product / spread
        scale = np.sqrt(max(squares - product * size, 0.0) / (n - 2.0)) if n > 2.0 else np.nan
        before = mean - size * first / n
        sizes[0, b, pixel], sizes[1, b, pixel] = size, scale / np.sqrt(spread)
        sizes[2, b, pixel], sizes[3, b, pixel] = before if kind == _PULSE else before + size, scale


@njit(**_OPTIONS)
def _choose(families: Any, prior: float, weights: Any, pixel: int) -> int:
    """Store the probabilities of the five families and return the most probable one."""
    logs = np.zeros(5)
    for k in range(4):
        family = families[k]
        found = family[1] > 0.0 and family[2] > -np.inf
        logs[k + 1] = prior + family[2] + np.log(family[0] / family[1]) if found else -np.inf
    top, total = logs.max(), 0.0
    for k in range(5):
        logs[k] = np.exp(logs[k] - top)
        total += logs[k]
    for k in range(5):
        weights[k, pixel] = logs[k] / total
    return int(np.argmax(logs))


@njit(**_OPTIONS)
def search_patterns(
    values: Any, valid: Any, start: int, stop: int, years: Any, least: int, prior: float, independent: float,
    fixed: Any, code: Any, weights: Any, times: Any, sizes: Any, seen: Any,
) -> None:  # fmt: skip
    """Find the patterns of pixels start..stop.

    Args:
        values: `[B, T, P]`.
        valid: bool `[B or 1, T, P]` or `[1, 0, 0]`.
        start: First pixel.
        stop: End of the pixels.
        years: float64 `[T]`, dates in years.
        least: Fewest observations before, during and after.
        prior: Log prior odds of one family of change against the constant.
        independent: Independent share of the observations.
        fixed: uint8 `[P]`, the family whose numbers are wanted where it can be fitted; or empty: the most probable one.
        code: uint8 `[P]`, filled: family, or 255.
        weights: float32 `[5, P]`, filled: probabilities of the families.
        times: float32 `[4, P]`, filled: begin, its deviation, length, its deviation, in years.
        sizes: float32 `[4, B, P]`, filled: amplitude, its deviation, level at the end, residual scale.
        seen: float32 `[P]`, filled: observations.
    """
    bands, dates = values.shape[0], values.shape[1]
    sums, state, families = np.empty((bands, dates + 1, 5)), np.empty((bands, 3)), np.empty((4, 10))
    none = np.full(10, -np.inf)
    for pixel in range(start, stop):
        fine = _prefix(values, valid, pixel, years, sums, state)
        seen[pixel] = state[:, 0].sum()
        times[:, pixel] = np.nan
        if not fine or state[:, 0].min() < 2 * least:
            code[pixel] = 255
            weights[:, pixel] = np.nan
            sizes[:, :, pixel] = np.nan
            continue
        _search(sums, years, state, least, independent, families)
        best = _choose(families, prior, weights, pixel)
        if fixed.size > 0 and (fixed[pixel] == 0 or (fixed[pixel] < 5 and families[fixed[pixel] - 1, 2] > -np.inf)):
            best = np.int64(fixed[pixel])
        code[pixel] = best
        if best == 0:
            _sizes(none, sums, years, state, sizes, pixel)
            continue
        family = families[best - 1]
        _sizes(family, sums, years, state, sizes, pixel)
        begin, length = family[6] / family[0], family[8] / family[0]
        times[0, pixel], times[2, pixel] = begin, length
        times[1, pixel] = np.sqrt(max(family[7] / family[0] - begin * begin, 0.0))
        times[3, pixel] = np.sqrt(max(family[9] / family[0] - length * length, 0.0))
