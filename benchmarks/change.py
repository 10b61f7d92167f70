"""Change learned from few labelled pixels: ReCNN beside machines on stacked spectra, two Landsat pairs.

Training and test pixels lie in different blocks, far enough apart that no patches overlap. Every training is stored
at once, so that a stopped run goes on where it was: `--minutes` bounds a run, `--seeds` the repetitions.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from change_data import LANDSAT, LANDSAT_BANDS, ReferencePair, landsat
from change_pairs import agreement, area_under_curve, calibration
from common import RESULTS, spread, store

NAME = "change_few_labels"
BLOCK = 40
"""Rows and columns of a block; all its pixels are for learning or for the test."""
RADIUS = 2
"""Of a patch; labelled pixels so near to a block's border are left out on both sides."""
PER_CLASS = (50, 200)
NETWORKS = ("recnn-lstm", "recnn-gru", "recnn-fc")
MACHINES = ("svm", "svm 5x5")
SENSORS = {"taizhou": "landsat-7", "nanjing": "landsat-5"}
TRAINING: dict[str, Any] = {
    "epochs": 150,
    "batch_size": 32,
    "learning_rate": 1e-3,
    "optimiser": "nadam",
    "patience": 150,
    "monitor": "validation_loss",
}
VALIDATION_SHARE = 0.2


class Draw(NamedTuple):
    """Pixels of one repetition as rows and columns: learned from, stopping the training, tested on."""

    learn: tuple[np.ndarray, np.ndarray]
    stop: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]


def draw_pixels(reference: ReferencePair, per_class: int, seed: int) -> Draw:
    """Divide blocks into halves and draw labelled pixels of each class from one of them."""
    from ecumene.samples.assignment import best_assignments

    rows, cols = np.nonzero(reference.labelled)
    inside = [np.minimum(axis % BLOCK, BLOCK - 1 - axis % BLOCK) >= RADIUS for axis in (rows, cols)]
    kept = inside[0] & inside[1]
    rows, cols = rows[kept], cols[kept]
    truth = reference.changed[rows, cols].astype(np.int64)
    units, unit = np.unique(rows // BLOCK * 1000 + cols // BLOCK, return_inverse=True)
    counts = np.zeros((len(units), 2), np.int64)
    np.add.at(counts, (unit, truth), 1)
    rng = np.random.default_rng([seed, 3])
    half = best_assignments(counts, np.array([0.5, 0.5]), np.arange(2), rng)[0]
    mine = half[unit] == 0
    chosen = [rng.choice(np.flatnonzero(mine & (truth == index)), per_class, replace=False) for index in (0, 1)]
    stopping = round(VALIDATION_SHARE * per_class)
    stop, learn = (np.concatenate([c[part] for c in chosen]) for part in (slice(stopping), slice(stopping, None)))
    test = np.flatnonzero(~mine)
    return Draw((rows[learn], cols[learn]), (rows[stop], cols[stop]), (rows[test], cols[test]))


def patches(reference: ReferencePair, places: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Return patches `[N, 2, C, 5, 5]`, NaN beyond the border."""
    both = np.stack([reference.before, reference.after]).astype(np.float32)
    padded = np.pad(both, ((0, 0), (0, 0), (RADIUS, RADIUS), (RADIUS, RADIUS)), constant_values=np.nan)
    side = 2 * RADIUS + 1
    return np.stack([padded[..., r : r + side, c : c + side] for r, c in zip(*places, strict=True)])


def learn_machine(reference: ReferencePair, draw: Draw, spatial: bool, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the scores of the test pixels of a support vector machine with RBF kernel, chosen by cross-validation."""
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    def rows(places: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        cut = np.nan_to_num(patches(reference, places)) if spatial else None
        if cut is not None:
            return cut.reshape(len(cut), -1)
        return np.concatenate([reference.before[:, *places], reference.after[:, *places]]).T

    both = tuple(np.concatenate(parts) for parts in zip(draw.learn, draw.stop, strict=True))
    features, truth = rows(both), reference.changed[both]
    grid = {"svc__C": [1, 10, 100, 1000], "svc__gamma": [f / features.shape[1] for f in (0.03, 0.1, 0.3, 1.0, 3.0)]}
    search = GridSearchCV(make_pipeline(StandardScaler(), SVC(random_state=seed)), grid, cv=5)
    search.fit(features, truth)
    chosen = {key.removeprefix("svc__"): float(value) for key, value in search.best_params_.items()}
    score = np.concatenate([search.decision_function(rows(tuple(p[i : i + 20_000] for p in draw.test)))
                            for i in range(0, len(draw.test[0]), 20_000)])  # fmt: skip
    return score, chosen


def learn_network(reference: ReferencePair, draw: Draw, system: str, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the probability of change at the test pixels, by one fully convolutional pass over the scene."""
    import torch

    from ecumene.legends import Legend
    from ecumene.networks import build_network
    from ecumene.objectives import build_objective
    from ecumene.samples.augmentation import augmentation_for
    from ecumene.samples.datasets.class_folders import sensor_channels
    from ecumene.samples.patch_set import PatchSet
    from ecumene.samples.statistics import channel_statistics
    from ecumene.systems import get_system
    from ecumene.training.fit_network import fit_network
    from ecumene.training.options import TrainingOptions
    from ecumene.training.provenance import make_inputs

    channels = sensor_channels(SENSORS[reference.name], "DN", LANDSAT_BANDS)

    def samples(places: tuple[np.ndarray, np.ndarray]) -> PatchSet:
        image = patches(reference, places)
        mask = np.full((len(image), 5, 5), -1, np.int64)
        mask[:, RADIUS, RADIUS] = reference.changed[places]
        days = np.tile(np.array([11000, 12000]), (len(image), 1))
        valid = np.isfinite(image).all(axis=2)
        return PatchSet(image, mask, valid, days, np.where(mask >= 0, 0, -1).astype(np.int32), channels)

    known, chosen = samples(draw.learn), get_system(system)
    inputs = make_inputs(channels, channel_statistics(known))
    arguments = {**chosen.network_arguments, "in_channels": len(channels), "n_outputs": 2}
    legend = Legend.from_names(["unchanged", "changed"], name="change")
    with tempfile.TemporaryDirectory() as folder:
        fitted = fit_network(
            str(chosen.network),
            arguments,
            build_objective({"name": "segmentation", "legend": legend}),
            known,
            samples(draw.stop),
            inputs,
            options=TrainingOptions(seed=seed, **TRAINING),
            folder=folder,
            augmentation=augmentation_for(inputs),
        )
    network = build_network(str(chosen.network), pretrained=False, **arguments).eval()
    network.load_state_dict({name: torch.from_numpy(array) for name, array in fitted.state.items()})
    mean, std = (np.array([getattr(band, key) for band in inputs])[:, None, None] for key in ("mean", "std"))
    scene = torch.from_numpy(((np.stack([reference.before, reference.after]) - mean) / std).astype(np.float32))[None]
    with torch.inference_mode():
        probability = network(scene).softmax(dim=1)[0, 1].numpy()
    return probability[draw.test], {"best_epoch": fitted.best_epoch}


def run(reference: ReferencePair, method: str, per_class: int, seed: int) -> dict[str, Any]:
    """Train and measure once."""
    draw = draw_pixels(reference, per_class, seed)
    truth = reference.changed[draw.test]
    start = time.process_time()
    network = method in NETWORKS
    if network:
        score, chosen = learn_network(reference, draw, method, seed)
    else:
        score, chosen = learn_machine(reference, draw, method == "svm 5x5", seed)
    found: dict[str, Any] = {
        **agreement(score > (0.5 if network else 0.0), truth),
        "auc": round(area_under_curve(score.astype(np.float64), truth), 4),
        "test pixels": int(truth.size),
        "chosen": chosen,
        "processor seconds": round(time.process_time() - start, 1),
    }
    if network:
        found["ece"] = calibration(score.astype(np.float64), truth)["ece"]
    return found


def planned(seeds: int) -> Iterator[tuple[str, int, int, str]]:
    """Yield (pair, pixels of a class, seed, method): the machines and the first network before its variants."""
    for methods in ((*MACHINES, NETWORKS[0]), NETWORKS[1:]):
        for seed in range(seeds):
            for name in LANDSAT:
                for per_class in PER_CLASS:
                    yield from ((name, per_class, seed, method) for method in methods)


def summarise(runs: dict[str, Any]) -> dict[str, Any]:
    """Return mean and spread of every pair, size and method over its seeds."""
    grouped: dict[str, list[dict[str, Any]]] = {}
    for key, found in runs.items():
        pair, per_class, _, method = key.split("|")
        grouped.setdefault(f"{pair}|{per_class}|{method}", []).append(found)
    return {
        key: {"seeds": len(all_of), **{m: spread([one[m] for one in all_of]) for m in ("oa", "kappa", "f1", "auc")}}
        for key, all_of in sorted(grouped.items())
    }


def unsupervised() -> dict[str, Any]:
    """Return what the methods without labels reach on all labelled pixels, from their own benchmark."""
    path = RESULTS / "change_pairs.json"
    if not path.is_file():
        return {}
    known = json.loads(path.read_text())["optical"]
    keys = ("oa", "kappa", "f1", "auc")
    return {p: {m: {k: f[k] for k in keys} for m, f in methods.items()} for p, methods in known.items()}


def earlier(path: Path, plan: dict[str, Any]) -> dict[str, Any]:
    """Return the trainings that a stopped run with the same plan has stored."""
    if not path.is_file():
        return {}
    stored = json.loads(path.read_text())
    return dict(stored["runs"]) if stored.get("plan") == plan else {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no training after this time")
    parser.add_argument("--fresh", action="store_true", help="forget what was stored")
    arguments = parser.parse_args()
    plan = {"training": TRAINING, "block": BLOCK, "per class": list(PER_CLASS), "validation share": VALIDATION_SHARE}
    path = RESULTS / f"{NAME}.json"
    runs = {} if arguments.fresh else earlier(path, plan)
    references = {name: landsat(name) for name in LANDSAT}
    start = time.monotonic()
    for name, per_class, seed, method in planned(arguments.seeds):
        key = f"{name}|{per_class}|{seed}|{method}"
        if key in runs or time.monotonic() - start > 60.0 * arguments.minutes:
            continue
        runs[key] = run(references[name], method, per_class, seed)
        print(key, {k: runs[key][k] for k in ("oa", "kappa", "f1", "auc", "processor seconds")}, flush=True)
        results = {
            "data": [reference.description for reference in references.values()],
            "plan": plan,
            "runs": runs,
            "summary": summarise(runs),
            "without labels, all labelled pixels": unsupervised(),
        }
        store(NAME, results)
    for key, found in summarise(runs).items():
        print(f"{key:32s}", {m: found[m] for m in ("oa", "kappa", "f1", "auc")}, found["seeds"])


if __name__ == "__main__":
    main()
