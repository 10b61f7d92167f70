"""Tree ensembles as plain arrays, validated so that no array from a stranger can harm.

Every tree is stored in preorder: the left child of node i is node i + 1, and only the right child's
index is stored. A walk therefore only ever moves forward, so three comparisons a node
(`i + 1 < end`, `i + 1 < right`, `right < end`) prove that no walk loops or leaves its tree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ModelError
from ecumene.models.arrays import require_names

LEAF = -1


@dataclass(frozen=True)
class TreeEnsemble:
    """Trees whose leaves add their values to the output.

    Output column `columns[t] + v` of a row is the sum over trees t of `values[leaf, v]`, plus `bias`.

    Attributes:
        feature: int32 `[nodes]`, feature that the node compares, -1 at a leaf.
        threshold: float32 `[nodes]`; a row goes left where its value is <= the threshold.
        right: int32 `[nodes]`, index of the right child; at a leaf the row of `values`.
        missing_left: uint8 `[nodes]`, 1 where a row without a value for the feature (NaN) goes left.
        offsets: int64 `[trees + 1]`, first node of each tree.
        values: float32 `[leaves, width]`, what a leaf adds.
        columns: int32 `[trees]`, first output column of each tree.
        bias: float32 `[n_columns]`, where each output column starts.
        n_features: Features of a row.
    """

    feature: NDArray[np.int32]
    threshold: NDArray[np.float32]
    right: NDArray[np.int32]
    missing_left: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    values: NDArray[np.float32]
    columns: NDArray[np.int32]
    bias: NDArray[np.float32]
    n_features: int

    @property
    def n_trees(self) -> int:
        """Number of trees."""
        return len(self.columns)

    @property
    def n_columns(self) -> int:
        """Number of output columns."""
        return len(self.bias)

    def to_arrays(self) -> dict[str, NDArray]:
        """Return the arrays for `forest.safetensors`."""
        names = ("feature", "threshold", "right", "missing_left", "offsets", "values", "columns", "bias")
        return {name: getattr(self, name) for name in names} | {"n_features": np.array([self.n_features], np.int32)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray], what: str = "forest.safetensors") -> TreeEnsemble:
        """Rebuild from `to_arrays`, validated.

        Raises:
            ModelError: If names, types, shapes or indices are wrong.
        """
        require_names(arrays, _TYPES, what)
        for name, (dtype, ndim) in _TYPES.items():
            if arrays[name].dtype != np.dtype(dtype) or arrays[name].ndim != ndim:
                raise ModelError(f"{what} holds {name!r} as {arrays[name].dtype} with {arrays[name].ndim} axes.")
        if arrays["n_features"].shape != (1,):
            raise ModelError(f"{what} does not say how many features a row has.")
        parts = {name: arrays[name] for name in _TYPES if name != "n_features"}
        trees = cls(n_features=int(arrays["n_features"][0]), **parts)
        trees.validate(what)
        return trees

    def validate(self, what: str = "The forest") -> None:
        """Prove that every walk through every tree ends at a leaf of that tree.

        Raises:
            ModelError: Saying which rule is broken.
        """
        nodes, starts, ends = len(self.feature), self.offsets[:-1], self.offsets[1:]
        lengths = {len(part) for part in (self.feature, self.threshold, self.right, self.missing_left)}
        if lengths != {nodes} or len(self.offsets) != self.n_trees + 1:
            raise ModelError(f"{what} is damaged: its arrays have different lengths.")
        if self.n_trees == 0 or self.offsets[0] != 0 or self.offsets[-1] != nodes or not (starts < ends).all():
            raise ModelError(f"{what} is damaged: its trees do not cover its nodes one after another.")
        internal = self.feature != LEAF
        if self.feature.min() < LEAF or self.feature.max() >= self.n_features:
            raise ModelError(f"{what} is damaged: a tree asks for a feature that the model does not have.")
        node = np.arange(nodes)
        end = np.repeat(ends, ends - starts)
        right = self.right.astype(np.int64)
        if not ((node + 1 < right) & (right < end))[internal].all():
            raise ModelError(f"{what} is damaged: a branch of a tree leads back or out of its tree.")
        leaves = right[~internal]
        if leaves.size == 0 or leaves.min() < 0 or leaves.max() >= len(self.values):
            raise ModelError(f"{what} is damaged: a leaf of a tree has no value.")
        width = self.values.shape[1]
        if width < 1 or self.columns.min() < 0 or self.columns.max() + width > self.n_columns:
            raise ModelError(f"{what} is damaged: a tree adds to an output that the model does not have.")
        if not all(np.isfinite(part).all() for part in (self.values, self.bias)) or np.isnan(self.threshold).any():
            raise ModelError(f"{what} is damaged: it holds numbers that are not finite.")


_TYPES: dict[str, tuple[str, int]] = {
    "feature": ("int32", 1),
    "threshold": ("float32", 1),
    "right": ("int32", 1),
    "missing_left": ("uint8", 1),
    "offsets": ("int64", 1),
    "values": ("float32", 2),
    "columns": ("int32", 1),
    "bias": ("float32", 1),
    "n_features": ("int32", 1),
}


def floor_float32(threshold: NDArray[np.float64]) -> NDArray[np.float32]:
    """Round double thresholds down to float32.

    For a float32 x, `x <= t` and `x <= floor32(t)` are the same, so nothing is lost.
    """
    with np.errstate(over="ignore"):
        rounded = threshold.astype(np.float32)
    above = rounded.astype(np.float64) > threshold
    rounded[above] = np.nextafter(rounded[above], np.float32(-np.inf))
    # Largest finite number instead of infinity: every finite x goes left, as it would.
    return np.clip(rounded, np.finfo(np.float32).min, np.finfo(np.float32).max).astype(np.float32)


def preorder(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the nodes of one tree in preorder, left branch first.

    Args:
        left: `[nodes]`, left child or -1 at a leaf.
        right: `[nodes]`, right child or -1 at a leaf.

    Returns:
        Old node indices in their new order; node 0 is the root.

    Raises:
        ModelError: If the children do not form one tree.
    """
    count = len(left)
    order: list[int] = []
    seen = np.zeros(count, bool)
    pending = [0]
    while pending:
        node = pending.pop()
        if not 0 <= node < count or seen[node]:
            raise ModelError("A tree of the model is damaged: its branches do not form a tree.")
        seen[node] = True
        order.append(node)
        if left[node] != -1:
            pending.extend((int(right[node]), int(left[node])))
    if len(order) != count:
        raise ModelError("A tree of the model is damaged: some of its nodes cannot be reached.")
    return np.asarray(order, np.int64)
