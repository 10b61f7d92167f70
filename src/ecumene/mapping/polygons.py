"""Polygons of a class map: one a connected region, dissolved to a minimum mapping unit.

Unlike the rasters this needs memory in proportion to the scene, about ten bytes a pixel.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from ecumene.core.files import atomic_path
from ecumene.legends import Legend
from ecumene.objectives.prediction import LayerSpec


def pixel_area_m2(geobox: GeoBox) -> float:
    """Return the ellipsoidal area of the grid's central pixel in square metres."""
    from pyproj import Geod, Transformer

    m = geobox.affine
    places = [(geobox.shape[1] // 2 + dx, geobox.shape[0] // 2 + dy) for dx, dy in ((0, 0), (1, 0), (1, 1), (0, 1))]
    corners = [(m.a * col + m.b * row + m.c, m.d * col + m.e * row + m.f) for col, row in places]
    if geobox.crs is None:
        raise ValueError("a grid without a coordinate system has no area")
    transformer = Transformer.from_crs(geobox.crs.to_wkt(), "EPSG:4326", always_xy=True)
    lon, lat = transformer.transform([p[0] for p in corners], [p[1] for p in corners])
    area, _ = Geod(ellps="WGS84").polygon_area_perimeter(lon, lat)
    return abs(float(area))


def _sieved(path: Path, geobox: GeoBox, unit_m2: float) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Read codes and mask; regions smaller than the unit are merged into their largest neighbour."""
    import rasterio
    from rasterio.features import sieve

    with rasterio.open(path) as source:
        codes = source.read(1)
        mask = codes != source.nodata
    size = math.ceil(unit_m2 / pixel_area_m2(geobox)) if unit_m2 > 0 else 1
    if size > 1:
        codes = sieve(codes, size=size, mask=mask, connectivity=4)
    return codes, mask


def _mean_probability(
    path: Path | None, spec: LayerSpec | None, labels: NDArray[np.int32], channel: NDArray[np.intp]
) -> NDArray[np.float64] | None:
    """Mean probability of each polygon's own class over its pixels, read block row by block row."""
    import rasterio
    from rasterio.windows import Window as RasterWindow

    if path is None or spec is None:
        return None
    sums, counts = np.zeros(len(channel)), np.zeros(len(channel))
    with rasterio.open(path) as source:
        step = 512
        for row in range(0, source.height, step):
            height = min(step, source.height - row)
            stored = source.read(window=RasterWindow(0, row, source.width, height))
            here = labels[row : row + height]
            inside = here > 0
            index = here[inside] - 1
            picked = stored.reshape(stored.shape[0], -1)[channel[index], np.flatnonzero(inside)]
            known = picked != spec.nodata
            sums += np.bincount(index[known], picked[known], minlength=len(channel))
            counts += np.bincount(index[known], minlength=len(channel))
    return np.where(counts > 0, sums / np.maximum(counts, 1) * spec.scale + spec.offset, np.nan)


def write_polygons(
    target: Path,
    value: Path,
    probability: tuple[Path, LayerSpec] | None,
    legend: Legend,
    geobox: GeoBox,
    minimum_mapping_unit_m2: float = 0.0,
) -> int:
    """Write the class map as polygons into a GeoParquet 1.1 file, in the grid's CRS.

    Columns: `class` (name), `code`, `area_m2` (ellipsoidal), `probability` (mean probability of the
    polygon's class over its pixels, where the map has probabilities), `geometry`.

    Args:
        target: The file.
        value: Raster of class codes.
        probability: Raster of class probabilities, one band a class in the legend's order.
        legend: The classes.
        geobox: The grid.
        minimum_mapping_unit_m2: Smaller regions are merged into their largest neighbour.

    Returns:
        The number of polygons.
    """
    import geopandas
    from pyproj import Geod
    from rasterio.features import rasterize, shapes
    from shapely.geometry import shape

    codes, mask = _sieved(value, geobox, minimum_mapping_unit_m2)
    parts = [(shape(geometry), int(code)) for geometry, code in shapes(codes, mask, 4, geobox.affine)]
    channel_of = {code: channel for channel, code in enumerate(legend.values)}
    names = dict(zip(legend.values, legend.names, strict=True))
    columns: dict[str, Any] = {
        "class": [names.get(code, str(code)) for _, code in parts],
        "code": np.array([code for _, code in parts], dtype=np.uint8),
    }
    crs = geobox.crs.to_wkt() if geobox.crs is not None else None
    frame = geopandas.GeoDataFrame(columns, geometry=[polygon for polygon, _ in parts], crs=crs)
    geod = Geod(ellps="WGS84")
    frame.insert(2, "area_m2", [abs(geod.geometry_area_perimeter(g)[0]) for g in frame.geometry.to_crs("EPSG:4326")])
    if parts and probability is not None:
        numbered = ((polygon, number + 1) for number, (polygon, _) in enumerate(parts))
        labels = rasterize(numbered, out_shape=codes.shape, transform=geobox.affine, dtype=np.int32)
        channel = np.array([channel_of.get(code, 0) for _, code in parts], dtype=np.intp)
        frame.insert(3, "probability", _mean_probability(*probability, labels, channel))
    with atomic_path(target) as path:
        frame.to_parquet(path, index=False, write_covering_bbox=True, schema_version="1.1.0")
    return len(parts)
