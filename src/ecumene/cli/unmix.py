"""`ecumene unmix`: shares of materials in every pixel."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ecumene.cli import options as opt


@opt.grouped(declaration=opt.DECLARATION)
def unmix(
    cube: Annotated[str, typer.Argument(help="Scene with many bands, one acquisition.", show_default=False)],
    out: opt.Out,
    endmembers: Annotated[
        str, typer.Option(help="CSV (wavelength_um, wavelength_nm or band; one column a material), auto:6, or auto.")
    ] = "auto",
    constraint: Annotated[str, typer.Option(help="fcls, scaled, nnls, scls or ucls.")] = "fcls",
    extraction: Annotated[str, typer.Option(help="How auto finds endmembers: vca, n-findr or ppi.")] = "vca",
    seed: Annotated[int, typer.Option(help="Of the extraction.")] = 0,
    overwrite: opt.Overwrite = False,
    cloud_mask: opt.CloudMask = True,
    *,
    declaration: opt.Group,
) -> None:
    """Unmix a scene: abundances, error bars, residual, outlier flag, validity, with STAC Item and quick-look."""
    from ecumene.cli.printing import print_product
    from ecumene.core.progress import progress_bar
    from ecumene.workflows.unmix import unmix_scene

    chosen: Any = constraint
    with progress_bar("unmix") as progress:
        product = unmix_scene(
            cube,
            out,
            endmembers=endmembers,
            constraint=chosen,
            extraction=extraction,
            seed=seed,
            mask_clouds=cloud_mask,
            overwrite=overwrite,
            progress=progress,
            **declaration,
        )
    print_product(product)
