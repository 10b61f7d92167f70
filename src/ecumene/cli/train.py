"""`ecumene train`: a model from scenes and labels, from clear scenes alone, or from a published data set of images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ecumene.cli import from_data, from_model, own_clouds, settlement
from ecumene.cli import options as opt

Uncertainty = Annotated[
    str, typer.Option(help="Error bars from members: single, ensemble:4, mc-dropout:8, laplace:16 or augmentation:8.")
]

_FIELD, _UNIT, _COVERAGE = "class", "1", 0.9
_OF_LABELS = (
    "--labels",
    "--label-field",
    "--target",
    "--target-unit",
    "--extent",
    "--holdout",
    "--int8",
    "--block-size",
    "--buffer",
)
_OF_SCENES = (*_OF_LABELS, "--use-bands")
_NOT_WITH_CLOUDS = (*_OF_LABELS, "--split", "--coverage")
_NOT_WITH_EXTENT = ("--target", "--target-unit", "--uncertainty", "--split", "--holdout", "--onnx", "--int8", "--from")


@opt.grouped(declaration=opt.DECLARATION, published=from_data.PUBLISHED, start=from_model.START)
def train(
    out: opt.Out,
    scenes: opt.ScenesOrNone = None,
    labels: Annotated[Path | None, typer.Option(help="Vector file or raster with labels.", show_default=False)] = None,
    label_field: Annotated[str, typer.Option(help="Column of the class (vector labels).")] = _FIELD,
    target: Annotated[
        str | None, typer.Option(help="Learn the number in this column (or, so named, of a raster), not classes.")
    ] = None,
    target_unit: Annotated[str, typer.Option(help="Unit of that number.")] = _UNIT,
    extent: Annotated[
        Path | None,
        typer.Option(help="Raster of settled shares 0..1, learned along with zones as labels.", show_default=False),
    ] = None,
    uncertainty: Uncertainty = "single",
    system: Annotated[str, typer.Option(help="System to train (see `ecumene systems`), or auto.")] = "auto",
    use_bands: Annotated[list[str] | None, typer.Option(help="Train on these bands only.")] = None,
    block_size: Annotated[float | None, typer.Option(help="Side of the blocks of the spatial split, metres.")] = None,
    buffer: Annotated[float, typer.Option(help="Distance between parts of the split, metres.")] = 0.0,
    split: Annotated[
        str | None,
        typer.Option(help="What stays together: block (default) or feature; of a data set: official, random, spatial."),
    ] = None,
    holdout: Annotated[Path | None, typer.Option(help="Write the test labels here, for `ecumene assess`.")] = None,
    seed: Annotated[int, typer.Option(help="Of split, start and order of training.")] = 0,
    epochs: Annotated[int | None, typer.Option(help="Most passes over the training set.")] = None,
    max_minutes: Annotated[float | None, typer.Option(help="Stop training after this time.")] = None,
    coverage: Annotated[float, typer.Option(help="Share of pixels whose class set holds the truth.")] = _COVERAGE,
    onnx: Annotated[bool, typer.Option("--onnx", help="Add an ONNX file, to map without torch.")] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="Add an 8-bit ONNX file as well, if it agrees with float32 on the scenes.")
    ] = False,
    cloud_mask: opt.CloudMask = True,
    *,
    declaration: opt.Group,
    published: opt.Group,
    start: opt.Group,
) -> None:
    """Train a model from scenes and a few labelled polygons or points, or from a published data set (--data).

    Systems that remove clouds learn from clear scenes alone.
    """
    initial = from_model.beginning(start)
    said = {
        "--labels": labels,
        "--label-field": label_field != _FIELD,
        "--target": target,
        "--target-unit": target_unit != _UNIT,
        "--extent": extent,
        "--use-bands": use_bands,
        "--holdout": holdout,
        "--int8": int8,
        "--block-size": block_size,
        "--buffer": buffer,
        "--uncertainty": uncertainty != "single",
        "--coverage": coverage != _COVERAGE,
        "--split": split,
        "--onnx": onnx,
        "--from": initial,
    }
    run: dict[str, Any] = {"seed": seed, "epochs": epochs, "max_minutes": max_minutes, "coverage": coverage}
    if published["data"] is not None:
        from_data.refuse_beside(scenes, {name: said[name] for name in _OF_SCENES})
        more = {"split": split, "uncertainty": uncertainty, "onnx": onnx, "initial": initial}
        from_data.train(published, system, out, **more, **run)
        return
    from_data.refuse_data_options(published)
    clouds = own_clouds.system_for_clouds(system, initial)
    if clouds is not None:
        given = [name.removeprefix("--") for name in _NOT_WITH_CLOUDS if said[name]]
        run |= {"use_bands": opt.split_list(use_bands), "uncertainty": uncertainty, "onnx": onnx, "initial": initial}
        run |= {"mask_clouds": cloud_mask, **declaration}
        own_clouds.train(scenes, out, system=clouds, given=given, **run)
        return
    scenes, labels = from_data.require_scenes(scenes, labels)
    run |= {"use_bands": opt.split_list(use_bands), "block_size_m": block_size, "buffer_m": buffer}
    run |= {"mask_clouds": cloud_mask, **declaration}
    if extent is not None:
        given = [name.removeprefix("--") for name in _NOT_WITH_EXTENT if said[name]]
        settlement.train(scenes, labels, extent, out, system=system, given=given, zone_field=label_field, **run)
        return
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
            split_by=split or "block",
            holdout=holdout,
            onnx=onnx,
            int8=int8,
            initial=initial,
            progress=progress,
            **run,
        )
    print_training(model, out)
