"""Writing ranked polygons: GeoPackage, GeoParquet, CSV, JSON and a page with a chart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecumene import __version__
from ecumene.core.files import atomic_path, write_json
from ecumene.viewer.chart_pictures import chart_diagram
from ecumene.viewer.charts import CHARTS_PROPERTY, Axis, Chart, ChartTable, Series
from ecumene.viewer.report import Report, Table, write_report

if TYPE_CHECKING:
    import geopandas

STEM = "verification"
JSON_NAME = f"{STEM}.json"
_SHOWN = 100
_STEPS = 10


def write_verification(
    out: Path,
    table: geopandas.GeoDataFrame,
    correlation: float,
    field_name: str,
    notes: Sequence[str],
    provenance: Mapping[str, Any],
) -> None:
    """Write everything into a folder; the JSON comes last.

    Args:
        out: The folder.
        table: Ranked polygons.
        correlation: Of the map's errors within a polygon.
        field_name: Column with the polygons' class.
        notes: Sentences that must not be overlooked.
        provenance: Inputs and options, JSON values.

    Raises:
        ProductError: If a file cannot be written.
    """
    (out / JSON_NAME).unlink(missing_ok=True)
    with atomic_path(out / f"{STEM}.gpkg") as path:
        table.to_file(path, driver="GPKG", layer=STEM, engine="pyogrio")
    with atomic_path(out / f"{STEM}.parquet") as path:
        table.to_parquet(path, index=False)
    plain = table.drop(columns=table.geometry.name)
    with atomic_path(out / f"{STEM}.csv") as path:
        plain.to_csv(path, index=False)
    charts = [_histogram(table), _by_class(table, field_name)]
    shown = [chart.model_dump(mode="json") for chart in charts]
    doubtful = int((table.probability_wrong > 0.5).sum())
    diagrams = [diagram for chart in shown if (diagram := chart_diagram(chart)) is not None]
    sentence = f"{doubtful} of {len(table)} polygons are more probably wrong than right, if the map means what it says."
    write_report(
        Report(
            title="Polygons against the map",
            subtitle=sentence,
            pictures=(),
            tables=[_most_doubtful(table, field_name)],
            provenance=[("software", f"ecumene {__version__}")],
            notices=list(notes),
            diagrams=diagrams,
            facts=[
                ("polygons", str(len(table))),
                ("more probably wrong than right", str(doubtful)),
                ("correlation of the map's errors within a polygon", f"{correlation:.2f}"),
            ],
            origin=[
                Table(
                    "Inputs",
                    ("file", "what", "SHA-256"),
                    [[entry["name"], entry["what"], entry["sha256"]] for entry in provenance["inputs"]],
                )
            ],
        ),
        out / f"{STEM}.html",
    )
    write_json(
        out / JSON_NAME,
        {
            "polygons": len(table),
            "more_probably_wrong_than_right": doubtful,
            "correlation_of_errors": correlation,
            "notes": list(notes),
            "provenance": dict(provenance),
            "software": {"ecumene": __version__},
            CHARTS_PROPERTY: shown,
        },
    )


def _number(value: float, text: str = "{:.3f}") -> str:
    return "-" if not math.isfinite(value) else text.format(value)


def _most_doubtful(table: geopandas.GeoDataFrame, field_name: str) -> Table:
    rows = [
        [str(row["rank"]), str(row["row"]), str(row[field_name]), str(row["mapped"]), str(row["pixels"]),
         _number(row["share_agrees"], "{:.1%}"), _number(row["p_value"], "{:.2g}"), _number(row["probability_wrong"])]
        for _, row in table.head(_SHOWN).iterrows()
    ]  # fmt: skip
    columns = ("rank", "row", field_name, "mapped mostly", "pixels", "agree", "p value", "probability wrong")
    return Table("Most doubtful polygons", columns, rows, f"The first {len(rows)}; all are in the files.")


def _histogram(table: geopandas.GeoDataFrame) -> Chart:
    """Return how many polygons agree to which share."""
    shares = table.share_agrees.to_numpy(dtype=float)
    shares = shares[np.isfinite(shares)]
    counts = np.histogram(shares, bins=_STEPS, range=(0.0, 1.0))[0]
    names = [f"{k * 10}-{k * 10 + 10} %" for k in range(_STEPS)]
    return Chart(
        id="agreement",
        title="Share of a polygon's pixels that agree",
        kind="bars",
        x=Axis(categories=names),
        y=Axis(label="polygons"),
        series=[Series(name="polygons", y=[float(n) for n in counts], colour="#0072b2")],
        table=ChartTable(
            columns=["share that agrees", "polygons"], rows=[[a, str(b)] for a, b in zip(names, counts, strict=True)]
        ),
    )


def _by_class(table: geopandas.GeoDataFrame, field_name: str) -> Chart:
    """Return the mean share that agrees by class, and how many polygons are doubtful."""
    judged = table[np.isfinite(table.share_agrees.to_numpy(dtype=float))]
    rows, names, means = [], [], []
    for name, part in sorted(judged.groupby(field_name), key=lambda entry: str(entry[0])):
        share = float(np.average(part.share_agrees, weights=part.pixels))
        names.append(str(name))
        means.append(share)
        rows.append([str(name), str(len(part)), f"{share:.1%}", str(int((part.probability_wrong > 0.5).sum()))])
    return Chart(
        id="agreement-by-class",
        title="Share of pixels that agree, by class",
        kind="bars",
        x=Axis(categories=names),
        y=Axis(label="share", limits=(0.0, 1.0)),
        series=[Series(name="share", y=means, colour="#009e73")],
        table=ChartTable(columns=[field_name, "polygons", "pixels that agree", "probably wrong"], rows=rows),
    )
