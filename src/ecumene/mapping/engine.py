"""The engine: a model over a stack of scenes, as a product in a folder.

A *window* is what the network sees at once, a *tile* the unit of work (one set of files when finished), a
*block* the storage unit of the final GeoTIFF. The state of a run is the files that it has written: the
same call after a kill goes on with the rest and ends with the same rasters, byte for byte.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from ecumene.core.errors import NothingToMapError, ProductError, SceneError
from ecumene.core.files import ensure_writable_folder, remove_leftovers
from ecumene.core.progress import Progress, silent
from ecumene.core.window import Window
from ecumene.mapping.choosing import Execution, choose_executor, left_to_us
from ecumene.mapping.clipping import Clip, read_clip
from ecumene.mapping.contract import MapModel
from ecumene.mapping.cropping import CropMask, WrittenPlan, check_crop
from ecumene.mapping.finishing import PRODUCT_FILES, finish_product
from ecumene.mapping.layers import resolve_layers
from ecumene.mapping.memory import keep_freed_memory, return_freed_memory
from ecumene.mapping.options import MapOptions
from ecumene.mapping.plan import Plan, Tile, count_workers, differences, make_plan, read_plan, write_plan
from ecumene.mapping.postprocess import build_postprocessor
from ecumene.mapping.product import ITEM_NAME, Product, open_product
from ecumene.mapping.reading import ClipMask, WindowReader
from ecumene.mapping.running import run_tiles
from ecumene.mapping.tiles import TileStore
from ecumene.scenes.contract import Stack

WORK_FOLDER = ".work"
PLAN_NAME = "plan.json"
LOCK_NAME = "lock"


def map_stack(
    stack: Stack,
    model: MapModel,
    out: Path | str,
    *,
    options: MapOptions | None = None,
    clip: Clip | None = None,
    crop: Window | None = None,
    progress: Progress = silent,
    order: Callable[[list[Tile]], list[Tile]] | None = None,
    release: Callable[[], None] | None = None,
) -> Product:
    """Map a stack: value, uncertainty, outlier, valid, and what objective and calibration add.

    Args:
        stack: Scenes on one grid; channels that the model does not need are dropped.
        model: What to execute.
        out: Folder of the product; created. An unfinished run of the same plan in it is continued.
        options: What the user chose.
        clip: Vector file (or GeoDataFrame); pixels outside of its polygons are not valid.
        crop: The part of the stack's grid that is written; the rest only gives context (see `cropping`).
        progress: Called with (tiles done, tiles, what).
        order: Rearranges the tiles to compute; the rasters do not depend on it.
        release: Called once the executors have what they need of the model, as to let its weights go.

    Returns:
        The product, as `open_product` would return it.

    Raises:
        ContractError: If the stack does not fit the model.
        SceneError: If pixels cannot be read.
        NothingToMapError: If no pixel of the stack is valid (a `SceneError`).
        ModelError: If the model gives something else than it promises.
        ConfigurationError: If options or the clip do not fit.
        ProductError: If the folder cannot be written to, or belongs to another plan.
    """
    options = options or MapOptions()
    out = Path(out)
    matched = model.match(stack)
    specs = resolve_layers(model, options)
    fresh = not out.exists()
    ensure_writable_folder(out)
    try:
        mask, clip_checksum = (None, None) if clip is None else read_clip(clip, matched.geobox)
        if crop is not None:
            check_crop(crop, (int(matched.geobox.shape[0]), int(matched.geobox.shape[1])))
            mask = CropMask(crop, mask)
        layers = tuple(spec.name for spec in specs)
        plan = make_plan(
            matched,
            model,
            options,
            layers=layers,
            backend=options.backend,
            precision=options.precision,
            clip_checksum=clip_checksum,
            crop=crop,
        )
        execution = choose_executor(out / WORK_FOLDER / PLAN_NAME, plan, matched, model, options, mask)
    except BaseException:
        if fresh:
            with contextlib.suppress(OSError):  # somebody else uses it by now
                out.rmdir()
        raise
    # The executors go with the computation: their weights are not needed for what is written after it.
    held = [execution]
    del execution
    with _locked(out):
        plan, finished = _settle(out, held[0].plan, options)
        if finished:
            return open_product(out)
        store = TileStore(out / WORK_FOLDER, plan, specs)
        _compute(matched, model, plan, store, options, held.pop(), mask, progress, order, release)
        return_freed_memory()
        _refuse_empty(out, store, clipped=clip is not None, fresh=fresh)
        finish_product(out, WrittenPlan.of(plan), specs, store, model, matched, options, progress)
        store.discard()
    return open_product(out)


def _compute(
    stack: Stack,
    model: MapModel,
    plan: Plan,
    store: TileStore,
    options: MapOptions,
    execution: Execution,
    mask: ClipMask | None,
    progress: Progress,
    order: Callable[[list[Tile]], list[Tile]] | None,
    release: Callable[[], None] | None,
) -> None:
    """Compute the tiles that are missing."""
    todo = store.unfinished()
    if not todo:
        return
    keep_freed_memory()
    reader = WindowReader(plan, stack, model.spec.temporal, mask)
    executors = execution.executors(count_workers(plan, options))
    del execution
    if release is not None:
        release()
    return_freed_memory()
    tiles = plan.by_shape(todo) if order is None else order(todo)
    build = partial(build_postprocessor, model, store.specs)
    run_tiles(plan, reader, executors, build, store, tiles, model.objective.n_outputs, progress)


def _settle(out: Path, plan: Plan, options: MapOptions) -> tuple[Plan, bool]:
    """Agree with what the folder holds: start anew, go on, or refuse.

    What the user left to the machine (backend, precision, threads) is taken from a run that is continued.

    Returns:
        (the plan that counts, whether its product is finished).

    Raises:
        ProductError: If the folder belongs to another plan and may not be overwritten.
    """
    path = out / WORK_FOLDER / PLAN_NAME
    left = left_to_us(options)
    remove_leftovers(out)
    remove_leftovers(path.parent)
    try:
        kept = read_plan(path)
    except ProductError:
        if not options.overwrite:
            raise
        kept = None
    if kept is not None:
        different = [name for name in differences(kept, plan) if name not in left]
        if not different:
            return kept, (out / ITEM_NAME).exists()
        if not options.overwrite:
            raise ProductError(
                f"{out} holds a run with another plan (it differs in: {', '.join(different)}); "
                "use --overwrite to replace it, or another --out."
            )
    elif (out / ITEM_NAME).exists() and not options.overwrite:
        raise ProductError(f"{out} already holds a product; use --overwrite to replace it, or another --out.")
    _clear(out)
    write_plan(path, plan)
    return plan, False


def _clear(out: Path) -> None:
    """Delete a product and the state of its run; the plan first, so that a kill in between leaves neither."""
    work = out / WORK_FOLDER
    (work / PLAN_NAME).unlink(missing_ok=True)
    shutil.rmtree(work / "tiles", ignore_errors=True)
    shutil.rmtree(work / "strips", ignore_errors=True)
    for pattern in PRODUCT_FILES:
        for path in out.glob(pattern):
            path.unlink(missing_ok=True)


def _refuse_empty(out: Path, store: TileStore, clipped: bool, fresh: bool) -> None:
    valid = sum(sum(band.total for band in record.layers["valid"].statistics) for _, record in store.records())
    if valid:
        return
    damaged = any(record.damaged for _, record in store.records())
    _clear(out)
    with contextlib.suppress(OSError):  # something else is in there, and stays
        (out / WORK_FOLDER / LOCK_NAME).unlink()
        (out / WORK_FOLDER).rmdir()
        if fresh:
            out.rmdir()
    where = "inside of the clip " if clipped else ""
    if damaged:
        raise SceneError(f"Hardly any pixel of the scenes {where}can be decoded; fetch their files again.")
    raise NothingToMapError(
        f"No pixel {where}has data in all bands that the model needs, so there is nothing to map; "
        "check nodata value, cloud mask and extent."
    )


@contextlib.contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Keep a second run out of the folder; the lock goes with the process, however it ends."""
    work = out / WORK_FOLDER
    try:
        work.mkdir(exist_ok=True)
        stream = (work / LOCK_NAME).open("ab")
    except OSError as error:
        raise ProductError(f"The output folder {out} cannot be written to ({error.strerror}).") from error
    with stream:
        try:
            import fcntl
        except ImportError:  # no advisory locks on this system
            yield
            return
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A run that found nothing to map deletes its lock: then this one guards nothing.
            if not os.path.samestat(os.fstat(stream.fileno()), (work / LOCK_NAME).stat()):
                raise FileNotFoundError
        except OSError as error:
            raise ProductError(f"Another run is writing to {out}; wait for it, or choose another --out.") from error
        yield
