"""Hermitian matrices of polarimetry: packing, change of basis, checks, sampling."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, SceneError

Matrix = NDArray[np.complex128]

# Pauli basis (HH + VV, HH - VV, 2 HV) / sqrt 2 from the lexicographic one (HH, sqrt 2 HV, VV).
_TO_PAULI = np.array([[1, 0, 1], [1, 0, -1], [0, math.sqrt(2.0), 0]]) / math.sqrt(2.0)


def unpack(channels: NDArray[Any]) -> Matrix:
    """Build Hermitian matrices from their real channels.

    Args:
        channels: `[d * d, ...]`: for d = 3 in the order 11, Re 12, Im 12, Re 13, Im 13, 22, Re 23, Im 23, 33; for
            d = 2 in the order 11, Re 12, Im 12, 22 (the order of PolSARpro's and SNAP's files).

    Returns:
        complex128 `[..., d, d]`.

    Raises:
        SceneError: If there are neither 4 nor 9 channels.
    """
    values = np.asarray(channels, np.float64)
    size = {4: 2, 9: 3}.get(values.shape[0])
    if size is None:
        raise SceneError(f"A polarimetric matrix has 4 or 9 real channels, but {values.shape[0]} were given.")
    result = np.zeros((*values.shape[1:], size, size), np.complex128)
    place = 0
    for i in range(size):
        result[..., i, i] = values[place]
        place += 1
        for j in range(i + 1, size):
            result[..., i, j] = values[place] + 1j * values[place + 1]
            result[..., j, i] = result[..., i, j].conj()
            place += 2
    return result


def pack(matrix: NDArray[Any]) -> NDArray[np.float64]:
    """Return the real channels `[d * d, ...]` of Hermitian matrices `[..., d, d]`; the inverse of `unpack`."""
    size = matrix.shape[-1]
    channels = []
    for i in range(size):
        channels.append(matrix[..., i, i].real)
        for j in range(i + 1, size):
            channels += [matrix[..., i, j].real, matrix[..., i, j].imag]
    return np.asarray(np.stack(channels), np.float64)


def covariance_to_coherency(covariance: NDArray[Any]) -> Matrix:
    """Turn covariance matrices C3 into coherency matrices T3, `[..., 3, 3]`.

    `T = U C U^H` with U from the lexicographic basis (HH, sqrt 2 HV, VV) to the Pauli basis
    (HH + VV, HH - VV, 2 HV) / sqrt 2 (Lee and Pottier 2009, section 3.3); U is unitary, so power is conserved.
    """
    return np.asarray(_TO_PAULI @ np.asarray(covariance, np.complex128) @ _TO_PAULI.T)


def coherency_to_covariance(coherency: NDArray[Any]) -> Matrix:
    """Turn coherency matrices T3 into covariance matrices C3; the inverse of `covariance_to_coherency`."""
    return np.asarray(_TO_PAULI.T @ np.asarray(coherency, np.complex128) @ _TO_PAULI)


def usable_matrices(matrix: NDArray[Any], *, tolerance: float = 1e-4) -> NDArray[np.bool_]:
    """Return where matrices are finite, Hermitian, of positive power, and positive semidefinite to rounding.

    Args:
        matrix: `[..., d, d]`.
        tolerance: Largest deviation relative to the trace (files hold float32).

    Raises:
        SceneError: If the last two axes are not 2 x 2 or 3 x 3.
    """
    values = np.asarray(matrix, np.complex128)
    if values.ndim < 2 or values.shape[-2:] not in {(2, 2), (3, 3)}:
        raise SceneError(f"Polarimetric matrices are 2 x 2 or 3 x 3, but the array's shape is {values.shape}.")
    finite = np.asarray(np.isfinite(values).all(axis=(-2, -1)))
    clean = np.where(finite[..., None, None], values, 0.0)
    power = np.trace(clean, axis1=-2, axis2=-1).real
    skew = np.abs(clean - clean.conj().swapaxes(-1, -2)).max(axis=(-2, -1))
    lowest = np.linalg.eigvalsh(0.5 * (clean + clean.conj().swapaxes(-1, -2)))[..., 0]
    return np.asarray(finite & (power > 0.0) & (skew <= tolerance * power) & (lowest >= -tolerance * power))


def boxcar(matrix: NDArray[Any], window: int) -> Matrix:
    """Average matrices `[H, W, d, d]` over `window x window` pixels, leaving out what is not finite.

    Raises:
        ConfigurationError: If the window is not odd and positive.
    """
    from scipy import ndimage

    if window < 1 or window % 2 == 0:
        raise ConfigurationError(f"The averaging window must be an odd number of pixels, but is {window}.")
    values = np.asarray(matrix, np.complex128)
    finite = np.asarray(np.isfinite(values).all(axis=(-2, -1)))
    clean = np.where(finite[..., None, None], values, 0.0)
    size = (window, window, 1, 1)
    weight = ndimage.uniform_filter(finite.astype(np.float64), window, mode="constant")[..., None, None]
    total = ndimage.uniform_filter(clean.real, size, mode="constant") + 1j * ndimage.uniform_filter(
        clean.imag, size, mode="constant"
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(weight > 0.0, total / weight, np.nan))


def sample_wishart(rng: np.random.Generator, sigma: NDArray[Any], looks: int, count: int) -> Matrix:
    """Draw sample covariance matrices `[count, d, d]` of `looks` looks with mean `sigma` `[d, d]`.

    Goodman (1963, doi 10.1214/aoms/1177704250): the mean of outer products of circular complex Gaussian vectors.

    Raises:
        ConfigurationError: If looks is not a positive integer.
    """
    if looks < 1 or looks != int(looks):
        raise ConfigurationError(f"Wishart samples need a positive whole number of looks, but got {looks}.")
    values, vectors = np.linalg.eigh(np.asarray(sigma, np.complex128))
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    white = rng.standard_normal((count, int(looks), sigma.shape[0], 2)) @ np.array([1.0, 1j]) / math.sqrt(2.0)
    scatter = white @ root.T
    return np.asarray(np.einsum("nli,nlj->nij", scatter, scatter.conj()) / looks)


def estimate_matrix_looks(matrix: NDArray[Any]) -> tuple[float, float]:
    """Estimate the looks of matrices of a homogeneous region by the trace moments.

    Anfinsen, Doulgeris and Eltoft (2009, doi 10.1109/TGRS.2009.2019269), eq. 19:
    `L = tr(<C>)^2 / (<tr(C C)> - tr(<C><C>))`, which uses all channels. The error is a jackknife over 20 groups.

    Args:
        matrix: `[..., d, d]` of one region.

    Returns:
        (looks, standard error).

    Raises:
        SceneError: If there are fewer than 40 usable matrices, or they are all equal.
    """
    values = np.asarray(matrix, np.complex128).reshape(-1, *matrix.shape[-2:])
    values = values[usable_matrices(values)]
    if len(values) < 40:
        raise SceneError(f"The number of looks needs at least 40 usable matrices, but the region has {len(values)}.")
    groups = np.arange(len(values)) * 20 // len(values)
    squares = np.einsum("nij,nji->n", values, values).real
    whole = _trace_looks(values, squares)
    parts = np.array([_trace_looks(values[groups != g], squares[groups != g]) for g in range(20)])
    if not np.isfinite(whole) or not np.isfinite(parts).all():
        raise SceneError("All matrices of the region are equal; that is no speckle.")
    return float(whole), float(np.sqrt(19.0 / 20.0 * ((parts - parts.mean()) ** 2).sum()))


def _trace_looks(values: Matrix, squares: NDArray[np.float64]) -> float:
    mean = values.mean(axis=0)
    power = float(np.trace(mean).real) ** 2
    scatter = float(squares.mean() - np.trace(mean @ mean).real)
    return power / scatter if scatter > 1e-9 * power else math.inf
