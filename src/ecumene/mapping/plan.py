"""The plan of a run: everything that decides the bytes of its rasters, written before the first pixel.

A run that finds its own plan goes on where it stopped; one that finds another plan refuses. How many
workers share the work is not part of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ecumene import __version__
from ecumene.core.errors import ConfigurationError, ProductError
from ecumene.core.files import write_text
from ecumene.core.threads import available_threads
from ecumene.core.window import Window
from ecumene.mapping.blocks import block_layout
from ecumene.mapping.checksums import InputRecord, input_records
from ecumene.mapping.contract import MapModel
from ecumene.mapping.options import MapOptions
from ecumene.mapping.windows import Axis, choose_size, round_up
from ecumene.models.contract import ModelSpec
from ecumene.models.hardware import has_gpu
from ecumene.models.selection import ExecutionChoice
from ecumene.objectives.prediction import LayerSpec
from ecumene.scenes.contract import Stack

PLAN_VERSION = 2
Coefficients = tuple[float, float, float, float, float, float]
"""Affine coefficients a..f: x = a col + b row + c, y = d col + e row + f."""

_MINIMUM_OVERLAP = 16
_STORED_BLOCK = 512  # the usual edge of a stored block
_BATCH_PIXELS = 1 << 18  # of one execution: enough work a call, little memory
_INPUT_BYTES = 56 << 20  # of one execution: 13 bands of 1024 x 1024 pixels fit


def window_transform(transform: Coefficients, window: Window) -> Coefficients:
    """Return the affine coefficients of a window of a grid."""
    a, b, c, d, e, f = transform
    return (a, b, c + a * window.col + b * window.row, d, e, f + d * window.col + e * window.row)


def _inner_windows(axis: Axis, windows: int) -> int:
    """Number of windows along an axis that share tiles: all, or all but a last one of another extent.

    All windows of a tile then have one shape, and a graph that was compiled for a shape is done with after the tiles
    that have it (`Plan.by_shape`).
    """
    return axis.count - (axis.count > 1 and windows > 1 and axis.extent(axis.count - 1) != axis.size)


def count_tiles(axis: Axis, windows: int) -> int:
    """Number of tiles of up to `windows` windows along an axis."""
    inner = _inner_windows(axis, windows)
    return -(-inner // windows) + (axis.count - inner)


def windows_of_tile(index: int, axis: Axis, windows: int) -> tuple[int, int]:
    """Return the first and the last window of a tile along an axis."""
    inner = _inner_windows(axis, windows)
    first = min(index * windows, inner)
    return first, (min(first + windows, inner) if first < inner else axis.count) - 1


@dataclass(frozen=True, order=True)
class Tile:
    """One tile: windows `rows` x `cols` (ranges of lattice indices) and the pixels that their cells cover."""

    row: int
    col: int
    first_row: int
    last_row: int
    first_col: int
    last_col: int
    window: Window

    @property
    def name(self) -> str:
        """File stem, unique in a run."""
        return f"r{self.row:05d}c{self.col:05d}"


class Plan(BaseModel):
    """What a run will do; equal plans give equal rasters."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    version: int = PLAN_VERSION
    software: str = __version__
    crs: str
    transform: Coefficients
    shape: tuple[int, int]
    window: tuple[int, int]
    overlap: int
    multiple: int
    tile_windows: tuple[int, int]
    batch_size: int
    backend: str
    precision: str
    threads: int
    layers: tuple[str, ...]
    polygons: bool
    minimum_mapping_unit_m2: float
    compress: str
    blocksize: int
    model: str
    model_checksum: str
    inputs: tuple[InputRecord, ...]
    frames: tuple[str | None, ...]
    channels: tuple[str, ...]
    clip_checksum: str | None = None
    crop: tuple[int, int, int, int] | None = None
    first_date: int | None = Field(default=None, exclude_if=lambda value: value is None)
    execution: ExecutionChoice | None = None

    @cached_property
    def rows(self) -> Axis:
        """Windows along rows."""
        return Axis(self.shape[0], self.window[0], self._overlap_of(0), self.multiple)

    @cached_property
    def cols(self) -> Axis:
        """Windows along columns."""
        return Axis(self.shape[1], self.window[1], self._overlap_of(1), self.multiple)

    def _overlap_of(self, axis: int) -> int:
        return self.overlap if self.shape[axis] > self.window[axis] else 0

    @property
    def extra_pixels(self) -> float:
        """Executed over mapped pixels."""
        return self.rows.executed * self.cols.executed / (self.shape[0] * self.shape[1])

    @property
    def least_batches(self) -> int:
        """Executions if all batches were full; there are some more where tiles or shapes of windows divide them."""
        return -(-self.rows.count * self.cols.count // self.batch_size)

    @property
    def tile_counts(self) -> tuple[int, int]:
        """Number of tile rows and tile columns."""
        return count_tiles(self.rows, self.tile_windows[0]), count_tiles(self.cols, self.tile_windows[1])

    def by_shape(self, tiles: Iterable[Tile]) -> list[Tile]:
        """Return tiles in an order in which the shape of windows seldom changes: those inside of the grid first."""

        def key(tile: Tile) -> tuple[int, int, Tile]:
            return -self.rows.extent(tile.first_row), -self.cols.extent(tile.first_col), tile

        return sorted(tiles, key=key)

    def tile(self, row: int, col: int) -> Tile:
        """Return the tile in tile row `row` and tile column `col`."""
        first_row, last_row = windows_of_tile(row, self.rows, self.tile_windows[0])
        first_col, last_col = windows_of_tile(col, self.cols, self.tile_windows[1])
        top, left = self.rows.start(first_row), self.cols.start(first_col)
        bottom, right = self.rows.cell(last_row)[1], self.cols.cell(last_col)[1]
        return Tile(row, col, first_row, last_row, first_col, last_col, Window(top, left, bottom - top, right - left))

    def tiles(self) -> Iterator[Tile]:
        """Yield all tiles, row by row."""
        for row in range(self.tile_counts[0]):
            for col in range(self.tile_counts[1]):
                yield self.tile(row, col)

    def batches(self, tile: Tile) -> list[tuple[tuple[int, int], ...]]:
        """Return the windows (lattice row, lattice column) of a tile in their fixed batches.

        All windows of a batch have one shape. What is together in a batch depends on the plan alone. Small windows
        go block by block of the stored rasters, so that a block is decoded once and not once a row of windows.
        """

        def block(place: tuple[int, int]) -> tuple[int, int, tuple[int, int]]:
            return self.rows.start(place[0]) // _STORED_BLOCK, self.cols.start(place[1]) // _STORED_BLOCK, place

        rows, cols = range(tile.first_row, tile.last_row + 1), range(tile.first_col, tile.last_col + 1)
        groups: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for i, j in sorted(((i, j) for i in rows for j in cols), key=block):
            groups.setdefault((self.rows.extent(i), self.cols.extent(j)), []).append((i, j))
        size = self.batch_size
        chunks = [tuple(group[k : k + size]) for group in groups.values() for k in range(0, len(group), size)]
        return sorted(chunks, key=lambda chunk: block(chunk[0]))

    def text(self) -> str:
        """Return the plan as stable JSON text."""
        return json.dumps(self.model_dump(mode="json"), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


MOST_EXECUTORS = 4
"""Executors of a run where the user names no number: each of them needs memory for a window of its own."""


def _on_gpu(backend: str) -> bool:
    """Whether a backend, or what `auto` takes, computes on a GPU that is there."""
    return backend in ("auto", "torch", "compiled") and has_gpu()


def share_cores(options: MapOptions, batches: int, backend: str | None = None) -> tuple[int, int]:
    """Share the processors among the executors of a run, where the user has not.

    Several executors of one thread each are faster than one of several threads: threads that share a layer wait for
    each other at its end, and what a library does in one thread alone leaves the others idle (`benchmarks/engine.py`
    measures both). A GPU, and torch's compiler, get one executor; so does a user who asks for a number of threads.

    Args:
        options: What the user chose.
        batches: That the run will execute; more executors than batches would have nothing to do.
        backend: What executes, where it is no longer the user's choice.

    Returns:
        (executors side by side, threads of each).
    """
    cores = available_threads()
    backend = backend or options.backend
    alone = options.threads is not None or backend == "compiled" or _on_gpu(backend)
    workers = options.workers or (1 if alone else min(cores, MOST_EXECUTORS))
    workers = max(1, min(workers, batches))
    return workers, options.threads or max(1, cores // workers)


def count_workers(plan: Plan, options: MapOptions) -> int:
    """Return how many executors run a plan side by side; it does not change the plan's rasters."""
    if options.workers is not None:
        return max(1, min(options.workers, plan.least_batches))
    if plan.backend == "compiled":
        return 1
    # A run that is continued keeps its threads, whatever this machine would have chosen.
    most = share_cores(options, plan.least_batches, plan.backend)[0]
    return max(1, min(most, available_threads() // plan.threads))


def choose_window(
    spec: ModelSpec, shape: tuple[int, int], options: MapOptions, frames: int
) -> tuple[tuple[int, int], int]:
    """Choose window size and overlap for a model and a grid.

    Window networks share twice their margin, at least 16 pixels; per-pixel models share nothing. The
    target grows with the overlap so that it costs about 7 %, and shrinks where a window's input would
    be large (series, hyperspectral).

    Returns:
        ((rows, columns), overlap).

    Raises:
        ConfigurationError: If the user's window or overlap does not fit.
    """
    per_pixel = spec.margin == 0 and spec.stride == 1
    overlap = options.overlap
    if overlap is None:
        overlap = 0 if per_pixel else max(_MINIMUM_OVERLAP, 2 * spec.margin)
        if options.window is not None:
            overlap = min(overlap, min(options.window) // 2)
    if options.window is not None:
        size = (options.window[0], options.window[1])
        for length, edge in zip(shape, size, strict=True):
            Axis(length, edge, overlap, spec.stride)
        return size, overlap
    target = min(1024, max(256, 40 * overlap))
    if per_pixel:
        target = 128 if spec.temporal else 512
    pixel_bytes = 4 * len(spec.inputs) * frames
    while target > 64 and target * target * pixel_bytes > _INPUT_BYTES:
        target //= 2
    target = round_up(max(target, 2 * overlap), spec.stride)
    rows, cols = (choose_size(length, overlap, spec.stride, target) for length in shape)
    return (rows, cols), overlap


def make_plan(
    stack: Stack,
    model: MapModel,
    options: MapOptions,
    *,
    layers: tuple[str, ...],
    backend: str,
    precision: str,
    threads: int | None = None,
    clip_checksum: str | None = None,
    crop: Window | None = None,
) -> Plan:
    """Plan the map of a stack whose channels already match the model.

    Args:
        stack: The matched stack.
        model: The model.
        options: What the user chose.
        layers: Names of the layers to write.
        backend: What executes the model, or `auto` until `choosing` has settled it.
        precision: Its arithmetic, or `auto`.
        threads: Threads of one executor; None: this machine's share of one, see `share_cores`.
        clip_checksum: Checksum of the clip geometry on this grid.
        crop: The part of the grid that is written; None: all of it.

    Returns:
        The plan.

    Raises:
        ConfigurationError: If window, overlap or grid cannot work.
        SceneError: If an input file cannot be read.
    """
    geobox: GeoBox = stack.geobox
    if geobox.crs is None:
        raise ConfigurationError("A map needs a coordinate system; declare the scene's with --crs.")
    shape = (int(geobox.shape[0]), int(geobox.shape[1]))
    frames = len(stack.times) if model.spec.temporal else 1
    window, overlap = choose_window(model.spec, shape, options, frames)
    inside = [max(1, edge - overlap) for edge in window]
    tile_windows = (max(1, round(options.tile / inside[0])), max(1, round(options.tile / inside[1])))
    batch = options.batch_size or max(1, min(8, _BATCH_PIXELS // (window[0] * window[1])))
    plan = Plan(
        crs=crs_text(geobox.crs),
        transform=coefficients(geobox),
        shape=shape,
        window=window,
        overlap=overlap,
        multiple=model.spec.stride,
        tile_windows=tile_windows,
        batch_size=batch,
        backend=backend,
        precision=precision,
        threads=threads or 1,
        layers=layers,
        polygons=options.polygons,
        minimum_mapping_unit_m2=options.minimum_mapping_unit_m2,
        compress=options.compress,
        blocksize=block_layout(shape, options.blocksize)[0],
        model=model.spec.name,
        model_checksum=model.checksum,
        inputs=input_records(stack.sources),
        frames=tuple(None if time is None else str(time) for time in stack.times),
        channels=tuple(channel.key for channel in stack.channels),
        clip_checksum=clip_checksum,
        crop=None if crop is None else (crop.row, crop.col, crop.height, crop.width),
        first_date=options.first_date,
    )
    if threads is not None:
        return plan
    executed = backend if model.spec.kind == "network" else model.spec.kind
    return plan.model_copy(update={"threads": share_cores(options, plan.least_batches, executed)[1]})


def crs_text(crs: CRS) -> str:
    """Return a coordinate system as `EPSG:CODE` where it has a code, else as WKT."""
    epsg = crs.to_epsg()
    return f"EPSG:{epsg}" if epsg else str(crs.to_wkt())


def coefficients(geobox: GeoBox) -> Coefficients:
    """Return a grid's affine coefficients a to f."""
    affine = geobox.affine
    return affine.a, affine.b, affine.c, affine.d, affine.e, affine.f


def plan_of_files(
    geobox: GeoBox,
    crs: str,
    layers: Iterable[LayerSpec],
    name: str,
    *,
    window: tuple[int, int] | None = None,
    inputs: tuple[InputRecord, ...] = (),
) -> Plan:
    """Plan the files of a product that no model makes: the writers need grid, tiles and compression from a plan.

    Args:
        geobox: The grid.
        crs: Its coordinate system, see `crs_text`.
        layers: What is written.
        name: Of what makes it.
        window: Rows and columns of a tile; None: one tile is the whole grid.
        inputs: Files that went in.
    """
    shape = (int(geobox.shape[0]), int(geobox.shape[1]))
    return Plan(
        crs=crs,
        transform=coefficients(geobox),
        shape=shape,
        window=window or shape,
        overlap=0,
        multiple=1,
        tile_windows=(1, 1),
        batch_size=1,
        backend="none",
        precision="fp64",
        threads=1,
        layers=tuple(spec.name for spec in layers),
        polygons=False,
        minimum_mapping_unit_m2=0.0,
        compress="zstd",
        blocksize=512,
        model=name,
        model_checksum="",
        inputs=inputs,
        frames=(),
        channels=(),
    )


def read_plan(path: Path) -> Plan | None:
    """Read a plan that a run has left, or None if there is none.

    Raises:
        ProductError: If the file is not a plan of this version.
    """
    if not path.is_file():
        return None
    try:
        return Plan.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError, ConfigurationError) as error:
        raise ProductError(
            f"{path} is not a plan of this version of ecumene; use --overwrite to start anew, or another --out."
        ) from error


def write_plan(path: Path, plan: Plan) -> None:
    """Write the plan atomically."""
    write_text(path, plan.text())


def differences(first: Plan, second: Plan) -> tuple[str, ...]:
    """Return the names of the fields in which two plans differ."""
    names = type(first).model_fields
    return tuple(name for name in names if getattr(first, name) != getattr(second, name))
