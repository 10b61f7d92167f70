"""The noise level of a stack, from what no scatterer within the searched extent can explain.

Steering vectors of a bounded extent fill a subspace of about (extent / Rayleigh + 1) dimensions (Slepian's
counting); what data have outside of it is noise, whatever the scatterers are. This needs no threshold
and no homogeneous neighbourhood, but acquisitions to spare; `noise_by_fit` works without.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.physics.tomography.grid import SearchGrid

_SIGNAL_SHARE = 1e-5  # of the strongest direction's energy; below it a scatterer leaks less than -50 dB into the noise
_SUBSAMPLE = 4096
LEAST_DIMENSIONS = 3
"""Dimensions outside of the signal subspace that `estimate_noise` needs."""


@dataclass(frozen=True)
class NoiseEstimate:
    """Noise variance of pixels.

    Attributes:
        variance: sigma^2 of one complex sample, `[P]`.
        standard_deviation: Standard error of `variance`, `[P]`.
        dimensions: Noise dimensions of one snapshot.
    """

    variance: NDArray[np.float64]
    standard_deviation: NDArray[np.float64]
    dimensions: int


def noise_subspace(grid: SearchGrid) -> NDArray[np.complex128]:
    """Return an orthonormal basis of what no scatterer on the grid reaches, `[N, q]` (q may be 0)."""
    atoms = grid.dictionary
    if atoms.shape[1] > _SUBSAMPLE:
        atoms = atoms[:, np.random.default_rng(0).choice(atoms.shape[1], _SUBSAMPLE, replace=False)]
    values, vectors = np.linalg.eigh(atoms @ atoms.conj().T)
    return np.asarray(vectors[:, values < _SIGNAL_SHARE * values[-1]])


def estimate_noise(grid: SearchGrid, data: NDArray[np.complex128], *, pooled: bool = True) -> NoiseEstimate:
    """Estimate the noise variance outside of the signal subspace.

    Args:
        grid: The searched extent.
        data: `[P, N]` or `[P, N, M]`, finite.
        pooled: One level for all pixels (their median, corrected for the skewness of the chi-square
            distribution), which is right where thermal noise dominates; otherwise one a pixel.

    Returns:
        The estimate.

    Raises:
        ConfigurationError: If fewer than three dimensions are left for noise.
    """
    basis = noise_subspace(grid)
    dimensions = basis.shape[1]
    if dimensions < LEAST_DIMENSIONS:
        raise ConfigurationError(
            f"{grid.geometry.count} acquisitions leave no room to estimate noise beside the searched elevations and "
            "motions; state the noise level, or narrow the search."
        )
    stack = data[:, :, None] if data.ndim == 2 else data
    looks = stack.shape[2]
    outside = np.einsum("nq,pnm->pqm", basis.conj(), stack, optimize=True)
    variance = np.mean(np.abs(outside) ** 2, axis=(1, 2))
    degrees = 2.0 * dimensions * looks
    error = variance * np.sqrt(2.0 / degrees)
    if pooled:
        from scipy.stats import chi2

        level = float(np.median(variance)) * degrees / float(chi2.median(degrees))
        # Standard error of a median of P values, sqrt(pi/2) times that of their mean.
        spread = level * np.sqrt(2.0 / degrees) * np.sqrt(np.pi / 2.0 / variance.size)
        variance, error = np.full(variance.shape, level), np.full(variance.shape, spread)
    return NoiseEstimate(np.asarray(variance), np.asarray(error), dimensions)
