"""Sample points of a sheet: read from a vector file, placed on the map's grid, put into an order that tells nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ecumene.core.errors import LabelError, ProductError
from ecumene.mapping.product import Product
from ecumene.samples.vectors import read_features
from ecumene.viewer.places import is_georeferenced

if TYPE_CHECKING:
    import geopandas

_SEED = 20140215
_PARQUET = {".parquet", ".geoparquet"}


@dataclass(frozen=True)
class SamplePoint:
    """One point to be judged.

    Attributes:
        row: Row of the points' file.
        x: In the map's coordinate system.
        y: In the map's coordinate system.
        col: Column of the map's pixel.
        line: Row of the map's pixel.
        lon: Degrees.
        lat: Degrees.
    """

    row: int
    x: float
    y: float
    col: int
    line: int
    lon: float
    lat: float


@dataclass(frozen=True)
class Sample:
    """The points of a file.

    Attributes:
        frame: The file as it is.
        points: Points on the map, in the order of judging: random, the same for the same number of points, because
            the order of a file may tell the map's classes.
        outside: Rows without a point on the map.
    """

    frame: geopandas.GeoDataFrame
    points: tuple[SamplePoint, ...]
    outside: int


def read_sample(path: Path, product: Product) -> Sample:
    """Read sample points.

    Args:
        path: Vector file with points in any coordinate system.
        product: The map that they sample.

    Raises:
        LabelError: If the file cannot be read, holds something else than points, or no point lies on the map.
        ProductError: If the map has no classes or no place on the Earth.
    """
    if product.legend is None:
        raise ProductError(
            f"{product.folder.name} is no map of classes; the assessor's sheet needs one to choose answers from."
        )
    if not is_georeferenced(product.geobox):
        raise ProductError(f"{product.folder.name} has no place on the Earth, so no sample points can lie on it.")
    near = read_features(path, [], product.geobox, what="sample points").frame
    kinds = set(near.geometry.geom_type) - {"Point", "MultiPoint"}
    if kinds or (len(near) and (near.geometry.count_coordinates() != 1).any()):
        found = sorted(kinds)[0] if kinds else "MultiPoint"
        raise LabelError(f"The sample points {path.name} hold a {found}; give one point for each row.")
    frame = _whole(path)
    located = _located(near, product)
    if not located:
        raise LabelError(f"None of the {len(frame)} sample points of {path.name} lies on the map; check the place.")
    order = np.random.default_rng(_SEED).permutation(len(located))
    return Sample(frame, tuple(located[position] for position in order), len(frame) - len(located))


def _whole(path: Path) -> geopandas.GeoDataFrame:
    import geopandas

    frame = geopandas.read_parquet(path) if path.suffix.lower() in _PARQUET else geopandas.read_file(path)
    return frame.reset_index(drop=True)


def _located(near: geopandas.GeoDataFrame, product: Product) -> list[SamplePoint]:
    from pyproj import Transformer

    assert product.geobox.crs is not None  # checked before
    inverse, (height, width) = ~product.geobox.affine, product.geobox.shape
    degrees = Transformer.from_crs(product.geobox.crs.proj, "OGC:CRS84", always_xy=True)
    found = []
    for row, place in near.geometry.items():
        point = getattr(place, "geoms", [place])[0]
        across = inverse.a * point.x + inverse.b * point.y + inverse.c
        down = inverse.d * point.x + inverse.e * point.y + inverse.f
        col, line = int(np.floor(across)), int(np.floor(down))
        if 0 <= col < width and 0 <= line < height:
            lon, lat = degrees.transform(point.x, point.y)
            found.append(SamplePoint(int(row), point.x, point.y, col, line, float(lon), float(lat)))
    return found
