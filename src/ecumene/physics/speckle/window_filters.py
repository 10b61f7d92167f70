"""Window filters with the error bars that their own models imply: refined Lee and Gamma-MAP."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.physics.speckle.checks import check_looks, check_share, check_window, intensity_image
from ecumene.physics.speckle.result import Despeckled, assemble
from ecumene.physics.speckle.window_kernels import window_statistics

Image = NDArray[np.float64]


def _statistics(image: Image, usable: NDArray[np.bool_], window: int, looks: float) -> tuple[Image, Image, Image]:
    mean, variance, count = np.zeros_like(image), np.zeros_like(image), np.ones_like(image)
    window_statistics(image, usable, window // 2, looks, True, mean, variance, count)
    return mean, variance, count


def _texture(mean: Image, variance: Image, count: Image, looks: float, share: float) -> Image:
    """Return the variance of the reflectivity that the window shows beyond what speckle does by chance.

    var(x) = (var(I) - m^2 / L) / (1 + 1/L) for I = x v. A window's variance of pure speckle scatters by a relative
    sqrt(2 (1 + 1/L) / n); one such standard deviation is taken off, so that homogeneous areas are averaged fully.
    """
    chance = np.sqrt(2.0 * (1.0 + 1.0 / looks) / np.maximum(count * share, 1.0))
    expected = mean**2 / looks
    excess = variance - expected
    return np.maximum(np.where(excess > chance * expected, excess, 0.0), 0.0) / (1.0 + 1.0 / looks)


def refined_lee(
    intensity: NDArray[Any], looks: float, *, window: int = 7, independent_share: float = 1.0
) -> Despeckled:
    """Filter speckle by the local linear minimum mean square error estimate in edge-aligned windows.

    Lee (1981, doi 10.1016/S0146-664X(81)80018-4). With local mean m and variance s^2, the model I = x v, E v = 1,
    var v = 1/L gives var x = (s^2 - m^2/L)/(1 + 1/L), the estimate m + b (I - m), b = var x / s^2, and its error
    variance var x (1 - b); to it the variance of the local mean, (1 - b)^2 s^2 / n, is added.
    Differences: edges are found by the largest ratio of opposite 3 x 3 means instead of their difference (constant
    false-alarm rate under multiplicative noise) and only where the window's variation exceeds that of speckle by two
    standard deviations; var x counts only beyond one standard deviation of chance.

    Args:
        intensity: Linear intensity `[H, W]`; not finite or not positive is nodata.
        looks: Equivalent number of looks.
        window: Edge of the window, odd.
        independent_share: Independent share of neighbouring samples (`looks.independent_share`).

    Raises:
        ConfigurationError: If looks, window or share are out of range.
        SceneError: If the image is unusable.
    """
    looks, window, share = check_looks(looks), check_window(window, 5), check_share(independent_share)
    image, usable = intensity_image(intensity)
    mean, variance, count = _statistics(image, usable, window, looks)
    texture = _texture(mean, variance, count, looks, share)
    floor = np.maximum(variance, mean**2 / looks)
    gain = np.divide(texture, floor, out=np.zeros_like(mean), where=floor > 0.0)
    effective = np.maximum(count * share, 1.0)
    error = texture * (1.0 - gain) + (1.0 - gain) ** 2 * floor / effective
    estimate = mean + gain * (image - mean)
    kept = np.zeros(image.shape, np.bool_)
    return assemble(image, usable, estimate, error, effective * looks, looks, kept)


def gamma_map(intensity: NDArray[Any], looks: float, *, window: int = 7, independent_share: float = 1.0) -> Despeckled:
    """Filter speckle by the maximum a posteriori estimate under gamma texture.

    Lopes, Nezry, Touzi and Laur (1990, IGARSS, "Maximum a posteriori speckle filtering and first order texture
    models in SAR images"): prior gamma of mean m and shape a = m^2 / var x; the mode solves
    `a x^2 / m - (a - L - 1) x - L I = 0`. Homogeneous windows give the mean; where the variation exceeds
    sqrt(2) times that of speckle and the pixel stands above its window, it is a point target and kept.
    Differences: edge-aligned windows as in `refined_lee`. Error variance: inverse of the observed information at the
    mode, `a / (m x) + L I / x^3` (Laplace's approximation); m^2 / (L n) in homogeneous windows; x^2 / L for kept
    pixels.

    Args:
        intensity: Linear intensity `[H, W]`; not finite or not positive is nodata.
        looks: Equivalent number of looks.
        window: Edge of the window, odd.
        independent_share: Independent share of neighbouring samples.

    Raises:
        ConfigurationError: If looks, window or share are out of range.
        SceneError: If the image is unusable.
    """
    looks, window, share = check_looks(looks), check_window(window, 5), check_share(independent_share)
    image, usable = intensity_image(intensity)
    mean, variance, count = _statistics(image, usable, window, looks)
    texture = _texture(mean, variance, count, looks, share)
    effective = np.maximum(count * share, 1.0)
    textured = texture > 0.0
    squared = np.divide(variance, mean**2, out=np.zeros_like(mean), where=mean > 0.0)
    # Beyond sqrt(2) times the speckle's variation, and brighter than its window by three standard deviations of it.
    kept = textured & (squared > 2.0 / looks) & (image > mean + 3.0 * np.sqrt(variance))
    estimate, error = mean.copy(), mean**2 / (looks * effective)
    m, i = mean[textured], image[textured]
    shape = m**2 / texture[textured]
    pull = (shape - looks - 1.0) * m
    mode = (pull + np.sqrt(pull**2 + 4.0 * shape * looks * m * i)) / (2.0 * shape)
    estimate[textured] = mode
    error[textured] = 1.0 / (shape / (m * mode) + looks * i / mode**3)
    estimate[kept] = image[kept]
    error[kept] = image[kept] ** 2 / looks
    return assemble(image, usable, estimate, error, effective * looks, looks, kept)
