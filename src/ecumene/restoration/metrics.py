"""How good restored reflectances and their error bars are: errors, image similarity, spectral angle, calibration."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.physics.spectral_angles import spectral_angles_deg
from ecumene.trust.measures import risk_coverage_curve
from ecumene.trust.regression_measures import interval_report, variance_diagram

Floats = NDArray[np.floating]
Mask = NDArray[np.bool_]

SSIM_SIGMA, SSIM_RADIUS = 1.5, 5
"""Gaussian window of 11 x 11 pixels (Wang et al. 2004)."""
Z90 = 1.6448536269514722
"""Half width of the central 90 % interval of a Gaussian, in standard deviations."""


def mean_absolute_error(predicted: Floats, target: Floats) -> float:
    """Return the mean of |predicted - target| over known elements."""
    return float(np.mean(np.abs(_differences(predicted, target))))


def root_mean_squared_error(predicted: Floats, target: Floats) -> float:
    """Return the root of the mean squared difference over known elements."""
    return float(np.sqrt(np.mean(_differences(predicted, target) ** 2)))


def peak_signal_to_noise(predicted: Floats, target: Floats, peak: float = 1.0) -> float:
    """Return 20 log10(peak / RMSE) in dB; infinite without error.

    Of one image; a mean over images is a mean of their decibels, not that of the mean error.
    """
    rmse = root_mean_squared_error(predicted, target)
    return math.inf if rmse == 0.0 else 20.0 * math.log10(peak / rmse)


def spectral_angle(predicted: Floats, target: Floats) -> float:
    """Return the mean over pixels of the angle between two spectra, degrees.

    Args:
        predicted: `[K, ...]`.
        target: Like it; pixels with an unknown band, or a spectrum of zeros, do not count.

    Raises:
        ConfigurationError: If no pixel counts.
    """
    p = np.asarray(predicted, np.float64).reshape(len(predicted), -1)
    t = np.asarray(target, np.float64).reshape(len(target), -1)
    norm = np.linalg.norm(p, axis=0) * np.linalg.norm(t, axis=0)
    known = np.isfinite(norm) & (norm > 0.0)
    if not known.any():
        raise ConfigurationError("A spectral angle needs a pixel whose spectra are known and not zero.")
    return float(spectral_angles_deg(p[:, known], t[:, known]).mean())


def similarity_map(predicted: Floats, target: Floats, peak: float = 1.0) -> NDArray[np.float64]:
    """Return the structural similarity of every pixel, mean over bands, `[H, W]`.

    Wang et al. 2004 with a Gaussian window of 11 x 11 pixels and a standard deviation of 1.5, C1 = (0.01 peak)^2 and
    C2 = (0.03 peak)^2; borders are reflected. A window with an unknown pixel has no similarity (NaN).

    Args:
        predicted: `[K, H, W]`.
        target: Like it.
        peak: Largest value.
    """
    from scipy.ndimage import binary_dilation, gaussian_filter

    if predicted.shape != target.shape or predicted.ndim != 3:
        raise ConfigurationError(f"Images to compare need one shape [K, H, W], not {predicted.shape}, {target.shape}.")
    unknown = np.asarray(~(np.isfinite(predicted) & np.isfinite(target)).all(axis=0), np.bool_)
    total = np.zeros(predicted.shape[1:])

    def blur(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(gaussian_filter(values, SSIM_SIGMA, radius=SSIM_RADIUS, mode="reflect"))

    for first, second in zip(predicted, target, strict=True):
        x, y = (np.where(unknown, 0.0, np.asarray(part, np.float64)) for part in (first, second))
        mx, my = blur(x), blur(y)
        sxx, syy, sxy = blur(x * x) - mx * mx, blur(y * y) - my * my, blur(x * y) - mx * my
        c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
        total += (2 * mx * my + c1) * (2 * sxy + c2) / ((mx * mx + my * my + c1) * (sxx + syy + c2))
    square = np.ones((2 * SSIM_RADIUS + 1,) * 2, bool)
    near = binary_dilation(unknown, square) if unknown.any() else unknown
    return np.where(near, np.nan, total / len(predicted))


def image_measures(predicted: Floats, target: Floats, where: Mask | None = None) -> dict[str, float | None]:
    """Return MAE, RMSE, PSNR, SSIM and SAM of an image, or of some of its pixels.

    Args:
        predicted: `[K, H, W]`, reflectance; pixels with an unknown band do not count.
        target: Like it.
        where: bool `[H, W]`; the similarity of a pixel has its window's other pixels in it.

    Returns:
        `pixels`, `mae`, `rmse`, `psnr` (dB), `ssim`, `sam` (degrees); None where nothing is known.
    """
    known = (np.isfinite(predicted) & np.isfinite(target)).all(axis=0)
    chosen = known if where is None else known & where
    result: dict[str, float | None] = {"pixels": float(chosen.sum())}
    if not chosen.any():
        return result | dict.fromkeys(("mae", "rmse", "psnr", "ssim", "sam"))
    p, t = predicted[:, chosen], target[:, chosen]
    similar = similarity_map(predicted, target)[chosen]
    similar = similar[np.isfinite(similar)]
    psnr = peak_signal_to_noise(p, t)
    return result | {
        "mae": mean_absolute_error(p, t),
        "rmse": root_mean_squared_error(p, t),
        "psnr": psnr if math.isfinite(psnr) else None,
        "ssim": float(similar.mean()) if similar.size else None,
        "sam": spectral_angle(p, t),
    }


def restoration_report(
    predicted: Floats,
    target: Floats,
    cloudy: Mask,
    deviation: Floats | None = None,
    groups: NDArray[np.integer] | None = None,
) -> dict[str, Any]:
    """Return the measures of a restored image overall, on cloudy and on clear pixels, and those of its error bars.

    Args:
        predicted: `[K, H, W]`.
        target: Like it.
        cloudy: bool `[H, W]`, covered in the input.
        deviation: Standard deviations like `predicted`, or None.
        groups: Block of each pixel `[H, W]`, for the coverage of blocks.

    Returns:
        `overall`, `cloudy`, `clear` (see `image_measures`), and `error_bars` of cloudy pixels.
    """
    report: dict[str, Any] = {
        "overall": image_measures(predicted, target),
        "cloudy": image_measures(predicted, target, cloudy),
        "clear": image_measures(predicted, target, ~cloudy),
    }
    if deviation is not None:
        known = cloudy & (np.isfinite(predicted) & np.isfinite(target) & np.isfinite(deviation)).all(axis=0)
        if known.any():
            block = None if groups is None else np.broadcast_to(groups[known], (len(predicted), int(known.sum())))
            report["error_bars"] = error_bar_measures(predicted[:, known], deviation[:, known], target[:, known], block)
    return report


def error_bar_measures(
    predicted: Floats,
    deviation: Floats,
    target: Floats,
    groups: NDArray[np.integer] | None = None,
    half_width: Floats | None = None,
) -> dict[str, Any]:
    """Return how honest standard deviations are.

    Args:
        predicted: Any shape.
        deviation: Like it.
        target: Like it.
        groups: Block of each element, like it.
        half_width: Half of the 90 % intervals, like it; None: those of a Gaussian.

    Returns:
        UCE and AUCE (20 bins of equal width in variance, every element a sample, Ebel et al. 2023), UCE over RMSE,
        coverage of the 90 % intervals, and the discard curve.
    """
    p, s, t = (np.asarray(part, np.float64).ravel() for part in (predicted, deviation, target))
    diagram = variance_diagram(p, s, t, bins=20)
    rmse = root_mean_squared_error(p, t)
    half = Z90 * s if half_width is None else np.asarray(half_width, np.float64).ravel()
    block = None if groups is None else np.asarray(groups).ravel()
    intervals = interval_report(p - half, p + half, t, 0.9, block)
    return {
        "uce": diagram.uce,
        "auce": diagram.auce,
        "rmse": rmse,
        "uce_over_rmse": diagram.uce / rmse if rmse > 0.0 else None,
        "mean_deviation": float(np.sqrt(np.mean(s**2))),
        "coverage_90": intervals.coverage,
        "coverage_90_blocks": intervals.block_coverage,
        "discard_rmse": discard_curve((p - t) ** 2, s),
    }


def image_uncertainty_calibration(rmse: Floats, deviation: Floats) -> tuple[float, float]:
    """Return (UCE, AUCE) with whole images as samples, as the code of UnCRtainTS has it by default.

    Args:
        rmse: `[N]`, error of each image.
        deviation: `[N]`, root of each image's mean predicted variance.
    """
    errors = np.asarray(rmse, np.float64)
    diagram = variance_diagram(np.zeros_like(errors), deviation, errors, bins=20)
    return diagram.uce, diagram.auce


def discard_curve(squared_error: Floats, deviation: Floats, step: float = 0.05) -> dict[str, list[float]]:
    """Return the RMSE of the most certain share of elements, in steps of 5 % (the discard plot of Ebel et al. 2023).

    Args:
        squared_error: `[N]`.
        deviation: `[N]`, larger is less certain; equal ones count with the mean of their errors.
        step: Distance of the shares.
    """
    coverage, risk = risk_coverage_curve(squared_error, deviation)
    shares = np.arange(1, round(1.0 / step) + 1) * step
    kept = np.clip(np.searchsorted(coverage, shares - 1e-12), 0, len(risk) - 1)
    return {"kept": [round(float(s), 6) for s in shares], "rmse": np.sqrt(risk[kept]).tolist()}


def _differences(predicted: Floats, target: Floats) -> NDArray[np.float64]:
    p, t = np.asarray(predicted, np.float64), np.asarray(target, np.float64)
    if p.shape != t.shape:
        raise ConfigurationError(f"Predictions {p.shape} and targets {t.shape} have different shapes.")
    difference = (p - t)[np.isfinite(p) & np.isfinite(t)]
    if difference.size == 0:
        raise ConfigurationError("There is no pixel with both a prediction and a target to measure.")
    return difference
