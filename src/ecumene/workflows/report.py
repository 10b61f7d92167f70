"""The report of a product: gathers what the page shows from product, model card and assessment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ecumene.indicators.areas import class_areas
from ecumene.indicators.areas_expected import calibrated_areas, expected_areas
from ecumene.indicators.olofsson import Estimate
from ecumene.mapping.product import Product
from ecumene.models.bundle import Model
from ecumene.scenes.contract import SceneSource
from ecumene.scenes.reading import read_bands
from ecumene.viewer import diagrams
from ecumene.viewer import pictures as draw
from ecumene.viewer.report import Diagram, Picture, Report, Table, write_report
from ecumene.workflows.assess import Assessment
from ecumene.workflows.assess_numbers import NumberAssessment
from ecumene.workflows.number_tables import card_tables, number_assessment_tables

_DISPLAY = (("B04", "B03", "B02"), ("B4", "B3", "B2"), ("B3", "B2", "B1"), ("red", "green", "blue"))


def scene_picture(source: SceneSource) -> Picture | None:
    """Show a scene in natural colours, or in its first band; None for a scene without bands."""
    from ecumene.scenes.stack import with_resolution

    geobox = source.geobox
    longest = max(geobox.shape)
    if longest > draw.LONGEST_SIDE:
        geobox = with_resolution(geobox, abs(geobox.resolution.x) * longest / draw.LONGEST_SIDE)
    names = next((triple for triple in _DISPLAY if set(triple) <= set(source.band_names)), source.band_names[:1])
    if not names:
        return None
    image = read_bands(source, names, geobox)
    when = "undated" if source.time is None else str(source.time)[:10]
    caption = (
        f"{source.sensor} {source.level}, {when}, {', '.join(names)}, stretched between the 2 % and 98 % quantiles."
    )
    if len(names) == 3:
        return Picture("Scene", draw.composite_picture(image), caption)
    finite = image[0][np.isfinite(image[0])]
    low, high = np.percentile(finite, (2, 98)) if finite.size else (0.0, 1.0)
    return Picture("Scene", draw.ramp_picture(image[0], float(low), float(high), "gray"), caption)


def product_pictures(product: Product) -> list[Picture]:
    """Show value, uncertainty, outlier flag and class-set size of a product."""
    shown: list[Picture] = []
    value = draw.read_reduced(product.path("value"))
    if product.legend is not None:
        shown.append(Picture("Map", draw.class_picture(value, product.legend), "The most probable class."))
    else:
        low, high = np.nanpercentile(value, (2, 98))
        unit = product.layers["value"].unit
        shown.append(
            Picture("Map", draw.ramp_picture(value, float(low), float(high)), f"{low:.3g} to {high:.3g} {unit}.")
        )
    uncertainty = draw.read_reduced(product.path("uncertainty"))
    top = 1.0 if product.legend is not None else float(np.nanpercentile(uncertainty, 98))
    unit = "1 = any class" if product.legend is not None else product.layers["uncertainty"].unit
    caption = f"Dark: sure, bright: unsure (0 to {top:.3g}; {unit}). Mean {np.nanmean(uncertainty):.3f}."
    shown.append(Picture("Uncertainty", draw.ramp_picture(uncertainty, 0.0, top, "cividis"), caption))
    if "outlier" in product.layers:
        flags = draw.read_reduced(product.path("outlier"))
        caption = f"Orange: the model has seen nothing like this ({np.nanmean(flags):.1%} of the valid pixels)."
        shown.append(Picture("Outliers", draw.flag_picture(flags), caption))
    return shown


def _percent(estimate: Estimate) -> str:
    return f"{estimate.value:.1%} ± {estimate.margin:.1%}" if np.isfinite(estimate.margin) else f"{estimate.value:.1%}"


def _hectares(estimate: Estimate) -> str:
    return f"{estimate.value / 1e4:,.1f} ± {estimate.margin / 1e4:,.1f}"


def assessment_tables(assessment: Assessment | NumberAssessment) -> list[Table]:
    """Accuracy, areas and confusion matrix of an assessment, or errors of numbers, as text tables."""
    if isinstance(assessment, NumberAssessment):
        return number_assessment_tables(assessment)
    adjusted, plain = assessment.adjusted, assessment.accuracy
    names = assessment.legend.names
    rows = [
        [name, _percent(adjusted.users[i]), _percent(adjusted.producers[i]), f"{float(plain.measures['f1'][i]):.3f}"]
        for i, name in enumerate(names)
    ]
    caption = (
        f"Overall accuracy, area-adjusted: {_percent(adjusted.overall)}; of the sample: "
        f"{assessment.measure('overall_accuracy'):.1%}; kappa {assessment.measure('kappa'):.3f}; "
        f"{assessment.sample_size} reference elements; {adjusted.confidence:.0%} intervals (Olofsson et al. 2014)."
    )
    accuracy = Table("Accuracy", ("class", "user's accuracy", "producer's accuracy", "F1 of the sample"), rows, caption)
    area_rows = [
        [name, f"{adjusted.mapped_areas[i] / 1e4:,.1f}", _hectares(adjusted.areas[i])] for i, name in enumerate(names)
    ]
    columns: tuple[str, ...] = ("class", "mapped, ha", "estimated, ha")
    notes = " ".join(adjusted.warnings)
    hybrid = assessment.with_probabilities
    if hybrid is not None:
        columns += ("with probabilities, ha",)
        area_rows = [[*row, _hectares(hybrid.areas[i])] for i, row in enumerate(area_rows)]
        notes = " ".join((notes, "With probabilities: the same sample, sharpened by the map's own.", *hybrid.warnings))
    caption = f"Estimated: corrected for the map's errors, {adjusted.confidence:.0%} intervals. {notes}"
    areas = Table("Areas", columns, area_rows, caption)
    matrix_rows = [[name, *(str(count) for count in plain.matrix[i])] for i, name in enumerate(names)]
    matrix = Table("Confusion matrix", ("reference \\ map", *names), matrix_rows)
    return [accuracy, areas, matrix]


def trust_diagrams(accuracy: Mapping[str, Any]) -> list[Diagram]:
    """Return the diagrams that the figures of a model's card allow."""
    bars = accuracy.get("error_bars", {})
    shown = (
        diagrams.reliability(accuracy.get("calibration", {})),
        diagrams.sparsification(accuracy.get("sparsification")),
        diagrams.pit(bars.get("pit_histogram")),
        diagrams.sparsification(bars.get("sparsification"), "the root mean squared error"),
    )
    return [diagram for diagram in shown if diagram is not None]


def probability_areas(product: Product, model: Model | None, confidence: float = 0.95) -> Table | None:
    """Return areas from the map's probabilities and its model's calibration blocks; None where either is missing."""
    residuals = getattr(getattr(model, "calibration", None), "residuals", None)
    legend = product.legend
    if residuals is None or legend is None or "probability" not in product.layers:
        return None
    sums = expected_areas(product.path("probability"), len(legend))
    found = calibrated_areas(sums, residuals, confidence)
    mapped = class_areas(product.path("value"), legend).for_legend(legend)
    rows = [
        [name, f"{mapped[i] / 1e4:,.1f}", f"{found.expected_m2[i] / 1e4:,.1f}", _hectares(found.areas[i])]
        for i, name in enumerate(legend.names)
    ]
    caption = (
        "Without a reference sample. Expected: sum of the probabilities; estimated: corrected by what the calibration "
        f"blocks show, {confidence:.0%} intervals that include the classification's uncertainty. {found.warnings[0]}"
    )
    return Table("Areas from probabilities", ("class", "mapped, ha", "expected, ha", "estimated, ha"), rows, caption)


def _provenance(product: Product, model: Model | None) -> list[tuple[str, str]]:
    rows = [("product", product.folder.name), ("made", str(product.properties.get("created", "")))]
    links = [link for link in product.item.get("links", []) if link.get("rel") == "derived_from"]
    rows += [("input", str(link.get("title") or link.get("href"))) for link in links]
    if model is not None:
        training = model.spec.training
        rows += [
            ("model", f"{model.spec.name} ({training.get('system', model.spec.kind)})"),
            ("trained", f"{model.spec.created}, seed {training.get('seed')}"),
            ("bands", ", ".join(band.key for band in model.spec.inputs)),
        ]
        files = [item for scene in training.get("scenes", []) for item in scene.get("files", {}).items()]
        rows += [("training scene", f"{name} sha256 {digest}") for name, digest in files]
        rows += [("software", ", ".join(f"{key} {value}" for key, value in training.get("versions", {}).items()))]
    return rows


def make_report(
    product: Product,
    path: Path,
    *,
    title: str,
    subtitle: str = "",
    scenes: Sequence[SceneSource] = (),
    model: Model | None = None,
    assessment: Assessment | NumberAssessment | None = None,
    notices: Sequence[str] = (),
    extra: Sequence[Picture] = (),
) -> Path:
    """Write one self-contained HTML page about a product.

    Args:
        product: What to show.
        path: The `.html` file.
        title: Heading.
        subtitle: One sentence below it.
        scenes: Inputs to show (the first ones).
        model: For provenance, the diagrams of trust and areas from probabilities.
        assessment: For accuracy and areas.
        notices: Sentences that must not be overlooked.
        extra: Further pictures.

    Returns:
        `path`.
    """
    shown = [picture for source in scenes[:2] if (picture := scene_picture(source)) is not None]
    shown += product_pictures(product) + list(extra)
    accuracy = model.spec.training.get("accuracy", {}) if model is not None else {}
    tables = assessment_tables(assessment) if assessment is not None else []
    names = product.legend.names if product.legend is not None else ()
    further = (probability_areas(product, model), diagrams.coverage_table(accuracy.get("class_sets"), names))
    tables += [table for table in further if table is not None] + card_tables(accuracy)
    report = Report(
        title=title,
        subtitle=subtitle,
        pictures=shown,
        tables=tables,
        provenance=_provenance(product, model),
        notices=list(notices) + list(accuracy.get("notes", [])),
        legend=product.legend,
        diagrams=trust_diagrams(accuracy),
    )
    return write_report(report, path)
