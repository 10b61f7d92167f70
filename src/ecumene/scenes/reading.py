"""Reading bands of a scene onto a grid, in physical units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import MaskFlags
from rasterio.windows import Window as RasterWindow

from ecumene.core.errors import ContractError, SceneError
from ecumene.core.window import Window
from ecumene.scenes.calibration import calibrate, thermal_constants
from ecumene.scenes.contract import BandSource, SceneSource
from ecumene.scenes.grid import (
    full_window,
    lattice_offset,
    native_pixels_per_target,
    native_window,
    window_geobox,
)
from ecumene.scenes.handles import with_raster
from ecumene.scenes.warping import KERNEL_RADIUS, warp_physical

MAX_NATIVE_VALUES = 2**25
"""Stored values that one warp may hold at once (128 MiB as float32); larger requests go strip by strip."""


def find_bands(source: SceneSource, bands: Sequence[str]) -> tuple[BandSource, ...]:
    """Return the bands of a scene by name.

    Raises:
        ContractError: If the scene lacks one of them.
    """
    by_name = {band.name: band for band in source.bands}
    missing = [name for name in bands if name not in by_name]
    if missing:
        raise ContractError(
            f"Scene {source.id} has no band {', '.join(missing)}; it has {', '.join(by_name)}, so choose among "
            "these or add the files of the missing bands."
        )
    return tuple(by_name[name] for name in bands)


def read_bands(
    source: SceneSource, bands: Sequence[str], geobox: GeoBox, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Read bands of a scene on a grid, in physical units. Thread-safe.

    A band whose stored grid is the same lattice as `geobox` is read directly; any other is resampled
    from its physical values (`warping.warp_physical`). Any window of a grid gives the same values as
    that part of the whole grid.

    Args:
        source: The scene.
        bands: Names of the bands, in the order wanted.
        geobox: The grid; it may reach beyond the scene.
        out: float32 `[C, H, W]` to be filled and returned; a new array if None.

    Returns:
        float32 `[C, H, W]`, NaN for nodata and outside of the image.

    Raises:
        ContractError: If a band is missing or complex.
        SceneError: If a file is gone, damaged, or no longer what was described.
    """
    wanted = find_bands(source, bands)
    height, width = (int(size) for size in geobox.shape)
    if out is None:
        out = np.empty((len(wanted), height, width), np.float32)
    groups: dict[Any, list[int]] = {}
    for position, band in enumerate(wanted):
        groups.setdefault((band.href, band.geobox, band.resampling, band.unit == "dB"), []).append(position)
    for positions in groups.values():
        members = [wanted[position] for position in positions]
        offset = lattice_offset(members[0].geobox, geobox)
        views = [out[position] for position in positions]
        if offset is not None:
            _read_native(source, members, Window(*offset, height, width), views)
        else:
            _read_warped(source, members, geobox, views)
    return out


def _check_described(dataset: Any, band: BandSource) -> None:
    """Refuse a file that is not what the scene's description says."""
    if (dataset.height, dataset.width) != tuple(band.geobox.shape) or band.index > dataset.count:
        raise SceneError(
            f"{band.href} has changed since the scene was opened (band {band.index} of "
            f"{band.geobox.shape[0]} x {band.geobox.shape[1]} pixels expected); open the scene again."
        )


def _read_native(
    source: SceneSource, bands: Sequence[BandSource], window: Window, views: Sequence[NDArray[np.float32]]
) -> None:
    """Read a window of the stored grid of one file into `views`, NaN outside of the image."""
    inside = window.intersect(full_window(bands[0].geobox))
    if inside != window:
        for view in views:
            view.fill(np.nan)
    if inside is None:
        return
    place = inside.shift(-window.row, -window.col).slices
    raster_window = RasterWindow(inside.col, inside.row, inside.width, inside.height)

    def read(dataset: Any) -> tuple[Any, list[Any]]:
        for band in bands:
            _check_described(dataset, band)
        raw = dataset.read([band.index for band in bands], window=raster_window)
        masks = [
            dataset.read_masks(band.index, window=raster_window) if _has_mask_band(dataset, band.index) else None
            for band in bands
        ]
        return raw, masks

    raw, masks = with_raster(bands[0].href, read)
    for band, view, stored, mask in zip(bands, views, raw, masks, strict=True):
        calibrate(stored, band, view[place], thermal_constants(source, band.name))
        if mask is not None:
            np.copyto(view[place], np.float32(np.nan), where=mask == 0)


def _has_mask_band(dataset: Any, index: int) -> bool:
    """Whether the file stores a mask of its own (internal mask or alpha) for a band."""
    flags = dataset.mask_flag_enums[index - 1]
    return MaskFlags.per_dataset in flags


def _read_warped(
    source: SceneSource, bands: Sequence[BandSource], geobox: GeoBox, views: Sequence[NDArray[np.float32]]
) -> None:
    """Resample bands of one file and one stored grid into `views`."""
    native, resampling = bands[0].geobox, bands[0].resampling
    span = native_pixels_per_target(native, geobox)
    needed = native_window(native, geobox, math.ceil(KERNEL_RADIUS[resampling] * max(1.0, *span)) + 2)
    if needed is None:
        for view in views:
            view.fill(np.nan)
        return
    height, width = (int(size) for size in geobox.shape)
    if needed.height * needed.width * len(bands) > MAX_NATIVE_VALUES and max(height, width) > 1:
        along_rows = height >= width
        half = max(height, width) // 2
        first = Window(0, 0, half, width) if along_rows else Window(0, 0, height, half)
        rest = Window(half, 0, height - half, width) if along_rows else Window(0, half, height, width - half)
        for part in (first, rest):
            _read_warped(source, bands, window_geobox(geobox, part), [view[part.slices] for view in views])
        return
    values = np.empty((len(bands), needed.height, needed.width), np.float32)
    _read_native(source, bands, needed, list(values))
    warped = warp_physical(values, window_geobox(native, needed), geobox, resampling, bands[0].unit, span)
    for view, band_values in zip(views, warped, strict=True):
        view[...] = band_values
