"""Sparse unmixing with a spectral library: few of many known materials in a pixel, or in a group of pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, ContractError
from ecumene.physics.unmixing.checks import check_spectra

_ADAPT_EVERY = 10
_ADAPT_FACTOR = 10.0


@dataclass(frozen=True)
class SparseAbundances:
    """Result of an iterative sparse unmixing.

    Attributes:
        value: Abundances, `[P, p]` (`[H, W, p]` for an image).
        iterations: Iterations made.
        primal_residual: Root mean square of the split variables' disagreement at the end.
        dual_residual: Root mean square of their last change times the penalty.
        converged: Whether both fell below the tolerance.
    """

    value: NDArray[np.float64]
    iterations: int
    primal_residual: float
    dual_residual: float
    converged: bool


def soft_threshold(values: NDArray[np.float64], limit: float) -> NDArray[np.float64]:
    """Return sign(x) max(|x| - limit, 0), the proximal map of the L1 norm."""
    return np.asarray(np.sign(values) * np.maximum(np.abs(values) - limit, 0.0))


def group_threshold(values: NDArray[np.float64], limit: float, axis: int = 0) -> NDArray[np.float64]:
    """Return x max(1 - limit / |x|_2, 0) for the groups along `axis`, the proximal map of the L2,1 norm."""
    size = np.linalg.norm(values, axis=axis, keepdims=True)
    return np.asarray(values * np.maximum(1.0 - limit / np.maximum(size, 1e-300), 0.0))


def check_library(library: Any) -> NDArray[np.float64]:
    """Return a spectral library as float64 `[B, p]`; it may hold more materials than bands.

    Raises:
        ConfigurationError: If it is no finite matrix.
    """
    matrix = np.ascontiguousarray(library, dtype=np.float64)
    if matrix.ndim != 2 or 0 in matrix.shape or not np.isfinite(matrix).all():
        raise ConfigurationError("A spectral library must be a finite matrix [bands, materials]; check its file.")
    return matrix


def sunsal(
    spectra: Any,
    library: Any,
    sparsity: float,
    *,
    nonnegative: bool = True,
    sum_to_one: bool = False,
    collaborative: bool = False,
    tolerance: float = 1e-6,
    max_iterations: int = 2000,
) -> SparseAbundances:
    """Sparse unmixing by variable splitting and augmented Lagrangian.

    Minimises 1/2 |Y - E X|_F^2 + lambda |X|_1 (SUnSAL; Bioucas-Dias and Figueiredo 2010, WHISPERS; Iordache,
    Bioucas-Dias and Plaza 2011, IEEE TGRS 49(6):2014-2039), or with lambda sum_i |X_i|_2 over the rows (one material
    in all pixels; CLSUnSAL, the same authors 2014, IEEE TGRS 52(1):341-354), under the constraints asked for, by
    the alternating direction method of multipliers with X split into a quadratic and a shrunk copy. Differs from the
    papers in the penalty, which follows the balance of residuals (Boyd et al. 2011, section 3.4.1), and in stopping
    on both of them.

    Args:
        spectra: `[P, B]`, finite.
        library: `[B, p]`; p may exceed B.
        sparsity: lambda >= 0, in squared units of the spectra.
        nonnegative: X >= 0.
        sum_to_one: 1'X = 1; with it and X >= 0 the L1 term is constant.
        collaborative: The L2,1 norm over all pixels given instead of the L1 norm.
        tolerance: Root mean square of both residuals at which to stop.
        max_iterations: At most.

    Returns:
        The abundances, which meet the sign constraint exactly and the sum to the tolerance.

    Raises:
        ConfigurationError: If the library is not finite or `sparsity` is negative.
        ContractError: If the numbers of bands differ, or a spectrum is not finite.
    """
    matrix, data = _prepare(spectra, library, sparsity)
    gram, correlation = matrix.T @ matrix, matrix.T @ data.T
    p = matrix.shape[1]
    eigenvalues, vectors = np.linalg.eigh(gram)
    penalty = max(float(np.mean(eigenvalues)) * 0.1, 1e-12)
    split = np.zeros((p, len(data)))
    dual = np.zeros_like(split)
    primal = change = np.inf
    iteration = 0
    for iteration in range(1, max_iterations + 1):
        solve = _inverse(eigenvalues, vectors, penalty)
        quadratic = solve @ (correlation + penalty * (split - dual))
        if sum_to_one:
            sums = solve.sum(axis=1, keepdims=True)
            quadratic -= sums / sums.sum() * (quadratic.sum(axis=0, keepdims=True) - 1.0)
        before = split
        moved = quadratic + dual
        if collaborative:
            moved = np.maximum(moved, 0.0) if nonnegative else moved
            split = group_threshold(moved, sparsity / penalty, axis=1)
        elif nonnegative:
            split = np.maximum(moved - sparsity / penalty, 0.0)
        else:
            split = soft_threshold(moved, sparsity / penalty)
        dual += quadratic - split
        primal, change = _rms(quadratic - split), penalty * _rms(split - before)
        if primal < tolerance and change < tolerance:
            break
        if iteration % _ADAPT_EVERY == 0:
            factor = 2.0 if primal > _ADAPT_FACTOR * change else 0.5 if change > _ADAPT_FACTOR * primal else 1.0
            penalty, dual = penalty * factor, dual / factor
    return SparseAbundances(
        value=split.T.copy(),
        iterations=iteration,
        primal_residual=primal,
        dual_residual=change,
        converged=bool(primal < tolerance and change < tolerance),
    )


def _prepare(spectra: Any, library: Any, sparsity: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    matrix = check_library(library)
    data = check_spectra(spectra, matrix.shape[0]).astype(np.float64, copy=False)
    if not np.isfinite(data).all():
        raise ContractError("A spectrum is not finite; leave out pixels without data before sparse unmixing.")
    if not (np.isfinite(sparsity) and sparsity >= 0):
        raise ConfigurationError(f"The weight of sparsity must be zero or positive, but is {sparsity}.")
    return matrix, data


def _inverse(eigenvalues: NDArray[np.float64], vectors: NDArray[np.float64], penalty: float) -> NDArray[np.float64]:
    return np.asarray((vectors / (np.maximum(eigenvalues, 0.0) + penalty)) @ vectors.T)


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(values**2)))
