"""How honest a prediction is: calibration, coverage, detection, selective prediction."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]


@dataclass(frozen=True)
class ReliabilityDiagram:
    """Confidence against accuracy in bins of equal width on [0, 1].

    Attributes:
        edges: Edges of the bins, one more than bins.
        count: Elements in each bin.
        confidence: Mean confidence in each bin, None where empty.
        accuracy: Share of right answers in each bin, None where empty.
    """

    edges: tuple[float, ...]
    count: tuple[int, ...]
    confidence: tuple[float | None, ...]
    accuracy: tuple[float | None, ...]

    @property
    def error(self) -> float:
        """Mean of |accuracy - confidence| weighted by the bins' counts."""
        gaps = [
            number * abs(a - c)
            for number, a, c in zip(self.count, self.accuracy, self.confidence, strict=True)
            if a is not None and c is not None
        ]
        return float(sum(gaps) / max(1, sum(self.count)))

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        return {key: list(value) for key, value in asdict(self).items()}


def checked_probabilities(probabilities: Floats, target: Integers) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return (probabilities `[N, K]`, targets `[N]`) as float64 and int64."""
    values, truth = np.asarray(probabilities, dtype=np.float64), np.asarray(target)
    if values.ndim != 2 or truth.shape != (len(values),) or len(values) == 0:
        raise ConfigurationError(
            f"A measure needs probabilities [N, K] and targets [N], got {values.shape}, {truth.shape}."
        )
    if truth.min() < 0 or truth.max() >= values.shape[1]:
        raise ConfigurationError(f"Targets must be class indices from 0 to {values.shape[1] - 1}.")
    return values, truth.astype(np.int64)


def _diagram(confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: int) -> ReliabilityDiagram:
    """Bin confidences; a confidence on an edge belongs to the bin below it, 0 to the first."""
    edges = np.linspace(0.0, 1.0, bins + 1)
    position = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    count = np.bincount(position, minlength=bins)
    sums = np.bincount(position, weights=confidence, minlength=bins)
    hits = np.bincount(position, weights=right.astype(np.float64), minlength=bins)
    return ReliabilityDiagram(
        edges=tuple(float(edge) for edge in edges),
        count=tuple(int(number) for number in count),
        confidence=tuple(float(s / n) if n else None for s, n in zip(sums, count, strict=True)),
        accuracy=tuple(float(h / n) if n else None for h, n in zip(hits, count, strict=True)),
    )


def reliability_diagram(probabilities: Floats, target: Integers, bins: int = 15) -> ReliabilityDiagram:
    """Return confidence against accuracy of the most probable class, for probabilities `[N, K]`, targets `[N]`."""
    values, truth = checked_probabilities(probabilities, target)
    return _diagram(values.max(axis=1), values.argmax(axis=1) == truth, bins)


def expected_calibration_error(probabilities: Floats, target: Integers, bins: int = 15) -> float:
    """Return the top-label expected calibration error (Guo et al. 2017, eq. 3), 0 best."""
    return reliability_diagram(probabilities, target, bins).error


def classwise_calibration_error(probabilities: Floats, target: Integers, bins: int = 15) -> float:
    """Return the class-wise expected calibration error (Kull et al. 2019, eq. 3): its mean over classes, 0 best."""
    values, truth = checked_probabilities(probabilities, target)
    errors = [_diagram(values[:, k], truth == k, bins).error for k in range(values.shape[1])]
    return float(np.mean(errors))


def brier_score(probabilities: Floats, target: Integers) -> float:
    """Return the mean over elements of sum_k (p_k - t_k)^2 (Brier 1950), 0 best, 2 worst."""
    values, truth = checked_probabilities(probabilities, target)
    hot = np.zeros_like(values)
    hot[np.arange(len(truth)), truth] = 1.0
    return float(np.mean(((values - hot) ** 2).sum(axis=1)))


def negative_log_likelihood(probabilities: Floats, target: Integers) -> float:
    """Return the mean of -ln p(target) in nat; probabilities below 1e-12 count as 1e-12."""
    values, truth = checked_probabilities(probabilities, target)
    return float(-np.mean(np.log(np.maximum(values[np.arange(len(truth)), truth], 1e-12))))


def gaussian_negative_log_likelihood(mean: Floats, deviation: Floats, target: Floats) -> float:
    """Return the mean of -ln N(target; mean, deviation^2) in nat."""
    m, s, y = (np.asarray(part, dtype=np.float64) for part in (mean, deviation, target))
    return float(np.mean(0.5 * np.log(2.0 * np.pi * s**2) + 0.5 * ((y - m) / s) ** 2))


def set_coverage(sets: NDArray[np.bool_], target: Integers) -> float:
    """Return the share of sets `[N, K]` that hold their target `[N]`."""
    inside = np.asarray(sets, dtype=bool)
    return float(inside[np.arange(len(inside)), np.asarray(target)].mean())


def mean_set_size(sets: NDArray[np.bool_]) -> float:
    """Return the mean number of classes in sets `[N, K]`."""
    return float(np.asarray(sets, dtype=bool).sum(axis=1).mean())


def interval_coverage(lower: Floats, upper: Floats, target: Floats) -> float:
    """Return the share of closed intervals that hold their target."""
    y = np.asarray(target)
    return float(np.mean((y >= np.asarray(lower)) & (y <= np.asarray(upper))))


def auroc(inside: Floats, outside: Floats) -> float:
    """Return the probability that an outside score exceeds an inside one, ties counting half.

    The Mann-Whitney statistic, exact for ties; 0.5 is chance, 1 perfect.

    Args:
        inside: Scores of elements in distribution.
        outside: Scores of elements that should be flagged, larger is stranger.
    """
    low, high = _scores(inside), _scores(outside)
    ordered = np.sort(low)
    below = np.searchsorted(ordered, high, side="left")
    tied = np.searchsorted(ordered, high, side="right") - below
    return float((below + 0.5 * tied).mean() / low.size)


def fpr_at_tpr(inside: Floats, outside: Floats, tpr: float = 0.95) -> float:
    """Return the share of inside scores flagged by the largest threshold that flags `tpr` of the outside ones.

    A score is flagged if it is at least the threshold; 0 is best.
    """
    low, high = _scores(inside), np.sort(_scores(outside))[::-1]
    threshold = high[max(0, int(np.ceil(tpr * high.size - 1e-9)) - 1)]
    return float(np.mean(low >= threshold))


def _scores(values: Floats) -> NDArray[np.float64]:
    """Return scores as a flat float64 array without NaN."""
    flat = np.asarray(values, dtype=np.float64).ravel()
    if flat.size == 0 or np.isnan(flat).any():
        raise ConfigurationError("Scores must be a non-empty list of numbers without NaN.")
    return flat


def risk_coverage_curve(loss: Floats, uncertainty: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (coverage, risk): the mean loss of the most certain share of elements, for every share.

    Elements of the same uncertainty cannot be told apart; each counts with the mean loss of its ties, so that the
    curve does not depend on the order of the elements.

    Args:
        loss: `[N]`, 0/1 for classes or any error.
        uncertainty: `[N]`.
    """
    values, doubt = np.asarray(loss, dtype=np.float64).ravel(), _scores(uncertainty)
    if values.shape != doubt.shape:
        raise ConfigurationError(f"There are {values.size} losses, but {doubt.size} uncertainties.")
    _, position, counts = np.unique(doubt, return_inverse=True, return_counts=True)
    shared = np.bincount(position, weights=values) / counts
    ordered = np.repeat(shared, counts)
    number = np.arange(1, values.size + 1)
    return number / values.size, np.cumsum(ordered) / number


def area_under_risk_coverage(loss: Floats, uncertainty: Floats) -> float:
    """Return the mean of the risk-coverage curve (Geifman and El-Yaniv 2017), 0 best."""
    return float(risk_coverage_curve(loss, uncertainty)[1].mean())


def ause(loss: Floats, uncertainty: Floats) -> float:
    """Return the area under the sparsification error (Ilg et al. 2018): how far from sorting by the loss itself.

    The mean difference between the risk-coverage curve of `uncertainty` and that of the oracle that knows the loss;
    0 is best.
    """
    values = np.asarray(loss, dtype=np.float64).ravel()
    return area_under_risk_coverage(values, uncertainty) - area_under_risk_coverage(values, values)
