"""`ecumene export`: a network for other runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ecumene.cli import options as opt


@opt.grouped(declaration=opt.DECLARATION)
def export(
    model: Annotated[Path, typer.Argument(help="Folder of a model.", show_default=False)],
    to: Annotated[str, typer.Option(help="onnx (into the model's folder) or openvino (a folder of its own).")] = "onnx",
    precision: Annotated[str, typer.Option(help="fp32, int8, or fp16 (openvino only).")] = "fp32",
    purpose: Annotated[
        str, typer.Option("--for", help="ecumene, or deepness: an ONNX file for the plugin of QGIS.")
    ] = "ecumene",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder to write.")] = None,
    calibration: Annotated[
        list[str] | None, typer.Option(help="Scene of the training, for int8; repeat the option for more.")
    ] = None,
    cloud_mask: opt.CloudMaskOrNone = None,
    *,
    declaration: opt.Group,
) -> None:
    """Export a network to ONNX or OpenVINO, in fp32 or int8, or for Deepness."""
    from ecumene.core.progress import progress_bar
    from ecumene.workflows.export import export_model

    with progress_bar("export") as progress:
        done = export_model(
            model,
            to=to,
            precision=precision,
            purpose=purpose,
            out=out,
            calibration=calibration or (),
            mask_clouds=cloud_mask,
            progress=progress,
            **declaration,
        )
    for path in done.paths:
        typer.echo(str(path))
    for note in done.notes:
        typer.echo(note)
