"""`ecumene train --extent`: settlement extent and zones by one network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ecumene.models.contract import ModelSpec

SYSTEM = "hse-lcz-mtl"
_SHOWN = ("overall_accuracy", "macro_f1", "kappa", "oa_built_or_natural", "settled_f1", "extent_mae", "extent_rmse")


def train(
    scenes: Sequence[str],
    zones: Path,
    extent: Path,
    out: Path,
    *,
    system: str,
    given: Sequence[str],
    **options: Any,
) -> None:
    """Train and print what is known of the model.

    Args:
        scenes: One path an acquisition.
        zones: Labels of the zones.
        extent: Raster of the share of settled ground.
        out: Folder of the bundle.
        system: As typed; `auto` is the one system that learns both.
        given: Options that were given and mean nothing here.
        **options: Of `train_settlement`.

    Raises:
        ConfigurationError: If an option that means nothing here was given.
    """
    from ecumene.core.progress import progress_bar
    from ecumene.workflows.given_options import refuse_others
    from ecumene.workflows.settlement import train_settlement

    refuse_others(given, (), "training with --extent")
    chosen = SYSTEM if system == "auto" else system
    with progress_bar("train") as progress:
        model = train_settlement(list(scenes), zones, extent, out, system=chosen, progress=progress, **options)
    _print(model.spec, out)


def _print(spec: ModelSpec, out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    console, accuracy = Console(), spec.training.get("accuracy", {})
    console.print(f"{spec.training.get('system')} trained; the model is in {out}", highlight=False, soft_wrap=True)
    for note in spec.training.get("notes", []):
        console.print(f"note: {note}", highlight=False, soft_wrap=True)
    if not accuracy:
        console.print("No test pixel was left, so nothing is known about its accuracy.")
        return
    table = Table("held-out blocks", "")
    table.add_row("pixels", str(accuracy["pixels"]))
    for name in _SHOWN:
        if accuracy.get(name) is not None:
            table.add_row(name.replace("_", " "), f"{accuracy[name]:.3f}")
    console.print(table)
