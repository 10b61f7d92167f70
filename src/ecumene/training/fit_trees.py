"""Trains random forests and boosted trees; returns arrays or text, never pickles."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.core.optional import require
from ecumene.models.forest import ensemble_from_sklearn
from ecumene.models.tree_kernel import TreeWalker
from ecumene.models.trees import TreeEnsemble

ClassWeight = Literal["none", "balanced"]
LOG_CHI_SQUARE_MEAN = -1.2703628454614782
"""E[ln z^2] of a standard normal z: -(Euler's constant + ln 2)."""


def _checked(x: ArrayLike, y: ArrayLike, n_classes: int | None) -> tuple[NDArray[np.float32], NDArray[Any]]:
    features = np.ascontiguousarray(x, np.float32)
    target = np.asarray(y)
    if features.ndim != 2 or target.shape != (len(features),):
        raise ValueError(f"x must be [N, F] and y [N], they are {features.shape} and {target.shape}")
    if len(features) == 0:
        raise LabelError("There is no labelled pixel to train trees on; give more labels.")
    if np.isinf(features).any():
        raise LabelError("The training pixels hold infinite values; check scale and nodata of the scenes.")
    if n_classes is None:
        if not np.isfinite(target).all():
            raise LabelError("The training targets hold values that are not finite; leave those pixels out.")
        return features, target.astype(np.float64)
    if target.dtype.kind not in "iu" or target.min() < 0 or target.max() >= n_classes:
        raise ValueError(f"y must be class indices 0..{n_classes - 1}")
    return features, target.astype(np.int64)


def fit_forest(
    x: ArrayLike,
    y: ArrayLike,
    *,
    n_classes: int | None = None,
    n_trees: int = 200,
    seed: int = 0,
    class_weight: ClassWeight = "none",
    max_depth: int | None = None,
    min_samples_leaf: int | None = None,
    max_features: str | float | None = None,
    n_jobs: int = -1,
    sample_weight: ArrayLike | None = None,
) -> dict[str, NDArray[Any]]:
    """Train a random forest (Breiman 2001).

    Args:
        x: float32 `[N, F]`, physical units; NaN is a missing value.
        y: `[N]`: class indices 0..n_classes-1, or numbers.
        n_classes: Classes of the legend, more than there are in `y` allowed; None: regression.
        n_trees: Trees.
        seed: The same seed gives the same forest, whatever `n_jobs`.
        class_weight: `balanced` weighs classes by their inverse frequency in each tree's bootstrap sample.
        max_depth: Of a tree; None: grown until pure.
        min_samples_leaf: None: 1 for classes, 5 for numbers (so that leaves have a variance).
        max_features: Features tried at a split; None: square root for classes, a third for numbers.
        n_jobs: Processes; -1: all cores.
        sample_weight: `[N]`, 0 or more: how much each pixel counts (`restoration.weights` for filled pixels).

    Returns:
        Arrays of `models.trees.TreeEnsemble.to_arrays`: class probabilities, or mean and second moment.

    Raises:
        LabelError: If there are no usable training pixels.
    """
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    features, target = _checked(x, y, n_classes)
    common: dict[str, Any] = {
        "n_estimators": n_trees,
        "max_depth": max_depth,
        "random_state": seed,
        "n_jobs": n_jobs,
        "min_samples_leaf": min_samples_leaf or (5 if n_classes is None else 1),
    }
    if n_classes is None:
        forest = RandomForestRegressor(max_features=1 / 3 if max_features is None else max_features, **common)
    else:
        forest = RandomForestClassifier(
            max_features="sqrt" if max_features is None else max_features,
            class_weight="balanced_subsample" if class_weight == "balanced" else None,
            **common,
        )
    forest.fit(features, target, _weights(sample_weight, len(target)))
    return ensemble_from_sklearn(forest, n_classes).to_arrays()


def best_forest(
    x: ArrayLike,
    y: ArrayLike,
    validation: tuple[NDArray[np.float32], NDArray[np.int64]],
    n_classes: int,
    seed: int,
    *,
    runs: int,
    **options: Any,
) -> tuple[dict[str, NDArray[Any]], list[float]]:
    """Grow several forests and keep the one of the best overall accuracy on rows that none of them has learned from.

    That accuracy is optimistic, as the best of several is; measure the forest on others.

    Args:
        x: See `fit_forest`.
        y: Class indices `[N]`.
        validation: Rows and classes that choose.
        n_classes: Classes of the legend.
        seed: Of the first forest; the others' follow.
        runs: How many are grown.
        **options: Of `fit_forest`.

    Returns:
        Arrays of the forest, and the accuracy of each; the first of equally good ones is kept.

    Raises:
        ConfigurationError: If there is no run.
        LabelError: If there are no usable training or validation pixels.
    """
    rows, truth = _checked(*validation, n_classes)
    if runs < 1:
        raise ConfigurationError(f"One forest at least has to be grown, not {runs}.")
    kept: dict[str, NDArray[Any]] = {}
    found: list[float] = []
    for run in range(runs):
        arrays = fit_forest(x, y, n_classes=n_classes, seed=seed + run, **options)
        votes = TreeWalker(TreeEnsemble.from_arrays(arrays), 1)(rows)
        right = float((votes.argmax(axis=1) == truth).mean())
        if not found or right > max(found):
            kept = arrays
        found.append(right)
    return kept, found


def fit_boosting(
    x: ArrayLike,
    y: ArrayLike,
    *,
    n_classes: int | None = None,
    n_trees: int = 200,
    seed: int = 0,
    class_weight: ClassWeight = "none",
    learning_rate: float = 0.1,
    num_leaves: int = 31,
    min_samples_leaf: int = 20,
    n_jobs: int = -1,
    sample_weight: ArrayLike | None = None,
) -> str:
    """Train gradient-boosted trees with LightGBM (Ke et al. 2017).

    A regression gets two models: one of the mean, and one of the logarithm of the variance, trained on
    squared residuals of a five-fold cross-validation (residuals of the training itself are too small).

    Args:
        x: float32 `[N, F]`, physical units; NaN is a missing value.
        y: `[N]`: class indices 0..n_classes-1, or numbers.
        n_classes: Classes of the legend, more than there are in `y` allowed; None: regression.
        n_trees: Boosting rounds (each one tree a class).
        seed: Of everything random.
        class_weight: `balanced` weighs pixels by the inverse frequency of their class.
        learning_rate: Shrinkage.
        num_leaves: Leaves of a tree.
        min_samples_leaf: Training pixels of a leaf; lowered for small training sets.
        n_jobs: Threads; -1: all cores.
        sample_weight: As for `fit_forest`; for classes.

    Returns:
        LightGBM's model text (two texts after each other for a regression).

    Raises:
        LabelError: If there are no usable training pixels.
        MissingDependencyError: If LightGBM is not installed.
    """
    features, target = _checked(x, y, n_classes)
    parameters: dict[str, Any] = {
        "learning_rate": learning_rate,
        "num_leaves": num_leaves,
        # A leaf must not need more pixels than a small class has.
        "min_data_in_leaf": max(1, min(min_samples_leaf, len(target) // (20 * max(1, n_classes or 1)))),
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 0 if n_jobs < 0 else n_jobs,
        "verbose": -1,
    }
    if n_classes is None:
        return _fit_regression(features, target, parameters, n_trees, seed)
    weight = _weights(sample_weight, len(target))
    if class_weight == "balanced":
        counts = np.bincount(target, minlength=n_classes)
        balance = (len(target) / (np.count_nonzero(counts) * np.maximum(counts, 1)))[target]
        weight = balance if weight is None else balance * weight
    parameters |= {"objective": "multiclass", "num_class": n_classes}
    return _train(features, target, parameters, n_trees, weight)


def _weights(given: ArrayLike | None, number: int) -> NDArray[np.float64] | None:
    """Return checked weights of the pixels, or None."""
    if given is None:
        return None
    weight = np.asarray(given, np.float64)
    if weight.shape != (number,) or not np.isfinite(weight).all() or weight.min() < 0.0 or not weight.any():
        raise ConfigurationError("Weights of training pixels must be one number each, 0 or more, not all 0.")
    return weight


def _train(
    x: NDArray[np.float32], y: NDArray[Any], parameters: dict[str, Any], n_trees: int, weight: Any = None
) -> str:
    lightgbm = require("lightgbm")
    data = lightgbm.Dataset(x, y, weight=weight, params={"verbose": -1}, free_raw_data=True)
    text: str = lightgbm.train(parameters, data, n_trees).model_to_string()
    return _without_parameters(text)


def _without_parameters(text: str) -> str:
    """Drop what follows the trees (importances, parameters): the model does not need it."""
    head, end, _ = text.partition("end of trees")
    return head + end + "\n"


def _fit_regression(
    x: NDArray[np.float32], y: NDArray[Any], parameters: dict[str, Any], n_trees: int, seed: int
) -> str:
    from ecumene.models.boosting import ensemble_from_text
    from ecumene.models.tree_kernel import TreeWalker

    parameters = parameters | {"objective": "regression"}
    folds = np.random.default_rng(seed).permutation(len(y)) % min(5, len(y))
    residual = np.zeros(len(y))
    for fold in np.unique(folds):
        inside, outside = folds != fold, folds == fold
        if not inside.any():
            continue
        text = _train(x[inside], y[inside], parameters, n_trees)
        residual[outside] = y[outside] - TreeWalker(ensemble_from_text(text, 1))(x[outside])[:, 0]
    spread = max(float(np.var(y)), 1e-12)
    log_square = np.log(residual**2 + 1e-4 * spread) - LOG_CHI_SQUARE_MEAN
    mean = _train(x, y, parameters, n_trees)
    variance = _train(x, log_square, parameters | {"num_leaves": 7}, max(10, n_trees // 4))
    return mean + variance
