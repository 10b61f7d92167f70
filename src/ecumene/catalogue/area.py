"""The area to map: polygons that know their coordinate system."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecumene.core.errors import ConfigurationError
from ecumene.scenes.contract import SceneSource

LONLAT = "EPSG:4326"
_STEP_DEGREES = 0.1
_STEP_METRES = 10_000.0


@dataclass(frozen=True)
class Area:
    """Polygons to map.

    Attributes:
        geometry: A shapely geometry in `crs`, x before y.
        crs: Coordinate system, as EPSG code or WKT.
        clips: Whether pixels outside of it stay unmapped; False where it only says which tiles there are.
        checksum: SHA-256 of geometry and coordinate system; empty where the scenes make the area.
    """

    geometry: Any
    crs: str
    clips: bool = True
    checksum: str = ""

    def to(self, crs: str) -> Any:
        """Return the geometry in another coordinate system; long edges are divided first, so that they bend."""
        return transformed(self.geometry, self.crs, crs)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north in degrees."""
        west, south, east, north = self.to(LONLAT).bounds
        return west, south, east, north


def transformed(geometry: Any, source: str, target: str) -> Any:
    """Return a shapely geometry in another coordinate system, x before y.

    Edges longer than 0.1 degree or 10 km are divided first: over that length a straight edge and its bent image
    differ by less than half a metre.

    Args:
        geometry: The geometry.
        source: Its coordinate system.
        target: The coordinate system wanted.
    """
    import shapely
    from pyproj import CRS, Transformer

    first, second = CRS.from_user_input(source), CRS.from_user_input(target)
    if first == second:
        return geometry
    fine = shapely.segmentize(geometry, _STEP_DEGREES if first.is_geographic else _STEP_METRES)
    move = Transformer.from_crs(first, second, always_xy=True)
    return shapely.transform(fine, lambda points: _columns(move, points))


def _columns(move: Any, points: Any) -> Any:
    import numpy as np

    return np.stack(move.transform(points[:, 0], points[:, 1]), axis=1)


def read_area(path: str | Path) -> Area:
    """Read the polygons of a vector file.

    Args:
        path: Anything that pyogrio reads: GeoJSON, GeoPackage, shapefile, GeoParquet.

    Returns:
        The area; it clips.

    Raises:
        ConfigurationError: If the file cannot be read, states no coordinate system or holds no polygon.
    """
    import geopandas
    from pyogrio.errors import DataLayerError, DataSourceError
    from shapely import make_valid, union_all

    name = Path(path).name
    try:
        frame = geopandas.read_file(path, columns=[])
    except (DataSourceError, DataLayerError, OSError) as error:
        raise ConfigurationError(
            f"The area {name} cannot be read as vector data; give a GeoJSON or GeoPackage with --aoi."
        ) from error
    if frame.crs is None:
        raise ConfigurationError(f"The area {name} states no coordinate system; add one, e.g. by saving as GeoPackage.")
    shapes = [make_valid(shape) for shape in frame.geometry if shape is not None and not shape.is_empty]
    polygons = [part for shape in shapes for part in polygons_of(shape)]
    if not polygons:
        raise ConfigurationError(f"The area {name} holds no polygon; draw at least one around what to map.")
    union = union_all(polygons)
    code = frame.crs.to_epsg()
    crs = f"EPSG:{code}" if code else frame.crs.to_wkt()
    return Area(union, crs, True, hashlib.sha256(union.normalize().wkb + crs.encode()).hexdigest())


def area_of_scenes(sources: Sequence[SceneSource]) -> Area:
    """Return the union of the scenes' frames; it says which tiles there are and clips nothing."""
    from shapely import union_all

    return Area(union_all([frame_in(source, LONLAT) for source in sources]), LONLAT, clips=False)


def frame_in(source: SceneSource, crs: str) -> Any:
    """Return the rectangle of a scene's grid as a polygon in a coordinate system."""
    from shapely.geometry import Polygon

    height, width = source.geobox.shape
    corners = [source.geobox.affine * corner for corner in ((0, 0), (width, 0), (width, height), (0, height))]
    return transformed(Polygon(corners), str(source.geobox.crs), crs)


def polygons_of(shape: Any) -> list[Any]:
    """Return the polygons in a geometry of any type."""
    if shape.geom_type == "Polygon":
        return [shape]
    return [part for member in getattr(shape, "geoms", ()) for part in polygons_of(member)]
