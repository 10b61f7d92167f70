"""How well class sets keep what they aim at: on average, in every block, in every class, and at which size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.trust.block_coverage import BlockCoverage, block_shares, error_over_blocks


@dataclass(frozen=True)
class SetReport(BlockCoverage):
    """Coverage and size of class sets on elements that they were not fitted on; see `BlockCoverage`.

    Attributes:
        n_blocks: Blocks.
        class_coverage: Share within each true class; None for classes that do not occur.
        mean_size: Mean number of classes in a set.
        single_share: Share of sets with one class.
        size_of_shares: Mean size of the sets of a predictor that knows the classes' shares among these elements and
            nothing else, at the coverage that was found; sets that are not smaller are worth nothing.
    """

    n_blocks: int
    class_coverage: tuple[float | None, ...]
    mean_size: float
    single_share: float
    size_of_shares: float

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        return super().to_dict() | {
            "blocks": self.n_blocks,
            "coverage_per_class": list(self.class_coverage),
            "mean_size": self.mean_size,
            "single_class_share": self.single_share,
            "mean_size_knowing_shares_only": self.size_of_shares,
        }


def set_report(
    sets: NDArray[np.bool_], target: NDArray[np.integer], groups: NDArray[np.generic] | None = None
) -> SetReport:
    """Measure class sets.

    Args:
        sets: bool `[N, K]`.
        target: `[N]` class indices.
        groups: `[N]` spatial blocks; None: every element by itself.

    Raises:
        ConfigurationError: If there are no elements or shapes do not fit.
    """
    inside, truth = np.asarray(sets, dtype=bool), np.asarray(target)
    if inside.ndim != 2 or truth.shape != (len(inside),) or len(inside) == 0:
        raise ConfigurationError(f"Class sets [N, K] and targets [N] do not fit: {inside.shape} and {truth.shape}.")
    hit = inside[np.arange(len(truth)), truth]
    labels = np.arange(len(truth)) if groups is None else np.asarray(groups)
    by_block, _ = block_shares(hit, labels)
    number = inside.shape[1]
    classes = np.bincount(truth, minlength=number)
    hits = np.bincount(truth, weights=hit, minlength=number)
    size = inside.sum(axis=1)
    return SetReport(
        coverage=float(hit.mean()),
        block_coverage=float(by_block.mean()),
        block_error=error_over_blocks(by_block),
        worst_block=float(by_block.min()),
        n_blocks=len(by_block),
        class_coverage=tuple(float(h / c) if c else None for h, c in zip(hits, classes, strict=True)),
        mean_size=float(size.mean()),
        single_share=float((size == 1).mean()),
        size_of_shares=size_knowing_shares(classes / len(truth), float(hit.mean())),
    )


def size_knowing_shares(shares: NDArray[np.floating], coverage: float) -> float:
    """Return the mean size of the smallest sets that class shares alone give at a coverage.

    The most frequent classes are taken in turn; the last one goes into as many sets as are needed.

    Args:
        shares: `[K]` shares of the classes, with the sum 1.
        coverage: Between 0 and 1.
    """
    ordered = np.sort(np.asarray(shares, dtype=np.float64))[::-1]
    reached = np.cumsum(ordered)
    full = int(np.searchsorted(reached, coverage - 1e-12))
    before = float(reached[full - 1]) if full else 0.0
    last = (coverage - before) / float(ordered[full]) if full < len(ordered) and ordered[full] > 0 else 0.0
    return float(full + last)
