"""`ecumene convert`: a class map in another legend."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ecumene.cli import options as opt


def convert(
    product: Annotated[Path, typer.Argument(help="Folder of a class map.")],
    out: opt.Out,
    legend: Annotated[str | None, typer.Option(help="Legend to go to, e.g. worldcover.", show_default=False)] = None,
    source: Annotated[
        str | None, typer.Option("--from", help="Published legend whose class names the map uses, if it does not say.")
    ] = None,
    crosswalk: Annotated[
        Path | None, typer.Option(help="A crosswalk of your own (YAML: target_legend, classes).", show_default=False)
    ] = None,
    shares: Annotated[
        bool, typer.Option("--shares", help="Divide a class that is several classes there, by estimated shares.")
    ] = False,
    overwrite: opt.Overwrite = False,
) -> None:
    """Write a class map in another legend: probabilities summed, error bars and class sets with them."""
    from ecumene.cli.printing import print_product
    from ecumene.core.progress import progress_bar
    from ecumene.workflows.convert import convert_product

    with progress_bar("convert") as progress:
        converted = convert_product(
            product,
            out,
            legend=legend,
            source_legend=source,
            crosswalk=crosswalk,
            shares=shares,
            overwrite=overwrite,
            progress=progress,
        )
    print_product(converted)
    left = converted.properties["ecumene:converted"]["layers_left_out"]
    if left:
        typer.echo(f"Not converted, because they cannot be in another legend: {', '.join(left)}.")
