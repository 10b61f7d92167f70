"""`ecumene despeckle`: a radar scene without speckle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ecumene.cli import options as opt


@opt.grouped(declaration=opt.DECLARATION)
def despeckle(
    scene: Annotated[str, typer.Argument(help="Backscatter scene, or complex GeoTIFF.", show_default=False)],
    out: opt.Out,
    method: Annotated[str, typer.Option(help="refined-lee, gamma-map, nonlocal or merlin.")] = "nonlocal",
    looks: Annotated[float | None, typer.Option(help="Equivalent number of looks; else estimated.")] = None,
    share: Annotated[
        float | None, typer.Option(help="Independent share of neighbouring pixels; else estimated.")
    ] = None,
    window: Annotated[int | None, typer.Option(help="Edge of window or patch, pixels.")] = None,
    search: Annotated[int, typer.Option(help="Edge of the searched window of nonlocal, pixels.")] = 21,
    network: Annotated[Path | None, typer.Option(help="Weights for merlin from an earlier run.")] = None,
    steps: Annotated[int, typer.Option(help="Training steps of merlin.")] = 600,
    seed: Annotated[int, typer.Option(help="Of merlin's training.")] = 0,
    overwrite: opt.Overwrite = False,
    *,
    declaration: opt.Group,
) -> None:
    """Remove speckle: backscatter, its error bar, outlier flag, validity, with STAC Item and quick-look."""
    from ecumene.cli.printing import print_product
    from ecumene.core.progress import progress_bar
    from ecumene.workflows.despeckle import despeckle as run

    declaration |= {"time": (declaration["time"] or [None])[0]}  # one scene, so one time
    with progress_bar("despeckle") as progress:
        product = run(
            scene,
            out,
            method=method,
            looks=looks,
            share=share,
            window=window,
            search=search,
            network=network,
            steps=steps,
            seed=seed,
            overwrite=overwrite,
            progress=progress,
            **declaration,
        )
    print_product(product)
