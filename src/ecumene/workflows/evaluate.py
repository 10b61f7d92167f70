"""How good a model is on blocks that nothing was fitted on: the figures of its card."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.indicators.accuracy import accuracy_report
from ecumene.models.bundle import Model
from ecumene.samples.patch_set import PatchSet
from ecumene.samples.scene_set import SceneSamples
from ecumene.trust import measures
from ecumene.trust.regression_measures import (
    coverage_curve,
    crps_gaussian,
    pit_histogram,
    sparsification,
    variance_diagram,
)
from ecumene.trust.reliability import adaptive_calibration_error, brier_parts, maximum_calibration_error
from ecumene.trust.scaling import IDENTITY, temperature_of
from ecumene.trust.set_measures import set_report
from ecumene.workflows.calibrate import probabilities_of, results_at_labels

CURVE_POINTS = 21
"""Points of the sparsification curve in the card: steps of 5 %."""


def evaluate_classifier(model: Model, test: PatchSet | SceneSamples, *, seed: int = 0) -> dict[str, Any]:
    """Measure accuracy, calibration, class sets and false alarms on held-out test pixels.

    Args:
        model: A classifier with its trust fitted.
        test: Labelled pixels of the test blocks, or labelled images.
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
    before, after = probabilities_of(model, held_out.output, IDENTITY), probabilities_of(model, held_out.output)
    decided = model.objective.decide(after)
    report = accuracy_report(held_out.target, decided, legend.names, blocks=held_out.group, seed=seed)
    scaling = model.scaling or IDENTITY
    figures: dict[str, Any] = {
        "pixels": len(held_out),
        "blocks": len(np.unique(held_out.group)),
        **report.to_dict(),
        "calibration": {
            "scaling": scaling.name,
            "temperature": temperature_of(scaling),
            "expected_calibration_error_before": measures.expected_calibration_error(before, held_out.target),
            "reliability_before": measures.reliability_diagram(before, held_out.target).to_dict(),
            **calibration_figures(after, held_out.target),
        },
    }
    if (curve := error_curve(after, decided != held_out.target)) is not None:
        figures["sparsification"] = curve
    if model.calibration and model.calibration.sets:
        sets = set_report(model.calibration.sets.sets(after, decided), held_out.target, held_out.group)
        figures["class_sets"] = {
            "wanted_coverage": model.calibration.sets.coverage,
            "promised_coverage": model.calibration.sets.promised,
            **sets.to_dict(),
        }
    if model.detector is not None and model.detector.threshold is not None:
        flagged = model.detector.score(held_out.features) > model.detector.threshold
        figures["outlier"] = {"flagged_share_in_distribution": float(flagged.mean())}
    return figures


def calibration_figures(probabilities: NDArray[np.floating], target: NDArray[np.integer]) -> dict[str, Any]:
    """Return the measures of class probabilities `[N, K]` at targets `[N]` as JSON-able figures."""
    return {
        "expected_calibration_error": measures.expected_calibration_error(probabilities, target),
        "equal_mass_calibration_error": adaptive_calibration_error(probabilities, target),
        "classwise_calibration_error": measures.classwise_calibration_error(probabilities, target),
        # A bin of a few pixels says nothing.
        "maximum_calibration_error": maximum_calibration_error(probabilities, target, fewest=len(target) // 100 + 1),
        "negative_log_likelihood": measures.negative_log_likelihood(probabilities, target),
        "brier_score": measures.brier_score(probabilities, target),
        "brier_parts": brier_parts(probabilities, target).to_dict(),
        "reliability": measures.reliability_diagram(probabilities, target).to_dict(),
    }


def error_curve(probabilities: NDArray[np.floating], wrong: NDArray[np.bool_]) -> dict[str, Any] | None:
    """Return the sparsification curve of wrong classes `[N]` by predictive entropy; None if no class is wrong."""
    if not wrong.any():
        return None
    clipped = np.maximum(probabilities, 1e-30)
    entropy = -(clipped * np.log(clipped)).sum(axis=1)
    curve = sparsification(wrong.astype(np.float64), entropy, points=CURVE_POINTS)
    return {"error_rate": float(wrong.mean()), **curve.to_dict()}


def error_bar_figures(
    mean: NDArray[np.floating], deviation: NDArray[np.floating], target: NDArray[np.floating]
) -> dict[str, Any]:
    """Return the measures of predicted numbers with error bars, any shape, as JSON-able figures."""
    width, mass = variance_diagram(mean, deviation, target), variance_diagram(mean, deviation, target, equal_mass=True)
    squared = (np.asarray(target, np.float64) - mean).ravel() ** 2
    known = np.isfinite(squared)
    figures: dict[str, Any] = {
        "uncertainty_calibration_error": width.uce,
        "area_under_calibration_error": width.auce,
        "normalised_calibration_error": mass.ence,
        "miscalibration_area": coverage_curve(mean, deviation, target).area,
        "crps": crps_gaussian(mean, deviation, target),
        "pit_histogram": list(pit_histogram(mean, deviation, target)),
    }
    if squared[known].any():
        doubt = np.asarray(deviation, np.float64).ravel()[known]
        figures["sparsification"] = sparsification(squared[known], doubt, root=True, points=CURVE_POINTS).to_dict()
    return figures
