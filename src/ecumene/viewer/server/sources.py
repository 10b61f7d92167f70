"""Open rasters of the drawing threads, and what a tile of Web Mercator reads of one."""

from __future__ import annotations

import threading
from collections import OrderedDict
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecumene.viewer.places import is_georeferenced, tile_bounds
from ecumene.viewer.rasters import checked_path, open_raster
from ecumene.viewer.server.memory import OPEN_FILES

if TYPE_CHECKING:
    import rasterio

    from ecumene.mapping.product import Product

Read = tuple[NDArray[Any], NDArray[np.bool_]]
"""Stored values, and where they lie outside of the grid."""


class OpenRaster:
    """An open file with what is the same for all of its tiles.

    How fine its pixels are in Web Mercator is asked for once. rio-tiler's reader asks for every tile, which takes as
    long as the reading itself, and rasterio 1.4's `calculate_default_transform` keeps some memory every time.
    """

    def __init__(self, dataset: rasterio.io.DatasetReader, georeferenced: bool) -> None:
        self.dataset = dataset
        self._georeferenced = georeferenced

    @cached_property
    def _reader(self) -> Any:
        from rio_tiler.io import Reader

        return Reader(None, dataset=self.dataset)

    @cached_property
    def _step(self) -> tuple[float, float]:
        """Web Mercator metres of a pixel, across and down."""
        from rasterio.warp import calculate_default_transform
        from rio_tiler.constants import WEB_MERCATOR_CRS

        source = self.dataset
        south, north = source.bounds.bottom, source.bounds.top
        if source.crs.is_geographic:  # Web Mercator ends before the poles
            south, north = max(south, -85.06), min(north, 85.06)
        rows = max(1, round(source.height * (north - south) / (source.bounds.top - source.bounds.bottom)))
        found, _, _ = calculate_default_transform(
            source.crs, WEB_MERCATOR_CRS, source.width, rows, source.bounds.left, south, source.bounds.right, north
        )
        return abs(found.a), abs(found.e)

    def tile(self, band: int, place: tuple[int, int, int], size: int) -> Read | None:
        """Read a tile from the overviews that are fine enough for it, or None where all of it is outside.

        Args:
            band: 1-based.
            place: Zoom level, column and row of the tile.
            size: Pixels of the tile's side.

        Raises:
            rasterio.errors.RasterioError: If the file cannot be decoded.
        """
        if not self._georeferenced:
            return _read_pixel_grid(self.dataset, band, place, size)
        from rasterio.transform import from_bounds
        from rio_tiler.constants import WEB_MERCATOR_CRS
        from rio_tiler.reader import read

        z, x, y = place
        if not self._reader.tile_exists(x, y, z):
            return None
        if self.dataset.crs == WEB_MERCATOR_CRS:  # nothing is warped
            image = self._reader.tile(x, y, z, indexes=band, tilesize=size)
            return image.array.data[0], image.mask == 0
        left, bottom, right, top = tile_bounds(z, x, y)
        across, down = self._step
        # A warped picture as fine as the file, read coarser, is what makes GDAL take the file's overviews.
        width, height = (max(size, round((right - left) / step)) for step in (across, down))
        frame = {"transform": from_bounds(left, bottom, right, top, width, height), "width": width, "height": height}
        image = read(self.dataset, dst_crs=WEB_MERCATOR_CRS, width=size, height=size, indexes=band, vrt_options=frame)
        return image.array.data[0], image.mask == 0


class OpenFiles(threading.local):
    """Files that a thread has open, a few; GDAL's handles must not be shared between threads."""

    def __init__(self) -> None:
        self._files: OrderedDict[tuple[str, int, int], OpenRaster] = OrderedDict()

    def get(self, product: Product, layer: str) -> OpenRaster:
        """Return the open file of a layer; a file that was replaced meanwhile is opened anew."""
        real = checked_path(product.folder, product.path(layer))
        state = real.stat()
        key = (str(real), state.st_mtime_ns, state.st_size)
        found = self._files.pop(key, None)
        if found is None:
            dataset = open_raster(product.folder, product.path(layer))
            found = OpenRaster(dataset, is_georeferenced(product.geobox))
        self._files[key] = found
        while len(self._files) > OPEN_FILES:
            self._files.popitem(last=False)[1].dataset.close()
        return found


def _read_pixel_grid(
    dataset: rasterio.io.DatasetReader, band: int, place: tuple[int, int, int], size: int
) -> Read | None:
    """Read a tile of a raster without a place on the Earth, which lies around 0, 0 with one metre a pixel."""
    from rasterio.windows import Window

    left, _, right, top = tile_bounds(*place)
    first_col, first_row = left + dataset.width / 2, dataset.height / 2 - top
    step = (right - left) / size
    cols = np.floor(first_col + (np.arange(size) + 0.5) * step).astype(np.int64)
    rows = np.floor(first_row + (np.arange(size) + 0.5) * step).astype(np.int64)
    in_cols, in_rows = (cols >= 0) & (cols < dataset.width), (rows >= 0) & (rows < dataset.height)
    if not in_cols.any() or not in_rows.any():
        return None
    c0, c1, r0, r1 = (int(v) for v in (cols[in_cols][0], cols[in_cols][-1], rows[in_rows][0], rows[in_rows][-1]))
    window = Window(c0, r0, c1 - c0 + 1, r1 - r0 + 1)
    shape = (int(min(r1 - r0 + 1, in_rows.sum())), int(min(c1 - c0 + 1, in_cols.sum())))
    read = dataset.read(band, window=window, out_shape=shape)  # from overviews where the tile is coarser
    at_rows = np.clip((rows - r0) * shape[0] // (r1 - r0 + 1), 0, shape[0] - 1)
    at_cols = np.clip((cols - c0) * shape[1] // (c1 - c0 + 1), 0, shape[1] - 1)
    return read[np.ix_(at_rows, at_cols)], ~(in_rows[:, None] & in_cols[None])
