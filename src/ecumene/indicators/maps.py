"""Opening the layers of a map and walking over it in tiles."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from ecumene.core.errors import ProductError
from ecumene.core.window import Window
from ecumene.samples.raster_labels import tiles

TILE = 1024


@contextlib.contextmanager
def open_layer(path: Path | str) -> Iterator[tuple[Any, GeoBox]]:
    """Open a GeoTIFF of a map.

    Args:
        path: One layer.

    Yields:
        `(dataset, grid)`.

    Raises:
        ProductError: If it cannot be opened, or has no coordinate system.
    """
    import rasterio
    from rasterio.errors import RasterioIOError

    path = Path(path)
    if not path.is_file():
        raise ProductError(f"The map {path} does not exist; check the path.")
    try:
        # Only GeoTIFF: formats that can point to other files are not opened.
        dataset = rasterio.open(path, driver="GTiff")
    except RasterioIOError as error:
        raise ProductError(f"The map {path.name} cannot be read as a GeoTIFF; the file may be damaged.") from error
    with dataset:
        if dataset.crs is None:
            raise ProductError(f"The map {path.name} states no coordinate reference system.")
        yield dataset, GeoBox((dataset.height, dataset.width), dataset.transform, dataset.crs.to_wkt())


@contextlib.contextmanager
def open_map(path: Path | str) -> Iterator[tuple[Any, GeoBox]]:
    """Open a categorical GeoTIFF.

    Args:
        path: The map; its first band holds the codes.

    Yields:
        `(dataset, grid)`.

    Raises:
        ProductError: If it cannot be opened, has no coordinate system, or is not integer.
    """
    with open_layer(path) as (dataset, geobox):
        if not np.issubdtype(np.dtype(dataset.dtypes[0]), np.integer):
            raise ProductError(
                f"The map {Path(path).name} holds {dataset.dtypes[0]} values; a map of classes has integers."
            )
        yield dataset, geobox


def read_masked(dataset: Any, window: Window, band: int | None = None, what: str = "The map") -> Any:
    """Read stored values of a window inside a layer as a masked array.

    Args:
        dataset: From `open_layer`.
        window: Inside the layer.
        band: Counted from 1, for `[h, w]`; None: all, for `[bands, h, w]`.
        what: What it holds, the beginning of the sentence about damage.

    Raises:
        ProductError: If the file is damaged.
    """
    from rasterio.errors import RasterioIOError
    from rasterio.windows import Window as RasterWindow

    place = RasterWindow(window.col, window.row, window.width, window.height)
    try:
        return dataset.read(band, window=place, masked=True)
    except RasterioIOError as error:
        raise ProductError(f"{what} cannot be read to the end; the file may be truncated.") from error


def read_codes(dataset: Any, window: Window, nodata: int | None = None) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Read codes of a window inside the map, and where there are any.

    Args:
        dataset: From `open_map`.
        window: Inside the map.
        nodata: Code that means nothing, besides the file's own nodata and mask.

    Raises:
        ProductError: If the file is damaged.
    """
    stored = read_masked(dataset, window, 1)
    codes, known = stored.data.astype(np.int64), ~np.ma.getmaskarray(stored)
    if nodata is not None:
        known &= codes != nodata
    return codes, known


def walk(dataset: Any, nodata: int | None = None) -> Iterator[tuple[Window, NDArray[np.int64], NDArray[np.bool_]]]:
    """Yield all tiles of a map row by row: window, codes, where there are any."""
    for tile in tiles(Window(0, 0, dataset.height, dataset.width), TILE):
        yield (tile, *read_codes(dataset, tile, nodata))
