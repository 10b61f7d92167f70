"""Quality and diversity of generated images: improved precision and recall of their features."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError

Array = NDArray[np.float64]
_ROWS = 256


def precision_recall(
    real: NDArray[np.floating], made: NDArray[np.floating], neighbours: int = 3
) -> tuple[float, float]:
    """Return improved precision and recall (Kynkaanniemi et al. 2019, arXiv 1904.06991, eq. 1 and 2).

    A set's support is the union of balls around its features, each reaching to the k-th nearest neighbour in the set.
    Precision is the share of made images inside of the real ones' support (quality); recall the share of real images
    inside of the made ones' (diversity).

    Args:
        real: Features of real images, `[N, D]`.
        made: Features of made images, `[M, D]`.
        neighbours: k.

    Raises:
        ConfigurationError: If a set has k images or fewer, or features differ in number or are not finite.
    """
    a, b = (np.asarray(part, np.float64) for part in (real, made))
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ConfigurationError("Precision and recall need finite features [N, D] and [M, D] of real and made images.")
    if neighbours < 1 or min(len(a), len(b)) <= neighbours:
        raise ConfigurationError(f"Precision and recall need more than {neighbours} images of each kind.")
    return _inside(b, a, _reaches(a, neighbours)), _inside(a, b, _reaches(b, neighbours))


def _distances(x: Array, y: Array) -> Array:
    """Return squared distances `[rows of x, rows of y]`."""
    squared = (x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1)[None] - 2.0 * (x @ y.T)
    return np.asarray(np.maximum(squared, 0.0), np.float64)


def _reaches(features: Array, neighbours: int) -> Array:
    """Return the squared distance of each feature to its k-th nearest other."""
    parts = [features[start : start + _ROWS] for start in range(0, len(features), _ROWS)]
    # The nearest of all is the feature itself.
    nearest = [np.partition(_distances(part, features), neighbours, axis=1)[:, neighbours] for part in parts]
    return np.asarray(np.concatenate(nearest), np.float64)


def _inside(points: Array, centres: Array, reaches: Array) -> float:
    """Return the share of points that lie in a ball around some centre."""
    found = [
        (_distances(points[start : start + _ROWS], centres) <= reaches[None] * (1.0 + 1e-9) + 1e-12).any(axis=1)
        for start in range(0, len(points), _ROWS)
    ]
    return float(np.concatenate(found).mean())


def image_features(image: NDArray[np.floating], cells: int = 4) -> Array:
    """Return features `[N, D]` of images `[N, K, H, W]` that need no trained network.

    Mean and standard deviation of each band and of its differences along rows and columns, over a grid of cells: what
    colour and texture is where. The published figures use a network trained on photographs, so that figures of these
    features compare only with one another.

    Args:
        image: Reflectance, with data everywhere.
        cells: Along each side.

    Raises:
        ConfigurationError: If images are smaller than the grid, or lack data.
    """
    count, bands, height, width = image.shape
    if min(height, width) < 2 * cells:
        raise ConfigurationError(f"Images need at least {2 * cells} rows and columns for {cells} x {cells} cells.")
    if not np.isfinite(image).all():
        raise ConfigurationError("An image has pixels without data; leave it out.")
    rows, cols = (np.array_split(np.arange(length), cells) for length in (height, width))
    parts = []
    for row in rows:
        for col in cols:
            cell = np.asarray(image, np.float64)[:, :, row[0] : row[-1] + 1, col[0] : col[-1] + 1]
            across, down = np.abs(np.diff(cell, axis=3)), np.abs(np.diff(cell, axis=2))
            moments = (f(part, axis=(2, 3)) for part in (cell, across, down) for f in (np.mean, np.std))
            parts.append(np.concatenate(list(moments), axis=1))
    features = np.concatenate(parts, axis=1).reshape(count, cells * cells * 6 * bands)
    return features
