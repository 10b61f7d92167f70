"""Grids of tiles: MGRS squares, or squares of any size in a projected coordinate system.

All tiles of a coordinate system lie on one lattice of pixels. Its phase is that of the scenes where they are in that
system and resolution, so that their pixels are read as they are; else it goes through the origin. A pixel belongs to
the tile that holds its centre, so that tiles neither overlap nor leave gaps, also where an edge is no whole number
of pixels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from affine import Affine
from odc.geo.geobox import GeoBox

from ecumene.catalogue import mgrs
from ecumene.catalogue.area import LONLAT, Area, polygons_of, transformed
from ecumene.core.errors import ConfigurationError
from ecumene.scenes.contract import SceneSource

Phases = Mapping[str, tuple[float, float]]
"""Offset of the pixel lattice from the origin of a coordinate system, in its unit, 0 <= offset < resolution."""

_MAXIMUM_TILE_PIXELS = 1 << 31


@dataclass(frozen=True)
class GridTile:
    """One tile.

    Attributes:
        id: Its name, unique in the grid; letters, digits, `_` and `-`.
        geobox: Its pixels.
        clip: Shapely polygons in its coordinate system to which it is restricted; None: all of it is mapped.
    """

    id: str
    geobox: GeoBox
    clip: Any = None


class TileGrid(Protocol):
    """Divides an area into tiles."""

    @property
    def name(self) -> str:
        """How the user writes it."""

    def tiles(self, area: Area, resolution: float, phases: Phases) -> list[GridTile]:
        """Return the tiles that hold a part of an area, in a fixed order."""


@dataclass(frozen=True)
class MgrsGrid:
    """The 100 km squares of MGRS, each in its UTM zone and cut where the zone ends."""

    name: str = "mgrs"

    def tiles(self, area: Area, resolution: float, phases: Phases) -> list[GridTile]:
        """Return the squares that hold a part of an area, by zone, then from south to north.

        Raises:
            ConfigurationError: If a part of the area lies beyond 84 degrees north or 80 degrees south.
        """
        lonlat = area.to(LONLAT)
        if lonlat.bounds[1] < mgrs.SOUTH or lonlat.bounds[3] > mgrs.NORTH:
            raise ConfigurationError(
                "MGRS squares end at 80 degrees south and 84 degrees north; use a polar grid such as "
                "--grid EPSG:3413:100000."
            )
        found = []
        for zone, northern, part, where in mgrs.regions(lonlat):
            crs = mgrs.utm_code(zone, northern)
            there = transformed(part, LONLAT, crs)
            clip = there if area.clips else transformed(where, LONLAT, crs)
            for column, row in mgrs.squares(there):
                box = (column * mgrs.EDGE_M, row * mgrs.EDGE_M, (column + 1) * mgrs.EDGE_M, (row + 1) * mgrs.EDGE_M)
                centre = transformed(_box(box).centroid, crs, LONLAT)
                name = mgrs.square_id(zone, column, row, centre.y)
                tile = _tile(name, crs, box, resolution, phases, clip, there)
                found += [] if tile is None else [tile]
        return found


@dataclass(frozen=True)
class SquareGrid:
    """Squares of one size, counted from the origin of a projected coordinate system.

    Attributes:
        name: How the user writes it.
        crs: EPSG code; None: the UTM zone of the area's centre.
        edge: Length of a side in metres.
    """

    name: str
    crs: str | None
    edge: float

    def tiles(self, area: Area, resolution: float, phases: Phases) -> list[GridTile]:
        """Return the squares that hold a part of an area, from south to north.

        Raises:
            ConfigurationError: If the edge is smaller than a pixel.
        """
        if self.edge < resolution:
            raise ConfigurationError(f"A tile of {self.edge:g} m is smaller than a pixel of {resolution:g} m.")
        crs = self.crs
        if crs is None:
            centre = area.to(LONLAT).centroid
            crs = mgrs.utm_code(mgrs.zone_of(centre.x, centre.y), centre.y >= 0)
        there = area.to(crs)
        west, south, east, north = there.bounds
        if not all(math.isfinite(value) for value in there.bounds):
            raise ConfigurationError(f"The area lies outside of what {crs} can show; choose another --grid.")
        found = []
        for row in range(math.floor(south / self.edge), math.floor(north / self.edge) + 1):
            for column in range(math.floor(west / self.edge), math.floor(east / self.edge) + 1):
                box = (column * self.edge, row * self.edge, (column + 1) * self.edge, (row + 1) * self.edge)
                name = f"x{column:04d}y{row:04d}"
                tile = _tile(name, crs, box, resolution, phases, there if area.clips else None, there)
                found += [] if tile is None else [tile]
        return found


def parse_grid(text: str) -> TileGrid:
    """Read a grid.

    Args:
        text: `mgrs`; `utm:EDGE` (metres, in the UTM zone of the area's centre); `EPSG:CODE:EDGE`.

    Raises:
        ConfigurationError: If it is something else, or the coordinate system is not in metres.
    """
    if text.strip().lower() == "mgrs":
        return MgrsGrid()
    match = re.fullmatch(r"(utm|epsg:\d+):(\d+(?:\.\d+)?)", text.strip(), re.IGNORECASE)
    if match is None or float(match[2]) <= 0:
        raise ConfigurationError(f"The grid {text!r} is unknown; write mgrs, utm:EDGE or EPSG:CODE:EDGE (metres).")
    crs = None if match[1].lower() == "utm" else match[1].upper()
    if crs is not None:
        _require_metres(crs)
    return SquareGrid(text.strip(), crs, float(match[2]))


def _require_metres(crs: str) -> None:
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        system = CRS.from_user_input(crs)
    except CRSError as error:
        raise ConfigurationError(f"There is no coordinate system {crs}; check the code.") from error
    if not system.is_projected or any(axis.unit_conversion_factor != 1.0 for axis in system.axis_info):
        raise ConfigurationError(f"{crs} is not in metres; choose a projected coordinate system for the grid.")


def lattice_phases(sources: Iterable[SceneSource], resolution: float) -> dict[str, tuple[float, float]]:
    """Return the pixel phase of each coordinate system: that of its first north-up scene at the resolution."""
    phases: dict[str, tuple[float, float]] = {}
    for source in sources:
        matrix, epsg = source.geobox.affine, source.geobox.crs.to_epsg() if source.geobox.crs else None
        fits = abs(matrix.a - resolution) < 1e-6 * resolution and abs(matrix.e + resolution) < 1e-6 * resolution
        if epsg and fits and matrix.b == matrix.d == 0 and f"EPSG:{epsg}" not in phases:
            phases[f"EPSG:{epsg}"] = (round(matrix.c % resolution, 6), round(matrix.f % resolution, 6))
    return phases


def _box(bounds: tuple[float, float, float, float]) -> Any:
    from shapely.geometry import box

    return box(*bounds)


def _tile(
    name: str,
    crs: str,
    box: tuple[float, float, float, float],
    resolution: float,
    phases: Phases,
    clip: Any,
    touching: Any,
) -> GridTile | None:
    """Return the pixels whose centres lie in a box, or None if the area has no part there."""
    shape = _box(box)
    inside = touching.intersection(shape)
    if inside.is_empty or inside.area == 0:
        return None
    phase_x, phase_y = phases.get(crs, (0.0, 0.0))
    left, right = (math.ceil((x - phase_x) / resolution - 0.5) for x in (box[0], box[2]))
    low, high = (math.ceil((y - phase_y) / resolution - 0.5) for y in (box[1], box[3]))
    if right <= left or high <= low:
        return None
    if (right - left) * (high - low) > _MAXIMUM_TILE_PIXELS:
        raise ConfigurationError(f"A tile of {right - left} x {high - low} pixels is too large; choose a smaller edge.")
    affine = Affine(resolution, 0, phase_x + left * resolution, 0, -resolution, phase_y + high * resolution)
    geobox = GeoBox((high - low, right - left), affine, crs)
    return GridTile(name, geobox, _clip(clip, geobox))


def _clip(clip: Any, geobox: GeoBox) -> Any:
    """Return the part of the polygons on a tile; None where they cover all of its pixels."""
    if clip is None:
        return None
    from shapely import union_all

    bounds = geobox.boundingbox
    pixels = _box((bounds.left, bounds.bottom, bounds.right, bounds.top))
    if clip.covers(pixels):
        return None
    return union_all(polygons_of(clip.intersection(pixels)))


def padded(geobox: GeoBox, margin: int, multiple: int) -> tuple[GeoBox, tuple[int, int, int, int]]:
    """Grow a tile by a margin of context, to whole multiples of the network's stride on the common lattice.

    Because all tiles begin at multiples of the stride, a network that pools sees the same cells of pixels from
    both sides of a border.

    Args:
        geobox: The tile, north-up.
        margin: Pixels that are wanted on every side.
        multiple: What the network's input is a multiple of.

    Returns:
        (the padded grid, (row, column, height, width) of the tile in it).
    """
    height, width = (int(size) for size in geobox.shape)
    step = geobox.affine.a
    first_col, first_row = round(geobox.affine.c / step - 1e-6), round(-geobox.affine.f / step - 1e-6)
    if margin == 0 and multiple == 1:
        return geobox, (0, 0, height, width)
    top, left = (math.floor((first - margin) / multiple) * multiple - first for first in (first_row, first_col))
    bottom = math.ceil((first_row + height + margin) / multiple) * multiple - first_row
    right = math.ceil((first_col + width + margin) / multiple) * multiple - first_col
    affine = geobox.affine * Affine.translation(left, top)
    return GeoBox((bottom - top, right - left), affine, geobox.crs), (-top, -left, height, width)


def tile_names(tiles: Sequence[GridTile]) -> list[str]:
    """Return the names of tiles."""
    return [tile.id for tile in tiles]
