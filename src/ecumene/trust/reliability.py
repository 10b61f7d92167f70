"""Calibration of class probabilities beyond the mean: equal-mass bins, the worst bin, the parts of the Brier score."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.trust.measures import ReliabilityDiagram, checked_probabilities, reliability_diagram

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]


def equal_mass_diagram(probabilities: Floats, target: Integers, bins: int = 15) -> ReliabilityDiagram:
    """Return confidence against accuracy of the most probable class in bins of (nearly) equal count.

    Elements of the same confidence are never put into different bins, so that the result does not depend on their
    order; bins may then differ in count, and there may be fewer. The edges are the largest confidence of each bin.

    Args:
        probabilities: `[N, K]`.
        target: `[N]` class indices.
        bins: Wanted number of bins.
    """
    values, truth = checked_probabilities(probabilities, target)
    confidence, right = values.max(axis=1), values.argmax(axis=1) == truth
    levels, position, counts = np.unique(confidence, return_inverse=True, return_counts=True)
    middle = (np.cumsum(counts) - 0.5 * counts) / len(truth)
    used, piece_of_level = np.unique(np.minimum((middle * bins).astype(np.int64), bins - 1), return_inverse=True)
    piece = piece_of_level[position]
    count = np.bincount(piece, minlength=len(used))
    mean = np.bincount(piece, weights=confidence) / count
    hits = np.bincount(piece, weights=right.astype(np.float64)) / count
    ends = [float(levels[piece_of_level == bin_].max()) for bin_ in range(len(used))]
    return ReliabilityDiagram(
        edges=(0.0, *ends), count=tuple(count.tolist()), confidence=tuple(mean.tolist()), accuracy=tuple(hits.tolist())
    )


def adaptive_calibration_error(probabilities: Floats, target: Integers, bins: int = 15) -> float:
    """Return the expected calibration error over bins of equal count (Nguyen and O'Connor 2015), 0 best."""
    return equal_mass_diagram(probabilities, target, bins).error


def maximum_calibration_error(probabilities: Floats, target: Integers, bins: int = 15, fewest: int = 1) -> float:
    """Return the largest |accuracy - confidence| of a bin of equal width (Guo et al. 2017, eq. 4), 0 best.

    Args:
        probabilities: `[N, K]`.
        target: `[N]` class indices.
        bins: Number of bins.
        fewest: Bins with fewer elements do not count; one element can make the error of its bin almost 1.
    """
    diagram = reliability_diagram(probabilities, target, bins)
    gaps = [
        abs(a - c)
        for number, a, c in zip(diagram.count, diagram.accuracy, diagram.confidence, strict=True)
        if a is not None and c is not None and number >= fewest
    ]
    return max(gaps, default=0.0)


@dataclass(frozen=True)
class BrierParts:
    """The parts of a Brier score; `score` = `reliability` - `resolution` + `uncertainty` + `within_bins`.

    Attributes:
        score: The Brier score, summed over classes.
        reliability: How far forecasts are from the frequencies that follow them; 0 best.
        resolution: How far those frequencies are from the overall shares; larger is better.
        uncertainty: Brier score of a forecast of the overall shares; a property of the sample.
        within_bins: What the spread of forecasts within a bin adds (Stephenson, Coelho, Jolliffe 2008); 0 for forecasts
            that take few values.
    """

    score: float
    reliability: float
    resolution: float
    uncertainty: float
    within_bins: float

    def to_dict(self) -> dict[str, float]:
        """Return a JSON-able form."""
        return asdict(self)


def brier_parts(probabilities: Floats, target: Integers, bins: int = 15) -> BrierParts:
    """Decompose the Brier score class by class (Murphy 1973, "A new vector partition of the probability score").

    Args:
        probabilities: `[N, K]`.
        target: `[N]` class indices.
        bins: Bins of equal width of each class's probability.
    """
    values, truth = checked_probabilities(probabilities, target)
    if bins < 1:
        raise ConfigurationError(f"A decomposition needs at least one bin, not {bins}.")
    number = len(truth)
    reliability = resolution = uncertainty = score = 0.0
    for channel in range(values.shape[1]):
        forecast, hit = values[:, channel], (truth == channel).astype(np.float64)
        piece = np.clip((forecast * bins).astype(np.int64), 0, bins - 1)
        count = np.bincount(piece, minlength=bins)
        used = count > 0
        mean = np.bincount(piece, weights=forecast, minlength=bins)[used] / count[used]
        share = np.bincount(piece, weights=hit, minlength=bins)[used] / count[used]
        base = float(hit.mean())
        reliability += float(count[used] @ (mean - share) ** 2) / number
        resolution += float(count[used] @ (share - base) ** 2) / number
        uncertainty += base * (1.0 - base)
        score += float(((forecast - hit) ** 2).mean())
    return BrierParts(score, reliability, resolution, uncertainty, score - reliability + resolution - uncertainty)
