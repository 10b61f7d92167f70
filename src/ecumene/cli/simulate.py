"""`ecumene simulate`: data sets in the files of published ones."""

from __future__ import annotations

from typing import Annotated

import typer

from ecumene.cli import options as opt


def simulate(
    data_set: Annotated[
        str, typer.Argument(help="eurosat, sen12ms, so2sat-lcz42, ucm-multilabel or growth-sites.", metavar="DATASET")
    ],
    out: opt.Out,
    number: Annotated[int | None, typer.Option(help="Images to make; the format's default if not given.")] = None,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal files.")] = 0,
    workers: Annotated[int, typer.Option(help="Processes.")] = 1,
) -> None:
    """Simulate a data set in the files of a published one, labelled as simulated."""
    from ecumene.core.progress import progress_bar
    from ecumene.simulate.datasets import simulate_data_set

    with progress_bar("simulate") as progress:
        written = simulate_data_set(data_set, out, number=number, seed=seed, workers=workers, progress=progress)
    typer.echo(f"{written.number} simulated images in the files of {written.format}: {written.folder}")
