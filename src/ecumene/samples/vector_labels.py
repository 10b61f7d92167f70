"""Points and polygons to labels on a grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from ecumene.core.errors import LabelError
from ecumene.core.window import Window
from ecumene.legends import Legend
from ecumene.samples.class_values import drop_ignored, legend_of, match_values, normalise_values
from ecumene.samples.contract import IGNORE
from ecumene.samples.grids import grid_window
from ecumene.samples.labels import LabelRaster, crop
from ecumene.samples.raster_labels import tiles
from ecumene.samples.vectors import read_features

_TILE = 1024


def read_vector_labels(
    path: Path | str,
    field: str,
    geobox: GeoBox,
    *,
    legend: Legend | None,
    all_touched: bool,
    layer: str | None,
    time_field: str | None,
    ignore: Sequence[str | int],
) -> LabelRaster:
    """Read a vector file; see `ecumene.samples.labels.read_labels`."""
    path = Path(path)
    fields = [field] if time_field in (None, field) else [field, str(time_field)]
    features = read_features(path, fields, geobox, layer=layer)
    frame = features.frame
    # An empty text is how many programs write "no class".
    blank = np.array([isinstance(item, str) and not item.strip() for item in frame[field]], dtype=bool)
    frame = frame[~blank]
    skipped = features.skipped + int(blank.sum())
    if len(frame) == 0:
        raise LabelError(_nothing_there(path, features.total, skipped))
    kept = drop_ignored(normalise_values(frame[field].tolist(), field), ignore)
    frame = frame[kept]
    values = normalise_values(frame[field].tolist(), field)
    if len(frame) == 0:
        raise LabelError(f"All features of {path.name} in the scene have an ignored class; nothing is left.")
    legend = legend if legend is not None else legend_of(values, name=field)
    indices = match_values(values, legend, f"labels {path.name}")
    geometries = list(frame.geometry)
    window = _window_of(frame.total_bounds, geobox)
    outside = features.total - skipped - len(kept)
    merged = burn_features(geometries, indices, np.arange(len(indices)), window, geobox, legend, all_touched)
    by_date = {}
    if time_field is not None:
        for day, rows in _rows_of_dates(frame[time_field], time_field).items():
            part = [geometries[row] for row in rows]
            by_date[day] = burn_features(part, indices[rows], rows, window, geobox, legend, all_touched)
    if not any((item.classes >= 0).any() for item in (merged, *by_date.values())):
        raise LabelError(
            f"No feature of {path.name} labels a pixel of the scene: either the scene is elsewhere, or polygons of "
            "different classes cover each other, or they contain no pixel centre (then use all_touched)."
        )
    return crop(replace(merged, skipped=skipped, outside=outside, by_date=by_date, source=path.name))


def burn_features(
    geometries: Sequence[Any],
    classes: NDArray[np.integer],
    ids: NDArray[np.integer],
    window: Window,
    geobox: GeoBox,
    legend: Legend,
    all_touched: bool = False,
) -> LabelRaster:
    """Burn geometries (in the grid's coordinate system) into class indices and feature ids.

    Args:
        geometries: Shapely geometries.
        classes: Class index of each.
        ids: Feature id of each, not negative; where features of one class overlap, the first wins.
        window: What to burn, inside the grid.
        geobox: The grid.
        legend: The classes.
        all_touched: Burn every touched pixel.

    Returns:
        The labels of `window`; pixels with more than one class are unlabelled.
    """
    from shapely import STRtree, box

    found = np.full((window.height, window.width), IGNORE, np.int16)
    owner = np.full(found.shape, -1, np.int32)
    conflicts = 0
    touched: set[int] = set()
    tree = STRtree(list(geometries))
    for tile in tiles(window, _TILE):
        affine = geobox.affine * geobox.affine.translation(tile.col, tile.row)
        corners = [affine * corner for corner in ((0, 0), (tile.width, tile.height), (0, tile.height), (tile.width, 0))]
        x, y = zip(*corners, strict=True)
        # A pixel of margin, because what touches a border may burn the pixel on either side.
        margin = max(abs(affine.a) + abs(affine.b), abs(affine.d) + abs(affine.e))
        near = np.sort(tree.query(box(min(x) - margin, min(y) - margin, max(x) + margin, max(y) + margin)))
        if near.size == 0:
            continue
        place = tile.shift(-window.row, -window.col).slices
        shapes = [(geometries[row], int(ids[row]), int(classes[row])) for row in near]
        lost, burned = _burn_tile(shapes, found[place], owner[place], affine, all_touched)
        conflicts += lost
        touched |= burned
    class_of = dict(zip((int(item) for item in ids), (int(item) for item in classes), strict=True))
    present = np.zeros(len(legend), np.int64)
    np.add.at(present, [class_of[int(item)] for item in np.unique(owner[owner >= 0])], 1)
    return LabelRaster(
        window,
        found,
        owner,
        legend,
        geobox,
        tuple(int(n) for n in present),
        conflicts,
        without_pixels=len(geometries) - len(touched),
    )


def _burn_tile(
    shapes: Sequence[tuple[Any, int, int]],
    found: NDArray[np.int16],
    owner: NDArray[np.int32],
    affine: Any,
    all_touched: bool,
) -> tuple[int, set[int]]:
    """Burn (geometry, id, class) into views of a tile; return its conflicts and the ids that burned a pixel."""
    from rasterio.features import rasterize

    conflict = np.zeros(found.shape, bool)
    touched: set[int] = set()
    for index in sorted({shape[2] for shape in shapes}):
        # rasterize lets the last one win
        chosen = [(geometry, number) for geometry, number, value in reversed(shapes) if value == index]
        burned = rasterize(
            chosen, out_shape=found.shape, transform=affine, fill=-1, all_touched=all_touched, dtype="int32"
        )
        here = burned >= 0
        touched.update(np.unique(burned[here]).tolist())
        conflict |= here & (found >= 0)
        found[here] = index
        owner[here] = burned[here]
    found[conflict] = IGNORE
    owner[conflict] = -1
    return int(conflict.sum()), touched


def _window_of(bounds: NDArray[np.floating], geobox: GeoBox) -> Window:
    """Return the window of the grid that a bounding box covers, clipped to the grid, never empty."""
    inverse = ~geobox.affine
    corners = [inverse * (x, y) for x in bounds[[0, 2]] for y in bounds[[1, 3]]]
    cols, rows = np.array([c[0] for c in corners]), np.array([c[1] for c in corners])
    full = grid_window(geobox)
    limits = []
    for values, size in ((rows, full.height), (cols, full.width)):
        start = int(np.clip(np.floor(values.min() - 1e-6), 0, size - 1))
        stop = int(np.clip(np.ceil(values.max() + 1e-6), start + 1, size))
        limits.append((start, stop))
    (row, row_stop), (col, col_stop) = limits
    return Window(row, col, row_stop - row, col_stop - col)


def _rows_of_dates(column: Any, time_field: str) -> dict[int, NDArray[np.intp]]:
    """Group row numbers by day (days since 1970-01-01, read as UTC)."""
    import pandas as pd

    try:
        times = pd.to_datetime(column, utc=True)
    except (ValueError, TypeError) as error:
        raise LabelError(f"The field {time_field!r} does not hold dates such as 2020-06-30.") from error
    days = times.dt.tz_localize(None).to_numpy().astype("datetime64[D]").astype(np.int64)
    return {int(day): np.flatnonzero(days == day) for day in np.unique(days)}


def _nothing_there(path: Path, total: int, skipped: int) -> str:
    if total == 0:
        return f"The labels {path.name} hold no features."
    if skipped == total:
        return f"All {total} features of {path.name} lack a class or a geometry."
    return (
        f"None of the {total} features of {path.name} meets the scene; check that both show the same place and "
        "that the labels' coordinate system is right."
    )
