"""`ecumene patches`: labelled patches from scenes and land-cover polygons."""

from __future__ import annotations

from typing import Annotated

import typer

from ecumene.cli import options as opt


@opt.grouped(declaration=opt.DECLARATION)
def patches(
    scenes: opt.Scenes,
    labels: Annotated[str, typer.Option(help="Land-cover polygons, or a categorical raster.", show_default=False)],
    out: opt.Out,
    label_field: Annotated[str | None, typer.Option(help="Column of the class (not for a raster).")] = "class",
    crosswalk: Annotated[
        str | None,
        typer.Option(help="Published legend of the labels, such as urban_atlas, or a YAML file of your own."),
    ] = None,
    legend: Annotated[
        str | None, typer.Option(help="Published legend of the patches; with --crosswalk: eurosat if not given.")
    ] = None,
    patch: Annotated[int, typer.Option(help="Side of a patch in pixels.")] = 64,
    step: Annotated[
        int | None, typer.Option(help="Distance of neighbouring patches in pixels; else their side.")
    ] = None,
    min_share: Annotated[
        list[str] | None,
        typer.Option(help="Least share that a class must cover, as Highway=0.1; 0.9 for the others."),
    ] = None,
    rgb: Annotated[bool, typer.Option("--rgb", help="Also write RGB versions as JPEG.")] = False,
    masks: Annotated[
        bool, typer.Option("--masks", help="Also write a mask of the labelled area of each scene.")
    ] = False,
    *,
    declaration: opt.Group,
) -> None:
    """Cut labelled patches in EuroSAT's format out of Sentinel-2 L1C scenes; the loader `eurosat` reads them."""
    from ecumene.core.progress import progress_bar
    from ecumene.workflows.patches import choose_crosswalk, make_patches, parse_shares

    with progress_bar("patches") as progress:
        made = make_patches(
            scenes,
            labels,
            out,
            label_field=label_field,
            crosswalk=choose_crosswalk(crosswalk, legend),
            legend=legend,
            size=patch,
            step=step,
            shares=parse_shares(min_share),
            colours=rgb,
            masks=masks,
            progress=progress,
            **declaration,
        )
    for name, count in made.counts.items():
        typer.echo(f"{count:8d}  {name}")
    for note in made.notes:
        typer.echo(f"note: {note}")
    if made.left_out:
        typer.echo(f"{made.left_out} patches without all pixels were left out.")
    typer.echo(f"Written to {made.folder}.")
