"""Tables of error bars and intervals of numbers, for pages and terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ecumene.viewer.report import Table

_BARS = {
    "uncertainty_calibration_error": "uncertainty calibration error (UCE)",
    "area_under_calibration_error": "area under the calibration error (AUCE)",
    "normalised_calibration_error": "normalised calibration error (ENCE)",
    "miscalibration_area": "miscalibration area",
    "crps": "continuous ranked probability score",
    "negative_log_likelihood": "negative log-likelihood",
    "mean_standard_deviation": "mean error bar",
}
_KINDS = {"none": "left as they are", "factor": "multiplied by one factor", "isotonic": "mapped isotonically"}


def _text(value: Any, pattern: str = ".3f") -> str:
    return "-" if value is None else format(value, pattern)


def bar_table(before: Mapping[str, Any], after: Mapping[str, Any], kind: str, unit: str = "") -> Table:
    """Return how honest error bars are before and after recalibration.

    Args:
        before: Figures of `regression.bar_figures` of the bare model.
        after: The same of the model as it maps.
        kind: `none`, `factor` or `isotonic`.
        unit: Of the number.
    """
    rows = [[text, _text(before.get(key)), _text(after.get(key))] for key, text in _BARS.items() if key in after]
    share = "within_one_standard_deviation"
    rows.append(["truth within one error bar", _text(before.get(share), ".1%"), _text(after.get(share), ".1%")])
    ause = [part.get("ause", (part.get("sparsification") or {}).get("ause")) for part in (before, after)]
    rows.append(["AUSE of the root mean squared error", *(_text(entry) for entry in ause)])
    text = f"The predicted variances were {_KINDS.get(kind, kind)}. 0 is best for errors; 68 % for the share."
    text += f" Unit: {unit}." if unit not in ("", "1") else ""
    return Table("Error bars", ("", "before", "after"), rows, text)


def interval_table(found: Mapping[str, Any]) -> Table:
    """Return how often intervals hold the truth; figures of `regression.interval_figures`."""
    rows = [
        ["wanted coverage", _text(found["wanted_coverage"], ".1%")],
        ["coverage of all pixels", _text(found["coverage"], ".1%")],
        ["mean coverage of the blocks", _text(found.get("coverage_mean_of_blocks"), ".1%")],
        ["worst block", _text(found.get("coverage_worst_block"), ".1%")],
        ["mean width", _text(found["mean_width"])],
        ["width of one interval for all, without inputs", _text(found.get("width_without_inputs"))],
        ["interval score", _text(found.get("interval_score"))],
    ]
    promised = found.get("promised_coverage")
    text = "How often the interval of a pixel holds the truth."
    if promised is not None:
        text += f" Promised to a new block: {promised:.0%}."
    return Table("Intervals", ("", ""), rows, text)


def card_tables(accuracy: Mapping[str, Any]) -> list[Table]:
    """Return the tables that the figures of a card of numbers allow."""
    tables = []
    bars = accuracy.get("error_bars")
    if bars and "error_bars_before" in accuracy:
        tables.append(bar_table(accuracy["error_bars_before"], bars, str(bars.get("recalibration", "none"))))
    if bars and "coverage_mean_of_blocks" in accuracy.get("intervals", {}):
        tables.append(interval_table(accuracy["intervals"]))
    return tables


def error_rows(errors: Mapping[str, Any]) -> list[list[str]]:
    """Return rows (name, value, interval) of a regression report as a dictionary."""
    names = {"bias": "bias", "mae": "mean absolute error", "rmse": "root mean squared error", "r2": "R2"}
    rows = []
    for key, name in names.items():
        ends = errors["intervals"].get(key, [None, None])
        rows.append([name, _text(errors[key]), "-" if None in ends else f"{ends[0]:.3f} to {ends[1]:.3f}"])
    return rows


def number_assessment_tables(figures: Mapping[str, Any]) -> list[Table]:
    """Return errors and intervals of an assessed map of numbers as text tables.

    Args:
        figures: Of `NumberAssessment.to_dict`.
    """
    unit = "" if figures["unit"] in ("", "1") else f", {figures['unit']}"
    caption = (
        f"{figures['errors']['count']} reference elements in {figures['blocks']} blocks, {figures['on_nodata']} on "
        f"nodata, {figures['outside_of_map']} outside; {figures['confidence']:.0%} intervals by block bootstrap. Bias: "
        "map minus reference."
    )
    tables = [
        Table(f"Errors of {figures['field']}{unit}", ("", "value", "interval"), error_rows(figures["errors"]), caption)
    ]
    bars = figures["error_bars"]
    if bars is not None:
        shown = [[text, _text(bars.get(key))] for key, text in _BARS.items() if key in bars]
        share = _text(bars["within_one_standard_deviation"], ".1%")
        tables.append(Table("Error bars", ("", ""), [*shown, ["truth within one error bar", share]]))
    if figures["intervals"] is not None:
        tables.append(interval_table(figures["intervals"]))
    return tables
