"""The figures of a trust report: calibration, class sets, selective prediction, outliers, cost."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ecumene.core.window import Window
from ecumene.mapping.layers import resolve_layers
from ecumene.mapping.options import MapOptions
from ecumene.mapping.postprocess import build_postprocessor, empty_layers
from ecumene.models.bundle import Model
from ecumene.trust import measures
from ecumene.workflows.trust_pixels import Asker, PixelResults, spread_tiles

Figures = dict[str, Any]
CURVE_POINTS = 101
FEWEST_IN_A_BLOCK = 20


def calibration_figures(results: PixelResults) -> Figures:
    """Return calibration before and after, with reliability diagrams."""

    def one(probabilities: NDArray[np.float64]) -> Figures:
        return {
            "expected_calibration_error": measures.expected_calibration_error(probabilities, results.target),
            "classwise_calibration_error": measures.classwise_calibration_error(probabilities, results.target),
            "negative_log_likelihood": measures.negative_log_likelihood(probabilities, results.target),
            "brier_score": measures.brier_score(probabilities, results.target),
            "reliability": measures.reliability_diagram(probabilities, results.target).to_dict(),
        }

    right = results.decided == results.target
    return {
        "pixels": len(results),
        "blocks": len(np.unique(results.block)),
        "overall_accuracy": float(right.mean()),
        "before": one(results.before),
        "after": one(results.after),
    }


def set_figures(model: Model, results: PixelResults) -> Figures | None:
    """Return coverage of the class sets: of all pixels, of each class, of each block; and their size.

    Beside the mean size stands that of the smallest fixed set of the most frequent classes with the same coverage: who
    knows only the classes' shares needs as many. None if the model has no sets.
    """
    sets = None if model.calibration is None else model.calibration.sets
    legend = model.objective.legend
    if sets is None or legend is None:
        return None
    held = sets.sets(results.after, results.decided)
    inside = held[np.arange(len(held)), results.target]
    classes = {
        name: float(inside[results.target == number].mean())
        for number, name in enumerate(legend.names)
        if (results.target == number).any()
    }
    numbers, counts = np.unique(results.block, return_counts=True)
    kept = numbers[counts >= FEWEST_IN_A_BLOCK]
    blocks = [float(inside[results.block == number].mean()) for number in kept]
    shares = np.sort(np.bincount(results.target, minlength=len(legend)) / len(results))[::-1]
    return {
        "wanted_coverage": sets.coverage,
        "coverage": float(inside.mean()),
        "coverage_per_class": classes,
        "coverage_per_block": blocks,
        "mean_coverage_over_blocks": float(np.mean(blocks)) if blocks else None,
        "worst_block": min(blocks) if blocks else None,
        "mean_size": float(held.sum(axis=1).mean()),
        "size_from_shares_alone": int(np.searchsorted(np.cumsum(shares), sets.coverage - 1e-12) + 1),
        "single_class_share": float((held.sum(axis=1) == 1).mean()),
    }


def sparsification_figures(results: PixelResults) -> Figures:
    """Return the error rate of the most certain pixels, for every share of them, beside that of an oracle."""
    loss = (results.decided != results.target).astype(np.float64)
    share, risk = measures.risk_coverage_curve(loss, results.uncertainty)
    _, oracle = measures.risk_coverage_curve(loss, loss)
    points = np.unique(np.linspace(0, len(share) - 1, CURVE_POINTS).round().astype(int))
    figures: Figures = {
        "ause": measures.ause(loss, results.uncertainty),
        "error_rate": float(loss.mean()),
        "share": share[points].tolist(),
        "error": risk[points].tolist(),
        "oracle": oracle[points].tolist(),
    }
    if 0.0 < loss.mean() < 1.0:
        wrong = loss > 0
        figures["auroc_of_errors"] = measures.auroc(results.uncertainty[~wrong], results.uncertainty[wrong])
    return figures


def scene_scores(asker: Asker, *, side: int = 64, most: int = 25, limit: int = 20_000) -> NDArray[np.float64]:
    """Return outlier scores of pixels of a scene, from evenly spread tiles."""
    found = []
    for tile in spread_tiles(asker.stack, side, most)[0]:
        _, score, valid, _ = asker.predict(tile)
        found.append(score[valid].astype(np.float64))
    scores = np.concatenate(found)
    if len(scores) > limit:
        scores = scores[np.sort(np.random.default_rng(0).choice(len(scores), limit, replace=False))]
    return scores


class Scored(Protocol):
    """Outlier scores `[N]` of usual pixels, and their blocks `[N]`."""

    @property
    def score(self) -> NDArray[np.float64]:
        """Larger is stranger."""

    @property
    def block(self) -> NDArray[np.int64]:
        """Pixels of one block are not independent."""


def outlier_figures(model: Model, results: Scored, wild: dict[str, NDArray[np.float64]]) -> Figures | None:
    """Return false alarms on held-out labels, and how well wild scenes are told from them.

    Args:
        model: With a detector, else the result is None.
        results: At labels that the model has not learned from: what is usual.
        wild: Outlier scores of each wild scene.
    """
    threshold = model.outlier_threshold
    if threshold is None:
        return None
    usual = results.score
    numbers, counts = np.unique(results.block, return_counts=True)
    alarms = [float((usual[results.block == n] > threshold).mean()) for n in numbers[counts >= FEWEST_IN_A_BLOCK]]
    figures: Figures = {
        "threshold": float(threshold),
        "false_alarm_rate": float((usual > threshold).mean()),
        "false_alarm_rate_per_block": alarms,
        "scenes": {},
    }
    for name, scores in wild.items():
        if len(scores) == 0:
            continue
        levels = np.quantile(np.concatenate([usual, scores]), np.linspace(1, 0, CURVE_POINTS))
        figures["scenes"][name] = {
            "pixels": len(scores),
            "flagged_share": float((scores > threshold).mean()),
            "auroc": measures.auroc(usual, scores),
            "fpr_at_95_tpr": measures.fpr_at_tpr(usual, scores),
            "false_positive_rate": [float((usual >= level).mean()) for level in levels],
            "true_positive_rate": [float((scores >= level).mean()) for level in levels],
        }
    return figures


def cost_figures(asker: Asker, *, side: int = 256, repeats: int = 5) -> Figures:
    """Return what error bar, class set or interval and outlier flag cost, as a ratio of times measured in turns.

    A plain map is the bare model and the largest output, or the mean of a number; the whole stack is the model as
    mapped with all layers that `map` writes by default but for the files.
    """
    model, (height, width) = asker.model, asker.stack.geobox.shape
    window = Window(0, 0, min(side, int(height)), min(side, int(width)))
    image, dates, _, _ = asker.read(window)
    specs = resolve_layers(model, MapOptions.of(probability=False))
    process = build_postprocessor(model, specs)
    shape = (image.shape[-2], image.shape[-1])
    needed, layers = np.ones(shape, np.bool_), empty_layers(specs, shape)

    def plain() -> None:
        output, _ = asker.bare.run(image, dates)
        if model.objective.legend is not None:
            output.argmax(axis=1)

    def whole() -> None:
        output, score = asker.executor.run(image, dates)
        process.core(output[0], score[0], needed, layers)

    times: dict[str, list[float]] = {"plain": [], "whole": []}
    steps: dict[str, Callable[[], None]] = {"plain": plain, "whole": whole}
    for turn in range(repeats + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if turn > 0:  # the first turn compiles and allocates
                times[name].append(time.perf_counter() - start)
    before, after = (float(np.median(times[name])) for name in ("plain", "whole"))
    return {
        "window": list(shape),
        "plain_seconds": before,
        "whole_seconds": after,
        "ratio": after / before,
        "repeats": repeats,
    }
