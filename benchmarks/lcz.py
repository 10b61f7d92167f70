"""Local climate zones: Sen2LCZ-Net and its fusion against a random forest, on one official split.

    python benchmarks/lcz.py [--number 4000] [--seeds 3] [--epochs 60] [--quick] [--dry]
    python benchmarks/lcz.py --data DIR --kind real      # files of So2Sat LCZ42

Without `--data` the patches are simulated in the official files: training patches come from other cities than
validation and test patches. The forest learns from mean, standard deviation and three quantiles of each band. All
learners of a seed see the same patches. Writes `results/lcz.json`; figures on simulated patches say nothing about
real cities.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from common import RESULTS, spread, store
from ecumene.indicators.scene_accuracy import class_metrics
from ecumene.indicators.zone_accuracy import zone_metrics
from ecumene.samples.contract import Part
from ecumene.samples.datasets import DataSet
from ecumene.samples.datasets.loading import checksum_of
from ecumene.simulate.datasets import simulate_data_set
from ecumene.systems import get_system
from ecumene.workflows.calibrate import probabilities_of, results_of_scenes
from ecumene.workflows.scene_data import divide, open_system_data, split_data_set
from ecumene.workflows.scene_fit import fit_scene_model
from ecumene.workflows.training_data import TrainingData

NETWORKS = ("sen2lcz-net", "sen2lcz-net-mf")
FOREST = "random-forest-band-statistics"
METRICS = ("overall_accuracy", "average_accuracy", "kappa", "oa_built", "oa_natural", "oa_built_or_natural")
TREES = 300
QUICK = {"number": 400, "seeds": 1, "epochs": 4}


def band_statistics(image: np.ndarray) -> np.ndarray:
    """Return mean, standard deviation and quartiles of each band, `[N, 5 C]`."""
    flat = image.reshape(*image.shape[:2], -1)
    parts = [flat.mean(axis=2), flat.std(axis=2), *np.quantile(flat, (0.25, 0.5, 0.75), axis=2)]
    return np.concatenate(parts, axis=1)


def measure(truth: np.ndarray, predicted: np.ndarray, classes: int) -> dict[str, Any]:
    """Return the figures of one learner and seed."""
    found = {**class_metrics(truth, predicted, classes), **zone_metrics(truth, predicted)}
    return {name: found[name] for name in METRICS}


def forest(sets: TrainingData, seed: int, classes: int) -> dict[str, Any]:
    """Grow a forest on training and validation patches and measure it."""
    began = time.perf_counter()
    learned = [sets[part].read(np.arange(len(sets[part]))) for part in (Part.TRAIN, Part.VALIDATION)]
    features = np.concatenate([band_statistics(part.image) for part in learned])
    grown = RandomForestClassifier(TREES, random_state=seed, n_jobs=-1)
    grown.fit(features, np.concatenate([part.label for part in learned]))
    seconds = time.perf_counter() - began
    test = sets[Part.TEST].read(np.arange(len(sets[Part.TEST])))
    predicted = grown.predict(band_statistics(test.image))
    return {**measure(test.label, predicted, classes), "training_seconds": seconds}


def network(name: str, data: DataSet, sets: TrainingData, seed: int, epochs: int | None) -> dict[str, Any]:
    """Train a network by its published protocol and measure it."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        model = fit_scene_model(
            get_system(name),
            data,
            sets,
            name=name,
            seed=seed,
            epochs=epochs,
            max_minutes=None,
            folder=Path(folder) / "model",
            progress=lambda done, total, what: None,
        )
    seconds = time.perf_counter() - began
    results = results_of_scenes(model, sets[Part.TEST], seed=seed)
    predicted = probabilities_of(model, results.output).argmax(axis=1)
    weights = sum(array.size for key, array in model.weights.items() if not key.endswith(("_mean", "_var", "_tracked")))
    return {
        **measure(results.target, predicted, len(data.legend)),
        "training_seconds": seconds,
        "weights": int(weights),
    }


def run(folder: Path, seeds: int, epochs: int | None, learners: list[str], kind: str) -> dict[str, Any]:
    """Run all learners on one folder of official files."""
    system = get_system("sen2lcz-net-mf")
    data = open_system_data(system, folder)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in learners}
    counts: dict[str, int] = {}
    for seed in range(seeds):
        parts = split_data_set(data, system.protocols[0], seed)
        counts = {part.name.lower(): int((parts == part).sum()) for part in Part if part is not Part.NONE}
        for name in learners:
            sets = divide(data, parts)
            trees = name == FOREST
            row = forest(sets, seed, len(data.legend)) if trees else network(name, data, sets, seed, epochs)
            rows[name].append(row)
            print(f"seed {seed} {name}: {json.dumps(row)}", flush=True)
    return {
        "data": {"name": "So2Sat LCZ42", "kind": kind, "images": len(data), "sha256": checksum_of(data)},
        "split": {"name": system.protocols[0].name, "images": counts},
        "epochs": epochs or system.training["epochs"],
        "learners": {name: summary(entries) for name, entries in rows.items()},
        "paired": {name: paired(rows[name], rows[FOREST]) for name in learners if name != FOREST and FOREST in rows},
    }


def summary(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Return mean and spread over the seeds."""
    found = {name: spread([row[name] for row in entries]) for name in (*METRICS, "training_seconds")}
    return found | ({"weights": entries[0]["weights"]} if "weights" in entries[0] else {})


def paired(first: list[dict[str, Any]], other: list[dict[str, Any]]) -> dict[str, Any]:
    """Return by how much the overall accuracy of a learner is larger, seed by seed."""
    return spread([a["overall_accuracy"] - b["overall_accuracy"] for a, b in zip(first, other, strict=True)])


def main() -> None:
    """Run and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=4000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--learners", default=",".join((*NETWORKS, FOREST)))
    parser.add_argument("--data", type=Path, help="folder with the official files instead of simulated ones")
    parser.add_argument("--kind", choices=("real", "simulated"), help="what --data holds")
    parser.add_argument("--quick", action="store_true", help="shows that it works, says nothing about the methods")
    parser.add_argument("--dry", action="store_true", help="print only")
    chosen = parser.parse_args()
    if chosen.data is not None and chosen.kind is None:
        parser.error("--data needs --kind real or --kind simulated, so that figures are labelled rightly")
    values = {**vars(chosen), **(QUICK if chosen.quick else {})}
    learners = chosen.learners.split(",")
    with tempfile.TemporaryDirectory() as scratch:
        folder, kind = chosen.data, chosen.kind
        if folder is None:
            folder, kind = Path(scratch) / "so2sat", "simulated"
            simulate_data_set("so2sat-lcz42", folder, number=values["number"], seed=1, workers=chosen.workers)
        results = run(folder, values["seeds"], values["epochs"], learners, kind)
    if chosen.dry or chosen.quick:
        print(json.dumps(results, indent=2))
    else:
        print(store("lcz", results).relative_to(RESULTS.parent))


if __name__ == "__main__":
    main()
