"""The state of a run: finished tiles, and the strips that unfinished ones still need.

A tile is finished when its record (JSON with sizes and checksums of its layer files) exists; records are
written after the files that they vouch for, and everything is written whole or not at all. A restart
reads the records, checks the files, and computes the rest.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from ecumene.core.errors import ProductError
from ecumene.core.files import atomic_path, remove_leftovers, sha256_of, write_text
from ecumene.core.window import Window
from ecumene.mapping.plan import Plan, Tile, window_transform
from ecumene.mapping.statistics import BandStatistics
from ecumene.objectives.prediction import LayerSpec


class LayerRecord(BaseModel):
    """One layer file of a finished tile."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str
    size: int
    statistics: tuple[BandStatistics, ...]


class TileRecord(BaseModel):
    """What vouches for a finished tile.

    Attributes:
        layers: Its files.
        damaged: Parts (row, column, height, width from the tile's corner) whose input could not be decoded.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    layers: dict[str, LayerRecord]
    damaged: tuple[tuple[int, int, int, int], ...] = ()


class TileStore:
    """Tiles and strips in a working folder."""

    def __init__(self, work: Path, plan: Plan, specs: tuple[LayerSpec, ...]) -> None:
        """Open (and create) the folder, and delete what a killed run left half-written."""
        self.work, self.plan, self.specs = work, plan, specs
        self.folder, self.strips = work / "tiles", work / "strips"
        for folder in (self.folder, self.strips):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ProductError(f"The folder {folder} cannot be created ({error.strerror}).") from error
            remove_leftovers(folder)

    def layer_path(self, tile: Tile, layer: str) -> Path:
        """Where a tile's layer is."""
        return self.folder / f"{tile.name}-{layer}.tif"

    def record_path(self, tile: Tile) -> Path:
        """Where a tile's record is."""
        return self.folder / f"{tile.name}.json"

    def record(self, tile: Tile) -> TileRecord | None:
        """Return the record of a tile, or None if it is unfinished."""
        try:
            return TileRecord.model_validate_json(self.record_path(tile).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValidationError, UnicodeDecodeError):
            return None

    def is_intact(self, tile: Tile) -> bool:
        """Whether a tile is finished and its files are what its record says."""
        record = self.record(tile)
        if record is None or set(record.layers) != {spec.name for spec in self.specs}:
            return False
        for name, layer in record.layers.items():
            path = self.layer_path(tile, name)
            if not path.is_file() or path.stat().st_size != layer.size or sha256_of(path) != layer.sha256:
                return False
        return True

    def unfinished(self) -> list[Tile]:
        """Return the tiles to compute, row by row.

        A finished neighbour whose strip is gone although an unfinished tile needs it is computed again.
        """
        todo = {(tile.row, tile.col) for tile in self.plan.tiles() if not self.is_intact(tile)}
        queue = list(todo)
        while queue:
            row, col = queue.pop()
            tile = self.plan.tile(row, col)
            for place in self.providers(tile):
                if place not in todo and not self._has_strip(tile, place):
                    todo.add(place)
                    queue.append(place)
        for place in todo:
            self.record_path(self.plan.tile(*place)).unlink(missing_ok=True)
        return [self.plan.tile(*place) for place in sorted(todo)]

    def providers(self, tile: Tile) -> list[tuple[int, int]]:
        """Return the tiles whose strips a tile needs."""
        places = []
        if tile.col > 0 and self.plan.cols.overlap:
            places.append((tile.row, tile.col - 1))
        if tile.row > 0 and self.plan.rows.overlap:
            places.append((tile.row - 1, tile.col))
        return places

    def _strip_path(self, tile: Tile, side: str) -> Path:
        return self.strips / f"{tile.name}-{side}.npy"

    def _has_strip(self, tile: Tile, provider: tuple[int, int]) -> bool:
        side = "right" if provider[0] == tile.row else "bottom"
        return self._strip_path(self.plan.tile(*provider), side).is_file()

    def write_strip(self, tile: Tile, side: str, strip: NDArray[np.float32]) -> None:
        """Keep a strip for the neighbour on a side (`right` or `bottom`)."""
        with atomic_path(self._strip_path(tile, side)) as path:
            np.save(path, strip, allow_pickle=False)

    def read_strip(self, tile: Tile, side: str) -> NDArray[np.float32] | None:
        """Return a strip, or None if its tile has not been computed yet."""
        path = self._strip_path(tile, side)
        try:
            return np.asarray(np.load(path, allow_pickle=False), dtype=np.float32)
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise ProductError(f"The working file {path} is damaged; delete {self.work} and map again.") from error

    def finish(
        self,
        tile: Tile,
        files: Mapping[str, tuple[bytes, tuple[BandStatistics, ...]]],
        damaged: Iterable[Window] = (),
    ) -> None:
        """Write a tile's layers, then its record, then drop the strips that nobody needs any more."""
        records = {}
        for name, (content, statistics) in files.items():
            with atomic_path(self.layer_path(tile, name), durable=False) as path:  # its record has its checksum
                path.write_bytes(content)
            digest = hashlib.sha256(content).hexdigest()
            records[name] = LayerRecord(sha256=digest, size=len(content), statistics=statistics)
        cells = (cell.shift(-tile.window.row, -tile.window.col) for cell in sorted(damaged))
        marked = tuple((cell.row, cell.col, cell.height, cell.width) for cell in cells)
        write_text(self.record_path(tile), TileRecord(layers=records, damaged=marked).model_dump_json())
        for place in self.providers(tile):
            side = "right" if place[0] == tile.row else "bottom"
            self._strip_path(self.plan.tile(*place), side).unlink(missing_ok=True)

    def records(self) -> Iterable[tuple[Tile, TileRecord]]:
        """Yield all tiles with their records, row by row.

        Raises:
            ProductError: If one is missing.
        """
        for tile in self.plan.tiles():
            record = self.record(tile)
            if record is None:
                raise ProductError(f"The tile {tile.name} is not finished; run the same command again.")
            yield tile, record

    def discard(self) -> None:
        """Delete all tiles and strips."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self.strips, ignore_errors=True)


def encode_tile(stored: NDArray[Any], spec: LayerSpec, plan: Plan, tile: Tile) -> bytes:
    """Return a tile's layer as an uncompressed GeoTIFF (it lives for minutes; compression comes once, at the end)."""
    from affine import Affine
    from rasterio.io import MemoryFile

    transform = Affine(*window_transform(plan.transform, tile.window))
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "dtype": spec.dtype,
        "count": spec.count,
        "height": stored.shape[1],
        "width": stored.shape[2],
        "crs": plan.crs,
        "transform": transform,
        "interleave": "band",
    }
    if spec.role != "valid":
        profile["nodata"] = spec.nodata
    if min(stored.shape[1:]) >= 256:
        profile |= {"tiled": True, "blockxsize": 256, "blockysize": 256}
    with MemoryFile() as memory:
        with memory.open(**profile) as target:
            target.write(stored)
        return bytes(memory.getbuffer())
