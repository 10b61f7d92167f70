"""Reading the polygons that a map is clipped to."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from odc.geo.geobox import GeoBox

from ecumene.core.errors import ConfigurationError
from ecumene.mapping.reading import ClipMask

if TYPE_CHECKING:
    import geopandas

Clip = Any
"""Path of a vector file, or a GeoDataFrame."""


def read_clip(clip: str | Path | geopandas.GeoDataFrame, geobox: GeoBox) -> tuple[ClipMask, str]:
    """Read polygons and bring them onto a grid.

    Args:
        clip: A vector file that pyogrio reads, or a GeoDataFrame.
        geobox: The grid.

    Returns:
        (the mask, a SHA-256 of the polygons on this grid).

    Raises:
        ConfigurationError: If the file cannot be read, states no CRS, holds no polygon or misses the grid.
    """
    import geopandas
    from pyogrio.errors import DataLayerError, DataSourceError
    from shapely import box, make_valid, union_all
    from shapely.geometry import mapping

    if isinstance(clip, (str, Path)):
        name = Path(clip).name
        try:
            frame = geopandas.read_file(clip, columns=[])
        except (DataSourceError, DataLayerError, OSError) as error:
            raise ConfigurationError(f"The clip file {name} cannot be read as vector data.") from error
    else:
        name, frame = "geometry", clip
    if frame.crs is None:
        raise ConfigurationError(f"The clip {name} states no coordinate system; add one, e.g. by saving as GeoPackage.")
    moved = frame.geometry.to_crs(geobox.crs.to_wkt() if geobox.crs is not None else None)
    shapes = [make_valid(shape) for shape in moved if shape is not None and not shape.is_empty]
    polygons = [part for shape in shapes for part in _polygons(shape)]
    if not polygons:
        raise ConfigurationError(f"The clip {name} holds no polygon; draw at least one around the area to map.")
    corners = box(0, 0, geobox.shape[1], geobox.shape[0])
    affine = geobox.affine
    from shapely.affinity import affine_transform

    grid = affine_transform(corners, (affine.a, affine.b, affine.d, affine.e, affine.c, affine.f))
    if not union_all(polygons).intersects(grid):
        raise ConfigurationError(f"The clip {name} lies outside of the scene; check its coordinates.")
    geometries = [mapping(polygon) for polygon in polygons]
    transform = (affine.a, affine.b, affine.c, affine.d, affine.e, affine.f)
    mask = ClipMask((int(geobox.shape[0]), int(geobox.shape[1])), transform, geometries)
    return mask, hashlib.sha256(json.dumps(geometries).encode()).hexdigest()


def _polygons(shape: Any) -> list[Any]:
    if shape.geom_type == "Polygon":
        return [shape]
    return [part for member in getattr(shape, "geoms", ()) for part in _polygons(member)]
