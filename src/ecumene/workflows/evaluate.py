"""How good a model is on blocks that nothing was fitted on: the figures of its card."""

from __future__ import annotations

from typing import Any

from ecumene.indicators.accuracy import accuracy_report
from ecumene.models.bundle import Model
from ecumene.samples.patch_set import PatchSet
from ecumene.trust import measures
from ecumene.workflows.calibrate import results_at_labels, softmax


def evaluate_classifier(model: Model, test: PatchSet, *, seed: int = 0) -> dict[str, Any]:
    """Measure accuracy, calibration, class sets and false alarms on held-out test pixels.

    Args:
        model: A classifier with its trust fitted.
        test: Labelled pixels of the test blocks.
        seed: Of subsampling.

    Returns:
        JSON-able figures; empty if there is no test pixel. The pixels of one polygon are not
        independent, so that these are descriptions of the held-out blocks and not a design-based estimate:
        that is what `assess_map` gives.
    """
    held_out = results_at_labels(model, test, seed=seed)
    if len(held_out) == 0:
        return {}
    legend = model.objective.legend
    assert legend is not None
    temperature = model.calibration.temperature if model.calibration and model.calibration.temperature else 1.0
    before, after = softmax(held_out.output), softmax(held_out.output, temperature)
    report = accuracy_report(held_out.target, after.argmax(axis=1), legend.names, blocks=held_out.group, seed=seed)
    figures: dict[str, Any] = {
        "pixels": len(held_out),
        **report.to_dict(),
        "calibration": {
            "temperature": temperature,
            "expected_calibration_error_before": measures.expected_calibration_error(before, held_out.target),
            "expected_calibration_error": measures.expected_calibration_error(after, held_out.target),
            "negative_log_likelihood": measures.negative_log_likelihood(after, held_out.target),
            "brier_score": measures.brier_score(after, held_out.target),
            "reliability": measures.reliability_diagram(after, held_out.target).to_dict(),
        },
    }
    if model.calibration and model.calibration.sets:
        sets = model.calibration.sets.sets(after)
        singles = sets.sum(axis=1) == 1
        figures["class_sets"] = {
            "wanted_coverage": model.calibration.sets.coverage,
            "coverage": measures.set_coverage(sets, held_out.target),
            "mean_size": measures.mean_set_size(sets),
            "single_class_share": float(singles.mean()),
        }
    if model.detector is not None and model.detector.threshold is not None:
        flagged = model.detector.score(held_out.features) > model.detector.threshold
        figures["outlier"] = {"flagged_share_in_distribution": float(flagged.mean())}
    return figures
