"""Probabilities of several dates that agree more than they say: the exponent that makes them as sharp as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

Numbers = NDArray[np.float64]

LEAST = 1e-6
"""No classifier is more certain than this."""
_RANGE = (-0.7, 1.4)  # logarithms of the exponent: about 0.5 to 4
_STEP = 0.02  # of the search
_SUREST = 0.999
_WORTH = 1e-3  # gain of log likelihood a pixel that another exponent than 1 must have


def sharpened(probability: Numbers, power: float = 1.0, surest: float = 1.0) -> Numbers:
    """Return probabilities bounded away from 0, to a power, summing to 1; uniform where they are unknown.

    Args:
        probability: `[K, ...]`.
        power: Exponent, greater than 0.
        surest: What the largest one may grow to; larger ones stay as they are.
    """
    bounded = np.maximum(np.nan_to_num(np.asarray(probability, np.float64), nan=1.0), LEAST)
    bounded /= bounded.sum(axis=0)
    sharp = bounded**power
    sharp /= sharp.sum(axis=0)
    limit = np.maximum(bounded.max(axis=0), surest)
    largest = sharp.max(axis=0)
    over = largest > limit + 1e-12
    if over.any():
        top = np.arange(len(sharp)).reshape(-1, *[1] * largest.ndim) == sharp.argmax(axis=0)  # one of ties
        rest = np.where(top, 0.0, bounded)
        rest *= (1.0 - limit) / np.maximum(rest.sum(axis=0), LEAST)
        sharp = np.where(over, np.where(top, limit, rest), sharp)
    return np.asarray(sharp)


def surest_of(probability: Numbers) -> float:
    """Return the largest probability of a pixel that one in a thousand of them exceeds.

    Args:
        probability: Largest probability of each pixel and date, NaN where missing.
    """
    return float(np.nanquantile(probability, _SUREST))


def best_power(likelihood: Callable[[float], float]) -> float:
    """Return the exponent of largest likelihood from about 0.5 to 4, or 1 where no other one is worth it.

    Args:
        likelihood: Mean log likelihood of a pixel for an exponent.
    """
    found = optimize.minimize_scalar(
        lambda logarithm: -likelihood(float(np.exp(logarithm))), bounds=_RANGE, method="bounded",
        options={"xatol": _STEP},
    )  # fmt: skip
    return float(np.exp(found.x)) if -float(found.fun) > likelihood(1.0) + _WORTH else 1.0


def sharpness_results(power: float) -> dict[str, Any]:
    """Return an estimated exponent for the results of a product, and whether it lies at the end of its range."""
    logarithm = float(np.log(power))
    at_end = min(abs(logarithm - end) for end in _RANGE) < 2.0 * _STEP
    found: dict[str, Any] = {"sharpness_of_probabilities": power}
    return found | ({"sharpness_is_at_the_end_of_its_range": True} if at_end else {})
