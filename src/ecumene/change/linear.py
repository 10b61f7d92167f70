"""Scores that are lengths of linear combinations of both dates: CVA, MAD, SFA."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import integrate, special

from ecumene.change.contract import FittedChange, ImagePair, PairBlock
from ecumene.change.moments import Moments
from ecumene.change.scoring import finish
from ecumene.core.errors import ConfigurationError, SceneError

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class LinearScore:
    """Length of `a^T (x - mean) - b^T (y - mean)`, each component divided by its deviation.

    Attributes:
        first: `a`, `[bands, k]`.
        second: `b`, `[bands, k]`.
        means: Of x and y, `[2, bands]`.
        deviations: Of the components where nothing changed, `[k]`.
        kind_names: Names of the components.
        unit_kind: True: the kind is the direction (components over their length), False: the components.
    """

    first: Matrix
    second: Matrix
    means: Matrix
    deviations: Matrix
    kind_names: tuple[str, ...]
    unit_kind: bool
    margin: int = 0

    def components(self, before: Matrix, after: Matrix) -> Matrix:
        """Return the standardised components `[k, ...]` of both dates `[bands, ...]`.

        Args:
            before: First date.
            after: Second date.
        """
        tail = (1,) * (before.ndim - 1)
        x = before - self.means[0].reshape(-1, *tail)
        y = after - self.means[1].reshape(-1, *tail)
        apart = np.tensordot(self.first.T, x, 1) - np.tensordot(self.second.T, y, 1)
        return np.asarray(apart / self.deviations.reshape(-1, *tail))

    def __call__(self, block: PairBlock) -> tuple[Matrix, Matrix]:
        """Return magnitude and kind of a block's core.

        Args:
            block: Any.
        """
        parts = self.components(block.before[:, *block.core], block.after[:, *block.core])
        length = np.sqrt((parts**2).sum(axis=0))
        return length, parts / np.maximum(length, 1e-30) if self.unit_kind else parts


def stacked_moments(pair: ImagePair, score: LinearScore | None) -> Moments:
    """Sum means and covariance of the stacked bands of both dates over all blocks.

    Args:
        pair: The two dates.
        score: Weights each pixel by the probability, if nothing changed, of a length as large as its own
            (chi-square law with k degrees of freedom); None: all weights are 1.
    """
    moments = Moments(2 * len(pair.bands))
    for block in pair.blocks():
        before, after = block.vectors()
        weights = None
        if score is not None:
            weights = chi_square_tail((score.components(before, after) ** 2).sum(axis=0), len(score.deviations))
        moments.add(np.concatenate([before, after]), weights)
    return moments


def chi_square_tail(squares: NDArray[np.float64], degrees: int) -> NDArray[np.float64]:
    """Return the probability that a chi-square variable is larger.

    Args:
        squares: Values of the variable.
        degrees: Of freedom.
    """
    return np.asarray(special.gammaincc(degrees / 2.0, squares / 2.0))


def weighting_shrinkage(degrees: int) -> float:
    """Return what weighting by the chi-square tail does to the variance of standard normal components.

    With Z chi-square distributed and weights P(Z' > Z), the weighted mean of Z over its mean is `E min(Z, Z') / k`,
    and `E min = integral of P(> z)^2`. Dividing weighted variances by it makes the iteration stand still at the true
    variances of unchanged pixels; without that, variances and weights shrink from round to round.

    Args:
        degrees: k, number of components.
    """
    value, _ = integrate.quad(lambda z: float(special.gammaincc(degrees / 2.0, z / 2.0)) ** 2, 0.0, np.inf)
    return float(value / degrees)


def iterate(
    pair: ImagePair,
    solve: Callable[[Moments, float], tuple[LinearScore, Matrix]],
    rounds: int,
    tolerance: float,
) -> tuple[LinearScore, Matrix, int]:
    """Solve, weight by the probability of no change, and solve again until the variances stand still.

    Args:
        pair: The two dates.
        solve: Gives a score and its characteristic numbers (correlations, eigenvalues) from moments and from the
            factor by which their weights shrink the variances of the components.
        rounds: At most; each is one pass over the blocks.
        tolerance: Largest relative change of a component's variance at which it stops.

    Returns:
        Score, numbers, and how many rounds were made.

    Raises:
        SceneError: If hardly any pixel keeps weight, so that covariances cannot be estimated.
    """
    score: LinearScore | None = None
    numbers: Matrix = np.zeros(0)
    last: Matrix | float = np.inf
    made = 0
    while made < rounds:
        made += 1
        moments = stacked_moments(pair, score)
        if moments.weight < 10.0 * moments.mean.size:
            raise SceneError(
                f"Only {moments.weight:.0f} pixels speak for no change, too few for {moments.mean.size // 2} bands; "
                "choose fewer bands, or a method without iterations."
            )
        score, found = solve(moments, 1.0 if score is None else weighting_shrinkage(len(score.deviations)))
        variances = 2.0 * np.log(score.deviations)
        still = bool(np.abs(variances - last).max() < tolerance)
        numbers, last = found, variances
        if still:
            break
    assert score is not None
    return score, numbers, made


def check_iteration(method: str, rounds: int, tolerance: float, ridge: float) -> None:
    """Check the options of an iterated method.

    Args:
        method: Its name in the sentence.
        rounds: At most.
        tolerance: Relative.
        ridge: Share of a variance.

    Raises:
        ConfigurationError: If one is out of range.
    """
    if rounds < 1 or not tolerance > 0.0 or ridge < 0.0:
        raise ConfigurationError(f"{method} needs at least one round, a positive tolerance and a ridge of at least 0.")


def finish_linear(
    pair: ImagePair, learnt: tuple[LinearScore, Matrix, int], threshold: str, numbers: str
) -> FittedChange:
    """Find threshold and mixture of a learnt score and keep its coefficients.

    Args:
        pair: The two dates.
        learnt: Score, its characteristic numbers, and rounds made, from `iterate`.
        threshold: Rule.
        numbers: Name of the characteristic numbers among the loadings.
    """
    score, found, made = learnt
    loadings = {
        numbers: found,
        "first": score.first,
        "second": score.second,
        "means": score.means,
        "deviations": score.deviations,
        "rounds": np.array([float(made)]),
    }
    return finish(pair, score, threshold, loadings)
