"""Conformal prediction sets: classes that hold the truth with a stated probability."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, LabelError, ModelError
from ecumene.trust.quantile import best_coverage, check_coverage, conformal_quantile
from ecumene.trust.temperature import check_targets

Method = Literal["lac", "aps"]
MAXIMUM_CLASSES = 32
"""Bits of the stored set."""


@dataclass(frozen=True)
class ConformalSets:
    """Split-conformal sets of classes.

    `lac` (least ambiguous set-valued classifier; Sadinle, Lei, Wasserman 2019): the score of class k is 1 - p_k; the
    smallest sets on average. `aps` (adaptive prediction sets; Romano, Sesia, Candes 2020, without their randomisation):
    the score is the mass of all classes at least as probable as k, k included; larger sets where the model is
    unsure. A class is in the set if its score does not exceed the threshold; the most probable class always is, so that
    no set is empty. Leaving out the randomisation and adding the top class can only raise the coverage.

    The promise is P(truth in set) >= coverage for a new element that is exchangeable with the calibration elements
    (or lies in a new block exchangeable with the calibration blocks, if fitted with groups). With `per_class` it
    holds within each true class (Mondrian, label-conditional). It does not hold where the map leaves the place or
    the time of the labels.

    Attributes:
        method: `lac` or `aps`.
        coverage: What was asked for.
        thresholds: One number, or one a class; infinite means that the class is always in the set.
        n_classes: K.
        n_samples: Calibration elements.
        n_groups: Calibration blocks, None if elements counted one by one.
    """

    method: Method
    coverage: float
    thresholds: tuple[float, ...]
    n_classes: int
    n_samples: int = 0
    n_groups: int | None = None

    @classmethod
    def fit(
        cls,
        probabilities: NDArray[np.floating],
        target: NDArray[np.integer],
        coverage: float = 0.9,
        method: Method = "lac",
        per_class: bool = False,
        groups: NDArray[np.generic] | None = None,
        rare: Literal["refuse", "include"] = "refuse",
    ) -> ConformalSets:
        """Fit the threshold(s) on held-out elements.

        Args:
            probabilities: `[N, K]`, calibrated or not, of elements that the model has not learned from.
            target: `[N]` class indices.
            coverage: Wanted share of sets that hold the truth.
            method: `lac` or `aps`.
            per_class: One threshold a class (coverage within each class) instead of one for all.
            groups: `[N]` spatial block of each element; see `conformal_quantile`.
            rare: With `per_class`, what to do about a class with too few calibration elements: refuse, or put it
                into every set, which keeps the promise in the dullest way.

        Returns:
            The fitted sets.

        Raises:
            ConfigurationError: If arguments do not fit together, or there are too few calibration elements (or blocks)
                for the coverage; the sentence says which coverage can be promised.
            LabelError: If targets are not class indices.
        """
        if rare not in ("refuse", "include"):
            raise ConfigurationError(f"Classes with few samples can be refused or included, but not {rare!r}.")
        values, truth, blocks = _check_calibration(probabilities, target, coverage, method, groups)
        scores = _scores(values, method)[np.arange(len(truth)), truth]
        thresholds = _fit_thresholds(scores, truth, values.shape[1], coverage, per_class, blocks, rare)
        return cls(
            method=method,
            coverage=float(coverage),
            thresholds=thresholds,
            n_classes=values.shape[1],
            n_samples=len(truth),
            n_groups=None if blocks is None else len(np.unique(blocks)),
        )

    def sets(self, probabilities: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Return which classes are in the set, bool `[N, K, ...]` for probabilities `[N, K, ...]`.

        Raises:
            ConfigurationError: If axis 1 does not have one entry a class.
        """
        values = np.asarray(probabilities)
        if values.ndim < 2 or values.shape[1] != self.n_classes:
            raise ConfigurationError(
                f"These conformal sets are for {self.n_classes} classes on axis 1, but got the shape {values.shape}."
            )
        limits = np.asarray(self.thresholds, dtype=np.float64)
        limits = limits.reshape((1, -1) + (1,) * (values.ndim - 2))
        # Stored probabilities are float32: a score that ties with the threshold must stay inside.
        inside = _scores(values.astype(np.float64), self.method) <= limits + 1e-7
        top = np.expand_dims(values.argmax(axis=1), 1)
        np.put_along_axis(inside, top, True, axis=1)
        return np.asarray(inside)

    def encode(self, probabilities: NDArray[np.floating]) -> NDArray[np.uint32]:
        """Return the sets as bit masks, uint32 `[N, ...]`; bit i is class channel i, and 0 never occurs."""
        inside = self.sets(probabilities)
        bits = np.zeros((inside.shape[0], *inside.shape[2:]), dtype=np.uint32)
        for channel in range(self.n_classes):
            bits |= inside[:, channel].astype(np.uint32) << np.uint32(channel)
        return bits

    @staticmethod
    def decode(bits: NDArray[np.uint32], n_classes: int) -> NDArray[np.bool_]:
        """Return bool `[N, K, ...]` of bit masks `[N, ...]`."""
        channel = np.arange(n_classes, dtype=np.uint32).reshape((1, -1) + (1,) * (bits.ndim - 1))
        return np.asarray((np.asarray(bits)[:, None] >> channel) & np.uint32(1), dtype=bool)

    def to_config(self) -> dict[str, Any]:
        """Return a JSON-able description; an infinite threshold is None."""
        return {
            "method": self.method,
            "coverage": self.coverage,
            "thresholds": [limit if math.isfinite(limit) else None for limit in self.thresholds],
            "n_classes": self.n_classes,
            "n_samples": self.n_samples,
            "n_groups": self.n_groups,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ConformalSets:
        """Rebuild from `to_config`.

        Raises:
            ModelError: If the description is damaged.
        """
        try:
            thresholds = tuple(math.inf if limit is None else float(limit) for limit in config["thresholds"])
            rebuilt = cls(
                method=config["method"],
                coverage=float(config["coverage"]),
                thresholds=thresholds,
                n_classes=int(config["n_classes"]),
                n_samples=int(config.get("n_samples", 0)),
                n_groups=None if config.get("n_groups") is None else int(config["n_groups"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError("The model's conformal sets are damaged; get the model again from its source.") from error
        sizes = (1, rebuilt.n_classes)
        if rebuilt.method not in ("lac", "aps") or len(thresholds) not in sizes or any(map(math.isnan, thresholds)):
            raise ModelError("The model's conformal sets are damaged; get the model again from its source.")
        return rebuilt


def _check_calibration(
    probabilities: NDArray[np.floating],
    target: NDArray[np.integer],
    coverage: float,
    method: str,
    groups: NDArray[np.generic] | None,
) -> tuple[NDArray[np.float64], NDArray[np.integer], NDArray[np.generic] | None]:
    """Return (probabilities, targets, blocks) as arrays, or refuse what does not fit together."""
    check_coverage(coverage)
    if method not in ("lac", "aps"):
        raise ConfigurationError(f"Conformal sets know the methods lac and aps, but not {method!r}.")
    values, truth = np.asarray(probabilities, dtype=np.float64), np.asarray(target)
    if values.ndim != 2 or truth.shape != (len(values),) or not 2 <= values.shape[1] <= MAXIMUM_CLASSES:
        raise ConfigurationError(
            f"Conformal sets need probabilities [N, K] with 2 to {MAXIMUM_CLASSES} classes and targets [N], "
            f"but got {values.shape} and {truth.shape}."
        )
    check_targets(truth, values.shape[1], "conformal sets")
    if not np.isfinite(values).all() or values.min() < -1e-6 or np.abs(values.sum(axis=1) - 1.0).max() > 1e-3:
        raise ConfigurationError("Conformal sets need probabilities that are finite, not negative and add up to one.")
    blocks = None if groups is None else np.asarray(groups)
    if blocks is not None and blocks.shape != truth.shape:
        raise ConfigurationError(f"There are {truth.size} targets, but {blocks.size} group labels.")
    return values, truth, blocks


def _scores(values: NDArray[np.float64], method: Method) -> NDArray[np.float64]:
    """Return the non-conformity score of every class, `[N, K, ...]`."""
    if method == "lac":
        return 1.0 - values
    scores = np.empty_like(values)
    for channel in range(values.shape[1]):
        own = values[:, channel : channel + 1]
        scores[:, channel] = np.where(values >= own, values, 0.0).sum(axis=1)
    return scores


def _fit_thresholds(
    scores: NDArray[np.float64],
    target: NDArray[np.integer],
    n_classes: int,
    coverage: float,
    per_class: bool,
    groups: NDArray[np.generic] | None,
    rare: str,
) -> tuple[float, ...]:
    """Return one threshold, or one a class; refuse where there are too few units."""
    units = "pixels" if groups is None else "blocks"
    if not per_class:
        limit = conformal_quantile(scores, coverage, groups)
        if math.isinf(limit):
            count = scores.size if groups is None else len(np.unique(groups))
            raise ConfigurationError(
                f"{count} calibration {units} are too few for a coverage of {coverage:g}; ask for at most "
                f"{math.floor(1000 * best_coverage(count)) / 1000:g}, or label more places."
            )
        return (limit,)
    limits, short = [], []
    for channel in range(n_classes):
        own = target == channel
        blocks = None if groups is None else groups[own]
        limits.append(conformal_quantile(scores[own], coverage, blocks))
        if math.isinf(limits[-1]):
            short.append((channel, int(own.sum()) if blocks is None else len(np.unique(blocks))))
    if short and rare == "refuse":
        channel, count = min(short, key=lambda item: item[1])
        raise LabelError(
            f"Class channel {channel} has {count} calibration {units}, too few for a coverage of {coverage:g} in every "
            f"class; ask for at most {math.floor(1000 * best_coverage(count)) / 1000:g}, label more places, or use one "
            "threshold for all classes."
        )
    return tuple(limits)
