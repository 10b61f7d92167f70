"""Compiled kernels of the abundances' standard deviations; see `constrained.unmix` for the mathematics."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from ecumene.physics.unmixing.kernels import multipliers, support_maps


@njit(cache=True, nogil=True)
def _one_sided(mean, deviation):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Root mean square of a Gaussian of mean -`mean` <= 0, cut off below zero: the error of an abundance at zero."""
    if deviation == 0.0:
        return 0.0
    alpha = max(mean, 0.0) / deviation
    if alpha > 8.0:  # differences of large numbers otherwise; series of the Mills ratio
        return deviation * math.sqrt(2.0 * (1.0 - 6.0 / (alpha * alpha))) / alpha
    density = math.exp(-0.5 * alpha * alpha) / math.sqrt(2.0 * math.pi)
    hazard = density / (0.5 * math.erfc(alpha / math.sqrt(2.0)))
    return deviation * math.sqrt(max(1.0 + alpha * alpha - alpha * hazard, 0.0))


@njit(cache=True, nogil=True)
def _quadratic(matrix: Any, direction: Any) -> float:
    """Return direction' matrix direction."""
    total = 0.0
    for i in range(direction.shape[0]):
        for j in range(direction.shape[0]):
            total += direction[i] * matrix[i, j] * direction[j]
    return float(total)


@njit(cache=True, nogil=True)
def _raise_absent(
    index: int, k: Any, w: Any, active: Any, multiplier: float, moments: Any, variance: float, direction: Any
) -> float:
    """Fill the feasible direction that raises an absent abundance; return the root mean square of how far it goes."""
    gram, spread = moments
    p = w.shape[0]
    for j in range(p):
        total = -w[j]
        for m in range(p):
            if active[m]:
                total -= k[j, m] * gram[m, index]
        direction[j] = total
    direction[index] = 1.0
    curvature = _quadratic(gram, direction)
    if curvature <= 0.0:
        return 0.0  # the only endmember of a set that sums to one
    deviation = math.sqrt(max(_quadratic(spread, direction), 0.0) * variance) / curvature
    return float(_one_sided(multiplier / curvature, deviation))


@njit(cache=True, nogil=True)
def _deviations(
    moments: Any, c: Any, a: Any, switches: Any, bands: int, total: float, tables: Any, offsets: Any, deviation: Any
) -> None:
    """Fill standard deviations `[p]` of one pixel's abundances from its residual sum of squares `total`.

    The noise variance is total / tr((1 - E K E') R), which is the number of bands less that of free parameters
    where R = 1. With `normalise` they are those of a / 1'a (delta method: da = (1 - a 1' / 1'a) da / 1'a).
    """
    gram, spread = moments
    sum_to_one, normalise, known = switches
    p = a.shape[0]
    share = 1.0 / a.sum() if normalise and a.sum() > 0.0 else 1.0
    members, count, mask = np.empty(p, np.int64), 0, 0
    active = a > 0.0
    for i in range(p):
        if active[i]:
            members[count] = i
            mask |= 1 << i
            count += 1
    if tables.shape[0] > 1:
        k, w = tables[mask], offsets[mask]
    else:
        k, w = np.empty((p, p)), np.empty(p)
        support_maps(gram, members, count, sum_to_one, k, w)
    freedom = bands - np.sum(k * spread)
    variance = 1.0 if known else total / max(freedom, 1e-3 * bands)
    multiplier, direction = np.empty(p), np.empty(p)
    multipliers(gram, c, active, sum_to_one, a, multiplier)
    squares = np.zeros(p)
    for i in range(p):
        if active[i]:
            for j in range(p):
                direction[j] = k[i, j]
                for m in range(count if normalise else 0):
                    direction[j] -= a[i] * share * k[members[m], j]
            squares[i] += max(_quadratic(spread, direction), 0.0) * variance
        else:
            reach = _raise_absent(i, k, w, active, multiplier[i], moments, variance, direction)
            lost = a * (share * direction.sum()) if normalise else np.zeros(p)
            for j in range(p):
                squares[j] += ((direction[j] - lost[j]) * reach) ** 2
    for i in range(p):
        deviation[i] = share * math.sqrt(squares[i])


@njit(cache=True, nogil=True)
def fit_errors(
    spectra: Any,
    endmembers: Any,
    moments: Any,
    correlations: Any,
    abundances: Any,
    switches: Any,
    tables: Any,
    offsets: Any,
    residual: Any,
    deviations: Any,
) -> None:
    """Fill residual sums of squares `[P]` and standard deviations `[P, p]` of one block.

    spectra `[P, B]`, endmembers `[p, B]` (rows, so that the inner loop is contiguous), moments = (E'E, E'R E);
    switches = (sum to one; divide by the sum; data are whitened: unit noise variance instead of the residual's).
    """
    pixels, bands = spectra.shape
    p = endmembers.shape[0]
    difference = np.empty(bands)
    for pixel in range(pixels):
        usable = True
        for i in range(p):
            usable = usable and math.isfinite(abundances[pixel, i])
        if not usable:
            residual[pixel] = np.nan
            deviations[pixel, :] = np.nan
            continue
        for band in range(bands):
            difference[band] = spectra[pixel, band]
        for i in range(p):
            amount = abundances[pixel, i]
            if amount > 0.0:
                for band in range(bands):
                    difference[band] -= amount * endmembers[i, band]
        total = 0.0
        for band in range(bands):
            total += difference[band] * difference[band]
        residual[pixel] = total
        _deviations(
            moments,
            correlations[pixel],
            abundances[pixel],
            switches,
            bands,
            total,
            tables,
            offsets,
            deviations[pixel],
        )
