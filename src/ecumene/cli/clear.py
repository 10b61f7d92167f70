"""`ecumene clear`: scenes without clouds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ecumene.cli import options as opt

RADAR: Mapping[str, Any] = {
    "radar_sensor": Annotated[str | None, typer.Option(help="Sensor id of the radar files, e.g. sentinel-1.")],
    "radar_level": Annotated[str | None, typer.Option(help="Product level of the radar files.")],
    "radar_unit": Annotated[str | None, typer.Option(help="Unit of the radar files: dB or linear power.")],
    "radar_bands": Annotated[str | None, typer.Option(help="Polarisations in file order, e.g. VV,VH.")],
    "radar_time": Annotated[
        list[str] | None, typer.Option(help="Acquisition time (UTC), once for all radar files or once per file.")
    ],
}
"""What radar files may not say."""


@opt.grouped(declaration=opt.DECLARATION, radar_declaration=RADAR)
def clear(
    scenes: opt.Scenes,
    out: opt.Out,
    radar: Annotated[
        list[str] | None, typer.Option(help="Radar scene; repeat the option, or separate paths by commas.")
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            help="auto, closest, linear, harmonic, mosaic, least-cloudy, kriging, regression, sar-regression, "
            "sar-date-regression, spatial or internal-learning."
        ),
    ] = "auto",
    model: Annotated[Path | None, typer.Option(help="Folder of a trained model, instead of a method.")] = None,
    date: Annotated[str, typer.Option(help="Day to fill (YYYY-MM-DD), or all.")] = "all",
    keep_observed: Annotated[
        bool,
        typer.Option("--keep-observed/--no-keep-observed", help="Keep measured values of clear pixels."),
    ] = True,
    cloud_mask: Annotated[
        bool,
        typer.Option(
            "--cloud-mask/--no-cloud-mask", help="Mask clouds: the scenes' own masks, else a rule on their bands."
        ),
    ] = True,
    seed: Annotated[int, typer.Option(help="Of the sample and the simulated clouds.")] = 0,
    steps: Annotated[int | None, typer.Option(help="Of internal-learning, for each network that it fits.")] = None,
    overwrite: opt.Overwrite = False,
    *,
    declaration: opt.Group,
    radar_declaration: opt.Group,
) -> None:
    """Fill clouds and shadows from other dates and radar: reflectance, its error bar, and which pixels were filled."""
    from ecumene.cli.printing import print_product
    from ecumene.core.progress import progress_bar
    from ecumene.workflows.clear import clear_scenes

    waves = {key.removeprefix("radar_"): value for key, value in radar_declaration.items() if value is not None}
    for name in ("bands", "time"):
        if name in waves:
            waves[name] = opt.split_list([waves[name]] if isinstance(waves[name], str) else waves[name])
    with progress_bar("clear") as progress:
        products = clear_scenes(
            scenes,
            out,
            radar=opt.split_list(radar),
            method=method,
            model=model,
            date=date,
            keep_observed=keep_observed,
            mask_clouds=cloud_mask,
            seed=seed,
            steps=steps,
            overwrite=overwrite,
            progress=progress,
            radar_declaration=waves,
            **declaration,
        )
    if len(products) == 1:
        print_product(products[0])
        return
    for product in products:
        found = product.properties["ecumene:results"]
        shares = ", ".join(f"{share:.1%} {name}" for name, share in found["shares"].items() if share)
        typer.echo(f"{found['day']}: {shares} ({found['method']}) in {product.folder}")
