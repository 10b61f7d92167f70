# ruff: noqa: ANN001, ANN201, ANN202 - numba infers the types of compiled functions
"""The small-baseline inversion of one pixel, compiled, and the loop over pixels."""

from __future__ import annotations

import numba
import numpy as np

_RELATIVE_RANK = 1e-9  # eigenvalues of the normal matrix below this share of the largest are zero
_BISECTIONS = 60
_SETTLED = 1e-5  # relative change of the acquisition variance, whose own error is some ten per cent


@numba.njit(cache=True, nogil=True)
def _normal(phase, weight, first, second, fisher, right):  # type: ignore[no-untyped-def]
    """Fill F = A'WA and z = A'W phase; return (phase' W phase, number of observations)."""
    fisher[:] = 0.0
    right[:] = 0.0
    total = 0.0
    count = 0
    for m in range(phase.size):
        w = weight[m]
        if w <= 0.0:
            continue
        count += 1
        i, j = first[m], second[m]
        fisher[i, i] += w
        fisher[j, j] += w
        fisher[i, j] -= w
        fisher[j, i] -= w
        right[i] -= w * phase[m]
        right[j] += w * phase[m]
        total += w * phase[m] * phase[m]
    return total, count


@numba.njit(cache=True, nogil=True)
def _fit(values, data, basis, variance, scale, matrix, beta, check):  # type: ignore[no-untyped-def]
    """Generalised least squares in the eigenbasis; return False where the design is singular (if asked to check).

    The eigenmode k has the information `values[k] / scale` about the acquisition phases plus an independent
    acquisition noise of `variance`: weight `1 / (scale / values[k] + variance)`.
    """
    size = beta.size
    matrix[:] = 0.0
    vector = np.zeros(size)
    for k in range(values.size):
        if values[k] <= 0.0:
            continue
        w = 1.0 / (scale / values[k] + variance)
        y = data[k] / values[k]
        for a in range(size):
            vector[a] += w * basis[k, a] * y
            for b in range(size):
                matrix[a, b] += w * basis[k, a] * basis[k, b]
    norms = np.empty(size)
    for a in range(size):
        if matrix[a, a] <= 0.0:
            return False
        norms[a] = np.sqrt(matrix[a, a])
    scaled = matrix.copy()
    for a in range(size):
        for b in range(size):
            scaled[a, b] /= norms[a] * norms[b]
    if check and np.linalg.eigvalsh(scaled)[0] < 1e-10:
        return False
    inverse = np.linalg.inv(scaled)
    for a in range(size):
        beta[a] = 0.0
        for b in range(size):
            matrix[a, b] = inverse[a, b] / (norms[a] * norms[b])
            beta[a] += matrix[a, b] * vector[b]
    return True


@numba.njit(cache=True, nogil=True)
def _misfit(values, data, basis, variance, scale, beta):  # type: ignore[no-untyped-def]
    total = 0.0
    for k in range(values.size):
        if values[k] <= 0.0:
            continue
        residual = data[k] / values[k]
        for a in range(beta.size):
            residual -= basis[k, a] * beta[a]
        total += residual * residual / (scale / values[k] + variance)
    return total


@numba.njit(cache=True, nogil=True)
def _acquisition_variance(values, data, basis, scale, freedom, matrix, beta):  # type: ignore[no-untyped-def]
    """Mandel and Paule's estimate: the variance with which the misfit is as large as its degrees of freedom."""
    _fit(values, data, basis, 0.0, scale, matrix, beta, False)
    if freedom <= 0 or _misfit(values, data, basis, 0.0, scale, beta) <= freedom:
        return 0.0
    low, high = 0.0, 1e-6
    while high < 1e12:  # radians squared
        _fit(values, data, basis, high, scale, matrix, beta, False)
        if _misfit(values, data, basis, high, scale, beta) <= freedom:
            break
        low = high
        high *= 4.0
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        _fit(values, data, basis, middle, scale, matrix, beta, False)
        if _misfit(values, data, basis, middle, scale, beta) > freedom:
            low = middle
        else:
            high = middle
        if high - low <= _SETTLED * high:
            break
    return high


@numba.njit(cache=True, nogil=True)
def _series(values, vectors, data, basis, beta, scale, design, series, deviation):  # type: ignore[no-untyped-def]
    """Acquisition phases relative to the first one; subsets without a link are bridged by the model."""
    count = design.shape[0]
    for n in range(count):
        total, variance = 0.0, 0.0
        for a in range(beta.size):
            total += (design[n, a] - design[0, a]) * beta[a]
        for k in range(values.size):
            if values[k] <= 0.0:
                continue
            step = vectors[n, k] - vectors[0, k]
            residual = data[k] / values[k]
            for a in range(beta.size):
                residual -= basis[k, a] * beta[a]
            total += step * residual
            variance += step * step * scale / values[k]
        series[n] = total
        deviation[n] = np.sqrt(variance)


@numba.njit(cache=True, nogil=True)
def _coherence(phase, weight, first, second, series):  # type: ignore[no-untyped-def]
    real, imaginary, total = 0.0, 0.0, 0.0
    for m in range(phase.size):
        if weight[m] > 0.0:
            angle = phase[m] - (series[second[m]] - series[first[m]])
            real += np.cos(angle)
            imaginary += np.sin(angle)
            total += 1.0
    return np.sqrt(real * real + imaginary * imaginary) / total


@numba.njit(cache=True, nogil=True)
def _decompose(fisher, right, design, data, basis):  # type: ignore[no-untyped-def]
    """Eigenmodes of the network, zero where it is blind; fills data and design in their basis."""
    values, vectors = np.linalg.eigh(fisher)
    count, size = design.shape
    limit = _RELATIVE_RANK * values[-1]
    rank = 0
    for k in range(count):
        if values[k] <= limit:
            values[k] = 0.0
            continue
        rank += 1
        for n in range(count):
            data[k] += vectors[n, k] * right[n]
            for a in range(size):
                basis[k, a] += vectors[n, k] * design[n, a]
    return values, vectors, rank


@numba.njit(cache=True, nogil=True)
def _invert_pixel(phase, weight, first, second, design, rescale, parameters, covariance, series, deviation, quality):  # type: ignore[no-untyped-def]
    count, size = design.shape
    fisher, right = np.empty((count, count)), np.empty(count)
    within, observations = _normal(phase, weight, first, second, fisher, right)
    quality[0], quality[1] = -1.0, observations
    if observations == 0:
        return
    data, basis = np.zeros(count), np.zeros((count, size))
    values, vectors, rank = _decompose(fisher, right, design, data, basis)
    for k in range(count):
        if values[k] > 0.0:
            within -= data[k] * data[k] / values[k]
    scale = 1.0
    if rescale and observations > rank:
        scale = max(within / (observations - rank), 1.0)
    matrix, beta = np.zeros((size, size)), np.zeros(size)
    if rank < size or not _fit(values, data, basis, 0.0, scale, matrix, beta, True):
        return
    freedom = rank - size
    plain = _misfit(values, data, basis, 0.0, scale, beta) / freedom if freedom > 0 else np.nan
    variance = _acquisition_variance(values, data, basis, scale, freedom, matrix, beta)
    _fit(values, data, basis, variance, scale, matrix, beta, False)
    parameters[:] = beta
    covariance[:] = matrix
    _series(values, vectors, data, basis, beta, scale, design, series, deviation)
    quality[0], quality[2], quality[3], quality[4] = rank, scale, variance, plain
    quality[5] = _coherence(phase, weight, first, second, series)


@numba.njit(cache=True, nogil=True, parallel=True)
def invert_pixels(phase, weight, first, second, design, rescale, parameters, covariance, series, deviation, quality):  # type: ignore[no-untyped-def]
    """Invert every pixel.

    Args:
        phase: float64 `[P, M]`, finite where the weight is positive.
        weight: float64 `[P, M]`, inverse variance of the phases; 0: no data.
        first: int64 `[M]`, acquisition of the first image.
        second: int64 `[M]`.
        design: float64 `[N, D]`, phase of an acquisition per unit of every parameter.
        rescale: Lower the weights where the misfit within the network is larger than they say.
        parameters: Filled, `[P, D]`.
        covariance: Filled, `[P, D, D]`.
        series: Filled, `[P, N]`.
        deviation: Filled, `[P, N]`.
        quality: Filled, `[P, 6]`: rank, observations, variance of unit weight, acquisition variance, misfit of the
            model per degree of freedom without acquisition noise, temporal coherence; rank -1: not invertible.
    """
    for p in numba.prange(phase.shape[0]):
        _invert_pixel(
            phase[p],
            weight[p],
            first,
            second,
            design,
            rescale,
            parameters[p],
            covariance[p],
            series[p],
            deviation[p],
            quality[p],
        )
