"""Numeric targets on a grid, for regression: from a vector column or a raster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from ecumene.core.errors import LabelError
from ecumene.core.window import Window
from ecumene.legends import Legend
from ecumene.samples.grids import crs_of, grid_window
from ecumene.samples.labels import LabelRaster, read_part
from ecumene.samples.raster_labels import open_warped, read_tile, tiles

_TILE = 1024


@dataclass(frozen=True)
class TargetRaster:
    """Numbers on (the known part of) a grid.

    Attributes:
        window: Bounding box of all pixels with a value.
        values: float32 `[h, w]`, NaN where unknown, in the unit of the file.
        feature_id: int32 `[h, w]`, row of the file for a vector; -1 everywhere for a raster.
        geobox: The whole grid.
        name: What the numbers are (field or file name).
    """

    window: Window
    values: NDArray[np.float32]
    feature_id: NDArray[np.int32]
    geobox: GeoBox
    name: str = "target"

    def read(self, window: Window) -> NDArray[np.float32]:
        """Return values of any window of the grid; NaN outside of the known part."""
        return read_part(self.values, self.window, window, np.nan)

    def strata(self, count: int = 5) -> LabelRaster:
        """Return labels of quantile classes of the values, so that a split can balance them.

        Args:
            count: Number of quantile classes; fewer where values repeat.
        """
        known = np.isfinite(self.values)
        edges = np.unique(np.quantile(self.values[known], np.linspace(0, 1, count + 1)[1:-1]))
        classes = np.full(self.values.shape, -1, np.int16)
        found, indices = np.unique(np.searchsorted(edges, self.values[known], side="left"), return_inverse=True)
        classes[known] = indices
        legend = Legend.from_names([f"quantile {i + 1}" for i in range(len(found))], name=f"{self.name} quantiles")
        return LabelRaster(self.window, classes, self.feature_id, legend, self.geobox, source=self.name)


def read_targets(
    path: Path | str,
    field: str | None,
    geobox: GeoBox,
    *,
    all_touched: bool = False,
    layer: str | None = None,
    resampling: str = "average",
) -> TargetRaster:
    """Read numbers onto a grid.

    Args:
        path: Vector file (any coordinate system) or GeoTIFF.
        field: Numeric column; None for a raster. Overlapping features of different value leave a
            pixel unknown.
        geobox: The scene's grid.
        all_touched: Give every pixel that a polygon touches its value.
        layer: Layer of a vector file with several.
        resampling: For a raster: `average` (finer than the grid), `bilinear` or `nearest`. A scale
            and offset stated in the file are applied.

    Returns:
        The targets.

    Raises:
        LabelError: If the file cannot be used, or no value falls into the grid.
    """
    from ecumene.samples.vectors import is_vector

    values, feature_id = (
        _burn_values(path, field, geobox, all_touched, layer)
        if is_vector(path)
        else _warp_values(Path(path), geobox, resampling)
    )
    known = np.isfinite(values)
    if not known.any():
        raise LabelError(f"{Path(path).name} has no value in the scene; check that both show the same place.")
    rows, cols = np.flatnonzero(known.any(axis=1)), np.flatnonzero(known.any(axis=0))
    window = Window(int(rows[0]), int(cols[0]), int(rows[-1] - rows[0]) + 1, int(cols[-1] - cols[0]) + 1)
    return TargetRaster(
        window, values[window.slices].copy(), feature_id[window.slices].copy(), geobox, field or Path(path).stem
    )


def _burn_values(
    path: Path | str, field: str | None, geobox: GeoBox, all_touched: bool, layer: str | None
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    import pandas as pd

    from ecumene.samples.vectors import read_features

    if field is None:
        raise LabelError(f"Say which field of {Path(path).name} holds the numbers.")
    frame = read_features(path, [field], geobox, what="targets", layer=layer).frame
    kind = frame[field].dtype
    if not pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_bool_dtype(kind):
        raise LabelError(f"The field {field!r} of {Path(path).name} is not numeric; choose a numeric field.")
    numbers = frame[field].to_numpy(dtype=np.float64)
    first, last = (_burn_ids(list(frame.geometry), geobox, all_touched, order) for order in (-1, 1))
    # A pixel whose first and last owner differ in value is claimed by two numbers; between them a third
    # may hide only if first and last agree, which then is the value of at least two features.
    burned = first >= 0
    values = np.full(first.shape, np.nan, np.float32)
    agreed = burned.copy()
    agreed[burned] = numbers[first[burned]] == numbers[last[burned]]
    values[agreed] = numbers[first[agreed]]
    return values, np.where(agreed, first, np.int32(-1))


def _burn_ids(geometries: list[Any], geobox: GeoBox, all_touched: bool, order: int) -> NDArray[np.int32]:
    """Burn row numbers; order -1 lets the first of overlapping features win, 1 the last."""
    from rasterio.features import rasterize

    shape = (int(geobox.height), int(geobox.width))
    if not geometries:
        return np.full(shape, -1, np.int32)
    shapes = [(geometry, row) for row, geometry in enumerate(geometries)][::order]
    out: NDArray[np.int32] = rasterize(
        shapes, out_shape=shape, transform=geobox.affine, fill=-1, all_touched=all_touched, dtype="int32"
    )
    return out


def _warp_values(path: Path, geobox: GeoBox, resampling: str) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    if resampling not in {"average", "bilinear", "nearest"}:
        raise LabelError(f"The resampling {resampling!r} is unknown; use average, bilinear or nearest.")
    full = grid_window(geobox)
    values = np.full((full.height, full.width), np.nan, np.float32)
    with open_warped(path, geobox, "targets", resampling=resampling, dtype="float32") as (vrt, source):
        scale, offset = source.scales[0], source.offsets[0]
        for tile in tiles(full, _TILE):
            numbers, known = read_tile(vrt, tile)
            # GDAL averages over everything that a pixel touches, even by its edge alone.
            known &= _centre_covered(geobox, tile, source)
            values[tile.slices] = np.where(known, numbers * scale + offset, np.nan)
    return values, np.full(values.shape, -1, np.int32)


def _centre_covered(geobox: GeoBox, tile: Window, source: Any) -> NDArray[np.bool_]:
    """Return which pixels of a tile have their centre inside the source raster's extent."""
    from pyproj import CRS, Transformer

    col, row = np.meshgrid(np.arange(tile.col, tile.col_stop) + 0.5, np.arange(tile.row, tile.row_stop) + 0.5)
    affine = geobox.affine
    x, y = affine.a * col + affine.b * row + affine.c, affine.d * col + affine.e * row + affine.f
    here, there = crs_of(geobox), CRS.from_user_input(source.crs.to_wkt())
    if here != there:
        x, y = Transformer.from_crs(here, there, always_xy=True).transform(x, y)
    back = ~source.transform
    across, down = back.a * x + back.b * y + back.c, back.d * x + back.e * y + back.f
    covered: NDArray[np.bool_] = (across >= 0) & (across <= source.width) & (down >= 0) & (down <= source.height)
    return covered
