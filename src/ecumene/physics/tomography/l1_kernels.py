"""Compiled kernels of the active-set solver of the complex L1 problem; see `l1` for the mathematics.

All kernels work on one pixel with the arrays of a caller's workspace; `solve_pixels` loops over a range of
pixels without the interpreter lock. Real and imaginary parts are split where loops run over atoms, so that
they vectorise.
"""

# mypy: disable-error-code="no-untyped-def"
# ruff: noqa: ANN001, ANN201, C901, D403
# (numba derives the types; a kernel is one compiled loop, which calls would not make clearer)

from __future__ import annotations

import numpy as np
from numba import njit

_INNER = 60  # Newton steps on one active set; quadratic convergence needs 3 to 8
_HALVINGS = 8
_LOOSE = 1e-3  # of kappa: while the set of atoms still grows
_TIGHT = 1e-10


@njit(cache=True, nogil=True, fastmath=True)
def correlate(dr, di, rr, ri, zr, zi):
    """z := A^H r, `[M, L]`, from split real and imaginary parts."""
    n, atoms = dr.shape
    looks = rr.shape[1]
    for m in range(looks):
        for atom in range(atoms):
            zr[m, atom] = 0.0
            zi[m, atom] = 0.0
        for k in range(n):
            a, b = rr[k, m], ri[k, m]
            for atom in range(atoms):
                zr[m, atom] += dr[k, atom] * a + di[k, atom] * b
                zi[m, atom] += dr[k, atom] * b - di[k, atom] * a


@njit(cache=True, nogil=True, fastmath=True)
def strongest(zr, zi, power):
    """Fill `power` with |z_l|^2 over snapshots and return the atom of most power."""
    looks, atoms = zr.shape
    for atom in range(atoms):
        power[atom] = zr[0, atom] * zr[0, atom] + zi[0, atom] * zi[0, atom]
    for m in range(1, looks):
        for atom in range(atoms):
            power[atom] += zr[m, atom] * zr[m, atom] + zi[m, atom] * zi[m, atom]
    best = 0
    for atom in range(1, atoms):
        if power[atom] > power[best]:
            best = atom
    return best


@njit(cache=True, nogil=True, fastmath=True)
def eliminate(a, columns, size, width):
    """Solve a[:size, :size] X = columns[:size, :width] in place, by elimination without pivoting.

    Callers pass matrices whose leading minors are positive (symmetric positive definite, or I + G H of such), so
    that pivots are positive.
    """
    for i in range(size):
        pivot = a[i, i].real
        if not pivot > 0.0:
            return False
        inverse = 1.0 / pivot
        for j in range(i + 1, size):
            factor = a[j, i] * inverse
            for k in range(i + 1, size):
                a[j, k] -= factor * a[i, k]
            for k in range(width):
                columns[j, k] -= factor * columns[i, k]
    for i in range(size - 1, -1, -1):
        inverse = 1.0 / a[i, i].real
        for j in range(i + 1, size):
            factor = a[i, j]
            for k in range(width):
                columns[i, k] -= factor * columns[j, k]
        for k in range(width):
            columns[i, k] *= inverse
    return True


@njit(cache=True, nogil=True)
def dual(gram, moments, eta, kappa, k, looks, matrix, columns):
    """columns := (I + G H / kappa)^-1 [G | C]: the first k columns are W = A^H S^-1 A, the rest Z = A^H S^-1 Y."""
    for i in range(k):
        for j in range(k):
            matrix[i, j] = gram[i, j] * (eta[j] / kappa)
            columns[i, j] = gram[i, j]
        matrix[i, i] += 1.0
        for m in range(looks):
            columns[i, k + m] = moments[i, m]
    eliminate(matrix, columns, k, k + looks)
    value = 0.0
    for i in range(k):
        fit = 0.0
        for m in range(looks):
            c, z = moments[i, m], columns[i, k + m]
            fit += c.real * z.real + c.imag * z.imag
        value += 0.5 * kappa * eta[i] - 0.5 * fit * eta[i] / kappa
    return value  # the reduced objective, without its constant 0.5 |Y|^2


@njit(cache=True, nogil=True)
def norms_of(columns, k, looks, norms):
    """|z_l| of the active atoms."""
    for i in range(k):
        total = 0.0
        for m in range(looks):
            z = columns[i, k + m]
            total += z.real * z.real + z.imag * z.imag
        norms[i] = np.sqrt(total)


@njit(cache=True, nogil=True)
def newton_steps(columns, norms, eta, kappa, k, looks, hessian, step):
    """step[:, 0]: Newton on kappa/|z_l| = 1, which is linear in eta for a single atom.

    Rows scaled to a symmetric matrix; step[:, 1]: Newton on the reduced objective itself, always a descent
    direction.
    """
    trace = 0.0
    for i in range(k):
        for j in range(k):
            inner = 0.0 + 0.0j
            for m in range(looks):
                inner += columns[j, k + m] * np.conj(columns[i, k + m])
            hessian[i, j] = (columns[i, j] * inner).real
        trace += hessian[i, i]
        step[i, 0] = norms[i] * norms[i] * (norms[i] - kappa)
        step[i, 1] = 0.5 * kappa * (norms[i] * norms[i] - kappa * kappa)
    for i in range(k):
        hessian[i, i] += 1e-15 * trace
    return eliminate(hessian, step, k, 2)


@njit(cache=True, nogil=True)
def advance(eta, step, way, length, k, trial):
    """Go along a direction, at most to the first bound.

    Coherent atoms give long steps that only make sense up to there.
    """
    reach, first = length, -1
    for i in range(k):
        if eta[i] + reach * step[i, way] < 0.0:
            reach, first = -eta[i] / step[i, way], i
    for i in range(k):
        trial[i] = max(0.0, eta[i] + reach * step[i, way])
    if first >= 0:
        trial[first] = 0.0


@njit(cache=True, nogil=True)
def descend(gram, moments, eta, kappa, energy, k, looks):
    """One sweep of exact block coordinate descent on the amplitudes: slow, but it always decreases the objective."""
    x = np.empty((k, looks), np.complex128)
    matrix = np.empty((k, k), np.complex128)
    columns = np.empty((k, k + looks), np.complex128)
    dual(gram, moments, eta, kappa, k, looks, matrix, columns)
    for i in range(k):
        for m in range(looks):
            x[i, m] = columns[i, k + m] * (eta[i] / kappa)
    for i in range(k):
        total = 0.0
        for m in range(looks):
            z = moments[i, m]
            for j in range(k):
                if j != i:
                    z -= gram[i, j] * x[j, m]
            x[i, m] = z
            total += z.real * z.real + z.imag * z.imag
        size = np.sqrt(total)
        shrink = max(0.0, 1.0 - kappa / size) / energy if size > 0 else 0.0
        for m in range(looks):
            x[i, m] *= shrink
        eta[i] = size * shrink


@njit(cache=True, nogil=True)
def settle(
    active, gram, moments, eta, kappa, energy, k, looks, matrix, columns, hessian, step, norms, trial, tolerance
):
    """Minimise over eta >= 0 on the active set; drops atoms that reach zero. Returns the new size of the set."""
    value = dual(gram, moments, eta, kappa, k, looks, matrix, columns)
    for _ in range(_INNER):
        norms_of(columns, k, looks, norms)
        worst = 0.0
        for i in range(k):
            worst = max(worst, abs(norms[i] - kappa))
        if worst <= tolerance * kappa:
            break
        accepted = False
        after = value
        if newton_steps(columns, norms, eta, kappa, k, looks, hessian, step):
            length = 1.0
            for attempt in range(_HALVINGS):
                advance(eta, step, min(attempt, 1), length, k, trial)
                after = dual(gram, moments, trial, kappa, k, looks, matrix, columns)
                if after <= value + 1e-13 * abs(value):
                    accepted = True
                    break
                if attempt > 0:
                    length *= 0.25
        if not accepted:
            for i in range(k):
                trial[i] = eta[i]
            descend(gram, moments, trial, kappa, energy, k, looks)
        kept = 0
        for i in range(k):
            if trial[i] > 0.0:
                if kept != i:
                    active[kept] = active[i]
                    for m in range(looks):
                        moments[kept, m] = moments[i, m]
                    for j in range(k):
                        gram[kept, j] = gram[i, j]
                    for j in range(k):
                        gram[j, kept] = gram[j, i]
                eta[kept] = trial[i]
                kept += 1
        if accepted and kept == k:
            value = after  # the columns already belong to this eta
        else:
            k = kept
            value = dual(gram, moments, eta, kappa, k, looks, matrix, columns)
    return k


@njit(cache=True, nogil=True)
def residual(dr, di, active, columns, eta, kappa, k, yr, yi, rr, ri):
    """r := Y - A X of the active atoms."""
    n, looks = yr.shape
    for i in range(n):
        for m in range(looks):
            a, b = yr[i, m], yi[i, m]
            for j in range(k):
                x = columns[j, k + m] * (eta[j] / kappa)
                u, v = dr[i, active[j]], di[i, active[j]]
                a -= u * x.real - v * x.imag
                b -= u * x.imag + v * x.real
            rr[i, m] = a
            ri[i, m] = b


@njit(cache=True, nogil=True, fastmath=True)
def correlate_gram(gr, gi, active, columns, eta, kappa, k, cr, ci, zr, zi):
    """Correlations of the residual from the Gram matrix of all atoms.

    Few active atoms make this cheaper than A^H r.
    """
    looks, atoms = zr.shape
    for m in range(looks):
        for atom in range(atoms):
            zr[m, atom] = cr[m, atom]
            zi[m, atom] = ci[m, atom]
        for j in range(k):
            x = columns[j, k + m] * (eta[j] / kappa)
            a, b, row = x.real, x.imag, active[j]
            for atom in range(atoms):  # the column of G is the conjugate of its row
                zr[m, atom] -= gr[row, atom] * a + gi[row, atom] * b
                zi[m, atom] -= gr[row, atom] * b - gi[row, atom] * a


@njit(cache=True, nogil=True)
def relative_gap(energy, columns, moments, eta, kappa, k, looks, largest):
    """Duality gap over the objective of the zero solution.

    The dual point is the residual scaled into the feasible set.
    """
    if energy <= 0.0:
        return 0.0
    scale = min(1.0, kappa / largest) if largest > 0.0 else 1.0
    fit, back, norm = 0.0, 0.0, 0.0
    for j in range(k):
        power = 0.0
        for m in range(looks):
            z, c = columns[j, k + m], moments[j, m]
            fit += (c.real * z.real + c.imag * z.imag) * eta[j] / kappa
            power += z.real * z.real + z.imag * z.imag
        back += power * eta[j] / kappa
        norm += np.sqrt(power) * eta[j] / kappa
    across = energy - fit  # <y, r>
    rest = across - back  # <r, r>
    primal = 0.5 * rest + kappa * norm
    return 2.0 * (primal - (scale * across - 0.5 * scale * scale * rest)) / energy


@njit(cache=True, nogil=True)
def solve_pixels(
    dr,
    di,
    gr,
    gi,
    yr,
    yi,
    kappas,
    tolerance,
    steps,
    start,
    stop,
    index,
    amplitude,
    eta_out,
    sizes,
    gaps,
):
    """Solve pixels `start`..`stop`; results go to the last five arrays.

    One function, because its parts share some twenty work arrays that are made once for all pixels.
    """
    n, looks = yr.shape[1:]
    atoms = dr.shape[1]
    capacity = index.shape[1]
    with_gram = gr.shape[0] == atoms
    norm = 0.0
    for i in range(n):
        norm += dr[i, 0] ** 2 + di[i, 0] ** 2
    zr, zi = np.empty((looks, atoms)), np.empty((looks, atoms))
    cr, ci = np.empty((looks, atoms)), np.empty((looks, atoms))
    power = np.empty(atoms)
    rr, ri = np.empty((n, looks)), np.empty((n, looks))
    active = np.empty(capacity, np.int64)
    gram = np.empty((capacity, capacity), np.complex128)
    moments = np.empty((capacity, looks), np.complex128)
    matrix = np.empty((capacity, capacity), np.complex128)
    columns = np.empty((capacity, capacity + looks), np.complex128)
    hessian, step = np.empty((capacity, capacity)), np.empty((capacity, 2))
    eta, norms, trial = np.empty(capacity), np.empty(capacity), np.empty(capacity)
    for p in range(start, stop):
        kappa = kappas[p]
        y_r, y_i = yr[p], yi[p]
        energy = 0.0
        for i in range(n):
            for m in range(looks):
                energy += y_r[i, m] ** 2 + y_i[i, m] ** 2
        correlate(dr, di, y_r, y_i, cr, ci)
        best = strongest(cr, ci, power)
        k = 0
        gap = 0.0
        accuracy = _LOOSE
        for _ in range(steps):
            largest = np.sqrt(power[best])
            gap = relative_gap(energy, columns, moments, eta, kappa, k, looks, largest)
            if gap <= tolerance or (k == 0 and largest <= kappa):
                break
            known, added = largest <= kappa, False
            for j in range(k):
                known = known or active[j] == best
            if known or k == capacity:
                # No new atom helps: the set is settled to the last digit before its gap is believed.
                if accuracy == _TIGHT:
                    break
                accuracy = _TIGHT
            else:
                for j in range(k):
                    total = 0.0 + 0.0j
                    for i in range(n):
                        total += complex(dr[i, active[j]], -di[i, active[j]]) * complex(dr[i, best], di[i, best])
                    gram[j, k] = total
                    gram[k, j] = np.conj(total)
                gram[k, k] = norm
                active[k] = best
                eta[k] = 0.0
                for m in range(looks):
                    moments[k, m] = complex(cr[m, best], ci[m, best])
                k += 1
                added = True
            k = settle(
                active,
                gram,
                moments,
                eta,
                kappa,
                norm,
                k,
                looks,
                matrix,
                columns,
                hessian,
                step,
                norms,
                trial,
                accuracy,
            )
            if added:
                kept = False
                for j in range(k):
                    kept = kept or active[j] == best
                if not kept:  # it was refused because the others were not settled yet
                    accuracy = _TIGHT
            if with_gram:
                correlate_gram(gr, gi, active, columns, eta, kappa, k, cr, ci, zr, zi)
            else:
                residual(dr, di, active, columns, eta, kappa, k, y_r, y_i, rr, ri)
                correlate(dr, di, rr, ri, zr, zi)
            best = strongest(zr, zi, power)
        sizes[p] = k
        gaps[p] = gap
        for j in range(k):
            index[p, j] = active[j]
            eta_out[p, j] = eta[j]
            for m in range(looks):
                amplitude[p, j, m] = columns[j, k + m] * (eta[j] / kappa)
