"""Writing cities' indicators: CSV, GeoParquet, JSON and a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ecumene import __version__
from ecumene.core.files import atomic_path, write_json
from ecumene.indicators.olofsson import Estimate
from ecumene.viewer.chart_pictures import chart_diagram, chart_table
from ecumene.viewer.charts import CHARTS_PROPERTY, Chart
from ecumene.viewer.report import Report, Table, write_report
from ecumene.workflows.indicators_table import City, percent, sentence, table_rows

CSV_NAME, PARQUET_NAME = "indicators.csv", "indicators.parquet"
JSON_NAME, PAGE_NAME = "indicators.json", "indicators.html"


def write_indicators(
    out: Path,
    cities: Sequence[City],
    charts: Sequence[Chart],
    *,
    form: str,
    confidence: float,
    notes: Sequence[str],
    provenance: Mapping[str, Any],
) -> None:
    """Write everything about the cities into a folder; the JSON comes last.

    Args:
        out: The folder, writable.
        cities: What was found.
        charts: Charts of it.
        form: Chosen form of SDG 11.3.1.
        confidence: Level of all intervals.
        notes: Sentences that must not be overlooked.
        provenance: Inputs and options, JSON values.

    Raises:
        ProductError: If a file cannot be written.
    """
    import geopandas
    import pandas as pd

    (out / JSON_NAME).unlink(missing_ok=True)
    rows = table_rows(cities, form)
    table = pd.DataFrame(rows)
    with atomic_path(out / CSV_NAME) as path:
        table.to_csv(path, index=False)
    shapes = {city.name: city.geometry for city in cities}
    frame = geopandas.GeoDataFrame(table, geometry=[shapes[row["city"]] for row in rows], crs="EPSG:4326")
    with atomic_path(out / PARQUET_NAME) as path:
        frame.to_parquet(path, index=False)
    shown = [chart.model_dump(mode="json") for chart in charts]
    sentences = [sentence(city, form, confidence) for city in cities]
    write_report(_page(cities, shown, sentences, form, confidence, notes, provenance), out / PAGE_NAME)
    write_json(
        out / JSON_NAME,
        {
            "form": form,
            "confidence": confidence,
            "cities": [_city(city, form, confidence) for city in cities],
            "notes": list(notes),
            "provenance": dict(provenance),
            "software": {"ecumene": __version__},
            CHARTS_PROPERTY: shown,
        },
    )


def _city(city: City, form: str, confidence: float) -> dict[str, Any]:
    measured = city.measured
    entry: dict[str, Any] = {
        "name": city.name,
        "sentence": sentence(city, form, confidence),
        "share_in_map": city.inside_share,
        "share_classified": measured.known_share,
        "area_m2": measured.area_m2,
        "years": {str(year): _year(city, year) for year in measured.years},
        "periods": [
            {"years": list(p.years), "whole": p.whole, "built_up_error_known": p.area_known,
             "population_error_known": p.population_known, "sampled": p.sampled.to_dict(),
             "forms": {name: found.to_dict() for name, found in p.forms.items()},
             "built_up_change": p.built_change.to_dict(), "population_change": p.population_change.to_dict()}
            for p in city.periods
        ],
        "growth": {_key(period): growth.to_dict() for period, growth in measured.growth.items()},
        "from_to": {_key(period): None if t is None else t.to_dict() for period, t in measured.from_to.items()},
        "losses_to_built_up_m2": {
            f"{_key(period)} {name}": area for (period, name), area in measured.losses_m2.items()
        },
        "expected_real_losses_m2": {
            f"{_key(period)} {name}": estimate.to_dict() for (period, name), estimate in measured.real_losses.items()
        },
        "problem": city.problem,
    }  # fmt: skip
    if city.open_space is not None:
        space = city.open_space
        entry["open_space"] = {"share": space.share.to_dict(), "open_m2": space.open_m2,
                               "streets_m2": space.streets_m2, "city_m2": space.city_m2}  # fmt: skip
    return entry


def _year(city: City, year: int) -> dict[str, Any]:
    measured, figures = city.measured.years[year], city.years.get(year)
    found: dict[str, Any] = {
        "mapped_m2": {str(code): area for code, area in sorted(measured.areas_m2.items())},
        "built_up_mapped_m2": measured.built_m2,
        "persons": measured.persons,
        "persons_known_share": measured.persons_known,
        "landscape": None if measured.landscape is None else measured.landscape.to_dict(),
    }
    if figures is not None:
        found |= {
            "built_up_m2": figures.built_m2.value,
            "built_up_standard_error_m2": figures.built_m2.standard_error,
            "built_up_from": figures.built_from,
            "population_standard_error": figures.persons.standard_error,
            "built_up_per_person_m2": figures.per_person.to_dict(),
        }
    return found


def _key(period: tuple[int, int]) -> str:
    return f"{period[0]}-{period[1]}"


def _page(
    cities: Sequence[City],
    charts: Sequence[Mapping[str, Any]],
    sentences: Sequence[str],
    form: str,
    confidence: float,
    notes: Sequence[str],
    provenance: Mapping[str, Any],
) -> Report:
    drawn = [(chart, chart_diagram(chart)) for chart in charts]
    inputs = [[entry["name"], entry["what"], entry["sha256"]] for entry in provenance["inputs"]]
    return Report(
        title="Land use and population of cities",
        subtitle=f"SDG 11.3.1 ({form} form) and what belongs to it, with {confidence:.0%} intervals.",
        pictures=(),
        tables=[
            _rates(cities, form),
            *_tables(cities),
            *(chart_table(chart) for chart, diagram in drawn if diagram is None),
        ],
        provenance=[("software", f"ecumene {__version__}")],
        notices=list(notes),
        diagrams=[diagram for _, diagram in drawn if diagram is not None],
        facts=[(city.name, said) for city, said in zip(cities, sentences, strict=True)],
        origin=[Table("Inputs", ("file", "what", "SHA-256"), inputs)],
    )


def _rates(cities: Sequence[City], form: str) -> Table:
    """Return both rates, their ratio and the changes of every city and period."""
    rows = []
    for city in cities:
        for p in city.periods:
            found = p.forms[form]
            ratio = "-" if found.ratio is None else f"{found.ratio:.2f}"
            if p.any_known and found.ratio is not None:
                ratio += f" ({found.ratios})"
            changes = [percent(p.built_change, p.area_known), percent(p.population_change, p.population_known)]
            rates = [f"{found.land_rate.value:.2%}", f"{found.population_rate.value:.2%}"]
            rows.append([city.name, _key(p.years), *changes, *rates, ratio])
    columns = ("city", "years", "built-up land", "population", "land, a year", "people, a year", "ratio")
    return Table("Growth of land and people", columns, rows, "Changes over the period, rates a year, SDG 11.3.1.")


def _tables(cities: Sequence[City]) -> list[Table]:
    """Return landscape metrics, and losses of classes to growth where there are any."""
    metrics = [
        [city.name, str(year), f"{m.patch_density:.2f}", f"{m.edge_density:.1f}", f"{m.largest_patch_index:.1f}",
         _cell(m.aggregation_index), f"{m.effective_mesh_ha:.1f}", f"{m.shannon_diversity:.3f}", _cell(m.contagion)]
        for city in cities
        for year, entry in city.measured.years.items()
        if (m := entry.landscape) is not None
    ]  # fmt: skip
    columns = ("city", "year", "patches per 100 ha", "edge, m/ha", "largest patch, %", "aggregation, %",
               "effective mesh, ha", "Shannon diversity", "contagion, %")  # fmt: skip
    found = [Table("Landscape metrics", columns, metrics, "Of all classes of the map; patches over eight neighbours.")]
    losses = [
        [
            city.name,
            _key(period),
            name,
            f"{mapped / 1e4:,.2f}",
            _hectares(city.measured.real_losses.get((period, name))),
        ]
        for city in cities
        for (period, name), mapped in city.measured.losses_m2.items()
    ]
    if losses:
        caption = (
            "Expected to be real: what the maps' probabilities leave of the mapped loss; losses that the maps missed "
        )
        caption += "are not in it."
        names = ("city", "years", "what", "mapped, ha", "expected to be real, ha")
        found.append(Table("Lost to built-up land", names, losses, caption))
    return found


def _hectares(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    return f"{estimate.value / 1e4:,.2f} ({estimate.low / 1e4:,.2f} to {estimate.high / 1e4:,.2f})"


def _cell(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.1f}"
