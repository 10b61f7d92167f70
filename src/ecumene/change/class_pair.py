"""Change between two maps of classes: from what to what, with the probabilities of both maps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecumene.change.sharpness import best_power, sharpened, surest_of
from ecumene.core.errors import ConfigurationError

_ROUNDS, _SEARCH_ROUNDS, _TOLERANCE = 500, 60, 1e-6

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class FromTo:
    """Change of every pixel between two maps of the same classes.

    Attributes:
        probability: That the class differs between the dates, 0..1, float32 `[*space]`; NaN where not valid.
        changed: Probability above one half, bool `[*space]`.
        before: Index of the class at the first date in the most probable pair of classes that agrees with `changed`,
            uint8 `[*space]`; 255 where not valid.
        after: At the second date.
        valid: Where both maps have a class, bool `[*space]`.
    """

    probability: NDArray[np.float32]
    changed: NDArray[np.bool_]
    before: NDArray[np.uint8]
    after: NDArray[np.uint8]
    valid: NDArray[np.bool_]

    @property
    def error(self) -> NDArray[np.float32]:
        """Probability that `changed` is wrong, `[*space]`."""
        return np.where(self.changed, 1.0 - self.probability, self.probability).astype(np.float32)


@dataclass(frozen=True)
class JointPrior:
    """How probable each pair of classes is before a pixel's own probabilities are seen, and how sharp these are.

    Attributes:
        pairs: `[K, K]` (first, second date), sums to 1.
        sharpness: Exponent of the maps' probabilities: above 1 where the dates agree more than these say; estimated
            ones lie between about 0.5 and 4.
        surest: Probability up to which sharpening may go.
    """

    pairs: Numbers
    sharpness: float = 1.0
    surest: float = 1.0

    @property
    def stay(self) -> float:
        """Share of pixels that keep their class."""
        return float(np.trace(self.pairs))

    @classmethod
    def even(cls, classes: int, stay: float) -> JointPrior:
        """Return the prior that knows nothing but the share that stays.

        Raises:
            ConfigurationError: If an argument is out of range.
        """
        if classes < 2:
            raise ConfigurationError("Maps of one class cannot differ in it; compare maps of two classes or more.")
        if not 0.0 < stay < 1.0:
            raise ConfigurationError(f"The share that keeps its class must lie between 0 and 1, but is {stay}.")
        pairs = np.full((classes, classes), (1.0 - stay) / (classes * (classes - 1)))
        np.fill_diagonal(pairs, stay / classes)
        return cls(pairs)


def estimate_joint(blocks: Iterable[tuple[Numbers, Numbers]], stay: float | None = None) -> JointPrior:
    """Estimate the joint prior of the classes of both dates from the probabilities of both maps.

    The adjustment of posteriors to new priors by expectation maximisation (Saerens, Latinne and Decaestecker 2002,
    Neural Computation 14(1):21-41), for pairs of classes: with probabilities p and q of the maps as likelihoods of a
    uniform prior, and errors that are independent given the classes, the new prior of a pair (k, l) is the mean over
    pixels of `P_kl p_k q_l / sum P_ij p_i q_j`. One pixel that is spread evenly over all pairs is added, so that no
    pair is impossible.

    Errors of the two dates are not independent: a mixed pixel gets the same soft probabilities twice, and such maps
    agree far more often than independent errors allow. Taken as independent, this agreement speaks for classes that
    stay and hides change. The exponent of the probabilities with the largest likelihood of all pixels under its own
    prior is therefore estimated with it, from about 0.5 to 4 and no further. It makes no pixel surer than the surest
    thousandth of the pixels: where all pixels say the same, two maps cannot tell errors from changes, and the
    probabilities stand as they are.

    Args:
        blocks: Probabilities of both maps, `[K, n]` each, columns summing to 1, of pixels that represent the maps.
        stay: Share of pixels that keep their class, where it is known; None: estimated.

    Raises:
        ConfigurationError: If there is no pixel, or the share is out of range.
    """
    parts = [(before, after) for before, after in blocks if before.shape[1]]
    if not parts:
        raise ConfigurationError("The maps have no pixel with a class at both dates; choose dates that overlap.")
    first, second = (np.concatenate([part[k] for part in parts], axis=1) for k in (0, 1))
    begin = JointPrior.even(len(first), 0.9 if stay is None else stay).pairs

    surest = surest_of(np.concatenate([first.max(axis=0), second.max(axis=0)]))

    def fitted(power: float, rounds: int) -> tuple[Numbers, float]:
        return _maximised(sharpened(first, power, surest), sharpened(second, power, surest), begin, stay, rounds)

    power = best_power(lambda exponent: fitted(exponent, _SEARCH_ROUNDS)[1])
    return JointPrior(fitted(power, _ROUNDS)[0], power, surest)


def _maximised(
    first: Numbers, second: Numbers, pairs: Numbers, stay: float | None, rounds: int
) -> tuple[Numbers, float]:
    """Return the prior of pairs after expectation maximisation, and the mean log likelihood of a pixel."""
    count = first.shape[1]
    likelihood = -np.inf
    for _ in range(rounds):
        weight = (first * (pairs @ second)).sum(axis=0)
        new = pairs * ((first / weight) @ second.T) + 1.0 / pairs.size
        new /= count + 1.0
        if stay is not None:
            kept = np.diag(np.diag(new))
            new = kept * (stay / kept.sum()) + (new - kept) * ((1.0 - stay) / (new - kept).sum())
        likelihood = float(np.log(weight).mean())
        if np.abs(new - pairs).sum() < _TOLERANCE:
            return new, likelihood
        pairs = new
    return pairs, likelihood


def compare_classes(before: Numbers, after: Numbers, valid: NDArray[np.bool_], joint: JointPrior) -> FromTo:
    """Compare two maps by their probabilities.

    Each map's probabilities, to the power of the sharpness, are taken as the likelihood of its class, and the maps'
    errors as independent given the classes. With the joint prior P the probability that nothing changed is
    `sum_k P_kk p_k q_k / sum_kl P_kl p_k q_l`.

    Args:
        before: Probabilities of the first map, `[K, *space]`, in the order of the classes.
        after: Of the second.
        valid: Where both have a class, `[*space]`.
        joint: Prior of pairs of classes.

    Raises:
        ConfigurationError: If shapes are wrong.
    """
    if before.shape != after.shape or before.shape[1:] != valid.shape or joint.pairs.shape != (len(before),) * 2:
        raise ConfigurationError("Two maps of classes need probabilities of the same classes, two or more.")
    first, second = (sharpened(part, joint.sharpness, joint.surest) for part in (before, after))
    flat = second.reshape(len(second), -1)
    weighted = first * (joint.pairs @ flat).reshape(second.shape)
    together = first * second * np.diag(joint.pairs).reshape(-1, *[1] * valid.ndim)
    probability = np.clip(1.0 - together.sum(axis=0) / weighted.sum(axis=0), 0.0, 1.0)
    changed = (probability > 0.5) & valid
    kept = together.argmax(axis=0)
    source, target = kept.copy(), kept.copy()
    source[changed], target[changed] = _best_unequal(first[:, changed], second[:, changed], joint.pairs)
    return FromTo(
        np.where(valid, probability, np.nan).astype(np.float32),
        changed,
        np.where(valid, source, 255).astype(np.uint8),
        np.where(valid, target, 255).astype(np.uint8),
        valid,
    )


def compare_codes(before: NDArray[np.integer], after: NDArray[np.integer], valid: NDArray[np.bool_]) -> FromTo:
    """Compare two maps without probabilities: changed is what differs, and how sure that is is not known.

    Args:
        before: Indices of classes `[*space]`.
        after: Of the second map.
        valid: Where both have a class.
    """
    changed = (before != after) & valid
    return FromTo(
        np.full(valid.shape, np.nan, np.float32),
        changed,
        np.where(valid, before, 255).astype(np.uint8),
        np.where(valid, after, 255).astype(np.uint8),
        valid,
    )


def _best_unequal(first: Numbers, second: Numbers, pairs: Numbers) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the most probable pair of unequal classes of each pixel, `[n]` each, of `[K, n]`."""
    best = np.full(first.shape[1], -1.0)
    source, target = np.zeros(first.shape[1], np.intp), np.zeros(first.shape[1], np.intp)
    for k, row in enumerate(pairs):
        score = row[:, None] * second * first[k]
        score[k] = -1.0
        here = score.argmax(axis=0)
        value = score[here, np.arange(here.size)]
        better = value > best
        best = np.where(better, value, best)
        source, target = np.where(better, k, source), np.where(better, here, target)
    return source, target
