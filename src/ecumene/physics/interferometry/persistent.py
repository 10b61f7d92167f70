"""Candidates for persistent scatterers: pixels whose amplitude hardly varies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, ContractError


@dataclass(frozen=True)
class ScattererCandidates:
    """Amplitude stability of every pixel.

    Attributes:
        dispersion: Standard deviation over mean of the amplitude, `[H, W]`; NaN without data.
        dispersion_deviation: Standard error of the dispersion, `[H, W]`.
        phase_deviation: Phase noise that the dispersion stands for, radians, `[H, W]`; meaningful below 0.4.
        candidate: Pixels below the threshold.
        valid: Pixels with data in every image.
    """

    dispersion: NDArray[np.float64]
    dispersion_deviation: NDArray[np.float64]
    phase_deviation: NDArray[np.float64]
    candidate: NDArray[np.bool_]
    valid: NDArray[np.bool_]


def persistent_scatterer_candidates(amplitude: NDArray, threshold: float = 0.25) -> ScattererCandidates:
    """Choose candidates by amplitude dispersion.

    Ferretti, Prati and Rocca 2001, section IV: for strong scatterers the phase noise is about `sigma_A / mean_A`
    radians, so that stable amplitudes foretell stable phases; clutter (Rayleigh) has 0.52. Each image is first
    divided by its median amplitude over pixels with data, the paper's calibration made robust. The standard
    error `D sqrt((1/2 + D^2) / N)` is that of a coefficient of variation of Gaussian samples.

    Args:
        amplitude: Coregistered images `[N, H, W]`, complex or amplitude (linear); 0 or NaN means no data.
        threshold: Largest dispersion of a candidate; 0.25 is the paper's.

    Raises:
        ConfigurationError: If the threshold is not positive.
        ContractError: If there are fewer than 3 images, or none has data.
    """
    stack = np.abs(np.asarray(amplitude)).astype(np.float64)
    if not threshold > 0:
        raise ConfigurationError(f"The threshold of the amplitude dispersion must be positive, not {threshold}.")
    if stack.ndim != 3 or stack.shape[0] < 3:
        raise ContractError("Amplitude dispersion needs at least 3 coregistered images; give more acquisitions.")
    known = np.isfinite(stack) & (stack > 0)
    valid = known.all(axis=0)
    if not valid.any():
        raise ContractError("No pixel has data in every image; check that the images are coregistered.")
    level = np.array([np.median(image[valid]) for image in stack])
    scaled = stack / level[:, None, None]
    count = stack.shape[0]
    with np.errstate(invalid="ignore", divide="ignore"):
        dispersion = np.where(valid, scaled.std(axis=0, ddof=1) / scaled.mean(axis=0), np.nan)
    error = dispersion * np.sqrt((0.5 + dispersion**2) / count)
    candidate = valid & (np.nan_to_num(dispersion, nan=np.inf) < threshold)
    return ScattererCandidates(dispersion, error, dispersion.copy(), candidate, valid)
