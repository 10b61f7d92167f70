"""`ecumene series`: when something changed, and since when land is built-up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ecumene.cli import options as opt

if TYPE_CHECKING:
    from ecumene.workflows.series_table import TableSeries

_VALUES: Mapping[str, Any] = {
    "index": Annotated[list[str] | None, typer.Option(help="Spectral index to follow, e.g. NDVI; repeat for several.")],
    "use_bands": Annotated[list[str] | None, typer.Option("--use", help="Bands to follow, separated by commas.")],
    "most": Annotated[int | None, typer.Option(help="breaks, sequence: most changes of a pixel; default 1.")],
    "confirm": Annotated[int | None, typer.Option(help="sequence: dates in a row that make a change; default 6.")],
    "confidence": Annotated[float | None, typer.Option(help="sequence: quantile of noise; default 0.99.")],
    "coupling": Annotated[float | None, typer.Option(help="patterns: price of unlike neighbours; default 1, 0: none.")],
    "objects": Annotated[
        bool | None, typer.Option("--objects/--no-objects", help="patterns: polygons of pixels that changed alike.")
    ],
    "after": Annotated[Path | None, typer.Option(help="cusum: product of `patterns` of the dates before.")],
    "history": Annotated[str | None, typer.Option(help="monitor: last date of the stable history.")],
    "false_alarms": Annotated[float | None, typer.Option(help="monitor: share of stable pixels with an alarm.")],
    "looks": Annotated[float | None, typer.Option(help="omnibus: equivalent number of looks; else estimated.")],
    "significance": Annotated[float | None, typer.Option(help="omnibus: level of each test; default 0.01.")],
    "interval": Annotated[float | None, typer.Option(help="Level of intervals; default 0.9.")],
}
_BREAKS: Mapping[str, Any] = {
    "order": Annotated[
        int | None, typer.Option(help="breaks, sequence, monitor: harmonics of the year, 0 to 3; default 1.")
    ],
    "trend": Annotated[
        bool | None, typer.Option("--trend/--no-trend", help="breaks, sequence, monitor: a linear trend; default yes.")
    ],
    "breaking": Annotated[str | None, typer.Option(help="breaks: what breaks: level (default), trend or all.")],
    "prior": Annotated[float | None, typer.Option(help="breaks, patterns: probability of a change; default 0.5.")],
    "autocorrelation": Annotated[
        str | None, typer.Option(help="breaks: of the noise between dates, 0 (default) to 1, or auto: estimated.")
    ],
}
_MAPS: Mapping[str, Any] = {
    "model": Annotated[Path | None, typer.Option(help="Model of one date: map every scene, follow the maps.")],
    "built_up": Annotated[list[str] | None, typer.Option(help="growth: class that is built-up; repeat for several.")],
    "urban_boundary": Annotated[
        bool | None, typer.Option("--urban-boundary/--no-urban-boundary", help="growth: polygons of towns by year.")
    ],
    "rule": Annotated[
        str | None, typer.Option(help="growth: likelihood (default), steps, or majority (2 of 3 years, no way back).")
    ],
    "certainty": Annotated[float | None, typer.Option(help="Of maps without probabilities; default 0.9.")],
    "count": Annotated[str | None, typer.Option(help="days: class whose days are counted.")],
    "season": Annotated[str | None, typer.Option(help="days: MM-DD at which a season begins; default 01-01.")],
    "second": Annotated[
        list[Path] | None,
        typer.Option(help="days: map of another sensor on one of the dates, or a folder of such maps; repeat."),
    ],
    "stay": Annotated[float | None, typer.Option(help="switches: probability that a class stays; default 0.95.")],
    "last": Annotated[int | None, typer.Option(help="switches: dates that a new class must last; default 2.")],
    "margin": Annotated[float | None, typer.Option(help="switches: of the probabilities; default 0.2.")],
}


@opt.grouped(values=_VALUES, breaks=_BREAKS, maps=_MAPS, declaration=opt.DECLARATION)
def series(
    scenes: Annotated[
        list[str],
        typer.Argument(help="Scenes or products, one a date, in the order of time; or one CSV of pixel series.",
                       metavar="SCENE...",
                       show_default=False),
    ],
    out: opt.Out,
    method: Annotated[
        str,
        typer.Option(
            help="auto; of scenes: breaks, sequence, monitor, statistics, trends; of radar also omnibus, patterns, "
            "cusum; of maps or with --model: growth, switches, days."
        ),
    ] = "auto",
    align: Annotated[bool, typer.Option("--align", help="Bring all inputs onto the grid of the first.")] = False,
    cloud_mask: opt.CloudMask = True,
    keep_maps: Annotated[bool, typer.Option("--keep-maps", help="With --model: keep the map of each date.")] = False,
    animation: Annotated[bool, typer.Option(help="Write an animated picture by year.")] = True,
    overwrite: opt.Overwrite = False,
    *,
    values: opt.Group,
    breaks: opt.Group,
    maps: opt.Group,
    declaration: opt.Group,
) -> None:  # fmt: skip
    """Find when something changed: date, interval, probability, magnitude; or the year of first built-up."""
    from ecumene.cli.printing import print_product
    from ecumene.core.progress import progress_bar
    from ecumene.workflows.series import SeriesOptions, follow_series
    from ecumene.workflows.series_table import follow_table, is_table

    values["use_bands"] = opt.split_list(values["use_bands"])
    values["index"] = opt.split_list(values["index"])
    chosen = SeriesOptions(
        method=method,
        align=align,
        mask_clouds=cloud_mask,
        keep_maps=keep_maps,
        animation=animation,
        overwrite=overwrite,
        breaks={name: value for name, value in breaks.items() if value is not None},
        **{name: value for name, value in (values | maps).items() if value is not None},
    )
    if is_table(scenes):
        _print_table(follow_table(scenes, out, chosen, declaration))
        return
    with progress_bar("series") as progress:
        product = follow_series(scenes, out, chosen, progress=progress, **declaration)
    print_product(product)
    silent = (product.properties.get("ecumene:results") or {}).get("dates_without_a_clear_pixel") or []
    if silent:
        typer.echo(f"note: {len(silent)} dates have no clear pixel and say nothing: {', '.join(silent[:10])}")


def _print_table(found: TableSeries) -> None:
    """Print the first changes of single pixels, a line each."""
    typer.echo(f"{found.title}, {found.pixels} pixels:")
    for _, row in found.changes.head(20).iterrows():
        dated = f"{row['date']} ({row['date_low']} to {row['date_high']})" if row["date"] else "no change"
        sure = [f"{name} {row[name]:.3g}" for name in ("probability", "p_value") if name in row]
        typer.echo(", ".join([f"  pixel {row['pixel']}: {dated}", *sure]))
    typer.echo(f"the table is {found.folder / 'changes.csv'}")
