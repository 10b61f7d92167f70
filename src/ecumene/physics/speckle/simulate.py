"""Speckle with known statistics, against which filters and estimators are tested.

All fields have mean intensity 1 (energy is conserved), so that `reflectivity * field` has the reflectivity as its mean.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage, special

from ecumene.core.errors import ConfigurationError
from ecumene.physics.speckle.checks import check_looks

Shape = tuple[int, int]


def spectral_window(
    shape: Shape, bandwidth: tuple[float, float] = (1.0, 1.0), hamming: float = 1.0
) -> NDArray[np.float64]:
    """Return the amplitude of a processed SLC's spectrum, `[H, W]` in FFT order, with mean square 1.

    Args:
        shape: Rows and columns.
        bandwidth: Occupied share of the sampled band along rows and columns, (0, 1]; less than 1 is oversampling.
        hamming: Coefficient a of the weighting `a + (1 - a) cos(2 pi f / B)`; 1 is unweighted, 0.6 typical of
            TerraSAR-X products.

    Raises:
        ConfigurationError: If an argument is out of range.
    """
    if not all(0.0 < share <= 1.0 for share in bandwidth) or not 0.5 <= hamming <= 1.0:
        raise ConfigurationError(
            f"Bandwidths must be in (0, 1] and the Hamming coefficient in [0.5, 1], but are {bandwidth} and {hamming}."
        )
    axes = []
    for length, share in zip(shape, bandwidth, strict=True):
        frequency = fft.fftfreq(length)
        weight = hamming + (1.0 - hamming) * np.cos(2.0 * np.pi * frequency / share)
        axes.append(np.where(np.abs(frequency) <= share / 2.0, weight, 0.0))
    amplitude = axes[0][:, None] * axes[1][None, :]
    return np.asarray(amplitude / np.sqrt(np.mean(amplitude**2)))


def complex_speckle(
    rng: np.random.Generator, shape: Shape, *, bandwidth: tuple[float, float] = (1.0, 1.0), hamming: float = 1.0
) -> NDArray[np.complex128]:
    """Return fully developed speckle: a circular complex Gaussian field `[H, W]` with mean intensity 1.

    Goodman (1976, doi 10.1364/JOSA.66.001145): the sum of many independent scatterers. The spectrum is shaped
    as a SAR processor shapes it, which correlates neighbours; the field is periodic.

    Args:
        rng: Source of randomness.
        shape: Rows and columns.
        bandwidth: See `spectral_window`.
        hamming: See `spectral_window`.

    Raises:
        ConfigurationError: As `spectral_window`.
    """
    white = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) / math.sqrt(2.0)
    if bandwidth == (1.0, 1.0) and hamming == 1.0:
        return np.asarray(white)
    return np.asarray(fft.ifft2(fft.fft2(white) * spectral_window(shape, bandwidth, hamming)))


def multilook_speckle(
    rng: np.random.Generator,
    shape: Shape,
    looks: int,
    *,
    bandwidth: tuple[float, float] = (1.0, 1.0),
    hamming: float = 1.0,
) -> NDArray[np.float64]:
    """Return the mean intensity of `looks` independent complex fields: gamma marginals, correlated in space.

    Args:
        rng: Source of randomness.
        shape: Rows and columns.
        looks: Independent looks, a positive integer.
        bandwidth: See `spectral_window`.
        hamming: See `spectral_window`.

    Raises:
        ConfigurationError: If looks is not a positive integer; as `spectral_window`.
    """
    if looks < 1 or looks != int(looks):
        raise ConfigurationError(f"Independent looks come in positive whole numbers, but {looks} were asked for.")
    total = np.zeros(shape)
    for _ in range(int(looks)):
        total += np.abs(complex_speckle(rng, shape, bandwidth=bandwidth, hamming=hamming)) ** 2
    return total / looks


def gamma_speckle(
    rng: np.random.Generator, shape: Shape, looks: float, *, correlation_px: float = 0.0
) -> NDArray[np.float64]:
    """Return multiplicative speckle of any real number of looks, gamma distributed with mean 1, variance 1/L.

    Lee and Pottier (2009, "Polarimetric Radar Imaging", section 4.2). Correlated fields map a smoothed Gaussian
    field through its distribution function, so that the marginals stay exactly gamma.

    Args:
        rng: Source of randomness.
        shape: Rows and columns.
        looks: Equivalent number of looks.
        correlation_px: Standard deviation of the Gaussian kernel that correlates, in pixels; 0: white.

    Raises:
        ConfigurationError: If looks or correlation are out of range.
    """
    looks = check_looks(looks)
    if correlation_px < 0.0 or not math.isfinite(correlation_px):
        raise ConfigurationError(f"The correlation length must not be negative, but is {correlation_px}.")
    if correlation_px == 0.0:
        return np.asarray(rng.gamma(looks, 1.0 / looks, shape))
    field = _correlated_normal(rng, shape, correlation_px)
    quantile = np.clip(special.ndtr(field), 1e-15, 1.0 - 1e-15)
    return np.asarray(special.gammaincinv(looks, quantile) / looks)


def k_speckle(
    rng: np.random.Generator, shape: Shape, looks: float, order: float, *, texture_px: float = 0.0
) -> NDArray[np.float64]:
    """Return K-distributed intensity: gamma texture of shape `order` times gamma speckle, mean 1.

    Jakeman and Pusey (1976, doi 10.1109/TAP.1976.1141451); second moment (1 + 1/L)(1 + 1/order).

    Args:
        rng: Source of randomness.
        shape: Rows and columns.
        looks: Equivalent number of looks of the speckle.
        order: Shape of the texture; large is homogeneous.
        texture_px: Correlation length of the texture in pixels (the speckle stays white).

    Raises:
        ConfigurationError: If an argument is out of range.
    """
    if not (math.isfinite(order) and order > 0.0):
        raise ConfigurationError(f"The order of a K distribution must be a positive number, but is {order}.")
    texture = gamma_speckle(rng, shape, order, correlation_px=texture_px)
    return texture * gamma_speckle(rng, shape, looks)


def _correlated_normal(rng: np.random.Generator, shape: Shape, sigma: float) -> NDArray[np.float64]:
    """Return a standard normal field smoothed by a Gaussian, periodic."""
    impulse = np.zeros(shape)
    impulse[0, 0] = 1.0
    kernel = ndimage.gaussian_filter(impulse, sigma, mode="wrap")
    field = ndimage.gaussian_filter(rng.standard_normal(shape), sigma, mode="wrap")
    return np.asarray(field / math.sqrt(float((kernel**2).sum())))
