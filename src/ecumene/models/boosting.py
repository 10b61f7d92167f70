"""LightGBM models from their own text format, read by us and validated; the library is not needed.

The text is the library's documented, code-free format (`Booster.model_to_string`). Its fields are
turned into a `TreeEnsemble`, whose validation rules out that a hostile text reads outside of its trees.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ModelError
from ecumene.models.trees import LEAF, TreeEnsemble, floor_float32, preorder

_CATEGORICAL, _DEFAULT_LEFT = 1, 2
_MISSING_NONE, _MISSING_ZERO = 0, 1
MAX_TREES = 100_000


@dataclass(frozen=True)
class _Tree:
    feature: NDArray[np.int32]
    threshold: NDArray[np.float32]
    right: NDArray[np.int64]  # tree-relative node; at a leaf the leaf's number in preorder
    missing_left: NDArray[np.uint8]
    values: NDArray[np.float64]


def ensemble_from_text(text: str, n_columns: int) -> TreeEnsemble:
    """Read LightGBM text.

    Several models may follow one another (mean and log-variance of a regression): their outputs are
    put side by side.

    Args:
        text: One or more results of `Booster.model_to_string`.
        n_columns: Output columns that the models must have together.

    Returns:
        The ensemble; its output is the raw score (before softmax).

    Raises:
        ModelError: If it is not such text, uses what is not supported, or is damaged.
    """
    trees: list[_Tree] = []
    columns: list[int] = []
    n_features, base = 0, 0
    for block in _split_models(text):
        header, sections = _sections(block)
        width = _integer(header, "num_tree_per_iteration")
        features = _integer(header, "max_feature_idx") + 1
        if n_features not in (0, features) or not 1 <= width <= 65_535:
            raise ModelError("booster.txt is damaged: its models do not fit together.")
        if "average_output" in header:
            raise ModelError("booster.txt averages its trees, which is not supported; train with boosting 'gbdt'.")
        n_features = features
        for number, fields in enumerate(sections):
            trees.append(_read_tree(fields))
            columns.append(base + number % width)
        base += width
    if base != n_columns:
        raise ModelError(f"booster.txt has {base} outputs, but the model's objective needs {n_columns}.")
    return _assemble(trees, columns, n_features, n_columns)


def _split_models(text: str) -> list[str]:
    if "\0" in text or not text.startswith("tree\n"):
        raise ModelError("booster.txt is not a LightGBM model text; get the model again from its source.")
    return ["tree\n" + part for part in text[len("tree\n") :].split("\ntree\n")]


def _sections(block: str) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Split one model into its header's fields and every tree's fields."""
    body, end, _ = block.partition("\nend of trees")
    if not end:
        raise ModelError("booster.txt is cut off; get the model again from its source.")
    parts = body.split("\nTree=")
    if not 2 <= len(parts) <= MAX_TREES:
        raise ModelError("booster.txt has no trees, or too many.")
    read = [dict(line.partition("=")[::2] for line in part.splitlines()) for part in parts]
    return read[0], read[1:]


def _integer(fields: Mapping[str, str], name: str) -> int:
    try:
        return int(fields[name])
    except (KeyError, ValueError) as error:
        raise ModelError(f"booster.txt is damaged: it does not give {name}.") from error


def _numbers(fields: Mapping[str, str], name: str, count: int, dtype: str) -> NDArray:
    """Read a field of `count` numbers."""
    try:
        numbers = np.array(fields[name].split(), dtype=dtype)
    except (KeyError, ValueError, OverflowError) as error:
        raise ModelError(f"booster.txt is damaged: {name} of a tree cannot be read.") from error
    if len(numbers) != count:
        raise ModelError(f"booster.txt is damaged: {name} of a tree has {len(numbers)} entries instead of {count}.")
    return numbers


def _read_tree(fields: Mapping[str, str]) -> _Tree:
    """Read one tree: internal nodes 0..n-2, children < 0 mean leaf ~child."""
    leaves = _integer(fields, "num_leaves")
    if leaves < 1 or fields.get("num_cat", "0") != "0" or fields.get("is_linear", "0") != "0":
        raise ModelError("booster.txt has categorical splits or linear leaves, which are not supported.")
    values = _numbers(fields, "leaf_value", leaves, "float64")
    if leaves == 1:
        return _Tree(
            np.array([LEAF], np.int32), np.zeros(1, np.float32), np.zeros(1, np.int64), np.zeros(1, np.uint8), values
        )
    inner = leaves - 1
    feature = _numbers(fields, "split_feature", inner, "int32")
    threshold = _numbers(fields, "threshold", inner, "float64")
    decision = _numbers(fields, "decision_type", inner, "int32")
    children = [_numbers(fields, name, inner, "int64") for name in ("left_child", "right_child")]
    missing_kind = (decision >> 2) & 3
    if (decision & _CATEGORICAL).any() or (missing_kind == _MISSING_ZERO).any():
        raise ModelError("booster.txt has categorical splits or takes zero as missing, which is not supported.")
    # Leaves are numbered behind the inner nodes to get one numbering of all nodes.
    left, right = (
        np.concatenate([np.where(child < 0, inner + ~child, child), np.full(leaves, -1)]) for child in children
    )
    if (left[:inner] < 0).any() or (right[:inner] < 0).any():
        raise ModelError("booster.txt is damaged: a tree has a node without children.")
    order = preorder(left, right)
    position = np.empty(len(order), np.int64)
    position[order] = np.arange(len(order))
    is_leaf = order >= inner
    # Without training gaps the library reads NaN as zero.
    to_left = np.where(missing_kind == _MISSING_NONE, threshold >= 0, (decision & _DEFAULT_LEFT) != 0)
    inner_of = np.where(is_leaf, 0, order)
    new_right = position[right[inner_of]]
    new_right[is_leaf] = np.arange(leaves)
    return _Tree(
        feature=np.where(is_leaf, LEAF, feature[inner_of]).astype(np.int32),
        threshold=floor_float32(np.where(is_leaf, 0.0, threshold[inner_of])),
        right=new_right,
        missing_left=np.where(is_leaf, 0, to_left[inner_of]).astype(np.uint8),
        values=values[order[is_leaf] - inner],
    )


def _assemble(trees: list[_Tree], columns: list[int], n_features: int, n_columns: int) -> TreeEnsemble:
    sizes = np.array([len(tree.feature) for tree in trees])
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    leaf_base = np.concatenate([[0], np.cumsum([len(tree.values) for tree in trees])])
    right = [
        np.where(tree.feature == LEAF, tree.right + leaf_base[number], tree.right + offsets[number])
        for number, tree in enumerate(trees)
    ]
    ensemble = TreeEnsemble(
        feature=np.concatenate([tree.feature for tree in trees]),
        threshold=np.concatenate([tree.threshold for tree in trees]),
        right=np.concatenate(right).astype(np.int32),
        missing_left=np.concatenate([tree.missing_left for tree in trees]),
        offsets=offsets,
        values=np.concatenate([tree.values for tree in trees])[:, None].astype(np.float32),
        columns=np.asarray(columns, np.int32),
        bias=np.zeros(n_columns, np.float32),
        n_features=n_features,
    )
    ensemble.validate("booster.txt")
    return ensemble
