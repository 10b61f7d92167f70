"""`ecumene series`: when something changed, and since when land is built-up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ecumene.cli import options as opt

_VALUES: Mapping[str, Any] = {
    "index": Annotated[list[str] | None, typer.Option(help="Spectral index to follow, e.g. NDVI; repeat for several.")],
    "use_bands": Annotated[list[str] | None, typer.Option("--use", help="Bands to follow, separated by commas.")],
    "history": Annotated[str | None, typer.Option(help="monitor: last date of the stable history.")],
    "false_alarms": Annotated[float | None, typer.Option(help="monitor: share of stable pixels with an alarm.")],
    "looks": Annotated[float | None, typer.Option(help="omnibus: equivalent number of looks; else estimated.")],
    "significance": Annotated[float | None, typer.Option(help="omnibus: level of each test; default 0.01.")],
    "interval": Annotated[float | None, typer.Option(help="Level of intervals; default 0.9.")],
}
_BREAKS: Mapping[str, Any] = {
    "order": Annotated[int | None, typer.Option(help="breaks: harmonics of the year, 0 to 3; default 1.")],
    "trend": Annotated[bool | None, typer.Option("--trend/--no-trend", help="breaks: a linear trend; default yes.")],
    "breaking": Annotated[str | None, typer.Option(help="breaks: what breaks: level (default), trend or all.")],
    "prior": Annotated[float | None, typer.Option(help="breaks: probability of a break beforehand; default 0.5.")],
    "autocorrelation": Annotated[float | None, typer.Option(help="breaks: of the noise between dates; default 0.")],
}
_MAPS: Mapping[str, Any] = {
    "model": Annotated[Path | None, typer.Option(help="Model of one date: map every scene, follow the maps.")],
    "built_up": Annotated[list[str] | None, typer.Option(help="growth: class that is built-up; repeat for several.")],
    "urban_boundary": Annotated[
        bool | None, typer.Option("--urban-boundary/--no-urban-boundary", help="growth: polygons of towns by year.")
    ],
    "certainty": Annotated[float | None, typer.Option(help="Of maps without probabilities; default 0.9.")],
    "count": Annotated[str | None, typer.Option(help="days: class whose days are counted.")],
    "stay": Annotated[float | None, typer.Option(help="switches: probability that a class stays; default 0.95.")],
    "last": Annotated[int | None, typer.Option(help="switches: dates that a new class must last; default 2.")],
    "margin": Annotated[float | None, typer.Option(help="switches: of the probabilities; default 0.2.")],
}


@opt.grouped(values=_VALUES, breaks=_BREAKS, maps=_MAPS, declaration=opt.DECLARATION)
def series(
    scenes: Annotated[
        list[str],
        typer.Argument(help="Scenes or products, one a date, in the order of time.", metavar="SCENE...",
                       show_default=False),
    ],
    out: opt.Out,
    method: Annotated[
        str,
        typer.Option(
            help="auto; of scenes: breaks, monitor, omnibus (radar), statistics, trends; of maps or with --model: "
            "growth, switches, days."
        ),
    ] = "auto",
    align: Annotated[bool, typer.Option("--align", help="Bring all scenes onto the grid of the first.")] = False,
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
    with progress_bar("series") as progress:
        product = follow_series(scenes, out, chosen, progress=progress, **declaration)
    print_product(product)
    silent = (product.properties.get("ecumene:results") or {}).get("dates_without_a_clear_pixel") or []
    if silent:
        typer.echo(f"note: {len(silent)} dates have no clear pixel and say nothing: {', '.join(silent[:10])}")
