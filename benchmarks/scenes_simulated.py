"""EuroSAT simulated at its published size, in its official files, benched as published but for a bounded length.

27,000 patches of 64 x 64 pixels with 13 bands are written as `ecumene simulate eurosat` writes them, opened by the
official loader, and `ecumene bench eurosat-resnet50` is run on them: the published split, network and optimiser, on
images of `--input-size` pixels and for as many epochs as `--epochs` and `--minutes` allow. The patches do not fit into
the loader's cache. The figures are of SIMULATED data: they say that the path from the files to the table works at this
size, how long it takes and how much memory, and nothing about real scenes.

    python benchmarks/scenes_simulated.py [--epochs 2] [--minutes 30] [--input-size 64] [--data DIR]
    python benchmarks/scenes_simulated.py --trial      # a hundredth of it; nothing is stored

`--data` keeps the patches in a folder, and takes those that are there.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from common import RESULTS, store
from ecumene.samples.datasets.loading import files_of
from ecumene.simulate.datasets import simulate_data_set
from ecumene.systems import get_system
from ecumene.workflows.bench import bench_system

SYSTEM = "eurosat-resnet50"
NUMBER = 27_000
TRIAL = 100
"""A trial has the hundredth part of the patches."""


def simulate(folder: Path, number: int, workers: int) -> dict[str, Any]:
    """Write the patches where they are not there yet; return how long it took and what is there."""
    began = time.monotonic()
    fresh = not folder.exists() or not any(folder.iterdir())
    if fresh:
        simulate_data_set("eurosat", folder, number=number, seed=1, workers=workers)
    seconds = time.monotonic() - began
    sizes = [size for _, size in files_of(folder)]
    return {
        "files": len(sizes),
        "gigabytes": round(sum(sizes) / 1e9, 3),
        "seconds": round(seconds, 1) if fresh else None,
        "workers": workers,
    }


def run(folder: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """Bench the system on the files and return everything that is stored."""
    system = get_system(SYSTEM)
    small = system.model_copy(
        update={"network_arguments": {**system.network_arguments, "input_size": chosen.input_size}}
    )
    began, used = time.monotonic(), time.process_time()
    result = bench_system(small, folder, seeds=1, epochs=chosen.epochs, max_minutes=chosen.minutes, progress=say)
    wall, processor = time.monotonic() - began, time.process_time() - used
    found = result.to_dict()
    history = found["trainings"][0]
    images = found["splits"][0]["images"]
    return {
        "data": {**found["data"], "name": "EuroSAT, simulated in its official files", "kind": "simulated"},
        "system": SYSTEM,
        "protocol": found["protocol"]["name"],
        "what": __doc__.split("\n\n    python")[0],
        "input_size": chosen.input_size,
        "epochs_allowed": chosen.epochs,
        "training": {key: history[key] for key in ("epochs", "best_epoch", "seconds") if key in history},
        "split": images,
        "metrics": found["metrics"],
        "per_class": found["per_class"][0],
        "classes": found["classes"],
        "published": found["published"],
        "parameters": found["parameters"],
        "seconds": {"whole_bench": round(wall, 1), "processor": round(processor, 1)},
        "gigabytes_of_memory": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
    }


def say(done: int, total: int, what: str) -> None:
    """Print one report of the training."""
    print(f"{what}: {done} of {total}", flush=True)


def main() -> None:
    """Simulate, bench, store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=NUMBER)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=30.0, help="begin no epoch that would end after this")
    parser.add_argument("--input-size", type=int, default=64, help="side to which patches are resized")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="of the simulation")
    parser.add_argument("--data", type=Path, help="folder for the patches; a temporary one if not given")
    parser.add_argument("--trial", action="store_true", help="a hundredth of the patches; nothing is stored")
    chosen = parser.parse_args()
    number = chosen.number // TRIAL if chosen.trial else chosen.number
    with tempfile.TemporaryDirectory(prefix="scenes-simulated-") as scratch:
        folder = chosen.data or Path(scratch) / "eurosat"
        written = simulate(folder, number, chosen.workers)
        print(written, flush=True)
        results = {"simulation": written, **run(folder, chosen)}
    for name in ("split", "training", "seconds", "gigabytes_of_memory", "metrics"):
        print(name, results[name])
    if not chosen.trial:
        print(store("scenes_simulated", results).relative_to(RESULTS.parent))


if __name__ == "__main__":
    main()
