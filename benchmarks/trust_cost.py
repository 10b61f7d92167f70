"""What the default trust stack costs a map: error bar, class sets and outlier flag against the class alone.

    python benchmarks/trust_cost.py [--edge 2048] [--rounds 5] [--cache DIR]

One U-Net (ResNet-18, 4 bands, 10 classes, trained briefly on made-up landscapes) maps one made-up scene in turn: with
everything that `map` writes by default, and with value and valid only, without scaling and detector.
Ratios of medians of wall and of processor time go to `results/trust_cost.json`.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from common import store
from ecumene.mapping.engine import map_stack
from ecumene.mapping.options import MapOptions
from engine_data import model_for, open_scenes, scenes_for


def timed(stack: Any, model: Any, out: Path, options: MapOptions) -> tuple[float, float]:
    """Return (wall, processor) seconds of a map."""
    shutil.rmtree(out, ignore_errors=True)
    wall, processor = time.perf_counter(), time.process_time()
    map_stack(stack, model, out, options=options)
    return time.perf_counter() - wall, time.process_time() - processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edge", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--cache", type=Path, default=None)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        cache = chosen.cache or Path(temporary)
        full = model_for(cache, 4, series=False)
        bare = full.with_trust(calibration=None, detector=None)
        stack = open_scenes(scenes_for(cache, chosen.edge, 4, series=False))
        common = {"backend": chosen.backend, "precision": chosen.precision, "quicklook": False}
        cases = {
            "class only": (bare, MapOptions(layers=("value",), **common)),
            "default": (full, MapOptions(**common)),
            "default with probabilities": (full, MapOptions(probability=True, **common)),
        }
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
        for number in range(chosen.rounds + 1):
            for name, (model, options) in cases.items():
                found = timed(stack, model, Path(temporary) / "map", options)
                if number:  # the first round compiles and fills caches
                    seconds[name].append(found)
                    print(f"round {number} {name}: wall {found[0]:.1f} s, processor {found[1]:.1f} s", flush=True)
    medians = {
        name: [statistics.median(values) for values in zip(*found, strict=True)] for name, found in seconds.items()
    }
    ratios = {
        name: {
            kind: round(median[position] / medians["class only"][position], 3)
            for position, kind in enumerate(("wall", "processor"))
        }
        for name, median in medians.items()
    }
    print(ratios)
    settings = {"edge": chosen.edge, "rounds": chosen.rounds, "backend": chosen.backend, "precision": chosen.precision}
    print(store("trust_cost", {"data": "made-up landscapes", "settings": settings, "ratio_to_class_only": ratios}))


if __name__ == "__main__":
    main()
