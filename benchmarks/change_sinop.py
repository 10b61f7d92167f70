"""Crops of Sinop (Mato Grosso) from a year of MODIS: 18 labelled points, 12 dates, each point left out once.

    python benchmarks/change_sinop.py --seeds 5 --minutes 20   # results/change_sinop.json; again to go on

Every point is classified by what has learned from the 17 others: a random forest and a support vector machine on the 12
values of NDVI, and the temporal attention network of `ltae-series` with a training of its own (`TRAINING`). Nothing is
chosen by a left-out point: the machine's grid is searched in the 17, and the network trains a fixed number of epochs.
Four classes share 18 points, so that one point more is 5.6 % and an interval of the accuracy is wide; always saying the
most frequent class is right for 8 of 18. Every seed of a method is stored at once, so that a stopped run goes on.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common import RESULTS, data_root, data_set, spread, store

NAME = "change_sinop"
FOLDER = "modis_ndvi_sinop_2013_2014"
SCALE = 1e-4
TREES = 500
TRAINING: dict[str, Any] = {"epochs": 60, "batch_size": 8, "learning_rate": 3e-3, "patience": 60}
"""Of the network: the system's but for the batch, of which 17 points make three; no average of the weights, which so
few steps would not fill."""


@dataclass(frozen=True)
class Samples:
    """Labelled points.

    Attributes:
        values: NDVI, float32 `[N, T]`.
        days: Days since 1970-01-01, int64 `[T]`.
        target: Class index, int64 `[N]`.
        names: Of the classes.
        files: What was read.
    """

    values: np.ndarray
    days: np.ndarray
    target: np.ndarray
    names: tuple[str, ...]
    files: tuple[Path, Path]


def read_samples(folder: Path) -> Samples:
    """Return the series of the pixels that hold the points."""
    import rasterio
    from rasterio.warp import transform

    files = (folder / "MOD13Q1_NDVI_12dates.tif", folder / "samples_sinop_crop.csv")
    with files[1].open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    with rasterio.open(files[0]) as source:
        days = np.array([np.datetime64(text, "D").astype(np.int64) for text in source.descriptions])
        places = transform("EPSG:4326", source.crs, *([float(row[key]) for row in rows] for key in _LON_LAT))
        inside = [source.index(x, y) for x, y in zip(*places, strict=True)]
        stored = source.read()
    values = np.stack([stored[:, row, col] for row, col in inside]).astype(np.float32) * np.float32(SCALE)
    names = tuple(sorted({row["label"] for row in rows}))
    target = np.array([names.index(row["label"]) for row in rows], np.int64)
    return Samples(values, days, target, names, files)


_LON_LAT = ("longitude", "latitude")


def by_forest(samples: Samples, learned: np.ndarray, left: int, seed: int) -> int:
    """Return the class of the left-out point by a random forest."""
    from ecumene.models.tree_kernel import TreeWalker
    from ecumene.models.trees import TreeEnsemble
    from ecumene.training.fit_trees import fit_forest

    arrays = fit_forest(
        samples.values[learned], samples.target[learned], n_classes=len(samples.names), n_trees=TREES, seed=seed,
        n_jobs=1,
    )  # fmt: skip
    return int(TreeWalker(TreeEnsemble.from_arrays(arrays), 1)(samples.values[left : left + 1]).argmax())


def by_machine(samples: Samples, learned: np.ndarray, left: int, seed: int) -> int:
    """Return the class of the left-out point by a support vector machine; the rarest class has two points to fold."""
    from ecumene.models.svm import SupportVectorMachine
    from ecumene.training.fit_svm import fit_svm

    arrays = fit_svm(samples.values[learned], samples.target[learned], n_classes=len(samples.names), seed=seed, folds=2)
    return int(SupportVectorMachine.from_arrays(arrays)(samples.values[left : left + 1]).argmax())


def by_network(samples: Samples, learned: np.ndarray, left: int, seed: int) -> int:
    """Return the class of the left-out point by temporal attention."""
    import torch

    from ecumene.legends import Legend
    from ecumene.networks import build_network
    from ecumene.objectives import build_objective
    from ecumene.samples.augmentation import augmentation_for
    from ecumene.samples.patch_set import PatchSet
    from ecumene.samples.statistics import channel_statistics
    from ecumene.scenes.contract import Channel
    from ecumene.systems import get_system
    from ecumene.training.fit_network import fit_network
    from ecumene.training.options import TrainingOptions
    from ecumene.training.provenance import make_inputs

    system, count = get_system("ltae-series"), len(learned)
    channel = Channel("modis", "MOD13Q1", "NDVI", "1")
    known = PatchSet(
        samples.values[learned][:, :, None, None, None],
        samples.target[learned][:, None, None],
        np.ones((count, len(samples.days), 1, 1), bool),
        np.tile(samples.days, (count, 1)),
        np.arange(count, dtype=np.int32)[:, None, None],
        (channel,),
    )
    inputs = make_inputs((channel,), channel_statistics(known))
    arguments = {**system.network_arguments, "in_channels": 1, "n_outputs": len(samples.names)}
    with tempfile.TemporaryDirectory() as folder:
        fitted = fit_network(
            str(system.network),
            arguments,
            build_objective({"name": "segmentation", "legend": Legend.from_names(samples.names)}),
            known,
            known,  # the number of epochs is fixed; the best of them is that of the points learned from
            inputs,
            options=TrainingOptions(seed=seed, monitor="validation_loss", **TRAINING),
            folder=folder,
            augmentation=augmentation_for(inputs, spatial=False, temporal=True),
        )
    network = build_network(str(system.network), pretrained=False, **arguments).eval()
    network.load_state_dict({name: torch.from_numpy(array) for name, array in fitted.state.items()})
    series = torch.from_numpy(((samples.values[left] - inputs[0].mean) / inputs[0].std).astype(np.float32))
    with torch.inference_mode():
        output = network(
            series[None, :, None, None, None],
            torch.from_numpy(samples.days.astype(np.float32))[None],
            torch.ones(1, len(series), 1, 1, dtype=torch.bool),
        )
    return int(output.argmax())


METHODS: dict[str, Callable[[Samples, np.ndarray, int, int], int]] = {
    "random forest": by_forest,
    "support vector machine": by_machine,
    "temporal attention (ltae-series)": by_network,
}


def leave_one_out(samples: Samples, method: Callable[..., int], seed: int) -> dict[str, Any]:
    """Return the class that each point gets from the others, and how many are right."""
    everyone = np.arange(len(samples.target))
    start = time.process_time()
    said = [method(samples, np.delete(everyone, left), left, seed) for left in everyone]
    return {
        "overall_accuracy": float(np.mean(np.array(said) == samples.target)),
        "said": [samples.names[index] for index in said],
        "processor seconds": round(time.process_time() - start, 1),
    }


def summarise(runs: dict[str, Any]) -> dict[str, Any]:
    """Return the accuracy of each method over its seeds."""
    grouped: dict[str, list[float]] = {}
    for key, found in runs.items():
        grouped.setdefault(key.split("|")[0], []).append(found["overall_accuracy"])
    return {method: spread(values) for method, values in grouped.items()}


def earlier(path: Path, plan: dict[str, Any]) -> dict[str, Any]:
    """Return what a stopped run with the same plan has stored."""
    stored = json.loads(path.read_text()) if path.is_file() else {}
    return dict(stored["runs"]) if stored.get("plan") == json.loads(json.dumps(plan)) else {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no repetition after this time")
    chosen = parser.parse_args()
    samples = read_samples(data_root() / FOLDER)
    counts = np.bincount(samples.target)
    plan = {"trees": TREES, "network": TRAINING}
    runs = earlier(RESULTS / f"{NAME}.json", plan)
    results = {
        "data": [data_set("MODIS MOD13Q1 of Sinop, 18 points", samples.files)],
        "plan": plan,
        "points of a class": dict(zip(samples.names, counts.tolist(), strict=True)),
        "truth": [samples.names[index] for index in samples.target],
        "always the most frequent class": float(counts.max() / counts.sum()),
        "runs": runs,
    }
    start = time.monotonic()
    for seed in range(chosen.seeds):
        for name, method in METHODS.items():
            key = f"{name}|{seed}"
            if key in runs or time.monotonic() - start > 60.0 * chosen.minutes:
                continue
            runs[key] = leave_one_out(samples, method, seed)
            print(key, runs[key]["overall_accuracy"], runs[key]["processor seconds"], flush=True)
            store(NAME, {**results, "overall_accuracy": summarise(runs)})
    print(summarise(runs))


if __name__ == "__main__":
    main()
