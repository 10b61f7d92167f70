"""Where a product lies on a page's map, also when it has no place on the Earth."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

MERCATOR_HALF = 20037508.342789244
"""Half the width of the Web Mercator world in metres."""

TILE_METRES = 2 * MERCATOR_HALF / 256
"""Size of a pixel of the one tile of zoom 0, in Web Mercator metres."""

MERCATOR_LATITUDE = 85.0511287798066
_MOST_ZOOM = 24
_PIXEL_METRES = 1.0


def is_georeferenced(geobox: GeoBox) -> bool:
    """Whether a grid has a coordinate system on the Earth (an engineering or local one is none)."""
    if geobox.crs is None:
        return False
    crs = geobox.crs.proj
    return not (crs.is_engineering or crs.geodetic_crs is None)


def lonlat_to_mercator(lon: float, lat: float) -> tuple[float, float]:
    """Return Web Mercator metres (EPSG:3857, spherical) of degrees."""
    lat = min(max(lat, -MERCATOR_LATITUDE), MERCATOR_LATITUDE)
    y = math.log(math.tan(math.pi / 4 + math.radians(lat) / 2)) * MERCATOR_HALF / math.pi
    return lon / 180 * MERCATOR_HALF, y


def mercator_to_lonlat(x: float, y: float) -> tuple[float, float]:
    """Return degrees of Web Mercator metres."""
    lat = 2 * math.atan(math.exp(y / MERCATOR_HALF * math.pi)) - math.pi / 2
    return x / MERCATOR_HALF * 180, math.degrees(lat)


def tile_bounds(z: int, x: int, y: int) -> tuple[float, float, float, float]:
    """Return (left, bottom, right, top) of an XYZ tile in Web Mercator metres."""
    size = 2 * MERCATOR_HALF / 2**z
    left, top = -MERCATOR_HALF + x * size, MERCATOR_HALF - y * size
    return left, top - size, left + size, top


def describe_place(geobox: GeoBox) -> dict[str, Any]:
    """Describe grid, coordinate system, bounds in degrees and useful zoom levels.

    A grid without a place on the Earth is laid around longitude 0, latitude 0, one Web Mercator metre a pixel, so
    that map libraries can show it; `pixel_grid` says so.
    """
    rows, cols = (int(side) for side in geobox.shape)
    a = geobox.affine
    common = {"transform": [float(v) for v in (a.a, a.b, a.c, a.d, a.e, a.f)], "shape": [rows, cols]}
    if not is_georeferenced(geobox):
        west, south = mercator_to_lonlat(-cols / 2 * _PIXEL_METRES, -rows / 2 * _PIXEL_METRES)
        metres = _PIXEL_METRES
        return common | {
            "georeferenced": False,
            "crs": {"code": None, "name": "pixels of the image"},
            "proj4": None,
            "pixel_grid": {"metres": metres},
            "resolution": 1.0,
            "resolution_unit": "pixel",
            "bounds": [west, south, -west, -south],
            "zoom": _zoom(metres, max(rows, cols) * metres),
        }
    crs = geobox.crs
    assert crs is not None  # what has a place has a coordinate system
    bounds = _bounds(geobox)
    left, bottom = lonlat_to_mercator(bounds[0], bounds[1])
    right, top = lonlat_to_mercator(bounds[2], bounds[3])
    metres = max(1e-3, math.hypot(right - left, top - bottom) / math.hypot(rows, cols))
    return common | {
        "georeferenced": True,
        "crs": {"code": f"EPSG:{crs.epsg}" if crs.epsg else None, "name": str(crs.proj.name)},
        "proj4": _proj4(crs.proj),
        "pixel_grid": None,
        "resolution": math.sqrt(abs(a.a * a.e - a.b * a.d)),
        "resolution_unit": "degree" if crs.geographic else "m" if crs.units[0] in {"metre", "meter"} else crs.units[0],
        "bounds": bounds,
        "zoom": _zoom(metres, max(right - left, top - bottom)),
    }


def _proj4(crs: Any) -> str:
    """Return the PROJ string; what it loses (datum shifts) is below a metre for the systems that products have."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return str(crs.to_proj4())


def _bounds(geobox: GeoBox) -> list[float]:
    """Return west, south, east, north of the grid's outline, in degrees within -180..180 and Mercator's range."""
    import numpy as np
    from pyproj import Transformer

    assert geobox.crs is not None
    rows, cols = geobox.shape
    steps = np.linspace(0.0, 1.0, 33)
    zero, one = np.zeros_like(steps), np.ones_like(steps)
    col = np.concatenate([steps, one, steps, zero]) * cols
    row = np.concatenate([zero, steps, one, steps]) * rows
    a = geobox.affine
    move = Transformer.from_crs(geobox.crs.proj, "EPSG:4326", always_xy=True)
    lon, lat = move.transform(a.a * col + a.b * row + a.c, a.d * col + a.e * row + a.f)
    lon, lat = lon[np.isfinite(lon)], lat[np.isfinite(lat)]
    if lon.size == 0 or lat.size == 0:
        return [-180.0, -MERCATOR_LATITUDE, 180.0, MERCATOR_LATITUDE]
    west, east = float(lon.min()), float(lon.max())
    if east - west > 180 and not geobox.crs.geographic:  # the outline crosses the antimeridian: both of its sides
        west, east = -180.0, 180.0
    south, north = (min(max(v, -MERCATOR_LATITUDE), MERCATOR_LATITUDE) for v in (float(lat.min()), float(lat.max())))
    return [max(west, -180.0), south, min(east, 180.0), north]


def _zoom(pixel_metres: float, extent_metres: float) -> dict[str, int]:
    """Return the levels from where all is within one tile to where a tile's pixels are not coarser than the grid's."""
    finest = math.ceil(math.log2(TILE_METRES / pixel_metres) - 0.05)
    coarsest = math.floor(math.log2(2 * MERCATOR_HALF / max(extent_metres, pixel_metres)))
    top = min(max(finest, 0), _MOST_ZOOM)
    return {"min": min(max(coarsest - 1, 0), top), "max": top}
