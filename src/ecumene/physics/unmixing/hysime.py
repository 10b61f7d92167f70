"""How many endmembers an image has: HySime, and the noise it rests on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.physics.unmixing.checks import finite_spectra


@dataclass(frozen=True)
class SignalSubspace:
    """The signal subspace of an image.

    Attributes:
        dimension: Its dimension, the number of endmembers.
        basis: Orthonormal vectors, `[B, dimension]`, the most useful first.
        noise_deviation: Standard deviation of the noise of each band, `[B]`, unit of the spectra.
        noise_covariance: Covariance of the noise, `[B, B]`.
        cost: Change of the mean squared error by each eigenvector (negative: belongs to the signal), `[B]`.
    """

    dimension: int
    basis: NDArray[np.float64]
    noise_deviation: NDArray[np.float64]
    noise_covariance: NDArray[np.float64]
    cost: NDArray[np.float64]


def estimate_noise(spectra: Any) -> NDArray[np.float64]:
    """Estimate the noise of every value by regressing each band on all others (Roger and Arnold 1996).

    Args:
        spectra: `[P, B]`, finite, P > B.

    Returns:
        `[P, B]`: residuals of the regressions, an estimate of the noise scaled to unbiased variance.

    Raises:
        SceneError: If there are not more finite pixels than bands.
        ConfigurationError: If there are fewer than two bands.
    """
    data, _ = finite_spectra(spectra, np.shape(spectra)[1] + 2)
    pixels, bands = data.shape
    if bands < 2:
        raise ConfigurationError("The noise of a band is estimated from other bands; give at least two.")
    moments = data.T @ data
    # A ridge far below the noise: bands that are exact copies would make the moments singular.
    ridge = 1e-12 * np.trace(moments) / bands
    inverse = np.linalg.inv(moments + ridge * np.eye(bands))
    # Regressing band i on the others leaves (inverse column i / its diagonal) applied to the data.
    coefficients = inverse / np.diag(inverse)[None, :]
    return np.asarray(data @ coefficients * np.sqrt(pixels / (pixels - bands + 1)))


def hysime(spectra: Any, *, noise: Any = None) -> SignalSubspace:
    """Identify the signal subspace by minimum error (HySime).

    Bioucas-Dias and Nascimento (2008), IEEE TGRS 46(8):2435-2445.

    Keeps the eigenvectors of the signal's correlation matrix for which leaving the projection error out costs less
    than the noise that comes in: those with -e'R_y e + 2 e'R_n e < 0 (the paper's equation 21).

    Args:
        spectra: `[P, B]`; pixels that are not finite are left out.
        noise: `[P, B]` noise of the finite pixels; None: `estimate_noise`, taken as uncorrelated between bands.

    Returns:
        The subspace; `dimension` may be 0 where there is nothing but noise.

    Raises:
        SceneError: If there are not more finite pixels than bands.
        ConfigurationError: If there are fewer than two bands or the noise has another shape.
    """
    data, _ = finite_spectra(spectra, np.shape(spectra)[1] + 2)
    pixels, bands = data.shape
    if noise is None:
        residual = estimate_noise(data)
        noise_covariance = np.diag(np.mean(residual**2, axis=0))
    else:
        residual = np.asarray(noise, dtype=np.float64)
        if residual.shape != data.shape:
            raise ConfigurationError(
                f"The noise must have the shape {data.shape} of the finite spectra, not {residual.shape}."
            )
        noise_covariance = residual.T @ residual / pixels
    correlation = data.T @ data / pixels
    signal = data - residual
    _, vectors = np.linalg.eigh(signal.T @ signal / pixels)
    # A floor, as in the paper's code, keeps noise-free data from giving a noise of rounding errors.
    floor = 1e-10 * np.trace(correlation) / bands
    regularised = noise_covariance + floor * np.eye(bands)
    cost = -np.einsum("bi,bc,ci->i", vectors, correlation, vectors) + 2.0 * np.einsum(
        "bi,bc,ci->i", vectors, regularised, vectors
    )
    order = np.argsort(cost, kind="stable")
    dimension = int(np.count_nonzero(cost < 0))
    return SignalSubspace(
        dimension=dimension,
        basis=vectors[:, order[:dimension]],
        noise_deviation=np.sqrt(np.diag(noise_covariance)),
        noise_covariance=noise_covariance,
        cost=cost[order],
    )
