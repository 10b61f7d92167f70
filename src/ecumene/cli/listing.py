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

    table = Table(Column("system", no_wrap=True), "what", "task", "reads", "published in")
    for system in list_systems():
        table.add_row(system.name, system.title, system.task, system.reads, system.paper or "-")
    Console().print(table)
