"""Posterior probability of change of a magnitude: a mixture of Nakagami laws, fitted without labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ecumene.change.histogram import MagnitudeHistogram
from ecumene.physics.speckle.looks import gamma_shape

Numbers = NDArray[np.float64]

_LARGEST_SHAPE = 1e3


@dataclass(frozen=True)
class MagnitudeMixture:
    """Classes of magnitudes: unchanged pixels (one or two laws) and changed ones.

    The Nakagami law is that of the length of a vector of Gaussian differences: half normal (one band, shape 1/2),
    Rayleigh (1), chi with k degrees of freedom (k/2), and, with shapes between, lengths of bands that are correlated
    or of unequal noise. The posterior is Bayes' rule with the fitted shares as prior, made monotone: below the
    magnitude where it is least it stays there, above it never falls.

    Attributes:
        shares: Prior of each law; they sum to 1.
        shapes: Shape of each law.
        mean_squares: Mean squared magnitude of each law, ascending.
        changed: Which laws are those of changed pixels.
        magnitudes: Where the posterior is tabulated, ascending.
        posterior: Probability of change at `magnitudes`.
    """

    shares: tuple[float, ...]
    shapes: tuple[float, ...]
    mean_squares: tuple[float, ...]
    changed: tuple[bool, ...]
    magnitudes: Numbers
    posterior: Numbers

    @property
    def changed_share(self) -> float:
        """Prior: share of changed pixels in the image."""
        return float(sum(share for share, changed in zip(self.shares, self.changed, strict=True) if changed))

    def probability(self, magnitude: NDArray[np.floating]) -> Numbers:
        """Return the posterior probability of change.

        Args:
            magnitude: >= 0, of any shape.
        """
        return np.asarray(np.interp(magnitude, self.magnitudes, self.posterior))


def fit_mixture(histogram: MagnitudeHistogram, threshold: float, *, rounds: int = 500) -> MagnitudeMixture:
    """Fit the mixture by expectation and maximisation over the bins of a histogram.

    Squares of Nakagami magnitudes are gamma distributed, so the maximisation is that of weighted gamma laws
    (`gamma_shape`). A mixture of two laws begins with the classes that a threshold gives; another of three divides the
    lower class at its median, since unchanged scenes often have a second, wider law (other cover, edges) that would
    pass for change. The Bayesian information criterion chooses. Laws whose root mean square exceeds the threshold are
    those of change; if there are none, the widest.

    Args:
        histogram: Of the magnitudes of all valid pixels.
        threshold: Divides the classes at first.
        rounds: At most.
    """
    counts, centres = _merged(histogram)
    below = counts * (centres <= threshold)
    middle = centres[min(int(np.searchsorted(np.cumsum(below), below.sum() / 2.0)), centres.size - 1)]
    two = np.stack([centres <= threshold, centres > threshold]).astype(np.float64)
    low = centres <= min(middle, threshold)
    three = np.stack([low, ~low & (centres <= threshold), centres > threshold]).astype(np.float64)
    fits = [_maximise(counts, centres, np.clip(start, 0.01, 0.98), rounds) for start in (two, three)]
    # Each further law has three numbers.
    scores = [fit[3] - 1.5 * index * np.log(counts.sum()) for index, fit in enumerate(fits)]
    share, shape, square, _ = fits[int(np.argmax(scores))]
    order = np.argsort(square)
    share, shape, square = share[order], shape[order], square[order]
    changed = np.sqrt(square) > threshold
    changed[-1] = True
    grid = histogram.centres
    parts = np.exp(_log_density(2.0 * np.log(grid), shape[:, None], square[:, None])) * share[:, None]
    total = parts.sum(axis=0)
    # Where all densities vanish, far out, the last law that has any is that of change.
    odds = np.where(total > 1e-280, parts[changed].sum(axis=0) / np.maximum(total, 1e-280), 1.0)
    least = int(np.argmin(np.where(grid <= max(threshold, grid[0]), odds, np.inf)))
    odds[:least] = odds[least]
    return MagnitudeMixture(
        tuple(map(float, share)),
        tuple(map(float, shape)),
        tuple(map(float, square)),
        tuple(map(bool, changed)),
        grid,
        np.maximum.accumulate(odds),
    )


def _merged(histogram: MagnitudeHistogram) -> tuple[Numbers, Numbers]:
    """Return counts and mean magnitudes of bins that widen with the magnitude, at most 1.1 % of it."""
    used = np.flatnonzero(histogram.counts)
    counts, centres = histogram.counts[used].astype(np.float64), histogram.centres[used]
    _, group = np.unique((64.0 * np.log2(used + 1.0)).astype(np.int64), return_inverse=True)
    number = np.bincount(group, counts).astype(np.float64)
    return number, np.bincount(group, counts * centres) / number


def _maximise(
    counts: Numbers, centres: Numbers, members: Numbers, rounds: int
) -> tuple[Numbers, Numbers, Numbers, float]:
    """Return shares, shapes, mean squares and log likelihood of gamma laws of the squares."""
    logs = 2.0 * np.log(centres)
    members = members / members.sum(axis=0)
    share = shape = square = np.ones(len(members))
    last = likelihood = -np.inf
    for _ in range(rounds):
        weights = counts * members
        number = np.maximum(weights.sum(axis=1), 1e-9)
        square = np.maximum((weights @ centres**2) / number, 1e-300)
        scatter = np.maximum(np.log(square) - (weights @ logs) / number, 0.5 / _LARGEST_SHAPE)
        shape = np.clip(gamma_shape(scatter), 1e-2, _LARGEST_SHAPE)
        share = np.maximum(number / number.sum(), 1e-9)
        dense = _log_density(logs, shape[:, None], square[:, None]) + np.log(share)[:, None]
        total = special.logsumexp(dense, axis=0)
        members = np.exp(dense - total)
        likelihood = float(counts @ total)
        if abs(likelihood - last) < 1e-9 * counts.sum():
            break
        last = likelihood
    return share, shape, square, likelihood


def _log_density(logs: Numbers, shape: Numbers, square: Numbers) -> Numbers:
    """Return the log density of ln x^2 for x^2 gamma distributed with mean `square`."""
    rate = shape / square
    return np.asarray(shape * (np.log(rate) + logs) - rate * np.exp(logs) - special.gammaln(shape))
