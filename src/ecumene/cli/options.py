"""Options that several verbs share: how scenes are declared where their files do not say it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Scenes = Annotated[
    list[str],
    typer.Argument(
        help="Scenes: GeoTIFF, folder, .SAFE, Landsat MTL, STAC item or scene.yaml; join files of one scene with '+'.",
        metavar="SCENE...",
        show_default=False,
    ),
]
ScenesOrNone = Annotated[
    list[str] | None,
    typer.Argument(
        help="Scenes: GeoTIFF, folder, .SAFE, Landsat MTL, STAC item or scene.yaml; join files of one scene with '+'.",
        metavar="SCENE...",
        show_default=False,
    ),
]
Sensor = Annotated[str | None, typer.Option(help="Sensor id, e.g. sentinel-2 (see `ecumene sensors`).")]
Level = Annotated[str | None, typer.Option(help="Product level, e.g. L1C.")]
Scale = Annotated[float | None, typer.Option(help="physical = stored * SCALE + OFFSET.")]
Offset = Annotated[float | None, typer.Option(help="physical = stored * SCALE + OFFSET.")]
Nodata = Annotated[float | None, typer.Option(help="Stored value without data (nan is possible).")]
Unit = Annotated[str | None, typer.Option(help="Unit of the physical values, e.g. dB.")]
Crs = Annotated[str | None, typer.Option(help="CRS of files that state none, e.g. EPSG:32633.")]
Bands = Annotated[
    list[str] | None,
    typer.Option("--bands", "-b", help="Band names in file order: repeat the option, or separate them by commas."),
]
Time = Annotated[
    list[str] | None, typer.Option("--time", help="Acquisition time (UTC), once for all scenes or once per scene.")
]
CloudMask = Annotated[
    bool,
    typer.Option(
        "--cloud-mask/--no-cloud-mask",
        help="Leave out clouds and shadows (SCL, QA bits, or `mask: rule` in scene.yaml).",
    ),
]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder to write.", show_default=False)]


def split_list(values: list[str] | None) -> list[str] | None:
    """Flatten repeated and comma-separated values; None stays None."""
    if not values:
        return None
    return [part.strip() for value in values for part in value.split(",") if part.strip()]
