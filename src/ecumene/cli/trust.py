"""`ecumene trust`: how far a model can be believed, and where to label next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecumene.cli import from_data
from ecumene.cli import options as opt

if TYPE_CHECKING:
    from ecumene.workflows.trust import TrustReport


@opt.grouped(declaration=opt.DECLARATION)
def trust(
    model: Annotated[Path, typer.Argument(help="Folder of a model.", show_default=False)],
    out: opt.Out,
    scenes: opt.ScenesOrNone = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="Labels; of the training's own file only its test part counts.", show_default=False),
    ] = None,
    data: from_data.Data = None,
    data_set: from_data.DataSetName = None,
    data_option: from_data.DataOption = None,
    label_field: Annotated[
        str | None, typer.Option(help="Column of the labels; default: class, or the name of the model's number.")
    ] = None,
    wild: Annotated[
        list[str] | None, typer.Option(help="A scene of another place or date: is it noticed? Repeat the option.")
    ] = None,
    teach: Annotated[
        Path | None,
        typer.Option(help="Write the model here with an outlier detector that has learned --wild (TARDIS)."),
    ] = None,
    places: Annotated[int, typer.Option(help="How many places to label next.")] = 20,
    place_pixels: Annotated[int, typer.Option(help="Side of such a place in pixels.")] = 3,
    strategy: Annotated[
        str, typer.Option(help="mixed, combined, margin, entropy, epistemic, diversity, spread or random.")
    ] = "mixed",
    seed: Annotated[int, typer.Option(help="Of ties and the random strategy.")] = 0,
    cloud_mask: opt.CloudMaskOrNone = None,
    *,
    declaration: opt.Group,
) -> None:
    """Report calibration, class sets or intervals, outlier flags and their cost, and say where to label next."""
    if data is not None:
        from_data.refuse_beside(scenes, {"--labels": labels, "--wild": wild, "--teach": teach})
        from_data.trust(model, data, out, data_set, data_option, seed)
        return
    from_data.refuse_data_options({"data_set": data_set, "data_option": data_option})
    scenes, labels = from_data.require_scenes(scenes, labels, "Trust")
    from ecumene.core.progress import progress_bar
    from ecumene.workflows.trust import trust_report

    with progress_bar("trust") as progress:
        report = trust_report(
            model,
            scenes,
            labels,
            out,
            label_field=label_field,
            wild=wild or None,
            teach=teach,
            n_places=places,
            place_pixels=place_pixels,
            strategy=strategy,
            seed=seed,
            mask_clouds=cloud_mask,
            progress=progress,
            **declaration,
        )
    print_trust(report)


def print_trust(report: TrustReport) -> None:
    """Print the tables and where the files are."""
    from rich.console import Console

    from ecumene.cli.printing import print_tables
    from ecumene.workflows.trust_page import trust_tables

    console = Console()
    console.print(report.figures["labels"]["sentence"], highlight=False, soft_wrap=True)
    print_tables(console, trust_tables(report.figures))
    for note in report.figures["notes"]:
        console.print(f"note: {note}", highlight=False, soft_wrap=True)
    console.print(f"the report is {report.report}, the places are in {report.places}", highlight=False, soft_wrap=True)
