"""The walk through a tree ensemble, compiled.

Rows are taken in blocks that stay in the second-level cache, and every block goes through one tree
after the other, so that a tree's nodes stay there too. Eight rows walk at once and without branches:
a single walk waits for memory at every node, and the processor guesses every second turn wrongly.
A leaf leads to itself, so that a finished row may go on walking until its neighbours are done.

Threads come from Python (the kernel releases the lock): a numba thread pool must not be entered from
several threads at once, and mapping does just that.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ecumene.models.trees import LEAF, TreeEnsemble

_BLOCK = 8192
_LANES = 8
_STEPS = 4
_NODE = np.dtype([("feature", np.int32), ("threshold", np.float32), ("left", np.int32), ("right", np.int32)])


@njit(nogil=True, cache=True, boundscheck=False)
def _leaf_of(row: NDArray[np.float32], nodes: Any, missing: NDArray[np.int32], root: int) -> int:
    """Walk one row, which may have missing values (NaN), to its leaf."""
    node = root
    while nodes[node].left != node:
        value = row[nodes[node].feature]
        if np.isnan(value):
            node = missing[node]
        elif value > nodes[node].threshold:
            node = nodes[node].right
        else:
            node = nodes[node].left
    return node


@njit(nogil=True, cache=True, boundscheck=False, inline="always")
def _step(rows: NDArray[np.float32], nodes: Any, at: NDArray[np.int32], first: int) -> bool:
    """Take a few steps with all lanes; say whether any is still on its way."""
    for _ in range(_STEPS):
        for lane in range(_LANES):
            node = nodes[at[lane]]
            # Both children are read before the choice, so that it becomes a conditional move.
            left = node.left
            right = node.right
            at[lane] = right if rows[first + lane, node.feature] > node.threshold else left
    busy = False
    for lane in range(_LANES):
        busy |= nodes[at[lane]].left != at[lane]
    return busy


@njit(nogil=True, cache=True, boundscheck=False)
def _walk(
    rows: NDArray[np.float32],
    nodes: Any,
    missing: NDArray[np.int32],
    leaf_row: NDArray[np.int32],
    offsets: NDArray[np.int64],
    values: NDArray[np.float32],
    columns: NDArray[np.int32],
    out: NDArray[np.float64],
    complete: bool,
) -> None:
    """Add every tree's leaf values of `rows` `[N, F]` to `out` `[N, n_columns]`; `complete`: no row has NaN."""
    width = values.shape[1]
    at = np.empty(_LANES, np.int32)
    for start in range(0, rows.shape[0], _BLOCK):
        stop = min(start + _BLOCK, rows.shape[0])
        for tree in range(columns.shape[0]):
            root = offsets[tree]
            column = columns[tree]
            for first in range(start, stop, _LANES):
                lanes = min(_LANES, stop - first)
                if complete and lanes == _LANES:
                    at[:] = root
                    while _step(rows, nodes, at, first):
                        pass
                else:
                    for lane in range(lanes):
                        at[lane] = _leaf_of(rows[first + lane], nodes, missing, root)
                for lane in range(lanes):
                    leaf = leaf_row[at[lane]]
                    for entry in range(width):
                        out[first + lane, column + entry] += values[leaf, entry]


class TreeWalker:
    """Evaluates a validated ensemble on rows of features."""

    def __init__(self, trees: TreeEnsemble, threads: int = 1) -> None:
        self.trees = trees
        self.threads = max(1, threads)
        leaf = trees.feature == LEAF
        node = np.arange(len(leaf), dtype=np.int32)
        self._nodes = np.empty(len(leaf), _NODE)
        self._nodes["feature"] = np.where(leaf, 0, trees.feature)
        self._nodes["threshold"] = trees.threshold
        self._nodes["left"] = np.where(leaf, node, node + 1)
        self._nodes["right"] = np.where(leaf, node, trees.right)
        self._missing = np.where(trees.missing_left == 1, self._nodes["left"], self._nodes["right"]).astype(np.int32)
        self._leaf_row = np.where(leaf, trees.right, 0).astype(np.int32)

    def __call__(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the ensemble's output.

        Args:
            rows: float32 `[N, F]`; NaN is a missing value.

        Returns:
            float64 `[N, n_columns]`; a row's result does not depend on the other rows.
        """
        if rows.ndim != 2 or rows.shape[1] != self.trees.n_features:
            raise ValueError(f"rows must have {self.trees.n_features} features, they have shape {rows.shape}")
        rows = np.ascontiguousarray(rows, np.float32)
        out = np.tile(self.trees.bias.astype(np.float64), (len(rows), 1))
        # Several pieces a thread, so that one slow core does not hold up the rest.
        pieces = -(-len(rows) // (4 * self.threads * _BLOCK)) * _BLOCK
        if self.threads == 1 or len(rows) <= pieces:
            self._run(rows, out)
        else:
            with ThreadPoolExecutor(self.threads) as pool:
                starts = range(0, len(rows), pieces)
                list(
                    pool.map(lambda start: self._run(rows[start : start + pieces], out[start : start + pieces]), starts)
                )
        return out

    def _run(self, rows: NDArray[np.float32], out: NDArray[np.float64]) -> None:
        trees = self.trees
        complete = not np.isnan(rows).any()
        _walk(
            rows, self._nodes, self._missing, self._leaf_row, trees.offsets, trees.values, trees.columns, out, complete
        )
