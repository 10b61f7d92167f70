"""Where to label next: do chosen places need fewer labels than random ones?

    ECUMENE_DATA=... python benchmarks/label_next.py [--seeds 10] [--only slovenia,salinas]

A random forest starts with a few random places (3 x 3 pixels each, all labelled), is given batches of further places by
each strategy, and is measured on spatially disjoint blocks after each batch. All strategies of a seed share blocks,
start and forest seeds. Writes `results/label_next.json`.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
from scipy.stats import t as student
from sklearn.ensemble import RandomForestClassifier

from common import RESULTS, data_root, data_set, spread, store
from ecumene.trust.acquisition import (
    Candidates,
    choose_places,
    combined_choice,
    default_length,
    entropy_doubt,
    margin_doubt,
    mutual_information,
)

PLACE = 3
START, BATCH, LAST = 10, 10, 100
TREES = 100
VARIANTS = ("random", "spread", "diversity", "margin", "entropy", "epistemic", "combined", "combined-wide", "mixed")
FIRST_SEED = 100
"""Distance and class weight of `combined` were chosen on seeds 0 to 4 of Slovenia, `mixed` as the default on seeds 0 to
4 of both fields, after `combined` alone had been seen on seeds 100 to 104 of Salinas."""


@dataclass(frozen=True)
class Field:
    """An image with dense labels."""

    image: np.ndarray  # [H, W, F]
    truth: np.ndarray  # [H, W], 0 unlabelled
    blocks: int  # blocks a side
    described: Any


def slovenia() -> Field:
    folder = data_root() / "s2_eopatch_slovenia"
    paths = [folder / f"S2_L1C_{date}.tif" for date in ("2015-07-11", "2015-08-30", "2015-09-09")]
    bands = []
    for path in paths:
        with rasterio.open(path) as source:
            bands.append(source.read().astype(np.float32) * 1e-4)
    with rasterio.open(folder / "lulc_raster.tif") as source:
        truth = source.read(1)
    image = np.moveaxis(np.concatenate(bands), 0, -1)
    return Field(image, truth.astype(int), 5, data_set("s2_eopatch_slovenia", [*paths, folder / "lulc_raster.tif"]))


def salinas() -> Field:
    path = data_root() / "hsi_salinas_150" / "salinas_150.npz"
    stored = np.load(path)
    cube = np.zeros((22500, 204), np.float32)
    labels = np.zeros(22500, int)
    cube[stored["linear_index"]] = stored["spectra"]
    labels[stored["linear_index"]] = stored["labels"]
    image = cube.reshape(150, 150, 204, order="F")[:, :, ::8]
    return Field(image, labels.reshape(150, 150, order="F"), 10, data_set("hsi_salinas_150", [path]))


def parts(field: Field, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (places that may be labelled `[N, 2]` of corners, test mask): a third of the blocks are for testing."""
    height, width = field.truth.shape
    side = -(-max(height, width) // field.blocks)
    rows, cols = np.mgrid[:height, :width]
    block = rows // side * field.blocks + cols // side
    rng = np.random.default_rng(seed)
    wanted = set(np.unique(field.truth[field.truth > 0]))
    while True:  # both parts must hold all classes, else nothing can be learned or measured
        tested = np.isin(block, rng.choice(np.unique(block), len(np.unique(block)) // 3, replace=False))
        if all(set(np.unique(field.truth[mask & (field.truth > 0)])) == wanted for mask in (tested, ~tested)):
            break
    corners = [
        (row, col)
        for row in range(0, height - PLACE + 1, PLACE)
        for col in range(0, width - PLACE + 1, PLACE)
        if not tested[row : row + PLACE, col : col + PLACE].any()
        and (field.truth[row : row + PLACE, col : col + PLACE] > 0).any()
    ]
    return np.array(corners), tested & (field.truth > 0)


def pixels_of(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns `[N, PLACE * PLACE]` of places."""
    down, across = np.divmod(np.arange(PLACE * PLACE), PLACE)
    return corners[:, :1] + down, corners[:, 1:] + across


def macro_f1(truth: np.ndarray, found: np.ndarray) -> float:
    scores = []
    for value in np.unique(truth):
        hit = np.sum((truth == value) & (found == value))
        scores.append(2 * hit / max(1, np.sum(truth == value) + np.sum(found == value)))
    return float(np.mean(scores))


def members_of(forest: RandomForestClassifier, pixels: np.ndarray) -> np.ndarray:
    """Return the probabilities of sub-forests of ten trees: single trees are grown until their leaves are pure."""
    trees = np.stack([tree.predict_proba(pixels) for tree in forest.estimators_])
    return trees.reshape(-1, 10, *trees.shape[1:]).mean(axis=1)


def choose(
    variant: str, forest: Any, image: np.ndarray, corners: np.ndarray, known: np.ndarray, rng_seed: int
) -> np.ndarray:
    """Return the indices of the next places among the unknown corners."""
    free = np.flatnonzero(~known)
    rows, cols = pixels_of(corners[free])
    pixels = image[rows, cols].reshape(-1, image.shape[-1])
    members = members_of(forest, pixels)
    mean = members.mean(axis=0)
    kind = next((name for name in ("margin", "entropy", "epistemic") if name in variant), "margin")
    doubt = {"margin": margin_doubt, "entropy": entropy_doubt}.get(kind, lambda _: mutual_information(members))(mean)
    share = mean.reshape(len(free), PLACE * PLACE, -1).mean(axis=1)
    scale = image.reshape(-1, image.shape[-1]).std(axis=0) + 1e-9
    features = (image / scale)[rows, cols].mean(axis=1)
    candidates = Candidates(
        corners[free].astype(float), doubt.reshape(len(free), -1).mean(axis=1), share.argmax(axis=1), features
    )
    told = corners[known].astype(float)
    told_rows, told_cols = pixels_of(corners[known])
    told_features = (image / scale)[told_rows, told_cols].mean(axis=1)
    if variant == "combined-wide":
        return free[combined_choice(candidates, BATCH, told, 5.0 * default_length(candidates.xy, BATCH))]
    strategy: Any = variant.split("-")[0]
    chosen = choose_places(
        candidates, BATCH, strategy=strategy, known_xy=told, known_features=told_features, seed=rng_seed
    )
    return free[chosen]


def curve(field: Field, variant: str, seed: int) -> list[dict[str, float]]:
    """Return accuracy after each batch."""
    corners, test = parts(field, seed)
    rng = np.random.default_rng(seed + 1000)
    known = np.zeros(len(corners), bool)
    known[rng.choice(len(corners), START, replace=False)] = True
    target, results = field.truth[test], []
    while True:
        rows, cols = pixels_of(corners[known])
        labels = field.truth[rows, cols].ravel()
        seen = labels > 0
        pixels = field.image[rows, cols].reshape(-1, field.image.shape[-1])[seen]
        forest = RandomForestClassifier(TREES, random_state=seed, n_jobs=1).fit(pixels, labels[seen])
        found = forest.predict(field.image[test])
        entry = {
            "places": int(known.sum()),
            "overall_accuracy": float((found == target).mean()),
            "macro_f1": macro_f1(target, found),
            "classes_seen": len(np.unique(labels[seen])),
        }
        results.append(entry)
        if known.sum() >= LAST:
            return results
        known[choose(variant, forest, field.image, corners, known, seed * 100 + len(results))] = True


def needed(mean: np.ndarray, places: np.ndarray, level: float) -> float | None:
    """Return the number of places at which a mean curve reaches a level for good, between batches by interpolation."""
    above = np.flatnonzero(mean < level)
    if len(above) == 0:
        return float(places[0])
    last = above[-1]
    if last + 1 >= len(mean):
        return None
    share = (level - mean[last]) / (mean[last + 1] - mean[last])
    return float(places[last] + share * (places[last + 1] - places[last]))


def compare(curves: dict[str, list[list[dict[str, float]]]]) -> dict[str, Any]:
    """Compare every strategy with random: area under the curve, pairwise by seed, and labels needed."""
    result: dict[str, Any] = {}
    for metric in ("overall_accuracy", "macro_f1"):
        table: dict[str, Any] = {}
        base = np.array([[entry[metric] for entry in run] for run in curves["random"]])
        places = np.array([entry["places"] for entry in curves["random"][0]])
        goal = float(base.mean(axis=0)[-1])
        for name, runs in curves.items():
            values = np.array([[entry[metric] for entry in run] for run in runs])
            gain = values.mean(axis=1) - base.mean(axis=1)
            half = float(student.ppf(0.975, len(gain) - 1) * gain.std(ddof=1) / np.sqrt(len(gain)))
            enough = needed(values.mean(axis=0), places, goal)
            table[name] = {
                "mean_over_curve": spread([float(v) for v in values.mean(axis=1)]),
                "gain_over_random": float(gain.mean()),
                "gain_95_interval": [float(gain.mean()) - half, float(gain.mean()) + half],
                "seeds_better_than_random": int((gain > 0).sum()),
                "last": float(values.mean(axis=0)[-1]),
                "places_needed_for_random_at_last": enough,
                "curve": [round(float(v), 4) for v in values.mean(axis=0)],
            }
        result[metric] = {"random_at_last": goal, "places": places.tolist(), "strategies": table}
    return result


def run(name: str, field: Field, seeds: int, first: int, variants: list[str]) -> dict[str, Any]:
    curves: dict[str, list[list[dict[str, float]]]] = {}
    start = time.perf_counter()
    for variant in variants:
        curves[variant] = [curve(field, variant, seed) for seed in range(first, first + seeds)]
        last = np.mean([[run_[-1]["overall_accuracy"], run_[-1]["macro_f1"]] for run_ in curves[variant]], axis=0)
        area = np.mean([np.mean([e["macro_f1"] for e in run_]) for run_ in curves[variant]])
        print(
            f"{name:10s} {variant:26s} OA {last[0]:.3f}  macro F1 {last[1]:.3f}  mean F1 over curve {area:.3f}  "
            f"{time.perf_counter() - start:.0f} s",
            flush=True,
        )
    return {
        "data": field.described,
        "protocol": f"{PLACE} x {PLACE} pixels a place, {START} random ones first, batches of {BATCH} to {LAST}; a "
        f"third of {field.blocks} x {field.blocks} blocks for testing; random forest of {TREES} trees",
        "seeds": list(range(first, first + seeds)),
        "comparison": compare(curves),
    }


def merged(old: dict[str, Any] | None, new: dict[str, Any]) -> dict[str, Any]:
    """Add strategies to an earlier run with the same seeds and protocol, which random must have repeated exactly."""
    if old is None or any(old[key] != new[key] for key in ("seeds", "protocol", "data")):
        return new
    for metric, table in new["comparison"].items():
        before = old["comparison"][metric]["strategies"]
        if before["random"] != table["strategies"]["random"]:
            return new
        table["strategies"] = before | table["strategies"]
    return new


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--only", default="slovenia,salinas")
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--dry", action="store_true", help="print only")
    chosen = parser.parse_args()
    fields = {"slovenia": slovenia, "salinas": salinas}
    path = RESULTS / "label_next.json"
    results = json.loads(path.read_text())["fields"] if path.exists() else {}
    for name in chosen.only.split(","):
        new = run(name, fields[name](), chosen.seeds, chosen.first_seed, chosen.variants.split(","))
        results[name] = merged(results.get(name), new)
        if not chosen.dry:
            store("label_next", {"fields": results})


if __name__ == "__main__":
    main()
