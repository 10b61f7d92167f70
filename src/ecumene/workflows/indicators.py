"""The verb `indicators`: SDG 11.3.1 and what belongs to it, city by city, from maps of built-up land and population."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ecumene.core.errors import ConfigurationError, LabelError, ProductError
from ecumene.core.files import ensure_writable_folder, sha256_of
from ecumene.core.progress import Progress, silent
from ecumene.indicators.class_groups import class_codes
from ecumene.indicators.population_contract import check_unit
from ecumene.indicators.ratio_interval import normal_quantile
from ecumene.indicators.sdg_land_use import check_form
from ecumene.indicators.sdg_open_space import OpenSpace, open_space_share
from ecumene.workflows.indicators_charts import indicator_charts
from ecumene.workflows.indicators_city import CityMeasurements, Groups, measure_city
from ecumene.workflows.indicators_inputs import (
    DISTRIBUTIONS,
    Boundary,
    assessment_counts,
    open_populations,
    population_files,
    read_boundaries,
)
from ecumene.workflows.indicators_maps import BuiltUpMap, legends_agree, open_years
from ecumene.workflows.indicators_output import JSON_NAME, write_indicators
from ecumene.workflows.indicators_table import City, ErrorSources, period_figures, sentence, year_figures, zone_report

_LARGEST_ERROR = 1.0


@dataclass(frozen=True)
class IndicatorOptions:
    """What may be chosen.

    Attributes:
        name_field: Column of the boundaries with the cities' names; None: `name` where there is one, else rows are
            numbered.
        built_up: Classes that are built-up; None: what is known of the legend.
        green: Classes that count as green; None: what is known of the legend.
        farmland: Classes that count as farmland; None: the same.
        open_space: Classes that are open space, for SDG 11.7.1; empty: not computed.
        streets: Classes that are streets, for SDG 11.7.1.
        population_unit: Unit of population rasters, `persons-per-pixel` or `persons-per-km2`.
        population_field: Column with persons where the population comes as census zones.
        distribute: How persons lie within a cell or zone: `even` or `built-up`; None: even for rasters, built-up for
            zones.
        population_errors: Relative standard error of the population by year; 0 stands for all years.
        built_up_errors: Relative standard error of built-up area by year; 0 stands for all years.
        built_up_correlation: Of the errors of built-up land of two years, 0 to 1, where places labelled at both dates
            tell it (`correlation_of_dates`); 0 is on the safe side.
        assessments: What `ecumene assess --out` wrote, by year.
        form: Form of SDG 11.3.1 in sentence and charts; tables have both.
        confidence: Level of all intervals.
        overwrite: Replace indicators in the folder.
    """

    name_field: str | None = None
    built_up: Sequence[str] | None = None
    green: Sequence[str] | None = None
    farmland: Sequence[str] | None = None
    open_space: Sequence[str] = ()
    streets: Sequence[str] = ()
    population_unit: str = "persons-per-pixel"
    population_field: str | None = None
    distribute: str | None = None
    population_errors: Mapping[int, float] = field(default_factory=dict)
    built_up_errors: Mapping[int, float] = field(default_factory=dict)
    built_up_correlation: float = 0.0
    assessments: Mapping[int, Path] = field(default_factory=dict)
    form: str = "logarithmic"
    confidence: float = 0.95
    overwrite: bool = False


@dataclass(frozen=True)
class Indicators:
    """What the verb found.

    Attributes:
        folder: Where it was written.
        cities: All cities.
        sentences: One a city.
        notes: Sentences that must not be overlooked.
    """

    folder: Path
    cities: tuple[City, ...]
    sentences: tuple[str, ...]
    notes: tuple[str, ...]


def compute_indicators(
    products: Sequence[str | Path],
    population: Sequence[tuple[int, str | Path]],
    boundaries: str | Path,
    out: str | Path,
    options: IndicatorOptions | None = None,
    *,
    progress: Progress = silent,
) -> Indicators:
    """Compute and write the indicators of every city.

    Args:
        products: One product of classes a year (its year is that of the Item's `datetime`, or stated as `YEAR=FOLDER`),
            in the order of time, or one product with a layer in the unit `calendar year` (year of first
            built-up; 0: never).
        population: Year and file of each population: a GeoTIFF, or a vector file of census zones.
        boundaries: Vector file with the polygons of the cities.
        out: Folder for table, GeoParquet, JSON and page.
        options: See there.
        progress: Called with (done, total, what).

    Returns:
        The cities with everything that was measured.

    Raises:
        ConfigurationError: If options, years or grids do not fit.
        LabelError: If boundaries or populations cannot be used, or no city has an indicator.
        ProductError: If a product cannot be used, or nothing can be written.
    """
    chosen = options or IndicatorOptions()
    folder = _checked_folder(out, chosen)
    files = population_files(population)
    with contextlib.ExitStack() as stack:
        maps = open_years(products, list(files), chosen.built_up, stack)
        geobox = next(iter(maps.values())).product.geobox
        errors = _errors(chosen, maps)
        people, notes = open_populations(
            files,
            geobox,
            maps,
            stack,
            unit=chosen.population_unit,
            field=chosen.population_field,
            distribute=chosen.distribute,
        )
        places, missed = read_boundaries(Path(boundaries), geobox, chosen.name_field)
        notes += missed
        groups, unused = _groups(chosen, maps)
        notes += unused
        cities = []
        for position, place in enumerate(places):
            progress(position, len(places), place.name)
            measured = measure_city(place.geometry, geobox, maps, people, groups, chosen.confidence)
            cities.append(_city(place, measured, maps, errors, chosen))
        progress(len(places), len(places), "cities")
        notes += _notes(cities, errors, maps)
    if all(city.problem for city in cities):
        raise LabelError(cities[0].problem)
    write_indicators(
        folder,
        cities,
        indicator_charts(cities, chosen.form, chosen.confidence),
        form=chosen.form,
        confidence=chosen.confidence,
        notes=notes,
        provenance=_provenance(maps, files, Path(boundaries), chosen),
    )
    said = tuple(sentence(city, chosen.form, chosen.confidence) for city in cities)
    return Indicators(folder, tuple(cities), said, tuple(notes))


def _checked_folder(out: str | Path, options: IndicatorOptions) -> Path:
    """Check the options and return the folder to write to."""
    check_form(options.form)
    check_unit(options.population_unit)
    normal_quantile(options.confidence)
    if options.distribute is not None and options.distribute not in DISTRIBUTIONS:
        raise ConfigurationError(f"Persons are distributed {' or '.join(DISTRIBUTIONS)}, not {options.distribute!r}.")
    for what, errors in (("population", options.population_errors), ("built-up area", options.built_up_errors)):
        for error in errors.values():
            if not 0.0 <= error < _LARGEST_ERROR:
                raise ConfigurationError(
                    f"The relative standard error of the {what} is {error:g}; give a share of at least 0 and below 1, "
                    "such as 0.03."
                )
    if not 0.0 <= options.built_up_correlation <= 1.0:
        raise ConfigurationError(
            f"The correlation of errors of built-up land is {options.built_up_correlation:g}; give one from 0 to 1."
        )
    folder = ensure_writable_folder(out)
    if (folder / JSON_NAME).exists() and not options.overwrite:
        raise ProductError(f"{out} already holds indicators; use --overwrite to replace them, or another --out.")
    return folder


def _groups(options: IndicatorOptions, maps: Mapping[int, BuiltUpMap]) -> tuple[Groups, list[str]]:
    """Return the classes whose loss to growth is reported, none where the years have different classes; and notes."""
    if not legends_agree(maps):
        stated = [f"--{name}" for name in ("green", "farmland") if getattr(options, name) is not None]
        note = (
            f"The maps of the years have different classes, so no loss of land is computed and {' and '.join(stated)} "
            "not used; bring the maps to one legend with: ecumene convert."
        )
        return Groups(), [note] if stated else []
    source = next(iter(maps.values()))
    found = {
        "green": class_codes(source.legend, "green", options.green),
        "farmland": class_codes(source.legend, "farmland", options.farmland),
    }
    taken = set(source.built_codes)
    left = {name: tuple(code for code in codes if code not in taken) for name, codes in found.items()}
    return Groups({name: codes for name, codes in left.items() if codes}), []


def _errors(options: IndicatorOptions, maps: Mapping[int, BuiltUpMap]) -> ErrorSources:
    def by_year(stated: Mapping[int, float], what: str) -> dict[int, float]:
        if unknown := sorted(set(stated) - set(maps) - {0}):
            raise ConfigurationError(f"An error of the {what} is stated for {unknown[0]}, which is none of the years.")
        return {year: stated[key] for year in maps if (key := year if year in stated else 0) in stated}

    if unknown := sorted(set(options.assessments) - set(maps)):
        raise ConfigurationError(f"An assessment is given for {unknown[0]}, which is none of the years.")
    return ErrorSources(
        by_year(options.built_up_errors, "built-up area"),
        by_year(options.population_errors, "population"),
        {year: assessment_counts(path, maps[year]) for year, path in options.assessments.items()},
        options.confidence,
    )


def _city(
    place: Boundary,
    measured: CityMeasurements,
    maps: Mapping[int, BuiltUpMap],
    errors: ErrorSources,
    options: IndicatorOptions,
) -> City:
    legends = {year: source.legend for year, source in maps.items()}
    codes = {year: source.built_codes for year, source in maps.items()}
    models = {year: source.product.model_checksum for year, source in maps.items()}
    years, problem = year_figures(place.name, measured, legends, codes, errors, models)
    city = City(place.name, place.degrees, place.inside_share, measured, years, (), problem)
    if problem:
        return city
    periods = period_figures(years, options.form, options.confidence, options.built_up_correlation)
    return replace(city, periods=periods, open_space=_open_space(measured, maps, errors, options))


def _open_space(
    measured: CityMeasurements, maps: Mapping[int, BuiltUpMap], errors: ErrorSources, options: IndicatorOptions
) -> OpenSpace | None:
    """Return SDG 11.7.1 of the last year: open space and streets over these and built-up land."""
    if not options.open_space:
        return None
    year = max(maps)
    source, areas = maps[year], measured.years[year].areas_m2
    standard: dict[int, float] | None = None
    if year in errors.assessments:
        report = zone_report(errors.assessments[year], areas, source.legend, options.confidence)
        if report is not None:
            found = dict(zip(source.legend.values, report.areas, strict=True))
            areas = {code: estimate.value for code, estimate in found.items()}
            standard = {code: estimate.standard_error for code, estimate in found.items()}
    return open_space_share(
        areas,
        class_codes(source.legend, "open space", options.open_space),
        class_codes(source.legend, "streets", options.streets or []),
        city_codes=source.built_codes,
        standard_errors_m2=standard,
        confidence=options.confidence,
    )


def _notes(cities: Sequence[City], errors: ErrorSources, maps: Mapping[int, BuiltUpMap]) -> list[str]:
    notes = [city.problem for city in cities if city.problem]
    notes += [
        f"{city.name} lies in the map to {city.inside_share:.1%}; all figures are for this part."
        for city in cities
        if city.inside_share < 0.9995
    ]
    notes += [
        f"{city.name}: {1 - city.measured.known_share:.1%} of its area have no class in one of the years and are left "
        "out of all areas and of the population."
        for city in cities
        if 0 < city.measured.known_share < 0.999
    ]
    thin = [(city.name, min(entry.persons_known for entry in city.measured.years.values())) for city in cities]
    notes += [
        f"{name}: the population is known for {share:.1%} of the pixels that have a class; elsewhere nobody is counted."
        for name, share in thin
        if share < 0.999
    ]
    if not all(year in errors.population for year in maps):
        notes.append("The error of the population is not stated (--population-error), so intervals are without it.")
    unknown = any(figures.built_m2.standard_error is None for city in cities for figures in city.years.values())
    if unknown:
        notes.append(
            "The error of built-up land is not known for every year (no probabilities, --assessment or "
            "--built-up-error), so intervals are without it."
        )
    return notes


def _provenance(
    maps: Mapping[int, BuiltUpMap], files: Mapping[int, Path], boundaries: Path, options: IndicatorOptions
) -> dict[str, Any]:
    products = {source.product.folder: source.product for source in maps.values()}
    inputs = [
        {"name": product.item_path.parent.name, "what": "product", "sha256": sha256_of(product.item_path)}
        for product in products.values()
    ]
    inputs += [
        {"name": path.name, "what": f"population {year}", "sha256": sha256_of(path)} for year, path in files.items()
    ]
    inputs.append({"name": boundaries.name, "what": "boundaries", "sha256": sha256_of(boundaries)})
    inputs += [
        {"name": Path(path).name, "what": f"assessment {year}", "sha256": sha256_of(path)}
        for year, path in options.assessments.items()
    ]
    stated = {key: value for key, value in vars(options).items() if key not in {"assessments", "overwrite"}}
    chosen = {key: list(value) if isinstance(value, tuple) else value for key, value in stated.items()}
    for key in ("population_errors", "built_up_errors"):
        chosen[key] = {str(year): error for year, error in stated[key].items()}
    codes = {str(year): list(source.built_codes) for year, source in maps.items()}
    return {"inputs": inputs, "options": chosen, "built_up_codes": codes}
