"""Tiles of 256 pixels: read by rio-tiler from overviews, coloured by `painting`, packed as PNG."""

from __future__ import annotations

import hashlib
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
from ecumene.core.threads import available_threads
from ecumene.viewer.painting import levels, missing, paint, physical, to_palette_png, to_png
from ecumene.viewer.rasters import checked_path, safe_environment
from ecumene.viewer.relief import heights_of, terrarium
from ecumene.viewer.server.memory import MOST_DRAWING_THREADS, TILE_CACHE_BYTES, TILE_ENTRY_BYTES
from ecumene.viewer.server.sources import OpenFiles, Read

if TYPE_CHECKING:
    from ecumene.mapping.product import Product


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


class TileCache:
    """The last tiles as PNG, up to a number of bytes; what it costs to find them is counted as well."""

    def __init__(self, limit: int = TILE_CACHE_BYTES) -> None:
        self._limit = limit
        self._bytes = 0
        self._tiles: OrderedDict[bytes, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: bytes) -> bytes | None:
        """Return a tile, or None."""
        with self._lock:
            if key in self._tiles:
                self._tiles.move_to_end(key)
            return self._tiles.get(key)

    def put(self, key: bytes, tile: bytes) -> None:
        """Keep a tile; the least recently used ones go."""
        with self._lock:
            earlier = self._tiles.pop(key, None)
            self._bytes += self._cost(tile) - (0 if earlier is None else self._cost(earlier))
            self._tiles[key] = tile
            while self._bytes > self._limit:
                self._bytes -= self._cost(self._tiles.popitem(last=False)[1])

    @staticmethod
    def _cost(tile: bytes) -> int:
        return len(tile) + TILE_ENTRY_BYTES


class TileMaker:
    """Makes tiles in as many threads as there are processors, so that memory does not grow with the clients.

    Attributes:
        threads: Where tiles are to be made; a few, because each keeps files open.
    """

    def __init__(self, cache_bytes: int = TILE_CACHE_BYTES) -> None:
        from rio_tiler.errors import NoOverviewWarning

        warnings.simplefilter("ignore", NoOverviewWarning)  # the product's description says it, once
        self._files = OpenFiles()
        self._cache = TileCache(cache_bytes)
        number = min(max(2, available_threads()), MOST_DRAWING_THREADS)
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
        key = _key(sources, layer, (z, x, y), look)
        found = self._cache.get(key)
        if found is None:
            with safe_environment():
                if len(sources) == 1 and look.fade == 0:
                    found = self._quick_tile(sources[0], layer, (z, x, y), look)
                else:
                    picture = self._picture(sources, layer, (z, x, y), look)
                    found = None if picture is None else to_png(picture)
            found = _empty_png(look.size) if found is None else found
            self._cache.put(key, found)
        return found

    def relief(self, sources: Sequence[Source], about: Mapping[str, Any], z: int, x: int, y: int) -> bytes:
        """Return a tile of heights as `relief.terrarium` packs them.

        Args:
            sources: Products, the uppermost first.
            about: By `relief.describe_relief`.
            z: Zoom level.
            x: Column of the tile from the west.
            y: Row of the tile from the north.

        Raises:
            ProductError: If a file cannot be read.
        """
        name, look = about["layer"], TileLook(about["band"])
        # A product of a collection is raised above the collection's lowest level, alone above its own.
        key = _key(sources, name, (z, x, y), look, kind=f"relief above {about['lowest']!r}")
        found = self._cache.get(key)
        if found is None:
            ground = np.full((look.size, look.size), np.nan)
            with safe_environment():
                for source in sources:
                    read = self._read(source, name, look.band, (z, x, y), look.size)
                    if read is None:
                        continue
                    heights = heights_of(self._checked(source, name, look), read[0], about["lowest"])
                    heights[read[1]] = np.nan
                    ground = np.where(np.isnan(ground), heights, ground)
                    if not np.isnan(ground).any():
                        break
            found = to_png(terrarium(ground))
            self._cache.put(key, found)
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

    def _read(self, source: Source, layer: str, band: int, place: tuple[int, int, int], size: int) -> Read | None:
        """Return (stored values, where outside of the grid) of a tile, or None where all of it is outside."""
        from rasterio.errors import RasterioError

        file = self._files.get(source.product, layer)
        try:
            return file.tile(band, place, size)
        except (RasterioError, OSError) as error:
            raise ProductError(
                f"{source.product.path(layer).name} of {source.product.folder.name} cannot be decoded here; map again."
            ) from error


@cache
def _empty_png(size: int) -> bytes:
    return to_png(np.zeros((size, size, 4), np.uint8))


def _key(
    sources: Sequence[Source], layer: str, place: tuple[int, int, int], look: TileLook, kind: str = "picture"
) -> bytes:
    """Return a digest of what a tile depends on; it changes when one of its files is replaced."""
    parts: list[Any] = [
        kind,
        layer,
        place,
        look.band,
        look.colormap,
        look.limits,
        sorted(look.hide),
        look.fade,
        look.size,
    ]
    for source in sources:
        # One file may be shown alone and as part of a collection, which have ramps and error bars of their own.
        about = source.layers[layer]
        parts.append((about["colormap"], [band["limits"] for band in about["bands"][look.band - 1 : look.band]]))
        names = [layer]
        if look.fade > 0 and about["uncertainty"] is not None:
            names.append(about["uncertainty"]["layer"])
            parts.append((about["uncertainty"]["low"], about["uncertainty"]["high"]))
        for name in names:
            path = checked_path(source.product.folder, source.product.path(name))
            parts.append((str(path), path.stat().st_mtime_ns))
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).digest()
