"""Sparse unmixing of an image whose abundances are piecewise smooth."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, ContractError
from ecumene.physics.unmixing.sparse import SparseAbundances, check_library, soft_threshold


def sunsal_tv(
    cube: Any,
    library: Any,
    sparsity: float,
    smoothness: float,
    *,
    penalty: float | None = None,
    tolerance: float = 1e-4,
    max_iterations: int = 500,
) -> SparseAbundances:
    """SUnSAL-TV (Iordache, Bioucas-Dias and Plaza 2012, IEEE TGRS 50(11):4484-4502).

    Minimises 1/2 |Y - E X|_F^2 + lambda |X|_1 + lambda_TV sum over materials and neighbours |x_i - x_j| under
    X >= 0 by the alternating direction method of multipliers. Differs from the paper in two ways: borders are
    reflected (cosine transform) instead of joined to the opposite border (Fourier transform), and the quadratic is
    solved with the library's Gram matrix instead of a split of E X, which leaves a two-block scheme whose
    convergence is proved.

    Args:
        cube: `[H, W, B]`, finite.
        library: `[B, p]`.
        sparsity: lambda >= 0.
        smoothness: lambda_TV >= 0.
        penalty: Of the split; None: a tenth of the mean eigenvalue of E'E.
        tolerance: Root mean square of primal and dual residual at which to stop.
        max_iterations: At most.

    Returns:
        Abundances `[H, W, p]`.

    Raises:
        ConfigurationError: If the library is not finite or a weight is negative.
        ContractError: If the cube has other bands, is no image, or is not finite.
    """
    from scipy.fft import dctn, idctn

    matrix = check_library(library)
    data = np.asarray(cube, dtype=np.float64)
    if data.ndim != 3 or data.shape[2] != matrix.shape[0]:
        raise ContractError(f"The cube must be [rows, columns, {matrix.shape[0]} bands], not of shape {data.shape}.")
    if not np.isfinite(data).all():
        raise ContractError("A spectrum is not finite; fill pixels without data before unmixing with total variation.")
    if not (sparsity >= 0 and smoothness >= 0 and np.isfinite(sparsity + smoothness)):
        raise ConfigurationError("The weights of sparsity and smoothness must be zero or positive.")
    gram = matrix.T @ matrix
    p = len(gram)
    mu = float(np.trace(gram)) / p * 0.1 if penalty is None else float(penalty)
    solve = np.linalg.inv(gram + 2.0 * mu * np.eye(p))
    correlation = data @ matrix
    laplacian = 1.0 + _eigenvalues(data.shape[0])[:, None] + _eigenvalues(data.shape[1])[None, :]
    shape = (*data.shape[:2], p)
    shrunk, smooth = np.zeros(shape), np.zeros(shape)
    dual_shrunk, dual_smooth = np.zeros(shape), np.zeros(shape)
    steps: tuple[NDArray[np.float64], ...] = differences(smooth)
    dual_steps: tuple[NDArray[np.float64], ...] = differences(smooth)
    primal = change = np.inf
    made = 0
    for iteration in range(1, max_iterations + 1):
        made = iteration
        x = (correlation + mu * (shrunk - dual_shrunk + smooth - dual_smooth)) @ solve
        slope = differences(smooth)
        steps = tuple(soft_threshold(a - d, smoothness / mu) for a, d in zip(slope, dual_steps, strict=True))
        before = (shrunk, smooth)
        shrunk = np.maximum(x + dual_shrunk - sparsity / mu, 0.0)
        right = x + dual_smooth + adjoint(tuple(s + d for s, d in zip(steps, dual_steps, strict=True)))
        smooth = idctn(dctn(right, axes=(0, 1), norm="ortho") / laplacian[..., None], axes=(0, 1), norm="ortho")
        slope = differences(smooth)
        dual_shrunk += x - shrunk
        dual_smooth += x - smooth
        dual_steps = tuple(d + s - a for d, s, a in zip(dual_steps, steps, slope, strict=True))
        primal = max(_rms(x - shrunk), _rms(x - smooth), *(_rms(s - a) for s, a in zip(steps, slope, strict=True)))
        change = mu * max(_rms(shrunk - before[0]), _rms(smooth - before[1]))
        if primal < tolerance and change < tolerance:
            break
    return SparseAbundances(
        value=shrunk,
        iterations=made,
        primal_residual=primal,
        dual_residual=change,
        converged=bool(primal < tolerance and change < tolerance),
    )


def differences(image: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return forward differences of `[H, W, ...]` down the rows and along the columns, `H - 1` and `W - 1` long."""
    return np.diff(image, axis=0), np.diff(image, axis=1)


def adjoint(steps: tuple[NDArray[np.float64], ...]) -> NDArray[np.float64]:
    """Return the adjoint of `differences`: minus the divergence with reflected borders."""
    down, along = steps
    image = np.zeros((along.shape[0], down.shape[1], *down.shape[2:]))
    image[:-1] -= down
    image[1:] += down
    image[:, :-1] -= along
    image[:, 1:] += along
    return image


def total_variation(image: Any) -> float:
    """Return the anisotropic total variation: the sum of absolute differences of neighbours."""
    return float(sum(np.abs(part).sum() for part in differences(np.asarray(image, dtype=np.float64))))


def _eigenvalues(length: int) -> NDArray[np.float64]:
    """Eigenvalues of adjoint(differences(.)) along one axis: 2 - 2 cos(pi k / n), of the type-II cosine transform."""
    return np.asarray(2.0 - 2.0 * np.cos(np.pi * np.arange(length) / length))


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(values**2))) if values.size else 0.0
