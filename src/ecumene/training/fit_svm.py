"""Trains a support vector machine with a Gaussian kernel; returns arrays, never pickles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.models.svm import machine_from_sklearn

LIMIT = 10_000
"""Most rows of the last fit, if a system says nothing else."""
_SCALES = (-2.5, 3.5)  # natural logarithms of the logit of one vote


def fit_svm(
    x: ArrayLike,
    y: ArrayLike,
    *,
    n_classes: int,
    seed: int = 0,
    cost: Sequence[float] = (1.0, 10.0, 100.0, 1000.0),
    gamma: Sequence[float] = (0.1, 0.3, 1.0, 3.0),
    folds: int = 5,
    class_weight: Literal["none", "balanced"] = "none",
    search_limit: int = 2_000,
    limit: int = LIMIT,
) -> dict[str, NDArray[Any]]:
    """Train one machine for each pair of classes (Cortes and Vapnik 1995), with a grid search by cross-validation.

    Rows are standardised by the mean and standard deviation of all training rows. Of equally accurate settings the
    first of the grid is taken, that is the smoothest. The machine's votes become logits by one factor, which is fitted
    to the left-out rows of the same cross-validation; it changes no class.

    Args:
        x: float32 `[N, F]`, physical units; missing values (NaN) count as the mean of their column.
        y: `[N]`, class indices 0..n_classes-1.
        n_classes: Classes of the legend, more than there are in `y` allowed.
        seed: Of folds and draws.
        cost: Values of C to try.
        gamma: Values of the kernel's gamma to try, in units of 1 / F.
        folds: Of the cross-validation.
        class_weight: `balanced` weighs rows by the inverse frequency of their class.
        search_limit: Most rows of the grid search, drawn evenly from the classes.
        limit: Most rows of the last fit, drawn in the same way: its time grows with their square or faster.

    Returns:
        Arrays of `models.svm.SupportVectorMachine.to_arrays`.

    Raises:
        LabelError: If there are fewer than two classes, or a column has no value.
        ConfigurationError: If an option is out of range.
    """
    if folds < 2 or not cost or not gamma or min(*cost, *gamma) <= 0 or min(search_limit, limit) < 2:
        raise ConfigurationError("A support vector machine needs two folds, two rows, and positive cost and gamma.")
    rows, target = np.asarray(x, np.float32), np.asarray(y, np.int64)
    if len(np.unique(target)) < 2:
        raise LabelError("A support vector machine needs labelled pixels of at least two classes.")
    missing = ~np.isfinite(rows)
    if missing.all(axis=0).any():
        raise LabelError("A band or date has no value in any training pixel; leave it out.")
    mean = np.asarray(np.mean(rows, axis=0, dtype=np.float64, where=~missing))
    std = np.asarray(np.std(rows, axis=0, dtype=np.float64, where=~missing))
    rows = np.where(missing, mean, rows)
    std = np.where(std > 1e-12 * np.maximum(1.0, np.abs(mean)), std, 1.0)
    rng = np.random.default_rng(seed)
    chosen = draw_evenly(target, limit, rng)
    scaled, target = ((rows[chosen] - mean) / std), target[chosen]
    searched = draw_evenly(target, search_limit, rng)
    fold = _folds(target[searched], folds, rng)
    best = _search(scaled[searched], target[searched], fold, cost, gamma, class_weight)
    scale = _fit_scale(scaled[searched], target[searched], fold, *best, class_weight)
    fitted = _machine(*best, scaled.shape[1], class_weight).fit(scaled, target)
    return machine_from_sklearn(fitted, mean, std, scale, n_classes).to_arrays()


def _machine(cost: float, gamma: float, features: int, class_weight: str) -> Any:
    from sklearn.svm import SVC

    weight = "balanced" if class_weight == "balanced" else None
    return SVC(C=cost, gamma=gamma / features, class_weight=weight, cache_size=500)


def draw_evenly(target: NDArray[np.int64], limit: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return at most `limit` row numbers in ascending order, as evenly from the classes as they allow."""
    if len(target) <= limit:
        return np.arange(len(target))
    order = rng.permutation(len(target))
    rank = _rank(target[order])
    # The first of every class come first.
    return np.sort(order[np.argsort(rank, kind="stable")[:limit]])


def _rank(target: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many earlier rows have the same class."""
    rank = np.empty(len(target), np.int64)
    for label in np.unique(target):
        here = np.flatnonzero(target == label)
        rank[here] = np.arange(len(here))
    return rank


def _folds(target: NDArray[np.int64], folds: int, rng: np.random.Generator) -> NDArray[np.int64]:
    order = rng.permutation(len(target))
    fold = np.empty(len(target), np.int64)
    fold[order] = _rank(target[order]) % folds
    return fold


def _splits(target: NDArray[np.int64], fold: NDArray[np.int64]) -> Iterator[tuple[Any, Any]]:
    """Yield (learned, left out) masks of the folds that leave two classes to learn from."""
    for number in range(int(fold.max()) + 1):
        out = fold == number
        if out.any() and len(np.unique(target[~out])) > 1:
            yield ~out, out


def _search(
    rows: NDArray[np.float64],
    target: NDArray[np.int64],
    fold: NDArray[np.int64],
    cost: Sequence[float],
    gamma: Sequence[float],
    class_weight: str,
) -> tuple[float, float]:
    grid = list(product(sorted(gamma), sorted(cost)))
    splits = list(_splits(target, fold))
    if len(grid) == 1 or not splits:
        return grid[0][1], grid[0][0]

    def right(cost: float, gamma: float) -> int:
        machine = _machine(cost, gamma, rows.shape[1], class_weight)
        return sum(int((machine.fit(rows[a], target[a]).predict(rows[b]) == target[b]).sum()) for a, b in splits)

    g, c = grid[int(np.argmax([right(c, g) for g, c in grid]))]
    return c, g


def _fit_scale(
    rows: NDArray[np.float64],
    target: NDArray[np.int64],
    fold: NDArray[np.int64],
    cost: float,
    gamma: float,
    class_weight: str,
) -> float:
    """Return the logit of one vote under which the left-out rows are most likely; 1 where nothing can be left out."""
    scores, truth = [], []
    n_classes = int(target.max()) + 1
    identity = np.zeros(rows.shape[1]), np.ones(rows.shape[1])
    for learned, out in _splits(target, fold):
        fitted = _machine(cost, gamma, rows.shape[1], class_weight).fit(rows[learned], target[learned])
        machine = machine_from_sklearn(fitted, *identity, 1.0, n_classes)
        known = np.isin(target[out], machine.classes)
        scores.append(machine(rows[out][known].astype(np.float32))[:, machine.classes])
        truth.append(np.searchsorted(machine.classes, target[out][known]))
    if not any(len(part) for part in truth):
        return 1.0

    def loss(log_scale: float) -> float:
        factor = np.exp(log_scale)
        return sum(
            float((logsumexp(factor * part, axis=1) - factor * part[np.arange(len(own)), own]).sum())
            for part, own in zip(scores, truth, strict=True)
        )

    return float(np.exp(minimize_scalar(loss, bounds=_SCALES, method="bounded").x))
