"""Which inputs the outlier detector sees: bands averaged over a small neighbourhood, plus features.

The neighbourhood makes the score look at texture-free local radiometry instead of single noisy pixels.
Per-pixel models score the pixel itself: they were fitted on single pixels, and their maps must not
depend on where a window ends.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from ecumene.core.errors import ModelError

MAX_RADIUS = 2


def averaging_radius(margin: int) -> int:
    """Return the radius in pixels: 2 (a 5 x 5 mean) for window networks, 0 for per-pixel models."""
    return min(MAX_RADIUS, max(0, margin))


def check_detector(detector: Any, n_features: int) -> None:
    """Refuse an outlier detector (or None) that was not made for these features.

    Raises:
        ModelError: If it reads another number of features.
    """
    if detector is not None and detector.n_features != n_features:
        raise ModelError(
            f"The outlier detector reads {detector.n_features} features, but the model gives {n_features}; "
            "get the model again from its source."
        )


def normalise(
    image: NDArray[np.float32], mean: NDArray[np.float32], std: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Standardise an image; a pixel is valid where all of its channels are finite.

    Args:
        image: float32 `[..., C, H, W]`, physical units, NaN for nodata.
        mean: `[C]`.
        std: `[C]`.

    Returns:
        (standardised image with 0 at invalid pixels, valid bool `[..., H, W]`).
    """
    valid: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(image), axis=-3)
    scaled = (image - mean[:, None, None]) / std[:, None, None]
    return np.where(valid[..., None, :, :], scaled, np.float32(0)).astype(np.float32), valid


def local_average(x: NDArray[np.float32], valid: NDArray[np.bool_], radius: int) -> NDArray[np.float32]:
    """Average over the valid pixels (and dates) of a neighbourhood, in NumPy.

    Args:
        x: `[B, C, H, W]` or `[B, T, C, H, W]`, 0 at invalid pixels.
        valid: `[B, H, W]` or `[B, T, H, W]`.
        radius: Pixels on each side.

    Returns:
        float32 `[B, C, H, W]`; 0 where nothing is valid.
    """
    weight = valid[..., None, :, :].astype(np.float32)
    if x.ndim == 5:
        x, weight = x.sum(axis=1), weight.sum(axis=1)
    if radius:
        size = (1, 1, 2 * radius + 1, 2 * radius + 1)
        x = uniform_filter(x, size, mode="constant")
        weight = uniform_filter(weight, size, mode="constant")
    # A sum of a running filter may leave 1e-8 instead of 0 where nothing is valid.
    safe = weight > 1e-6
    return np.where(safe, x / np.where(safe, weight, 1), 0).astype(np.float32)
