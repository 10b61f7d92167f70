"""`ecumene change`: what changed between two dates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from ecumene.cli import options as opt

_CHOICES: Mapping[str, Any] = {
    "use_bands": Annotated[
        list[str] | None, typer.Option("--use", help="Bands to compare, separated by commas; default: all shared ones.")
    ],
    "stay": Annotated[float | None, typer.Option(help="Maps of classes: share that keeps its class; else estimated.")],
    "tolerance": Annotated[float | None, typer.Option(help="Maps of numbers: differences up to it do not count.")],
    "significance": Annotated[
        float | None, typer.Option(help="Maps of numbers: level of significant differences; default 0.05.")
    ],
}


@opt.grouped(choices=_CHOICES, declaration=opt.DECLARATION)
def change(
    before: Annotated[str, typer.Argument(help="Scene or product of the first date.", show_default=False)],
    after: Annotated[str, typer.Argument(help="Scene or product of the second date.", show_default=False)],
    out: opt.Out,
    method: Annotated[
        str,
        typer.Option(
            help="auto, cva, mad, irmad, sfa, isfa, pca-kmeans (optical); log-ratio, mean-ratio, likelihood-ratio, "
            "ratio-variation (radar); or the folder of a model of two dates."
        ),
    ] = "auto",
    option: Annotated[
        list[str] | None, typer.Option("--option", help="NAME=VALUE of the method, e.g. threshold=otsu; repeat.")
    ] = None,
    align: Annotated[bool, typer.Option("--align", help="Bring AFTER onto the grid of BEFORE.")] = False,
    normalise: Annotated[
        bool, typer.Option("--normalise", help="Fit the second scene's radiometry to the first's.")
    ] = False,
    cloud_mask: opt.CloudMask = True,
    animation: Annotated[bool, typer.Option(help="Write an animated picture of both dates.")] = True,
    overwrite: opt.Overwrite = False,
    *,
    choices: opt.Group,
    declaration: opt.Group,
) -> None:
    """Find what changed: change, probability, magnitude, from-to, error bar, outlier flag, STAC Item, pictures."""
    from ecumene.cli.printing import print_product
    from ecumene.core.progress import progress_bar
    from ecumene.workflows.change import ChangeOptions, find_change

    choices["use_bands"] = opt.split_list(choices["use_bands"])
    chosen = ChangeOptions(
        method=method,
        options=opt.parse_options(option, "--option", "threshold=otsu"),
        align=align,
        normalise=normalise,
        mask_clouds=cloud_mask,
        animation=animation,
        overwrite=overwrite,
        **{name: value for name, value in choices.items() if value is not None},
    )
    with progress_bar("change") as progress:
        product = find_change(before, after, out, chosen, progress=progress, **declaration)
    print_product(product)
    found = product.properties.get("ecumene:results") or {}
    for note in found.get("notes", []):
        typer.echo(f"note: {note}")
