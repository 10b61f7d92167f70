"""`ecumene sensors` and `ecumene systems`: what there is."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from ecumene.systems import System


def sensors() -> None:
    """List the sensors that ecumene knows, with their levels and bands."""
    from rich.console import Console

    from ecumene.sensors import list_sensors

    console = Console(highlight=False)
    for sensor in list_sensors():
        names = [band.name for band in sensor.bands]
        shown = ", ".join(names) if len(names) <= 14 else f"{len(names)} bands, {names[0]} to {names[-1]}"
        levels = ", ".join(level.name for level in sensor.levels)
        print_entry(console, sensor.id, sensor.title, [f"levels: {levels}", f"bands: {shown}"])


def systems(
    words: Annotated[
        list[str] | None, typer.Argument(help="Only systems whose name, title, paper, task or data hold all of these.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything that is known of them as JSON.")] = False,
) -> None:
    """List the systems that `ecumene train --system` takes."""
    from rich.console import Console

    from ecumene.core.errors import ConfigurationError
    from ecumene.systems import list_systems
    from ecumene.systems.measured import measured_of

    wanted = [word.lower() for word in words or ()]
    found = [system for system in list_systems() if all(word in _about(system) for word in wanted)]
    if not found:
        raise ConfigurationError(f"No system has {' and '.join(wanted)} in its name, title, paper, task or data.")
    if as_json:
        records = [
            {**system.model_dump(mode="json"), "measured": [figure.model_dump() for figure in measured_of(system.name)]}
            for system in found
        ]
        print(json.dumps(records, indent=2))
        return
    console = Console(highlight=False)
    kinds = dict.fromkeys((system.task, system.reads) for system in found)
    for task, reads in kinds:
        console.print(f"\n[bold]{task}, reads {reads}[/bold]")
        for system in found:
            if (system.task, system.reads) == (task, reads):
                _print_system(console, system)


def _about(system: System) -> str:
    """Return what a system is searched by."""
    parts = (system.name, system.title, system.paper, system.task, system.reads, *system.data_sets)
    return " ".join(parts).lower()


def _print_system(console: Console, system: System) -> None:
    """Print one system."""
    from ecumene.systems.measured import measured_of

    lines = [system.paper] if system.paper else []
    if system.data_sets:
        lines.append(f"data: {', '.join(system.data_sets)}")
    for figure in system.figures[:1]:
        said = "" if figure.verified else " (unverified)"
        lines.append(f"published: {figure.data_set}: {figure.metric} {figure.value:.4g}{said}")
    for found in measured_of(system.name)[:1]:
        deviation = "" if found.standard_deviation is None else f" ± {found.standard_deviation:.2g}"
        kind = " (SIMULATED)" if found.kind == "simulated" else ""
        lines.append(f"measured: {found.data_set}{kind}: {found.metric} {found.mean:.4g}{deviation} ({found.protocol})")
    print_entry(console, system.name, system.title, lines)


def print_entry(console: Console, name: str, title: str, lines: Iterable[str]) -> None:
    """Print a name with what is said of it; lines are wrapped to a terminal, and left whole for anything else."""
    from rich.markup import escape
    from rich.padding import Padding

    texts = [(2, f"[cyan]{escape(name)}[/cyan]  {escape(title)}"), *((6, escape(line)) for line in lines)]
    for indent, text in texts:
        if console.is_terminal:
            console.print(Padding(text, (0, 0, 0, indent)))
        else:
            console.print(" " * indent + text, soft_wrap=True)
