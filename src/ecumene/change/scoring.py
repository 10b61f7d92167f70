"""What all methods of one magnitude share: threshold and probability from the histogram of all blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ecumene.change.contract import ChangeResult, ImagePair, PairBlock, Threshold
from ecumene.change.histogram import MagnitudeHistogram
from ecumene.change.posterior import MagnitudeMixture, fit_mixture
from ecumene.change.thresholds import find_threshold


class Score(Protocol):
    """A magnitude of change, and its kind, of every pixel; all statistics are known."""

    @property
    def margin(self) -> int:
        """Pixels needed around a core."""

    @property
    def kind_names(self) -> tuple[str, ...]:
        """Names of the layers of kind."""

    def __call__(self, block: PairBlock) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return magnitude `[rows, cols]` >= 0 and kind `[k, rows, cols]` of a block's core."""


@dataclass(frozen=True)
class FittedScore:
    """A score with its threshold and mixture: `FittedChange`.

    Attributes:
        score: Gives magnitudes.
        threshold: Where "changed" begins.
        mixture: Gives probabilities.
        loadings: Numbers of the method, for the result.
    """

    score: Score
    threshold: Threshold
    mixture: MagnitudeMixture
    loadings: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    @property
    def margin(self) -> int:
        """Pixels needed around a core."""
        return self.score.margin

    def apply(self, block: PairBlock) -> ChangeResult:
        """Return the answer for the core of a block.

        Args:
            block: Read with `margin`.
        """
        magnitude, kind = self.score(block)
        valid = block.core_valid
        return ChangeResult(
            np.where(valid, magnitude, np.nan).astype(np.float32),
            np.where(valid, self.mixture.probability(magnitude), np.nan).astype(np.float32),
            valid & (magnitude > self.threshold.value),
            valid,
            np.where(valid, kind, np.nan).astype(np.float32),
            self.score.kind_names,
            self.threshold,
            self.loadings,
        )


def finish(
    pair: ImagePair, score: Score, rule: str, loadings: Mapping[str, NDArray[np.float64]] | None = None
) -> FittedScore:
    """Find threshold and mixture of a score in one pass over the blocks.

    Args:
        pair: The two dates.
        score: Gives magnitudes.
        rule: Of the threshold, see `thresholds.RULES`, or `posterior`: where change is more probable than not.
        loadings: Numbers of the method, for the result.

    Raises:
        ConfigurationError: If there is no such rule.
        SceneError: If all magnitudes are the same.
    """
    histogram = MagnitudeHistogram()
    for block in pair.blocks(score.margin):
        histogram.add(score(block)[0][block.core_valid])
    return finish_histogram(histogram, score, rule, loadings)


def finish_histogram(
    histogram: MagnitudeHistogram,
    score: Score,
    rule: str,
    loadings: Mapping[str, NDArray[np.float64]] | None = None,
) -> FittedScore:
    """Find threshold and mixture of a score whose magnitudes are counted already.

    Args:
        histogram: Of the magnitudes of all valid pixels.
        score: Gives magnitudes.
        rule: As in `finish`.
        loadings: Numbers of the method, for the result.
    """
    threshold = find_threshold(histogram, "kmeans" if rule == "posterior" else rule)
    mixture = fit_mixture(histogram, threshold.value)
    if rule == "posterior":
        value = float(np.interp(0.5, mixture.posterior, mixture.magnitudes))
        threshold = Threshold(value, rule, {"changed_share": mixture.changed_share})
    return FittedScore(score, threshold, mixture, loadings or {})
