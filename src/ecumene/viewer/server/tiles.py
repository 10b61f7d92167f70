"""Tiles of 256 pixels: read by rio-tiler from overviews, coloured by `painting`, packed as PNG."""

from __future__ import annotations

import os
import threading
import warnings
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ProductError
from ecumene.viewer.painting import levels, missing, paint, physical, to_palette_png, to_png
from ecumene.viewer.places import is_georeferenced, tile_bounds
from ecumene.viewer.rasters import checked_path, open_raster, safe_environment

if TYPE_CHECKING:
    import rasterio

    from ecumene.mapping.product import Product

_OPEN_FILES = 8
_MOST_THREADS = 8
_CACHED_BYTES = 48 << 20


@dataclass(frozen=True)
class Source:
    """One product whose layer may be part of a tile, with the descriptions of its layers by name."""

    product: Product
    layers: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class TileLook:
    """How a layer is drawn; see `painting.paint`."""

    band: int = 1
    colormap: str | None = None
    limits: tuple[float, float] | None = None
    hide: frozenset[int] = frozenset()
    fade: float = 0.0
    size: int = 256


class _OpenFiles(threading.local):
    """Files that a thread has open, a few; GDAL's handles must not be shared between threads."""

    def __init__(self) -> None:
        self._files: OrderedDict[tuple[str, int, int], rasterio.io.DatasetReader] = OrderedDict()

    def get(self, product: Product, layer: str) -> rasterio.io.DatasetReader:
        """Return the open file of a layer; a file that was replaced meanwhile is opened anew."""
        real = checked_path(product.folder, product.path(layer))
        state = real.stat()
        key = (str(real), state.st_mtime_ns, state.st_size)
        found = self._files.pop(key, None)
        if found is None:
            found = open_raster(product.folder, product.path(layer))
        self._files[key] = found
        while len(self._files) > _OPEN_FILES:
            self._files.popitem(last=False)[1].close()
        return found


class TileCache:
    """The last tiles as PNG, up to a number of bytes."""

    def __init__(self, limit: int = _CACHED_BYTES) -> None:
        self._limit = limit
        self._bytes = 0
        self._tiles: OrderedDict[Any, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Any) -> bytes | None:
        """Return a tile, or None."""
        with self._lock:
            if key in self._tiles:
                self._tiles.move_to_end(key)
            return self._tiles.get(key)

    def put(self, key: Any, tile: bytes) -> None:
        """Keep a tile; the least recently used ones go."""
        with self._lock:
            self._bytes += len(tile) - len(self._tiles.pop(key, b""))
            self._tiles[key] = tile
            while self._bytes > self._limit:
                self._bytes -= len(self._tiles.popitem(last=False)[1])


class TileMaker:
    """Makes tiles in as many threads as there are processors, so that memory does not grow with the clients.

    Attributes:
        threads: Where tiles are to be made; a few, because each keeps files open.
    """

    def __init__(self, cache_bytes: int = _CACHED_BYTES) -> None:
        from rio_tiler.errors import NoOverviewWarning

        warnings.simplefilter("ignore", NoOverviewWarning)  # the product's description says it, once
        self._files = _OpenFiles()
        self._cache = TileCache(cache_bytes)
        number = min(max(2, os.cpu_count() or 2), _MOST_THREADS)
        self.threads = ThreadPoolExecutor(number, thread_name_prefix="tiles")

    def tile(self, sources: Sequence[Source], layer: str, z: int, x: int, y: int, look: TileLook) -> bytes:
        """Return a tile as PNG.

        Args:
            sources: Products, the uppermost first.
            layer: Name of the layer.
            z: Zoom level.
            x: Column of the tile from the west.
            y: Row of the tile from the north.
            look: How it is drawn.

        Raises:
            ProductError: If a file cannot be read, or there is no such band.
            ConfigurationError: If there is no such ramp.
        """
        place = (_state(sources, layer, look), layer, z, x, y, look)
        found = self._cache.get(place)
        if found is None:
            with safe_environment():
                if len(sources) == 1 and look.fade == 0:
                    found = self._quick_tile(sources[0], layer, (z, x, y), look)
                else:
                    picture = self._picture(sources, layer, (z, x, y), look)
                    found = None if picture is None else to_png(picture)
            found = _empty_png(look.size) if found is None else found
            self._cache.put(place, found)
        return found

    def _quick_tile(self, source: Source, name: str, place: tuple[int, int, int], look: TileLook) -> bytes | None:
        """Return the tile of one product without fading, which has few colours; None outside of the product."""
        layer = self._checked(source, name, look)
        found = self._read(source, name, look.band, place, look.size)
        if found is None:
            return None
        stored, outside = found
        index, palette = levels(
            layer, stored, band=look.band, colormap=look.colormap, limits=look.limits, hide=look.hide
        )
        return to_palette_png(index, palette, missing(layer, stored) | outside)

    @staticmethod
    def _checked(source: Source, name: str, look: TileLook) -> Mapping[str, Any]:
        layer = source.layers[name]
        if not 1 <= look.band <= len(layer["bands"]):
            raise ProductError(f"The layer {name} has {len(layer['bands'])} band(s); there is no band {look.band}.")
        return layer

    def _picture(
        self, sources: Sequence[Source], layer: str, place: tuple[int, int, int], look: TileLook
    ) -> NDArray[np.uint8] | None:
        """Return the tile, or None where no product is."""
        picture: NDArray[np.uint8] | None = None
        for source in sources:
            painted = self._painted(source, layer, place, look)
            if painted is None:
                continue
            if picture is None:
                picture = painted
                continue
            free = picture[..., 3] == 0
            picture[free] = painted[free]
            if not (picture[..., 3] == 0).any():
                break
        return picture

    def _painted(
        self, source: Source, name: str, place: tuple[int, int, int], look: TileLook
    ) -> NDArray[np.uint8] | None:
        layer = self._checked(source, name, look)
        found = self._read(source, name, look.band, place, look.size)
        if found is None:
            return None
        stored, outside = found
        bar = None
        if look.fade > 0 and layer["uncertainty"] is not None:
            about = layer["uncertainty"]
            other = self._read(source, about["layer"], about["band_for"][look.band - 1], place, look.size)
            bar = None if other is None else physical(source.layers[about["layer"]], other[0])
        return paint(
            layer,
            stored,
            band=look.band,
            colormap=look.colormap,
            limits=look.limits,
            hide=look.hide,
            fade=look.fade if bar is not None else 0.0,
            uncertainty=bar,
            mask=outside,
        )

    def _read(
        self, source: Source, layer: str, band: int, place: tuple[int, int, int], size: int
    ) -> tuple[NDArray[Any], NDArray[np.bool_]] | None:
        """Return (stored values, where outside of the grid) of a tile, or None where all of it is outside."""
        from rasterio.errors import RasterioError

        dataset = self._files.get(source.product, layer)
        try:
            if not is_georeferenced(source.product.geobox):
                return read_pixel_grid(dataset, band, place, size)
            return _read_georeferenced(dataset, band, place, size)
        except (RasterioError, OSError) as error:
            raise ProductError(
                f"{source.product.path(layer).name} of {source.product.folder.name} cannot be decoded here; map again."
            ) from error


@cache
def _empty_png(size: int) -> bytes:
    return to_png(np.zeros((size, size, 4), np.uint8))


def _state(sources: Sequence[Source], layer: str, look: TileLook) -> tuple[Any, ...]:
    """Return what changes when a file of the tile is replaced."""
    parts = []
    for source in sources:
        names = [layer]
        if look.fade > 0 and source.layers[layer]["uncertainty"] is not None:
            names.append(source.layers[layer]["uncertainty"]["layer"])
        for name in names:
            path = checked_path(source.product.folder, source.product.path(name))
            parts.append((str(path), path.stat().st_mtime_ns))
    return tuple(parts)


def _read_georeferenced(
    dataset: rasterio.io.DatasetReader, band: int, place: tuple[int, int, int], size: int
) -> tuple[NDArray[Any], NDArray[np.bool_]] | None:
    from rio_tiler.errors import TileOutsideBounds
    from rio_tiler.io import Reader

    z, x, y = place
    try:
        with Reader(None, dataset=dataset) as reader:
            image = reader.tile(x, y, z, indexes=band, tilesize=size)
    except TileOutsideBounds:
        return None
    return image.array.data[0], image.mask == 0


def read_pixel_grid(
    dataset: rasterio.io.DatasetReader, band: int, place: tuple[int, int, int], size: int
) -> tuple[NDArray[Any], NDArray[np.bool_]] | None:
    """Read a tile of a raster without a place on the Earth, which lies around 0, 0 with one metre a pixel.

    Args:
        dataset: The open raster.
        band: 1-based.
        place: Zoom level, column and row of the tile.
        size: Pixels of the tile's side.

    Returns:
        (stored values, where outside of the raster), or None where all of the tile is outside.
    """
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
