"""What the residuals of an image say about the noise of its pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import SceneError


def estimate_residual_correlation(spectra: Any, endmembers: Any, abundances: Any) -> NDArray[np.float64]:
    """Estimate R, the covariance of residuals over the spectrum divided by its mean variance.

    Model errors (illumination, variability within a material) go along with their neighbours in the spectrum; error
    bars that take them as independent are too small by about the square root of their correlation length in bands.
    Each pixel's residual is scaled to unit root mean square first, so that a few bright pixels do not decide.

    Args:
        spectra: `[P, B]`.
        endmembers: `[B, p]`.
        abundances: `[P, p]`.

    Returns:
        `[B, B]`, mean of the diagonal 1, with a ridge of 1e-6.

    Raises:
        SceneError: If no pixel has a finite, non-zero residual.
    """
    residual = np.asarray(spectra, dtype=np.float64) - np.asarray(abundances) @ np.asarray(endmembers).T
    size = np.sqrt(np.mean(residual**2, axis=1))
    kept = np.isfinite(size) & (size > 0)
    if not kept.any():
        raise SceneError("No pixel has a residual to learn from; the spectra are not finite or are fitted exactly.")
    scaled = residual[kept] / size[kept, None]
    covariance = scaled.T @ scaled / scaled.shape[0]
    covariance += 1e-6 * np.eye(covariance.shape[0])
    return np.asarray(covariance / np.mean(np.diag(covariance)))


def robust_limit(residual_rms: Any, spreads: float = 3.0) -> float:
    """Return the residual above which a pixel is unlike the bulk of the image.

    Tukey's outer fence, Q3 + 3 (Q3 - Q1) (Tukey 1977, Exploratory Data Analysis): residuals of real images are
    skewed and often have two modes, which quartiles bear and moments do not.

    Args:
        residual_rms: `[P]`; not finite: left out.
        spreads: Factor of the distance of the quartiles.

    Raises:
        SceneError: If no residual is finite.
    """
    values = np.asarray(residual_rms, dtype=np.float64).ravel()
    values = values[np.isfinite(values)]
    if values.size == 0:
        raise SceneError("No pixel has a finite residual, so no limit can be set; check the nodata value.")
    low, high = np.quantile(values, (0.25, 0.75))
    return float(high + spreads * (high - low))
