"""The outlier detectors that are compared, each on what it usually reads, and two yardsticks on the bands alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ecumene.core.errors import ConfigurationError
from ecumene.trust.detector import OutlierDetector
from ecumene.trust.measures import auroc, fpr_at_tpr
from ecumene.trust.outlier import (
    CombinedDetector,
    EnergyDetector,
    GradNormDetector,
    MahalanobisDetector,
    MaxSoftmaxDetector,
    NeighbourDetector,
    OdinDetector,
    ReactDetector,
    TardisDetector,
    VimDetector,
)

Features = Mapping[str, np.ndarray]
"""Vectors by part: `bands`, `features`, `logits`, `hidden`, and inner layers by name; `[N, F]` each."""
FALSE_ALARMS = 0.02
DRAWN = 5000


@dataclass(frozen=True)
class Method:
    """A fitted detector and what it reads."""

    detector: Any
    parts: tuple[str, ...]

    def score(self, features: Features) -> np.ndarray:
        """Return scores `[N]`."""
        return self.detector.score(np.concatenate([features[part] for part in self.parts], axis=1))


class Plain:
    """Mean squared standardised distance: knows means and spreads only."""

    def __init__(self, known: np.ndarray) -> None:
        self.center, self.scale = known.mean(axis=0), np.maximum(known.std(axis=0), 1e-9)

    def score(self, values: np.ndarray) -> np.ndarray:
        """Return scores `[N]` of bands `[N, C]`."""
        return np.square((values - self.center) / self.scale).mean(axis=1)


def fit_methods(
    known: Features, classes: np.ndarray, weight: np.ndarray, bias: np.ndarray, seed: int
) -> dict[str, Method]:
    """Fit everything that needs training data only."""
    n_logits = len(bias)

    def read(*parts: str) -> np.ndarray:
        return np.concatenate([known[part] for part in parts], axis=1)

    fits: dict[str, Callable[[], tuple[Any, tuple[str, ...]]]] = {
        "max softmax": lambda: (MaxSoftmaxDetector.fit(read("logits")), ("logits",)),
        "energy": lambda: (EnergyDetector.fit(read("logits")), ("logits",)),
        "odin, temperature only": lambda: (OdinDetector.fit(read("logits")), ("logits",)),
        "odin": lambda: (OdinDetector.fit(read("logits")), ("perturbed",)),
        "gradnorm": lambda: (GradNormDetector.fit(read("logits", "hidden"), n_logits=n_logits), ("logits", "hidden")),
        "react": lambda: (ReactDetector.fit(read("hidden"), weight=weight, bias=bias, seed=seed), ("hidden",)),
        "vim": lambda: (
            VimDetector.fit(read("logits", "hidden"), n_logits=n_logits, weight=weight, bias=bias, seed=seed),
            ("logits", "hidden"),
        ),
        "mahalanobis, a class, hidden": lambda: (
            MahalanobisDetector.fit(read("hidden"), classes, conditional=True, seed=seed),
            ("hidden",),
        ),
        "mahalanobis, bands and features": lambda: (
            MahalanobisDetector.fit(read("bands", "features"), seed=seed),
            ("bands", "features"),
        ),
        "neighbours, hidden": lambda: (NeighbourDetector.fit(read("hidden"), seed=seed), ("hidden",)),
        "neighbours, bands and features": lambda: (
            NeighbourDetector.fit(read("bands", "features"), seed=seed),
            ("bands", "features"),
        ),
        "combined, hidden": lambda: (CombinedDetector.fit(read("hidden"), seed=seed), ("hidden",)),
        "combined": lambda: (CombinedDetector.fit(read("bands", "features"), seed=seed), ("bands", "features")),
        "yardstick: band means": lambda: (MahalanobisDetector.fit(read("bands"), seed=seed), ("bands",)),
        "yardstick: band means, no covariance": lambda: (Plain(read("bands")), ("bands",)),
    }
    return {name: Method(*fit()) for name, fit in fits.items()}


def draw(features: Features, count: int, seed: int) -> dict[str, np.ndarray]:
    """Draw elements at random, the same of every part."""
    total = len(next(iter(features.values())))
    if total <= count:
        return dict(features)
    keep = np.sort(np.random.default_rng(seed).choice(total, count, replace=False))
    return {part: values[keep] for part, values in features.items()}


def halves(features: Features, first: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Divide elements by a mask."""
    return (
        {part: values[first] for part, values in features.items()},
        {part: values[~first] for part, values in features.items()},
    )


def join(*sets: Features) -> dict[str, np.ndarray]:
    """Put sets of elements one after another."""
    return {part: np.concatenate([entry[part] for entry in sets]) for part in sets[0]}


def upper_bound(known: np.ndarray, outside: np.ndarray, seed: int) -> OutlierDetector:
    """The classifier of TARDIS with true labels instead of surrogate ones."""
    from ecumene.trust.tardis import _classify

    labels = np.arange(len(known) + len(outside)) >= len(known)
    arrays, figures = _classify(np.concatenate([known, outside]).astype(np.float64), labels, seed)
    return TardisDetector(known.shape[1], arrays, figures)


def measure(
    method: Method, inside: Features, outside: Features, calibration: Features, group: np.ndarray | None
) -> Any:
    """AUROC, FPR95 and the share flagged at the threshold of the calibration blocks."""
    usual, strange = method.score(inside), method.score(outside)
    figures = {"auroc": float(auroc(usual, strange)), "fpr95": float(fpr_at_tpr(usual, strange))}
    if isinstance(method.detector, OutlierDetector):
        try:
            fixed = method.detector.with_threshold(method.score(calibration), FALSE_ALARMS, groups=group)
        except ConfigurationError:
            return figures
        figures["flagged"] = float((strange > fixed.threshold).mean())
        figures["false_alarms"] = float((usual > fixed.threshold).mean())
    return figures
