"""Equivalent number of looks: how much speckle an intensity image has, with its standard error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import fft, special

from ecumene.core.errors import ConfigurationError, SceneError
from ecumene.physics.speckle.checks import check_share, check_window, intensity_image

HETEROGENEOUS = 1
"""The two estimators disagree by more than three standard errors: not homogeneous gamma speckle."""
FEW_SAMPLES = 2
"""Fewer than 50 independent samples; the error bar is rough."""


@dataclass(frozen=True)
class LooksEstimate:
    """Equivalent number of looks of a region.

    Attributes:
        value: Estimate.
        standard_deviation: Asymptotic standard error.
        samples: Pixels used.
        independent_samples: Pixels times the share of independent ones.
        flags: Bits of this module.
    """

    value: float
    standard_deviation: float
    samples: int
    independent_samples: float
    flags: int


def gamma_shape(log_of_mean_minus_mean_of_log: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solve `ln L - psi(L) = s` for L, elementwise, s > 0 (the gamma law's likelihood equation).

    Newton's method on 1/L from the start of Minka (2002, "Estimating a Gamma distribution"), which converges
    quadratically; good to rounding.
    """
    s = np.asarray(log_of_mean_minus_mean_of_log, np.float64)
    looks = (3.0 - s + np.sqrt((s - 3.0) ** 2 + 24.0 * s)) / (12.0 * s)
    for _ in range(6):
        miss = np.log(looks) - special.digamma(looks) - s
        slope = 1.0 / looks - special.polygamma(1, looks)
        looks = 1.0 / (1.0 / looks + miss / (looks**2 * slope))
    return np.asarray(looks)


def estimate_looks(
    intensity: NDArray[Any],
    *,
    method: Literal["likelihood", "moments"] = "likelihood",
    independent_share: float = 1.0,
) -> LooksEstimate:
    """Estimate the equivalent number of looks of a homogeneous region.

    `likelihood` solves `ln L - psi(L) = ln<I> - <ln I>` (Anfinsen, Doulgeris and Eltoft 2009, doi
    10.1109/TGRS.2009.2019269, in its one-channel form), variance `1 / (n (psi'(L) - 1/L))` from the Fisher
    information with unknown mean. `moments` is `<I>^2 / var(I)`, variance `2 L (L + 1) / n`.

    Args:
        intensity: Linear intensities of any shape; what is not finite or not positive is left out.
        method: Estimator of `value`.
        independent_share: Independent share of the samples; see `independent_share`.

    Raises:
        ConfigurationError: If the method or the share is wrong.
        SceneError: If fewer than 10 usable samples are left, or all are equal.
    """
    share = check_share(independent_share)
    if method not in {"likelihood", "moments"}:
        raise ConfigurationError(f"There is no looks estimator {method!r}; choose likelihood or moments.")
    values = np.asarray(intensity, np.float64).ravel()
    values = values[np.isfinite(values) & (values > 0.0)]
    if values.size < 10:
        raise SceneError(f"The number of looks needs at least 10 usable pixels, but the region has {values.size}.")
    mean, variance = float(values.mean()), float(values.var(ddof=1))
    scatter = float(np.log(mean) - np.log(values).mean())
    if not variance > 1e-24 * mean**2 or not scatter > 1e-15:
        raise SceneError("All intensities of the region are equal; that is no speckle.")
    effective = values.size * share
    moments = mean**2 / variance
    likelihood = float(gamma_shape(np.array([scatter]))[0])
    error_moments = float(np.sqrt(2.0 * moments * (moments + 1.0) / effective))
    information = float(special.polygamma(1, likelihood)) - 1.0 / likelihood
    error_likelihood = float(1.0 / np.sqrt(effective * information))
    # The likelihood's estimate is the efficient one: the variance of the difference is the difference of the variances.
    spread = np.sqrt(max(error_moments**2 - error_likelihood**2, (0.05 * error_moments) ** 2))
    flags = HETEROGENEOUS if abs(moments - likelihood) > 3.0 * spread else 0
    flags |= FEW_SAMPLES if effective < 50 else 0
    chosen = (likelihood, error_likelihood) if method == "likelihood" else (moments, error_moments)
    return LooksEstimate(chosen[0], chosen[1], int(values.size), float(effective), flags)


def independent_share(intensity: NDArray[Any], *, reach: int = 5) -> float:
    """Return the share of independent samples of a speckled image, from its intensity autocorrelation.

    The variance of a mean over many pixels is `sigma^2 / (n share)` with `share = 1 / sum of rho(lag)`. To
    keep the scene's own structure out, blocks of `4 reach + 1` pixels are normalised by their mean, the median
    of the correlations of the more homogeneous half of them is used, and only lags within `reach` count whose
    correlation is beyond chance. The choice of blocks makes the share of strongly correlated speckle a few
    hundredths to a tenth too large.

    Args:
        intensity: `[H, W]`.
        reach: Largest lag in pixels.

    Raises:
        SceneError: If the image is unusable, or has no block free of nodata.
    """
    image, usable = intensity_image(intensity)
    width = 4 * reach + 1
    complete = _blocks(usable, width).all(axis=1) if min(image.shape) >= width else np.zeros(0, np.bool_)
    if not complete.any():
        raise SceneError(f"The correlation of speckle needs a block of {width} x {width} pixels without nodata.")
    values = _blocks(image, width)[complete]
    ratio = values / values.mean(axis=1, keepdims=True) - 1.0
    spread = (ratio**2).mean(axis=1)
    ratio = ratio[spread <= np.median(spread)]
    size = (2 * width, 2 * width)
    power = np.abs(fft.rfft2(ratio.reshape(-1, width, width), size)) ** 2
    pairs = np.abs(fft.rfft2(np.ones((width, width)), size)) ** 2
    covariance = fft.irfft2(power, size) / np.maximum(fft.irfft2(pairs, size), 1.0)
    lags = np.arange(-reach, reach + 1)
    chosen = covariance[:, lags[:, None], lags] / np.maximum(covariance[:, :1, :1], 1e-300)
    block = np.median(chosen, axis=0)
    chance = 4.0 / (width * np.sqrt(len(ratio)))  # three standard errors of a median of correlations
    total = 1.0
    for _ in range(5):
        # Subtracting a block's mean lowers all correlations by the variance of that mean, total / samples.
        lost = min(total / width**2, 0.5)
        restored = block * (1.0 - lost) + lost
        total = max(1.0, float(restored[restored > chance].sum()))
    return 1.0 / total


def _blocks(array: NDArray[Any], edge: int) -> NDArray[Any]:
    """Cut `[H, W]` into non-overlapping square blocks `[n, edge * edge]`, dropping the remainder."""
    rows, cols = array.shape[0] // edge, array.shape[1] // edge
    cut = array[: rows * edge, : cols * edge].reshape(rows, edge, cols, edge)
    return np.asarray(cut.transpose(0, 2, 1, 3).reshape(rows * cols, -1))


def scene_looks(
    intensity: NDArray[Any], *, window: int = 15, independent_share: float = 1.0, resamples: int = 200, seed: int = 0
) -> LooksEstimate:
    """Estimate the number of looks of a whole scene without choosing a region.

    The likelihood estimate of every non-overlapping window is taken; homogeneous windows agree, textured
    ones fall below. The half-sample mode (Robertson and Cryer 1974) of their distribution is the estimate
    and its bootstrap over windows the error. It is the mode idea of Anfinsen et al. (2009), section IV, with
    independent windows instead of a kernel density of sliding ones.

    Args:
        intensity: `[H, W]`, linear.
        window: Edge of a window in pixels (odd).
        independent_share: Independent share of the samples, for the flags.
        resamples: Bootstrap resamples.
        seed: Of the bootstrap.

    Raises:
        SceneError: If there are fewer than 4 full windows.
    """
    share = check_share(independent_share)
    window = check_window(window, 5)
    image, usable = intensity_image(intensity)
    rows, cols = image.shape[0] // window, image.shape[1] // window
    if rows * cols < 4:
        raise SceneError(f"The scene has fewer than 4 windows of {window} x {window} pixels; state the looks instead.")

    full = _blocks(usable, window).all(axis=1)
    values = _blocks(image, window)[full]
    if len(values) < 4:
        raise SceneError(f"Fewer than 4 windows of {window} x {window} pixels are free of nodata; state the looks.")
    scatter = np.log(values.mean(axis=1)) - np.log(values).mean(axis=1)
    looks = gamma_shape(np.maximum(scatter, 1e-12))
    rng = np.random.default_rng(seed)
    modes = [half_sample_mode(rng.choice(looks, looks.size)) for _ in range(resamples)]
    samples = int(values.size)
    flags = FEW_SAMPLES if len(values) < 20 else 0
    return LooksEstimate(half_sample_mode(looks), float(np.std(modes)), samples, samples * share, flags)


def half_sample_mode(values: NDArray[np.float64]) -> float:
    """Return the half-sample mode: again and again the shortest half of the sorted sample."""
    ordered = np.sort(np.asarray(values, np.float64))
    while ordered.size > 3:
        half = (ordered.size + 1) // 2
        spans = ordered[half - 1 :] - ordered[: ordered.size - half + 1]
        start = int(np.argmin(spans))
        ordered = ordered[start : start + half]
    return float(ordered.mean())
