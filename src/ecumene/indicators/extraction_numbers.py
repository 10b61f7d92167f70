"""Pairs of reference numbers and layers of a map at reference points or polygons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import LabelError, ProductError
from ecumene.core.window import Window
from ecumene.indicators.extraction import is_point, numbered_groups, pixels_in, pixels_under
from ecumene.indicators.maps import TILE, open_layer
from ecumene.samples.vectors import read_features

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class NumberExtraction:
    """Reference and layers at the same places.

    Attributes:
        reference: `[N]` number of the reference.
        layers: `[N]` of each layer, by name; NaN where it has no value.
        group: int64 `[N]` number of the group that an element belongs to, else its feature.
        row: int64 `[N]` row of the map.
        col: int64 `[N]` column of the map.
        outside: Features that do not meet the map.
        nodata: Pixels where the first layer has no value.
        skipped: Features without number or geometry.
    """

    reference: Floats
    layers: dict[str, Floats]
    group: NDArray[np.int64]
    row: NDArray[np.int64]
    col: NDArray[np.int64]
    outside: int
    nodata: int
    skipped: int

    def __len__(self) -> int:
        return len(self.reference)


def extract_numbers(
    reference: Path | str, field: str, layers: Mapping[str, Path], *, band: int = 1, group_field: str | None = None
) -> NumberExtraction:
    """Read layers of a map at reference points (the pixel under each) or polygons (all pixel centres inside).

    Args:
        reference: Vector file in any coordinate system.
        field: Numeric column; nulls are skipped.
        layers: GeoTIFFs of one grid by name; elements without a value in the first one are left out.
        band: Band of each.
        group_field: Column whose equal values mark elements that are not independent; a file without that column, or a
            null in it, leaves each feature a group of its own.

    Raises:
        LabelError: If the reference cannot be read, the column is not numeric, or it meets the map nowhere.
        ProductError: If a layer cannot be read.
    """
    name = Path(reference).name
    with open_layer(next(iter(layers.values()))) as (dataset, geobox):
        features = read_features(
            reference, [field], geobox, optional=[] if group_field is None else [group_field], what="reference points"
        )
        shape = Window(0, 0, int(dataset.height), int(dataset.width))
    frame = features.frame
    numbers = _numeric(frame[field], field, name)
    outside = features.total - features.skipped - len(frame)
    frame, numbers = frame[np.isfinite(numbers)], numbers[np.isfinite(numbers)]
    skipped = features.total - outside - len(frame)
    if len(frame) == 0:
        raise LabelError(
            f"None of the {features.total} features of {name} has a number in {field!r} and meets the map; check "
            "field, place and coordinate system."
        )
    points, missed = pixels_under(frame.geometry, geobox.affine, shape)
    areas = [pixels_in(item, position, geobox) for position, item in enumerate(frame.geometry) if not is_point(item)]
    found = np.concatenate([points, *areas], axis=1) if areas else points
    position, row, col = found[:, np.argsort(found[0], kind="stable")]
    values = {layer: _values_at(path, band, row, col) for layer, path in layers.items()}
    known = np.isfinite(next(iter(values.values())))
    if not known.any():
        raise LabelError(f"None of the features of {name} lies on a mapped pixel; check the place.")
    feature = frame.index.to_numpy(dtype=np.int64)
    return NumberExtraction(
        numbers[position][known],
        {layer: entry[known] for layer, entry in values.items()},
        numbered_groups(frame, group_field, feature)[position][known],
        row[known],
        col[known],
        outside + missed,
        int((~known).sum()),
        skipped,
    )


def _numeric(column: Any, field: str, name: str) -> Floats:
    import pandas as pd

    if not pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_bool_dtype(column.dtype):
        raise LabelError(f"The field {field!r} of {name} is not numeric; choose a numeric field with --field.")
    return np.asarray(column.to_numpy(dtype=np.float64), np.float64)


def _values_at(path: Path, band: int, rows: NDArray[np.int64], cols: NDArray[np.int64]) -> Floats:
    """Read one band at pixels, one tile after the other; physical values, NaN for nodata."""
    from rasterio.errors import RasterioIOError
    from rasterio.windows import Window as RasterWindow

    values = np.full(rows.size, np.nan)
    with open_layer(path) as (dataset, _):
        tile_of = rows // TILE * (-(-dataset.width // TILE)) + cols // TILE
        for number in np.unique(tile_of):
            here = np.flatnonzero(tile_of == number)
            top, left = int(rows[here[0]]) // TILE * TILE, int(cols[here[0]]) // TILE * TILE
            place = RasterWindow(left, top, min(TILE, dataset.width - left), min(TILE, dataset.height - top))
            try:
                stored = dataset.read(band, window=place, masked=True).astype(np.float64)
            except (RasterioIOError, IndexError) as error:
                raise ProductError(f"The map {path.name} cannot be read; the file may be damaged.") from error
            physical = stored * dataset.scales[band - 1] + dataset.offsets[band - 1]
            values[here] = physical.filled(np.nan)[rows[here] - top, cols[here] - left]
    return values
