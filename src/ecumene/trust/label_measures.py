"""How honest the probabilities of labels are that an image may have at the same time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError

BINS = 15


def label_calibration(
    probabilities: NDArray[np.floating], target: NDArray[np.integer], bins: int = BINS
) -> dict[str, Any]:
    """Return calibration error and Brier score of the presence of each label.

    The error of a label is the mean of |share of images that have it - mean probability| over bins of equal width of
    its probability, weighted by the bins' images (Naeini et al. 2015, for two classes; 0 best). The Brier score is the
    mean of (probability - presence)^2.

    Args:
        probabilities: Of presence, `[N, K]`.
        target: 0 or 1, -1 unknown, `[N, K]`; unknown ones do not count.
        bins: Of the calibration error.

    Returns:
        `per_label` with `expected_calibration_error`, `brier_score` (None of a label that is never known) and
        `images`, a list each, and the means over labels under the two names.

    Raises:
        ConfigurationError: If the shapes differ, or there is no bin.
    """
    values, truth = np.asarray(probabilities, np.float64), np.asarray(target)
    if values.shape != truth.shape or values.ndim != 2 or bins < 1:
        raise ConfigurationError(
            f"Calibration of labels needs probabilities and targets [N, K], got {values.shape} and {truth.shape}."
        )
    errors: list[float | None] = []
    scores: list[float | None] = []
    for label in range(values.shape[1]):
        known = truth[:, label] >= 0
        p, present = values[known, label], truth[known, label].astype(np.float64)
        errors.append(_calibration_error(p, present, bins) if len(p) else None)
        scores.append(float(((p - present) ** 2).mean()) if len(p) else None)
    return {
        "expected_calibration_error": _mean(errors),
        "brier_score": _mean(scores),
        "per_label": {
            "expected_calibration_error": errors,
            "brier_score": scores,
            "images": (truth >= 0).sum(axis=0).tolist(),
        },
    }


def _calibration_error(p: NDArray[np.float64], present: NDArray[np.float64], bins: int) -> float:
    place = np.clip(np.ceil(p * bins).astype(np.int64) - 1, 0, bins - 1)
    gap = np.bincount(place, weights=p - present, minlength=bins)
    return float(np.abs(gap).sum() / len(p))


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
