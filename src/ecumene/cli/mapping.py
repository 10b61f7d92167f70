"""`ecumene map`: a product from a model and scenes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ecumene.cli import collection as many
from ecumene.cli import options as opt


@opt.grouped(declaration=opt.DECLARATION, tiles=many.TILES)
def map_(
    model: Annotated[Path, typer.Argument(help="Folder of a model.", show_default=False)],
    out: Annotated[
        str,
        typer.Option("--out", "-o", help="Folder to write; with tiles also s3://BUCKET/PREFIX.", show_default=False),
    ],
    scenes: opt.ScenesOrNone = None,
    clip: Annotated[Path | None, typer.Option(help="Vector file: map only inside its polygons.")] = None,
    backend: Annotated[str, typer.Option(help="auto, torch, compiled, onnx or openvino.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or int8.")] = "auto",
    workers: Annotated[int | None, typer.Option(help="Threads that run the model side by side.")] = None,
    polygons: Annotated[bool, typer.Option("--polygons", help="Write polygons (GeoParquet) as well.")] = False,
    minimum_mapping_unit: Annotated[float, typer.Option(help="Smallest polygon, square metres.")] = 0.0,
    probability: Annotated[
        bool, typer.Option("--probability/--no-probability", help="Write class probabilities.")
    ] = True,
    cloud_mask: opt.CloudMaskOrNone = None,
    step: Annotated[
        int | None,
        typer.Option(
            help="Of a model of whole images: side of a cell in pixels; default: that of a patch.", show_default=False
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a product made by another plan.")] = False,
    *,
    declaration: opt.Group,
    tiles: opt.Group,
) -> None:
    """Map scenes: value, error bar, outlier flag, validity, with STAC Item and quick-look.

    With --stac or --scenes, many scenes are mapped tile by tile into a STAC collection.
    """
    options: dict[str, Any] = {
        "backend": backend,
        "precision": precision,
        "workers": workers,
        "polygons": polygons,
        "minimum_mapping_unit_m2": minimum_mapping_unit,
        "probability": probability,
        "overwrite": overwrite,
    }
    if many.wanted(tiles):
        many.refuse_step(step)
        many.refuse_together(scenes, clip)
        many.map_many(model, out, tiles, declaration, options, cloud_mask=cloud_mask)
        return
    many.refuse_alone(scenes, tiles, out)
    from ecumene.cli.printing import print_product
    from ecumene.core.progress import progress_bar
    from ecumene.workflows.map import map_scenes

    with progress_bar("map") as progress:
        product = map_scenes(
            model,
            scenes or [],
            out,
            clip=clip,
            mask_clouds=cloud_mask,
            step=step,
            progress=progress,
            **declaration,
            **options,
        )
    print_product(product)
    product.require_undamaged()
