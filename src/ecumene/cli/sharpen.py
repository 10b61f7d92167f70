"""`ecumene sharpen`: a coarse scene on a finer grid."""

from __future__ import annotations

from typing import Annotated

import typer

from ecumene.cli import options as opt


def sharpen(
    low: Annotated[str, typer.Argument(help="Coarse scene, one acquisition.", show_default=False)],
    high: Annotated[str, typer.Option("--with", help="Fine scene of the same place.", show_default=False)],
    out: opt.Out,
    method: Annotated[
        str,
        typer.Option(
            help="joint-sparsity, cnmf, mtf-glp, gram-schmidt, gram-schmidt-adaptive, pca, brovey or interpolation."
        ),
    ] = "joint-sparsity",
    nyquist_gain: Annotated[
        float | None, typer.Option(help="Gain of the coarse sensor at its Nyquist frequency; else estimated.")
    ] = None,
    register: Annotated[
        bool, typer.Option("--register/--no-register", help="Estimate and remove a shift between the scenes.")
    ] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a product.")] = False,
    cloud_mask: opt.CloudMask = True,
    sensor: opt.Sensor = None,
    level: opt.Level = None,
    scale: opt.Scale = None,
    offset: opt.Offset = None,
    nodata: opt.Nodata = None,
    unit: opt.Unit = None,
    bands: opt.Bands = None,
    time: opt.Time = None,
    crs: opt.Crs = None,
    with_sensor: Annotated[str | None, typer.Option(help="Sensor id of the fine scene.")] = None,
    with_level: Annotated[str | None, typer.Option(help="Product level of the fine scene.")] = None,
    with_scale: Annotated[float | None, typer.Option(help="Scale of the fine scene.")] = None,
    with_offset: Annotated[float | None, typer.Option(help="Offset of the fine scene.")] = None,
    with_nodata: Annotated[float | None, typer.Option(help="Stored value without data in the fine scene.")] = None,
    with_unit: Annotated[str | None, typer.Option(help="Unit of the fine scene.")] = None,
    with_bands: Annotated[list[str] | None, typer.Option(help="Band names of the fine scene.")] = None,
    with_crs: Annotated[str | None, typer.Option(help="CRS of the fine scene.")] = None,
) -> None:
    """Sharpen a scene: bands on the finer grid, error bars, outlier flag, validity, with STAC Item and quick-look."""
    from ecumene.cli.printing import print_product
    from ecumene.core.progress import progress_bar
    from ecumene.workflows.sharpen import sharpen_scene

    with progress_bar("sharpen") as progress:
        product = sharpen_scene(
            low,
            high,
            out,
            method=method,
            nyquist_gain=nyquist_gain,
            register=register,
            mask_clouds=cloud_mask,
            overwrite=overwrite,
            progress=progress,
            with_declaration={
                "sensor": with_sensor or sensor,
                "level": with_level or level,
                "scale": with_scale,
                "offset": with_offset,
                "nodata": with_nodata,
                "unit": with_unit,
                "bands": opt.split_list(with_bands),
                "time": opt.split_list(time),
                "crs": with_crs or crs,
            },
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
