"""The verb `map`: a product from a model and scenes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ecumene.core.progress import Progress, silent
from ecumene.mapping.engine import map_stack
from ecumene.mapping.options import MapOptions
from ecumene.mapping.product import Product
from ecumene.mapping.scene_cells import CellModel
from ecumene.models.bundle import Model
from ecumene.workflows.stacks import Declaration, Paths, open_stack


def map_scenes(
    model: str | Path | Model,
    scenes: Paths,
    out: str | Path,
    *,
    clip: str | Path | None = None,
    mask_clouds: bool | None = None,
    step: int | None = None,
    progress: Progress = silent,
    sensor: str | None = None,
    level: str | None = None,
    scale: float | None = None,
    offset: float | None = None,
    nodata: float | None = None,
    unit: str | None = None,
    bands: Any = None,
    time: Any = None,
    crs: str | None = None,
    **options: Any,
) -> Product:
    """Map scenes with a model: value, uncertainty, outlier, valid, and what the task adds.

    A killed run goes on with the same call; the rasters do not depend on how often it was killed.

    Args:
        model: A bundle's folder, or a loaded model.
        scenes: One path an acquisition; bands that the model does not need are ignored.
        out: Folder of the product.
        clip: Vector file; pixels outside of its polygons are not valid.
        mask_clouds: Treat clouds as nodata; None: as in the training.
        step: Of a model of whole images: side in pixels of the cells that get one answer each, from the patch around
            them; None: the patches' own.
        progress: Called with (tiles done, tiles, what).
        sensor: What the files do not say; so are the following.
        level: Product level.
        scale: physical = stored * scale + offset.
        offset: See `scale`.
        nodata: Stored value without data.
        unit: Unit of the physical values.
        bands: Band names in file order.
        time: Acquisition times.
        crs: CRS of files that state none.
        **options: Fields of `MapOptions`.

    Returns:
        The product.

    Raises:
        EcumeneError: With a sentence, for unusable models, scenes, options or folders.
    """
    bundle = Model.of(model)
    masked = bool(bundle.spec.training.get("mask_clouds", True)) if mask_clouds is None else mask_clouds
    declaration: Declaration = {
        "sensor": sensor,
        "level": level,
        "scale": scale,
        "offset": offset,
        "nodata": nodata,
        "unit": unit,
        "bands": bands,
        "time": time,
        "crs": crs,
    }
    cells = CellModel(bundle, step) if step is not None or bundle.spec.patch_size is not None else None
    stack = open_stack(scenes, mask_clouds=masked, **declaration)
    if cells is not None:
        # Windows are counted in cells, each of many pixels.
        options = {"batch_size": 1, "window": cells.window()} | {k: v for k, v in options.items() if v is not None}
    chosen = MapOptions.of(
        **({"probability": True} | {key: value for key, value in options.items() if value is not None})
    )
    release = None if isinstance(model, Model) else bundle.release  # nobody else has it
    return map_stack(stack, cells or bundle, Path(out), options=chosen, clip=clip, progress=progress, release=release)
