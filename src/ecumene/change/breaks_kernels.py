"""The search for one break in a season-trend model over all dates, compiled; see `breaks` for the formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ecumene.change.series_kernels import (
    _OPTIONS,
    LANES,
    SINGULAR,
    backward,
    cholesky,
    drop_rounding,
    exponential,
    forward,
    load,
    logarithm,
    normal,
    residuals,
)

_FLOOR = 1e-12  # share of the residual sum of squares that a break can leave at least: noise-free steps stay finite


@njit(**_OPTIONS)
def _suffix(design: Any, moving: Any, t: int, weight: Any, residual: Any, cross: Any, right: Any) -> None:
    """Add date t to the sums over the dates after the break: `cross` = X'WZ `[D, Q, LANES]`, `right` = Z'e."""
    for j in range(moving.size):
        z, total = design[t, moving[j]], right[j]
        for i in range(LANES):
            total[i] += z * residual[i]
        for a in range(design.shape[1]):
            product, target = z * design[t, a], cross[a, j]
            for i in range(LANES):
                target[i] += product * weight[i]


@njit(**_OPTIONS)
def _profile(factor: Any, size: int, moving: Any, cross: Any, solved: Any, inner: Any, good: Any) -> None:
    """Fill `inner` with the Cholesky factor of Z'MZ = Z'WZ - (X'WZ)'(X'WX)^-1 (X'WZ); M projects out the model."""
    for j in range(moving.size):
        column = solved[j]
        for a in range(size):
            for i in range(LANES):
                column[a, i] = cross[a, j, i]
        forward(factor, size, column)
        for k in range(j + 1):
            target, whole = inner[j * (j + 1) // 2 + k], cross[moving[k], j]
            for i in range(LANES):
                target[i] = whole[i]
            for a in range(size):
                left, right = column[a], solved[k, a]
                for i in range(LANES):
                    target[i] -= left[i] * right[i]
        diagonal, all_of_it = inner[j * (j + 1) // 2 + j], cross[moving[j], j]
        for i in range(LANES):
            good[i] = good[i] and diagonal[i] > SINGULAR * all_of_it[i]
    cholesky(inner, moving.size, good)


@njit(**_OPTIONS)
def _gain(inner: Any, moving: int, right: Any, vector: Any, gain: Any, determinant: Any) -> None:
    """Fill `gain`, by how much the break lowers the sum of squares, and `determinant` of Z'MZ."""
    for j in range(moving):
        for i in range(LANES):
            vector[j, i] = right[j, i]
    forward(inner, moving, vector)
    for i in range(LANES):
        gain[i] = 0.0
        determinant[i] = 1.0
    for j in range(moving):
        pivot, row = inner[j * (j + 1) // 2 + j], vector[j]
        for i in range(LANES):
            gain[i] += row[i] * row[i]
            determinant[i] /= pivot[i] * pivot[i]


@njit(**_OPTIONS)
def _score(
    gain: Any, determinant: Any, squares: Any, number: Any, weight: Any, d: int, q: int, inflation: float, work: Any,
    bits: Any, density: Any, evidence: Any, f_value: Any, allowed: Any,
) -> None:  # fmt: skip
    """Add one date's log density, log Bayes factor and F statistic of one band; `weight` is log(1 + n)."""
    log = work[4]
    for i in range(LANES):
        base = squares[i] if squares[i] > 0.0 else 1.0
        left = base - gain[i]
        left = left if left > _FLOOR * base else _FLOOR * base
        work[0, i] = left / base
        work[1, i] = 1.0 + number[i] / inflation * (left / base)
        work[3, i] = determinant[i] if determinant[i] > 1e-300 else 1e-300
        freedom = number[i] - d - q
        if allowed[i]:
            f_value[i] += gain[i] / q * freedom / left
    logarithm(work[0], bits[0], log)
    for i in range(LANES):
        half = 0.5 * (number[i] - d - q) / inflation
        density[i] -= half * log[i] if allowed[i] else 0.0
    logarithm(work[3], bits[3], log)
    for i in range(LANES):
        density[i] -= 0.5 * log[i] if allowed[i] else 0.0
    logarithm(work[1], bits[1], log)
    for i in range(LANES):
        evidence[i] -= 0.5 * (number[i] - d) / inflation * log[i] if allowed[i] else 0.0
    for i in range(LANES):
        evidence[i] += 0.5 * (number[i] - d - q) / inflation * weight[i] if allowed[i] else 0.0


@njit(**_OPTIONS)
def _scan(
    design: Any, moving: Any, weight: Any, residual: Any, squares: Any, factor: Any, number: Any, usable: Any,
    least: Any, inflation: float, allowed: Any, density: Any, evidence: Any, f_value: Any, buffers: Any,
) -> None:  # fmt: skip
    """Go through all dates from the last to the second: a break before date t parts t.. from the dates before."""
    cross, solved, inner, right, vector, work, bits = buffers
    dates, d = design.shape
    q = moving.size
    after, gain, determinant = np.zeros(LANES), np.empty(LANES), np.empty(LANES)
    fine, here = np.empty(LANES, np.bool_), np.empty(LANES, np.bool_)
    prior = np.empty(LANES)  # log(1 + n), of the prior's weight of one observation
    for i in range(LANES):
        work[0, i] = 1.0 + number[i] / inflation
    logarithm(work[0], bits[0], prior)
    cross[:] = 0.0
    right[:] = 0.0
    for t in range(dates - 1, 0, -1):
        _suffix(design, moving, t, weight[t], residual[t], cross, right)
        any_usable = False
        for i in range(LANES):
            after[i] += weight[t, i]
            fine[i] = usable[i] and after[i] >= least[i] and number[i] - after[i] >= least[i]
            any_usable = any_usable or fine[i]
            here[i] = fine[i]
        if any_usable:
            _profile(factor, d, moving, cross, solved, inner, fine)
            _gain(inner, q, right, vector, gain, determinant)
            _score(gain, determinant, squares, number, prior, d, q, inflation, work, bits,
                   density[t], evidence[t], f_value[t], fine)  # fmt: skip
        for i in range(LANES):
            allowed[t, i] = allowed[t, i] and (fine[i] or not usable[i])


@njit(**_OPTIONS)
def _posterior(gaps: Any, allowed: Any, score: Any, mass: Any, bits: Any, peak: Any, total: Any) -> None:
    """Fill `mass` `[T, LANES]` = gap exp(score - peak), its sum, and the largest score of the allowed dates."""
    peak[:] = -np.inf
    total[:] = 0.0
    for t in range(1, gaps.size):
        for i in range(LANES):
            score[t, i] = score[t, i] if allowed[t, i] else -np.inf
            peak[i] = max(peak[i], score[t, i])
    for t in range(1, gaps.size):
        row = mass[t]
        for i in range(LANES):
            score[t, i] = score[t, i] - peak[i] if allowed[t, i] else -1e30
        exponential(score[t], row, bits[t])
        for i in range(LANES):
            row[i] *= gaps[t]
            total[i] += row[i]


@njit(**_OPTIONS)
def _quantile(days: Any, gaps: Any, mass: Any, total: Any, share: float, out: Any) -> None:
    """Fill `out` with the day before which `share` of the probability lies; within a gap it grows evenly."""
    done = np.zeros(LANES)
    out[:] = np.nan
    for t in range(1, days.size):
        row = mass[t]
        for i in range(LANES):
            target = share * total[i]
            inside = done[i] < target and done[i] + row[i] >= target
            part = (target - done[i]) / row[i] if inside else 0.0
            out[i] = days[t - 1] + part * gaps[t] if inside else out[i]
            done[i] += row[i]


@njit(**_OPTIONS)
def _magnitude(
    design: Any, moving: Any, change: Any, weight: Any, residual: Any, squares: Any, factor: Any, number: Any,
    best: Any, usable: Any, buffers: Any, first: int, last: int, out: Any,
) -> None:  # fmt: skip
    """Store what changed at the most probable date, its standard deviation, and the residual scale."""
    cross, solved, inner, right, vector, _, _ = buffers
    dates, d = design.shape
    q = moving.size
    cross[:] = 0.0
    right[:] = 0.0
    part, rest, fine = np.empty(LANES), np.empty(LANES), np.empty(LANES, np.bool_)
    for t in range(1, dates):
        for i in range(LANES):
            part[i] = weight[t, i] if t >= best[i] else 0.0
            rest[i] = residual[t, i] if t >= best[i] else 0.0
        _suffix(design, moving, t, part, rest, cross, right)
    fine[:] = usable
    _profile(factor, d, moving, cross, solved, inner, fine)
    gain, determinant = np.empty(LANES), np.empty(LANES)
    _gain(inner, q, right, vector, gain, determinant)
    backward(inner, q, vector)
    for j in range(q):
        for i in range(LANES):
            part[i] = change[best[i], j] * vector[j, i] + (part[i] if j else 0.0)
            right[j, i] = change[best[i], j]
    forward(inner, q, right)
    for i in range(last - first):
        spread = 0.0
        for j in range(q):
            spread += right[j, i] * right[j, i]
        there = fine[i] and best[i] > 0 and number[i] > d + q
        scale = np.sqrt(max(squares[i] - gain[i], 0.0) / (number[i] - d - q)) if there else np.nan
        out[0, first + i] = part[i] if there else np.nan
        out[1, first + i] = scale * np.sqrt(spread)
        out[2, first + i] = scale


@njit(**_OPTIONS)
def _bracket(weights: Any, best: Any, first: int, last: int, brackets: Any) -> None:
    """Store the last date with an observation, in any band, before the break, and the first one after it."""
    dates = weights.shape[1]
    for i in range(last - first):
        before, after = best[i] - 1, best[i]
        while before > 0 and not weights[:, before, i].any():
            before -= 1
        while after < dates - 1 and not weights[:, after, i].any():
            after += 1
        brackets[0, first + i] = before
        brackets[1, first + i] = after if best[i] > 0 else -1


@njit(**_OPTIONS)
def _prepare(
    design: Any, y: Any, weight: Any, factor: Any, beta: Any, rest: Any, squares: Any, number: Any, usable: Any,
    fewest: int,
) -> None:  # fmt: skip
    """Fit the model without a break: factor of X'WX, residuals, their sum of squares, observations, whether it fits."""
    number[:] = 0.0
    for t in range(weight.shape[0]):
        for i in range(LANES):
            number[i] += weight[t, i]
    normal(design, y, weight, factor, beta)
    usable[:] = True
    cholesky(factor, design.shape[1], usable)
    forward(factor, design.shape[1], beta)
    backward(factor, design.shape[1], beta)
    residuals(design, y, weight, beta, rest, squares)
    drop_rounding(y, weight, rest, squares)
    for i in range(LANES):
        usable[i] = usable[i] and number[i] >= fewest


@njit(**_OPTIONS)
def _choose(allowed: Any, score: Any, best: Any) -> None:
    """Fill `best` with the allowed date of the largest score (the earliest of equals), 0 where there is none."""
    top = np.full(LANES, -np.inf)
    best[:] = 0
    for t in range(1, score.shape[0]):
        for i in range(LANES):
            if allowed[t, i] and score[t, i] > top[i]:
                top[i] = score[t, i]
                best[i] = t


@njit(**_OPTIONS)
def _store_evidence(
    gaps: Any, allowed: Any, peak: Any, total: Any, f_value: Any, number: Any, usable: Any, first: int, last: int,
    summary: Any,
) -> None:  # fmt: skip
    """Store the log Bayes factor averaged over dates by their gaps, the largest mean F, and the observations.

    The mean F is that of the bands which could be searched.
    """
    bands = number.shape[0]
    for i in range(last - first):
        length, largest, seen, searched = 0.0, 0.0, 0.0, 0
        for t in range(1, gaps.size):
            if allowed[t, i]:
                length += gaps[t]
                largest = max(largest, f_value[t, i])
        for b in range(bands):
            seen += number[b, i]
            searched += 1 if usable[b, i] else 0
        summary[0, first + i] = peak[i] + np.log(total[i] / length) if length > 0.0 else np.nan
        summary[1, first + i] = largest / searched if length > 0.0 else np.nan
        summary[2, first + i] = seen


@njit(**_OPTIONS)
def _fit_bands(
    values: Any, valid: Any, first: int, last: int, design: Any, moving: Any, least: int, trimming: float,
    inflation: float, state: Any, scores: Any, buffers: Any,
) -> None:  # fmt: skip
    """Fit every band of one group of pixels without a break and add up what they say about each date."""
    weights, rest, factors, squares, number, usable = state
    density, evidence, f_value, allowed = scores
    dates, d = design.shape
    q = moving.size
    y, beta, shortest = np.empty((dates, LANES)), np.empty((d, LANES)), np.empty(LANES)
    density[:] = 0.0
    evidence[:] = 0.0
    f_value[:] = 0.0
    allowed[:] = True
    for b in range(values.shape[0]):
        load(values[b], valid[min(b, valid.shape[0] - 1)], first, last, y, weights[b])
        _prepare(design, y, weights[b], factors[b], beta, rest[b], squares[b], number[b], usable[b], d + q + 1)
        for i in range(LANES):
            shortest[i] = max(np.float64(max(least, q + 1)), np.ceil(trimming * number[b, i] - 1e-9))
        _scan(design, moving, weights[b], rest[b], squares[b], factors[b], number[b], usable[b], shortest,
              inflation, allowed, density, evidence, f_value, buffers)  # fmt: skip
    for i in range(LANES):
        if not usable[:, i].any():
            allowed[:, i] = False


@njit(**_OPTIONS)
def _store_dates(
    days: Any, gaps: Any, scores: Any, mass: Any, number: Any, usable: Any, first: int, last: int, shares: Any,
    summary: Any, posterior: Any, best: Any,
) -> None:  # fmt: skip
    """Store evidence, quantiles of the date and its distribution; fill `best`."""
    density, evidence, f_value, allowed = scores
    bits, peak, total, quantile = mass.view(np.int64), np.empty(LANES), np.empty(LANES), np.empty(LANES)
    _posterior(gaps, allowed, evidence, mass, bits, peak, total)
    _store_evidence(gaps, allowed, peak, total, f_value, number, usable, first, last, summary)
    _choose(allowed, density, best)
    _posterior(gaps, allowed, density, mass, bits, peak, total)
    for s in range(shares.size):
        _quantile(days, gaps, mass, total, shares[s], quantile)
        for i in range(last - first):
            summary[3 + s, first + i] = quantile[i] if best[i] > 0 else np.nan
    for t in range(posterior.shape[0]):
        for i in range(last - first):
            posterior[t, first + i] = mass[t, i] / total[i] if t > 0 and best[i] > 0 else 0.0


@njit(**_OPTIONS)
def find_breaks(
    values: Any, valid: Any, start: int, stop: int, days: Any, design: Any, moving: Any, change: Any, least: int,
    trimming: float, inflation: float, shares: Any, summary: Any, brackets: Any, magnitudes: Any, posterior: Any,
) -> None:  # fmt: skip
    """Find the most probable single break of pixels start..stop.

    Args:
        values: `[B, T, P]`.
        valid: bool `[B or 1, T, P]` or `[1, 0, 0]`.
        start: First pixel.
        stop: End of the pixels.
        days: float64 `[T]`.
        design: `[T, D]`.
        moving: int64 `[Q]`, columns of the design whose coefficients change.
        change: `[T, Q]`, weights of the changed coefficients in the magnitude of a break at a date.
        least: Fewest observations of a band on either side.
        trimming: Smallest share of a band's observations on either side.
        inflation: By how much noise that hangs together lowers the number of observations, >= 1.
        shares: `[S]`, shares of the date's probability.
        summary: float32 `[3 + S, P]`, filled: log Bayes factor, largest F, observations, days of the shares.
        brackets: int32 `[2, P]`, filled: dates (indices) around the most probable break, -1 without result.
        magnitudes: float32 `[3, B, P]`, filled: change, its standard deviation, residual scale.
        posterior: float32 `[T, P]`, filled with the probability that the break lies between dates t - 1 and t; or
            `[0, 0]`.
    """
    bands, (dates, d), q = values.shape[0], design.shape, moving.size
    gaps = np.zeros(dates)
    gaps[1:] = days[1:] - days[:-1]
    work = np.empty((5, LANES))
    buffers = (np.empty((d, q, LANES)), np.empty((q, d, LANES)), np.empty((q * (q + 1) // 2, LANES)),
               np.empty((q, LANES)), np.empty((q, LANES)), work, work.view(np.int64))  # fmt: skip
    state = (np.empty((bands, dates, LANES)), np.empty((bands, dates, LANES)),
             np.empty((bands, d * (d + 1) // 2, LANES)), np.empty((bands, LANES)), np.empty((bands, LANES)),
             np.empty((bands, LANES), np.bool_))  # fmt: skip
    scores = (np.empty((dates, LANES)), np.empty((dates, LANES)), np.empty((dates, LANES)),
              np.empty((dates, LANES), np.bool_))  # fmt: skip
    weights, rest, factors, squares, number, usable = state
    mass, best = np.empty((dates, LANES)), np.empty(LANES, np.int64)
    for first in range(start, stop, LANES):
        last = min(first + LANES, stop)
        _fit_bands(values, valid, first, last, design, moving, least, trimming, inflation, state, scores, buffers)
        _store_dates(days, gaps, scores, mass, number, usable, first, last, shares, summary, posterior, best)
        _bracket(weights, best, first, last, brackets)
        for b in range(bands):
            _magnitude(design, moving, change, weights[b], rest[b], squares[b], factors[b], number[b], best,
                       usable[b], buffers, first, last, magnitudes[:, b])  # fmt: skip
