"""`ecumene demo`: everything, on a simulated city."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for scenes, model, product and report.")] = Path(
        "demo"
    ),
    seed: Annotated[int, typer.Option(help="Of the simulated city.")] = 7,
    epochs: Annotated[int | None, typer.Option(help="Most passes over the training set.")] = None,
) -> None:
    """Simulate a city, train from a few polygons, map it, assess the map, write a report."""
    from ecumene.cli.printing import print_assessment, print_product
    from ecumene.core.progress import progress_bar
    from ecumene.workflows.demo import run_demo

    with progress_bar("demo") as progress:
        result = run_demo(out, seed=seed, epochs=epochs, progress=progress)
    print_product(result.product)
    print_assessment(result.assessment)
    typer.echo(f"Report: {result.report}")
    typer.echo(f"Look at the map in a browser: ecumene view {shlex.quote(str(result.product.folder))}")
