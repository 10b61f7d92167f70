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
_ROUNDS = 8


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
def multipliers(gram, c, active, sum_to_one, z, multiplier):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
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
        multipliers(gram, c, active, sum_to_one, a, multiplier)
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


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def correlate(spectra: Any, endmembers: Any, correlations: Any) -> None:
    """Fill correlations `[P, p]` with the products of spectra `[P, B]` and endmembers `[p, B]`, reading spectra once.

    Four endmembers at a time keep their sums in registers; a matrix product of so few columns is slower.
    """
    pixels, bands = spectra.shape
    p = endmembers.shape[0]
    last = p - 1
    for pixel in range(pixels):
        for first in range(0, p, 4):
            # Beyond the last endmember its product is computed again and not used.
            i, j, k = min(first + 1, last), min(first + 2, last), min(first + 3, last)
            a, b, c, d = 0.0, 0.0, 0.0, 0.0
            for band in range(bands):
                value = np.float64(spectra[pixel, band])
                a += value * endmembers[first, band]
                b += value * endmembers[i, band]
                c += value * endmembers[j, band]
                d += value * endmembers[k, band]
            correlations[pixel, first] = a
            correlations[pixel, i] = b
            correlations[pixel, j] = c
            correlations[pixel, k] = d


@njit(cache=True, nogil=True)
def tabulate_multipliers(gram: Any, sum_to_one: bool, tables: Any, offsets: Any, duals: Any, shifts: Any) -> None:
    """Fill the affine maps from correlations to multipliers, lambda = D_S c + d_S, of all tabulated supports."""
    p = gram.shape[0]
    c, z, multiplier, active = np.zeros(p), np.empty(p), np.empty(p), np.empty(p, np.bool_)
    for mask in range(tables.shape[0]):
        for i in range(p):
            active[i] = (mask >> i & 1) == 1
        for column in range(-1, p):  # -1: the constant part
            c[:] = 0.0
            if column >= 0:
                c[column] = 1.0
                z[:] = tables[mask, :, column]
            else:
                z[:] = offsets[mask]
            multipliers(gram, c, active, sum_to_one, z, multiplier)
            if column >= 0:
                duals[mask, :, column] = multiplier
            else:
                shifts[mask] = multiplier


@njit(cache=True, nogil=True, error_model="numpy")
def _exchange(  # noqa: C901
    correlations: Any, maps: Any, largest: float, abundances: Any, converged: Any
) -> None:
    """Solve what block exchanges on tabulated maps can solve; converged `[P]` says where that was.

    Starting from the support of the pixel before, drops all negative abundances at once, then takes in the
    endmember with the most negative multiplier, and so on for a few rounds. A support is kept only if all
    optimality conditions hold.
    """
    tables, offsets, duals, shifts = maps
    pixels, p = correlations.shape
    everything = (1 << p) - 1
    mask = everything
    c, z = np.empty(p), np.empty(p)
    for pixel in range(pixels):
        scale = largest
        for i in range(p):
            c[i] = correlations[pixel, i]
            scale = max(scale, abs(c[i]))
        good = False
        for _ in range(_ROUNDS):
            negative = 0
            for i in range(p):
                total = offsets[mask, i]
                for j in range(p):
                    total += tables[mask, i, j] * c[j]
                z[i] = total
                if not total >= -_PRIMAL:  # also where it is not a number
                    negative |= 1 << i
            if negative:
                mask &= ~negative
                continue
            lowest, enter = -_DUAL * scale, -1
            for i in range(p):
                total = shifts[mask, i]
                for j in range(p):
                    total += duals[mask, i, j] * c[j]
                if total < lowest:
                    lowest, enter = total, i
            if enter < 0:
                good = math.isfinite(scale)
                break
            mask |= 1 << enter
        for i in range(p):
            abundances[pixel, i] = z[i] if z[i] > 0.0 else 0.0
        converged[pixel] = good
        if mask == 0:
            mask = everything


@njit(cache=True, nogil=True)
def solve_pixels(gram: Any, correlations: Any, sum_to_one: bool, maps: Any, abundances: Any, converged: Any) -> None:
    """Solve all pixels of one block: correlations `[P, p]` in, abundances `[P, p]` and converged `[P]` out.

    The active-set method solves what exchanges on tabulated maps leave over, or all if there are no maps.
    """
    pixels, p = correlations.shape
    tables, offsets = maps[0], maps[1]
    largest = np.max(np.abs(gram))
    if tables.shape[0] > 1:
        _exchange(correlations, maps, largest, abundances, converged)
    else:
        converged[:] = False
    active, k, w = np.ones(p, np.bool_), np.zeros((p, p)), np.zeros(p)
    a, z, multiplier = np.empty(p), np.empty(p), np.empty(p)
    for pixel in range(pixels):
        if converged[pixel]:
            continue
        c = correlations[pixel]
        scale = max(largest, np.max(np.abs(c)))
        if not np.isfinite(c).all():
            abundances[pixel, :] = np.nan
            continue
        good = _descend(gram, c, active, sum_to_one, tables, offsets, k, w, a, z, multiplier, scale)
        for i in range(p):
            abundances[pixel, i] = a[i] if a[i] > 0.0 else 0.0
        converged[pixel] = good
