"""Who stands in whose shade: cast shadows of buildings and trees, and the light on slopes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.simulate.sun import Sun
from ecumene.simulate.surface_kernels import shade


def shift(values: NDArray, rows: int, cols: int) -> NDArray:
    """Return `values` moved by whole cells towards higher rows and columns; what enters is 0."""
    result = np.zeros_like(values)
    height, width = values.shape
    if abs(rows) >= height or abs(cols) >= width:
        return result
    target = (slice(max(rows, 0), height + min(rows, 0)), slice(max(cols, 0), width + min(cols, 0)))
    source = (slice(max(-rows, 0), height - max(rows, 0)), slice(max(-cols, 0), width - max(cols, 0)))
    result[target] = values[source]
    return result


def step_away(azimuth: float) -> tuple[float, float]:
    """Return the (row, column) direction in which shadows fall when the sun is at `azimuth` degrees.

    Rows grow southwards: a sun in the south-east throws shadows to the north-west.
    """
    radians = np.radians(azimuth)
    return float(np.cos(radians)), float(-np.sin(radians))


def cast_shadow(height: NDArray, cell_m: float, sun: Sun) -> NDArray[np.bool_]:
    """Return where the top of the surface is in the shadow of something higher.

    Args:
        height: Height above ground `[rows, cols]`, metres; the ground counts as level over the length of
            a shadow.
        cell_m: Cell size in metres.
        sun: Position of the sun.

    Returns:
        bool `[rows, cols]`.
    """
    rise = cell_m / np.tan(np.radians(sun.zenith))  # what a ray climbs over one cell
    rows, cols = step_away(sun.azimuth)
    steps = np.arange(1, int(np.ceil(float(height.max()) / rise)) + 1)
    shaded = np.zeros(height.shape, bool)
    back = (np.array([round(step * part) for step in steps.tolist()], np.int64) for part in (rows, cols))
    kernel: Any = shade  # numba's own types know only fixed argument lists
    kernel(height.astype(np.float32, copy=False), (steps * rise).astype(np.float32), *back, shaded)
    return shaded


def slope_light(elevation: NDArray, cell_m: float, sun: Sun) -> NDArray[np.float32]:
    """Return direct irradiance on the slope relative to level ground, float32 `[rows, cols]`, 0 or more.

    The cosine of the incidence angle over the cosine of the zenith angle (Teillet et al. 1982, eq. 1).
    """
    down_rows, down_cols = np.gradient(elevation.astype(np.float64), cell_m)
    zenith, azimuth = np.radians(sun.zenith), np.radians(sun.azimuth)
    east, north, up = np.sin(zenith) * np.sin(azimuth), np.sin(zenith) * np.cos(azimuth), np.cos(zenith)
    normal = np.sqrt(1.0 + down_rows**2 + down_cols**2)
    # Rows grow southwards, so that the gradient towards the north is minus the one along the rows.
    incidence = (-down_cols * east + down_rows * north + up) / normal
    return np.asarray(np.maximum(incidence / up, 0.0), np.float32)
