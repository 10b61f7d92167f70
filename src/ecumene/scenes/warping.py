"""Resampling physical values onto another grid without smearing gaps.

GDAL's warper is not used here: its approximated coordinate transform, its kernels' scale and its
treatment of gaps depend on the window that is asked for, and a map must not depend on the order or the
size of its windows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from ecumene.scenes.contract import Resampling
from ecumene.scenes.grid import to_native_pixels

KERNEL_RADIUS: dict[Resampling, float] = {"nearest": 0.5, "bilinear": 1, "cubic": 2, "average": 0.5, "mode": 0.5}
"""Native pixels a kernel reaches when it does not shrink the image."""

_KERNEL_CODE: dict[Resampling, int] = {"nearest": 0, "bilinear": 1, "cubic": 2, "average": 3, "mode": 4}
_NODE_STEP = 16  # target pixels between exactly transformed points
_NODE_TOLERANCE = 1 / 64  # native pixels
_COORDINATE_GRID = 2.0**20  # coordinates are rounded, so that a window's origin cannot move a pixel over an edge


def native_coordinates(native: GeoBox, target: GeoBox) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the native pixel coordinates (x, y; corners at integers) of all target pixel centres.

    Between different CRS, points every 16 target pixels are transformed exactly and interpolated
    bilinearly; if that is off by more than 1/64 native pixel at any cell's centre, all are exact.

    Returns:
        Two float64 arrays that broadcast to `[H, W]`.
    """
    height, width = (int(size) for size in target.shape)
    columns, rows = np.arange(width, dtype=np.float64) + 0.5, np.arange(height, dtype=np.float64) + 0.5
    zero = np.zeros((1, 1))
    axis_aligned = all(abs(m.b) < 1e-12 * abs(m.a) and abs(m.d) < 1e-12 * abs(m.e) for m in _matrices(native, target))
    if native.crs == target.crs:
        if axis_aligned:
            x, _ = to_native_pixels(native, target, columns[None, :], zero)
            _, y = to_native_pixels(native, target, zero, rows[:, None])
        else:
            x, y = to_native_pixels(native, target, *_mesh(columns, rows))
    else:
        x, y = _interpolated(native, target) if axis_aligned else (np.full((1, 1), np.nan),) * 2
        if not np.isfinite(x).all():
            x, y = to_native_pixels(native, target, *_mesh(columns, rows))
    return np.rint(x * _COORDINATE_GRID) / _COORDINATE_GRID, np.rint(y * _COORDINATE_GRID) / _COORDINATE_GRID


def _mesh(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the coordinates of all crossings as two `[len(y), len(x)]` arrays."""
    mesh_x, mesh_y = np.meshgrid(x, y)
    return mesh_x, mesh_y


def _matrices(native: GeoBox, target: GeoBox) -> tuple[Any, Any]:
    """Return both grids' affine transforms."""
    return native.affine, target.affine


def _node_positions(origin: float, step: float, size: int) -> NDArray[np.float64]:
    """Pixel positions of nodes, anchored at the coordinate system's origin and not at the window."""
    phase = round(origin / step) % _NODE_STEP
    count = (phase + size) // _NODE_STEP + 2
    return np.arange(count, dtype=np.float64) * _NODE_STEP - phase


def _interpolated(native: GeoBox, target: GeoBox) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return interpolated native coordinates, or NaN where interpolation is not close enough."""
    height, width = (int(size) for size in target.shape)
    node_x = _node_positions(target.affine.c, target.affine.a, width)
    node_y = _node_positions(target.affine.f, target.affine.e, height)
    grid = np.stack(to_native_pixels(native, target, *_mesh(node_x, node_y)))
    middle = np.stack(
        to_native_pixels(native, target, *_mesh(node_x[:-1] + _NODE_STEP / 2, node_y[:-1] + _NODE_STEP / 2))
    )
    guess = (grid[:, :-1, :-1] + grid[:, 1:, :-1] + grid[:, :-1, 1:] + grid[:, 1:, 1:]) / 4
    if not np.abs(guess - middle).max() <= _NODE_TOLERANCE:  # also true for NaN
        nothing = np.full((1, 1), np.nan)
        return nothing, nothing
    at_x, at_y = (np.arange(width) + 0.5 - node_x[0]) / _NODE_STEP, (np.arange(height) + 0.5 - node_y[0]) / _NODE_STEP
    i, j = at_y.astype(int), at_x.astype(int)
    down, right = (at_y - i)[:, None], (at_x - j)
    lines = grid[:, i] * (1 - down) + grid[:, i + 1] * down  # [2, H, nodes]
    full = lines[:, :, j] * (1 - right) + lines[:, :, j + 1] * right
    result_x: NDArray[np.float64] = full[0]
    result_y: NDArray[np.float64] = full[1]
    return result_x, result_y


def warp_physical(
    values: NDArray[np.float32],
    native: GeoBox,
    target: GeoBox,
    resampling: Resampling,
    unit: str,
    span: tuple[float, float],
) -> NDArray[np.float32]:
    """Resample physical values of one or several bands onto `target`.

    - Kernels: nearest; triangle (bilinear) and cubic convolution, widened to the target pixel where the
      target is coarser (so that nothing aliases); average and mode over the native pixels whose centre
      lies in the target pixel. Values are repeated beyond the image's border.
    - Gaps (NaN) have no weight in the kernel. Where the target is as fine as the source or finer, a
      target pixel has a value if the source pixel under its centre has one; where it is coarser, if at
      least half of the kernel's weight lies on values. So a gap neither grows nor shrinks.
    - Decibels are averaged as linear power, `10**(dB/10)`, because power is what adds up in a
      resolution cell; the mean of decibels would be about 2.5 dB too low for single-look speckle (Lee
      and Pottier 2009, Polarimetric Radar Imaging, section 4.1). Cubic convolution can undershoot to
      negative power, so that decibels asked for as cubic are resampled bilinearly.

    Args:
        values: float32 `[C, h, w]` on `native`.
        native: Grid of `values`.
        target: Grid that is asked for.
        resampling: Kernel.
        unit: Unit of the values; `dB` is treated as said above.
        span: Native pixels a target pixel spans along the native (columns, rows), see
            `grid.native_pixels_per_target`; passed in because it must not depend on the window.

    Returns:
        float32 `[C, H, W]` on `target`.
    """
    from ecumene.scenes import kernels

    decibel = unit == "dB" and resampling not in ("nearest", "mode")
    if decibel:
        resampling = "bilinear" if resampling == "cubic" else resampling
        values = np.power(np.float32(10), values / np.float32(10))
    x, y = native_coordinates(native, target)
    warped = np.empty((values.shape[0], *(int(size) for size in target.shape)), np.float32)
    span_x, span_y = max(1.0, span[0]), max(1.0, span[1])
    code, radius = _KERNEL_CODE[resampling], float(KERNEL_RADIUS[resampling])
    values = np.ascontiguousarray(values)
    if resampling == "bilinear" and span_x == span_y == 1.0 and x.shape[0] == 1 and y.shape[1] == 1:
        kernels.bilinear_separable(values, x[0], y[:, 0].copy(), warped)
    else:
        kernels.resample(values, x, y, code, radius, span_x, span_y, warped)
    if decibel:
        with np.errstate(divide="ignore", invalid="ignore"):
            warped = np.float32(10) * np.log10(warped)
    return warped
