"""Tables of an assessment, from its figures as `assess` writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ecumene.core.errors import ProductError
from ecumene.viewer.report import Table
from ecumene.workflows.assess import Assessment
from ecumene.workflows.assess_numbers import NumberAssessment
from ecumene.workflows.number_tables import number_assessment_tables

HECTARE_M2 = 1e4


def percent(estimate: Mapping[str, Any]) -> str:
    """Return `value ± margin` of a share in percent; `-` where it is unknown."""
    if estimate["value"] is None:
        return "-"
    margin = estimate.get("margin")
    return f"{estimate['value']:.1%}" + ("" if margin is None else f" ± {margin:.1%}")


def hectares(estimate: Mapping[str, Any]) -> str:
    """Return `value ± margin` of an area in square metres as hectares; `-` where it is unknown."""
    if estimate["value"] is None:
        return "-"
    margin = estimate.get("margin")
    text = f"{estimate['value'] / HECTARE_M2:,.1f}"
    return text if margin is None else f"{text} ± {margin / HECTARE_M2:,.1f}"


def assessment_tables(assessment: Assessment | NumberAssessment | Mapping[str, Any]) -> list[Table]:
    """Return accuracy, areas and confusion matrix of an assessment, or errors of numbers, as text tables.

    Args:
        assessment: An assessment, or the figures that its `to_dict` gave.

    Raises:
        ProductError: If the figures are not those of an assessment.
    """
    figures = assessment if isinstance(assessment, Mapping) else assessment.to_dict()
    try:
        if "errors" in figures:
            return number_assessment_tables(figures)
        return [_accuracy(figures), _areas(figures), _matrix(figures["accuracy"])]
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise ProductError("The assessment lacks figures; write it again with: ecumene assess --out.") from error


def _accuracy(figures: Mapping[str, Any]) -> Table:
    plain, adjusted = figures["accuracy"], figures["area_adjusted"]
    overall = plain["overall"]
    rows = []
    for name in plain["class_names"]:  # the order of the legend, which a JSON object need not keep
        found = adjusted["classes"][name]
        f1 = plain["classes"][name]["f1"]
        text = "-" if f1 is None else f"{f1:.3f}"
        rows.append([name, percent(found["users_accuracy"]), percent(found["producers_accuracy"]), text])
    kappa = overall["kappa"]["value"]
    caption = (
        f"Overall accuracy, area-adjusted: {percent(adjusted['overall_accuracy'])}; of the sample: "
        f"{overall['overall_accuracy']['value']:.1%}; kappa {'-' if kappa is None else format(kappa, '.3f')}; "
        f"{figures['sample_size']} reference elements; {adjusted['confidence']:.0%} intervals (Olofsson et al. 2014)."
    )
    return Table("Accuracy", ("class", "user's accuracy", "producer's accuracy", "F1 of the sample"), rows, caption)


def _areas(figures: Mapping[str, Any]) -> Table:
    adjusted, hybrid = figures["area_adjusted"], figures.get("areas_with_probabilities")
    found = [(name, adjusted["classes"][name]) for name in figures["accuracy"]["class_names"]]
    rows = [
        [name, f"{(areas['mapped_area'] or 0.0) / HECTARE_M2:,.1f}", hectares(areas["area"])] for name, areas in found
    ]
    columns: tuple[str, ...] = ("class", "mapped, ha", "estimated, ha")
    notes = " ".join(adjusted["warnings"])
    if hybrid:
        columns += ("with probabilities, ha",)
        rows = [[*row, hectares(area)] for row, area in zip(rows, hybrid["areas_m2"], strict=True)]
        said = " ".join(hybrid["warnings"])
        notes = f"{notes} With probabilities: the same sample, sharpened by the map's own. {said}"
    caption = f"Estimated: corrected for the map's errors, {adjusted['confidence']:.0%} intervals. {notes.strip()}"
    return Table("Areas", columns, rows, caption.strip())


def _matrix(plain: Mapping[str, Any]) -> Table:
    names = plain["class_names"]
    rows = [[name, *map(str, counts)] for name, counts in zip(names, plain["confusion_matrix"], strict=True)]
    caption = "Reference elements by their class (rows) and the map's (columns)."
    return Table("Confusion matrix", ("reference \\ map", *names), rows, caption)
