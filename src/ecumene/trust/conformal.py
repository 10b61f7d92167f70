"""Conformal prediction sets: classes that hold the truth with a stated probability."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, LabelError, ModelError
from ecumene.trust.quantile import Aim, Threshold, best_coverage, check_coverage, fit_threshold, too_few
from ecumene.trust.temperature import check_targets

Method = Literal["lac", "aps", "aps-randomised"]
METHODS: tuple[str, ...] = get_args(Method)
MAXIMUM_CLASSES = 32
"""Bits of the stored set."""


@dataclass(frozen=True)
class ConformalSets:
    """Split-conformal sets of classes.

    The class that the map shows is in every set, so that no set is empty: its score is 0. That is the most probable
    one, unless the caller says what was decided otherwise (`decided`). The score of another class k is

    - `lac` (least ambiguous set-valued classifier; Sadinle, Lei, Wasserman 2019): 1 - p_k; smallest sets on average;
    - `aps` (adaptive prediction sets; Romano, Sesia, Candes 2020, without their randomisation): the mass of the classes
      that are more probable than k, so that classes are added until their mass passes the threshold; larger sets where
      the model is unsure;
    - `aps-randomised`: that mass + u p_k as in the paper, with a u in [0, 1) that is a fixed function of the
      probabilities (rounded to 1/1000) instead of a random number, so that the same map is made every time.

    A class is in the set if its score does not exceed the threshold.

    The promise is P(truth in set) >= coverage for a new element that is exchangeable with the calibration elements
    (or lies in a new block exchangeable with the calibration blocks, if fitted with groups). With `per_class` it
    holds within each true class (Mondrian, label-conditional). It does not hold where the map leaves the place or
    the time of the labels. With fewer than coverage / (1 - coverage) blocks nobody can promise it for a new block;
    `promised` says what is.

    Attributes:
        method: `lac`, `aps` or `aps-randomised`.
        coverage: What was asked for.
        thresholds: One number, or one a class; infinite means that the class is always in the set.
        n_classes: K.
        n_samples: Calibration elements.
        n_groups: Calibration blocks, None if elements counted one by one.
        promised: Coverage that holds whatever the distribution is; None where nobody recorded it.
    """

    method: Method
    coverage: float
    thresholds: tuple[float, ...]
    n_classes: int
    n_samples: int = 0
    n_groups: int | None = None
    promised: float | None = None

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
        aim: Aim = "promise",
        decided: NDArray[np.integer] | None = None,
    ) -> ConformalSets:
        """Fit the threshold(s) on held-out elements.

        Args:
            probabilities: `[N, K]`, calibrated or not, of elements that the model has not learned from.
            target: `[N]` class indices.
            coverage: Wanted share of sets that hold the truth.
            method: `lac`, `aps` or `aps-randomised`.
            per_class: One threshold a class (coverage within each class) instead of one for all.
            groups: `[N]` spatial block of each element; see `conformal_quantile`.
            rare: With `per_class`, what to do about a class with too few calibration elements: refuse, or put it
                into every set, which keeps the promise in the dullest way.
            aim: `promise` keeps the coverage for whatever distribution and refuses too few units; `average` hits it on
                average over blocks like those of the calibration, but promises less (`promised`); see
                `quantile.fit_threshold`.
            decided: `[N]` class index that the map shows; None: the most probable.

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
        scores[truth == (values.argmax(axis=1) if decided is None else decided)] = 0.0
        if per_class:
            fitted = _fit_each_class(scores, truth, values.shape[1], coverage, blocks, rare, aim)
        else:
            fitted = (_fit_one(scores, coverage, blocks, aim),)
        return cls(
            method=method,
            coverage=float(coverage),
            thresholds=tuple(limit.value for limit in fitted),
            n_classes=values.shape[1],
            n_samples=len(truth),
            n_groups=None if blocks is None else len(np.unique(blocks)),
            promised=min(limit.promised for limit in fitted),
        )

    def sets(
        self, probabilities: NDArray[np.floating], decided: NDArray[np.integer] | None = None
    ) -> NDArray[np.bool_]:
        """Return which classes are in the set, bool `[N, K, ...]`.

        Args:
            probabilities: `[N, K, ...]`.
            decided: `[N, ...]` class index that the map shows; None: the most probable.

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
        shown = values.argmax(axis=1) if decided is None else np.asarray(decided)
        np.put_along_axis(inside, np.expand_dims(shown, 1), True, axis=1)
        return np.asarray(inside)

    def encode(
        self, probabilities: NDArray[np.floating], decided: NDArray[np.integer] | None = None
    ) -> NDArray[np.uint32]:
        """Return `sets` as bit masks, uint32 `[N, ...]`; bit i is class channel i, and 0 never occurs."""
        inside = self.sets(probabilities, decided)
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
            "promised": self.promised,
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
                promised=None if config.get("promised") is None else float(config["promised"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError("The model's conformal sets are damaged; get the model again from its source.") from error
        sizes = (1, rebuilt.n_classes)
        if rebuilt.method not in METHODS or len(thresholds) not in sizes or any(map(math.isnan, thresholds)):
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
    if method not in METHODS:
        raise ConfigurationError(f"Conformal sets know the methods {', '.join(METHODS)}, but not {method!r}.")
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
    """Return the score of every class `[N, K, ...]`, that of the most probable one without its exception."""
    if method == "lac":
        return 1.0 - values
    scores = np.empty_like(values)
    share = _fixed_fraction(values) if method == "aps-randomised" else 0.0
    for channel in range(values.shape[1]):
        own = values[:, channel : channel + 1]
        above = np.where(values > own, values, 0.0).sum(axis=1)
        scores[:, channel] = above + share * own[:, 0]
    return scores


def _fixed_fraction(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a number in [0, 1) for each element, spread evenly and fixed by its probabilities `[N, K, ...]`."""
    steps = np.modf(np.arange(1, values.shape[1] + 1) * 0.6180339887498949)[0]
    rounded = np.rint(1000.0 * values) * steps.reshape((1, -1) + (1,) * (values.ndim - 2))
    return np.asarray(np.modf(rounded.sum(axis=1))[0])


def _fit_one(scores: NDArray[np.float64], coverage: float, groups: NDArray[np.generic] | None, aim: Aim) -> Threshold:
    """Return the threshold for all classes; refuse where there are too few units."""
    limit = fit_threshold(scores, coverage, groups, aim)
    if math.isinf(limit.value):
        raise ConfigurationError(too_few(limit.n_units, "pixels" if groups is None else "blocks", coverage))
    return limit


def _fit_each_class(
    scores: NDArray[np.float64],
    target: NDArray[np.integer],
    n_classes: int,
    coverage: float,
    groups: NDArray[np.generic] | None,
    rare: str,
    aim: Aim,
) -> tuple[Threshold, ...]:
    """Return one threshold a class; refuse, or include in every set, classes with too few units."""
    units = "pixels" if groups is None else "blocks"
    limits, short = [], []
    for channel in range(n_classes):
        own = target == channel
        blocks = None if groups is None else groups[own]
        limits.append(fit_threshold(scores[own], coverage, blocks, aim))
        if math.isinf(limits[-1].value):
            short.append((channel, limits[-1].n_units))
    if short and rare == "refuse":
        channel, count = min(short, key=lambda item: item[1])
        raise LabelError(
            f"Class channel {channel} has {count} calibration {units}, too few for a coverage of {coverage:g} in every "
            f"class; ask for at most {math.floor(1000 * best_coverage(count)) / 1000:g}, label more places, or use one "
            "threshold for all classes."
        )
    return tuple(limits)
