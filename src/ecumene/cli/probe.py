"""`ecumene probe`: what a network's features are worth on other data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ecumene.cli import from_data
from ecumene.cli import options as opt


@opt.grouped(declaration=opt.DECLARATION, published=from_data.PUBLISHED)
def probe(
    model: Annotated[Path, typer.Argument(help="Folder of a network's bundle; its weights stay as they are.")],
    scenes: opt.ScenesOrNone = None,
    labels: Annotated[Path | None, typer.Option(help="Labels of the scenes.", show_default=False)] = None,
    label_field: Annotated[str, typer.Option(help="Column of the class (vector labels).")] = "class",
    split: Annotated[str | None, typer.Option(help="As for `ecumene train`.", show_default=False)] = None,
    shots: Annotated[str, typer.Option(help="Samples a class, separated by commas; all are a row of their own.")] = (
        "1,5,10"
    ),
    draws: Annotated[int, typer.Option(help="Draws of the few samples.")] = 5,
    neighbours: Annotated[int, typer.Option(help="Nearest neighbours, at most the samples a class.")] = 5,
    seed: Annotated[int, typer.Option(help="Of split and draws.")] = 0,
    json: Annotated[Path | None, typer.Option(help="Write the figures here.", show_default=False)] = None,
    *,
    declaration: opt.Group,
    published: opt.Group,
) -> None:
    """Measure a linear probe, nearest neighbours and nearest means on frozen features, with few and all labels."""
    from rich.console import Console
    from rich.table import Table

    from ecumene.core.errors import ConfigurationError
    from ecumene.core.progress import progress_bar
    from ecumene.workflows.probe import probe_model

    if published["data"] is None:
        from_data.refuse_data_options(published)
    parts = [part.strip() for part in shots.split(",") if part.strip()]
    if not all(part.isdigit() for part in parts):
        raise ConfigurationError(f"--shots takes whole numbers separated by commas, not {shots!r}.")
    with progress_bar("probe") as progress:
        result = probe_model(
            model,
            data=published["data"],
            data_set=published["data_set"],
            data_options=opt.parse_options(published["data_option"]),
            train_share=published["train_share"],
            scenes=scenes or None,
            labels=labels,
            label_field=label_field,
            split=split,
            shots=[int(part) for part in parts],
            draws=draws,
            neighbours=neighbours,
            seed=seed,
            out=json,
            progress=progress,
            **declaration,
        )
    columns = list(next(iter(result.figures.values())))
    table = Table("overall accuracy", *(f"{column} a class" if column != "all" else "all" for column in columns))
    for name, rows in result.figures.items():
        cells = [rows[column]["overall_accuracy"] for column in columns]
        table.add_row(name, *(f"{cell['mean']:.3f}" + (f" ± {cell['sd']:.3f}" if cell["sd"] else "") for cell in cells))
    Console().print(table)
