"""The plan of a collection: which tiles, from which scenes, and everything that decides their bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from odc.geo.geobox import GeoBox
from pydantic import BaseModel, ConfigDict, ValidationError

from ecumene import __version__
from ecumene.catalogue.area import Area, area_of_scenes, frame_in
from ecumene.catalogue.composites import CompositeKind, clear_share
from ecumene.catalogue.grids import GridTile, TileGrid, lattice_phases, padded
from ecumene.core.errors import ConfigurationError, ProductError, SceneError
from ecumene.mapping.checksums import public_name
from ecumene.mapping.item import slug
from ecumene.models.contract import ModelSpec
from ecumene.scenes.contract import SceneSource

SETTINGS_VERSION = 1
Crop = tuple[int, int, int, int]


class Settings(BaseModel):
    """What all tiles of a collection have in common; a store goes on only with the settings that it began with."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    version: int = SETTINGS_VERSION
    software: str = __version__
    model: str
    model_checksum: str
    grid: str
    resolution: float
    composite: CompositeKind
    period: str | None
    area_checksum: str
    mask_clouds: bool
    margin: int
    backend: str
    precision: str
    threads: int
    execution: dict[str, Any] | None = None
    options: dict[str, Any]

    @property
    def collection_id(self) -> str:
        """Id of the STAC Collection."""
        return slug(f"{self.model}-{self.grid}-{self.composite}-{self.model_checksum[:8]}")

    def text(self) -> str:
        """Return the settings as stable JSON text."""
        return self._text

    @cached_property
    def _text(self) -> str:
        return json.dumps(self.model_dump(mode="json"), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


@dataclass(frozen=True)
class Unit:
    """One unit of work: a tile and the scenes that make its product.

    Attributes:
        id: Its name in the store: the tile's, with the day where every day is mapped by itself.
        tile: The tile.
        geobox: The tile with its margin of context.
        crop: (row, column, height, width) of the tile in it.
        sources: Scenes that touch the padded tile, the model's first sensor first, then by time and name.
        shares: Clear share of each day, 0..1, for the composite `least-cloudy`.
    """

    id: str
    tile: GridTile
    geobox: GeoBox
    crop: Crop
    sources: tuple[SceneSource, ...]
    shares: Mapping[str, float] = field(default_factory=dict)

    def fingerprint(self, settings: Settings) -> str:
        """Return a SHA-256 of everything that decides the unit's rasters, but for the pixels of the scenes."""
        digest = hashlib.sha256(settings.text().encode())
        box = self.geobox
        digest.update(repr((self.id, tuple(box.shape), tuple(box.affine), str(box.crs), self.crop)).encode())
        digest.update(b"" if self.tile.clip is None else self.tile.clip.wkb)
        for source in self.sources:
            bands = [(b.name, public_name(b.href), b.index, b.scale, b.offset, b.nodata) for b in source.bands]
            digest.update(repr((source.id, source.level, str(source.time), bands)).encode())
        digest.update(json.dumps(self.shares, sort_keys=True).encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class CollectionPlan:
    """Tiles and scenes of a collection, before a pixel is read.

    Attributes:
        settings: What all units have in common.
        units: The units of work, in order.
        scenes: How many scenes there are.
    """

    settings: Settings
    units: tuple[Unit, ...]
    scenes: int

    @property
    def tiles(self) -> tuple[GridTile, ...]:
        """The tiles, each once."""
        return tuple({unit.tile.id: unit.tile for unit in self.units}.values())

    @property
    def scenes_per_tile(self) -> dict[str, int]:
        """Number of scenes by tile."""
        ids: dict[str, set[str]] = {}
        for unit in self.units:
            ids.setdefault(unit.tile.id, set()).update(source.id for source in unit.sources)
        return {tile: len(found) for tile, found in ids.items()}

    @property
    def pixels(self) -> int:
        """Pixels to map, over all units; a clip may leave some of them out."""
        return sum(int(unit.tile.geobox.shape[0] * unit.tile.geobox.shape[1]) for unit in self.units)

    @cached_property
    def bytes_to_read(self) -> int:
        """Bytes to read, over all units: for local files their size, else the stored pixels, by share of area."""
        return round(sum(_bytes(source, unit.geobox) for unit in self.units for source in unit.sources))


def _bytes(source: SceneSource, geobox: GeoBox) -> float:
    """Bytes of a scene's bands that lie on a grid."""
    crs = str(geobox.crs)
    frame = frame_in(source, crs)
    bounds = geobox.boundingbox
    from shapely.geometry import box

    share = frame.intersection(box(bounds.left, bounds.bottom, bounds.right, bounds.top)).area / max(frame.area, 1e-9)
    total = 0.0
    seen: set[str] = set()
    for band in source.bands:
        path = Path(band.href)
        if path.is_file():
            if band.href not in seen:
                seen.add(band.href)
                total += path.stat().st_size
        else:
            total += band.geobox.shape[0] * band.geobox.shape[1] * np.dtype(band.dtype).itemsize
    return float(total * share)


def plan_units(
    sources: Sequence[SceneSource],
    spec: ModelSpec,
    grid: TileGrid,
    *,
    area: Area | None,
    composite: CompositeKind,
    resolution: float,
    margin: int,
) -> tuple[Unit, ...]:
    """Group scenes by tile.

    Args:
        sources: The scenes.
        spec: The model: its sensors, stride and whether it takes series.
        grid: How the area is divided.
        area: What to map; None: everything that the scenes cover.
        composite: How the dates of a tile become one image; `none` maps each day (a series: all of them at once).
        resolution: Pixel size in metres.
        margin: Pixels of context around a tile.

    Returns:
        The units, tile by tile.

    Raises:
        ConfigurationError: If the grid cannot hold the area, a series is to be composed, or the model looks at whole
            scenes.
        SceneError: If no tile has a scene.
    """
    if spec.temporal and composite != "none":
        raise ConfigurationError("The model maps series, so dates must not be composed; use --composite none.")
    if spec.standardised:
        raise ConfigurationError(
            "The model reads each date standardised by the pixels of its whole scene, which would differ from tile to "
            "tile; map the two scenes themselves."
        )
    sensors = list(dict.fromkeys(band.sensor for band in spec.inputs))
    used = [source for source in sources if source.sensor in sensors]
    if not used:
        have = ", ".join(sorted({source.sensor for source in sources}))
        raise SceneError(f"The model needs scenes of {', '.join(sensors)}, but there are only scenes of {have}.")
    used.sort(key=lambda source: sensors.index(source.sensor))
    tiles = grid.tiles(area or area_of_scenes(used), resolution, lattice_phases(used, resolution))
    shares = _day_shares(used, sensors[0]) if composite == "least-cloudy" else {}
    together = composite != "none" or spec.temporal
    multiple = spec.stride
    units = []
    for tile, (geobox, crop), there in _with_scenes(tiles, used, margin, multiple):
        if not any(source.sensor == sensors[0] for source in there):
            continue
        for name, chosen in _groups(tile, there, sensors[0], together):
            days = {day: shares[day] for day in sorted({_day(s) for s in chosen}) if day in shares}
            units.append(Unit(name, tile, geobox, crop, tuple(chosen), days))
    if not units:
        raise SceneError("No tile of the area is covered by a scene; check area, period and coordinates.")
    return tuple(units)


def _with_scenes(
    tiles: Sequence[GridTile], sources: Sequence[SceneSource], margin: int, multiple: int
) -> Iterator[tuple[GridTile, tuple[GeoBox, Crop], list[SceneSource]]]:
    """Yield every tile, padded, with the scenes that touch it; one spatial index a coordinate system."""
    from shapely import STRtree
    from shapely.geometry import box

    trees: dict[str, tuple[Any, list[int]]] = {}
    for tile in tiles:
        crs = str(tile.geobox.crs)
        if crs not in trees:
            frames = [frame_in(source, crs) for source in sources]
            usable = [k for k, frame in enumerate(frames) if np.isfinite(frame.bounds).all()]
            trees[crs] = STRtree([frames[k] for k in usable]), usable
        tree, usable = trees[crs]
        geobox, crop = padded(tile.geobox, margin, multiple)
        whole, own = (_bounds_box(box, grid) for grid in (geobox, tile.geobox))
        if not len(tree.query(own, predicate="intersects")):
            continue
        found = sorted(usable[k] for k in tree.query(whole, predicate="intersects"))
        yield tile, (geobox, crop), [sources[k] for k in found]


def _bounds_box(box: Any, geobox: GeoBox) -> Any:
    bounds = geobox.boundingbox
    return box(bounds.left, bounds.bottom, bounds.right, bounds.top)


def _day(source: SceneSource) -> str:
    return "undated" if source.time is None else str(source.time.astype("datetime64[D]"))


def _groups(
    tile: GridTile, sources: Sequence[SceneSource], reference: str, together: bool
) -> list[tuple[str, list[SceneSource]]]:
    """Return (unit name, scenes): all together, or one unit a day of the reference sensor."""
    if together:
        return [(tile.id, list(sources))]
    days = sorted({_day(source) for source in sources if source.sensor == reference})
    others = [source for source in sources if source.sensor != reference]
    groups = []
    for day in days:
        own = [source for source in sources if source.sensor == reference and _day(source) == day]
        groups.append((tile.id if day == "undated" and len(days) == 1 else f"{tile.id}_{day}", own + others))
    return groups


def _day_shares(sources: Sequence[SceneSource], reference: str) -> dict[str, float]:
    """Return the mean clear share of the scenes of each day; all tiles use the same, so that they meet."""
    found: dict[str, list[float]] = {}
    for source in sources:
        if source.sensor == reference:
            found.setdefault(_day(source), []).append(clear_share(source))
    return {day: round(sum(values) / len(values), 6) for day, values in found.items()}


def read_settings(text: str, where: str) -> Settings:
    """Read the settings that a store began with.

    Raises:
        ProductError: If the text is not the settings of this version.
    """
    try:
        return Settings.model_validate_json(text)
    except ValidationError as error:
        raise ProductError(
            f"{where} does not hold a plan of this version of ecumene; use another --out or --overwrite."
        ) from error


UnitState = Literal["mapped", "kept", "empty", "busy", "failed"]
"""mapped: computed now; kept: was there; empty: no pixel had data; busy: somebody else has it; failed: see message."""
