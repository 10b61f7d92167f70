"""`ecumene map` with `--stac` or `--scenes`: many scenes onto a grid of tiles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ecumene.workflows.map_collection import CollectionResult

_SHOWN = 10

Stac = Annotated[
    str | None, typer.Option("--stac", help="Map a STAC catalogue (folder, file, URL or API) onto a grid of tiles.")
]
SceneList = Annotated[
    Path | None, typer.Option("--scenes", help="Map the scenes of a text file, one path a line, onto a grid of tiles.")
]
Collection = Annotated[str | None, typer.Option(help="Collection of the catalogue; an API needs it.")]
Aoi = Annotated[Path | None, typer.Option(help="Vector file: area to map, with --stac or --scenes.")]
Period = Annotated[str | None, typer.Option(help="START/END, ends included, e.g. 2024-06/2024-08.")]
Grid = Annotated[str | None, typer.Option(help="Tiles: mgrs (default), utm:EDGE or EPSG:CODE:EDGE, metres.")]
Composite = Annotated[
    str | None,
    typer.Option(help="One image a tile: median (default), geomedian, medoid, least-cloudy; none: every day."),
]
Resolution = Annotated[float | None, typer.Option(help="Pixel size of the tiles, metres; default: the model's.")]
Cluster = Annotated[str | None, typer.Option(help="Workers: local, local:N, or a Dask scheduler tcp://HOST:PORT.")]
Allow = Annotated[
    list[str] | None, typer.Option(help="Folder or URL prefix that a catalogue's assets may lie in; repeatable.")
]

TILES = {
    "stac": Stac,
    "scene_list": SceneList,
    "collection": Collection,
    "aoi": Aoi,
    "period": Period,
    "grid": Grid,
    "composite": Composite,
    "resolution": Resolution,
    "allow": Allow,
    "cluster": Cluster,
}
"""Options of many scenes, in the order of `--help`."""


def wanted(tiles: dict[str, Any]) -> bool:
    """Whether the options name many scenes."""
    return tiles["stac"] is not None or tiles["scene_list"] is not None


def refuse_step(step: int | None) -> None:
    """Refuse cells of a model of whole images, which are laid over single scenes only.

    Raises:
        ConfigurationError: If they are asked for.
    """
    from ecumene.core.errors import ConfigurationError

    if step is not None:
        raise ConfigurationError("--step maps single scenes; leave it out with --stac or --scenes.")


def refuse_together(scenes: list[str] | None, clip: Path | None) -> None:
    """Refuse what does not go with tiles.

    Raises:
        ConfigurationError: If scenes are named twice, or a clip is given.
    """
    from ecumene.core.errors import ConfigurationError

    if scenes:
        raise ConfigurationError("Name the scenes either one by one or by --stac or --scenes, not both.")
    if clip is not None:
        raise ConfigurationError("With --stac or --scenes the area is given by --aoi; use it instead of --clip.")


def refuse_alone(scenes: list[str] | None, tiles: dict[str, Any], out: str) -> None:
    """Refuse what makes sense with tiles only.

    Raises:
        ConfigurationError: If there is no scene, an option of tiles, or an address to write to.
    """
    from ecumene.core.errors import ConfigurationError

    if not scenes:
        raise ConfigurationError(
            "No scene was given; name scenes, or a catalogue with --stac, or a list with --scenes."
        )
    for option, value in tiles.items():
        if value is not None:
            raise ConfigurationError(f"--{option} is for many scenes; use it with --stac or --scenes.")
    if "://" in out:
        raise ConfigurationError("A single product is written to a folder; only --stac and --scenes write to a store.")


def map_many(
    model: Path,
    out: str,
    tiles: dict[str, Any],
    declaration: Any,
    options: dict[str, Any],
    *,
    cloud_mask: bool | None = None,
) -> None:
    """Map many scenes and print what was done.

    Args:
        model: Folder of the model.
        out: Folder or address of the collection.
        tiles: Values of `TILES`.
        declaration: What the scenes' files do not say.
        options: Of the maps; None where the user says nothing.
        cloud_mask: Whether clouds are left out; None: as in the training.

    Raises:
        PartialResultError: If some tiles could not be mapped; the others are whole.
    """
    from ecumene.core.progress import progress_bar
    from ecumene.mapping.options import MapOptions
    from ecumene.workflows.map_collection import map_collection

    source = {name: value for name, value in tiles.items() if name not in {"scene_list", "allow", "cluster"}}
    source |= {"scenes": tiles["scene_list"], "allowed_roots": tiles["allow"], "mask_clouds": cloud_mask}
    chosen = MapOptions.of(**{key: value for key, value in options.items() if value is not None})
    with progress_bar("map") as progress:
        result = map_collection(
            model, out, cluster=tiles["cluster"], declaration=declaration, options=chosen, progress=progress, **source
        )
    _print(result)


def _print(result: CollectionResult) -> None:
    from rich.console import Console
    from rich.table import Table

    from ecumene.core.errors import PartialResultError

    table = Table("tiles", "", title=f"collection in {result.out}", title_justify="left")
    for state in ("mapped", "kept", "empty", "failed"):
        table.add_row(state, str(result.summary.count(state)))
    Console().print(table)
    for note in result.notes:
        Console().print(f"note: {note}", highlight=False, soft_wrap=True)
    failures, damaged = result.failures, result.summary.damaged
    for outcome in (failures + damaged)[:_SHOWN]:
        Console(stderr=True).print(f"{outcome.unit}: {outcome.message}", highlight=False, soft_wrap=True, markup=False)
    if failures:
        raise PartialResultError(
            f"{len(failures)} of {len(result.plan.units)} tiles could not be mapped; run the same command again to try "
            "them once more."
        )
    if damaged:
        raise PartialResultError(f"{len(damaged)} of {len(result.plan.units)} tiles have parts that cannot be decoded.")
