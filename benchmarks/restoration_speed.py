"""How much longer `clear --model` takes than the network alone, for each kind of network that removes clouds.

    python benchmarks/restoration_speed.py [--systems date-blend,...] [--rounds 1] [--store]

Makes a series of Sentinel-2 (13 bands) with clouds and masks, radar beside it, and networks of the published size with
random weights, which take as long as learned ones. The verb fills the series: it reads and samples it, tries the model
on hidden pixels where it can, and writes every product with its error bars, checked COGs and STAC Item. Against it
stand the bare forward passes of the same network over as many pixels as the products have, in several arrangements of
windows, batches and streams, the fastest of which counts, with and without the outlier score. Heavy networks fill one
date of a small scene, so that what every product costs weighs more there than on a large one. On a machine that others
use only ratios of processor seconds mean something. Results: benchmarks/results/restoration_speed.json.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common import machine, store
from engine_child import Stopwatch, _bare, _executors, _streams
from engine_data import BANDS, BLOCK, Landscape

MONTHS = (4, 5, 6, 7, 8)
ALL, ONE = "all", "2024-07-15"


@dataclass(frozen=True)
class Case:
    """What a system fills.

    Attributes:
        edge: Rows and columns of the scenes.
        date: As the verb takes it.
        radar: Whether the system reads radar.
        window: Of the bare passes, rows and columns.
    """

    edge: int
    date: str = ALL
    radar: bool = True
    window: int = 256

    @property
    def products(self) -> int:
        """Dates that are filled."""
        return len(MONTHS) if self.date == ALL else 1


CASES = {
    "date-blend": Case(512, radar=False),
    "uncrtaints": Case(256),
    "uncrtaints-mono": Case(256),
    "utae-restoration": Case(512),
    "dsen2-cr": Case(128, ONE, window=128),
    "cr-ts-net": Case(64, ONE, window=64),
}


def write_series(folder: Path, edge: int) -> tuple[list[str], list[str]]:
    """Write the optical dates with their masks, and radar of the same days; return their folders."""
    from ecumene.restoration.cloud_simulation import cover_field

    land = Landscape(edge, edge, 3)
    classes = land.classes(0, edge)
    optical, radar = [], []
    for number, month in enumerate(MONTHS):
        image = land.image(classes, 0, 13, month)
        clouds = cover_field((edge, edge), 0.35, number, longest=edge / 4)
        image[:, clouds] = 8000
        day = f"2024-{month:02d}-15"
        files: dict[str, NDArray[Any]] = {"image.tif": image, "clouds.tif": clouds[None].astype(np.uint8)}
        mask = "mask: {file: clouds.tif, kind: binary, bad_values: [1]}\n"
        said = f"bands: [{', '.join(BANDS[13])}]\nfiles: [image.tif]\nscale: 0.0001\noffset: 0.0\nnodata: 0\n"
        head = f"sensor: sentinel-2\nlevel: L1C\ntime: {day}T10:00:00\n"
        optical.append(_write(folder / f"s2-{day}", files, head + said + mask))
        noise = np.random.default_rng([7, month]).normal(size=(2, edge, edge))
        waves = (np.stack([-8.0 - 0.6 * classes, -15.0 - 0.6 * classes]) + 2.0 * noise).astype(np.float32)
        head = f"sensor: sentinel-1\nlevel: GRD\ntime: {day}T17:00:00\n"
        radar.append(_write(folder / f"s1-{day}", {"image.tif": waves}, head + "bands: [VV, VH]\nfiles: [image.tif]\n"))
    return optical, radar


def _write(folder: Path, files: dict[str, NDArray[Any]], text: str) -> str:
    import rasterio
    from affine import Affine

    folder.mkdir(parents=True)
    for name, values in files.items():
        profile = {
            "driver": "GTiff",
            "count": values.shape[0],
            "height": values.shape[1],
            "width": values.shape[2],
            "dtype": values.dtype.name,
            "crs": "EPSG:32633",
            "transform": Affine(10, 0, 500_000, 0, -10, 5_000_000),
            "compress": "deflate",
            "nodata": 0 if name == "image.tif" and values.dtype == np.uint16 else None,
        }
        if values.shape[1] > BLOCK:
            profile |= {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK}
        with rasterio.open(folder / name, "w", **profile) as target:
            target.write(values)
    (folder / "scene.yaml").write_text(text)
    return str(folder)


def random_model(name: str, source: Any) -> Any:
    """Return a system's network with random weights as a bundle with an outlier detector."""
    import torch

    from ecumene.models.bundle import Model
    from ecumene.models.contract import ModelSpec
    from ecumene.networks import build_network
    from ecumene.samples.restoration_scaling import scaled_statistics
    from ecumene.training.provenance import make_inputs
    from ecumene.workflows.restoration_fit import restoration_objective
    from ecumene.workflows.restoration_scenes import DATES
    from ecumene.workflows.restoration_statement import FIRST_DATE, STATEMENT, state, target_date
    from ecumene.workflows.restoration_train import restoration_system

    system, channels = restoration_system(name), source.stack.channels
    objective = restoration_objective(system, source.bands)
    arguments = {
        **system.network_arguments,
        "targets": len(source.bands),
        "in_channels": len(channels),
        "n_outputs": objective.n_outputs,
    }
    torch.manual_seed(0)
    network = build_network(str(system.network), pretrained=False, **arguments)
    predicts = target_date(system)
    dates = DATES if predicts == FIRST_DATE else int(system.data_options.get("dates", 1))
    scaling = str(system.network_arguments["scaling"])
    spec = ModelSpec(
        name=f"random-{name}",
        created="2024-01-01T00:00:00Z",
        kind="network",
        architecture={"name": str(system.network), "arguments": arguments},
        objective=objective.to_config(),
        inputs=make_inputs(channels, scaled_statistics(scaling, channels)),
        temporal=bool(network.temporal),
        resolution_m=10.0,
        stride=int(network.stride),
        margin=int(network.margin),
        training={"system": name, STATEMENT: state(source.bands, channels, dates, predicts)},
    )
    weights = {key: value.numpy() for key, value in network.state_dict().items()}
    return with_detector(Model(spec, objective, weights=weights), dates)


def with_detector(model: Any, dates: int) -> Any:
    """Return a model with the outlier detector that a trained one has."""
    from ecumene.trust.calibration import Calibration
    from ecumene.trust.gaussian import CombinedDetector

    image, days = some_input(model, dates, 64, 1)
    features = model.raw_results(image, days)[1]
    rows = np.moveaxis(features[0], 0, -1).reshape(-1, features.shape[1])
    detector = CombinedDetector.fit(rows, None, seed=0)
    detector = detector.with_threshold(detector.score(rows), 0.02, groups=np.arange(len(rows)) // 64)
    return model.with_trust(calibration=Calibration(), detector=detector)


def some_input(model: Any, dates: int, side: int, batch: int) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Return a made-up batch in physical units and its days."""
    rng = np.random.default_rng(5)
    units = [channel.unit for channel in model.spec.inputs]
    shape = (batch, dates, len(units), side, side)
    image = rng.uniform(0.05, 0.4, shape).astype(np.float32)
    for place, unit in enumerate(units):
        if unit == "dB":
            image[:, :, place] = -12.0 + 10.0 * image[:, :, place]
    if not model.spec.temporal:
        return image[:, 0], None
    days = np.array([f"2024-{month:02d}-15" for month in MONTHS[:dates]], "datetime64[D]").astype(np.float32)
    return image, np.tile(days, (batch, 1))


def watch_verb(watch: Stopwatch) -> None:
    """Count the parts of the verb; what a part calls of the others is not counted twice."""
    from ecumene.mapping import engine, reading
    from ecumene.mapping import plan as plans
    from ecumene.models.bundle import Model
    from ecumene.restoration import holdout
    from ecumene.workflows import clear, clear_fill, clear_model, clear_model_trust, clear_picture, streamed_product
    from ecumene.workflows.clear_scenes import ClearInput

    build = Model.executor

    def executor(model: Any, *args: Any, **keywords: Any) -> Any:
        made = build(model, *args, **keywords)
        watch.watch(made, "run", "forward passes")
        return made

    setattr(Model, "executor", executor)  # noqa: B010 - a method of somebody else's class
    for owner, attribute, name in (
        (Model, "executor", "executors"),
        (clear, "open_clear_input", "open"),
        (clear, "take_sample", "sample of the series"),
        (ClearInput, "read", "read the series"),
        (clear_model_trust, "trust_on_series", "hidden pixels"),
        (clear_model_trust, "windows_of", "hidden pixels: windows"),
        (holdout, "calibrate", "hidden pixels: error bars"),
        (clear_model_trust, "calibrate", "hidden pixels: error bars"),
        (clear_model, "map_stack", "map: the rest"),
        (reading.WindowReader, "read", "map: read"),
        (plans, "input_records", "checksums"),
        (clear, "input_records", "checksums"),
        (engine, "finish_product", "map: files"),
        (clear_fill.Filler, "tile", "layers"),
        (clear, "write_clear_product", "product: the rest"),
        (streamed_product, "write_cog", "product: COGs"),
        (streamed_product, "encode_tile", "product: tiles"),
        (clear_picture.ClearPicture, "draw", "product: quick-look"),
    ):
        watch.watch(owner, attribute, name)


def run_case(name: str, rounds: int) -> dict[str, Any]:
    """Measure the verb and the bare passes of a system."""
    from ecumene.workflows.clear import clear_scenes
    from ecumene.workflows.clear_scenes import open_clear_input

    case = CASES[name]
    with tempfile.TemporaryDirectory(prefix="ecumene-clear-speed-") as temporary:
        folder = Path(temporary)
        scenes, waves = write_series(folder / "series", case.edge)
        radar = waves if case.radar else None
        source = open_clear_input(scenes, radar, mask_clouds=True, radar_declaration={})
        model = random_model(name, source)
        model.save(folder / "model")
        small = write_series(folder / "small", 64)
        watch = Stopwatch()
        clear_scenes(small[0], folder / "warm", radar=small[1] if case.radar else None, model=model, date=ONE)
        watch_verb(watch)
        walls, processors = [], []
        for _ in range(rounds):
            shutil.rmtree(folder / "out", ignore_errors=True)
            begin = time.perf_counter(), time.process_time()
            clear_scenes(scenes, folder / "out", radar=radar, model=folder / "model", date=case.date)
            walls.append(time.perf_counter() - begin[0])
            processors.append(time.process_time() - begin[1])
        stages = {part: (seconds / rounds, watch.processor[part] / rounds) for part, seconds in watch.wall.items()}
        verb = {"wall_s": statistics.median(walls), "processor_s": statistics.median(processors)}
        return result_of(case, model, verb, stages)


def result_of(case: Case, model: Any, verb: dict[str, float], stages: dict[str, tuple[float, float]]) -> dict[str, Any]:
    """Return figures, ratios and the arrangements of the bare passes."""
    pixels = case.products * case.edge**2
    table = forward(model, case, pixels)
    ratios = {}
    for way in ("deployed", "network"):
        for clock in ("wall", "processor"):
            best = min(row[f"{way}_{clock}_s"] for row in table)
            ratios[f"verb_over_{way}_{clock}"] = verb[f"{clock}_s"] / best
    best = min(row["deployed_wall_s"] for row in table)
    return {
        "edge": case.edge,
        "products": case.products,
        "dates": len(MONTHS),
        "radar": case.radar,
        "verb": verb | {"pixels_per_s": pixels / verb["wall_s"]},
        "forward_pixels_per_s": pixels / best,
        "ratios": ratios,
        "stages_wall_s": {part: wall for part, (wall, _) in stages.items()},
        "stages_processor_s": {part: processor for part, (_, processor) in stages.items()},
        "forward_arrangements": table,
    }


def forward(model: Any, case: Case, pixels: int) -> list[dict[str, Any]]:
    """Time bare passes in several arrangements, scaled to the pixels of the products."""
    from ecumene.workflows.restoration_statement import stated_of

    cores = len(os.sched_getaffinity(0))
    dates = int(stated_of(model.spec)["dates"])
    results = []
    for side, batch, streams in ((case.window, 1, 1), (case.window, 1, 2), (case.window // 2, 2, 2)):
        threads = max(1, cores // streams)
        image, days = some_input(model, dates, side, batch)
        executors = _executors(model, "torch", "fp32", threads, streams)
        share = pixels / (batch * side * side * streams)
        row: dict[str, Any] = {"window": side, "batch": batch, "streams": streams, "threads": threads}
        ways: dict[str, list[Any]] = {
            "deployed": [functools.partial(executor.run, image, days) for executor in executors],
            "network": [_bare(executor, model, image, days) for executor in executors],
        }
        for way, calls in ways.items():
            _streams(calls, 1)
            wall, processor = _streams(calls, 1)
            row |= {f"{way}_wall_s": wall * share, f"{way}_processor_s": processor * share}
        results.append(row)
    return results


def show(name: str, result: dict[str, Any]) -> None:
    """Print what a case says."""
    verb, ratios = result["verb"], result["ratios"]
    print(f"\n{name}: {result['products']} products of {result['edge']} x {result['edge']}, {verb['wall_s']:.1f} s")
    print(f"  pixels/s: verb {verb['pixels_per_s']:.0f}, bare {result['forward_pixels_per_s']:.0f}")
    print("  " + ", ".join(f"{key} {value:.2f}" for key, value in ratios.items()))
    for part, seconds in sorted(result["stages_processor_s"].items(), key=lambda item: -item[1]):
        share, wall = seconds / verb["processor_s"], result["stages_wall_s"][part]
        print(f"    {part:28s} processor {seconds:7.2f} s ({share:6.1%})   wall {wall:7.2f} s")
    for row in result["forward_arrangements"]:
        print("  forward: " + ", ".join(f"{key} {value:.4g}" for key, value in row.items()), flush=True)


def main() -> None:
    """Measure each system in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", default=",".join(CASES))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--store", action="store_true", help="write benchmarks/results/restoration_speed.json")
    parser.add_argument("--child", help="measure this system in this process and print JSON")
    options = parser.parse_args()
    if options.child:
        print(json.dumps(run_case(options.child, options.rounds)))
        return
    results: dict[str, Any] = {}
    for name in options.systems.split(","):
        command = [sys.executable, __file__, "--child", name, "--rounds", str(options.rounds)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
        results[name] = json.loads(done.stdout.strip().splitlines()[-1])
        show(name, results[name])
    found = {"rounds": options.rounds, "months": list(MONTHS), "systems": results}
    print(store("restoration_speed", found) if options.store else json.dumps({"machine": machine(), **found}))


if __name__ == "__main__":
    main()
