"""What forests and support vector machines see of a whole image: statistics of its bands."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STATISTICS = ("mean", "standard deviation", "lower quartile", "median", "upper quartile")
"""Of each band over the valid pixels of an image, in this order."""


def image_statistics(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the statistics of images.

    Args:
        image: float32 `[N, C, P, P]`, physical units; a pixel is valid where all of its bands are finite.

    Returns:
        float32 `[N, S * C]`, all bands of the first of `STATISTICS`, then of the second and so on; NaN where an image
        has no valid pixel.
    """
    count, channels = image.shape[:2]
    flat = image.reshape(count, channels, -1)
    valid: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(flat), axis=1)
    result = np.full((count, len(STATISTICS), channels), np.nan, np.float32)
    whole = valid.all(axis=1)
    if whole.any():
        result[whole] = _statistics(flat[whole])
    for index in np.flatnonzero(~whole & valid.any(axis=1)):
        result[index] = _statistics(flat[index : index + 1, :, valid[index]])[0]
    return result.reshape(count, -1)


def standardised_statistics(
    rows: NDArray[np.float32], mean: NDArray[np.float32], std: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return statistics in standard deviations of the training pixels, for the outlier detector.

    Args:
        rows: Of `image_statistics`, `[N, S * C]`.
        mean: Of the bands, `[C]`.
        std: Of the bands, `[C]`.

    Returns:
        float32 `[N, S * C]`; 0 where there is no value.
    """
    values = rows.reshape(len(rows), len(STATISTICS), len(mean))
    # A spread is compared with the spread of all pixels, everything else with their mean.
    centre = np.where(np.array(STATISTICS)[:, None] == "standard deviation", 0.0, mean)
    scaled = (values - centre) / std
    return np.where(np.isfinite(scaled), scaled, 0.0).reshape(rows.shape).astype(np.float32)


def _statistics(flat: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return `[N, S, C]` of `[N, C, n]` finite values."""
    wide = flat.astype(np.float64)
    quartiles = np.quantile(wide, (0.25, 0.5, 0.75), axis=2)
    found = np.stack([wide.mean(axis=2), wide.std(axis=2), *quartiles])
    return np.asarray(np.moveaxis(found, 0, 1), np.float32)
