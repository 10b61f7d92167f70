"""The moving parts of a run: reader, executors, assembler, writer, joined by bounded queues.

    reader -> executors (1..n) -> assembler -> writer

The reader follows the plan's batches; executors run them; the assembler puts windows together in the
plan's order, whatever order they come in, so that sums are the same each time; the writer stores tiles.
Memory is that of a few batches and of the tiles in the making, never that of the scene.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ModelError
from ecumene.core.progress import Progress
from ecumene.core.window import Window
from ecumene.mapping.cropping import written_pixels
from ecumene.mapping.pipeline import Channel, Pipeline
from ecumene.mapping.plan import Plan, Tile
from ecumene.mapping.postprocess import Postprocessor
from ecumene.mapping.reading import ReadBatch, WindowReader
from ecumene.mapping.seams import TileAssembly
from ecumene.mapping.statistics import band_statistics
from ecumene.mapping.tiles import TileStore, encode_tile
from ecumene.models.contract import Executor
from ecumene.objectives.prediction import LayerSpec

_QUEUE = 1  # batches that wait between stages, beside the one in each stage's hands


@dataclass(frozen=True)
class _Executed:
    tile: Tile
    windows: tuple[tuple[int, int], ...]
    needed: tuple[NDArray[np.bool_], ...]
    output: NDArray[np.float32] | None
    score: NDArray[np.float32] | None
    damaged: tuple[Window, ...] = ()


def execute(executor: Executor, batch: ReadBatch, n_outputs: int) -> _Executed:
    """Run one batch and check what comes back.

    Raises:
        ModelError: If shapes are not what the model's objective says, or the output is not finite.
    """
    if batch.image is None:
        return _Executed(batch.tile, batch.windows, batch.needed, None, None)
    output, score = executor.run(batch.image, batch.dates)
    size = batch.image.shape[0]
    if output.shape != (size, n_outputs, *batch.answer) or score.shape != (size, *batch.answer):
        raise ModelError(
            f"The model gave {tuple(output.shape)} and {tuple(score.shape)} for a batch of "
            f"{tuple(batch.image.shape)}; it does not fit its own objective, so it cannot be mapped."
        )
    output = np.require(output, np.float32, ["W"])
    if not np.isfinite(output.sum()):
        raise ModelError("The model gave numbers that are not finite; check its training or use --precision fp32.")
    score = np.require(score, np.float32, ["W"])
    return _Executed(batch.tile, batch.windows, batch.needed, output, score, batch.damaged)


class Assembler:
    """Collects executed windows into tiles, and finishes tiles when their neighbours' strips are there."""

    def __init__(self, plan: Plan, post: Postprocessor, store: TileStore) -> None:
        """Start with a plan, what fills layers, and the store of strips."""
        self.plan, self.post, self.store = plan, post, store
        self._open: dict[tuple[int, int], TileAssembly] = {}
        self._missing: dict[tuple[int, int], int] = {}
        self._waiting: dict[tuple[int, int], TileAssembly] = {}
        self._left_closed: set[tuple[int, int]] = set()

    def add(self, executed: _Executed) -> list[TileAssembly]:
        """Take a batch; return the tiles that it finished."""
        tile = executed.tile
        place = (tile.row, tile.col)
        if place not in self._open:
            self._open[place] = TileAssembly(self.plan, tile, self.post)
            self._missing[place] = len(self.plan.batches(tile))
        assembly = self._open[place]
        assembly.damaged.update(executed.damaged)
        for k, (i, j) in enumerate(executed.windows):
            needed = executed.needed[k]
            used = executed.output is not None and (bool(executed.damaged) or bool(needed.any()))
            output = executed.output[k] if used and executed.output is not None else None
            score = executed.score[k] if used and executed.score is not None else None
            assembly.add(i, j, needed, output, score)
        self._missing[place] -= 1
        if self._missing[place]:
            return []
        del self._open[place], self._missing[place]
        self._close(assembly)
        self._waiting[place] = assembly
        return self._advance()

    def _close(self, assembly: TileAssembly) -> None:
        assembly.close_interior()
        if assembly.gives_right:
            self.store.write_strip(assembly.tile, "right", assembly.right_strip())

    def _advance(self) -> list[TileAssembly]:
        """Finish whatever has all its strips; a finished tile may be what the next one waits for."""
        finished = []
        moved = True
        while moved:
            moved = False
            for place in sorted(self._waiting):
                assembly = self._waiting[place]
                if place not in self._left_closed and self._close_left(place, assembly):
                    moved = True
                if place in self._left_closed and self._close_top(place, assembly):
                    del self._waiting[place]
                    finished.append(assembly)
                    moved = True
        return finished

    def _close_left(self, place: tuple[int, int], assembly: TileAssembly) -> bool:
        if assembly.needs_left:
            strip = self.store.read_strip(self.plan.tile(place[0], place[1] - 1), "right")
            if strip is None:
                return False
            assembly.close_left(strip)
        if assembly.gives_bottom:
            self.store.write_strip(assembly.tile, "bottom", assembly.bottom_strip())
        self._left_closed.add(place)
        return True

    def _close_top(self, place: tuple[int, int], assembly: TileAssembly) -> bool:
        if assembly.needs_top:
            strip = self.store.read_strip(self.plan.tile(place[0] - 1, place[1]), "bottom")
            if strip is None:
                return False
            assembly.close_top(strip)
        return True


def tile_files(assembly: TileAssembly, specs: Sequence[LayerSpec], plan: Plan) -> dict[str, tuple[bytes, Any]]:
    """Encode the layers of a finished tile, with their statistics."""
    files = {}
    everywhere = written_pixels(plan, assembly.tile)
    for spec in specs:
        stored = assembly.layers[spec.name]
        counted = everywhere if spec.role == "valid" else assembly.needed
        statistics = tuple(band_statistics(band, counted, spec) for band in stored)
        files[spec.name] = (encode_tile(stored, spec, plan, assembly.tile), statistics)
    return files


def run_tiles(
    plan: Plan,
    reader: WindowReader,
    executors: Sequence[Executor],
    build_post: Callable[[], Postprocessor],
    store: TileStore,
    todo: list[Tile],
    n_outputs: int,
    progress: Progress,
) -> None:
    """Compute the given tiles.

    Args:
        plan: The plan.
        reader: Reads batches.
        executors: One a worker.
        build_post: Makes what fills layers; called while the first window is executed, because compiling
            or loading kernels takes a second.
        store: Where tiles go.
        todo: Tiles in the order in which to compute them; the rasters do not depend on it.
        n_outputs: Channels of the raw output.
        progress: Called after each tile.

    Raises:
        EcumeneError: The first failure of any stage; tiles finished so far stay.
    """
    pipeline = Pipeline()
    read: Channel[ReadBatch] = pipeline.channel(_QUEUE)
    # Executors reserve room before they begin, so that there must be room for all of them.
    executed: Channel[_Executed] = pipeline.channel(len(executors), producers=len(executors))
    assembled: Channel[TileAssembly] = pipeline.channel(1)
    total = plan.tile_counts[0] * plan.tile_counts[1]
    finished = total - len(todo)

    def read_all() -> None:
        for tile in todo:
            for windows in plan.batches(tile):
                read.reserve()
                read.put(reader.read(tile, windows), reserved=True)

    def execute_all(executor: Executor) -> None:
        for batch in read:
            executed.reserve()
            executed.put(execute(executor, batch, n_outputs), reserved=True)
            del batch  # not kept alive while waiting for the next

    def assemble_all() -> None:
        assembler = Assembler(plan, build_post(), store)
        for result in executed:
            for assembly in assembler.add(result):
                assembled.put(assembly)
            del result

    def write_all() -> None:
        nonlocal finished
        for assembly in assembled:
            store.finish(assembly.tile, tile_files(assembly, store.specs, plan), assembly.damaged)
            finished += 1
            progress(finished, total, "tiles")

    progress(finished, total, "tiles")
    pipeline.start("read", read_all, [read])
    for number, executor in enumerate(executors):
        pipeline.start(f"execute-{number}", lambda executor=executor: execute_all(executor), [executed])  # type: ignore[misc]
    pipeline.start("assemble", assemble_all, [assembled])
    pipeline.start("write", write_all)
    pipeline.join()
