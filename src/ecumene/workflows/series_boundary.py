"""Urban functional boundaries by year, as polygons of a product with the year of first built-up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from ecumene.core.files import atomic_path
from ecumene.indicators.maps import open_layer
from ecumene.indicators.urban_boundary import CORE, built_up_density, urban_zones
from ecumene.scenes.grid import ground_sampling_m
from ecumene.workflows.array_product import ExtraFile

RADIUS_M = 1000.0
_STEPS = 20  # of the radius: the density of a disc needs no finer pixels
_ROWS = 2048


def write_boundaries(folder: Path, year_layer: Path, years: Sequence[int]) -> ExtraFile | None:
    """Write the boundary of every town in some years as GeoPackage.

    Density is computed on pixels of at least a twentieth of the disc's radius; polygons follow them. The columns
    `year`, `zone` (`urban`: core and suburbs, or `core`), `name` (unique, as `ecumene indicators --boundaries` takes
    it) and `area_m2` (on the grid's plane).

    Args:
        folder: Of the product.
        year_layer: Layer with the year of first built-up, 0: never.
        years: To look at.

    Returns:
        The file, or None where there is no town in any year.
    """
    import geopandas
    from rasterio.features import shapes
    from shapely.geometry import shape

    rows, polygons = [], []
    with open_layer(year_layer) as (dataset, geobox):
        step = ground_sampling_m(geobox)
        factor = max(1, int(RADIUS_M / _STEPS // step))
        for year in years:
            built, known = _shares(dataset, geobox, factor, year)
            zones = urban_zones(built_up_density(built, known, (step * factor, step * factor), RADIUS_M))
            affine = geobox.affine * geobox.affine.scale(factor)
            for zone, mask in (("urban", zones > 0), ("core", zones == CORE)):
                found = [shape(part) for part, _ in shapes(mask.astype(np.uint8), mask=mask, transform=affine)]
                # The last row and column of reduced pixels may reach over the grid.
                found = [part.intersection(_extent(geobox)) for part in found]
                for number, part in enumerate(sorted(found, key=lambda item: -item.area), 1):
                    rows.append((year, zone, f"{zone} {number} in {year}", float(part.area)))
                    polygons.append(part)
        crs = geobox.crs
    if not polygons:
        return None
    columns = ["year", "zone", "name", "area_m2"]
    table = {name: [row[k] for row in rows] for k, name in enumerate(columns)}
    frame = geopandas.GeoDataFrame(table, geometry=polygons, crs=str(crs))
    path = folder / "boundaries.gpkg"
    with atomic_path(path) as temporary:
        frame.to_file(temporary, driver="GPKG", layer="boundaries", engine="pyogrio")
    about = (
        f"Built-up density in discs of {RADIUS_M:g} m: core from 50 %, suburbs from 25 % that touch it, holes filled."
    )
    return ExtraFile(path, "application/geopackage+sqlite3", "urban functional boundaries", about)


def _extent(geobox: GeoBox) -> Any:
    from shapely.geometry import box

    bounds = geobox.boundingbox
    return box(bounds.left, bounds.bottom, bounds.right, bounds.top)


def _shares(dataset: Any, geobox: GeoBox, factor: int, year: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return built-up and known shares of blocks of `factor` pixels, read strip by strip."""
    from rasterio.windows import Window

    height, width = (int(side) for side in geobox.shape)
    out = (-(-height // factor), -(-width // factor))
    built, known = np.zeros(out), np.zeros(out)
    rows = max(1, _ROWS // factor) * factor
    for top in range(0, height, rows):
        stored = dataset.read(1, window=Window(0, top, width, min(rows, height - top)), masked=True)
        there = ~np.ma.getmaskarray(stored)
        numbers = stored.filled(0)
        for target, values in ((built, there & (numbers > 0) & (numbers <= year)), (known, there)):
            padded = np.pad(values.astype(np.float64), [(0, -values.shape[0] % factor), (0, -width % factor)])
            blocks = padded.reshape(padded.shape[0] // factor, factor, out[1], factor).mean(axis=(1, 3))
            target[top // factor : top // factor + len(blocks)] = blocks
    return built, known
