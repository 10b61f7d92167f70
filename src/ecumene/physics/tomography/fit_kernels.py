"""Compiled kernels: off-grid maximum likelihood of K scatterers, their covariance, and model order selection.

Amplitudes are eliminated (variable projection, Golub & Pereyra, SIAM J. Numer. Anal. 10(2), 1973, with
Kaufman's Jacobian); parameters are in Rayleigh units, so that one step length fits elevation and motion.
"""

# mypy: disable-error-code="no-untyped-def"
# ruff: noqa: ANN001, ANN201, C901, D403
# (numba derives the types; a kernel is one compiled loop, which calls would not make clearer)

from __future__ import annotations

import numpy as np
from numba import njit

from ecumene.physics.tomography.l1_kernels import eliminate

_ITERATIONS = 40
_LONGEST_STEP = 0.5  # Rayleigh units
_SMALLEST_STEP = 1e-7
_REFINED_STARTS = 3


@njit(cache=True, nogil=True, fastmath=True)
def project(y, rates, theta, k, a, gram, inverse, x, r):
    """Least-squares amplitudes of given parameters; returns the residual sum of squares, -1 where atoms coincide."""
    n, looks = y.shape
    for i in range(n):
        for j in range(k):
            phase = 0.0
            for d in range(rates.shape[1]):
                phase += rates[i, d] * theta[j, d]
            a[i, j] = complex(np.cos(phase), np.sin(phase))
    for j in range(k):
        for o in range(j, k):
            total = 0.0 + 0.0j
            for i in range(n):
                total += np.conj(a[i, j]) * a[i, o]
            gram[j, o] = total
            gram[o, j] = np.conj(total)
    work = gram[:k, :k].copy()
    for j in range(k):
        for o in range(k):
            inverse[j, o] = 1.0 if j == o else 0.0
    if not eliminate(work, inverse, k, k):
        return -1.0
    for j in range(k):
        if work[j, j].real < 1e-10 * n:
            return -1.0
    for m in range(looks):
        for j in range(k):
            x[j, m] = 0.0
        for o in range(k):
            c = 0.0 + 0.0j
            for i in range(n):
                c += np.conj(a[i, o]) * y[i, m]
            for j in range(k):
                x[j, m] += inverse[j, o] * c
    rss = 0.0
    for i in range(n):
        for m in range(looks):
            value = y[i, m]
            for j in range(k):
                value -= a[i, j] * x[j, m]
            r[i, m] = value
            rss += value.real * value.real + value.imag * value.imag
    return rss


@njit(cache=True, nogil=True, fastmath=True)
def curvature(rates, k, a, inverse, x, r, hessian, gradient, cross):
    """hessian = Re(J^H J), gradient = -Re(J^H r) of the projected residual; cross = G^-1 A^H dA.

    Kept for the covariance.
    """
    n, dims = rates.shape
    looks = x.shape[1]
    moment = np.empty(k, np.complex128)
    for j in range(k):
        for d in range(dims):
            p = j * dims + d
            for o in range(k):
                total = 0.0 + 0.0j
                for i in range(n):
                    total += np.conj(a[i, o]) * a[i, j] * rates[i, d]
                moment[o] = 1j * total
            for o in range(k):
                total = 0.0 + 0.0j
                for q in range(k):
                    total += inverse[o, q] * moment[q]
                cross[o, p] = total
            slope = 0.0
            for i in range(n):
                for m in range(looks):
                    slope += rates[i, d] * (np.conj(x[j, m] * 1j * a[i, j]) * r[i, m]).real
            gradient[p, 0] = slope
    for j in range(k):
        for d in range(dims):
            p = j * dims + d
            for o in range(k):
                power = 0.0 + 0.0j
                for m in range(looks):
                    power += np.conj(x[j, m]) * x[o, m]
                for e in range(dims):
                    q = o * dims + e
                    inner = 0.0 + 0.0j
                    for i in range(n):
                        inner += np.conj(a[i, j]) * a[i, o] * (rates[i, d] * rates[i, e])
                    for s in range(k):
                        back = 0.0 + 0.0j
                        for i in range(n):
                            back += np.conj(a[i, j]) * a[i, s] * rates[i, d]
                        inner -= -1j * back * cross[s, q]
                    hessian[p, q] = (inner * power).real


@njit(cache=True, nogil=True)
def refine(y, rates, theta, k, limits, a, gram, inverse, x, r, hessian, gradient, cross):
    """Levenberg-Marquardt from theta, in place; returns the residual sum of squares, -1 where scatterers merge."""
    dims = rates.shape[1]
    size = k * dims
    rss = project(y, rates, theta, k, a, gram, inverse, x, r)
    if rss < 0.0:
        return rss
    damping = 1e-3
    trial = theta.copy()
    work = np.empty((size, size))
    step = np.empty((size, 1))
    curvature(rates, k, a, inverse, x, r, hessian, gradient, cross)
    for _ in range(_ITERATIONS):
        for p in range(size):
            for q in range(size):
                work[p, q] = hessian[p, q]
            work[p, p] *= 1.0 + damping
            step[p, 0] = gradient[p, 0]
        if not eliminate(work, step, size, 1):
            damping = max(10.0 * damping, 1e-6)
            if damping > 1e8:
                break
            continue
        longest = 0.0
        for p in range(size):
            longest = max(longest, abs(step[p, 0]))
        shrink = min(1.0, _LONGEST_STEP / longest) if longest > 0.0 else 1.0
        for j in range(k):
            for d in range(dims):
                moved = theta[j, d] + shrink * step[j * dims + d, 0]
                trial[j, d] = min(max(moved, limits[d, 0]), limits[d, 1])
        after = project(y, rates, trial, k, a, gram, inverse, x, r)
        if after >= 0.0 and after <= rss:
            small = longest < _SMALLEST_STEP
            rss = after
            theta[:k] = trial[:k]
            damping *= 0.1
            curvature(rates, k, a, inverse, x, r, hessian, gradient, cross)
            if small:
                return rss
        else:
            if longest < 1e-5 and damping < 1.0:
                break  # rounding, not curvature, stops the descent
            damping *= 10.0
            if damping > 1e8:
                break
    rss = project(y, rates, theta, k, a, gram, inverse, x, r)
    curvature(rates, k, a, inverse, x, r, hessian, gradient, cross)
    return rss


@njit(cache=True, nogil=True)
def spread(noise, k, dims, inverse_gram, x, hessian, cross, out, amplitude_out, phase_out):
    """Standard deviations from the inverse Fisher information (the Cramer-Rao bound at the estimate)."""
    size = k * dims
    looks = x.shape[1]
    work = hessian[:size, :size].copy()
    covariance = np.eye(size)
    if not eliminate(work, covariance, size, size):
        return False
    radial, turn = np.empty(size), np.empty(size)
    for j in range(k):
        for d in range(dims):
            variance = 0.5 * noise * covariance[j * dims + d, j * dims + d]
            if not variance >= 0.0:
                return False
            out[j, d] = np.sqrt(variance)
        power = 0.0
        for m in range(looks):
            power += x[j, m].real ** 2 + x[j, m].imag ** 2
        rms = np.sqrt(power / looks)
        own = 0.5 * noise * inverse_gram[j, j].real
        for p in range(size):
            radial[p] = 0.0
            for m in range(looks):
                radial[p] -= (np.conj(x[j, m]) * cross[j, p] * x[p // dims, m]).real / (looks * rms)
        amplitude_out[j] = np.sqrt(own / looks + 0.5 * noise * quadratic(covariance, radial))
        for m in range(looks):
            strength = x[j, m].real ** 2 + x[j, m].imag ** 2
            for p in range(size):
                turn[p] = -(np.conj(x[j, m]) * cross[j, p] * x[p // dims, m]).imag / strength
            phase_out[j, m] = np.sqrt(own / strength + 0.5 * noise * quadratic(covariance, turn))
    return True


@njit(cache=True, nogil=True)
def quadratic(matrix, vector):
    """v^T M v, at least 0."""
    total = 0.0
    for i in range(vector.size):
        for j in range(vector.size):
            total += vector[i] * matrix[i, j] * vector[j]
    return max(total, 0.0)


@njit(cache=True, nogil=True)
def next_subset(subset, k, count):
    """The next k of count places in lexicographic order, in place."""
    for i in range(k - 1, -1, -1):
        if subset[i] < count - k + i:
            subset[i] += 1
            for j in range(i + 1, k):
                subset[j] = subset[j - 1] + 1
            return True
    return False


@njit(cache=True, nogil=True)
def best_subsets(gram, moments, count, k, starts, chosen, gains):
    """The subsets of k candidates that explain most energy: gains descending, places in chosen[s, :k]."""
    looks = moments.shape[1]
    subset = np.arange(k)
    work = np.empty((k, k), np.complex128)
    columns = np.empty((k, looks), np.complex128)
    gains[:] = -1.0
    more = count >= k
    while more:
        for i in range(k):
            for j in range(k):
                work[i, j] = gram[subset[i], subset[j]]
            for m in range(looks):
                columns[i, m] = moments[subset[i], m]
        gain = -1.0
        if eliminate(work, columns, k, looks):
            gain = 0.0
            for i in range(k):
                for m in range(looks):
                    gain += (np.conj(moments[subset[i], m]) * columns[i, m]).real
        place = starts
        while place > 0 and gain > gains[place - 1]:
            place -= 1
        if place < starts:
            for s in range(starts - 1, place, -1):
                gains[s] = gains[s - 1]
                chosen[s] = chosen[s - 1]
            gains[place] = gain
            chosen[place, :k] = subset
        more = next_subset(subset, k, count)


@njit(cache=True, nogil=True)
def apart(theta, k):
    """The smallest distance between scatterers, in Rayleigh units."""
    nearest = np.inf
    for i in range(k):
        for j in range(i):
            total = 0.0
            for d in range(theta.shape[1]):
                total += (theta[i, d] - theta[j, d]) ** 2
            nearest = min(nearest, np.sqrt(total))
    return nearest


@njit(cache=True, nogil=True)
def select_pixels(
    data,
    rates,
    points,
    limits,
    candidates,
    noise,
    penalties,
    separation,
    start,
    stop,
    order_out,
    theta_out,
    theta_std,
    x_out,
    x_std,
    phase_std,
    rss_out,
    scores,
):
    """Choose the order and estimate the scatterers of pixels `start`..`stop`; results go to the last eight arrays.

    One function, because its parts share some twenty work arrays that are made once for all pixels.
    """
    n, looks = data.shape[1:]
    dims = rates.shape[1]
    largest = penalties.size - 1
    width = candidates.shape[1]
    a = np.empty((n, max(largest, width)), np.complex128)
    gram = np.empty((width, width), np.complex128)
    small, inverse = np.empty((largest, largest), np.complex128), np.empty((largest, largest), np.complex128)
    x, r = np.empty((largest, looks), np.complex128), np.empty((n, looks), np.complex128)
    size = largest * dims
    hessian, gradient = np.empty((size, size)), np.empty((size, 1))
    cross = np.empty((largest, size), np.complex128)
    theta = np.zeros((largest, dims))
    best_theta = np.zeros((largest, dims))
    moments = np.empty((width, looks), np.complex128)
    chosen = np.zeros((_REFINED_STARTS, largest), np.int64)
    gains = np.empty(_REFINED_STARTS)
    for p in range(start, stop):
        y = data[p]
        count = 0
        while count < width and candidates[p, count] >= 0:
            count += 1
        energy = 0.0
        for i in range(n):
            for m in range(looks):
                energy += y[i, m].real ** 2 + y[i, m].imag ** 2
            for j in range(count):
                phase = 0.0
                for d in range(dims):
                    phase += rates[i, d] * points[candidates[p, j], d]
                a[i, j] = complex(np.cos(phase), np.sin(phase))
        for j in range(count):
            for m in range(looks):
                moments[j, m] = 0.0
                for i in range(n):
                    moments[j, m] += np.conj(a[i, j]) * y[i, m]
            for o in range(count):
                gram[j, o] = 0.0
                for i in range(n):
                    gram[j, o] += np.conj(a[i, j]) * a[i, o]
        # Unknown noise (noise <= 0): the profile likelihood 2 N M ln(rss / (N M)) takes the place of 2 rss / sigma^2.
        known = noise[p] > 0.0
        floor = 1e-30 * energy + 1e-300
        samples = n * looks
        best = 2.0 * energy / noise[p] if known else 2.0 * samples * np.log(max(energy, floor) / samples)
        best += penalties[0]
        scores[p, 0] = best
        order, rss = 0, energy
        for k in range(1, min(largest, count) + 1):
            best_subsets(gram, moments, count, k, _REFINED_STARTS, chosen, gains)
            least = np.inf
            for s in range(_REFINED_STARTS):
                if gains[s] <= 0.0:
                    break
                for j in range(k):
                    theta[j] = points[candidates[p, chosen[s, j]]]
                value = refine(y, rates, theta, k, limits, a, small, inverse, x, r, hessian, gradient, cross)
                if value >= 0.0 and value < least and (k == 1 or apart(theta[:k], k) >= separation):
                    least = value
                    best_theta[:k] = theta[:k]
            if not np.isfinite(least):
                continue
            score = 2.0 * least / noise[p] if known else 2.0 * samples * np.log(max(least, floor) / samples)
            score += penalties[k]
            scores[p, k] = score
            if score < best:
                best, order, rss = score, k, least
                theta_out[p, :k] = best_theta[:k]
        order_out[p] = order
        rss_out[p] = rss
        if order > 0:
            project(y, rates, theta_out[p], order, a, small, inverse, x, r)
            curvature(rates, order, a, inverse, x, r, hessian, gradient, cross)
            freedom = max(samples - 0.5 * order * (2 * looks + dims), 0.5)
            level = noise[p] if known else rss / freedom
            good = spread(level, order, dims, inverse, x, hessian, cross, theta_std[p], x_std[p], phase_std[p])
            if not good:
                theta_std[p, :order] = np.inf
                x_std[p, :order] = np.inf
                phase_std[p, :order] = np.inf
            x_out[p, :order] = x[:order]
