"""Change between two maps of classes: from what to what, with the probabilities of both maps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError

_LEAST = 1e-6  # no classifier is more certain than this
_ROUNDS, _TOLERANCE = 200, 1e-6
_LEAST_STAY = 0.5

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


def estimate_stay(blocks: Iterable[tuple[Numbers, Numbers]]) -> float:
    """Estimate the share of pixels that keep their class from the probabilities of both maps.

    Expectation maximisation of one number s in the prior `s / K` for each equal and `(1 - s) / (K (K - 1))` for each
    unequal pair of classes. The likelihood of pixel i depends on the maps only through `a_i = sum_k p_k q_k`, so that
    the maximum is found from these sums: the new s is the mean of `s a / (s a + (1 - s) (1 - a) / (K - 1))`.

    Args:
        blocks: Probabilities of both maps, `[K, n]` each, columns summing to 1, of pixels that represent the maps.

    Returns:
        s, at least one half: below it the two maps would hardly show one place.

    Raises:
        ConfigurationError: If there is no pixel.
    """
    sums, classes = [], 0
    for before, after in blocks:
        classes = len(before)
        sums.append((_cut(before) * _cut(after)).sum(axis=0))
    together = np.concatenate(sums) if sums else np.zeros(0)
    if together.size == 0:
        raise ConfigurationError("The maps have no pixel with a class at both dates; choose dates that overlap.")
    stay = 0.9
    for _ in range(_ROUNDS):
        same = stay * together
        other = (1.0 - stay) * (1.0 - together) / (classes - 1)
        new = float(np.clip((same / (same + other)).mean(), _LEAST_STAY, 1.0 - _LEAST))
        if abs(new - stay) < _TOLERANCE:
            return new
        stay = new
    return stay


def compare_classes(before: Numbers, after: Numbers, valid: NDArray[np.bool_], stay: float) -> FromTo:
    """Compare two maps by their probabilities.

    Each map's probabilities are taken as the likelihood of its class (a uniform prior of classes) and the maps' errors
    as independent given the classes; the prior of pairs of classes is that of `estimate_stay`, the same for all unequal
    pairs. Change between maps with soft probabilities is therefore found cautiously: much of it stays below one half.

    Args:
        before: Probabilities of the first map, `[K, *space]`, in the order of the classes.
        after: Of the second.
        valid: Where both have a class, `[*space]`.
        stay: Share of pixels that keep their class.

    Raises:
        ConfigurationError: If shapes or the share are wrong.
    """
    if before.shape != after.shape or before.shape[1:] != valid.shape or len(before) < 2:
        raise ConfigurationError("Two maps of classes need probabilities of the same classes, two or more.")
    if not 0.0 < stay < 1.0:
        raise ConfigurationError(f"The share that keeps its class must lie between 0 and 1, but is {stay}.")
    classes = len(before)
    first, second = _cut(before), _cut(after)
    together = first * second
    same = stay * together.sum(axis=0)
    other = (1.0 - stay) * (1.0 - together.sum(axis=0)) / (classes - 1)
    probability = other / (same + other)
    changed = (probability > 0.5) & valid
    kept = together.argmax(axis=0)
    source, target = _best_unequal(first, second)
    return FromTo(
        np.where(valid, probability, np.nan).astype(np.float32),
        changed,
        np.where(valid, np.where(changed, source, kept), 255).astype(np.uint8),
        np.where(valid, np.where(changed, target, kept), 255).astype(np.uint8),
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


def _best_unequal(first: Numbers, second: Numbers) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the pair of unequal classes with the largest product: only the best two of each map can be in it."""
    order_first, order_second = np.argsort(-first, axis=0)[:2], np.argsort(-second, axis=0)[:2]
    best = np.full(first.shape[1:], -1.0)
    source, target = order_first[0].copy(), order_second[0].copy()
    for i in order_first:
        for j in order_second:
            score = np.take_along_axis(first, i[None], 0)[0] * np.take_along_axis(second, j[None], 0)[0]
            score = np.where(i == j, -1.0, score)
            better = score > best
            best = np.where(better, score, best)
            source, target = np.where(better, i, source), np.where(better, j, target)
    return source, target


def _cut(probability: Numbers) -> Numbers:
    """Return probabilities bounded away from 0, summing to 1; uniform where they are unknown."""
    bounded = np.maximum(np.nan_to_num(np.asarray(probability, np.float64), nan=1.0), _LEAST)
    return np.asarray(bounded / bounded.sum(axis=0))
