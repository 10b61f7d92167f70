"""Change between two dates without labels: accuracy and calibration on two Landsat and four SAR pairs."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import stats

from change_data import LANDSAT, SAR, ReferencePair, landsat, sar
from common import store
from ecumene.change.contract import ChangeResult
from ecumene.change.histogram import MagnitudeHistogram
from ecumene.change.methods import detect_change
from ecumene.change.normalisation import normalise_radiometry
from ecumene.change.thresholds import RULES, find_threshold

OPTICAL = ("cva", "mad", "irmad", "sfa", "isfa", "pca-kmeans")
FLOOR = 5.0
"""Added to the 8-bit values of the SAR pairs: two percent of their range, since a ratio of few steps means nothing."""
RADAR: dict[str, tuple[str, dict[str, Any]]] = {
    "log-ratio 3x3": ("log-ratio", {"floor": FLOOR}),
    "mean-ratio 3x3": ("mean-ratio", {"floor": FLOOR}),
    "likelihood-ratio 3x3": ("likelihood-ratio", {"floor": FLOOR}),
    "pca-kmeans": ("pca-kmeans", {}),
    "ratio-variation": ("ratio-variation", {"floor": FLOOR}),
}
GOALS: dict[str, dict[str, Any]] = {
    "taizhou": {"irmad": (0.957, 0.874, 0.995), "cva": (0.921, 0.780, 0.990)},
    "nanjing": {"irmad": (0.888, 0.671, 0.973), "cva": (0.847, 0.575, 0.957)},
    "ottawa": {"kappa": 0.93, "mean-ratio and k-means": (0.979, 0.916)},
    "farmland": {"kappa": 0.85, "mean-ratio and k-means": (0.888, 0.437)},
    "bern": {"kappa": 0.87, "mean-ratio and k-means": (0.996, 0.846)},
    "san_francisco": {"kappa": 0.92, "mean-ratio and k-means": (0.970, 0.804)},
}


def agreement(changed: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Return overall accuracy, kappa, F1, precision and recall of "changed"."""
    both, neither = float((changed & truth).sum()), float((~changed & ~truth).sum())
    false, missed = float((changed & ~truth).sum()), float((~changed & truth).sum())
    total = both + neither + false + missed
    chance = ((both + false) * (both + missed) + (neither + false) * (neither + missed)) / total**2
    right = (both + neither) / total
    return {
        "oa": round(right, 4),
        "kappa": round((right - chance) / (1.0 - chance), 4),
        "f1": round(2.0 * both / max(2.0 * both + false + missed, 1.0), 4),
        "precision": round(both / max(both + false, 1.0), 4),
        "recall": round(both / max(both + missed, 1.0), 4),
    }


def area_under_curve(score: np.ndarray, truth: np.ndarray) -> float:
    """Return the probability that a changed pixel has a larger score than an unchanged one."""
    ranks = stats.rankdata(score)
    positives = int(truth.sum())
    return float((ranks[truth].sum() - positives * (positives + 1) / 2.0) / (positives * (truth.size - positives)))


def calibration(probability: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """Return Brier score and expected calibration error, and what happened in five ranges of the probability."""
    bins = np.minimum((probability * 15).astype(int), 14)
    error = sum(
        (bins == index).mean() * abs(float(probability[bins == index].mean() - truth[bins == index].mean()))
        for index in np.unique(bins)
    )
    ranges = {}
    for low, high in ((0.0, 0.1), (0.1, 0.4), (0.4, 0.6), (0.6, 0.9), (0.9, 1.0001)):
        inside = (probability >= low) & (probability < high)
        if inside.any():
            said, seen = float(probability[inside].mean()), float(truth[inside].mean())
            ranges[f"{low:.1f}-{min(high, 1.0):.1f}"] = [int(inside.sum()), round(said, 3), round(seen, 3)]
    return {
        "brier": round(float(((probability - truth) ** 2).mean()), 4),
        "ece": round(float(error), 4),
        "pixels, said, seen": ranges,
    }


def judged(result: ChangeResult, reference: ReferencePair, seconds: float, rules: bool) -> dict[str, Any]:
    where = reference.labelled & result.valid
    truth = reference.changed[where]
    magnitude = result.magnitude[where].astype(np.float64)
    found: dict[str, Any] = {
        "rule": result.threshold.rule,
        "threshold": round(result.threshold.value, 4),
        **agreement(result.changed[where], truth),
        "auc": round(area_under_curve(magnitude, truth), 4),
        "probability": calibration(result.probability[where].astype(np.float64), truth),
        "seconds": round(seconds, 2),
    }
    if rules:
        histogram = MagnitudeHistogram()
        histogram.add(result.magnitude[result.valid])
        found["kappa by rule"] = {
            rule: agreement(magnitude > find_threshold(histogram, rule).value, truth)["kappa"] for rule in RULES
        }
        found["kappa by rule"]["posterior"] = agreement(result.probability[where] > 0.5, truth)["kappa"]
        # Figures of the literature put k-means on the labelled pixels alone.
        labelled = MagnitudeHistogram()
        labelled.add(magnitude)
        found["kmeans of labelled pixels"] = agreement(magnitude > find_threshold(labelled, "kmeans").value, truth)
    return found


def run(reference: ReferencePair, name: str, options: Mapping[str, Any], rules: bool = True) -> dict[str, Any]:
    start = time.perf_counter()
    result = detect_change(reference.pair(), name, **options)
    return judged(result, reference, time.perf_counter() - start, rules)


def sensitivity(references: list[ReferencePair]) -> dict[str, Any]:
    """Kappa of ratio-variation where one of its settings differs."""
    variants: dict[str, dict[str, Any]] = {"as chosen": {}}
    variants |= {f"floor {value:g}": {"floor": value} for value in (1.0, 3.0, 4.0, 6.0, 8.0)}
    variants |= {f"coupling {value:g}": {"coupling": value} for value in (0.25, 0.35, 0.45, 0.5, 0.7)}
    variants |= {f"smoothing {value:g}": {"smoothing": value} for value in (0.5, 0.8, 1.25, 1.5)}
    variants |= {f"threshold {rule}": {"threshold": rule} for rule in ("kmeans", "otsu", "posterior", "ki-nakagami")}
    return {
        title: {
            reference.name: run(reference, "ratio-variation", {"floor": FLOOR, **options}, False)["kappa"]
            for reference in references
        }
        for title, options in variants.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="without the sensitivity to settings; nothing is stored")
    quick = parser.parse_args().quick
    results: dict[str, Any] = {"data": [], "goals": GOALS, "optical": {}, "radar": {}, "normalisation": {}}
    for name in LANDSAT:
        reference = landsat(name)
        results["data"].append(reference.description)
        results["optical"][name] = {method: run(reference, method, {}) for method in OPTICAL}
        fitted = normalise_radiometry(reference.pair())
        results["normalisation"][name] = {
            "pixels": fitted.pixels,
            "gain": fitted.gain.round(4).tolist(),
            "gain_error": fitted.gain_error.round(4).tolist(),
            "correlation": fitted.correlation.round(4).tolist(),
            "held_out_difference_in_errors": fitted.held_out_difference.round(2).tolist(),
            "held_out_variance_ratio": fitted.held_out_variance_ratio.round(3).tolist(),
        }
    references = [sar(name) for name in SAR]
    for reference in references:
        results["data"].append(reference.description)
        results["radar"][reference.name] = {
            title: run(reference, method, options) for title, (method, options) in RADAR.items()
        }
    for group in ("optical", "radar"):
        for name, methods in results[group].items():
            for method, found in methods.items():
                print(
                    f"{name:14s} {method:22s} OA {found['oa']:.4f}  kappa {found['kappa']:.4f}  AUC {found['auc']:.4f}"
                    f"  ECE {found['probability']['ece']:.3f}  {found['rule']} at {found['threshold']:.3f}"
                    f"  labelled k-means kappa {found['kmeans of labelled pixels']['kappa']:.4f}"
                )
                print(" " * 37, found["kappa by rule"])
    if not quick:
        results["sensitivity of ratio-variation (kappa)"] = sensitivity(references)
        for title, found in results["sensitivity of ratio-variation (kappa)"].items():
            print(f"{title:28s}", found)
        print(store("change_pairs", results))


if __name__ == "__main__":
    main()
