"""Local climate zones: Sen2LCZ-Net and its fusion against a forest and a support vector machine, on one official split.

    python benchmarks/lcz.py [--number 4000] [--seeds 3] [--epochs 60] [--minutes 60] [--quick] [--dry]
    python benchmarks/lcz.py --data DIR --kind real      # files of So2Sat LCZ42

Without `--data` the patches are simulated in the official files: training patches come from other cities than
validation and test patches. Forest and machine learn from mean, standard deviation and quartiles of each band. All
learners of a seed see the same patches. Writes `results/lcz.json` after every training; the same call goes on where
another one stopped. Figures on simulated patches say nothing about real cities.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

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
FOREST = "so2sat-rf"
BASELINES = (FOREST, "so2sat-svm")
METRICS = ("overall_accuracy", "average_accuracy", "kappa", "oa_built", "oa_natural", "oa_built_or_natural")
QUICK = {"number": 400, "seeds": 1, "epochs": 4}
STORED = RESULTS / "lcz.json"


def measure(truth: np.ndarray, predicted: np.ndarray, classes: int) -> dict[str, Any]:
    """Return the figures of one learner and seed."""
    found = {**class_metrics(truth, predicted, classes), **zone_metrics(truth, predicted)}
    return {name: found[name] for name in METRICS}


def learn(name: str, data: DataSet, sets: TrainingData, seed: int, epochs: int | None) -> dict[str, Any]:
    """Train a system by its published protocol and measure it."""
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
    found = {**measure(results.target, predicted, len(data.legend)), "training_seconds": seconds}
    if model.spec.kind != "network":
        return found
    fixed = ("_mean", "_var", "_tracked")
    return {**found, "weights": sum(int(array.size) for key, array in model.weights.items() if not key.endswith(fixed))}


class Bench:
    """The patches, what has been run on them, and what is still to be run.

    Args:
        folder: With the official files.
        kind: `real` or `simulated`.
        epochs: Of the networks; None: as published.
        keep: Write what is found, and go on from what was written.
    """

    def __init__(self, folder: Path, kind: str, epochs: int | None, keep: bool) -> None:
        self.system = get_system("sen2lcz-net-mf")
        self.data = open_system_data(self.system, folder)
        self.epochs = epochs or int(self.system.training["epochs"])
        self.keep = keep
        self.about = {"name": "So2Sat LCZ42", "kind": kind, "images": len(self.data), "sha256": checksum_of(self.data)}
        self.counts: dict[str, int] = {}
        stored = json.loads(STORED.read_text()) if keep and STORED.exists() else {}
        same = stored.get("data") == self.about and stored.get("epochs") == self.epochs
        self.runs: dict[str, dict[str, Any]] = dict(stored.get("runs", {})) if same else {}

    def seed(self, seed: int, learners: list[str]) -> bool:
        """Run the learners of a seed that have not been run; return whether there was one."""
        parts = split_data_set(self.data, self.system.protocols[0], seed)
        self.counts = {part.name.lower(): int((parts == part).sum()) for part in Part if part is not Part.NONE}
        missing = [name for name in learners if f"{name} {seed}" not in self.runs]
        for name in missing:
            sets = divide(self.data, parts)
            row = learn(name, self.data, sets, seed, self.epochs)
            self.runs[f"{name} {seed}"] = {"learner": name, "seed": seed, **row}
            print(f"seed {seed} {name}: {json.dumps(row)}", flush=True)
            if self.keep:
                store("lcz", self.results())
        return bool(missing)

    def results(self) -> dict[str, Any]:
        """Return everything that has been measured."""
        found: dict[str, dict[int, dict[str, Any]]] = {}
        for entry in self.runs.values():
            found.setdefault(entry["learner"], {})[entry["seed"]] = entry
        rows = {name: [entries[seed] for seed in sorted(entries)] for name, entries in found.items()}
        forests = found.get(FOREST, {})
        pairs = {
            name: [(entries[seed], forests[seed]) for seed in sorted(set(entries) & set(forests))]
            for name, entries in found.items()
            if name != FOREST
        }
        return {
            "data": self.about,
            "split": {"name": self.system.protocols[0].name, "images": self.counts},
            "epochs": self.epochs,
            "learners": {name: summary(entries) for name, entries in rows.items()},
            "paired": {name: paired(both) for name, both in pairs.items() if both},
            "runs": self.runs,
        }


def summary(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Return mean and spread over the seeds."""
    found = {name: spread([row[name] for row in entries]) for name in (*METRICS, "training_seconds")}
    return found | ({"weights": entries[0]["weights"]} if "weights" in entries[0] else {})


def paired(both: list[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, Any]:
    """Return by how much the overall accuracy of the first is larger, seed by seed."""
    return spread([a["overall_accuracy"] - b["overall_accuracy"] for a, b in both])


def main() -> None:
    """Run and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=4000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no seed that would end after this")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--learners", default=",".join((*NETWORKS, *BASELINES)))
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
        bench = Bench(folder, kind, values["epochs"], keep=not (chosen.dry or chosen.quick))
        began, lasted = time.monotonic(), 0.0
        for seed in range(values["seeds"]):
            start = time.monotonic()
            if start - began + lasted > 60 * chosen.minutes:
                print(f"Ended before seed {seed}, which would take about {lasted / 60:.0f} minutes.", flush=True)
                break
            if bench.seed(seed, learners):
                lasted = max(lasted, time.monotonic() - start)
    print(json.dumps({key: value for key, value in bench.results().items() if key != "runs"}, indent=2))


if __name__ == "__main__":
    main()
