"""Error bars in distribution: calibration, class sets and intervals on held-out blocks of real data.

    ECUMENE_DATA=... python benchmarks/trust_blocks.py [--seeds 5] [--only salinas,rsscn7,oscd,potsdam,beijing]

Trains each case's network (and a random forest for the classes) on one half of the blocks, fits the trust stack on
others, and measures on blocks that nothing was fitted on. Writes `results/trust_blocks.json`.
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

from common import RESULTS, data_set, spread, store
from ecumene.models.bundle import Model
from ecumene.models.contract import ModelSpec
from ecumene.networks import build_network
from ecumene.objectives import build_objective
from ecumene.objectives.contract import Objective
from ecumene.samples.augmentation import augmentation_for
from ecumene.samples.statistics import channel_statistics
from ecumene.training.fit_network import fit_network
from ecumene.training.fit_trees import fit_forest
from ecumene.training.options import TrainingOptions
from ecumene.training.provenance import make_inputs
from ecumene.trust.measures import expected_calibration_error
from ecumene.trust.regression_measures import interval_score, sparsification, variance_diagram
from ecumene.workflows.calibrate import fit_trust, probabilities_of, results_at_labels
from ecumene.workflows.evaluate import evaluate_classifier
from ecumene.workflows.regression import evaluate_numbers, fit_error_bars, numbers_at_labels
from trust_data import Case, Fold, cases

FIRST_SEED = 200
"""No setting was chosen on these seeds."""
COVERAGE = 0.9


def objective_of(fold: Fold) -> Objective:
    """Return classes, or one number standardised by its training pixels."""
    if fold.legend is not None:
        return build_objective({"name": "segmentation", "legend": fold.legend.model_dump(mode="json")})
    known = fold.parts["train"].mask[fold.parts["train"].labelled].astype(np.float64)
    scale = {"target_mean": [float(known.mean())], "target_std": [float(known.std())]}
    return build_objective({"name": "pixel-regression", "targets": ["height"], "unit": fold.unit, **scale})


def _spec(fold: Fold, objective: Objective, kind: str, name: str, arguments: dict[str, Any], **entries: Any) -> Any:
    inputs = make_inputs(fold.parts["train"].channels, channel_statistics(fold.parts["train"]))
    return ModelSpec(
        name=name,
        created="1970-01-01T00:00:00Z",
        kind=kind,  # type: ignore[arg-type]
        architecture={"name": name, "arguments": arguments},
        objective=objective.to_config(),
        inputs=inputs,
        temporal=False,
        resolution_m=10.0,
        **entries,
    )


def train_network(case: Case, fold: Fold, seed: int) -> Model:
    """Train the case's network."""
    objective = objective_of(fold)
    train = fold.parts["train"]
    arguments = {"in_channels": train.n_channels, "n_outputs": objective.n_outputs}
    inputs = make_inputs(train.channels, channel_statistics(train))
    with tempfile.TemporaryDirectory() as folder:
        fitted = fit_network(
            case.network,
            arguments,
            objective,
            train,
            fold.parts["validation"],
            inputs,
            options=TrainingOptions.model_validate({**case.training, "seed": seed}),
            folder=folder,
            augmentation=augmentation_for(inputs, spatial=case.network != "mlp", temporal=False),
        )
    network: Any = build_network(case.network, **arguments)
    spec = _spec(
        fold, objective, "network", case.network, arguments, stride=int(network.stride), margin=int(network.margin)
    )
    return Model(spec=spec, objective=objective, weights=dict(fitted.state))


def train_forest(fold: Fold, seed: int, most: int = 60_000) -> Model:
    """Train a random forest on single pixels (at most `most`)."""
    objective = objective_of(fold)
    table = np.moveaxis(fold.parts["train"].image, 1, -1)[fold.parts["train"].labelled]
    target = fold.parts["train"].mask[fold.parts["train"].labelled].astype(np.int64)
    if len(target) > most:
        keep = np.sort(np.random.default_rng(seed).choice(len(target), most, replace=False))
        table, target = table[keep], target[keep]
    weights = fit_forest(table, target, n_classes=objective.n_outputs, seed=seed)
    arguments = {"n_features": table.shape[1], "n_dates": 1}
    return Model(
        spec=_spec(fold, objective, "forest", "random-forest", arguments), objective=objective, weights=weights
    )


def calibration_floor(probabilities: NDArray[np.float64], seed: int, draws: int = 20) -> float:
    """Return the calibration error that perfect probabilities would show on as many pixels.

    Labels are drawn from the probabilities themselves, so that what is left is the measure's own noise (an optimistic
    floor: neighbouring pixels are alike, drawn labels are not).
    """
    generator = np.random.default_rng(seed)
    sums = probabilities.cumsum(axis=1)
    found = []
    for _ in range(draws):
        labels = (generator.random((len(sums), 1)) > sums[:, :-1]).sum(axis=1)
        found.append(expected_calibration_error(probabilities, labels))
    return float(np.mean(found))


def classes(model: Model, fold: Fold, seed: int) -> dict[str, Any]:
    """Fit the trust stack of a classifier and measure it."""
    trusted, notes = fit_trust(model, fold.parts["train"], fold.parts["calibration"], coverage=COVERAGE, seed=seed)
    figures = evaluate_classifier(trusted, fold.parts["test"], seed=seed)
    held_out = results_at_labels(trusted, fold.parts["test"], seed=seed)
    floor = calibration_floor(probabilities_of(trusted, held_out.output), seed)
    for name in ("reliability", "reliability_before"):
        figures["calibration"].pop(name, None)
    figures.pop("sparsification", None)
    return {
        "overall_accuracy": figures["overall"]["overall_accuracy"]["value"],
        "macro_f1": figures["overall"]["macro_f1"]["value"],
        "calibration": {**figures["calibration"], "of_a_perfect_model": floor},
        "class_sets": figures["class_sets"],
        "flagged": figures["outlier"]["flagged_share_in_distribution"],
        "calibration_blocks": len(np.unique(fold.parts["calibration"].group)) - 1,
        "notes": notes,
    }


def numbers(model: Model, fold: Fold, seed: int) -> dict[str, Any]:
    """Fit the trust stack of a regression and measure it; error bars before and after."""
    before = numbers_at_labels(model, fold.parts["test"], seed=seed)
    trusted, notes = fit_error_bars(model, fold.parts["train"], fold.parts["calibration"], coverage=COVERAGE, seed=seed)
    figures = evaluate_numbers(trusted, fold.parts["test"], seed=seed)
    after = numbers_at_labels(trusted, fold.parts["test"], seed=seed)
    error = after.target - after.mean
    lower, upper = trusted.calibration.intervals.interval(after.mean, after.deviation)
    inside = (lower <= after.target) & (after.target <= upper)
    blocks = [float(inside[after.group == group].mean()) for group in np.unique(after.group)]
    known = numbers_at_labels(trusted, fold.parts["calibration"], seed=seed)
    flat = np.quantile(known.target, ((1 - COVERAGE) / 2, (1 + COVERAGE) / 2))
    return {
        "root_mean_square_error": float(np.sqrt((error**2).mean())),
        "mean_absolute_error": float(np.abs(error).mean()),
        "standard_deviation_of_reference": float(after.target.std()),
        "uncertainty_calibration_error_before": variance_diagram(before.mean, before.deviation, before.target).uce,
        "uncertainty_calibration_error": variance_diagram(after.mean, after.deviation, after.target).uce,
        "ause": sparsification(error**2, after.deviation, root=True).ause,
        "interval_coverage": float(inside.mean()),
        "interval_coverage_over_blocks": float(np.mean(blocks)),
        "interval_coverage_worst_block": float(np.min(blocks)),
        "interval_width": float((upper - lower).mean()),
        "interval_score": interval_score(lower, upper, after.target, COVERAGE),
        "width_of_an_interval_without_inputs": float(flat[1] - flat[0]),
        "coverage_of_an_interval_without_inputs": float(((flat[0] <= after.target) & (after.target <= flat[1])).mean()),
        "flagged": figures["outlier"]["flagged_share_in_distribution"],
        "notes": notes,
    }


def _values(runs: list[dict[str, Any]], *keys: str) -> dict[str, Any] | None:
    found: list[Any] = []
    for run in runs:
        value: Any = run
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None:
            found.append(float(value))
    return spread(found) if found else None


SUMMARY = {
    "class": (
        ("overall_accuracy",),
        ("calibration", "expected_calibration_error_before"),
        ("calibration", "expected_calibration_error"),
        ("calibration", "of_a_perfect_model"),
        ("class_sets", "coverage"),
        ("class_sets", "coverage_mean_of_blocks"),
        ("class_sets", "coverage_worst_block"),
        ("class_sets", "mean_size"),
        ("class_sets", "mean_size_knowing_shares_only"),
        ("flagged",),
    ),
    "number": (
        ("root_mean_square_error",),
        ("uncertainty_calibration_error_before",),
        ("uncertainty_calibration_error",),
        ("ause",),
        ("interval_coverage",),
        ("interval_coverage_over_blocks",),
        ("interval_coverage_worst_block",),
        ("interval_width",),
        ("width_of_an_interval_without_inputs",),
        ("flagged",),
    ),
}


def run_case(case: Case, seeds: int) -> dict[str, Any]:
    """Run one data set over seeds."""
    learners = ("network", "random forest") if case.kind == "class" else ("network",)
    runs: dict[str, list[dict[str, Any]]] = {learner: [] for learner in learners}
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        for fold in case.folds(seed):
            for learner in learners:
                start = time.perf_counter()
                model = train_network(case, fold, seed) if learner == "network" else train_forest(fold, seed)
                figures = (classes if case.kind == "class" else numbers)(model, fold, seed)
                seconds = round(time.perf_counter() - start, 1)
                runs[learner].append({"seed": seed, "fold": fold.name, "seconds": seconds, **figures})
                shown = {"/".join(keys): _values([figures], *keys) for keys in SUMMARY[case.kind]}
                text = ", ".join(f"{key} {entry['mean']:.3f}" for key, entry in shown.items() if entry)
                print(f"{case.name} {learner} seed {seed} {fold.name}: {text}; {seconds} s", flush=True)
    return {
        "data": data_set(case.name, case.files),
        "protocol": case.protocol,
        "network": case.network,
        "training": case.training,
        "learners": {
            learner: {
                "summary": {"/".join(keys): _values(found, *keys) for keys in SUMMARY[case.kind]},
                "runs": found,
            }
            for learner, found in runs.items()
        },
    }


def main() -> None:
    available = cases()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", default=",".join(available))
    chosen = parser.parse_args()
    path: Path = RESULTS / "trust_blocks.json"
    results = json.loads(path.read_text())["cases"] if path.exists() else {}
    for name in chosen.only.split(","):
        results[name] = run_case(available[name], chosen.seeds)
        store("trust_blocks", {"first_seed": FIRST_SEED, "wanted_coverage": COVERAGE, "cases": results})
    print(path)


if __name__ == "__main__":
    main()
