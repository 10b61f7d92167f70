"""`ecumene bench`: a published method's table beside ours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecumene.cli import from_data
from ecumene.cli.options import parse_options

if TYPE_CHECKING:
    from ecumene.systems import PublishedFigure
    from ecumene.workflows.bench import BenchResult, Row


def bench(
    system: Annotated[str, typer.Argument(help="System (see `ecumene systems`).", show_default=False)],
    data: Annotated[Path, typer.Option(help="Folder with the data set's official files.", show_default=False)],
    data_set: from_data.DataSetName = None,
    data_option: from_data.DataOption = None,
    protocol: Annotated[
        str | None, typer.Option(help="One of the system's protocols; default: its first.", show_default=False)
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Repetitions; default: as the protocol says.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Most passes over the training set.")] = None,
    max_minutes: Annotated[float | None, typer.Option(help="Stop each training after this time.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Few images and epochs: whether it works.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write the result here as JSON.", show_default=False)] = None,
    work: Annotated[
        Path | None,
        typer.Option(help="Folder for checkpoints, from which the same command goes on.", show_default=False),
    ] = None,
) -> None:
    """Train and measure a system as its paper did, and print the paper's figures beside ours."""
    from ecumene.core.files import write_json
    from ecumene.core.progress import progress_bar
    from ecumene.workflows.bench import bench_system

    with progress_bar("bench") as progress:
        result = bench_system(
            system,
            data,
            data_set=data_set,
            data_options=parse_options(data_option),
            protocol=protocol,
            seeds=seeds,
            epochs=epochs,
            max_minutes=max_minutes,
            quick=quick,
            work=work,
            progress=progress,
        )
    if json is not None:
        write_json(json, result.to_dict())
    print_bench(result)


def print_bench(result: BenchResult) -> None:
    """Print the table, how it was measured, and the published figures of other protocols."""
    from rich.console import Console
    from rich.table import Column, Table

    console = Console()
    facts, plan = result.facts, result.protocol
    table = Table(Column("metric", no_wrap=True), "published", "ours", title=f"{result.system.name}, {plan.name}")
    for row in result.rows:
        table.add_row(row.metric.replace("_", " "), _published(row.published) or "-", _ours(row))
    console.print(table)
    share = "" if plan.split == "official" else f", {plan.train_share:.0%} to learn from"
    times = facts["training_seconds"]
    images = facts["splits"][0]["images"]
    lines = [
        f"split: {plan.split} {plan.official}".rstrip() + share + f"; images: {_counts(images)}",
        f"seeds: {len(facts['seeds'])}; training {times['mean']:.0f} s each; {facts['parameters']:,} parameters",
        f"data: {facts['data']['name']}, {facts['data']['images']} images, sha256 {facts['data']['sha256'][:16]}",
    ]
    if facts["data"].get("simulated"):
        lines.append(f"note: the images are {facts['data']['simulated']}.")
    if facts["quick"]:
        lines.append("note: a quick run with few images and epochs; its figures say nothing about the method.")
    lines += [f"note: {text}" for text in facts.get("notes", [])]
    if facts["deviations"]:
        lines.append(f"note: {facts['deviations']}")
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)
    if result.elsewhere:
        others = Table("published elsewhere", "metric", "value", "protocol")
        for figure in result.elsewhere:
            others.add_row(figure.data_set, figure.metric.replace("_", " "), _value(figure), figure.protocol)
        console.print(others)


def _counts(images: dict[str, int]) -> str:
    return ", ".join(f"{count} {part}" for part, count in images.items())


def _ours(row: Row) -> str:
    if not row.ours:
        return "-"
    deviation = row.ours["standard_deviation"]
    return f"{row.ours['mean']:.4f}" + ("" if deviation is None else f" ± {deviation:.4f}")


def _value(figure: PublishedFigure) -> str:
    return f"{figure.value:.4g}{'' if figure.verified else ' (unverified)'}"


def _published(figures: tuple[PublishedFigure, ...]) -> str:
    return "\n".join(_value(figure) for figure in figures)
