"""`ecumene train`: a model from scenes and labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ecumene.cli import options as opt

Uncertainty = Annotated[
    str, typer.Option(help="Error bars from members: single, ensemble:4, mc-dropout:8, laplace:16 or augmentation:8.")
]


@opt.grouped(declaration=opt.DECLARATION)
def train(
    scenes: opt.Scenes,
    labels: Annotated[Path, typer.Option(help="Vector file or raster with labels.", show_default=False)],
    out: opt.Out,
    label_field: Annotated[str, typer.Option(help="Column of the class (vector labels).")] = "class",
    target: Annotated[
        str | None, typer.Option(help="Learn the number in this column (or, so named, of a raster), not classes.")
    ] = None,
    target_unit: Annotated[str, typer.Option(help="Unit of that number.")] = "1",
    uncertainty: Uncertainty = "single",
    system: Annotated[str, typer.Option(help="System to train (see `ecumene systems`), or auto.")] = "auto",
    use_bands: Annotated[list[str] | None, typer.Option(help="Train on these bands only.")] = None,
    block_size: Annotated[float | None, typer.Option(help="Side of the blocks of the spatial split, metres.")] = None,
    buffer: Annotated[float, typer.Option(help="Distance between parts of the split, metres.")] = 0.0,
    split: Annotated[str, typer.Option(help="What stays together: block or feature.")] = "block",
    holdout: Annotated[Path | None, typer.Option(help="Write the test labels here, for `ecumene assess`.")] = None,
    seed: Annotated[int, typer.Option(help="Of split, start and order of training.")] = 0,
    epochs: Annotated[int | None, typer.Option(help="Most passes over the training set.")] = None,
    max_minutes: Annotated[float | None, typer.Option(help="Stop training after this time.")] = None,
    coverage: Annotated[float, typer.Option(help="Share of pixels whose class set holds the truth.")] = 0.9,
    onnx: Annotated[bool, typer.Option("--onnx", help="Add an ONNX file, to map without torch.")] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="Add an 8-bit ONNX file as well, if it agrees with float32 on the scenes.")
    ] = False,
    cloud_mask: opt.CloudMask = True,
    *,
    declaration: opt.Group,
) -> None:
    """Train a model from scenes and a few labelled polygons or points."""
    from ecumene.cli.printing import print_training
    from ecumene.core.progress import progress_bar
    from ecumene.workflows.train import train_model

    with progress_bar("train") as progress:
        model = train_model(
            scenes,
            labels,
            out,
            label_field=label_field,
            target=target,
            target_unit=target_unit,
            uncertainty=uncertainty,
            system=system,
            use_bands=opt.split_list(use_bands),
            block_size_m=block_size,
            buffer_m=buffer,
            split_by=split,
            holdout=holdout,
            seed=seed,
            epochs=epochs,
            max_minutes=max_minutes,
            coverage=coverage,
            onnx=onnx,
            int8=int8,
            mask_clouds=cloud_mask,
            progress=progress,
            **declaration,
        )
    print_training(model, out)
