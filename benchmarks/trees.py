"""Prediction speed of forests and boosted trees against the libraries that trained them, interleaved, in one run.

    python benchmarks/trees.py [--pixels 1000000]

Simulated spectra; the ratio is our time over the library's (below 1: faster). Writes `results/trees.json`.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

from common import store
from ecumene.models.boosting import ensemble_from_text
from ecumene.models.forest import ensemble_from_sklearn
from ecumene.models.tree_kernel import TreeWalker
from ecumene.training.fit_trees import fit_boosting

BANDS, CLASSES, TREES, THREADS = 13, 8, 200, 2


def data(pixels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    centers = generator.uniform(0.02, 0.5, (CLASSES, BANDS))
    classes = generator.integers(0, CLASSES, pixels)
    spectra = centers[classes] * generator.normal(1, 0.3, (pixels, 1)) + generator.normal(0, 0.05, (pixels, BANDS))
    return spectra.astype(np.float32), classes


def interleaved(ours: Callable[[], np.ndarray], theirs: Callable[[], np.ndarray], runs: int) -> dict[str, object]:
    difference = float(np.abs(ours() - theirs()).max())
    times: dict[str, list[float]] = {"ours": [], "library": []}
    for _ in range(runs):
        for name, run in (("ours", ours), ("library", theirs)):
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    ratios = [a / b for a, b in zip(times["ours"], times["library"], strict=True)]
    return {
        "seconds": times,
        "ratio_median": statistics.median(ratios),
        "ratios": ratios,
        "largest_difference": difference,
    }


def main() -> None:
    import lightgbm
    from sklearn.ensemble import RandomForestClassifier

    parser = argparse.ArgumentParser()
    parser.add_argument("--pixels", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    chosen = parser.parse_args()
    x, y = data(20_000, 0)
    pixels, _ = data(chosen.pixels, 1)
    forest = RandomForestClassifier(TREES, random_state=0, n_jobs=THREADS).fit(x, y)
    walker = TreeWalker(ensemble_from_sklearn(forest, CLASSES), threads=THREADS)
    text = fit_boosting(x, y, n_classes=CLASSES, n_trees=TREES, seed=0)
    booster, own = lightgbm.Booster(model_str=text), TreeWalker(ensemble_from_text(text, CLASSES), threads=THREADS)
    results = {
        "pixels": chosen.pixels,
        "threads": THREADS,
        "random forest against scikit-learn": interleaved(
            lambda: walker(pixels), lambda: forest.predict_proba(pixels), chosen.runs
        ),
        "boosting against LightGBM": interleaved(
            lambda: own(pixels), lambda: booster.predict(pixels, raw_score=True, num_threads=THREADS), chosen.runs
        ),
    }
    print(store("trees", {"data": {"name": "Gaussian clouds of spectra", "kind": "simulated"}, **results}))
    for name, result in results.items():
        if isinstance(result, dict):
            print(name, "ratio", round(float(result["ratio_median"]), 3), "difference", result["largest_difference"])


if __name__ == "__main__":
    main()
