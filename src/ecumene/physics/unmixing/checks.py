"""Refusals that all unmixing functions share, each in one sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, ContractError, SceneError

SMALLEST_SINGULAR_VALUE = 1e-5
"""Of the endmembers scaled to unit length, relative to the largest; below it they count as dependent.

Libraries are stored with six digits or so: a material that is a mixture of others keeps a singular value of that size,
and spectra with a noise of this share already give abundances with errors of the order of one."""


def check_endmembers(endmembers: Any) -> NDArray[np.float64]:
    """Return endmember spectra as float64 `[B, p]`.

    Raises:
        ConfigurationError: If they are not a finite matrix, or linearly dependent.
    """
    matrix = np.ascontiguousarray(endmembers, dtype=np.float64)
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise ConfigurationError(f"Endmembers must be a matrix [bands, materials], not of shape {matrix.shape}.")
    if not np.isfinite(matrix).all():
        raise ConfigurationError(
            "An endmember spectrum has a value that is not finite; leave out that band or material."
        )
    lengths = np.linalg.norm(matrix, axis=0)
    if np.any(lengths == 0):
        raise ConfigurationError(f"Endmember {int(np.argmin(lengths)) + 1} is zero in all bands; leave it out.")
    values = np.linalg.svd(matrix / lengths, compute_uv=False)
    if matrix.shape[1] > matrix.shape[0] or values[-1] < SMALLEST_SINGULAR_VALUE * values[0]:
        raise ConfigurationError(
            f"The {matrix.shape[1]} endmembers are linearly dependent in these {matrix.shape[0]} bands, so abundances "
            "are not determined; leave out the material that is a mixture of others, or use more bands."
        )
    return matrix


def check_spectra(spectra: Any, bands: int | None = None) -> NDArray[Any]:
    """Return spectra as a float array `[P, B]` (float32 stays float32).

    Raises:
        ContractError: If they are no matrix, or have another number of bands than the endmembers.
    """
    matrix = np.asarray(spectra)
    if matrix.dtype != np.float32:
        matrix = matrix.astype(np.float64, copy=False)
    if matrix.ndim != 2 or matrix.shape[1] == 0:
        raise ContractError(f"Spectra must be a matrix [pixels, bands], not of shape {matrix.shape}.")
    if bands is not None and matrix.shape[1] != bands:
        raise ContractError(
            f"The spectra have {matrix.shape[1]} bands, but the endmembers have {bands}; resample the library to the "
            "sensor's bands first."
        )
    return matrix


def finite_spectra(spectra: Any, least: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the finite spectra `[N, B]` and their pixel numbers `[N]`.

    Raises:
        SceneError: If there are fewer than `least`.
    """
    matrix = check_spectra(spectra)
    kept = np.flatnonzero(np.isfinite(matrix).all(axis=1))
    if kept.size < least:
        raise SceneError(
            f"Only {kept.size} pixels have a finite spectrum, but {least} are needed; check the nodata value."
        )
    return matrix[kept].astype(np.float64), kept.astype(np.int64)
