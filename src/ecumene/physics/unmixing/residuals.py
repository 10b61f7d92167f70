"""What the residuals of an image say about the noise of its pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import SceneError
from ecumene.physics.unmixing.checks import check_endmembers, finite_spectra

_LARGEST_LAG = 40  # bands


def estimate_residual_correlation(spectra: Any, endmembers: Any) -> NDArray[np.float64]:
    """Estimate R, the correlation of the errors between bands, from what unconstrained least squares leaves over.

    Model errors (illumination, variability within a material) go along with their neighbours in the spectrum; error
    bars that take them as independent are too small by about the square root of their correlation length in bands.
    The residuals' own covariance cannot be used: it is P R P with P = 1 - E (E'E)^-1 E', blind to exactly the
    directions in which abundances err. So a stationary model is fitted through P, R = w 1 + (1 - w) exp(-|i - j| / L)
    in bands, by matching its lagged sums tr_k(P R P) to the residuals' (method of moments). The tenth of the pixels
    with the largest residuals is scaled down to the limit of that tenth first, so that a few pixels do not decide.

    Args:
        spectra: `[P, B]`; bands in the order of their wavelengths; pixels that are not finite are left out.
        endmembers: `[B, p]`, p < B.

    Returns:
        `[B, B]`, unit diagonal.

    Raises:
        SceneError: If no pixel has a residual.
    """
    matrix = check_endmembers(endmembers)
    data, _ = finite_spectra(np.asarray(spectra), 1)
    bands = len(matrix)
    outside = np.eye(bands) - matrix @ np.linalg.pinv(matrix)
    residual = data @ outside
    size = np.linalg.norm(residual, axis=1)
    kept = size > 1e-9 * np.linalg.norm(data, axis=1)
    if not kept.any() or matrix.shape[1] >= bands:
        raise SceneError("No pixel has a residual to learn from: the endmembers explain every spectrum exactly.")
    scaled = residual[kept] / np.maximum(size[kept], np.quantile(size[kept], 0.9))[:, None]
    lags = range(min(bands // 2, _LARGEST_LAG) + 1)
    covariance = scaled.T @ scaled / len(scaled)
    seen = np.array([np.trace(covariance, offset=k) for k in lags])
    white = np.array([np.trace(outside, offset=k) for k in lags])
    distance = np.abs(np.subtract.outer(np.arange(bands), np.arange(bands)))
    best, result = np.inf, np.eye(bands)
    for length in np.geomspace(0.3, bands, 40):
        red = np.exp(-distance / length)
        lagged = outside @ red @ outside
        model = np.array([np.trace(lagged, offset=k) for k in lags])
        # seen / seen_0 = (w white + (1 - w) model) / (the same at lag 0) is linear in w.
        slope = seen / seen[0] * (white[0] - model[0]) - (white - model)
        start = model - seen / seen[0] * model[0]
        weight = float(np.clip(slope @ start / max(float(slope @ slope), 1e-300), 0.0, 1.0))
        mixed = weight * white + (1.0 - weight) * model
        misfit = float(np.sum((mixed / mixed[0] - seen / seen[0]) ** 2))
        if misfit < best:
            best, result = misfit, weight * np.eye(bands) + (1.0 - weight) * red
    return result


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
