"""`ecumene report`: a product as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ecumene.cli import options as opt


@opt.grouped(declaration=opt.DECLARATION)
def report(
    product: Annotated[Path, typer.Argument(help="Folder of a product.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="The page to write (.html).")] = Path("report.html"),
    model: Annotated[
        Path | None, typer.Option(help="Folder of the product's model: reliability, areas from probabilities.")
    ] = None,
    assessment: Annotated[
        Path | None, typer.Option(help="What `ecumene assess --out` wrote: accuracy and areas with intervals.")
    ] = None,
    scene: Annotated[list[str] | None, typer.Option(help="Scene to show beside the map (repeat).")] = None,
    title: Annotated[str, typer.Option(help="Heading; default: the product's title.")] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the page.")] = False,
    *,
    declaration: opt.Group,
) -> None:
    """Write one self-contained page about a product: pictures, charts, tables, provenance."""
    from ecumene.workflows.view_report import report_product

    written = report_product(
        product,
        out,
        model=model,
        assessment=assessment,
        scenes=scene or (),
        title=title,
        overwrite=overwrite,
        declaration=declaration,
    )
    typer.echo(f"Report: {written}")
