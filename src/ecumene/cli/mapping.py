"""`ecumene map`: a product from a model and scenes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ecumene.cli import options as opt


def map_(
    model: Annotated[Path, typer.Argument(help="Folder of a model.", show_default=False)],
    scenes: opt.Scenes,
    out: opt.Out,
    clip: Annotated[Path | None, typer.Option(help="Vector file: map only inside its polygons.")] = None,
    backend: Annotated[str, typer.Option(help="torch or onnx.")] = "torch",
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
    workers: Annotated[int | None, typer.Option(help="Threads that run the model side by side.")] = None,
    polygons: Annotated[bool, typer.Option("--polygons", help="Write polygons (GeoParquet) as well.")] = False,
    minimum_mapping_unit: Annotated[float, typer.Option(help="Smallest polygon, square metres.")] = 0.0,
    probability: Annotated[
        bool, typer.Option("--probability/--no-probability", help="Write class probabilities.")
    ] = True,
    cloud_mask: Annotated[
        bool | None, typer.Option("--cloud-mask/--no-cloud-mask", help="Leave out clouds; default: as in the training.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a product made by another plan.")] = False,
    sensor: opt.Sensor = None,
    level: opt.Level = None,
    scale: opt.Scale = None,
    offset: opt.Offset = None,
    nodata: opt.Nodata = None,
    unit: opt.Unit = None,
    bands: opt.Bands = None,
    time: opt.Time = None,
    crs: opt.Crs = None,
) -> None:
    """Map scenes: value, error bar, outlier flag, validity, with STAC Item and quick-look."""
    from ecumene.cli.printing import print_product
    from ecumene.core.progress import progress_bar
    from ecumene.workflows.map import map_scenes

    with progress_bar("map") as progress:
        product = map_scenes(
            model,
            scenes,
            out,
            clip=clip,
            backend=backend,
            precision=precision,
            workers=workers,
            polygons=polygons,
            minimum_mapping_unit_m2=minimum_mapping_unit,
            probability=probability,
            overwrite=overwrite,
            mask_clouds=cloud_mask,
            progress=progress,
            sensor=sensor,
            level=level,
            scale=scale,
            offset=offset,
            nodata=nodata,
            unit=unit,
            bands=opt.split_list(bands),
            time=opt.split_list(time),
            crs=crs,
        )
    print_product(product)
