"""`ecumene info`: what a scene is."""

from __future__ import annotations

from ecumene.cli import options as opt


@opt.grouped(declaration=opt.DECLARATION)
def info(
    scenes: opt.Scenes,
    *,
    declaration: opt.Group,
) -> None:
    """Show sensor, level, bands, unit, dates, grid, valid and cloud fraction of scenes."""
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    from ecumene.workflows.info import describe_contents

    described = describe_contents(
        scenes,
        **declaration,
    )
    console = Console()
    for item in described:
        source = item.source
        height, width = source.geobox.shape
        table = Table(title=source.id, title_justify="left", show_header=False)
        table.add_row("sensor, level", f"{source.sensor} {source.level}")
        table.add_row("quantity, unit", f"{source.quantity} [{source.unit}]")
        table.add_row(
            "time (UTC)", "undated" if source.time is None else str(np.datetime_as_string(source.time, unit="s"))
        )
        table.add_row("grid", f"{width} x {height} pixels of {item.ground_sampling_m:.2f} m, {source.geobox.crs}")
        for name, value in sorted(source.properties.items()):
            if isinstance(value, str | int | float):
                table.add_row(str(name), str(value))
        table.add_row("valid", f"{item.statistics.valid_fraction:.1%}")
        cloud = item.statistics.cloud_fraction
        table.add_row(
            "cloud and shadow", "not applicable" if cloud is None else f"{cloud:.1%} ({item.statistics.cloud_mask})"
        )
        console.print(table)
        bands_table = Table("band", "unit", "min", "mean", "max", "stored as", "scale", "offset")
        for band in source.bands:
            seen = item.statistics.bands[band.name]
            low, mean, high = seen.minimum, seen.mean, seen.maximum
            bands_table.add_row(
                band.name,
                band.unit,
                f"{low:.4g}",
                f"{mean:.4g}",
                f"{high:.4g}",
                band.dtype,
                f"{band.scale:g}",
                f"{band.offset:g}",
            )
        console.print(bands_table)
