"""From measurements of a city to the indicator of each period, as rows of a table and as a sentence."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.indicators.growth_types import GROWTH_TYPES
from ecumene.indicators.olofsson import Estimate, OlofssonReport, olofsson_report
from ecumene.indicators.sdg_land_use import (
    FORMS,
    LandUseEfficiency,
    Quantity,
    built_up_per_person,
    land_use_efficiency,
    total_change,
)
from ecumene.indicators.sdg_open_space import OpenSpace
from ecumene.indicators.sdg_sampling import SampledEfficiency, sample_efficiency
from ecumene.indicators.shared_errors import SharedArea, correlation_of_years
from ecumene.legends import Legend
from ecumene.workflows.indicators_city import CityMeasurements, Period

_PROBABILITIES = "sum of the map's probabilities"


@dataclass(frozen=True)
class ErrorSources:
    """What is known of errors besides the maps' own probabilities.

    Attributes:
        built_up: Relative standard error of built-up area by year, as stated by the user.
        population: Relative standard error of population by year, as stated by the user.
        assessments: Reference counts `[K, K]` (rows = MAP class) by year, in the order of the map's legend.
        confidence: Level of all intervals.
    """

    built_up: Mapping[int, float] = field(default_factory=dict)
    population: Mapping[int, float] = field(default_factory=dict)
    assessments: Mapping[int, NDArray[np.int64]] = field(default_factory=dict)
    confidence: float = 0.95


@dataclass(frozen=True)
class YearFigures:
    """Built-up land and population of a city in a year, with errors.

    Attributes:
        built_m2: Built-up area.
        built_from: Where area and error come from, in words.
        persons: Population.
        per_person: Built-up square metres a person.
        expected: Where the area is a sum of probabilities, with the error that maps of one model have in common.
        model: Checksum of the model that made the map; empty where the product states none.
    """

    built_m2: Quantity
    built_from: str
    persons: Quantity
    per_person: Estimate
    expected: SharedArea | None = None
    model: str = ""


@dataclass(frozen=True)
class PeriodFigures:
    """The indicator of a city over a period.

    Attributes:
        years: First and last.
        whole: Whether it is the whole time, made of several periods.
        forms: SDG 11.3.1 by form.
        sampled: The chosen form by Monte Carlo.
        built_change: (last - first) / first of built-up land.
        population_change: The same of the population.
        area_known: Whether an error of built-up land is known; if not, intervals are without it.
        population_known: The same of the population.
    """

    years: Period
    whole: bool
    forms: dict[str, LandUseEfficiency]
    sampled: SampledEfficiency
    built_change: Estimate
    population_change: Estimate
    area_known: bool
    population_known: bool

    @property
    def any_known(self) -> bool:
        """Whether intervals that need both have any width to show."""
        return self.area_known or self.population_known


@dataclass(frozen=True)
class City:
    """A city and all that was found.

    Attributes:
        name: Its name.
        geometry: Its boundary, longitude and latitude.
        inside_share: Share of its area that lies in the map.
        measured: What was measured.
        years: Figures by year; empty where the indicator is impossible.
        periods: Figures by period.
        problem: Why there are no figures, a sentence; empty if there are.
        open_space: SDG 11.7.1 in the last year, or None.
    """

    name: str
    geometry: Any
    inside_share: float
    measured: CityMeasurements
    years: dict[int, YearFigures]
    periods: tuple[PeriodFigures, ...]
    problem: str
    open_space: OpenSpace | None = None


def year_figures(
    name: str,
    measured: CityMeasurements,
    legends: Mapping[int, Legend],
    built_codes: Mapping[int, tuple[int, ...]],
    errors: ErrorSources,
    models: Mapping[int, str] | None = None,
) -> tuple[dict[int, YearFigures], str]:
    """Return figures by year, or none and the sentence that says why.

    Args:
        name: Of the city.
        measured: Its measurements.
        legends: Of the maps by year.
        built_codes: Codes that are built-up by year.
        errors: Further sources of errors.
        models: Checksums of the models that made the maps, by year.
    """
    if measured.area_m2 <= 0:
        return {}, f"{name} holds the centre of no pixel of the map; it is too small for an indicator."
    if measured.known_share <= 0:
        return {}, f"No pixel of {name} has a class in every year; map more of it."
    found = {}
    for year, entry in measured.years.items():
        if entry.persons <= 0:
            return {}, f"The population of {name} in {year} is 0, so it has no indicator; check the population data."
        area, error, source = _built_up(measured, year, legends[year], built_codes[year], errors)
        if area <= 0:
            return {}, f"{name} has no built-up land in {year}, so it has no indicator; check classes and boundary."
        built = Quantity(area, error)
        share = errors.population.get(year)
        persons = Quantity(entry.persons, None if share is None else share * entry.persons)
        expected = entry.expected if source.startswith(_PROBABILITIES) else None
        per_person = built_up_per_person(built, persons, errors.confidence)
        found[year] = YearFigures(built, source, persons, per_person, expected, (models or {}).get(year, ""))
    return found, ""


def _built_up(
    measured: CityMeasurements, year: int, legend: Legend, codes: tuple[int, ...], errors: ErrorSources
) -> tuple[float, float | None, str]:
    """Return built-up area, its standard error and where they come from."""
    entry = measured.years[year]
    if year in errors.built_up:
        return entry.built_m2, errors.built_up[year] * entry.built_m2, "mapped area with the stated error"
    if year in errors.assessments:
        estimate = assessed_area(errors.assessments[year], entry.areas_m2, legend, codes, errors.confidence)
        if np.isfinite(estimate.standard_error):
            return estimate.value, estimate.standard_error, "mapped area corrected by the assessment"
    if entry.expected is not None:
        how = "calibration blocks" if entry.measured_errors else "errors taken as shared within 1 km"
        found = entry.expected.estimate
        return found.value, found.standard_error, f"{_PROBABILITIES} ({how})"
    return entry.built_m2, None, "mapped area, error unknown"


def zone_report(
    counts: NDArray[np.int64], areas_m2: Mapping[int, float], legend: Legend, confidence: float
) -> OlofssonReport | None:
    """Return the estimates of Olofsson et al. (2014) for a zone, with the sample of the whole map.

    It presumes that a map class is as right in the zone as in the whole map (synthetic estimation). None where no
    sampled class is in the zone.
    """
    areas = np.array([areas_m2.get(code, 0.0) for code in legend.values])
    usable = counts * (areas > 0)[:, None]  # classes that are not in the zone say nothing about it
    if usable.sum() == 0:
        return None
    return olofsson_report(usable, areas, legend.names, confidence=confidence)


def assessed_area(
    counts: NDArray[np.int64],
    areas_m2: Mapping[int, float],
    legend: Legend,
    codes: Sequence[int],
    confidence: float = 0.95,
) -> Estimate:
    """Return the area of several classes together in a zone, by the reference sample of the whole map.

    Args:
        counts: `[K, K]`, rows = MAP class, columns = reference class.
        areas_m2: Mapped area of each code in the zone.
        legend: Order of the classes.
        codes: The classes that count.
        confidence: Level of the interval.
    """
    wanted = np.isin(np.array(legend.values), list(codes))
    none = Estimate(*(float("nan"),) * 5)
    if wanted.all() or not wanted.any():
        return none
    # Together, the classes are one: its reference elements stand in one column, all others in another.
    merged = np.zeros_like(counts)
    one, rest = int(np.flatnonzero(wanted)[0]), int(np.flatnonzero(~wanted)[0])
    merged[:, one], merged[:, rest] = counts[:, wanted].sum(axis=1), counts[:, ~wanted].sum(axis=1)
    report = zone_report(merged, areas_m2, legend, confidence)
    return none if report is None else report.areas[one]


def period_figures(
    years: Mapping[int, YearFigures], form: str, confidence: float, correlation: float = 0.0
) -> tuple[PeriodFigures, ...]:
    """Return the indicator of every pair of consecutive years, and of the whole time if there are several.

    Args:
        years: Figures by year.
        form: Of the rate that is drawn by Monte Carlo.
        confidence: Level of the intervals.
        correlation: Of the errors of built-up land of two years.
    """
    listed = list(years)
    periods = [(pair, False) for pair in itertools.pairwise(listed)]
    if len(periods) > 1:
        periods.append(((listed[0], listed[-1]), True))
    found = []
    for (first, last), whole in periods:
        area = (years[first].built_m2, years[last].built_m2)
        people = (years[first].persons, years[last].persons)
        common = _common(years[first], years[last], correlation)
        forms: dict[str, LandUseEfficiency] = {
            name: land_use_efficiency(
                area, people, (first, last), form=name, area_correlation=common, confidence=confidence
            )
            for name in FORMS
        }
        found.append(
            PeriodFigures(
                (first, last),
                whole,
                forms,
                sample_efficiency(
                    area, people, (first, last), form=form, area_correlation=common, confidence=confidence
                ),
                total_change(*area, correlation=common, confidence=confidence),
                total_change(*people, confidence=confidence),
                any(amount.standard_error is not None for amount in area),
                any(amount.standard_error is not None for amount in people),
            )
        )
    return tuple(found)


def _common(first: YearFigures, last: YearFigures, blocks: float) -> float:
    """Return the correlation of the errors of two built-up areas; see `correlation_of_years`."""
    if first.expected is None or last.expected is None:
        return blocks if first.built_m2.standard_error and last.built_m2.standard_error else 0.0
    same = bool(first.model) and first.model == last.model
    return correlation_of_years(first.expected, last.expected, same_model=same, blocks=blocks)


def table_rows(cities: Sequence[City], form: str) -> list[dict[str, Any]]:
    """Return one row a city and period; one row without figures for a city that has none."""
    rows = []
    for city in cities:
        base = {
            "city": city.name,
            "share_in_map": city.inside_share,
            "share_classified": city.measured.known_share,
            "city_area_m2": city.measured.area_m2,
            "note": city.problem,
        }
        rows += [base | _period_row(city, period, form) for period in city.periods] or [base]
    return rows


def _period_row(city: City, period: PeriodFigures, form: str) -> dict[str, Any]:
    first, last = period.years
    found: dict[str, Any] = {"first_year": first, "last_year": last, "whole_time": period.whole}
    for label, year in (("first", first), ("last", last)):
        figures = city.years[year]
        found |= {
            f"built_up_{label}_m2": figures.built_m2.value,
            f"built_up_{label}_se_m2": figures.built_m2.standard_error,
            f"built_up_{label}_from": figures.built_from,
            f"population_{label}": figures.persons.value,
            f"population_{label}_se": figures.persons.standard_error,
            f"population_{label}_known_share": city.measured.years[year].persons_known,
            f"built_up_per_person_{label}_m2": figures.per_person.value,
            f"built_up_per_person_{label}_low_m2": figures.per_person.low if period.any_known else None,
            f"built_up_per_person_{label}_high_m2": figures.per_person.high if period.any_known else None,
        }
    found |= _interval("built_up_change", period.built_change, period.area_known)
    found |= _interval("population_change", period.population_change, period.population_known)
    for name, indicator in period.forms.items():
        short = "log" if name == "logarithmic" else "2021"
        found |= _interval(f"lcr_{short}", indicator.land_rate, period.area_known)
        found |= {
            f"ratio_{short}": indicator.ratio,
            f"ratio_{short}_se": indicator.ratio_error if period.any_known else None,
            f"ratio_{short}_set": indicator.ratios.kind if period.any_known else "error unknown",
            f"ratio_{short}_low": indicator.ratios.low if period.any_known else None,
            f"ratio_{short}_high": indicator.ratios.high if period.any_known else None,
        }
    chosen = period.forms[form]
    found |= _interval("pgr", chosen.population_rate, period.population_known)
    found |= {
        "reading": chosen.reading.text,
        "ratio_undefined": chosen.undefined,
        "land_faster_chance": period.sampled.faster_share if period.any_known else None,
    }
    growth = city.measured.growth.get(period.years)
    for name in GROWTH_TYPES:
        found[f"growth_{name}_m2"] = None if growth is None else growth.areas_m2[name]
    return found


def _interval(name: str, estimate: Estimate, known: bool) -> dict[str, float | None]:
    """Return value and ends; no ends where no error is known, because equal ones would look like certainty."""
    ends = (estimate.low, estimate.high) if known else (None, None)
    return {name: estimate.value, f"{name}_low": ends[0], f"{name}_high": ends[1]}


def sentence(city: City, form: str, confidence: float) -> str:
    """Say what was found of a city in one sentence."""
    if city.problem:
        return city.problem
    period = city.periods[-1]
    first, last = period.years
    one, two = city.years[first], city.years[last]
    indicator = period.forms[form]
    land = percent(period.built_change, period.area_known)
    people = percent(period.population_change, period.population_known)
    said = (
        f"{city.name}, {first} to {last}: built-up land went from {one.built_m2.value / 1e6:,.2f} to "
        f"{two.built_m2.value / 1e6:,.2f} km² ({land}), the population from {one.persons.value:,.0f} to "
        f"{two.persons.value:,.0f} ({people}); "
        f"{indicator.land_rate.value:.2%} a year of land against {indicator.population_rate.value:.2%} a year of people"
    )
    if indicator.ratio is None:
        said += f", without a ratio because {indicator.undefined}"
    else:
        said += f", ratio {indicator.ratio:.2f}"
        if period.any_known:
            said += f" ({confidence:.0%} interval {indicator.ratios})"
    said += f": {indicator.reading.text}"
    if city.inside_share < 0.9995:
        said += f"; this is for the {city.inside_share:.1%} of its area that lie in the map"
    return said + "."


def percent(change: Estimate, with_interval: bool) -> str:
    """Return a change in percent, with its interval if that is known."""
    if not with_interval:
        return f"{change.value:+.1%}"
    return f"{change.value:+.1%}, interval {change.low:+.1%} to {change.high:+.1%}"
