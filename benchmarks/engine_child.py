"""One measurement of the engine's benchmark, in a process of its own; prints one line of JSON.

    python benchmarks/engine_child.py map '{"cache": ..., "edge": 2048, ...}'
    python benchmarks/engine_child.py forward '{...}'

`map` times a whole map and what its parts cost; `forward` the bare passes of the same backend over as many
pixels. Processor seconds count all threads of the process.
"""

from __future__ import annotations

import functools
import json
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_STARTED = time.perf_counter()


class Stopwatch:
    """Exclusive seconds of named functions: what a function calls of the others is not counted twice."""

    def __init__(self) -> None:
        self.wall: dict[str, float] = defaultdict(float)
        self.processor: dict[str, float] = defaultdict(float)
        self._local = threading.local()
        self._lock = threading.Lock()

    def watch(self, owner: Any, attribute: str, name: str, *, all_threads: bool = False) -> None:
        """Replace a function or method by one that counts its time under `name`.

        Args:
            owner: Class or module.
            attribute: Name in it.
            name: Row of the table.
            all_threads: Count the whole process's processor time, for a stage that runs alone with helper threads.
        """
        function = getattr(owner, attribute)

        @functools.wraps(function)
        def timed(*args: Any, **keywords: Any) -> Any:
            with self.counted(name, all_threads):
                return function(*args, **keywords)

        setattr(owner, attribute, timed)

    def counted(self, name: str, all_threads: bool = False) -> Any:
        """Return a context that counts under `name`."""
        return _Counted(self, name, time.process_time if all_threads else time.thread_time)


class _Counted:
    def __init__(self, watch: Stopwatch, name: str, clock: Callable[[], float]) -> None:
        self.watch, self.name, self.clock = watch, name, clock

    def __enter__(self) -> None:
        stack = self.watch._local.__dict__.setdefault("stack", [])
        stack.append([0.0, 0.0])
        self.start = time.perf_counter(), self.clock()

    def __exit__(self, *exception: Any) -> None:
        wall, processor = time.perf_counter() - self.start[0], self.clock() - self.start[1]
        stack = self.watch._local.stack
        inner = stack.pop()
        if stack:
            stack[-1][0] += wall
            stack[-1][1] += processor
        with self.watch._lock:
            self.watch.wall[self.name] += wall - inner[0]
            self.watch.processor[self.name] += processor - inner[1]


def watch_engine(watch: Stopwatch) -> None:
    """Count the parts of a map."""
    from ecumene.mapping import engine, finishing, plan, postprocess, reading, running, seams, tiles

    watch.watch(reading.WindowReader, "read", "read")
    watch.watch(running, "execute", "check of the output")
    for method in ("core", "moments", "seam"):
        watch.watch(postprocess.ClassPostprocessor, method, "post-process")
    for method in ("add", "close_interior", "close_left", "close_top"):
        watch.watch(seams.TileAssembly, method, "blend")
    for method in ("write_strip", "read_strip"):
        watch.watch(tiles.TileStore, method, "strips")
    watch.watch(running, "tile_files", "encode tiles")
    watch.watch(tiles.TileStore, "finish", "write tiles")
    watch.watch(plan, "input_records", "checksums of inputs")
    watch.watch(engine, "build_postprocessor", "load kernels")
    watch.watch(engine, "finish_product", "finish", all_threads=True)
    for name, row in (("write_item", "Item"), ("_quicklook", "quick-look"), ("layer_asset", "checksums of layers")):
        watch.watch(finishing, name, row, all_threads=True)
    watch.watch(finishing, "write_layers", "write COGs", all_threads=True)


class Watched:
    """An executor that counts its own time."""

    def __init__(self, executor: Any, watch: Stopwatch) -> None:
        self._executor, self._watch = executor, watch
        self.backend, self.precision = executor.backend, executor.precision

    def side_by_side(self, number: int) -> list[Any]:
        """See `models.contract.Sharing`."""
        return [Watched(executor, self._watch) for executor in self._executor.side_by_side(number)]

    def run(self, *args: Any) -> Any:
        """See `Executor.run`."""
        with self._watch.counted("forward"):
            return self._executor.run(*args)


def peak_rss_mib() -> float:
    """Largest resident memory of this process so far."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("This system does not report peak memory.")


def _scenes(request: dict[str, Any]) -> list[Path]:
    from engine_data import scenes_for

    return scenes_for(
        Path(request["cache"]),
        request["edge"],
        request["bands"],
        series=request["series"],
        height=request.get("height"),
    )


def run_map(request: dict[str, Any]) -> dict[str, Any]:
    """Map once."""
    from ecumene.mapping import MapOptions, map_stack
    from engine_data import model_for, open_scenes

    imported = time.perf_counter()
    model = model_for(Path(request["cache"]), request["bands"], series=request["series"])
    loaded = time.perf_counter()
    stack = open_scenes(_scenes(request))
    watch = Stopwatch()
    if request["stages"]:
        watch_engine(watch)
        build = model.executor
        model.executor = lambda *args, **keywords: Watched(build(*args, **keywords), watch)
    first: list[float] = []

    def progress(done: int, total: int, what: str) -> None:
        if what == "tiles" and done == 1 and not first:
            first.append(time.perf_counter())

    options = MapOptions.of(**request["options"])
    # Importing the libraries and building the network is no part of a peer's time either; `process_s` has it.
    model.executor(options.backend if options.backend != "auto" else "torch", "fp32", 1)
    start = time.perf_counter(), time.process_time()
    # As `ecumene map` does, which loads the model for one map.
    product = map_stack(stack, model, request["out"], options=options, progress=progress, release=model.release)
    wall, processor = time.perf_counter() - start[0], time.process_time() - start[1]
    execution = product.properties["ecumene:execution"]
    return {
        "wall_s": wall,
        "processor_s": processor,
        "imports_s": imported - _STARTED,
        "model_load_s": loaded - imported,
        "start_to_first_tile_s": (first[0] if first else time.perf_counter()) - _STARTED,
        "process_s": time.perf_counter() - _STARTED,
        "peak_rss_mib": peak_rss_mib(),
        "executed_over_mapped": execution["executed_over_mapped_pixels"],
        "execution": execution,
        "stages_wall_s": dict(watch.wall),
        "stages_processor_s": dict(watch.processor),
    }


def _bare(executor: Any, model: Any, image: Any, dates: Any) -> Callable[[], None] | None:
    """Return the network alone (no outlier score, no conversion to NumPy), where the executor shows it."""
    module = getattr(executor, "module", None)
    network = getattr(module, "network", None)
    if network is None:
        return None
    import torch

    x = torch.from_numpy(image)
    x = x if model.spec.temporal else x.to(memory_format=torch.channels_last)
    when = None if dates is None else torch.from_numpy(dates)
    bf16 = executor.precision == "bf16"

    def run() -> None:
        torch.set_num_threads(executor.threads)
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            network(x, when, None) if when is not None else network(x)

    return run


def _streams(calls: list[Callable[[], None]], repeats: int) -> tuple[float, float]:
    """Return wall and processor seconds of some callables, each `repeats` times in a thread of its own."""

    def body(call: Callable[[], None]) -> None:
        for _ in range(repeats):
            call()

    threads = [threading.Thread(target=body, args=(call,)) for call in calls]
    start = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - start[0], time.process_time() - start[1]


def _executors(model: Any, backend: str, precision: str, threads: int, streams: int) -> list[Any]:
    """Return executors side by side, as the engine makes them."""
    from ecumene.models.contract import Sharing

    first = model.executor(backend, precision, threads)
    if isinstance(first, Sharing):
        return list(first.side_by_side(streams))
    return [first, *(model.executor(backend, precision, threads) for _ in range(streams - 1))]


def run_forward(request: dict[str, Any]) -> dict[str, Any]:
    """Time forward passes in several arrangements, scaled to the pixels of the scene."""
    from ecumene.mapping.memory import keep_freed_memory
    from engine_data import DATES, SCALE, model_for

    keep_freed_memory()  # as a map does
    model = model_for(Path(request["cache"]), request["bands"], series=request["series"])
    pixels, cores = request["edge"] ** 2, request["cores"]
    frames = len(DATES) if request["series"] else None
    results = []
    for side, batch, streams in request["arrangements"]:
        threads = max(1, cores // streams)
        executors = _executors(model, request["backend"], request["precision"], threads, streams)
        shape = (batch, *(() if frames is None else (frames,)), request["bands"], side, side)
        generator = np.random.default_rng(5)
        image = (generator.integers(900, 3300, shape) * np.float32(SCALE)).astype(np.float32)
        dates = None
        if frames is not None:
            days = (np.array(DATES, "datetime64[D]") - np.datetime64("1970-01-01")).astype(np.float32)
            dates = np.tile(days, (batch, 1))
        repeats = max(2, round(request["sample_pixels"] / (batch * side * side * streams)))
        share = pixels / (batch * side * side * streams * repeats)
        row = {"window": side, "batch": batch, "streams": streams, "threads": threads}
        runs = [functools.partial(executor.run, image, dates) for executor in executors]
        bare = [_bare(executor, model, image, dates) for executor in executors]
        ways: dict[str, list[Any]] = {"deployed": runs}
        if all(bare):
            ways["network"] = bare
        for name, calls in ways.items():
            _streams(calls, 1)
            wall, processor = _streams(calls, repeats)
            row |= {f"{name}_wall_s": wall * share, f"{name}_processor_s": processor * share}
        results.append(row)
    return {"arrangements": results, "peak_rss_mib": peak_rss_mib()}


def main() -> None:
    """Run one measurement."""
    kind, request = sys.argv[1], json.loads(sys.argv[2])
    result = {"map": run_map, "forward": run_forward}[kind](request)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
