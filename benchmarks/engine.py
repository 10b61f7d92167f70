"""How much longer a whole map takes than the network alone, and what other ways take for the same scene.

Makes scenes (a COG of uint16 bands; a series of 12 dates), trains small models on them, and measures in
processes of their own, interleaved round by round, medians reported:

- the bare forward passes over as many pixels as the scene has, in several arrangements of windows, batches,
  threads and streams (the fastest counts), with and without the outlier score;
- the whole map: value, uncertainty, outlier, valid, as validated COGs with a STAC Item;
- where the rest goes; peak memory at single and double height; start-up;
- with `--peers name=python,...` other ways to map the same scene with the same weights (see `peers/`), with settings as
  their documentation has them; with `--tune` also with the fastest of a few settings that a small scene has shown.

On a machine that others use, only ratios of processor seconds mean something; on a quiet one, wall time.

    python benchmarks/engine.py --size 2048 --bands 4 --precision bf16 --rounds 2        # a trial
    python benchmarks/engine.py --parts image --bands 4 --precision bf16 openvino:int8 --store    # some parts only
    python benchmarks/engine.py --peers torchgeo=/path/to/python,dask=/path/to/python --tune --store    # everything
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from common import RESULTS, machine, store
from engine_data import CLASSES, DATES, export_weights, model_for, scenes_for
from engine_peers import peer_scripts, run_peer, tune

HERE = Path(__file__).parent
ARRANGEMENTS = ((1056, 1, 1), (512, 1, 1), (256, 8, 1), (1056, 1, 2), (512, 1, 2), (256, 8, 2))
"""(window, batch, streams) of the bare forward passes; the cores are shared by the streams."""
SERIES_ARRANGEMENTS = ((128, 1, 1), (256, 1, 1), (128, 1, 2), (256, 1, 2))
PARTS = ("image", "series", "memory", "command", "peers")


def child(kind: str, request: dict[str, Any]) -> dict[str, Any]:
    """Run one measurement in a process of its own."""
    command = [sys.executable, str(HERE / "engine_child.py"), kind, json.dumps(request)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE)
    if result.returncode:
        raise SystemExit(f"The measurement {kind} failed:\n{result.stderr[-3000:]}")
    return json.loads(result.stdout.strip().splitlines()[-1])


def medians(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the median of every number that all rows have, also of tables of numbers."""
    result: dict[str, Any] = {}
    for key, first in rows[0].items():
        values = [row.get(key) for row in rows]
        if isinstance(first, dict):
            keys = sorted({name for value in values for name in (value or {})})
            if all(isinstance(number, (int, float)) for value in values for number in value.values()):
                result[key] = {name: statistics.median(value.get(name, 0.0) for value in values) for name in keys}
        elif isinstance(first, (int, float)):
            result[key] = statistics.median(values)
    return result


class Case:
    """One scene, one backend and precision: its measurements and what follows from them."""

    def __init__(self, base: dict[str, Any], series: bool) -> None:
        self.base = base
        self.arrangements = SERIES_ARRANGEMENTS if series else ARRANGEMENTS
        self.maps: list[dict[str, Any]] = []
        self.staged: list[dict[str, Any]] = []
        self.forward: list[list[dict[str, Any]]] = []

    def measure(self, out: Path) -> None:
        """Measure once: forward and map; the first time also the map with its parts counted."""
        largest = max(side * side * batch * streams for side, batch, streams in self.arrangements)
        sample = 2 * largest
        request = self.base | {"arrangements": self.arrangements, "sample_pixels": sample}
        self.forward.append(child("forward", request)["arrangements"])
        for stages, kept in ((False, self.maps), (True, self.staged)):
            if stages and kept:
                continue
            shutil.rmtree(out, ignore_errors=True)
            kept.append(child("map", self.base | {"out": str(out), "stages": stages}))

    def result(self) -> dict[str, Any]:
        """Return medians and ratios."""
        table = [medians(rows) for rows in zip(*self.forward, strict=True)]
        best = {}
        for way in ("deployed", "network"):
            for clock in ("wall", "processor"):
                values = [row[f"{way}_{clock}_s"] for row in table if f"{way}_{clock}_s" in row]
                if values:
                    best[f"{way}_{clock}_s"] = min(values)
        maps = medians(self.maps)
        ratios = {
            f"map_over_{key.removesuffix('_s')}": maps["processor_s" if "processor" in key else "wall_s"] / value
            for key, value in best.items()
        }
        staged = medians(self.staged)
        return {
            "execution": self.maps[0]["execution"],
            "ratios": ratios,
            "map": {key: value for key, value in maps.items() if not key.startswith("stages") and key != "execution"},
            "best_forward": best,
            "forward_arrangements": table,
            "stages_wall_s": staged["stages_wall_s"],
            "stages_processor_s": staged["stages_processor_s"],
        }


def measure_cases(arguments: argparse.Namespace, folder: Path, series: bool) -> dict[str, Any]:
    """Measure all combinations, interleaved round by round."""
    cases: dict[str, Case] = {}
    edge = arguments.series_size if series else arguments.size
    for bands in arguments.bands if not series else arguments.bands[:1]:
        for way in arguments.precision:
            backend, _, precision = way.rpartition(":")
            backend = backend or "torch"
            base = {
                "cache": str(arguments.cache),
                "edge": edge,
                "bands": bands,
                "series": series,
                "backend": backend,
                "precision": precision,
                "cores": len(os.sched_getaffinity(0)),
                "options": {"backend": backend, "precision": precision, "quicklook": True} | arguments.options,
            }
            cases[f"{bands} bands, {backend} {precision}"] = Case(base, series)
    for _ in range(arguments.rounds):
        for case in cases.values():
            case.measure(folder / "map")
    results = {name: case.result() for name, case in cases.items()}
    for name, result in results.items():
        print_case(f"{'series of 12, ' if series else ''}{edge} x {edge}, {name}", result)
    return results


def print_case(title: str, result: dict[str, Any]) -> None:
    """Print what a case says."""
    execution = result["execution"]
    extra = result["map"]["executed_over_mapped"]
    print(f"\n{title}: window {execution['window']}, overlap {execution['overlap']}, executed/mapped {extra:.3f}")
    for name, value in result["ratios"].items():
        print(f"  {name:32s} {value:6.3f}")
    print(f"  peak {result['map']['peak_rss_mib']:.0f} MiB, first tile {result['map']['start_to_first_tile_s']:.1f} s")
    for row in result["forward_arrangements"]:
        shown = ", ".join(f"{key} {value:.2f}" for key, value in row.items())
        print(f"  forward: {shown}")
    total = result["map"]["processor_s"]
    for name, value in sorted(result["stages_processor_s"].items(), key=lambda item: -item[1]):
        wall = result["stages_wall_s"][name]
        print(f"  {name:22s} processor {value:7.2f} s ({value / total:6.1%})   wall {wall:7.2f} s")


def measure_memory(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Peak resident memory of a map at single and double height."""
    result: dict[str, Any] = {}
    for way in arguments.precision:
        backend, _, precision = way.rpartition(":")
        for bands in arguments.bands:
            peaks = []
            for height in (arguments.size, 2 * arguments.size):
                out = folder / "memory"
                request = {
                    "cache": str(arguments.cache),
                    "edge": arguments.size,
                    "height": height,
                    "bands": bands,
                    "series": False,
                    "stages": False,
                    "out": str(out),
                    "options": {"backend": backend or "torch", "precision": precision} | arguments.options,
                }
                peaks.append(child("map", request)["peak_rss_mib"])
                shutil.rmtree(out)
            name = f"{bands} bands, {backend or 'torch'} {precision}"
            result[name] = {"single_mib": peaks[0], "double_mib": peaks[1], "ratio": peaks[1] / peaks[0]}
            print(f"memory, {name}: {peaks[0]:.0f} MiB, at double height x {peaks[1] / peaks[0]:.3f}")
    return result


def measure_commands(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Seconds of whole commands: `--help`, and a map of 250 x 250 pixels from start to end."""
    bands = arguments.bands[0]
    scene = scenes_for(arguments.cache, 250, bands, series=False)[0]
    model_for(arguments.cache, bands, series=False)
    command = [sys.executable, "-m", "ecumene"]
    declared = ["--sensor", "sentinel-2", "--level", "L1C", "--scale", "0.0001", "--offset", "0", "--time", DATES[5]]
    model = str(arguments.cache / f"model-image-{bands}")
    ways = {
        "help": [*command, "--help"],
        "small_map": [*command, "map", model, str(scene), "--out", str(folder / "small"), *declared],
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(max(3, arguments.rounds)):
        for name, words in ways.items():
            shutil.rmtree(folder / "small", ignore_errors=True)
            start = time.perf_counter()
            result = subprocess.run(words, capture_output=True, text=True, check=False)
            if result.returncode:
                raise SystemExit(result.stderr[-2000:])
            seconds[name].append(time.perf_counter() - start)
    result = {name: statistics.median(values) for name, values in seconds.items()}
    print("commands:", {name: round(value, 2) for name, value in result.items()})
    return result


def agreement(first: Path, second: Path) -> float:
    """Share of pixels with the same code in two rasters of one grid."""
    import rasterio
    from rasterio.windows import Window

    same = total = 0
    with rasterio.open(first) as one, rasterio.open(second) as other:
        for row in range(0, one.height, 512):
            window = Window(0, row, one.width, min(512, one.height - row))
            equal = one.read(1, window=window) == other.read(1, window=window)
            same, total = same + int(np.count_nonzero(equal)), total + equal.size
    return same / total


def measure_peers(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Map the same scene with the same weights the other ways, interleaved with our own."""
    result: dict[str, Any] = {}
    tunings: dict[str, Any] = {}
    cores = len(os.sched_getaffinity(0))
    for bands in arguments.bands:
        scene = scenes_for(arguments.cache, arguments.size, bands, series=False)[0]
        network = export_weights(model_for(arguments.cache, bands, series=False), arguments.cache / f"peer-{bands}")
        rows: dict[str, list[dict[str, Any]]] = {}
        peers, tuning = peer_ways(arguments, folder, bands, network)
        for _ in range(arguments.rounds):
            for way in arguments.precision:
                backend, _, precision = way.rpartition(":")
                name = f"ecumene {backend or 'torch'} {precision}"
                out = folder / name.replace(" ", "-")
                shutil.rmtree(out, ignore_errors=True)
                request = {
                    "cache": str(arguments.cache),
                    "edge": arguments.size,
                    "bands": bands,
                    "series": False,
                    "stages": False,
                    "out": str(out),
                    "options": {"backend": backend or "torch", "precision": precision} | arguments.options,
                }
                rows.setdefault(name, []).append(child("map", request) | {"map": str(out / "value.tif")})
            for name, python, script, settings in peers:
                out = folder / f"{name.replace(' ', '-')}.tif"
                done = run_peer(python, script, scene, network, out, cores, settings)
                rows.setdefault(name, []).append(done | {"map": str(out)})
        result[f"{bands} bands"] = compare_peers(rows)
        tunings[f"{bands} bands"] = tuning
    return {"peers": result} | ({"tuning": tunings} if arguments.tune else {})


def peer_ways(
    arguments: argparse.Namespace, folder: Path, bands: int, network: Path
) -> tuple[list[tuple[str, str, Path, dict[str, Any]]], dict[str, Any]]:
    """Return (name, interpreter, script, settings) of everything to run, and how the settings were found."""
    ways: list[tuple[str, str, Path, dict[str, Any]]] = []
    tuning: dict[str, Any] = {}
    for name, python, script in arguments.peers:
        ways.append((name, python, script, {}))
        if arguments.tune:
            scene = scenes_for(arguments.cache, arguments.tune_size, bands, series=False)[0]
            cores = len(os.sched_getaffinity(0))
            tuning[name] = tune(python, script, scene, network, folder, cores, agreement)
            ways.append((f"{name} tuned", python, script, tuning[name]["settings"]))
    return ways, tuning


def compare_peers(rows: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return medians, how often faster each of ours is, and agreement of the maps with our first."""
    ours = [name for name in rows if name.startswith("ecumene")]
    middle = {name: medians(entries) for name, entries in rows.items()}
    table: dict[str, Any] = {}
    for name, entries in rows.items():
        row = {key: middle[name][key] for key in ("wall_s", "processor_s", "peak_rss_mib")}
        row["agreement"] = agreement(Path(rows[ours[0]][0]["map"]), Path(entries[0]["map"]))
        row["settings"] = entries[0].get("settings", entries[0].get("execution"))
        if name not in ours:
            row["wall_over"] = {own: middle[name]["wall_s"] / middle[own]["wall_s"] for own in ours}
            row["processor_over"] = {own: middle[name]["processor_s"] / middle[own]["processor_s"] for own in ours}
        table[name] = row
        print(f"{name}: {json.dumps({k: v for k, v in row.items() if k != 'settings'})}")
    return table


def parse() -> argparse.Namespace:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=10980)
    parser.add_argument("--series-size", type=int, default=2048)
    parser.add_argument("--bands", type=int, nargs="+", default=[4, 13], choices=(4, 13))
    parser.add_argument("--precision", nargs="+", default=["bf16", "fp32"], help="precision or backend:precision")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--peers", default="", help="name=python,...; names are those of scripts in peers/")
    parser.add_argument("--tune", action="store_true", help="run the peers with tuned settings as well")
    parser.add_argument("--tune-size", type=int, default=2048, help="edge of the scene that settings are tuned on")
    parser.add_argument("--options", type=json.loads, default={}, help="map options as JSON")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "ecumene-engine-benchmark")
    parser.add_argument(
        "--store", action="store_true", help="write benchmarks/results/engine.json; its other parts stay"
    )
    arguments = parser.parse_args()
    arguments.cache = arguments.cache.resolve()
    arguments.options = {"probability": False} | arguments.options
    peers = [entry.partition("=") for entry in arguments.peers.split(",") if entry]
    arguments.peers = [(script.stem, python, script) for name, _, python in peers for script in peer_scripts(name)]
    return arguments


def merged(results: dict[str, Any]) -> dict[str, Any]:
    """Return the results with the stored parts that this run did not measure; `runs` says how each was made."""
    path = RESULTS / "engine.json"
    if not path.is_file():
        return results
    before = json.loads(path.read_text())
    if before["machine"] != machine():
        return results
    kept = {name: before[name] for name in (*PARTS, "commands", "tuning") if name in before}
    return kept | results | {"runs": before["runs"] | results["runs"]}


def main() -> None:
    """Measure what is asked for."""
    arguments = parse()
    run = {
        "edge": arguments.size,
        "series_edge": arguments.series_size,
        "rounds": arguments.rounds,
        "options": arguments.options,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    results: dict[str, Any] = {"classes": CLASSES, "dates": len(DATES), "runs": dict.fromkeys(arguments.parts, run)}
    for bands in arguments.bands:
        model_for(arguments.cache, bands, series=False)
        scenes_for(arguments.cache, arguments.size, bands, series=False)
    with tempfile.TemporaryDirectory(dir=arguments.cache) as temporary:
        folder = Path(temporary)
        if "image" in arguments.parts:
            results["image"] = measure_cases(arguments, folder, series=False)
        if "series" in arguments.parts:
            model_for(arguments.cache, arguments.bands[0], series=True)
            scenes_for(arguments.cache, arguments.series_size, arguments.bands[0], series=True)
            results["series"] = measure_cases(arguments, folder, series=True)
        if "memory" in arguments.parts:
            results["memory"] = measure_memory(arguments, folder)
        if "command" in arguments.parts:
            results["commands"] = measure_commands(arguments, folder)
        if "peers" in arguments.parts and arguments.peers:
            results |= measure_peers(arguments, folder)
    if arguments.store:
        print(store("engine", merged(results)))
    else:
        print(json.dumps({"machine": machine(), **results}))


if __name__ == "__main__":
    main()
