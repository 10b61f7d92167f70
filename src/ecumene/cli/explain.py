"""`ecumene explain`: why a model says what it says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecumene.cli import options as opt

if TYPE_CHECKING:
    from ecumene.workflows.explain_result import Explanation


@opt.grouped(declaration=opt.DECLARATION)
def explain(
    model: Annotated[Path, typer.Argument(help="Folder of a model.", show_default=False)],
    scenes: opt.Scenes,
    out: opt.Out,
    at: Annotated[str | None, typer.Option(help="Explain one pixel: X,Y.", metavar="X,Y")] = None,
    box: Annotated[
        str | None, typer.Option(help="Explain an area: XMIN,YMIN,XMAX,YMAX.", metavar="XMIN,YMIN,XMAX,YMAX")
    ] = None,
    at_crs: Annotated[
        str | None, typer.Option(help="Coordinate system of --at or --box, e.g. EPSG:4326; default: the scene's.")
    ] = None,
    class_name: Annotated[
        str | None, typer.Option("--class", help="Class to explain; default: what the model says there.")
    ] = None,
    method: Annotated[str, typer.Option(help="auto, occlusion, gradients, gradcam or neurons.")] = "auto",
    baseline: Annotated[str, typer.Option(help="What hidden bands become: mean, zero or noise.")] = "mean",
    layer: Annotated[list[str] | None, typer.Option(help="Layer of the network for gradcam and neurons.")] = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="True classes in a --box: how far accuracy falls, and for neurons where the class is."),
    ] = None,
    label_field: Annotated[str, typer.Option(help="Column of the class in --labels.")] = "class",
    cloud_mask: opt.CloudMaskOrNone = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an explanation.")] = False,
    *,
    declaration: opt.Group,
) -> None:
    """Say which sensors, bands, dates and surroundings decided a pixel or an area."""
    from ecumene.core.progress import progress_bar
    from ecumene.workflows.explain import explain_scene

    with progress_bar("explain") as progress:
        explanation = explain_scene(
            model,
            scenes,
            out,
            at=at,
            box=box,
            at_crs=at_crs,
            class_name=class_name,
            method=method,
            baseline=baseline,
            layers=layer,
            labels=labels,
            label_field=label_field,
            overwrite=overwrite,
            mask_clouds=cloud_mask,
            progress=progress,
            **declaration,
        )
    print_explanation(explanation, out)


def print_explanation(explanation: Explanation, out: Path) -> None:
    """Print sentence and tables."""
    from rich.console import Console

    from ecumene.cli.printing import print_tables
    from ecumene.workflows.explain_output import explanation_tables

    console = Console()
    console.print(explanation.sentence, highlight=False, soft_wrap=True)
    print_tables(console, explanation_tables(explanation))
    for note in explanation.notes:
        console.print(f"note: {note}", highlight=False, soft_wrap=True)
    console.print(f"layers, numbers and report.html are in {out}", highlight=False, soft_wrap=True)
