"""What a change method between two dates takes and gives: pairs of images read by blocks, results with probability."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ecumene.change.pair import ImagePair, PairBlock

__all__ = ["ChangeMethod", "ChangeResult", "FittedChange", "ImagePair", "PairBlock", "Threshold", "join_results"]


@dataclass(frozen=True)
class Threshold:
    """Where "changed" begins, and how that was found.

    Attributes:
        value: Magnitudes above it are changed.
        rule: Name of the rule, such as `kmeans`.
        details: Numbers that the rule rests on, such as the two means.
    """

    value: float
    rule: str
    details: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ChangeResult:
    """What a method says of each pixel.

    Attributes:
        magnitude: How strong the change is, in the unit of the method, float32 `[rows, cols]`; NaN where not valid.
        probability: Posterior probability that the pixel changed, 0..1, float32 `[rows, cols]`; NaN where not valid.
        changed: Magnitude above the threshold, bool `[rows, cols]`; False where not valid.
        valid: Pixels with data at both dates, bool `[rows, cols]`.
        kind: What kind of change, float32 `[len(kind_names), rows, cols]`, such as direction cosines of the bands or
            canonical variates; NaN where not valid.
        kind_names: Names of `kind`'s layers.
        threshold: The threshold and how it was found.
        loadings: Numbers of the fitted method, such as eigenvectors and canonical correlations, by name.
    """

    magnitude: NDArray[np.float32]
    probability: NDArray[np.float32]
    changed: NDArray[np.bool_]
    valid: NDArray[np.bool_]
    kind: NDArray[np.float32]
    kind_names: tuple[str, ...]
    threshold: Threshold
    loadings: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    @property
    def error(self) -> NDArray[np.float32]:
        """Probability that `changed` is wrong: the posterior of the other answer, `[rows, cols]`."""
        return np.where(self.changed, 1.0 - self.probability, self.probability).astype(np.float32)


class FittedChange(Protocol):
    """A method whose statistics of a pair are known: it answers block by block."""

    @property
    def margin(self) -> int:
        """Pixels that a block needs around its core."""

    @property
    def threshold(self) -> Threshold:
        """The threshold that was found."""

    def apply(self, block: PairBlock) -> ChangeResult:
        """Return the answer for the core of a block."""


class ChangeMethod(Protocol):
    """A way of finding change between two dates."""

    def fit(self, pair: ImagePair) -> FittedChange:
        """Learn what is needed from passes over the pair's blocks; memory does not depend on the scene's size."""


def join_results(
    shape: tuple[int, int], parts: Iterator[tuple[PairBlock, ChangeResult]] | Sequence[tuple[PairBlock, ChangeResult]]
) -> ChangeResult:
    """Put the results of a pair's blocks together.

    Args:
        shape: Rows and columns of the pair.
        parts: Blocks with their results, at least one.

    Returns:
        One result of the whole pair.
    """
    whole: dict[str, NDArray[Any]] = {}
    last: ChangeResult | None = None
    for block, part in parts:
        rows, cols = block.place
        for name in ("magnitude", "probability", "changed", "valid", "kind"):
            values = getattr(part, name)
            if name not in whole:
                whole[name] = np.empty((*values.shape[:-2], *shape), values.dtype)
            whole[name][..., rows, cols] = values
        last = part
    if last is None:
        raise ValueError("A pair has at least one block.")
    return ChangeResult(
        whole["magnitude"],
        whole["probability"],
        whole["changed"],
        whole["valid"],
        whole["kind"],
        last.kind_names,
        last.threshold,
        last.loadings,
    )
