"""Compiled patch-wise simultaneous orthogonal matching pursuit; see `jsparsefi` for the method."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

_DEPENDENT = 1e-6  # squared sine of an atom's angle to the chosen ones below which it adds nothing


@njit(cache=True, nogil=True)
def _gather(image: Any, row: int, col: int, size: int, patch: Any) -> tuple[float, float]:
    """Fill `patch` with the pixels without their mean; return the mean and the length."""
    total = 0.0
    for i in range(size):
        for j in range(size):
            value = image[row + i, col + j]
            patch[i * size + j] = value
            total += value
    mean = total / (size * size)
    square = 0.0
    for k in range(size * size):
        patch[k] -= mean
        square += patch[k] * patch[k]
    return mean, math.sqrt(square)


@njit(cache=True, nogil=True)
def _local_dictionary(
    guides: Any, row: int, col: int, size: int, reach: int, dictionary: Any, means: Any, lengths: Any, where: Any
) -> int:
    """Fill unit-length atoms from the guide patches around (row, col); return how many there are."""
    height, width = guides.shape[1:]
    count = 0
    for g in range(guides.shape[0]):
        for r in range(max(0, row - reach), min(height - size, row + reach) + 1):
            for c in range(max(0, col - reach), min(width - size, col + reach) + 1):
                mean, length = _gather(guides[g], r, c, size, dictionary[count])
                if length > 1e-9:
                    means[count], lengths[count] = mean, length
                    where[count, 0], where[count, 1], where[count, 2] = g, r, c
                    for k in range(size * size):
                        dictionary[count, k] /= length
                    count += 1
    return count


@njit(cache=True, nogil=True)
def _best_atom(dictionary: Any, count: int, rest: Any) -> int:
    """Return the atom whose correlations with all residuals sum to the most, -1 if none correlates."""
    best, value = -1, 0.0
    for atom in range(count):
        match = 0.0
        for s in range(rest.shape[0]):
            product = 0.0
            for k in range(rest.shape[1]):
                product += dictionary[atom, k] * rest[s, k]
            match += abs(product)
        if match > value:
            best, value = atom, match
    return best


@njit(cache=True, nogil=True)
def _solve(gram: Any, right: Any, count: int, solution: Any) -> bool:
    """Solve the leading `count` normal equations by Cholesky; False where atoms are (nearly) dependent."""
    factor = np.empty((count, count))
    for i in range(count):
        for j in range(i + 1):
            total = gram[i, j]
            for m in range(j):
                total -= factor[i, m] * factor[j, m]
            if i == j and total < _DEPENDENT:
                return False
            factor[i, j] = math.sqrt(total) if i == j else total / factor[j, j]
    for s in range(right.shape[1]):
        for i in range(count):
            total = right[i, s]
            for m in range(i):
                total -= factor[i, m] * solution[m, s]
            solution[i, s] = total / factor[i, i]
        for i in range(count - 1, -1, -1):
            total = solution[i, s]
            for m in range(i + 1, count):
                total -= factor[m, i] * solution[m, s]
            solution[i, s] = total / factor[i, i]
    return True


@njit(cache=True, nogil=True)
def _pursue(dictionary: Any, count: int, signal: Any, most: int, goal: float, chosen: Any, kept: Any) -> int:
    """Choose up to `most` atoms for all signals `[q, n]`; coefficients go to `kept` `[most, q]`; return the number."""
    q, n = signal.shape
    gram, right = np.empty((most, most)), np.empty((most, q))
    solution, rest = np.zeros((most, q)), signal.copy()
    used, left = 0, np.inf
    while used < most and left > goal:
        best = _best_atom(dictionary, count, rest)
        if best < 0:
            break
        for m in range(used):
            gram[used, m] = np.dot(dictionary[chosen[m]], dictionary[best])
            gram[m, used] = gram[used, m]
        gram[used, used] = 1.0
        chosen[used] = best
        for s in range(q):
            right[used, s] = np.dot(dictionary[best], signal[s])
        if not _solve(gram, right, used + 1, solution):
            break
        kept[:, :] = solution
        used += 1
        left = 0.0
        for s in range(q):
            for k in range(n):
                value = signal[s, k]
                for m in range(used):
                    value -= kept[m, s] * dictionary[chosen[m], k]
                rest[s, k] = value
                left += value * value
    return used


@njit(cache=True, nogil=True)
def fuse_patches(
    bands: Any, guides: Any, fine_guides: Any, rows: Any, cols: Any, options: Any, stop: float, total: Any, weight: Any
) -> None:
    """Sharpen the bands of one group patch by patch; add the patches to `total` `[q, H, W]` and `weight` `[H, W]`.

    bands `[q, h, w]` in comparable scale; guides `[M, h, w]` and `[M, H, W]`; rows and cols are patch corners;
    options = (patch edge, search radius, ratio, most atoms).
    """
    size, reach, ratio, most = options
    q, guide_count = bands.shape[0], guides.shape[0]
    atoms = guide_count * (2 * reach + 1) ** 2
    dictionary, means, lengths = np.empty((atoms, size * size)), np.empty(atoms), np.empty(atoms)
    where, chosen = np.empty((atoms, 3), np.int64), np.empty(most, np.int64)
    signal, center, kept = np.empty((q, size * size)), np.empty(q), np.empty((most, q))
    edge = size * ratio
    for row in rows:
        for col in cols:
            energy = 0.0
            for s in range(q):
                center[s], length = _gather(bands[s], row, col, size, signal[s])
                energy += length * length
            count = _local_dictionary(guides, row, col, size, reach, dictionary, means, lengths, where)
            used = 0
            if energy > 0.0:
                used = _pursue(dictionary, count, signal, most, stop * stop * energy, chosen, kept)
            top, left = row * ratio, col * ratio
            weight[top : top + edge, left : left + edge] += 1.0
            for s in range(q):
                total[s, top : top + edge, left : left + edge] += center[s]
                for m in range(used):
                    atom = chosen[m]
                    g, r, c = where[atom, 0], where[atom, 1] * ratio, where[atom, 2] * ratio
                    factor = kept[m, s] / lengths[atom]
                    for i in range(edge):
                        for j in range(edge):
                            total[s, top + i, left + j] += factor * (fine_guides[g, r + i, c + j] - means[atom])
