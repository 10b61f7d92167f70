"""Any sharpener with error bars and flags, and Wald's protocol."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.physics.sharpening.classical import (
    brovey,
    gram_schmidt,
    gram_schmidt_adaptive,
    interpolation,
    mtf_glp,
    principal_components,
)
from ecumene.physics.sharpening.cnmf import cnmf
from ecumene.physics.sharpening.errors import degrade_pair, detail_power, fit_error_model, near_gap
from ecumene.physics.sharpening.guides import FusionInput, Image, prepare
from ecumene.physics.sharpening.jsparsefi import joint_sparsity
from ecumene.physics.sharpening.quality import Quality, assess
from ecumene.physics.sharpening.registration import shifted
from ecumene.physics.sharpening.result import INCONSISTENT, INVALID, NEAR_GAP, Sharpened

METHODS: dict[str, Callable[[FusionInput], Image]] = {
    "interpolation": interpolation,
    "brovey": brovey,
    "pca": principal_components,
    "gram-schmidt": gram_schmidt,
    "gram-schmidt-adaptive": gram_schmidt_adaptive,
    "mtf-glp": mtf_glp,
    "cnmf": cnmf,
    "joint-sparsity": joint_sparsity,
}
"""Sharpeners by name: `FusionInput` to `[B, H, W]`."""

MEASURED_SHORTFALL = {
    "interpolation": 1.08,
    "gram-schmidt": 1.03,
    "mtf-glp": 1.10,
    "cnmf": 1.25,
    "joint-sparsity": 1.32,
}
"""Root mean square of error over error bar where the truth is known: the larger of the two real cases of the benchmark.

Methods that adapt to details make errors that grow towards finer scales by more than coarser scales tell; no
extrapolation of that growth held in both cases, so error bars are not enlarged by it.
"""

INCONSISTENCY_LIMIT = 8.0
"""Robust standard deviations of degraded result minus coarse image above which a pixel is flagged."""


def sharpen(
    low: Any,
    high: Any,
    ratio: int,
    *,
    method: str = "mtf-glp",
    nyquist_gain: float = 0.3,
    shift: tuple[float, float] = (0.0, 0.0),
) -> Sharpened:
    """Sharpen an image with a finer one of the same place.

    The error bar rests on Wald's protocol: both images are degraded once more, the method is run there, and its
    errors against the given coarse image are described as variance = alpha + beta d^2 for each band, d^2 being the
    mean square of the injected detail around the pixel. The model is carried over to the finer scale, times the
    growth that errors show from two scales up to one (`errors.fit_error_model`). It knows nothing of structure that
    neither image shows at the scales that can be checked.

    Args:
        low: `[B, h, w]`, physical values, NaN: no data.
        high: `[M, H, W]`, H = ratio h, W = ratio w, aligned at the corner, NaN: no data; any unit.
        ratio: Of pixel sizes, 2 or more.
        method: A key of `METHODS`.
        nyquist_gain: Of the coarse sensor; see `ScalePair` and `registration.estimate_geometry`.
        shift: (rows, columns) by which the fine image is moved first, fine pixels; likewise.

    Returns:
        The sharpened image.

    Raises:
        ConfigurationError: If the method is unknown, ratio or gain is out of range, or the image is too small.
        ContractError: If shapes do not fit.
        SceneError: If no pixel has data in both images.
    """
    data = shifted(prepare(low, high, ratio, nyquist_gain), shift)
    run = sharpener(method)
    value = run(data)
    model = fit_error_model(data, run)
    detail = detail_power(value, data)
    deviation = np.sqrt(model[:, 0, None, None] + model[:, 1, None, None] * detail)
    inconsistency = _inconsistency(value, data)
    valid = data.pair.repeat(data.low_valid) & data.high_valid
    flags = np.zeros(data.pair.fine_shape, np.uint8)
    flags |= np.where(data.pair.repeat(inconsistency > INCONSISTENCY_LIMIT), INCONSISTENT, 0).astype(np.uint8)
    flags |= np.where(near_gap(data), NEAR_GAP, 0).astype(np.uint8)
    flags[~valid] = INVALID
    hidden = ~valid[None]
    value, deviation = np.where(hidden, np.nan, value), np.where(hidden, np.nan, deviation)
    return Sharpened(value, deviation, inconsistency, flags, method)


def sharpener(method: str) -> Callable[[FusionInput], Image]:
    """Return a sharpener by name.

    Raises:
        ConfigurationError: If there is none.
    """
    if method not in METHODS:
        raise ConfigurationError(f"There is no sharpening method {method!r}; there are {', '.join(METHODS)}.")
    return METHODS[method]


def wald_protocol(
    low: Any,
    high: Any,
    ratio: int,
    method: str,
    *,
    nyquist_gain: float = 0.3,
    shift: tuple[float, float] = (0.0, 0.0),
) -> tuple[Quality, Image, Image]:
    """Assess a method at reduced scale.

    Args:
        low: `[B, h, w]`; it is the reference.
        high: `[M, H, W]`.
        ratio: Of pixel sizes.
        method: A key of `METHODS`.
        nyquist_gain: Of the sensor that degrades both.
        shift: As `sharpen`.

    Returns:
        (quality; sharpened image and reference, both `[B, h', w']` with NaN where there is no data).

    Raises:
        ConfigurationError: As `sharpen`.
        ContractError: As `sharpen`.
        SceneError: As `sharpen`.
    """
    data = shifted(prepare(low, high, ratio, nyquist_gain), shift)
    reduced, reference, valid = degrade_pair(data)
    result = sharpener(method)(reduced)
    valid = valid & ~near_gap(reduced)
    quality = assess(result, reference, ratio, valid=valid)
    return quality, np.where(valid[None], result, np.nan), np.where(valid[None], reference, np.nan)


def _inconsistency(value: Image, data: FusionInput) -> NDArray[np.float64]:
    """Largest |degraded result - coarse image| over bands, in robust standard deviations of each band."""
    difference = np.abs(data.pair.degrade(value) - data.low)
    scale = 1.4826 * np.median(difference[:, data.low_valid], axis=1)
    size = np.abs(data.low[:, data.low_valid]).mean(axis=1)
    scale = np.maximum(scale, 1e-6 * size + 1e-300)  # methods that are consistent by construction have no spread
    return np.asarray(np.max(difference / scale[:, None, None], axis=0))
