"""Distributed persons as a GeoTIFF, window by window."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ecumene.core.errors import ProductError
from ecumene.core.files import atomic_path
from ecumene.indicators.population_contract import Population
from ecumene.indicators.population_error import placement_error
from ecumene.indicators.population_zones import ZonePopulation
from ecumene.samples.grids import crs_of, grid_window
from ecumene.samples.raster_labels import tiles

_TILE = 1024


def write_population(path: Path | str, population: Population, dispersion: float = 0.0) -> Path:
    """Write persons a pixel; for zones also the placement error as a second band.

    Values are float64: the sum over a zone is then its number of persons to 1e-12, which float32 cannot hold.

    Args:
        path: The GeoTIFF.
        population: What to write.
        dispersion: See `placement_error`; with 0 the second band is a lower bound.

    Raises:
        ProductError: If the file cannot be written.
    """
    import rasterio
    from rasterio.errors import RasterioError
    from rasterio.windows import Window as RasterWindow

    grid = population.geobox
    zones = population if isinstance(population, ZonePopulation) else None
    profile = {
        "driver": "GTiff",
        "dtype": "float64",
        "count": 1 if zones is None else 2,
        "height": int(grid.height),
        "width": int(grid.width),
        "crs": crs_of(grid).to_wkt(),
        "transform": grid.affine,
        "nodata": float("nan"),
        "tiled": True,
        "blockxsize": 512,
        "blockysize": 512,
        "compress": "zstd",
        "predictor": 3,
        "bigtiff": "if_safer",
    }
    target = Path(path)
    with atomic_path(target) as temporary:
        try:
            with rasterio.open(temporary, "w", **profile) as dataset:
                for tile in tiles(grid_window(grid), _TILE):
                    persons, known = population.persons(tile)
                    bands = [persons]
                    if zones is not None:
                        totals = np.append(zones.report.placed, 0.0)[zones.zones(tile)]
                        bands.append(placement_error(persons, totals, dispersion))
                    values = np.where(known, np.stack(bands), np.nan)
                    dataset.write(values, window=RasterWindow(tile.col, tile.row, tile.width, tile.height))
                dataset.units = ("persons",) * len(bands)
                dataset.descriptions = ("persons", "standard deviation of placement")[: len(bands)]
        except RasterioError as error:
            raise ProductError(f"{target} cannot be written: {error}.") from error
    return target
