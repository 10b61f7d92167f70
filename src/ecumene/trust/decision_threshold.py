"""The probability from which a rare class is called, chosen on labelled pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError

SMALLEST, LARGEST = 0.001, 0.999


@dataclass(frozen=True)
class DecisionThreshold:
    """A threshold and what it does where it was chosen.

    Attributes:
        value: A pixel is called where its probability is above it, in [0.001, 0.999].
        f1: At this threshold.
        precision: At this threshold.
        recall: At this threshold.
        pixels: That it was chosen on.
    """

    value: float
    f1: float
    precision: float
    recall: float
    pixels: int


def threshold_of_largest_f1(probability: NDArray[np.floating], truth: NDArray[np.bool_]) -> DecisionThreshold:
    """Return the threshold of the largest F1: a half, or a number half-way between two probabilities.

    F1 = 2 TP / (2 TP + FP + FN).

    Of equally good thresholds the one nearest to a half is taken.

    Args:
        probability: Of the class, `[N]`.
        truth: Whether a pixel is of the class, `[N]`.

    Raises:
        ConfigurationError: If no pixel is of the class.
    """
    said, true = np.asarray(probability, np.float64).ravel(), np.asarray(truth, bool).ravel()
    total = int(true.sum())
    if total == 0:
        raise ConfigurationError("No pixel is of the class that a threshold is to be chosen for; give more labels.")
    ordered = np.sort(said)[::-1]
    hits = np.append(0, np.cumsum(true[np.argsort(-said, kind="stable")]))
    middle = 0.5 * (ordered[:-1] + ordered[1:])[ordered[:-1] > ordered[1:]]
    # A half first: it is right wherever nothing is better.
    value = np.append(0.5, np.clip(np.append(middle, SMALLEST), SMALLEST, LARGEST))
    called = np.searchsorted(-ordered, -value, side="left")
    best = _best(2.0 * hits[called] / np.maximum(called + total, 1), value)
    chosen = float(value[best])
    above = said > chosen
    both, calls = int((above & true).sum()), int(above.sum())
    return DecisionThreshold(
        value=chosen,
        f1=2.0 * both / max(calls + total, 1),
        precision=both / max(calls, 1),
        recall=both / total,
        pixels=len(said),
    )


def _best(f1: NDArray[np.float64], value: NDArray[np.float64]) -> int:
    """Return the position of the largest F1; of equally large ones, that of the threshold nearest to a half."""
    equal = np.flatnonzero(f1 >= f1.max() - 1e-12)
    return int(equal[np.argmin(np.abs(value[equal] - 0.5))])
