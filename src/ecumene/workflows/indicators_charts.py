"""Charts of cities' indicators, in the form that page, static site and report draw."""

from __future__ import annotations

from collections.abc import Sequence

from ecumene.indicators.growth_types import GROWTH_TYPES
from ecumene.indicators.sdg_published import BEIJING_TIANJIN_HEBEI, BEIJING_TIANJIN_HEBEI_SOURCE
from ecumene.viewer.charts import Axis, Chart, ChartTable, Series
from ecumene.workflows.indicators_table import City, PeriodFigures

_MOST_CITIES = 12


def indicator_charts(cities: Sequence[City], form: str, confidence: float) -> list[Chart]:
    """Return the charts: land and people, how well they are known, ratio, growth by type, open space, published ratios.

    Args:
        cities: All cities; the largest twelve with figures are drawn, all are in the tables.
        form: Form of the land consumption rate that is drawn.
        confidence: Of the intervals, for captions.
    """
    usable = [city for city in cities if not city.problem]
    shown = sorted(usable, key=lambda city: -city.years[max(city.years)].built_m2.value)[:_MOST_CITIES]
    names = {city.name for city in shown}
    drawn = [city for city in usable if city.name in names]
    charts = [
        _by_year("built-up", "Built-up land by year", "built-up land", "km²", usable, drawn, confidence),
        _by_year("population", "Population by year", "population", "persons", usable, drawn, confidence),
        _relative_errors(usable, drawn),
        _ratios(usable, drawn, form, confidence),
        _growth(usable, drawn),
        _open_space(usable, drawn),
    ]
    return [chart for chart in charts if chart is not None] + [_published()]


def _by_year(
    key: str, title: str, label: str, unit: str, cities: Sequence[City], drawn: Sequence[City], confidence: float
) -> Chart | None:
    if not cities:
        return None
    from ecumene.indicators.ratio_interval import normal_quantile

    z, scale = normal_quantile(confidence), 1e-6 if key == "built-up" else 1.0
    series, rows = [], []
    for city in cities:
        amounts = [figures.built_m2 if key == "built-up" else figures.persons for figures in city.years.values()]
        values = [amount.value * scale for amount in amounts]
        margins = [z * (amount.standard_error or 0.0) * scale for amount in amounts]
        rows += [
            [city.name, str(year), f"{value:,.3f}" if scale < 1 else f"{value:,.0f}",
             "-" if amount.standard_error is None else f"{margin:,.3f}" if scale < 1 else f"{margin:,.0f}"]
            for year, value, margin, amount in zip(city.years, values, margins, amounts, strict=True)
        ]  # fmt: skip
        if city in drawn:
            known = any(margins)
            series.append(
                Series(
                    name=city.name,
                    x=[float(year) for year in city.years],
                    y=values,
                    low=[max(0.0, v - m) for v, m in zip(values, margins, strict=True)] if known else None,
                    high=[v + m for v, m in zip(values, margins, strict=True)] if known else None,
                )
            )
    return Chart(
        id=key,
        title=title,
        kind="lines",
        caption=f"Bands are {confidence:.0%} intervals where an error is known.",
        x=Axis(label="year"),
        y=Axis(label=label, unit=unit),
        series=series,
        table=ChartTable(columns=["city", "year", f"{label}, {unit}", "+-"], rows=rows),
    )


def _relative_errors(cities: Sequence[City], drawn: Sequence[City]) -> Chart | None:
    """Show how well built-up land and population of the last year are known: the larger one widens the ratio's set."""
    found = {}
    for city in cities:
        figures = city.years[max(city.years)]
        amounts = (figures.built_m2, figures.persons)
        found[city.name] = [None if a.standard_error is None else a.standard_error / a.value for a in amounts]
    if all(error is None for errors in found.values() for error in errors):
        return None
    names = [city.name for city in drawn]
    return Chart(
        id="relative-errors",
        title="How well built-up land and population are known",
        kind="bars",
        caption="Relative standard errors in the last year. No bar: the error is not known, intervals are without it.",
        x=Axis(label="city", categories=names),
        y=Axis(label="relative standard error"),
        series=[
            Series(name=label, y=[found[name][index] for name in names])
            for index, label in enumerate(("built-up land", "population"))
        ],
        table=ChartTable(
            columns=["city", "built-up land", "population"],
            rows=[
                [name, *("-" if error is None else f"{error:.1%}" for error in errors)]
                for name, errors in found.items()
            ],
        ),
    )


def _ratios(cities: Sequence[City], drawn: Sequence[City], form: str, confidence: float) -> Chart | None:
    if not cities:
        return None
    last = {city.name: city.periods[-1] for city in cities}
    rows = []
    for city in cities:
        for period in city.periods:
            entry = period.forms[form]
            ratio = f"undefined: {entry.undefined}" if entry.ratio is None else f"{entry.ratio:.3f}"
            years = f"{period.years[0]}-{period.years[1]}"
            ends = str(entry.ratios) if period.any_known else "-"
            rows.append([city.name, years, ratio, ends, entry.reading.text])
    first, final = last[cities[0].name].years
    known = any(period.any_known for period in last.values())
    return Chart(
        id="ratio",
        title="Land consumption rate over population growth rate (SDG 11.3.1)",
        kind="bars",
        caption=f"{first} to {final}, {form} form; whiskers are {confidence:.0%} intervals (Fieller) where "
        "an error is known. Above 1 land grows faster than people where both grow; other signs are read in the table. "
        "No bar: the ratio is undefined.",
        x=Axis(label="city", categories=[city.name for city in drawn]),
        y=Axis(label="ratio"),
        series=[
            Series(
                name="LCR / PGR",
                y=[last[city.name].forms[form].ratio for city in drawn],
                low=[_end(last[city.name], form, "low") for city in drawn] if known else None,
                high=[_end(last[city.name], form, "high") for city in drawn] if known else None,
            )
        ],
        table=ChartTable(columns=["city", "years", "ratio", "interval", "reading"], rows=rows),
    )


def _end(period: PeriodFigures, form: str, which: str) -> float | None:
    entry = period.forms[form]
    if entry.ratio is None or entry.ratios.kind != "interval" or not period.any_known:
        return None
    return entry.ratios.low if which == "low" else entry.ratios.high


def _growth(cities: Sequence[City], drawn: Sequence[City]) -> Chart | None:
    if not cities:
        return None
    totals = {
        city.name: [sum(part.areas_m2[name] for part in city.measured.growth.values()) / 1e4 for name in GROWTH_TYPES]
        for city in cities
    }
    return Chart(
        id="growth-types",
        title="New built-up land by type of growth",
        kind="bars",
        caption="Mapped areas over all periods: infill has at least half of its perimeter along older built-up land, "
        "extension less, leapfrog none.",
        x=Axis(label="city", categories=[city.name for city in drawn]),
        y=Axis(label="new built-up land", unit="ha"),
        series=[
            Series(name=name, y=[totals[city.name][index] for city in drawn]) for index, name in enumerate(GROWTH_TYPES)
        ],
        table=ChartTable(
            columns=["city", *(f"{name}, ha" for name in GROWTH_TYPES)],
            rows=[[name, *(f"{value:,.2f}" for value in values)] for name, values in totals.items()],
        ),
    )


def _open_space(cities: Sequence[City], drawn: Sequence[City]) -> Chart | None:
    found = {city.name: city.open_space.share for city in cities if city.open_space is not None}
    if not found:
        return None
    chosen = [city.name for city in drawn if city.name in found]
    known = all(found[name].standard_error == found[name].standard_error for name in chosen)
    return Chart(
        id="open-space",
        title="Open space and streets in the city (SDG 11.7.1)",
        kind="bars",
        caption="A map shows that a place is open, not that it is public.",
        x=Axis(label="city", categories=chosen),
        y=Axis(label="share", limits=(0.0, 1.0)),
        series=[
            Series(
                name="open space and streets",
                y=[found[name].value for name in chosen],
                low=[found[name].low for name in chosen] if known else None,
                high=[found[name].high for name in chosen] if known else None,
            )
        ],
        table=ChartTable(
            columns=["city", "share"], rows=[[name, f"{share.value:.1%}"] for name, share in found.items()]
        ),
    )


def _published() -> Chart:
    return Chart(
        id="published-ratios",
        title="Published ratios for comparison: Beijing-Tianjin-Hebei",
        kind="table",
        caption=f"Published, not computed here: {BEIJING_TIANJIN_HEBEI_SOURCE}.",
        table=ChartTable(
            columns=["region", "years", "published ratio"],
            rows=[[p.place, f"{p.years[0]}-{p.years[1]}", f"{p.ratio:.3f}"] for p in BEIJING_TIANJIN_HEBEI],
        ),
    )
