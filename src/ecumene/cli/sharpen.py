"""`ecumene sharpen`: a coarse scene on a finer grid."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ecumene.cli import options as opt

FINE = {
    "with_sensor": Annotated[str | None, typer.Option(help="Sensor id of the fine scene.")],
    "with_level": Annotated[str | None, typer.Option(help="Product level of the fine scene.")],
    "with_scale": Annotated[float | None, typer.Option(help="Scale of the fine scene.")],
    "with_offset": Annotated[float | None, typer.Option(help="Offset of the fine scene.")],
    "with_nodata": Annotated[float | None, typer.Option(help="Stored value without data in the fine scene.")],
    "with_unit": Annotated[str | None, typer.Option(help="Unit of the fine scene.")],
    "with_bands": Annotated[list[str] | None, typer.Option(help="Band names of the fine scene.")],
    "with_crs": Annotated[str | None, typer.Option(help="CRS of the fine scene.")],
}
"""Options of the fine scene, in the order of `--help`."""


@opt.grouped(declaration=opt.DECLARATION, fine=FINE)
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
    overwrite: opt.Overwrite = False,
    cloud_mask: opt.CloudMask = True,
    *,
    declaration: opt.Group,
    fine: opt.Group,
) -> None:
    """Sharpen a scene: bands on the finer grid, error bars, outlier flag, validity, with STAC Item and quick-look."""
    from ecumene.cli.printing import print_product
    from ecumene.core.progress import progress_bar
    from ecumene.workflows.sharpen import sharpen_scene

    stated: Any = {name.removeprefix("with_"): value for name, value in fine.items()}
    stated |= {name: stated[name] or declaration[name] for name in ("sensor", "level", "crs")}
    stated |= {"bands": opt.split_list(stated["bands"]), "time": declaration["time"]}
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
            with_declaration=stated,
            **declaration,
        )
    print_product(product)
