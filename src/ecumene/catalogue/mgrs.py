"""The 100 km squares of the Military Grid Reference System, and the UTM zones that they live in.

Zones are six degrees wide but for south-western Norway and Svalbard; a square is named by zone, band of latitude,
column letter and row letter. Source: NGA.STND.0037, "Universal grids and grid reference systems" (2014),
sections 3.1 to 3.3. Between 84 degrees north and 80 degrees south; the polar caps have another grid.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

EDGE_M = 100_000.0
SOUTH, NORTH = -80.0, 84.0
_COLUMNS = ("STUVWXYZ", "ABCDEFGH", "JKLMNPQR")  # by zone modulo 3
_ROWS = "ABCDEFGHJKLMNPQRSTUV"
_BANDS = "CDEFGHJKLMNPQRSTUVWX"
Box = tuple[float, float, float, float]


def zone_boxes(zone: int) -> list[Box]:
    """Return where a UTM zone is used, as boxes (west, south, east, north) in degrees.

    Args:
        zone: 1 to 60.
    """
    west = 6.0 * zone - 186.0
    lower: dict[int, list[Box]] = {
        31: [(0.0, SOUTH, 6.0, 56.0), (0.0, 56.0, 3.0, 64.0), (0.0, 64.0, 6.0, 72.0), (0.0, 72.0, 9.0, NORTH)],
        32: [(6.0, SOUTH, 12.0, 56.0), (3.0, 56.0, 12.0, 64.0), (6.0, 64.0, 12.0, 72.0)],
        33: [(12.0, SOUTH, 18.0, 72.0), (9.0, 72.0, 21.0, NORTH)],
        34: [(18.0, SOUTH, 24.0, 72.0)],
        35: [(24.0, SOUTH, 30.0, 72.0), (21.0, 72.0, 33.0, NORTH)],
        36: [(30.0, SOUTH, 36.0, 72.0)],
        37: [(36.0, SOUTH, 42.0, 72.0), (33.0, 72.0, 42.0, NORTH)],
    }
    return lower.get(zone, [(west, SOUTH, west + 6.0, NORTH)])


def zone_of(longitude: float, latitude: float) -> int:
    """Return the UTM zone of a place."""
    wrapped = (longitude + 180.0) % 360.0 - 180.0
    for zone in range(1, 61):
        if any(west <= wrapped < east and south <= latitude < north for west, south, east, north in zone_boxes(zone)):
            return zone
    return min(60, int((wrapped + 180.0) // 6.0) + 1)


def utm_code(zone: int, northern: bool) -> str:
    """Return the EPSG code of a UTM zone on WGS 84."""
    return f"EPSG:{(32600 if northern else 32700) + zone}"


def square_id(zone: int, column: int, row: int, latitude: float) -> str:
    """Return the name of a square, such as `33TWM`.

    Args:
        zone: UTM zone.
        column: Easting of its western edge over 100 km, 1 to 8.
        row: Northing of its southern edge over 100 km, with the southern hemisphere's false northing.
        latitude: Of its centre, for the letter of the band.
    """
    band = _BANDS[min(19, max(0, int((latitude + 80.0) // 8.0)))]
    shift = 5 if zone % 2 == 0 else 0
    return f"{zone:02d}{band}{_COLUMNS[zone % 3][column - 1]}{_ROWS[(row + shift) % 20]}"


def regions(lonlat: Any) -> Iterator[tuple[int, bool, Any, Any]]:
    """Cut an area into UTM zones and hemispheres.

    Args:
        lonlat: Shapely geometry in degrees; longitudes up to 360 beyond the antimeridian are understood.

    Yields:
        (zone, whether it is the northern hemisphere, the part of the area in it, where the zone is used there).
    """
    from shapely import union_all
    from shapely.affinity import translate
    from shapely.geometry import box

    west, _, east, _ = lonlat.bounds
    turns = [turn for turn in (-360.0, 0.0, 360.0) if west + turn < 180.0 and east + turn > -180.0]
    for zone in range(1, 61):
        for northern in (True, False):
            low, high = (0.0, NORTH) if northern else (SOUTH, 0.0)
            boxes = [box(w, max(s, low), e, min(n, high)) for w, s, e, n in zone_boxes(zone) if s < high and n > low]
            where = union_all(boxes)
            part = union_all([translate(lonlat, turn).intersection(where) for turn in turns])
            if not part.is_empty and part.area > 0:
                yield zone, northern, part, where


def squares(utm: Any) -> Iterator[tuple[int, int]]:
    """Yield (column, row) of the squares that may hold a part of an area in UTM coordinates, row by row."""
    west, south, east, north = utm.bounds
    for row in range(math.floor(south / EDGE_M), math.ceil(north / EDGE_M)):
        for column in range(max(1, math.floor(west / EDGE_M)), min(9, math.ceil(east / EDGE_M))):
            yield column, row
