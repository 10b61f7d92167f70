"""Accuracy of answers for whole images: one class, or several labels at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import LabelError
from ecumene.indicators.accuracy import accuracy_measures, confusion_matrix

CLASS_METRICS = ("overall_accuracy", "average_accuracy", "macro_f1", "kappa")
LABEL_METRICS = (
    "example_f1",
    "example_f2",
    "example_precision",
    "example_recall",
    "label_f1",
    "label_f2",
    "label_precision",
    "label_recall",
    "micro_f1",
    "hamming_loss",
    "subset_accuracy",
)


def class_metrics(reference: NDArray[np.integer], prediction: NDArray[np.integer], n_classes: int) -> dict[str, Any]:
    """Return overall, average accuracy, macro F1, kappa and figures of each class.

    Args:
        reference: Class indices `[N]`, -1 unlabelled.
        prediction: Class indices `[N]`.
        n_classes: Number of classes.

    Returns:
        The metrics by name, and `per_class` with `f1`, `users_accuracy` and `producers_accuracy`, a list each (None
        where a class does not occur).
    """
    measures = accuracy_measures(confusion_matrix(reference, prediction, n_classes))
    figures: dict[str, Any] = {name: _plain(measures[name]) for name in CLASS_METRICS}
    figures["per_class"] = {
        name: [_plain(value) for value in measures[name]] for name in ("f1", "users_accuracy", "producers_accuracy")
    }
    return figures


def label_metrics(reference: NDArray[np.integer], prediction: NDArray[np.integer]) -> dict[str, Any]:
    """Return the measures of several labels at once (Tsoumakas and Vlahavas 2007; Hua et al. 2019, section 3.2).

    Example-based measures are computed for each image and averaged over images, label-based ones for each label and
    averaged over the labels that occur in reference or prediction. With precision p and recall r,
    F_b = (1 + b^2) p r / (b^2 p + r). An image with nothing to find and nothing found counts as 1 in precision, recall
    and F; where only one of the two is empty, it counts as 0.

    Args:
        reference: 0 or 1, -1 unknown, `[N, K]`. Unknown labels count in no measure; an image without any known one is
            left out.
        prediction: 0 or 1, `[N, K]`.

    Returns:
        The metrics by name, and `per_label` with `f1`, `precision` and `recall`, a list each.

    Raises:
        LabelError: If the shapes differ or nothing is known.
    """
    if reference.shape != prediction.shape or reference.ndim != 2:
        raise LabelError("Reference and predicted labels must have the same shape, images by labels.")
    keep = (reference >= 0).any(axis=1)
    if not keep.any():
        raise LabelError("No image has a known label, so that nothing can be measured.")
    known = reference[keep] >= 0
    truth, found = (reference[keep] == 1) & known, (prediction[keep] == 1) & known
    figures: dict[str, Any] = {}
    for kind, axis in (("example", 1), ("label", 0)):
        hits, given, wanted = (part.sum(axis=axis).astype(np.float64) for part in (truth & found, found, truth))
        counted = slice(None) if kind == "example" or not (given + wanted).any() else (given + wanted) > 0
        for name, values in _rates(hits, given, wanted).items():
            figures[f"{kind}_{name}"] = float(values[counted].mean())
    total = [np.array([float(part.sum())]) for part in (truth & found, found, truth)]
    figures |= {f"micro_{name}": float(values[0]) for name, values in _rates(*total).items()}
    figures["hamming_loss"] = float((truth != found)[known].mean())
    figures["subset_accuracy"] = float((truth == found).all(axis=1).mean())
    rates = _rates(*(part.sum(axis=0).astype(np.float64) for part in (truth & found, found, truth)))
    figures["per_label"] = {name: rates[name].tolist() for name in ("f1", "precision", "recall")}
    return figures


def _rates(
    hits: NDArray[np.float64], given: NDArray[np.float64], wanted: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Return precision, recall, F1 and F2 from counts of hits, of what was given and of what was wanted."""
    empty = (given == 0) & (wanted == 0)
    precision = np.where(empty, 1.0, hits / np.maximum(given, 1.0))
    recall = np.where(empty, 1.0, hits / np.maximum(wanted, 1.0))

    def score(beta: float) -> NDArray[np.float64]:
        below = beta**2 * precision + recall
        return np.where(below > 0, (1.0 + beta**2) * precision * recall / np.where(below > 0, below, 1.0), 0.0)

    return {"f1": score(1.0), "f2": score(2.0), "precision": precision, "recall": recall}


def _plain(value: Any) -> float | None:
    number = float(value)
    return number if np.isfinite(number) else None
