"""Complex L1 (and joint L2,1) inversion of many pixels with one dictionary: an active-set Newton method.

For every pixel, with data Y (N samples x M snapshots) and dictionary A (N x L, columns of squared norm N),

    minimise over X:   0.5 |Y - A X|_F^2 + kappa sum_l |x_l|_2            (1)

where x_l is row l of X; M = 1 is the complex LASSO ("basis pursuit denoising", Chen, Donoho & Saunders,
SIAM J. Sci. Comput. 20(1), 1998), used for tomography by Zhu & Bamler, IEEE TGRS 48(10), 2010.

Writing |x| = min over eta >= 0 of (|x|^2 / eta + eta) / 2 and eliminating X gives a smooth convex problem
with one real unknown a row, whatever M is (the compact form of Steffens, Pesavento & Pfetsch, IEEE TSP
66(6), 2018):

    minimise over eta >= 0:  0.5 tr(Y^H S^-1 Y) + kappa/2 sum eta,   S = I + A diag(eta) A^H / kappa   (2)

with X = diag(eta) A^H S^-1 Y / kappa and S^-1 Y equal to the residual of (1). Few eta are not zero, so (2)
is solved on a growing set of atoms by Newton steps on kappa / |a_l^H S^-1 Y| = 1, which is linear in eta for
one atom; a step that does not decrease (2) is replaced by a sweep of block coordinate descent, which
always does. The set grows by the atom that violates optimality most, until the duality gap is small.
Unlike FISTA or ADMM the cost a pixel depends on the number of scatterers, not on the coherence of A.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.core.threads import run_ranges

_LARGEST_GRAM = 512  # atoms; a larger Gram matrix leaves the processor's cache


@dataclass(frozen=True)
class SparseProfiles:
    """Sparse reflectivity profiles of P pixels; unused places have index -1 and amplitude 0.

    Attributes:
        index: Atoms in use, `[P, C]`.
        amplitude: Complex amplitudes of (1), biased towards zero by kappa, `[P, C, M]`.
        count: Atoms in use, `[P]`.
        gap: Duality gap over the objective of the zero profile, `[P]`.
        converged: Whether the gap is within the tolerance, `[P]`.
        atoms: Size of the dictionary.
    """

    index: NDArray[np.int64]
    amplitude: NDArray[np.complex128]
    count: NDArray[np.int64]
    gap: NDArray[np.float64]
    converged: NDArray[np.bool_]
    atoms: int

    def dense(self) -> NDArray[np.complex128]:
        """Return the profiles on the whole grid, `[P, L, M]`."""
        looks = self.amplitude.shape[2]
        full = np.zeros((self.count.size, self.atoms + 1, looks), np.complex128)  # the last row takes unused places
        np.put_along_axis(full, np.repeat(self.index[:, :, None] % (self.atoms + 1), looks, axis=2), self.amplitude, 1)
        return full[:, : self.atoms]


def solve_l1(
    dictionary: NDArray[np.complex128],
    data: NDArray[np.complex128],
    threshold: ArrayLike,
    *,
    tolerance: float = 1e-6,
    capacity: int | None = None,
    threads: int | None = None,
) -> SparseProfiles:
    """Solve (1) for every pixel.

    Args:
        dictionary: `[N, L]`, all columns of one norm.
        data: `[P, N]` or, with snapshots that share their support, `[P, N, M]`.
        threshold: kappa of (1), in units of data times N, one number or `[P]`, positive.
        tolerance: Largest duality gap over the objective of the zero profile, at least 1e-10.
        capacity: Most atoms in use at once; None: N, at most 32.
        threads: Threads; None: all processors. The result does not depend on it.

    Returns:
        Sparse profiles; their error is bounded by the gap.

    Raises:
        ConfigurationError: If shapes do not fit, data or thresholds are not finite, or columns differ in norm.
    """
    columns = np.asarray(dictionary, np.complex128)
    stack = np.asarray(data, np.complex128)
    stack = stack[:, :, None] if stack.ndim == 2 else stack
    if columns.ndim != 2 or stack.ndim != 3 or stack.shape[1] != columns.shape[0]:
        raise ConfigurationError(
            f"Data of shape {np.shape(data)} do not fit a dictionary of shape {np.shape(dictionary)}; "
            "give pixels x acquisitions (x snapshots)."
        )
    if not np.isfinite(stack).all():
        raise ConfigurationError("The data hold values that are not finite; leave such pixels out.")
    norms = np.linalg.norm(columns, axis=0)
    if not np.allclose(norms, norms[0], rtol=1e-9) or norms[0] == 0:
        raise ConfigurationError("The columns of the dictionary differ in norm; scale them to one norm.")
    kappa = np.broadcast_to(np.asarray(threshold, np.float64), stack.shape[:1])
    if not (np.isfinite(kappa).all() and (kappa > 0).all()):
        raise ConfigurationError("The L1 threshold must be a positive number for every pixel; give the noise level.")
    if not 1e-10 <= tolerance < 1:
        raise ConfigurationError(f"The tolerance of the L1 solver must lie between 1e-10 and 1, not {tolerance}.")
    return _run(columns, reduce_snapshots(stack), stack, np.ascontiguousarray(kappa), tolerance, capacity, threads)


def reduce_snapshots(stack: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Replace more snapshots than acquisitions by N equivalent ones (same Y Y^H, so same support and powers)."""
    n, looks = stack.shape[1:]
    if looks <= n:
        return stack
    values, vectors = np.linalg.eigh(stack @ stack.conj().transpose(0, 2, 1))
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :])


def _run(
    columns: NDArray[np.complex128],
    reduced: NDArray[np.complex128],
    stack: NDArray[np.complex128],
    kappa: NDArray[np.float64],
    tolerance: float,
    capacity: int | None,
    threads: int | None,
) -> SparseProfiles:
    from ecumene.physics.tomography.l1_kernels import solve_pixels

    pixels, n, looks = reduced.shape
    atoms = columns.shape[1]
    size = min(atoms, capacity if capacity is not None else min(n, 32))
    index = np.full((pixels, size), -1, np.int64)
    amplitude = np.zeros((pixels, size, looks), np.complex128)
    eta = np.zeros((pixels, size))
    count, gap = np.zeros(pixels, np.int64), np.zeros(pixels)
    real, imaginary = np.ascontiguousarray(columns.real), np.ascontiguousarray(columns.imag)
    gram = columns.conj().T @ columns if atoms <= _LARGEST_GRAM else np.empty((0, 0), np.complex128)
    gram_real, gram_imaginary = np.ascontiguousarray(gram.real), np.ascontiguousarray(gram.imag)
    y_real, y_imaginary = np.ascontiguousarray(reduced.real), np.ascontiguousarray(reduced.imag)

    def solve(start: int, stop: int) -> None:
        solve_pixels(
            real, imaginary, gram_real, gram_imaginary, y_real, y_imaginary, kappa, tolerance, 20 * size, start, stop,
            index, amplitude, eta, count, gap,
        )  # fmt: skip

    run_ranges(solve, pixels, threads)
    if reduced is not stack:  # back to the given snapshots: X = diag(eta) A^H S^-1 Y / kappa
        amplitude = _amplitudes(columns, stack, index, eta, kappa)
    return SparseProfiles(index, amplitude, count, gap, gap <= tolerance, atoms)


def _amplitudes(
    columns: NDArray[np.complex128],
    stack: NDArray[np.complex128],
    index: NDArray[np.int64],
    eta: NDArray[np.float64],
    kappa: NDArray[np.float64],
) -> NDArray[np.complex128]:
    used = columns.T[np.maximum(index, 0)]  # [P, C, N]
    weight = eta / kappa[:, None]
    covariance = np.eye(columns.shape[0]) + np.einsum("pcn,pc,pcm->pnm", used, weight, used.conj(), optimize=True)
    return np.asarray(weight[:, :, None] * (used.conj() @ np.linalg.solve(covariance, stack)))


def universal_threshold(
    noise_standard_deviation: ArrayLike,
    acquisitions: int,
    atoms: float,
    *,
    snapshots: int = 1,
    false_alarm: float = 0.05,
) -> NDArray[np.float64]:
    """Return the kappa of (1) that pure noise exceeds with a given probability.

    For circular Gaussian noise of variance sigma^2 the squared correlation with one atom is
    N sigma^2 / 2 times a chi-square with 2 M degrees of freedom; for M = 1 and `false_alarm` 1 this is
    sigma sqrt(N ln L), the complex form of the universal threshold of Donoho & Johnstone (1994).

    Args:
        noise_standard_deviation: sigma, in units of the data.
        acquisitions: N.
        atoms: Number of independent atoms (about the extent in Rayleigh units, at most L).
        snapshots: M.
        false_alarm: Probability that noise alone gives an active atom (union bound).

    Returns:
        kappa, of the shape of `noise_standard_deviation`.
    """
    from scipy.stats import chi2

    if not 0 < false_alarm <= 1:
        raise ConfigurationError(f"The false alarm probability must lie between 0 and 1, not {false_alarm}.")
    quantile = float(chi2.isf(min(0.5, false_alarm / max(atoms, 1.0)), 2 * snapshots))
    return np.asarray(np.asarray(noise_standard_deviation, np.float64) * np.sqrt(acquisitions * quantile / 2.0))
