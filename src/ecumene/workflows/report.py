"""The report of a product: gathers what the page shows from description, charts, model and assessment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ecumene.indicators.areas import class_areas
from ecumene.indicators.areas_expected import calibrated_areas, expected_areas
from ecumene.mapping.product import Product
from ecumene.models.bundle import Model
from ecumene.scenes.contract import SceneSource
from ecumene.viewer import diagrams
from ecumene.viewer.chart_pictures import chart_diagram, chart_table
from ecumene.viewer.charts import product_charts
from ecumene.viewer.layer_pictures import product_pictures
from ecumene.viewer.layers import card_name, describe_product
from ecumene.viewer.places import is_georeferenced
from ecumene.viewer.report import Diagram, Picture, Report, Table, write_report
from ecumene.viewer.scene_pictures import scene_picture
from ecumene.workflows.assess import Assessment
from ecumene.workflows.assess_numbers import NumberAssessment
from ecumene.workflows.assessment_tables import HECTARE_M2, assessment_tables, hectares
from ecumene.workflows.number_tables import card_tables
from ecumene.workflows.report_provenance import facts, file_tables, layer_table, provenance_rows

_LARGEST_CARD = 1 << 20


def probability_areas(product: Product, model: Model | None, confidence: float = 0.95) -> Table | None:
    """Return areas from the map's probabilities and its model's calibration blocks; None where either is missing."""
    calibration = None if model is None else model.calibration
    residuals = None if calibration is None else calibration.residuals
    legend = product.legend
    if (
        residuals is None
        or legend is None
        or "probability" not in product.layers
        or not is_georeferenced(product.geobox)
    ):
        return None
    sums = expected_areas(product.path("probability"), len(legend))
    found = calibrated_areas(sums, residuals, confidence)
    mapped = class_areas(product.path("value"), legend).for_legend(legend)
    rows = [
        [
            name,
            f"{mapped[i] / HECTARE_M2:,.1f}",
            f"{found.expected_m2[i] / HECTARE_M2:,.1f}",
            hectares(found.areas[i].to_dict()),
        ]
        for i, name in enumerate(legend.names)
    ]
    caption = (
        "Without a reference sample. Expected: sum of the probabilities; estimated: corrected by what the calibration "
        f"blocks show, {confidence:.0%} intervals that include the classification's uncertainty. {found.warnings[0]}"
    )
    return Table("Areas from probabilities", ("class", "mapped, ha", "expected, ha", "estimated, ha"), rows, caption)


def _charts(charts: Sequence[Mapping[str, Any]]) -> tuple[list[Diagram], list[Table]]:
    """Return drawn charts, and as tables those that are tables only."""
    drawn = [(chart, chart_diagram(chart)) for chart in charts]
    tables = [chart_table(chart) for chart, diagram in drawn if diagram is None]
    return [diagram for _, diagram in drawn if diagram is not None], tables


def _card_text(product: Product) -> str:
    """Return the text of the model card inside the product, or an empty one."""
    key = card_name(product)
    if key is None:
        return ""
    path = product.folder / product.item["assets"][key]["href"]
    return path.read_text(encoding="utf-8", errors="replace") if path.stat().st_size < _LARGEST_CARD else ""


def make_report(
    product: Product,
    path: Path,
    *,
    title: str = "",
    subtitle: str = "",
    scenes: Sequence[SceneSource] = (),
    model: Model | None = None,
    assessment: Assessment | NumberAssessment | Mapping[str, Any] | None = None,
    notices: Sequence[str] = (),
    extra: Sequence[Picture] = (),
) -> Path:
    """Write one self-contained HTML page about a product.

    Args:
        product: What to show.
        path: The `.html` file.
        title: Heading; empty: the product's title.
        subtitle: One sentence below it; empty: how the product was made.
        scenes: Inputs to show (the first ones).
        model: For provenance, the charts of trust and areas from probabilities.
        assessment: For accuracy and areas: an assessment, or what its `to_dict` gave.
        notices: Sentences that must not be overlooked.
        extra: Further pictures.

    Returns:
        `path`.

    Raises:
        ProductError: If a layer cannot be read, or the page cannot be written.
    """
    description = describe_product(product)
    figures = assessment if assessment is None or isinstance(assessment, Mapping) else assessment.to_dict()
    accuracy = model.spec.training.get("accuracy", {}) if model is not None else {}
    drawn, tables = _charts(product_charts(product, accuracy, figures))
    tables += assessment_tables(figures) if figures is not None else []
    names = product.legend.names if product.legend is not None else ()
    further = (probability_areas(product, model), diagrams.coverage_table(accuracy.get("class_sets"), names))
    tables += [table for table in further if table is not None]
    tables += [replace(table, title=f"{table.title} on held-out blocks") for table in card_tables(accuracy)]
    report = Report(
        title=title or str(description["title"]),
        subtitle=subtitle or str(description["provenance"]["lineage"]),
        pictures=[picture for source in scenes[:2] if (picture := scene_picture(source)) is not None]
        + product_pictures(product.folder, description)
        + list(extra),
        tables=[*tables, layer_table(description)],
        provenance=provenance_rows(description, model),
        notices=[*notices, *description["warnings"], *accuracy.get("notes", [])],
        diagrams=drawn,
        facts=facts(description),
        origin=file_tables(description, model),
        card=_card_text(product),
    )
    return write_report(report, path)
