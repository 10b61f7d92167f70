"""What a study will cost: tiles, bytes to read, time and memory, without reading a pixel of its scenes."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ecumene.mapping.contract import MapModel
from ecumene.mapping.options import MapOptions
from ecumene.mapping.plan import Plan, count_workers, make_plan
from ecumene.mapping.windows import round_up
from ecumene.models.bundle import Model
from ecumene.scenes.contract import SceneSource, Stack
from ecumene.workflows.study import StudyPaths, open_study, study_stages

_PROBE_SECONDS = 1.0


@dataclass(frozen=True)
class StudyEstimate:
    """The costs of a study; None where they cannot be known yet.

    Attributes:
        stages: Names of the stages.
        tiles: Tiles of the map.
        pixels: Pixels of the map.
        bytes_to_read: Decoded bytes of the bands that the model needs.
        seconds: Of the map's computation on this machine, from a timed run of the model on made-up pixels.
        memory_bytes: Peak of the process, from the same run, as often as executors run side by side, and the plan's
            tile.
        notes: Sentences about what could not be known.
    """

    stages: tuple[str, ...]
    tiles: int | None = None
    pixels: int | None = None
    bytes_to_read: int | None = None
    seconds: float | None = None
    memory_bytes: int | None = None
    notes: tuple[str, ...] = field(default=())

    def lines(self) -> list[str]:
        """Return the estimate as text."""
        rows = [f"stages: {', '.join(self.stages)}"]
        if self.tiles is not None:
            rows.append(f"tiles: {self.tiles:,}")
        if self.pixels is not None:
            rows.append(f"pixels: {self.pixels:,}")
        if self.bytes_to_read is not None:
            rows.append(f"to read: {self.bytes_to_read / 1e6:,.1f} MB before compression")
        if self.seconds is not None:
            rows.append(f"time of the map: about {_duration(self.seconds)} (model timed on this machine)")
        if self.memory_bytes is not None:
            rows.append(f"memory: about {self.memory_bytes / 2**30:.1f} GiB (measured with one batch)")
        return rows + [f"note: {note}" for note in self.notes]


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def bytes_of(sources: Sequence[SceneSource], keys: Sequence[str] | None = None) -> int:
    """Return the decoded bytes of scenes' bands.

    Args:
        sources: The scenes.
        keys: Channels (`sensor/band`) that count; None: all.
    """
    total = 0
    for source in sources:
        for band in source.bands:
            if keys is None or f"{source.sensor}/{band.name}" in keys:
                total += int(np.prod(band.geobox.shape)) * np.dtype(band.dtype).itemsize
    return total


def _plan(stack: Stack, model: MapModel, options: MapOptions) -> Plan:
    """Return the plan of the map with the backend that `torch` or the trees are; nothing is executed."""
    from ecumene.mapping.layers import resolve_layers

    layers = tuple(spec.name for spec in resolve_layers(model, options))
    return make_plan(
        stack,
        model,
        options,
        layers=layers,
        backend="torch",
        precision="fp32",
    )


def peak_memory() -> int:
    """Return the largest resident set of this process so far, bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) if sys.platform == "darwin" else int(peak) * 1024


def resident_memory() -> int:
    """Return the resident set of this process now, bytes; its peak where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return peak_memory()
    return pages * resource.getpagesize()


def seconds_a_pixel(
    model: Model,
    options: MapOptions,
    *,
    window: tuple[int, int] = (512, 512),
    batch: int = 1,
    frames: int = 1,
    threads: int | None = None,
) -> float:
    """Time a model on made-up pixels for about a second.

    Args:
        model: The model.
        options: For backend and precision; `auto` is timed with torch, the slowest that it may become.
        window: Rows and columns of a run; rounded up to the model's stride.
        batch: Windows of a run.
        frames: Dates of a series.
        threads: Threads of a run; None: all cores.

    Returns:
        Seconds for one pixel of the map.
    """
    backend = "torch" if options.backend == "auto" else options.backend
    executor = model.executor(backend, options.precision, threads)
    rows, cols = (round_up(edge, model.spec.stride) for edge in window)
    series = (frames,) if model.spec.temporal else ()
    shape = (batch, *series, len(model.spec.inputs), rows, cols)
    mean = np.array([band.mean for band in model.spec.inputs], np.float32)[:, None, None]
    image = np.ascontiguousarray(np.broadcast_to(mean, shape), np.float32)
    dates = np.tile(16_600 + 30 * np.arange(frames, dtype=np.float32), (batch, 1)) if model.spec.temporal else None
    executor.run(image, dates)
    runs, start = 0, time.perf_counter()
    while runs == 0 or time.perf_counter() - start < _PROBE_SECONDS:
        executor.run(image, dates)
        runs += 1
    return (time.perf_counter() - start) / (runs * batch * rows * cols)


def _tile_bytes(plan: Plan) -> int:
    """Return what a tile's layers and seams hold in memory, generously."""
    tile = plan.tile(0, 0).window
    return 3 * tile.height * tile.width * (8 + 4 * len(plan.layers))


def _estimate_map(paths: StudyPaths, stages: tuple[str, ...]) -> StudyEstimate:
    from ecumene.workflows.stacks import open_stack

    study = paths.study
    stack = open_stack(paths.scenes, mask_clouds=False, **paths.declaration)
    pixels = int(np.prod(stack.geobox.shape))
    if not (paths.model / "model.json").is_file():
        note = "The model is not trained yet, so tiles, time and memory of the map are not known."
        return StudyEstimate(stages, pixels=pixels, bytes_to_read=bytes_of(stack.sources), notes=(note,))
    model = Model.load(paths.model)
    options = MapOptions.of(**{"probability": True, **study.map})
    matched = model.match(stack)
    plan = _plan(matched, model, options)
    workers, before = count_workers(plan, options), resident_memory()
    a_pixel = seconds_a_pixel(
        model, options, window=plan.window, batch=plan.batch_size, frames=len(plan.frames), threads=plan.threads
    )
    # The weights are counted with every executor although most backends share them: rather too much than too little.
    a_run = max(0, peak_memory() - before)
    return StudyEstimate(
        stages,
        tiles=plan.tile_counts[0] * plan.tile_counts[1],
        pixels=pixels,
        bytes_to_read=bytes_of(matched.sources, [channel.key for channel in matched.channels]),
        seconds=a_pixel * pixels * plan.extra_pixels / workers,
        memory_bytes=peak_memory() + (workers - 1) * a_run + _tile_bytes(plan),
    )


def estimate_study(file: Path | str) -> StudyEstimate:
    """Estimate a study's costs; nothing is written and no pixel of a scene is read.

    Args:
        file: YAML file of the study.

    Returns:
        The estimate.

    Raises:
        EcumeneError: With a sentence, where the study itself would fail before its first pixel.
    """
    paths = open_study(file)
    stages = tuple(stage.name for stage in study_stages(paths))
    if paths.study.grid is not None:
        from ecumene.workflows.study_collection import estimate_collection

        return estimate_collection(paths, stages)
    return _estimate_map(paths, stages)
