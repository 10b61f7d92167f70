"""The page of a trust report: pictures, tables, and what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ecumene.scenes.grid import full_window
from ecumene.viewer import diagrams
from ecumene.viewer import pictures as draw
from ecumene.viewer.curves import curve_picture
from ecumene.viewer.diagrams import reliability
from ecumene.viewer.report import Diagram, Picture, Report, Table, write_report
from ecumene.workflows.number_tables import bar_table, error_rows, interval_table
from ecumene.workflows.trust_pixels import Asker

_DISPLAY = (("B04", "B03", "B02"), ("B4", "B3", "B2"), ("B3", "B2", "B1"), ("red", "green", "blue"))
_LARGEST_OVERVIEW = 2048


def write_trust_page(path: Path, figures: Mapping[str, Any], asker: Asker) -> None:
    """Write the page.

    Args:
        path: `.html`.
        figures: Of `trust.json`.
        asker: Model and scenes, for legend and the picture of the places.
    """
    overview = _overview(figures["label_next"], asker)
    write_report(
        Report(
            diagrams=trust_diagrams(figures),
            title=f"How far to trust {figures['model']}",
            subtitle=figures["labels"]["sentence"],
            pictures=[overview] if overview else [],
            tables=trust_tables(figures),
            provenance=[
                ("model", str(figures["model"])),
                ("labels", f"{figures['labels']['file']} sha256 {figures['labels']['sha256']}"),
                ("strategy of the places", str(figures["label_next"]["strategy"])),
            ],
            notices=list(figures["notes"]),
        ),
        path,
    )


def _number(value: Any, pattern: str = ".3f") -> str:
    return "-" if value is None else format(value, pattern)


def trust_tables(figures: Mapping[str, Any]) -> list[Table]:
    """Return the tables of the report as text."""
    numbers = "error_bars" in figures
    tables = _number_tables(figures) if numbers else _class_tables(figures)
    if figures["outliers"]:
        tables.append(_outlier_table(figures["outliers"]))
    taught = figures.get("taught")
    if taught and taught["outliers"]:
        layer = f"TARDIS on the layer {taught['layer']}, taught with these wild scenes."
        tables.append(_outlier_table(taught["outliers"], "Outliers after teaching", layer))
    tables += _shift_tables(figures.get("shift") or {})
    if "cost" not in figures:  # images, which are not mapped and have no places
        return tables
    cost = figures["cost"]
    rows = [
        ["plain map", f"{1000 * cost['plain_seconds']:.1f} ms"],
        [
            f"with error bar, {'interval' if numbers else 'class set'} and outlier flag",
            f"{1000 * cost['whole_seconds']:.1f} ms",
        ],
        ["ratio", f"{cost['ratio']:.2f}"],
    ]
    text = (
        f"A window of {cost['window'][0]} x {cost['window'][1]} pixels without reading and writing, measured in turns."
    )
    tables.append(Table("What trust costs", ("", "time"), rows, text))
    tables.append(_number_places(figures) if numbers else _places_table(figures["label_next"]))
    return tables


def _class_tables(figures: Mapping[str, Any]) -> list[Table]:
    tables = [_calibration_table(figures["calibration"])]
    if figures["class_sets"]:
        tables += _set_tables(figures["class_sets"])
    curve = figures["sparsification"]
    rows = [["error rate of all pixels", f"{curve['error_rate']:.1%}"]]
    rows += [
        [f"error rate of the most certain {share:.0%}", f"{_at(curve['share'], curve['error'], share):.1%}"]
        for share in (0.9, 0.75, 0.5)
    ]
    rows += [["AUSE", _number(curve["ause"])], ["AUROC of errors", _number(curve.get("auroc_of_errors"))]]
    text = "Leaving out what the model doubts: AUSE 0 and AUROC 1 would be an uncertainty that knows every error."
    tables.append(Table("Does the error bar know the errors?", ("", ""), rows, text))
    return tables


def _number_tables(figures: Mapping[str, Any]) -> list[Table]:
    bars, errors, number = figures["error_bars"], figures["errors"], figures["number"]
    caption = f"{errors['pixels']} pixels in {errors['blocks']} blocks; 95 % intervals by block bootstrap."
    unit = "" if number["unit"] == "1" else f", {number['unit']}"
    tables = [
        Table(f"Errors of {number['name']}{unit}", ("", "value", "interval"), error_rows(errors), caption),
        bar_table(bars["before"], bars["after"], bars["recalibration"], number["unit"]),
    ]
    return tables + ([interval_table(figures["intervals"])] if figures["intervals"] else [])


def _number_places(figures: Mapping[str, Any]) -> Table:
    found, number = figures["label_next"], figures["number"]
    rows = [
        [
            str(place["rank"]),
            f"{place['predicted']:.3g}",
            f"{place['deviation']:.2g}",
            f"{place['outlier_share']:.0%}",
            place["reason"],
        ]
        for place in found["places"]
    ]
    text = (
        f"The most useful of {found['candidates']} places without a label; label_next.gpkg has them as polygons, "
        f"with an empty column for {number['name']} to fill in."
    )
    return Table("Where to label next", ("rank", "model says", "error bar", "outliers", "why"), rows, text)


def _at(share: Sequence[float], error: Sequence[float], wanted: float) -> float:
    return float(np.interp(wanted, share, error))


def _calibration_table(found: Mapping[str, Any]) -> Table:
    names = {
        "expected_calibration_error": "expected calibration error",
        "classwise_calibration_error": "class-wise calibration error",
        "negative_log_likelihood": "negative log-likelihood",
        "brier_score": "Brier score",
    }
    rows = [[text, _number(found["before"][key]), _number(found["after"][key])] for key, text in names.items()]
    accuracy = f"overall accuracy {found['overall_accuracy']:.1%}"
    text = f"{found['pixels']} pixels in {found['blocks']} blocks; {accuracy}. 0 is best."
    return Table("Calibration", ("", "before", "after"), rows, text)


def _set_tables(found: Mapping[str, Any]) -> list[Table]:
    rows = [
        ["wanted coverage", f"{found['wanted_coverage']:.1%}"],
        ["coverage of all pixels", f"{found['coverage']:.1%}"],
        ["mean coverage of the blocks", _number(found["mean_coverage_over_blocks"], ".1%")],
        ["worst block", _number(found["worst_block"], ".1%")],
        ["classes in a set, mean", _number(found["mean_size"], ".2f")],
        ["classes needed by who knows only their shares", str(found["size_from_shares_alone"])],
        ["sets of one class", f"{found['single_class_share']:.1%}"],
    ]
    classes = [[name, f"{share:.1%}"] for name, share in found["coverage_per_class"].items()]
    return [
        Table("Class sets", ("", ""), rows, "How often the set of a pixel holds its true class."),
        Table("Class sets by true class", ("class", "coverage"), classes),
    ]


def _outlier_table(found: Mapping[str, Any], title: str = "Outliers", more: str = "") -> Table:
    rows = [["held-out labels (false alarms)", f"{found['false_alarm_rate']:.1%}", "", ""]]
    for name, scene in found["scenes"].items():
        rows.append([name, f"{scene['flagged_share']:.1%}", f"{scene['auroc']:.3f}", f"{scene['fpr_at_95_tpr']:.1%}"])
    text = (
        "AUROC: chance that a pixel of the wild scene looks stranger than one of the held-out labels; 0.5 is a guess."
    )
    text = f"{more} {text}".strip()
    return Table(title, ("pixels", "flagged", "AUROC", "false alarms at 95 % found"), rows, text)


def _shift_tables(found: Mapping[str, Any]) -> list[Table]:
    rows = [[name, str(report.get("sentence", ""))] for name, report in found.items()]
    return [Table("How the scenes differ from the training data", ("scene", ""), rows)] if rows else []


def _places_table(found: Mapping[str, Any]) -> Table:
    rows = [
        [
            str(place["rank"]),
            place["suggested"],
            f"{place['margin_doubt']:.2f}",
            f"{place['outlier_share']:.0%}",
            place["reason"],
        ]
        for place in found["places"]
    ]
    text = (
        f"The most useful of {found['candidates']} places without a label; label_next.gpkg has them as polygons, "
        "with an empty column class to fill in."
    )
    return Table("Where to label next", ("rank", "model says", "doubt", "outliers", "why"), rows, text)


def trust_diagrams(figures: Mapping[str, Any]) -> list[Diagram]:
    """Return reliability (of numbers: the histogram of PIT), sparsification and outlier curves, with their numbers."""
    scenes = (figures["outliers"] or {}).get("scenes", {})
    wild = [_outlier_curves(scenes)] if scenes else []
    if "error_bars" in figures:
        pit = diagrams.pit(figures["error_bars"]["after"]["pit_histogram"])
        curve = diagrams.sparsification(figures["sparsification"], "the root mean squared error")
        return [shown for shown in (pit, curve) if shown is not None] + wild
    before, after = figures["calibration"]["before"], figures["calibration"]["after"]
    shown = reliability(
        {
            "reliability": after["reliability"],
            "reliability_before": before["reliability"],
            "scaling": "identity" if before == after else "fitted",
            "expected_calibration_error": after["expected_calibration_error"],
            "expected_calibration_error_before": before["expected_calibration_error"],
        }
    )
    result = [] if shown is None else [shown]
    return [*result, _sparsification(figures["sparsification"]), *wild]


def _sparsification(curve: Mapping[str, Any]) -> Diagram:
    curves = {
        "by uncertainty": (curve["share"], curve["error"]),
        "-if errors were known": (curve["share"], curve["oracle"]),
    }
    rows = [
        [f"{share:.0%}", f"{_at(curve['share'], curve['error'], share):.1%}"]
        for share in (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
    ]
    return Diagram(
        "Does the uncertainty know the errors?",
        "Sparsification curve",
        curve_picture(curves, "share of the pixels kept, most certain first", "error rate"),
        f"Errors among the most certain pixels of the held-out labels. AUSE {curve['ause']:.3f}.",
        Table("Error rate", ("most certain pixels", "error rate"), rows),
    )


def _outlier_curves(scenes: Mapping[str, Any]) -> Diagram:
    curves = {name: (scene["false_positive_rate"], scene["true_positive_rate"]) for name, scene in scenes.items()}
    rows = [
        [name, f"{alarm:.0%}", f"{_at(scene['false_positive_rate'], scene['true_positive_rate'], alarm):.1%}"]
        for name, scene in scenes.items()
        for alarm in (0.02, 0.05, 0.1, 0.2)
    ]
    return Diagram(
        "Is what is strange noticed?",
        "Receiver operating characteristic",
        curve_picture(curves, "held-out pixels flagged", "wild pixels flagged", diagonal=True, square=True),
        "Pixels of wild scenes that are flagged, against false alarms on held-out labels, for every threshold.",
        Table("Flagged", ("scene", "false alarms", "wild pixels flagged"), rows),
    )


def _overview(found: Mapping[str, Any], asker: Asker) -> Picture | None:
    """Mark the places on the scene; None for a scene that is too large to show whole."""
    stack = asker.stack
    names = {channel.band: position for position, channel in enumerate(stack.channels)}
    triple = next((bands for bands in _DISPLAY if set(bands) <= set(names)), None)
    if max(stack.geobox.shape) > _LARGEST_OVERVIEW or triple is None or not found["places"]:
        return None
    frame = stack.read(full_window(stack.geobox)).image[-1]
    colours = np.stack([frame[names[band]] for band in triple])
    finite = np.isfinite(colours).all(axis=0)
    low, high = (np.percentile(colours[:, finite], q, axis=1) if finite.any() else np.zeros(3) + q for q in (2, 98))
    pixels = np.clip((colours - low[:, None, None]) / np.maximum(high - low, 1e-9)[:, None, None], 0, 1)
    picture = (np.moveaxis(np.nan_to_num(pixels), 0, -1) * 255).astype(np.uint8)
    for place in found["places"]:
        row, col, side = place["row"], place["column"], found["pixels_on_a_side"]
        picture[max(0, row - 1) : row + side + 1, max(0, col - 1) : col + side + 1] = (213, 94, 0)
    return Picture("Where to label next", draw.to_png(picture), "The chosen places in orange on the scene.")
