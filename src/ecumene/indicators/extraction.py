"""Pairs of reference and map at reference points or polygons."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import LabelError, ProductError
from ecumene.core.window import Window
from ecumene.indicators.accuracy import confusion_matrix
from ecumene.indicators.maps import TILE, open_map, read_codes
from ecumene.legends import Legend
from ecumene.samples.class_values import match_values, normalise_values
from ecumene.samples.raster_labels import tiles
from ecumene.samples.vectors import read_features


@dataclass(frozen=True)
class Extraction:
    """Reference and map at the same places.

    Attributes:
        reference: int64 `[N]` class index of the reference.
        mapped: int64 `[N]` class index of the map.
        feature: int64 `[N]` row of the reference file; pixels of one polygon share it and are not
            independent.
        group: int64 `[N]` number of the group that an element belongs to (equal values of
            `group_field`), else its feature.
        row: int64 `[N]` row of the map.
        col: int64 `[N]` column of the map.
        legend: The map's legend.
        outside: Features that do not meet the map.
        nodata: Pixels where the map has no class.
        skipped: Features without class or geometry.
        without_pixels: Polygons that contain no pixel centre of the map.
    """

    reference: NDArray[np.int64]
    mapped: NDArray[np.int64]
    feature: NDArray[np.int64]
    group: NDArray[np.int64]
    row: NDArray[np.int64]
    col: NDArray[np.int64]
    legend: Legend
    outside: int
    nodata: int
    skipped: int
    without_pixels: int

    def __len__(self) -> int:
        return len(self.reference)

    def confusion(self) -> NDArray[np.int64]:
        """Return the confusion matrix: rows = reference, columns = prediction."""
        return confusion_matrix(self.reference, self.mapped, len(self.legend))

    def counts_by_map_class(self) -> NDArray[np.int64]:
        """Return the matrix that `olofsson_report` takes: rows = MAP, columns = reference."""
        return self.confusion().T.copy()


def extract_at(
    reference: Path | str,
    field: str,
    map_path: Path | str,
    legend: Legend,
    *,
    layer: str | None = None,
    nodata: int | None = None,
    group_field: str | None = None,
) -> Extraction:
    """Read a map at reference points (the pixel under each) or polygons (all pixel centres inside).

    Args:
        reference: Vector file in any coordinate system.
        field: Column with the class: name, or code of the map; null and empty rows are skipped.
        map_path: GeoTIFF of class codes.
        legend: The map's legend.
        layer: Layer of a reference file with several.
        nodata: Code that is no class, besides the file's nodata.
        group_field: Column whose equal values mark elements that are not independent; a file without
            that column, or a null in it, leaves each feature a group of its own.

    Returns:
        The pairs, in the order of the reference.

    Raises:
        LabelError: If the reference cannot be read, holds a class that the legend lacks, or meets
            the map nowhere.
        ProductError: If the map cannot be read or holds codes that the legend lacks.
    """
    name = Path(reference).name
    with open_map(map_path) as (dataset, geobox):
        features = read_features(
            reference,
            [field],
            geobox,
            optional=[] if group_field is None else [group_field],
            layer=layer,
            what="reference points",
        )
        frame = features.frame
        blank = np.array([isinstance(item, str) and not item.strip() for item in frame[field]], dtype=bool)
        outside = features.total - features.skipped - len(frame)
        frame = frame[~blank]
        skipped = features.skipped + int(blank.sum())
        if len(frame) == 0:
            raise LabelError(
                f"None of the {features.total} features of {name} has a class in {field!r} and meets the map; check "
                "field, place and coordinate system."
            )
        classes = match_values(normalise_values(frame[field].tolist(), field), legend, f"reference points {name}")
        points, missed = pixels_under(frame.geometry, geobox.affine, Window(0, 0, dataset.height, dataset.width))
        areas = [
            pixels_in(item, position, geobox) for position, item in enumerate(frame.geometry) if not is_point(item)
        ]
        empty = sum(1 for item in areas if item.shape[1] == 0)
        found = np.concatenate([points, *areas], axis=1) if areas else points
        found = found[:, np.argsort(found[0], kind="stable")]
        codes, known = _codes_at(dataset, found[1], found[2], nodata)
    if not known.any():
        raise LabelError(f"None of the features of {name} lies on a classified pixel of the map; check the place.")
    position, row, col = found[:, known]
    feature = frame.index.to_numpy(dtype=np.int64)
    return Extraction(
        classes[position],
        _indices(codes[known], legend, Path(map_path).name),
        feature[position],
        numbered_groups(frame, group_field, feature)[position],
        row,
        col,
        legend,
        outside + missed,
        int((~known).sum()),
        skipped,
        empty,
    )


def is_point(geometry: Any) -> bool:
    """Whether a geometry is one or several points."""
    return bool(geometry.geom_type in {"Point", "MultiPoint"})


def pixels_under(geometries: Any, affine: Any, whole: Window) -> tuple[NDArray[np.int64], int]:
    """Return `[3, N]` (position, row, column) of the points in the map, and how many features are not."""
    found, missed = [], 0
    inverse = ~affine
    for position, geometry in enumerate(geometries):
        if not is_point(geometry):
            continue
        inside = 0
        for point in getattr(geometry, "geoms", [geometry]):
            x, y = inverse * (point.x, point.y)
            row, col = int(np.floor(y)), int(np.floor(x))
            if 0 <= row < whole.height and 0 <= col < whole.width:
                found.append((position, row, col))
                inside += 1
        missed += inside == 0
    return np.array(found, dtype=np.int64).reshape(-1, 3).T, missed


def pixels_in(geometry: Any, position: int, geobox: Any) -> NDArray[np.int64]:
    """Return `[3, N]` (position, row, column) of the pixel centres in a polygon, row by row."""
    from rasterio.features import rasterize

    inverse = ~geobox.affine
    left, bottom, right, top = geometry.bounds
    corners = np.array([inverse * (x, y) for x in (left, right) for y in (bottom, top)])
    low, high = np.floor(corners.min(axis=0)).astype(int), np.ceil(corners.max(axis=0)).astype(int)
    box = Window(int(low[1]), int(low[0]), int(high[1] - low[1]) + 1, int(high[0] - low[0]) + 1)
    window = box.intersect(Window(0, 0, int(geobox.height), int(geobox.width)))
    if window is None:
        return np.zeros((3, 0), np.int64)
    parts = []
    for tile in tiles(window, TILE):
        affine = geobox.affine * geobox.affine.translation(tile.col, tile.row)
        burned = rasterize([geometry], out_shape=(tile.height, tile.width), transform=affine, dtype="uint8")
        rows, cols = np.nonzero(burned)
        parts.append(np.stack([np.full(rows.size, position), rows + tile.row, cols + tile.col]))
    return np.concatenate(parts, axis=1).astype(np.int64)


def _codes_at(
    dataset: Any, rows: NDArray[np.int64], cols: NDArray[np.int64], nodata: int | None
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Read the map at pixels, one tile after the other."""
    codes, known = np.zeros(rows.size, np.int64), np.zeros(rows.size, bool)
    across = -(-dataset.width // TILE)
    tile_of = rows // TILE * across + cols // TILE
    whole = Window(0, 0, dataset.height, dataset.width)
    for number in np.unique(tile_of):
        here = np.flatnonzero(tile_of == number)
        tile = Window(int(number) // across * TILE, int(number) % across * TILE, TILE, TILE).intersect(whole)
        if tile is None:
            continue
        values, usable = read_codes(dataset, tile, nodata)
        place = rows[here] - tile.row, cols[here] - tile.col
        codes[here], known[here] = values[place], usable[place]
    return codes, known


def _indices(codes: NDArray[np.int64], legend: Legend, name: str) -> NDArray[np.int64]:
    table = {code: index for index, code in enumerate(legend.values)}
    distinct, inverse = np.unique(codes, return_inverse=True)
    if unknown := [str(code) for code in distinct.tolist() if code not in table]:
        raise ProductError(
            f"The map {name} holds codes that are not in its legend: {', '.join(unknown)}; give the map's own legend."
        )
    indices: NDArray[np.int64] = np.array([table[code] for code in distinct.tolist()], dtype=np.int64)[inverse]
    return indices


def numbered_groups(frame: Any, group_field: str | None, feature: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a number for each feature that is equal within a group."""
    if group_field is None or group_field not in frame.columns:
        return feature
    import pandas as pd

    numbers, names = pd.factorize(frame[group_field])
    # Features without a group stay alone.
    return np.where(numbers >= 0, numbers, feature + len(names)).astype(np.int64)
