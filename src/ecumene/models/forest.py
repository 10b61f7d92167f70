"""Random forests as validated arrays (Breiman 2001, as scikit-learn grows them)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.models.trees import LEAF, TreeEnsemble, floor_float32, preorder


def ensemble_from_sklearn(forest: Any, n_classes: int | None = None) -> TreeEnsemble:
    """Turn a fitted scikit-learn forest into arrays.

    A classifier's leaves add the class frequencies divided by the number of trees, so that the output
    is `predict_proba`; classes that the forest has not seen have probability 0. A regressor's leaves
    add mean and second moment (variance in the leaf + mean squared) of the training targets, both
    counted from a centre that is the bias of the first column, so that no digits are lost: with them the
    output gives the forest's mean and, by the law of total variance, its variance.

    Args:
        forest: `RandomForestClassifier` (or extra trees) fitted on class indices, or the regressor.
        n_classes: Classes of the legend; None: a regressor.

    Returns:
        The ensemble, with `n_classes` columns, or 2 (mean, second moment) for a regressor.
    """
    trees = [estimator.tree_ for estimator in forest.estimators_]
    feature, threshold, right, missing, values, offsets = [], [], [], [], [], [0]
    leaf_base = 0
    centre = _centre(trees) if n_classes is None else 0.0
    for tree in trees:
        order = preorder(tree.children_left.astype(np.int64), tree.children_right.astype(np.int64))
        position = np.empty(len(order), np.int64)
        position[order] = np.arange(len(order))
        leaf = tree.children_left[order] == -1
        node_right = np.where(leaf, 0, position[tree.children_right[order]] + offsets[-1])
        node_right[leaf] = leaf_base + np.arange(int(leaf.sum()))
        feature.append(np.where(leaf, LEAF, tree.feature[order]).astype(np.int32))
        threshold.append(floor_float32(np.where(leaf, 0.0, tree.threshold[order])))
        right.append(node_right.astype(np.int32))
        missing.append(tree.missing_go_to_left[order].astype(np.uint8))
        values.append(_leaf_values(tree, order[leaf], forest, n_classes, centre) / len(trees))
        offsets.append(offsets[-1] + len(order))
        leaf_base += int(leaf.sum())
    stacked = np.concatenate(values).astype(np.float32)
    bias = np.zeros(stacked.shape[1], np.float32)
    bias[0] = centre
    ensemble = TreeEnsemble(
        feature=np.concatenate(feature),
        threshold=np.concatenate(threshold),
        right=np.concatenate(right),
        missing_left=np.concatenate(missing),
        offsets=np.asarray(offsets, np.int64),
        values=stacked,
        columns=np.zeros(len(trees), np.int32),
        bias=bias,
        n_features=int(forest.n_features_in_),
    )
    ensemble.validate()
    return ensemble


def _centre(trees: list[Any]) -> float:
    """Return the mean over the trees' roots, as float32 has it."""
    return float(np.float32(np.mean([tree.value[0, 0, 0] for tree in trees])))


def _leaf_values(
    tree: Any, leaves: NDArray[np.int64], forest: Any, n_classes: int | None, centre: float
) -> NDArray[np.float64]:
    """Return what the leaves of one tree say, `[leaves, n_classes]` or `[leaves, 2]`."""
    value = tree.value[leaves, 0, :]
    if n_classes is None:
        mean = value[:, 0] - centre
        return np.stack([mean, tree.impurity[leaves] + mean**2], axis=1)
    frequencies = np.zeros((len(leaves), n_classes))
    frequencies[:, forest.classes_.astype(np.int64)] = value / value.sum(axis=1, keepdims=True)
    return frequencies
