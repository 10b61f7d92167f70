"""Small facts about pixel grids: windows of a grid, shared lattices, ground sampling in metres."""

from __future__ import annotations

import math

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from ecumene.core.errors import SceneError
from ecumene.core.window import Window

LATTICE_TOLERANCE = 1e-3
"""Largest shift, in pixels, at which two grids still count as the same lattice."""


def window_geobox(geobox: GeoBox, window: Window) -> GeoBox:
    """Return the grid of a window; unlike slicing, the window may reach over the border."""
    affine = geobox.affine * Affine.translation(window.col, window.row)
    return GeoBox((window.height, window.width), affine, geobox.crs)


def full_window(geobox: GeoBox) -> Window:
    """Return the window that covers a grid exactly."""
    return Window(0, 0, int(geobox.shape[0]), int(geobox.shape[1]))


def lattice_offset(native: GeoBox, target: GeoBox) -> tuple[int, int] | None:
    """Return (row, column) of `target`'s corner on `native`, if both are the same lattice.

    Args:
        native: Grid of the stored pixels.
        target: Grid that is asked for.

    Returns:
        Whole-pixel offset, or None if CRS, pixel size, rotation or sub-pixel phase differ by more than
        `LATTICE_TOLERANCE` pixels anywhere on `target`.
    """
    if native.crs != target.crs:
        return None
    relative = ~native.affine * target.affine
    height, width = target.shape
    col, row = round(relative.c), round(relative.f)
    for x, y in ((0, 0), (width, 0), (0, height), (width, height)):
        mapped_x, mapped_y = relative * (x, y)
        if abs(mapped_x - x - col) > LATTICE_TOLERANCE or abs(mapped_y - y - row) > LATTICE_TOLERANCE:
            return None
    return row, col


def same_grid(one: GeoBox, two: GeoBox) -> bool:
    """Whether two grids have the same pixels, to `LATTICE_TOLERANCE` of a pixel."""
    return one.shape == two.shape and lattice_offset(one, two) == (0, 0)


def ground_sampling_m(geobox: GeoBox) -> float:
    """Return the pixel size in metres: the geometric mean of both axes.

    For a geographic CRS the size is taken at the centre's latitude on the WGS 84 ellipsoid (radii of
    curvature in the meridian and in the prime vertical; Snyder 1987, USGS PP 1395, eq. 4-18, 4-19).

    Raises:
        SceneError: If the grid has no CRS.
    """
    if geobox.crs is None:
        raise SceneError("The grid has no coordinate reference system; declare one, for example with --crs.")
    matrix = geobox.affine
    step_x, step_y = math.hypot(matrix.a, matrix.d), math.hypot(matrix.b, matrix.e)
    if not geobox.crs.geographic:
        to_metre = float(geobox.crs.proj.axis_info[0].unit_conversion_factor or 1.0)
        return math.sqrt(step_x * step_y) * to_metre
    height, width = geobox.shape
    latitude = math.radians((matrix * (width / 2, height / 2))[1])
    major, eccentricity2 = 6378137.0, 0.00669437999014
    curvature = 1 - eccentricity2 * math.sin(latitude) ** 2
    meridian = major * (1 - eccentricity2) / curvature**1.5
    parallel = major / math.sqrt(curvature) * math.cos(latitude)
    return math.sqrt(math.radians(step_x) * parallel * math.radians(step_y) * meridian)


def _apply(
    matrix: Affine, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Apply an affine transform to arrays of coordinates."""
    return matrix.a * x + matrix.b * y + matrix.c, matrix.d * x + matrix.e * y + matrix.f


def to_native_pixels(
    native: GeoBox, target: GeoBox, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Map pixel coordinates of `target` (column x, row y, corners at integers) to those of `native`."""
    world_x, world_y = _apply(target.affine, x, y)
    if native.crs != target.crs:
        if native.crs is None or target.crs is None:
            raise SceneError("A grid has no coordinate reference system; declare one, for example with --crs.")
        world_x, world_y = target.crs.transformer_to_crs(native.crs)(world_x, world_y)
    return _apply(~native.affine, np.asarray(world_x), np.asarray(world_y))


def native_pixels_per_target(native: GeoBox, target: GeoBox) -> tuple[float, float]:
    """Return how many native pixels (columns, rows) one target pixel spans at the native image's centre.

    The place is fixed by the stored image, not by the window, so that every window of a grid is
    resampled with the same kernel.
    """
    height, width = native.shape
    if native.crs == target.crs:
        matrix = ~native.affine * target.affine
    else:
        centre_x, centre_y = to_native_pixels(target, native, np.array([width / 2]), np.array([height / 2]))
        x = np.array([0.0, 1.0, 0.0]) + centre_x
        y = np.array([0.0, 0.0, 1.0]) + centre_y
        px, py = to_native_pixels(native, target, x, y)
        if not (np.isfinite(px).all() and np.isfinite(py).all()):
            return 1.0, 1.0
        matrix = Affine(px[1] - px[0], px[2] - px[0], 0, py[1] - py[0], py[2] - py[0], 0)
    return math.hypot(matrix.a, matrix.b), math.hypot(matrix.d, matrix.e)


def native_window(native: GeoBox, target: GeoBox, pad: int) -> Window | None:
    """Return the stored pixels that a target grid needs, or None if they do not overlap.

    Args:
        native: Grid of the stored pixels.
        target: Grid that is asked for.
        pad: Pixels added on every side for the resampling kernel.
    """
    height, width = target.shape
    steps_x, steps_y = np.linspace(0, width, 17), np.linspace(0, height, 17)
    x, y = (axis.ravel() for axis in np.meshgrid(steps_x, steps_y))
    px, py = to_native_pixels(native, target, x, y)
    usable = np.isfinite(px) & np.isfinite(py)
    if not usable.any():
        return None
    px, py = px[usable], py[usable]
    row, col = math.floor(py.min()) - pad, math.floor(px.min()) - pad
    box = Window(row, col, math.ceil(py.max()) + pad - row, math.ceil(px.max()) + pad - col)
    return box.intersect(full_window(native))
