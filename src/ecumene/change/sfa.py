"""Slow feature analysis, plain and iterated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from ecumene.change.contract import FittedChange, ImagePair
from ecumene.change.linear import LinearScore, Matrix, check_iteration, finish_linear, iterate
from ecumene.change.moments import Moments


@dataclass(frozen=True)
class SlowFeatureAnalysis:
    """Slow feature analysis, SFA and ISFA (Wu, Du and Zhang 2014, doi 10.1109/TGRS.2013.2266673).

    The same combination of the standardised bands is taken at both dates; combinations are ordered by how little
    they differ between the dates: `A w = lambda B w`, A the covariance of the difference, B the mean of the dates'
    covariances. The sum of squared differences over their variances lambda is chi-square distributed for unchanged
    pixels; in the iterated form the probability of a larger sum weighs each pixel in the next round.

    Magnitude: square root of the sum. Kind: differences of the slow features in units of their deviation, the slowest
    first. Loadings: `eigenvalues`, `first`, `second` (coefficients of
    the bands of each date), `means`.

    Attributes:
        rounds: At most; 1 is the plain method.
        tolerance: Relative, of an eigenvalue.
        ridge: Share of B's diagonal that is added to it.
        consistent: Whether the weights' shrinkage of the variances is taken back (`linear.weighting_shrinkage`);
            False is the published iteration.
        threshold: Rule, see `thresholds.RULES`, or `posterior`.
    """

    rounds: int = 1
    tolerance: float = 0.01
    ridge: float = 1e-6
    consistent: bool = True
    threshold: str = "kmeans"

    def fit(self, pair: ImagePair) -> FittedChange:
        """Solve, in one pass a round, then find threshold and mixture.

        Args:
            pair: The two dates.

        Raises:
            ConfigurationError: If an option is out of range.
            SceneError: If no pixel is valid at both dates, a band is constant, or too few pixels are unchanged.
        """
        check_iteration("SFA", self.rounds, self.tolerance, self.ridge)
        pair.check()
        learnt = iterate(pair, self._solve, self.rounds, self.tolerance)
        return finish_linear(pair, learnt, self.threshold, "eigenvalues")

    def _solve(self, moments: Moments, shrinkage: float) -> tuple[LinearScore, Matrix]:
        return solve_sfa(moments, self.ridge, shrinkage if self.consistent else 1.0)


def solve_sfa(moments: Moments, ridge: float, shrinkage: float = 1.0) -> tuple[LinearScore, Matrix]:
    """Return differences of slow features and their variances.

    Args:
        moments: Of the bands of both dates, stacked.
        ridge: Share of the diagonal that is added.
        shrinkage: Of the variances by the weights of the moments.
    """
    count = moments.mean.size // 2
    scale = moments.deviation
    full = moments.covariance / np.outer(scale, scale)
    xx, yy, xy = full[:count, :count], full[count:, count:], full[:count, count:]
    apart = xx + yy - xy - xy.T
    common = (xx + yy) / 2.0
    values, features = linalg.eigh(apart + ridge * np.eye(count), common + ridge * np.eye(count))
    signs = np.where(features.sum(axis=0) < 0.0, -1.0, 1.0)
    features = features * signs
    values = np.maximum(values / shrinkage, 1e-12)
    names = tuple(f"slow feature {index + 1}" for index in range(count))
    score = LinearScore(
        features / scale[:count, None],
        features / scale[count:, None],
        moments.mean.reshape(2, count),
        np.sqrt(values),
        names,
        False,
    )
    return score, values
