"""Non-local filter for speckle: means over pixels whose patches may have the same reflectivity."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ecumene.core.errors import ConfigurationError
from ecumene.physics.speckle.checks import check_looks, check_share, check_window, intensity_image
from ecumene.physics.speckle.patch_kernels import accumulate_shifts
from ecumene.physics.speckle.result import Despeckled, assemble

_TOLERANCE = 0.2


def likelihood_ratio_moments(looks: float) -> tuple[float, float]:
    """Return mean and standard deviation of `-ln` of the likelihood ratio of equal reflectivity, for equal ones.

    For two gamma intensities of L looks and one reflectivity, b = I1 / (I1 + I2) is Beta(L, L), and the statistic
    `L ln((I1 + I2)^2 / (4 I1 I2)) = -L ln(4 b (1 - b))` has mean `2 L (psi(2L) - psi(L) - ln 2)` and variance
    `L^2 (2 psi'(L) - 4 psi'(2L))`.

    Raises:
        ConfigurationError: If looks is not positive.
    """
    looks = check_looks(looks)
    mean = 2.0 * looks * float(special.digamma(2.0 * looks) - special.digamma(looks) - math.log(2.0))
    variance = looks**2 * float(2.0 * special.polygamma(1, looks) - 4.0 * special.polygamma(1, 2.0 * looks))
    return mean, math.sqrt(variance)


def nonlocal_means(
    intensity: NDArray[Any],
    looks: float,
    *,
    patch: int = 7,
    search: int = 21,
    iterations: int = 2,
    strength: float = 1.5,
    independent_share: float = 1.0,
) -> Despeckled:
    """Filter speckle by weighted means over similar patches.

    After Deledalle, Denis and Tupin (2009, doi 10.1109/TIP.2009.2029593, probabilistic patch-based weights) with
    the bias reduction of NL-SAR (Deledalle et al. 2015, doi 10.1109/TGRS.2014.2352555). Differences: the patch
    dissimilarity (generalised likelihood ratio, theirs up to a factor) is standardised by its exact moments for
    equal reflectivities (`likelihood_ratio_moments`), widened for correlated speckle, so that one `strength` fits
    all looks; later iterations add the symmetric divergence of the previous estimate, `(R1 - R2)^2 / (R1 R2)`;
    the linear bias reduction counts variation only beyond what the weights' speckle shows by chance.

    The estimate m + b (I - m) has the error variance of a linear minimum mean square error estimate,
    `var x (1 - b) + (1 - b)^2 m^2 / (L n)`, n = share * (sum w)^2 / sum w^2 (`refined_lee` derives it).

    Args:
        intensity: Linear intensity `[H, W]`; not finite or not positive is nodata.
        looks: Equivalent number of looks.
        patch: Edge of the patches that are compared, odd.
        search: Edge of the searched window, odd.
        iterations: Passes; from the second on the previous estimate guides the weights.
        strength: Standard deviations of dissimilarity at which a weight falls to exp(-1/2).
        independent_share: Independent share of neighbouring samples.

    Raises:
        ConfigurationError: If an argument is out of range.
        SceneError: If the image is unusable.
    """
    looks, share = check_looks(looks), check_share(independent_share)
    patch, search = check_window(patch), check_window(search)
    if iterations < 1 or not strength > 0.0:
        raise ConfigurationError(
            f"The non-local filter needs at least one iteration and a positive strength, but got {iterations} and "
            f"{strength}."
        )
    image, usable = intensity_image(intensity)
    scale = float(image[usable].mean())
    scaled = np.ascontiguousarray(image / scale)  # squares of tiny intensities would lose digits
    logs = np.log(np.where(usable, scaled, 1.0))
    expected, deviation = likelihood_ratio_moments(looks)
    guide = scaled
    sums = np.zeros((4, *image.shape))
    for iteration in range(iterations):
        sums[:] = 0.0
        sums[0] += usable
        sums[1] += usable
        sums[2] += scaled
        sums[3] += scaled**2
        tolerance = _TOLERANCE * looks if iteration else 0.0
        accumulate_shifts(
            scaled,
            logs,
            guide,
            usable,
            patch // 2,
            search // 2,
            looks,
            expected,
            deviation / math.sqrt(share),
            strength,
            tolerance,
            sums,
        )
        guide = np.where(usable, sums[2] / np.maximum(sums[0], 1.0), 1.0)
    return _estimate(image, scaled, usable, sums, looks, share, scale)


def _estimate(
    image: NDArray[np.float64],
    scaled: NDArray[np.float64],
    usable: NDArray[np.bool_],
    sums: NDArray[np.float64],
    looks: float,
    share: float,
    scale: float,
) -> Despeckled:
    """Turn weighted sums into the bias-reduced estimate and its error."""
    weight = np.maximum(sums[0], 1.0)
    mean = sums[2] / weight
    effective = weight**2 / np.maximum(sums[1], 1.0)
    count = np.maximum(effective * share, 1.0)
    spare = np.maximum(1.0 - 1.0 / np.maximum(effective, 1.0 + 1e-9), 1e-9)
    variance = np.maximum(sums[3] / weight - mean**2, 0.0) / spare
    expected = mean**2 / looks
    chance = 2.0 * np.sqrt(2.0 * (1.0 + 1.0 / looks) / count)
    excess = np.where(variance > (1.0 + chance) * expected, variance - expected, 0.0)
    texture = excess / (1.0 + 1.0 / looks)
    floor = np.maximum(variance, expected)
    gain = np.divide(texture, floor, out=np.zeros_like(mean), where=floor > 0.0)
    # A pixel that resembles nothing is its own estimate; its error is its speckle's.
    lonely = np.where(effective < 1.0 + 1e-6, mean**2 / looks, 0.0)
    error = texture * (1.0 - gain) + (1.0 - gain) ** 2 * expected / count
    estimate = mean + gain * (scaled - mean)
    kept = np.zeros(image.shape, np.bool_)
    total = np.maximum(error, lonely) * scale**2
    return assemble(image, usable, estimate * scale, total, count * looks, looks, kept)
