"""Scene classification on the RSSCN7 subset: convolutional networks against a support vector machine on features.

20 % and 50 % of the images of each class are learned from, the rest is tested on, ten random draws. The support vector
machine (RBF kernel) sees colour and texture features (`trust_data.texture_features`) of all training images, with C and
gamma by five-fold cross-validation; a network gives up a tenth of its training images to choose its best epoch. All of
a draw are trained and tested on the same images, so that differences are paired over draws. Networks begin with random
weights unless ImageNet weights are on the machine; the result says which.

The draws come one after the other, each with all methods, and each training is stored when it ends, so that a run that
is ended early has the same draws of every method. The first draws also hold the learning curves: support vector machine
and one network at further shares of training images.

A run adds to `results/scenes_rsscn7.json` what is not there yet, so that it can be done in parts:

    python benchmarks/scenes_rsscn7.py --epochs 30 --input-size 112 --minutes 90
    python benchmarks/scenes_rsscn7.py --networks googlenet --shares 0.5 --draws 0
    python benchmarks/scenes_rsscn7.py --summary

`--quick` trains two epochs and stores nothing.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common import RESULTS, data_root, data_set, spread, store

SHARES = (0.2, 0.5)
DRAWS = 10
HELD_BACK = 0.1
SVM = "svm"
CURVE_SHARES, CURVE_DRAWS = (0.1, 0.35, 0.65), 3
CURVE_METHODS = (SVM, "googlenet")
"""Learning curves: further shares of training images, for how many draws, and by which methods."""
NETWORKS: dict[str, dict[str, Any]] = {
    "resnet50": {"system": "eurosat-resnet50"},
    "googlenet": {"system": "eurosat-googlenet"},
    "vgg16": {"system": "eurosat-googlenet", "arguments": {"trunk": "vgg16"}},
    "ca-googlenet-bilstm": {"system": "ca-googlenet-bilstm", "one_class": True},
    "ca-vgg16-bilstm": {"system": "ca-vgg16-bilstm", "one_class": True},
    "attention": {"system": "attention-cnn"},
    "attention-cbam": {"system": "attention-cnn-cbam"},
    "attention-googlenet": {"system": "attention-cnn", "arguments": {"trunk": "googlenet"}},
}
TRAINING = {
    "epochs": 100,
    "batch_size": 16,
    "optimiser": "adamw",
    "learning_rate": 1e-3,
    "weight_decay": 5e-2,
    "patience": 100,
    "ema_decay": 0.98,
}


def divide_images(label: NDArray[np.int64], share: float, draw: int) -> NDArray[np.int8]:
    """Return the part of each image; the same for every method of a draw, larger shares hold smaller ones."""
    from ecumene.samples.contract import Part

    parts = np.full(len(label), Part.TEST, np.int8)
    generator = np.random.default_rng([2015, draw])
    for index in np.unique(label):
        order = generator.permutation(np.flatnonzero(label == index))
        learned = order[: round(share * len(order))]
        held = max(1, round(HELD_BACK * len(learned)))
        parts[learned] = Part.TRAIN
        parts[learned[:held]] = Part.VALIDATION
    return parts


def run_svm(data: Any, parts: NDArray[np.int8], features: NDArray[np.float32]) -> dict[str, Any]:
    """Fit and test the support vector machine; it learns from the validation images too."""
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    from ecumene.samples.contract import Part

    began = time.monotonic()
    learned, tested = parts != Part.TEST, parts == Part.TEST
    grid = {"svc__C": [1.0, 10.0, 100.0, 1000.0], "svc__gamma": ["scale", 0.001, 0.003, 0.01, 0.03]}
    search = GridSearchCV(make_pipeline(StandardScaler(), SVC()), grid, cv=5)
    search.fit(features[learned], data.label[learned])
    accuracy = float((search.predict(features[tested]) == data.label[tested]).mean())
    return {"overall_accuracy": accuracy, "seconds": time.monotonic() - began, "chosen": dict(search.best_params_)}


def run_network(
    name: str, data: Any, parts: NDArray[np.int8], draw: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Train and test one network."""
    from ecumene.networks.initial_weights import describe_start
    from ecumene.samples.contract import Part
    from ecumene.workflows.calibrate import results_of_scenes
    from ecumene.workflows.scene_data import divide
    from ecumene.workflows.scene_fit import fit_scene_model, scene_metrics

    system, curve = chosen_system(name, options), Curve(options.verbose)
    sets = divide(data, parts)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="scenes-rsscn7-") as folder:
        model = fit_scene_model(
            system, data, sets, name=name, seed=draw, epochs=options.epochs, max_minutes=None,
            folder=Path(folder) / "model", progress=curve,
        )  # fmt: skip
    seconds = time.monotonic() - began
    metrics = scene_metrics(model, results_of_scenes(model, sets[Part.TEST], seed=draw))
    return {
        "overall_accuracy": metrics["overall_accuracy"],
        "macro_f1": metrics["macro_f1"],
        "seconds": seconds,
        "start": describe_start(system.network_arguments),
        "input_size": options.input_size,
        "epochs": options.epochs,
        "validation_macro_f1": curve.validation,
    }


def chosen_system(name: str, options: argparse.Namespace) -> Any:
    """Return the published system with this benchmark's training and size of images."""
    from ecumene.systems import get_system

    wanted = NETWORKS[name]
    system = get_system(wanted["system"])
    arguments = {**system.network_arguments, **wanted.get("arguments", {}), "input_size": options.input_size}
    changes: dict[str, Any] = {"network_arguments": arguments, "training": {**TRAINING, "epochs": options.epochs}}
    if wanted.get("one_class"):
        changes |= {"task": "scene-classification", "objective": "scene-classification"}
    return system.model_copy(update=changes)


class Curve:
    """Keeps the validation metric of every epoch as the training reports it, and prints it if asked to."""

    def __init__(self, loud: bool) -> None:
        self.loud, self.validation = loud, []

    def __call__(self, done: int, total: int, what: str) -> None:
        """Take one report, such as (3, 30, "macro_f1 0.489")."""
        name, _, value = what.rpartition(" ")
        if name == "macro_f1" and len(self.validation) < done:
            self.validation.append(float(value))
        if self.loud:
            print(f"  {what}: {done} of {total}", flush=True)


def paired(ours: list[float], theirs: list[float]) -> dict[str, Any]:
    """Return the mean difference over draws, its 95 % interval (Student's t) and in how many draws it is positive."""
    from scipy import stats

    difference = np.asarray(ours) - np.asarray(theirs)
    result: dict[str, Any] = {
        "draws": len(difference),
        "mean": float(difference.mean()),
        "better_in": int((difference > 0).sum()),
    }
    if len(difference) > 1:
        half = stats.t.ppf(0.975, len(difference) - 1) * difference.std(ddof=1) / np.sqrt(len(difference))
        result |= {"low": float(difference.mean() - half), "high": float(difference.mean() + half)}
    return result


def summarise(runs: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row a method, share and training: spread over draws, paired difference to the support vector machine.

    A network that was trained for another time or on images of another size is another row.
    """
    groups: dict[tuple[float, str, int, int], dict[int, dict[str, Any]]] = {}
    for run in runs.values():
        kind = (run["share"], run["method"], run.get("epochs", 0), run.get("input_size", 0))
        groups.setdefault(kind, {})[run["draw"]] = run
    rows = []
    for (share, method, epochs, input_size), found in sorted(groups.items()):
        row: dict[str, Any] = {
            "share": share,
            "method": method,
            **({"epochs": epochs, "input_size": input_size} if epochs else {}),
            "overall_accuracy": spread([run["overall_accuracy"] for _, run in sorted(found.items())]),
            "seconds": spread([run["seconds"] for _, run in sorted(found.items())]),
        }
        reference = groups.get((share, SVM, 0, 0), {})
        both = sorted(set(found) & set(reference))
        if method != SVM and both:
            row["against_svm"] = paired(
                [found[draw]["overall_accuracy"] for draw in both],
                [reference[draw]["overall_accuracy"] for draw in both],
            )
        rows.append(row)
    return rows


def print_rows(rows: list[dict[str, Any]]) -> None:
    """Print the table."""
    for row in rows:
        accuracy = row["overall_accuracy"]
        deviation = accuracy["standard_deviation"]
        trained = f"{row['epochs']} epochs of {row['input_size']} px" if "epochs" in row else ""
        line = f"{row['share']:.0%} {row['method']:22s} {trained:20s} {accuracy['mean']:.3f}"
        line += f" ± {deviation:.3f}" if deviation is not None else "        "
        line += f"  {row['seconds']['mean']:7.0f} s a draw"
        against = row.get("against_svm")
        if against:
            line += f"  {against['mean']:+.3f} to the SVM, better in {against['better_in']} of {against['draws']}"
        print(line)


def stored_runs() -> dict[str, dict[str, Any]]:
    """Return the runs that were stored before."""
    path = RESULTS / "scenes_rsscn7.json"
    return dict(json.loads(path.read_text())["runs"]) if path.exists() else {}


def run_key(method: str, share: float, draw: int, options: argparse.Namespace) -> str:
    """Return the name of a run; networks of another length or size of images are other runs."""
    return f"{method} {share:g} {draw}" + ("" if method == SVM else f" {options.epochs} {options.input_size}")


def runs_of_draw(draw: int, options: argparse.Namespace) -> list[tuple[str, float]]:
    """Return (method, share of training images) of all runs of a draw, the learning curve last."""
    main = [(method, share) for share in options.shares for method in options.networks]
    if draw >= CURVE_DRAWS or options.no_curves:
        return main
    curve = [(method, share) for share in CURVE_SHARES for method in CURVE_METHODS if method in options.networks]
    return main + [run for run in curve if run not in main]


def parse() -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=[SVM, *NETWORKS], choices=[SVM, *NETWORKS])
    parser.add_argument("--shares", nargs="+", type=float, default=list(SHARES), help="of images that are learned from")
    parser.add_argument("--draws", nargs="+", type=int, default=list(range(DRAWS)))
    parser.add_argument("--epochs", type=int, default=TRAINING["epochs"])
    parser.add_argument("--input-size", type=int, default=224, help="side to which images are resized")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no draw that would end after this")
    parser.add_argument("--no-curves", action="store_true", help="the shares of --shares only")
    parser.add_argument("--verbose", action="store_true", help="print every epoch")
    parser.add_argument("--quick", action="store_true", help="two epochs, one draw, nothing is stored")
    parser.add_argument("--summary", action="store_true", help="print what is stored")
    options = parser.parse_args()
    if options.quick:
        options.epochs, options.draws, options.input_size, options.no_curves = 2, options.draws[:1], 64, True
    return options


class Bench:
    """The images, what has been run on them, and what is still to be run."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.runs = {} if options.quick else stored_runs()
        self._features: NDArray[np.float32] | None = None

    def open(self) -> None:
        """Open the images."""
        from ecumene.samples.datasets import open_data_set

        folder = data_root() / "rsscn7_subset"
        self.data = open_data_set("rsscn7", folder)
        self.data.resolution_m = 1.0  # four scales; nothing is mapped here
        self.described = data_set("RSSCN7 subset, 7 classes of 80 images", sorted(folder.rglob("*.jpg")))

    def features(self) -> NDArray[np.float32]:
        """Return what the support vector machine sees of all images."""
        from trust_data import texture_features

        if self._features is None:
            pictures = (self.data.read([index]).image[0] for index in range(len(self.data)))
            self._features = np.stack([texture_features(picture.transpose(1, 2, 0)) for picture in pictures])
        return self._features

    def draw(self, draw: int) -> bool:
        """Run what is missing of a draw; return whether anything was."""
        missing = [
            run for run in runs_of_draw(draw, self.options) if run_key(*run, draw, self.options) not in self.runs
        ]
        for method, share in missing:
            parts = divide_images(self.data.label, share, draw)
            if method == SVM:
                found = run_svm(self.data, parts, self.features())
            else:
                found = run_network(method, self.data, parts, draw, self.options)
            key = run_key(method, share, draw, self.options)
            self.runs[key] = {"method": method, "share": share, "draw": draw, **found}
            print(f"{key}: {found['overall_accuracy']:.3f} in {found['seconds']:.0f} s", flush=True)
            self.store()
        return bool(missing)

    def store(self) -> None:
        """Write everything that has been measured."""
        if not self.options.quick:
            rows = summarise(self.runs)
            described = {"data": self.described, "protocol": __doc__.split("\n\nA run adds")[0], "training": TRAINING}
            store("scenes_rsscn7", {**described, "rows": rows, "runs": self.runs})

    def run(self) -> None:
        """Run the draws in turn, until the time is over."""
        self.open()
        began, lasted = time.monotonic(), 0.0
        for draw in self.options.draws:
            start = time.monotonic()
            if start - began + lasted > 60 * self.options.minutes:
                print(f"Ended before draw {draw}, which would take about {lasted / 60:.0f} minutes.", flush=True)
                break
            if self.draw(draw):
                lasted = max(lasted, time.monotonic() - start)


def main() -> None:
    """Run what is missing and store it."""
    options = parse()
    bench = Bench(options)
    if not options.summary:
        bench.run()
    print_rows(summarise(bench.runs))


if __name__ == "__main__":
    main()
