"""What the verb `indicators` reads besides maps: populations, boundaries, assessments."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.indicators.population_contract import Population
from ecumene.indicators.population_raster import open_population
from ecumene.indicators.population_zones import ZonePopulation, extent_polygon, read_zones
from ecumene.samples.vectors import bring_to_grid, is_vector, read_features
from ecumene.workflows.indicators_maps import BuiltUpMap, BuiltUpWeights

DISTRIBUTIONS = ("even", "built-up")
"""How persons lie within a cell or zone."""


@dataclass(frozen=True)
class Boundary:
    """A city in the map.

    Attributes:
        name: Its name.
        geometry: In the grid's coordinate system.
        degrees: Longitude and latitude.
        inside_share: Share of its area that lies in the map, above 0.
    """

    name: str
    geometry: Any
    degrees: Any
    inside_share: float


def population_files(population: Sequence[tuple[int, str | Path]]) -> dict[int, Path]:
    """Return the file of every year.

    Raises:
        ConfigurationError: If years repeat or run backwards, or there is none.
        LabelError: If a file does not exist.
    """
    files: dict[int, Path] = {}
    for year, path in population:
        if year in files:
            raise ConfigurationError(f"The population of {year} is given twice; give each year once.")
        if not Path(path).is_file():
            raise LabelError(f"The population file {path} does not exist; check the path.")
        if files and year < max(files):
            raise ConfigurationError(
                f"The years of the population run backwards ({max(files)}, then {year}); give them in the order of "
                "time."
            )
        files[year] = Path(path)
    if not files:
        raise ConfigurationError("Give the population of every year, e.g. --population 2015=persons.tif.")
    return files


def open_populations(
    files: Mapping[int, Path],
    geobox: GeoBox,
    maps: Mapping[int, BuiltUpMap],
    stack: contextlib.ExitStack,
    *,
    unit: str,
    field: str | None,
    distribute: str | None,
) -> tuple[dict[int, Population], list[str]]:
    """Open the populations of all years on the grid of the maps.

    Args:
        files: By year.
        geobox: The grid.
        maps: Built-up land of the same years.
        stack: Closes the files.
        unit: Of rasters.
        field: Column with the persons of census zones.
        distribute: One of `DISTRIBUTIONS`; None: even for rasters, built-up for zones.

    Returns:
        Populations by year, and sentences that must not be overlooked.

    Raises:
        ConfigurationError: If unit, column or grids do not fit.
        LabelError: If a population cannot be used.
    """
    found: dict[int, Population] = {}
    notes = []
    for year, path in files.items():
        zones = is_vector(path)
        way = distribute or ("built-up" if zones else "even")
        weights = BuiltUpWeights(maps[year]) if way == "built-up" else None
        if not zones:
            found[year] = stack.enter_context(open_population(path, geobox, unit=unit, weights=weights))
            continue
        if field is None:
            raise ConfigurationError(
                f"{path.name} holds census zones; name the column with their persons by --population-field."
            )
        distributed = read_zones(path, field, geobox, weights)
        found[year] = distributed
        notes += _zone_notes(year, distributed)
    return found, notes


def _zone_notes(year: int, zones: ZonePopulation) -> list[str]:
    report = zones.report
    if not report.even:
        return []
    return [
        f"Population of {year}: {len(report.even)} census zone(s) have persons but no built-up pixel; their persons "
        "are spread evenly over the zone."
    ]


def read_boundaries(path: Path, geobox: GeoBox, name_field: str | None) -> tuple[list[Boundary], list[str]]:
    """Return the cities that meet the map, and sentences about those that do not.

    Args:
        path: Vector file of polygons in any coordinate system.
        geobox: Grid of the map.
        name_field: Column with names; None: `name` where there is one, else rows are numbered.

    Raises:
        LabelError: If the file cannot be used, or no polygon meets the map.
    """
    import shapely

    fields = [name_field] if name_field else []
    optional = [] if name_field else ["name"]
    everything = read_features(path, fields, None, optional=optional, what="boundaries").frame
    column = name_field or ("name" if "name" in everything.columns else None)

    def names(frame: Any) -> list[str]:
        return [str(value) for value in (frame[column] if column else frame.index + 1)]

    if everything.empty:
        raise LabelError(f"{path.name} holds no boundary; give polygons of cities.")
    if not everything.geom_type.isin(["Polygon", "MultiPolygon"]).all():
        raise LabelError(f"{path.name} holds points or lines; a city's boundary is a polygon.")
    called = names(everything)
    if twice := sorted({name for name in called if called.count(name) > 1}):
        raise LabelError(
            f"{path.name} names {twice[0]} more than once; give each city one row or another --name-field."
        )
    near, extent = bring_to_grid(everything, geobox), extent_polygon(geobox)
    degrees = near.to_crs(4326)
    cities = []
    for name, geometry, wgs84 in zip(names(near), near.geometry, degrees.geometry, strict=True):
        share = shapely.intersection(geometry, extent).area / geometry.area if geometry.area > 0 else 0.0
        if share > 0:
            cities.append(Boundary(name, geometry, wgs84, 1.0 if share > 1 - 1e-9 else float(share)))
    inside = {city.name for city in cities}
    outside = [name for name in called if name not in inside]
    if not cities:
        raise LabelError(
            f"No boundary of {path.name} lies in the map; check that both show the same place, and the coordinate "
            "system."
        )
    notes = [f"Outside of the map, and left out: {', '.join(outside)}."] if outside else []
    return cities, notes


def assessment_counts(path: Path, source: BuiltUpMap) -> NDArray[np.int64]:
    """Return the reference counts of an assessment: rows = MAP class, brought to the order of the map's classes.

    Raises:
        LabelError: If the file is no assessment of a map of these classes.
    """
    try:
        figures = json.loads(Path(path).read_text(encoding="utf-8"))
        adjusted = figures["area_adjusted"]
        # Assessments of earlier versions say the order of the matrix only beside the figures of the sample.
        names = list(adjusted["class_names"] if "class_names" in adjusted else figures["accuracy"]["class_names"])
        counts = np.asarray(adjusted["counts"], dtype=np.int64)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise LabelError(f"{path} is not an assessment of a map of classes; make one with: ecumene assess.") from error
    legend = source.legend
    if sorted(names) != sorted(legend.names) or counts.shape != (len(names), len(names)):
        raise LabelError(f"The assessment {Path(path).name} is of other classes than {source.product.folder.name}.")
    order = [names.index(name) for name in legend.names]
    return counts[np.ix_(order, order)]
