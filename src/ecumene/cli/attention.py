"""`ecumene attention`: where a classifier of whole images looks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ecumene.cli import from_data
from ecumene.cli import options as opt


def attention(
    model: Annotated[Path, typer.Argument(help="Folder of a model of whole images.", show_default=False)],
    data: Annotated[Path, typer.Option(help="Folder with the data set's official files.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="HTML page to write.", show_default=False)],
    images: Annotated[
        list[str] | None, typer.Option(help="Names of images: repeat the option, or separate them by commas.")
    ] = None,
    classes: Annotated[
        list[str] | None, typer.Option(help="Classes to show; default: the three most probable of each image.")
    ] = None,
    data_set: from_data.DataSetName = None,
    data_option: from_data.DataOption = None,
) -> None:
    """Show where a classifier of whole images looks for its classes: class attention maps, or Grad-CAM."""
    from ecumene.workflows.attention import attention_page

    page = attention_page(
        model,
        data,
        out,
        images=opt.split_list(images) or (),
        classes=opt.split_list(classes) or (),
        data_set=data_set,
        data_options=opt.parse_options(data_option),
    )
    typer.echo(f"Written to {page}.")
