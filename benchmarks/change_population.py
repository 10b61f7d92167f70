"""Dasymetric population of Sao Miguel: mass, and persons by municipality and by cell, for several weights.

    ECUMENE_DATA=... python benchmarks/change_population.py

GPWv4 (counts of 2020, 30 arc seconds) is the population, CORINE 2018 says where people can live, the municipalities
are the zones. Two questions: is every person kept, and how many persons lie in a wrong part when a coarse count is
distributed over finer parts. The reference of the second is GPWv4 itself, which spreads the counts of its census units
evenly over their land: it is finer than what is distributed, but no count of every cell.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from common import data_root, data_set, machine, store
from ecumene.core.window import Window
from ecumene.indicators.maps import open_map
from ecumene.indicators.population_contract import Weights
from ecumene.indicators.population_error import AllocationError, allocation_error
from ecumene.indicators.population_raster import PopulationRaster, open_population
from ecumene.indicators.population_weights import ClassWeights
from ecumene.indicators.population_zones import ZonePopulation
from ecumene.samples.vectors import read_features

LAND = dict.fromkeys(range(1, 40), 1.0)  # CORINE grid codes; from 40 on there is water
WEIGHTS: dict[str, dict[int, float]] = {
    "land, equal": LAND,
    "urban fabric, binary": {1: 1.0, 2: 1.0},
    "urban fabric 1, other artificial surfaces 0.1": {1: 1.0, 2: 1.0} | dict.fromkeys(range(3, 12), 0.1),
    "urban fabric 1, farmland 0.01": {1: 1.0, 2: 1.0} | dict.fromkeys(range(12, 23), 0.01),
}
"""Chosen beforehand and reported as they are; no weight was fitted."""
POPULATION, COVER, ZONES = "gpw_v411_2020_count_2020.tif", "clc2018_v2020_20u1.tif", "concelhos.gpkg"


def strips(geobox: GeoBox, rows: int = 256) -> list[Window]:
    """Cut a grid into strips."""
    height, width = geobox.shape
    return [Window(row, 0, min(rows, height - row), width) for row in range(0, height, rows)]


def zone_sums(population: Any, numbers: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """Sum persons over zones, strip by strip; numbers are -1 outside."""
    sums = np.zeros(count + 1)
    for strip in strips(population.geobox):
        persons, _ = population.persons(strip)
        sums += np.bincount(numbers[strip.slices].ravel() + 1, weights=persons.ravel(), minlength=count + 1)
    return sums[1:]


def cell_numbers(geobox: GeoBox, dataset: Any) -> NDArray[np.int64]:
    """Number of the population's cell under every pixel of the map; both grids are in degrees and aligned."""
    rows, cols = np.arange(geobox.height) + 0.5, np.arange(geobox.width) + 0.5
    longitude = geobox.affine.a * cols + geobox.affine.c
    latitude = geobox.affine.e * rows + geobox.affine.f
    inverse = ~dataset.transform
    row = np.floor(inverse.e * latitude + inverse.f).astype(np.int64)
    col = np.floor(inverse.a * longitude + inverse.c).astype(np.int64)
    return row[:, None] * dataset.width + col[None, :]


def described(error: AllocationError) -> dict[str, float | int]:
    """Return the figures of an allocation."""
    return dict(vars(error))


def island(geometries: list[Any]) -> Any:
    """Return all municipalities as one zone."""
    return shapely.union_all(geometries)


def measured(
    weights: Weights, geobox: GeoBox, zones: list[Any], counted: NDArray[np.float64], cells: NDArray[np.int64],
    cell_counts: NDArray[np.float64],
) -> dict[str, Any]:  # fmt: skip
    """Distribute the island over municipalities, and municipalities over cells."""
    result: dict[str, Any] = {}
    started = time.perf_counter()
    fine = ZonePopulation(zones, counted, geobox, weights)
    numbers = fine.zones(Window(0, 0, *geobox.shape))
    sums = zone_sums(fine, numbers, len(zones))
    result["seconds"] = round(time.perf_counter() - started, 2)
    result["largest_relative_error_of_a_zone"] = float(np.abs(sums / counted - 1).max())
    result["relative_error_of_the_total"] = float(abs(sums.sum() / counted.sum() - 1))
    result["zones_without_target"] = len(fine.report.even)
    whole = ZonePopulation([island(zones)], [counted.sum()], geobox, weights)
    found = zone_sums(whole, numbers, len(zones))
    result["island_to_municipalities"] = described(allocation_error(counted, found, np.zeros(len(zones)))) | {
        "persons": [round(value) for value in found.tolist()]
    }
    parts = zone_sums(fine, np.where(numbers >= 0, cells, -1), cell_counts.size)
    owner = np.full(cell_counts.size, -1)
    owner[cells.ravel()[::-1]] = numbers.ravel()[::-1]
    inside = (owner >= 0) & (cell_counts > 0)
    error = described(allocation_error(cell_counts[inside], parts[inside], owner[inside].astype(float)))
    error.pop("mean_absolute_percentage")  # many cells hold a fraction of a person
    result["municipalities_to_cells"] = error
    return result


def raster_mass(folder: Path, cover: Any, geobox: GeoBox, counted: float) -> dict[str, Any]:
    """Warp the population to the map, evenly and by urban fabric within each cell: is everybody kept."""
    found = {}
    for name, codes in (("even", None), ("urban fabric in each cell", {1: 1.0, 2: 1.0})):
        started = time.perf_counter()
        with open_population(
            folder / POPULATION, geobox, weights=ClassWeights(cover, codes) if codes else None
        ) as warped:
            total = sum(float(warped.persons(strip)[0].sum()) for strip in strips(geobox))
        found[name] = {
            "relative_error_of_the_total": abs(total / counted - 1),
            "seconds": round(time.perf_counter() - started, 2),
        }
    return found


def main() -> None:
    """Measure and store."""
    folder = data_root() / "population_sao_miguel"
    files = [folder / name for name in (POPULATION, COVER, ZONES)]
    with contextlib.ExitStack() as stack:
        cover, geobox = stack.enter_context(open_map(folder / COVER))
        source = stack.enter_context(rasterio.open(folder / POPULATION))
        cells_population = source.read(1, masked=True).filled(0).astype(np.float64)
        cells = cell_numbers(geobox, source)
        frame = read_features(folder / ZONES, ["name"], geobox, what="municipalities").frame
        zones = list(frame.geometry)
        # Persons of a municipality: those of GPWv4 at its pixels; a coastal cell's persons are on its land.
        land = ClassWeights(cover, LAND)
        on_land: PopulationRaster = stack.enter_context(open_population(folder / POPULATION, geobox, weights=land))
        numbers = ZonePopulation(zones, np.ones(len(zones)), geobox).zones(Window(0, 0, *geobox.shape))
        counted = zone_sums(on_land, numbers, len(zones))
        results = {
            "data_sets": [data_set("population_sao_miguel", files)],
            "machine": machine(),
            "reference": "GPWv4 of 2020 on the land of each cell; even within census units, no count of every cell",
            "grid": list(geobox.shape),
            "municipalities": {name: round(value, 1) for name, value in zip(frame["name"], counted, strict=True)},
            "persons_in_raster": float(cells_population.sum()),
            "persons_in_municipalities": float(counted.sum()),
            "warped": raster_mass(folder, cover, geobox, float(cells_population.sum())),
            "weights": {
                name: measured(ClassWeights(cover, codes), geobox, zones, counted, cells, cells_population.ravel())
                for name, codes in WEIGHTS.items()
            },
        }
    print(store("change_population", results).read_text())


if __name__ == "__main__":
    main()
