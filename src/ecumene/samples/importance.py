"""Which of several drawn windows is taken: one with more pixels of a rare class more often."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def summed(here: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the integral image `[H + 1, W + 1]` of where the rare class is `[H, W]`."""
    sums = np.zeros((here.shape[0] + 1, here.shape[1] + 1), np.int64)
    sums[1:, 1:] = here.cumsum(axis=0).cumsum(axis=1)
    return sums


def draw_window(
    sums: NDArray[np.int64], size: tuple[int, int], candidates: int, offset: float, rng: np.random.Generator
) -> tuple[int, int]:
    """Return row and column where the taken window begins.

    Of `candidates` evenly drawn windows one is taken with a probability proportional to its rare pixels plus `offset`
    (importance crops: Hafner et al. 2022 and 2023, with 20 and 5; one candidate draws evenly).

    Args:
        sums: Of `summed`.
        size: Rows and columns of a window; a larger one begins at 0.
        candidates: Windows to choose from.
        offset: Positive.
        rng: Of the draw.
    """
    rows, cols = sums.shape[0] - 1, sums.shape[1] - 1
    top = rng.integers(0, max(1, rows - size[0] + 1), candidates)
    left = rng.integers(0, max(1, cols - size[1] + 1), candidates)
    bottom, right = np.minimum(top + size[0], rows), np.minimum(left + size[1], cols)
    weight = (sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]) + offset
    chosen = int(rng.choice(candidates, p=weight / weight.sum()))
    return int(top[chosen]), int(left[chosen])
