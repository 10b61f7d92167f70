"""Urban change on the seven cities of OSCD at hand, leave one city out: FC-* and DS-UNet's Sentinel-2 stream, IR-MAD.

    python benchmarks/change_oscd.py --seeds 5 --minutes 55     # results/change_oscd.json; again to go on
    python benchmarks/change_oscd.py --only fc-siam-diff:paris  # one training, prints only

A network learns on blocks of six cities (or of 1, 2 or 4 of them); other blocks of the same cities choose its epoch
and, by the largest F1, the threshold that decides, as `ecumene train` does; the seventh city is only measured on.
Figures are of the pixels of all seven cities together. IR-MAD and CVA have the single threshold that is best for the
test labels of all cities, which a network cannot have. Every training is stored at once, so that a stopped run goes on
where it was.

Trainings are short, so that two processor cores can do 245 of them, each in less than a minute of one core: 256 steps
of 8 windows of 64 pixels. The systems' own: 1,500 steps of 16 windows of 96 pixels (FC-*), 390 epochs of batches of 64
windows of 32 pixels and four times the widths (DS-UNet). See `CHANGES` and `--steps`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from common import RESULTS, data_root, data_set, spread, store

NAME = "change_oscd"
SYSTEMS = ("fc-siam-diff", "ds-unet", "fc-ef", "fc-siam-conc")
SIZES = (1, 2, 4)
SIZE_SYSTEM = "fc-siam-diff"
CLASSICAL = ("irmad", "cva")
PER_REGION = 40
"""Windows of a city in an epoch."""
CHANGES: dict[str, dict[str, Any]] = {
    "fc-ef": {"patch_size": 64, "training": {"batch_size": 8}},
    "fc-siam-conc": {"patch_size": 64, "training": {"batch_size": 8}},
    "fc-siam-diff": {"patch_size": 64, "training": {"batch_size": 8}},
    "ds-unet": {
        "patch_size": 64,
        "training": {"batch_size": 8, "learning_rate": 1e-3, "schedule": "cosine", "warmup": 0.05},
        "network_arguments": {"widths": [16, 32, 64, 128]},
    },
}
"""What differs from the systems, so that two processor cores can do it; windows are drawn as the systems say."""


def open_cities() -> Any:
    """Open the data set."""
    from ecumene.samples.datasets.pairs import open_pair_set

    return open_pair_set("oscd", data_root() / "oscd")


@cache
def pairs(system: str | None = None) -> tuple[Any, ...]:
    """Return all cities, read once, as a system sees them."""
    from ecumene.systems import get_system
    from ecumene.workflows.pair_train import read_pair

    data = open_cities()
    return tuple(
        data.read(name) if system is None else read_pair(data, name, get_system(system)) for name in data.names
    )


def adapted(name: str) -> Any:
    """Return a system with this benchmark's sizes."""
    from ecumene.systems import get_system

    system, changes = get_system(name), CHANGES[name]
    training = {k: v for k, v in system.training.items() if k not in ("max_steps", "epochs", "patience")}
    return system.model_copy(
        update={
            "patch_size": changes["patch_size"],
            "training": {**training, **changes["training"]},
            "network_arguments": {**system.network_arguments, **changes.get("network_arguments", {})},
            "crops": {**system.crops, "per_region": PER_REGION},
        }
    )


def learned_cities(test: str, count: int, seed: int) -> list[str]:
    """Return the cities to learn from: all others, or so many of them, drawn anew for each seed and test city."""
    others = [pair.name for pair in pairs() if pair.name != test]
    if count >= len(others):
        return others
    rng = np.random.default_rng([seed, len(others), sum(map(ord, test))])
    return sorted(rng.choice(others, count, replace=False).tolist())


def train_and_map(system: str, test: str, count: int, seed: int, steps: int) -> dict[str, Any]:
    """Train once; return counts and curves of the test city."""
    from ecumene.samples.contract import Part
    from ecumene.samples.crops import region_patches
    from ecumene.samples.region_split import split_regions
    from ecumene.trust.scaling import IDENTITY
    from ecumene.workflows.calibrate import choose_threshold
    from ecumene.workflows.pair_train import CORE, fit_pairs, margin_in_strides
    from ecumene.workflows.uncertainty import SINGLE

    chosen, cities = adapted(system), learned_cities(test, count, seed)
    used = [pair for pair in pairs(system) if pair.name in {*cities, test}]
    parts = split_regions(used, [test], shares=(0.85, 0.15, 0.0), seed=seed)
    batches = -(-PER_REGION * len(cities) // int(chosen.training["batch_size"]))
    epochs = max(1, round(steps / batches))
    chosen = chosen.model_copy(update={"training": {**chosen.training, "epochs": epochs, "patience": epochs}})
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        fitted, train = fit_pairs(
            chosen, open_cities(), parts, seed=seed, epochs=None, max_minutes=None, folder=Path(folder) / "m",
            uncertainty=SINGLE,
        )  # fmt: skip
    model = fitted.to_model(name=system, created="", resolution_m=10.0, training={})
    channels, margin = open_cities().channels, margin_in_strides(model)
    stopping = region_patches(parts[Part.VALIDATION], channels, CORE, margin)
    model, notes = choose_threshold(model, (stopping, region_patches(train.regions, channels, CORE)), IDENTITY)
    pair = next(pair for pair in pairs(system) if pair.name == test)
    said = probabilities(model, pair)
    valid = np.isfinite(pair.image).all(axis=(0, 1)) & (pair.mask >= 0)
    truth = pair.mask[valid] == 1
    return {
        "cities": cities,
        "epochs": epochs,
        "best_epoch": fitted.summary["best_epoch"],
        "threshold": model.spec.training.get("threshold", {"value": 0.5, "notes": notes}),
        "at threshold": counts(np.asarray(model.objective.decide(said))[0][valid] == 1, truth),
        "at half": counts(said[0, 1][valid] > 0.5, truth),
        "auc": area_under_curve(said[0, 1][valid], truth),
        "processor seconds": round(time.process_time() - start, 1),
    }


def probabilities(model: Any, pair: Any) -> np.ndarray:
    """Return the class probabilities `[1, 2, H, W]` of a whole city, by one pass."""
    rows, cols = pair.image.shape[-2:]
    stride = model.spec.stride
    padded = np.pad(pair.image, ((0, 0), (0, 0), (0, -rows % stride), (0, -cols % stride)), constant_values=np.nan)
    found = model.objective.moments(model.raw_output(padded[None], pair.dates[None].astype(np.float32)))
    return np.asarray(found)[..., :rows, :cols]


def counts(called: np.ndarray, truth: np.ndarray) -> dict[str, int]:
    """Return pixels rightly called, wrongly called, and missed."""
    return {"tp": int((called & truth).sum()), "fp": int((called & ~truth).sum()), "fn": int((~called & truth).sum())}


def figures(together: list[Mapping[str, int]]) -> dict[str, float]:
    """Return precision, recall and F1 of the pixels of several cities together."""
    tp, fp, fn = (sum(one[key] for one in together) for key in ("tp", "fp", "fn"))
    return {
        "f1": round(2 * tp / max(2 * tp + fp + fn, 1), 4),
        "precision": round(tp / max(tp + fp, 1), 4),
        "recall": round(tp / max(tp + fn, 1), 4),
    }


def area_under_curve(score: np.ndarray, truth: np.ndarray) -> float:
    """Return the probability that a changed pixel has a larger score than an unchanged one."""
    from scipy.stats import rankdata

    ranks, positives = rankdata(score), int(truth.sum())
    return round(float((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * (~truth).sum())), 4)


def classical(method: str) -> dict[str, Any]:
    """Return what a method without labels reaches with the single threshold that is best for all cities together."""
    from ecumene.change.contract import ImagePair
    from ecumene.change.methods import detect_change

    magnitudes, truths, areas = [], [], {}
    for pair in pairs():
        both = ImagePair.from_arrays(pair.image[0].astype(np.float64), pair.image[1].astype(np.float64))
        found = detect_change(both, method)
        valid = found.valid & (pair.mask >= 0)
        magnitudes.append(found.magnitude[valid].astype(np.float64))
        truths.append(pair.mask[valid] == 1)
        areas[pair.name] = area_under_curve(magnitudes[-1], truths[-1])
    score, truth = np.concatenate(magnitudes), np.concatenate(truths)
    order = np.argsort(-score, kind="stable")
    hits, called = np.cumsum(truth[order]), np.arange(1, len(score) + 1)
    best = int(np.argmax(2 * hits / (called + truth.sum())))
    threshold = float(score[order[best]])
    cities = {p.name: figures([counts(m >= threshold, t)]) for p, m, t in zip(pairs(), magnitudes, truths, strict=True)}
    return {
        "threshold, chosen with the test labels": round(threshold, 4),
        **figures([counts(score >= threshold, truth)]),
        "auc of a city": areas,
        "cities": cities,
    }


def planned(seeds: int, sizes: bool) -> Iterator[tuple[str, int, int, str]]:
    """Yield (system, cities to learn from, seed, test city), whole seeds first."""
    names = [pair.name for pair in pairs()]
    for seed in range(seeds):
        for system in SYSTEMS:
            yield from ((system, len(names) - 1, seed, name) for name in names)
        for size in SIZES if sizes else ():
            yield from ((SIZE_SYSTEM, size, seed, name) for name in names)


def summarise(runs: Mapping[str, Any]) -> dict[str, Any]:
    """Return pooled figures of each system and number of cities: of every complete seed, with mean and spread."""
    cities = len(pairs())
    grouped: dict[str, dict[str, list[Any]]] = {}
    for key, found in runs.items():
        system, count, seed, _ = key.split("|")
        grouped.setdefault(f"{system}|{count}", {}).setdefault(seed, []).append(found)
    summary: dict[str, Any] = {}
    for key, by_seed in grouped.items():
        complete = [folds for folds in by_seed.values() if len(folds) == cities]
        summary[key] = {"complete seeds": len(complete), "trainings": sum(map(len, by_seed.values()))}
        for rule in ("at threshold", "at half") if complete else ():
            each = [figures([fold[rule] for fold in folds]) for folds in complete]
            summary[key][rule] = {m: spread([one[m] for one in each]) for m in ("f1", "precision", "recall")}
    return summary


def earlier(path: Path, plan: dict[str, Any]) -> dict[str, Any]:
    """Return the trainings that a stopped run with the same plan has stored."""
    if not path.is_file():
        return {}
    stored = json.loads(path.read_text())
    return dict(stored["runs"]) if stored.get("plan") == json.loads(json.dumps(plan)) else {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=256, help="optimiser steps of a training")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no training after this time")
    parser.add_argument("--no-sizes", action="store_true", help="leave out training on 1, 2 and 4 cities")
    parser.add_argument("--only", help="this system and test city alone, as in fc-siam-diff:paris; nothing is stored")
    arguments = parser.parse_args()
    if arguments.only:
        system, _, city = arguments.only.partition(":")
        print(train_and_map(system, city, len(pairs()) - 1, 0, arguments.steps))
        return
    plan = {
        "steps": arguments.steps,
        "windows of a city in an epoch": PER_REGION,
        "changes": CHANGES,
        "images standardised as a whole": [name for name in SYSTEMS if adapted(name).standardised],
    }
    path = RESULTS / f"{NAME}.json"
    runs = earlier(path, plan)
    files = sorted((data_root() / "oscd").rglob("*.tif"))
    results = {"data": [data_set("oscd, seven cities", files)], "plan": plan, "runs": runs}
    results["without labels, best single threshold"] = {method: classical(method) for method in CLASSICAL}
    for method, found in results["without labels, best single threshold"].items():
        print(method, {key: found[key] for key in ("f1", "precision", "recall")}, flush=True)
    start = time.monotonic()
    for system, count, seed, test in planned(arguments.seeds, not arguments.no_sizes):
        key = f"{system}|{count}|{seed}|{test}"
        if key in runs or time.monotonic() - start > 60.0 * arguments.minutes:
            continue
        runs[key] = train_and_map(system, test, count, seed, arguments.steps)
        shown = {name: runs[key][name] for name in ("auc", "processor seconds")}
        print(key, figures([runs[key]["at threshold"]]), shown, flush=True)
        store(NAME, {**results, "summary": summarise(runs)})
    store(NAME, {**results, "summary": summarise(runs)})
    for key, found in summarise(runs).items():
        print(key, found.get("at threshold"), found["complete seeds"])


if __name__ == "__main__":
    main()
