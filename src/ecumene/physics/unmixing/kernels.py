"""Compiled kernels of the exact active-set solver for abundances; see `constrained` for the mathematics.

Every kernel works on Gram quantities of one endmember set: G = E'E and c = E'y. The solution on a support S is
affine in c, z = K_S c + w_S; for few endmembers K_S and w_S of all supports are tabulated, so that a pixel whose
neighbour has the same support costs two small matrix-vector products.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

_PRIMAL = 1e-12  # abundances above minus this count as feasible and are set to zero
_DUAL = 1e-11  # multipliers above minus this, relative to the data, count as optimal


@njit(cache=True, nogil=True)
def support_maps(gram, members, count, sum_to_one, k, w):  # type: ignore[no-untyped-def]  # noqa: C901, ANN001, ANN201
    """Fill k `[p, p]` and w `[p]` with the affine map of the support `members[:count]`; zero elsewhere."""
    k[:, :] = 0.0
    w[:] = 0.0
    if count == 0:
        return
    factor = np.empty((count, count))
    for i in range(count):
        for j in range(i + 1):
            total = gram[members[i], members[j]]
            for m in range(j):
                total -= factor[i, m] * factor[j, m]
            factor[i, j] = math.sqrt(max(total, 1e-300)) if i == j else total / factor[j, j]
    inverse = np.zeros((count, count))
    for column in range(count):
        for i in range(count):
            total = 1.0 if i == column else 0.0
            for m in range(i):
                total -= factor[i, m] * inverse[m, column]
            inverse[i, column] = total / factor[i, i]
        for i in range(count - 1, -1, -1):
            total = inverse[i, column]
            for m in range(i + 1, count):
                total -= factor[m, i] * inverse[m, column]
            inverse[i, column] = total / factor[i, i]
    sums = np.zeros(count)
    total = 0.0
    if sum_to_one:
        for i in range(count):
            for j in range(count):
                sums[i] += inverse[i, j]
            total += sums[i]
    for i in range(count):
        if sum_to_one:
            w[members[i]] = sums[i] / total
        for j in range(count):
            value = inverse[i, j]
            if sum_to_one:
                value -= sums[i] * sums[j] / total
            k[members[i], members[j]] = value


@njit(cache=True, nogil=True)
def tabulate(gram, sum_to_one, tables, offsets):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Fill the maps of all 2^p supports; the support of mask m is the set of its bits."""
    p = gram.shape[0]
    members = np.empty(p, np.int64)
    for mask in range(1 << p):
        count = 0
        for i in range(p):
            if mask >> i & 1:
                members[count] = i
                count += 1
        support_maps(gram, members, count, sum_to_one, tables[mask], offsets[mask])


@njit(cache=True, nogil=True)
def _equality(gram, c, active, sum_to_one, tables, offsets, k, w, z):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Solve on the support without the sign constraint: z = K c + w; k and w keep the maps (if not tabulated)."""
    p = c.shape[0]
    if tables.shape[0] > 1:
        mask = 0
        for i in range(p):
            if active[i]:
                mask |= 1 << i
        for i in range(p):
            total = offsets[mask, i]
            for j in range(p):
                total += tables[mask, i, j] * c[j]
            z[i] = total
        return
    members = np.empty(p, np.int64)
    count = 0
    for i in range(p):
        if active[i]:
            members[count] = i
            count += 1
    support_maps(gram, members, count, sum_to_one, k, w)
    for i in range(p):
        total = w[i]
        if active[i]:
            for j in range(p):
                total += k[i, j] * c[j]
        z[i] = total


@njit(cache=True, nogil=True)
def _multipliers(gram, c, active, sum_to_one, z, multiplier):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Fill the multipliers of the sign constraints (zero on the support); return the smallest one's index."""
    p = c.shape[0]
    shared, count = 0.0, 0
    for i in range(p):
        total = -c[i]
        for j in range(p):
            total += gram[i, j] * z[j]
        multiplier[i] = total
        if active[i]:
            shared += total
            count += 1
    shift = shared / count if sum_to_one and count > 0 else 0.0
    worst = -1
    for i in range(p):
        if active[i]:
            multiplier[i] = 0.0
        else:
            multiplier[i] -= shift
            if worst < 0 or multiplier[i] < multiplier[worst]:
                worst = i
    return worst


@njit(cache=True, nogil=True)
def _descend(gram, c, active, sum_to_one, tables, offsets, k, w, a, z, multiplier, scale):  # type: ignore[no-untyped-def]  # noqa: C901, ANN001, ANN202
    """Run the primal active-set method from a cold start; True if the optimality conditions hold at the end."""
    p = c.shape[0]
    for i in range(p):
        active[i] = True
    for _ in range(p):  # peel: drop all negative ones until the rest is feasible
        _equality(gram, c, active, sum_to_one, tables, offsets, k, w, z)
        dropped = False
        for i in range(p):
            if active[i] and z[i] < -_PRIMAL:
                active[i] = False
                dropped = True
        if not dropped:
            break
    _equality(gram, c, active, sum_to_one, tables, offsets, k, w, z)
    a[:] = z
    banned = np.zeros(p, np.bool_)
    for _ in range(20 * p):
        _multipliers(gram, c, active, sum_to_one, a, multiplier)
        enter = -1
        for i in range(p):
            candidate = not active[i] and not banned[i] and multiplier[i] < -_DUAL * scale
            if candidate and (enter < 0 or multiplier[i] < multiplier[enter]):
                enter = i
        if enter < 0:
            return not banned.any()
        active[enter] = True
        _equality(gram, c, active, sum_to_one, tables, offsets, k, w, z)
        if z[enter] <= 0.0:  # only rounding can do this: the multiplier was zero
            active[enter] = False
            banned[enter] = True
            continue
        for _ in range(p):
            step, block = 1.0, -1
            for i in range(p):
                if active[i] and z[i] < -_PRIMAL:
                    ratio = a[i] / (a[i] - z[i])
                    if ratio < step or block < 0:
                        step, block = ratio, i
            if block < 0:
                break
            for i in range(p):
                a[i] += step * (z[i] - a[i])
            a[block] = 0.0
            active[block] = False
            _equality(gram, c, active, sum_to_one, tables, offsets, k, w, z)
        a[:] = z
        banned[:] = False
    return False


@njit(cache=True, nogil=True)
def solve_pixels(gram, correlations, sum_to_one, tables, offsets, abundances, converged):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Solve all pixels of one block: correlations `[P, p]` in, abundances `[P, p]` and converged `[P]` out.

    The support of the pixel before is tried first; it is kept only if all optimality conditions hold.
    """
    pixels, p = correlations.shape
    active = np.zeros(p, np.bool_)
    active[:] = True
    k, w = np.zeros((p, p)), np.zeros(p)
    a, z, multiplier, c = np.empty(p), np.empty(p), np.empty(p), np.empty(p)
    largest = 0.0
    for i in range(p):
        largest = max(largest, gram[i, i])
    warm = False
    for pixel in range(pixels):
        scale, usable = largest, True
        for i in range(p):
            c[i] = correlations[pixel, i]
            usable = usable and math.isfinite(c[i])
            scale = max(scale, abs(c[i]))
        if not usable:
            abundances[pixel, :] = np.nan
            converged[pixel] = False
            continue
        good = False
        if warm:
            _equality(gram, c, active, sum_to_one, tables, offsets, k, w, z)
            good = True
            for i in range(p):
                good = good and z[i] >= -_PRIMAL
            if good:
                worst = _multipliers(gram, c, active, sum_to_one, z, multiplier)
                good = worst < 0 or multiplier[worst] >= -_DUAL * scale
            a[:] = z
        if not good:
            good = _descend(gram, c, active, sum_to_one, tables, offsets, k, w, a, z, multiplier, scale)
        for i in range(p):
            abundances[pixel, i] = a[i] if a[i] > 0.0 else 0.0
        converged[pixel] = good
        warm = True


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
    return _one_sided(multiplier / curvature, deviation)


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
    _multipliers(gram, c, active, sum_to_one, a, multiplier)
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
