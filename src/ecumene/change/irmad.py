"""Iteratively reweighted multivariate alteration detection."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecumene.change.contract import FittedChange, ImagePair
from ecumene.change.linear import LinearScore, check_iteration, finish_linear, iterate
from ecumene.change.moments import Moments

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class IterativelyReweightedMad:
    """IR-MAD (Nielsen 2007, doi 10.1109/TIP.2006.888195).

    Canonical correlation analysis gives combinations of the bands of both dates that are as alike as possible; the
    MAD variates are their differences, of variance 2 (1 - rho) where nothing changed. The sum of squares of the
    standardised variates is chi-square distributed with as many degrees of freedom as bands for unchanged pixels,
    and each pixel's probability of a larger sum weighs it in the next round, until no variance moves by more than
    the tolerance. The result does not depend on gains, offsets and mixtures of the bands at either date (exactly
    without ridge). Differences: covariances are regularised by a share of their diagonal instead of a curvature
    penalty; the weights' shrinkage of the variances is taken back (`linear.weighting_shrinkage`, `consistent`), so that
    the probabilities of unchanged pixels stay uniform.

    Magnitude: square root of the sum. Kind: the MAD variates in units of their deviation, that of least correlation
    first. Loadings: `correlations`, `first`, `second` (coefficients of the dates) and `means`.

    Attributes:
        rounds: At most; 1 is the plain MAD transformation.
        tolerance: Relative, of a MAD variance; correlations near 1 would stand still too early.
        ridge: Share of each variance that is added to it.
        consistent: Whether the shrinkage is taken back; False is the published iteration.
        threshold: Rule, see `thresholds.RULES`, or `posterior`.
    """

    rounds: int = 50
    tolerance: float = 0.01
    ridge: float = 1e-6
    consistent: bool = True
    threshold: str = "kmeans"

    def fit(self, pair: ImagePair) -> FittedChange:
        """Iterate, one pass a round, then find threshold and mixture.

        Args:
            pair: The two dates.

        Raises:
            ConfigurationError: If an option is out of range.
            SceneError: If no pixel is valid at both dates, a band is constant, or too few pixels are unchanged.
        """
        return finish_linear(pair, self.learn(pair), self.threshold, "correlations")

    def _solve(self, moments: Moments, shrinkage: float) -> tuple[LinearScore, Matrix]:
        return solve_mad(moments, self.ridge, shrinkage if self.consistent else 1.0)

    def learn(self, pair: ImagePair) -> tuple[LinearScore, Matrix, int]:
        """Return the score, the canonical correlations and the rounds made.

        Args:
            pair: The two dates.
        """
        check_iteration("IR-MAD", self.rounds, self.tolerance, self.ridge)
        pair.check()
        return iterate(pair, self._solve, self.rounds, self.tolerance)


def solve_mad(moments: Moments, ridge: float, shrinkage: float = 1.0) -> tuple[LinearScore, Matrix]:
    """Return the MAD variates and canonical correlations of stacked moments.

    Args:
        moments: Of the bands of both dates, stacked.
        ridge: Share of each variance that is added to it.
        shrinkage: Of the variates' variances by the weights of the moments.
    """
    count = moments.mean.size // 2
    full = moments.covariance
    xx, yy, xy = full[:count, :count], full[count:, count:], full[:count, count:]
    left, right = _whitening(xx, ridge), _whitening(yy, ridge)
    u, correlations, vt = np.linalg.svd(left.T @ xy @ right)
    # Nielsen's order: the variate of largest variance, which holds most change, comes first.
    first, second = left @ u[:, ::-1], right @ vt.T[:, ::-1]
    correlations = np.clip(correlations[::-1], 0.0, 1.0 - 1e-9)
    # Signs: each variate of the first date correlates positively with its bands on the whole.
    signs = np.where((xx @ first / np.sqrt(np.diagonal(xx))[:, None]).sum(axis=0) < 0.0, -1.0, 1.0)
    names = tuple(f"MAD {index + 1}" for index in range(count))
    deviations = np.sqrt(2.0 * (1.0 - correlations) / shrinkage)
    score = LinearScore(first * signs, second * signs, moments.mean.reshape(2, count), deviations, names, False)
    return score, correlations


def _whitening(matrix: Matrix, ridge: float) -> Matrix:
    """Return W with `W^T (C + ridge diag C) W = 1`; bands are brought to unit variance first."""
    scale = np.sqrt(np.diagonal(matrix))
    values, vectors = np.linalg.eigh(matrix / np.outer(scale, scale) + ridge * np.eye(len(scale)))
    return np.asarray(vectors / np.sqrt(np.maximum(values, 1e-12)) / scale[:, None])
