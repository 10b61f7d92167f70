"""How often sets or intervals hold the truth, with blocks as the units."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class BlockCoverage:
    """Coverage on elements that nothing was fitted on.

    Attributes:
        coverage: Share of all elements whose set or interval holds the truth.
        block_coverage: Mean over blocks of that share, every block with the same weight.
        block_error: Standard error of that mean over blocks; None with one block.
        worst_block: Smallest share of a block; None where no block is large enough to have one.
    """

    coverage: float
    block_coverage: float
    block_error: float | None
    worst_block: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        return {
            "coverage": self.coverage,
            "coverage_mean_of_blocks": self.block_coverage,
            "coverage_standard_error_over_blocks": self.block_error,
            "coverage_worst_block": self.worst_block,
        }


def block_shares(held: NDArray[np.bool_], groups: NDArray[np.generic]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return (share of the elements of each block that are held, elements of each block).

    Args:
        held: `[N]`.
        groups: `[N]` block of each element.
    """
    _, block = np.unique(groups, return_inverse=True)
    counts = np.bincount(block)
    return np.bincount(block, weights=held) / counts, counts


def error_over_blocks(shares: NDArray[np.float64]) -> float | None:
    """Return the standard error of the mean of blocks; None with one block."""
    return float(shares.std(ddof=1)) / math.sqrt(len(shares)) if len(shares) > 1 else None
