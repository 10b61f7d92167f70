"""Single-look complex images: centring the spectrum, and sublooks with independent speckle."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from ecumene.core.errors import ConfigurationError, SceneError


def complex_image(slc: NDArray[Any]) -> NDArray[np.complex128]:
    """Return a complex image `[H, W]` with 0 where it is not finite.

    Raises:
        SceneError: If it is real, not two-dimensional, or empty.
    """
    if not np.iscomplexobj(slc):
        raise SceneError("A single-look complex image is needed, but the values are real; hand in the SLC.")
    image = np.asarray(slc, np.complex128)
    if image.ndim != 2 or min(image.shape) < 2:
        raise SceneError(f"A complex image is rows x columns, at least 2 x 2, but its shape is {image.shape}.")
    clean = np.where(np.isfinite(image), image, 0.0)
    if not clean.any():
        raise SceneError("The complex image holds only zeros and nodata.")
    return np.asarray(clean)


def spectral_centroid(slc: NDArray[Any], axis: int) -> float:
    """Return the centroid of the spectrum along an axis, cycles a pixel in (-1/2, 1/2].

    The phase of the lag-one correlation (Madsen 1989, doi 10.1109/7.18677, correlation Doppler estimator).
    """
    image = complex_image(slc)
    first, second = np.moveaxis(image, axis, 0)[:-1], np.moveaxis(image, axis, 0)[1:]
    return float(np.angle(np.vdot(first, second)) / (2.0 * np.pi))


def centre_spectrum(slc: NDArray[Any]) -> NDArray[np.complex128]:
    """Return the image with its spectrum centred on zero along both axes.

    Only a spectrum that is symmetric about zero makes real and imaginary part independent, which MERLIN's training
    rests on (Dalsasso, Denis and Tupin 2022, doi 10.1109/TGRS.2021.3128621, section III). Intensities do not change.
    """
    image = complex_image(slc)
    for axis in (0, 1):
        shape = [1, 1]
        shape[axis] = image.shape[axis]
        steps = np.arange(image.shape[axis]).reshape(shape)
        image = image * np.exp(-2j * np.pi * spectral_centroid(image, axis) * steps)
    return np.asarray(image)


def occupied_band(slc: NDArray[Any], axis: int, *, level: float = 0.5) -> tuple[float, float]:
    """Return the lower and upper edge of the occupied band along an axis, cycles a pixel, after centring.

    Edges are where the mean power spectrum, smoothed over 5 % of the band, falls below `level` of its median over
    the central tenth.
    """
    from scipy import ndimage

    image = centre_spectrum(slc)
    power = fft.fftshift((np.abs(fft.fft(image, axis=axis)) ** 2).mean(axis=1 - axis))
    smooth = ndimage.uniform_filter1d(power, max(3, power.size // 20), mode="wrap")
    frequency = fft.fftshift(fft.fftfreq(power.size))
    reference = float(np.median(smooth[np.abs(frequency) <= 0.05]))
    inside = frequency[smooth >= level * reference]
    return float(inside.min()), float(inside.max())


def complex_share(slc: NDArray[Any], *, reach: int = 5) -> float:
    """Return the share of independent intensities of a complex image, from its complex autocorrelation.

    Fully developed speckle with complex correlation r has the intensity correlation |r|^2 (Goodman 1976); the scene's
    structure multiplies speckle that is uncorrelated in phase, so that it does not pass for correlation as it
    does in `looks.independent_share`. The share is `1 / sum |r|^2` over lags within `reach`.

    Args:
        slc: `[H, W]`.
        reach: Largest lag in pixels.

    Raises:
        SceneError: If the image is unusable or smaller than the reach.
    """
    image = complex_image(slc)
    if min(image.shape) <= 2 * reach:
        raise SceneError(f"The correlation of speckle needs more than {2 * reach} rows and columns.")
    from scipy import ndimage

    # Equal weight for dark and bright places: correlation is a property of the instrument.
    local = ndimage.uniform_filter(np.abs(image) ** 2, 9)
    image = np.where(image != 0.0, image / np.sqrt(np.maximum(local, 1e-300)), 0.0)
    size = [fft.next_fast_len(length + reach) for length in image.shape]
    correlation = fft.ifft2(np.abs(fft.fft2(image, size)) ** 2)
    pairs = fft.ifft2(np.abs(fft.fft2((image != 0.0).astype(np.float64), size)) ** 2).real
    lags = np.arange(-reach, reach + 1)
    place = np.ix_(lags, lags)
    part = correlation[place] / np.maximum(pairs[place], 1.0)
    squared = np.abs(part) ** 2 / abs(part[reach, reach]) ** 2
    chance = 9.0 / float((image != 0.0).sum())
    return float(min(1.0, 1.0 / squared[squared > chance].sum()))


def sublooks(slc: NDArray[Any], axis: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Split the spectrum along an axis in two halves: intensities of one scene with independent speckle.

    Every other pixel along the axis is dropped, since half of the band needs half of the samples; each sublook is
    scaled to the mean intensity of the full image.

    Args:
        slc: `[H, W]`.
        axis: 0: along rows, 1: along columns.

    Returns:
        Two intensities, `[H // 2, W]` or `[H, W // 2]`.

    Raises:
        ConfigurationError: If the axis is not 0 or 1.
        SceneError: If the image is unusable.
    """
    if axis not in {0, 1}:
        raise ConfigurationError(f"Sublooks are taken along axis 0 or 1, not {axis}.")
    image = centre_spectrum(slc)
    low, high = occupied_band(image, axis)
    spectrum = fft.fft(image, axis=axis)
    frequency = fft.fftfreq(image.shape[axis])
    half = (high - low) / 2.0
    middle = (high + low) / 2.0
    total = float((np.abs(image) ** 2).mean())
    results = []
    for start in (low, middle):
        chosen = (frequency >= start) & (frequency < start + half)
        shape = [1, 1]
        shape[axis] = frequency.size
        part = fft.ifft(spectrum * chosen.reshape(shape), axis=axis)
        intensity = np.abs(part) ** 2
        thinned = intensity[::2] if axis == 0 else intensity[:, ::2]
        thinned = thinned[: image.shape[0] // 2] if axis == 0 else thinned[:, : image.shape[1] // 2]
        results.append(np.asarray(thinned * (total / thinned.mean())))
    return results[0], results[1]
