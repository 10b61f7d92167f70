"""`ecumene sensors` and `ecumene systems`: what there is."""

from __future__ import annotations


def sensors() -> None:
    """List the sensors that ecumene knows, with their levels and bands."""
    from rich.console import Console
    from rich.table import Column, Table

    from ecumene.sensors import list_sensors

    table = Table(Column("sensor", no_wrap=True), "what", "levels", "bands")
    for sensor in list_sensors():
        names = [band.name for band in sensor.bands]
        shown = ", ".join(names) if len(names) <= 14 else f"{len(names)} bands, {names[0]} to {names[-1]}"
        table.add_row(sensor.id, sensor.title, ", ".join(level.name for level in sensor.levels), shown)
    Console().print(table)


def systems() -> None:
    """List the systems that `ecumene train --system` takes."""
    from rich.console import Console
    from rich.table import Column, Table

    from ecumene.systems import list_systems
    from ecumene.systems.measured import measured_of

    table = Table(Column("system", no_wrap=True), "what, and where it was published", "task", "published", "measured")
    for system in list_systems():
        about = [system.title, system.paper, f"data: {', '.join(system.data_sets)}" if system.data_sets else ""]
        published = [
            f"{figure.data_set}: {figure.metric} {figure.value:.4g}{'' if figure.verified else ' (unverified)'}"
            for figure in system.figures[:1]
        ]
        ours = [
            f"{found.data_set}{' (SIMULATED)' if found.kind == 'simulated' else ''}: {found.metric} {found.mean:.4g}"
            + ("" if found.standard_deviation is None else f" ± {found.standard_deviation:.2g}")
            + f" ({found.protocol})"
            for found in measured_of(system.name)[:1]
        ]
        table.add_row(
            system.name,
            "\n".join(part for part in about if part),
            f"{system.task}, reads {system.reads}",
            *(entry[0] if entry else "-" for entry in (published, ours)),
        )
    Console().print(table)
