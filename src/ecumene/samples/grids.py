"""Small facts about a grid: its window, its coordinate system, the size of its pixels on the ground."""

from __future__ import annotations

from functools import lru_cache

from odc.geo.geobox import GeoBox
from pyproj import CRS, Geod, Transformer

from ecumene.core.errors import SceneError
from ecumene.core.window import Window


def grid_window(geobox: GeoBox) -> Window:
    """Return the whole grid as a window."""
    return Window(0, 0, int(geobox.height), int(geobox.width))


def crs_of(geobox: GeoBox) -> CRS:
    """Return the coordinate reference system of a grid.

    Raises:
        SceneError: If the grid has none.
    """
    if geobox.crs is None:
        raise SceneError("The grid has no coordinate reference system; give the scene one before using labels.")
    return CRS.from_user_input(geobox.crs.to_wkt())


@lru_cache(maxsize=64)
def pixel_size_m(geobox: GeoBox) -> tuple[float, float]:
    """Return (height, width) of the grid's central pixel in metres on the ellipsoid.

    Measured as geodesic distances, so that degrees, feet and projections with a large scale factor
    (web Mercator) give true ground metres.
    """
    crs = crs_of(geobox)
    to_degrees = Transformer.from_crs(crs, 4326, always_xy=True)
    row, col = geobox.height / 2, geobox.width / 2
    points = [
        geobox.affine * (x, y) for x, y in ((col, row - 0.5), (col, row + 0.5), (col - 0.5, row), (col + 0.5, row))
    ]
    lon, lat = to_degrees.transform([p[0] for p in points], [p[1] for p in points])
    geod = Geod(ellps="WGS84")
    _, _, height = geod.inv(lon[0], lat[0], lon[1], lat[1])
    _, _, width = geod.inv(lon[2], lat[2], lon[3], lat[3])
    return float(height), float(width)
