"""How windows cover a grid: a lattice anchored at the grid's origin, one axis at a time.

Window i of an axis starts at `i * stride` and is `size` long, so neighbours share `overlap` pixels; the
last one ends as soon as it covers the border, rounded up to the network's multiple. The *cell* of a
window is what it owns: `stride` pixels, to the border for the last. The first `overlap` pixels of every
cell but the first are the *seam*, where two windows are blended.

The lattice depends only on size and overlap, so that a crop which starts at a multiple of the stride is
seen through the same windows as the whole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ecumene.core.errors import ConfigurationError

MAXIMUM_EXTRA = 1.07
"""Wanted ceiling of executed over mapped pixels."""


def round_up(value: int, multiple: int) -> int:
    """Return the smallest multiple of `multiple` that is not below `value`."""
    return -(-value // multiple) * multiple


@dataclass(frozen=True)
class Axis:
    """Windows along rows or columns.

    Attributes:
        length: Pixels of the grid.
        size: Pixels of a regular window, a multiple of `multiple`.
        overlap: Pixels that neighbours share, at most half of `size`.
        multiple: What the network's input must be a multiple of.
    """

    length: int
    size: int
    overlap: int
    multiple: int = 1

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ConfigurationError("A map needs a grid with at least one pixel.")
        if self.size < 1 or self.size % self.multiple:
            raise ConfigurationError(
                f"A window of {self.size} pixels does not fit this network; choose a multiple of {self.multiple}."
            )
        if self.overlap < 0 or 2 * self.overlap > self.size:
            raise ConfigurationError(
                f"An overlap of {self.overlap} pixels does not fit a window of {self.size}; choose at most half of it."
            )

    @property
    def stride(self) -> int:
        """Distance of window starts."""
        return self.size - self.overlap

    @property
    def count(self) -> int:
        """Number of windows."""
        return max(1, math.ceil((self.length - self.overlap) / self.stride))

    def start(self, index: int) -> int:
        """First pixel of window `index`."""
        return index * self.stride

    def cell(self, index: int) -> tuple[int, int]:
        """First pixel and end of what window `index` owns."""
        start = self.start(index)
        return start, self.length if index == self.count - 1 else start + self.stride

    def stop(self, index: int) -> int:
        """End of the pixels inside the grid that window `index` sees."""
        return min(self.start(index) + self.size, self.length)

    def extent(self, index: int) -> int:
        """Pixels of window `index` as executed, padding included."""
        return min(self.size, round_up(self.length - self.start(index), self.multiple))

    def seam(self, index: int) -> int:
        """Pixels at the beginning of cell `index` that are blended with the window before."""
        return self.overlap if index > 0 else 0

    def overhang(self, index: int) -> int:
        """Pixels after cell `index` that window `index` shares with the next."""
        return self.overlap if index < self.count - 1 else 0

    @property
    def executed(self) -> int:
        """Sum of the extents of all windows."""
        return (self.count - 1) * self.size + self.extent(self.count - 1)


def choose_size(length: int, overlap: int, multiple: int, target: int) -> int:
    """Choose the smallest window size of one axis, near `target`, that wastes no more than is wanted.

    Sizes from 3/4 to 9/8 of the target are compared by executed over mapped pixels; sizes whose last
    window would be thinner than half of a window come last, because networks that normalise over the
    window (group normalisation, global attention) see too little there. Memory grows with the window: of sizes
    that stay below the wanted ceiling the smallest is taken, and the one nearest to the target where nothing overlaps.

    Args:
        length: Pixels of the grid.
        overlap: Pixels that neighbours share.
        multiple: What a window must be a multiple of.
        target: Wanted size.

    Returns:
        A multiple of `multiple`; for a grid shorter than a window just enough to cover it.
    """
    smallest = round_up(max(2 * overlap, multiple, 1), multiple)
    low = max(smallest, round_up(target * 3 // 4, multiple))
    high = max(low, target * 9 // 8 // multiple * multiple)
    if length <= high:
        return max(smallest, round_up(length, multiple))
    step = max(multiple, multiple * (-(-8 // multiple)))

    def rank(size: int) -> tuple[bool, float, int]:
        axis = Axis(length, size, overlap, multiple)
        thin = 2 * axis.extent(axis.count - 1) < size
        waste = round(max(math.sqrt(MAXIMUM_EXTRA), axis.executed / length), 3)
        return thin, waste, size if overlap else abs(size - target)

    return min(range(low, high + 1, step), key=rank)
