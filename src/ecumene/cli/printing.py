"""Tables on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as Drawn

    from ecumene.mapping.product import Product
    from ecumene.models.bundle import Model
    from ecumene.viewer.report import Table
    from ecumene.workflows.assess import Assessment
    from ecumene.workflows.assess_numbers import NumberAssessment


def print_training(model: Model, out: Path) -> None:
    """Print what was trained and how good it is on held-out blocks."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    training = model.spec.training
    accuracy = training.get("accuracy", {})
    console.print(f"{training.get('system')} trained; the model is in {out}", highlight=False, soft_wrap=True)
    for note in training.get("notes", []):
        console.print(f"note: {note}", highlight=False, soft_wrap=True)
    if not accuracy:
        console.print("No test pixel was left, so nothing is known about its accuracy.")
        return
    if "errors" in accuracy:
        console.print(_number_table(accuracy))
        return
    overall = accuracy["overall"]
    table = Table("held-out blocks", "")
    table.add_row("pixels", str(accuracy["pixels"]))
    for key in ("overall_accuracy", "macro_f1", "kappa", "mean_iou"):
        entry = overall[key]
        interval = entry.get("block_interval")
        text = "-" if entry["value"] is None else f"{entry['value']:.3f}"
        if interval and None not in interval:
            text += f"  [{interval[0]:.3f}, {interval[1]:.3f}]"
        table.add_row(key.replace("_", " "), text)
    calibration = accuracy["calibration"]
    table.add_row(
        "expected calibration error",
        f"{calibration['expected_calibration_error_before']:.3f} -> {calibration['expected_calibration_error']:.3f}",
    )
    if "class_sets" in accuracy:
        sets = accuracy["class_sets"]
        table.add_row(
            f"{sets['wanted_coverage']:.0%} class sets",
            f"cover {sets['coverage']:.1%}, {sets['mean_size']:.2f} classes",
        )
    if "outlier" in accuracy:
        table.add_row("flagged as outlier", f"{accuracy['outlier']['flagged_share_in_distribution']:.1%}")
    console.print(table)


def _number_table(accuracy: Mapping[str, Any]) -> Drawn:
    """Return what is known of a regression's errors and error bars."""
    from rich.table import Table

    table = Table("held-out blocks", "")
    table.add_row("pixels", str(accuracy["pixels"]))
    errors = accuracy["errors"]
    for key in ("rmse", "mae", "bias", "r2"):
        low_high = errors["intervals"].get(key, [None, None])
        text = "-" if errors[key] is None else f"{errors[key]:.3f}"
        table.add_row(key, text if None in low_high else f"{text}  [{low_high[0]:.3f}, {low_high[1]:.3f}]")
    bars = accuracy["error_bars"]
    table.add_row("mean error bar", f"{bars['mean_standard_deviation']:.3f}")
    table.add_row("truth within it", f"{bars['within_one_standard_deviation']:.1%}")
    before, key = accuracy["error_bars_before"], "uncertainty_calibration_error"
    table.add_row(f"error bars ({bars['recalibration']})", f"UCE {before[key]:.3f} -> {bars[key]:.3f}")
    table.add_row("CRPS", f"{bars['crps']:.3f}")
    if "intervals" in accuracy:
        found = accuracy["intervals"]
        text = f"cover {found['coverage']:.1%}, width {found['mean_width']:.3f}"
        table.add_row(f"{found['wanted_coverage']:.0%} intervals", text)
        worst = found["coverage_worst_block"]
        text = f"{found['coverage_mean_of_blocks']:.1%}, worst {'-' if worst is None else format(worst, '.1%')}"
        table.add_row("coverage of blocks", text)
    if "outlier" in accuracy:
        table.add_row("flagged as outlier", f"{accuracy['outlier']['flagged_share_in_distribution']:.1%}")
    return table


def print_product(product: Product) -> None:
    """Print the layers of a product."""
    from rich.console import Console
    from rich.table import Table

    table = Table("layer", "what", "unit", title=f"product in {product.folder}", title_justify="left")
    for layer in product.layers.values():
        table.add_row(layer.name, layer.description, layer.unit)
    Console().print(table)


def print_tables(console: Console, tables: Iterable[Table]) -> None:
    """Print the tables of a report."""
    from rich.table import Table as Drawn

    for part in tables:
        drawn = Drawn(
            *part.columns, title=part.title, title_justify="left", caption=part.caption, caption_justify="left"
        )
        for row in part.rows:
            drawn.add_row(*row)
        console.print(drawn)


def print_assessment(assessment: Assessment | NumberAssessment) -> None:
    """Print accuracy, areas and confusion matrix, or errors and coverage of numbers."""
    from rich.console import Console

    from ecumene.workflows.assessment_tables import assessment_tables

    print_tables(Console(), assessment_tables(assessment))
