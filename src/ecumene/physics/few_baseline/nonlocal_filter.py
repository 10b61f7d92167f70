"""Non-local filtering of interferograms: every pixel is averaged with the pixels whose surroundings are alike.

Alike means: the likelihood ratio does not refuse that two surroundings have the same covariance matrix. As in
NL-SAR (Deledalle et al., IEEE TGRS 53(4), 2015) covariances are estimated in small windows first, compared by
the generalised likelihood ratio of the complex Wishart distribution (Conradsen et al., IEEE TGRS 41(1), 2003)

    D = L (2 ln|(C1 + C2) / 2| - ln|C1| - ln|C2|)

and D is averaged over a patch and over all interferograms, since all see the same buildings. What differs: one
size of patch and window instead of a pointwise choice among several; the kernel starts at the exact mean of D
under equality, so that no threshold has to be trained.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import uniform_filter
from scipy.special import digamma

from ecumene.core.errors import ConfigurationError

_CHANNELS = 2  # of an interferometric pair


@dataclass(frozen=True)
class FilteredInterferograms:
    """K interferograms after filtering.

    Attributes:
        coherence: Complex coherence, phase first minus second, `[K, H, W]`, NaN where not valid.
        looks: Equivalent number of looks (sum w)^2 / sum w^2 of the averaging, `[H, W]`.
        intensity: Filtered mean intensity of both images, `[K, H, W]`.
        valid: Pixels with data in all images, `[H, W]`.
    """

    coherence: NDArray[np.complex128]
    looks: NDArray[np.float64]
    intensity: NDArray[np.float64]
    valid: NDArray[np.bool_]

    @property
    def phase_standard_deviation(self) -> NDArray[np.float64]:
        """Phase noise sqrt((1 - c^2) / (2 looks c^2)), radians, `[K, H, W]` (Cramer-Rao bound of many looks)."""
        magnitude = np.clip(np.abs(self.coherence), 1e-6, 1.0 - 1e-9)
        return np.asarray(np.sqrt((1.0 - magnitude**2) / (2.0 * self.looks * magnitude**2)))


def filter_interferograms(
    first: ArrayLike,
    second: ArrayLike,
    *,
    search: int = 21,
    patch: int = 7,
    window: int = 3,
    strength: float = 1.0,
) -> FilteredInterferograms:
    """Filter the interferograms of K coregistered pairs together.

    Args:
        first: Complex images, `[K, H, W]` (or `[H, W]`); not finite where there are no data.
        second: The other image of each pair.
        search: Side of the search window, pixels, odd.
        patch: Side of the patches that are compared, pixels, odd.
        window: Side of the window of the first covariance estimate, pixels, odd, at least 3.
        strength: Width of the kernel, in standard deviations of the patch mean of D under equality.

    Returns:
        Coherences and equivalent looks.

    Raises:
        ConfigurationError: If shapes differ, sides are even or too large, images are real, or no pixel has data.
    """
    one, two = _images(first), _images(second)
    if one.shape != two.shape:
        raise ConfigurationError(
            f"The images of the pairs differ in shape ({one.shape} and {two.shape}); coregister them."
        )
    for name, side, least in (("search", search, 3), ("patch", patch, 1), ("window", window, 3)):
        if side < least or side % 2 == 0:
            raise ConfigurationError(f"The {name} side must be odd and at least {least} pixels, not {side}.")
    if not strength > 0:
        raise ConfigurationError(f"The filter strength must be positive, not {strength}.")
    finite = (np.isfinite(one) & np.isfinite(two)).all(axis=0)
    valid = np.asarray(finite & (np.abs(one) > 0).all(axis=0) & (np.abs(two) > 0).all(axis=0))
    if not valid.any():
        raise ConfigurationError("No pixel has finite data in all images of the pairs; check the files.")
    one, two = np.where(valid, one, 0), np.where(valid, two, 0)
    channels = np.stack([np.abs(one) ** 2, np.abs(two) ** 2, (one * two.conj()).real, (one * two.conj()).imag])
    sums, weight, squares = _average(channels, valid, search, patch, window, strength)
    with np.errstate(divide="ignore", invalid="ignore"):
        coherence = (sums[2] + 1j * sums[3]) / np.sqrt(sums[0] * sums[1])
        looks = np.where(valid, weight**2 / squares, 0.0)
        intensity = 0.5 * (sums[0] + sums[1]) / weight
    coherence[:, ~valid] = np.nan
    intensity[:, ~valid] = np.nan
    return FilteredInterferograms(coherence, looks, intensity, valid)


def _images(images: ArrayLike) -> NDArray[np.complex128]:
    array = np.asarray(images)
    if not np.iscomplexobj(array):
        raise ConfigurationError("Interferograms need complex images (amplitude and phase), not real ones.")
    array = array[None] if array.ndim == 2 else array
    if array.ndim != 3 or 0 in array.shape:
        raise ConfigurationError(f"Images of shape {array.shape} are not pairs x rows x columns.")
    return np.asarray(array, np.complex128)


def likelihood_ratio_moments(looks: float) -> tuple[float, float]:
    """Return mean and standard deviation of D for two 2 x 2 covariances of the same distribution.

    E ln|C| of an n-look complex Wishart mean is ln|Sigma| + sum_i psi(n - i) - p ln n; the standard deviation is
    that of its chi-square limit with p^2 degrees of freedom (2 D is then chi-square).

    Args:
        looks: Looks of each covariance estimate.
    """

    def expected(n: float) -> float:
        return float(sum(digamma(n - i) for i in range(_CHANNELS)) - _CHANNELS * np.log(n))

    return 2.0 * looks * (expected(2.0 * looks) - expected(looks)), float(np.sqrt(_CHANNELS**2 / 2.0))


def _average(
    channels: NDArray[np.float64], valid: NDArray[np.bool_], search: int, patch: int, window: int, strength: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return weighted sums of the channels `[4, K, H, W]`, sums of weights and of their squares `[H, W]`."""
    pairs, height, width = channels.shape[1:]
    share = np.maximum(uniform_filter(valid.astype(np.float64), window, mode="constant"), 1e-12)
    pilot = uniform_filter(channels, (0, 0, window, window), mode="constant") / share
    logs = np.log(_determinant(pilot))
    looks = float(window * window)
    mean, deviation = likelihood_ratio_moments(looks)
    # A patch mean rests on about (patch / window)^2 independent estimates, in each of the pairs.
    width_d = strength * deviation / np.sqrt(pairs * max(1.0, (patch / window) ** 2))
    reach = search // 2
    pad = ((0, 0), (0, 0), (reach, reach), (reach, reach))
    far, far_pilot = np.pad(channels, pad), np.pad(pilot, pad)
    far_logs = np.pad(logs, pad[1:])
    far_valid = np.pad(valid, pad[2:])
    sums, weight, squares = np.zeros_like(channels), np.zeros((height, width)), np.zeros((height, width))
    for row in range(search):
        for col in range(search):
            there = (slice(row, row + height), slice(col, col + width))
            both = valid & far_valid[there]
            if row == reach and col == reach:
                w = both.astype(np.float64)
            else:
                joint = np.log(_determinant(0.5 * (pilot + far_pilot[(..., *there)])))
                d = looks * np.mean(2.0 * joint - logs - far_logs[(slice(None), *there)], axis=0)
                cover = uniform_filter(both.astype(np.float64), patch, mode="constant")
                level = uniform_filter(np.where(both, d, 0.0), patch, mode="constant") / np.maximum(cover, 1e-12)
                w = np.where(both, np.exp(-np.maximum(level - mean, 0.0) / width_d), 0.0)
            sums += w * far[(..., *there)]
            weight += w
            squares += w * w
    return sums, weight, squares


def _determinant(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    product = covariance[0] * covariance[1]
    # Coherence of one look is 1: the floor keeps the logarithm finite where the window holds one pixel.
    return np.asarray(np.maximum(product - covariance[2] ** 2 - covariance[3] ** 2, 1e-9 * product + 1e-300))
