"""A pair of images of one place at two dates, read block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, ContractError, SceneError
from ecumene.core.window import Window

BLOCK = 1024
"""Edge of a block in pixels unless another is asked for."""

Reader = Callable[[Window], tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]]


@dataclass(frozen=True)
class PairBlock:
    """A part of a pair with a margin around it.

    Attributes:
        before: First date, float64 `[bands, rows, cols]`, margin included; 0 where not valid.
        after: Second date, alike.
        valid: Pixels with finite values in every band at both dates, `[rows, cols]`.
        core: Row and column slices of the part without margin, in these arrays.
        place: Row and column slices of the core in the whole image.
    """

    before: NDArray[np.float64]
    after: NDArray[np.float64]
    valid: NDArray[np.bool_]
    core: tuple[slice, slice]
    place: tuple[slice, slice]

    @property
    def core_valid(self) -> NDArray[np.bool_]:
        """Valid pixels of the core."""
        return self.valid[self.core]

    def vectors(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the valid pixels of the core as `[bands, n]` of both dates."""
        where = self.core_valid
        return self.before[:, *self.core][:, where], self.after[:, *self.core][:, where]


class ImagePair:
    """Two dates on one grid with the same bands in physical units.

    Attributes:
        shape: Rows and columns.
        bands: Names of the bands, the same at both dates.
        block: Edge of the blocks in pixels.
    """

    def __init__(self, shape: tuple[int, int], bands: Sequence[str], read: Reader, *, block: int = BLOCK) -> None:
        """Describe a pair that is read by windows.

        Args:
            shape: Rows and columns.
            bands: Names of the bands, in the order of the arrays.
            read: Gives `before`, `after` (`[bands, rows, cols]`) and `valid` (`[rows, cols]`) of a window that lies
                inside the image. It is called again in every pass.
            block: Edge of the blocks in pixels.

        Raises:
            ConfigurationError: If the block is smaller than 16 pixels.
        """
        if block < 16:
            raise ConfigurationError(f"Blocks must have at least 16 pixels along an edge, but have {block}.")
        self.shape, self.bands, self.block = shape, tuple(bands), block
        self._read = read

    @classmethod
    def from_arrays(
        cls,
        before: NDArray[Any],
        after: NDArray[Any],
        *,
        before_valid: NDArray[np.bool_] | None = None,
        after_valid: NDArray[np.bool_] | None = None,
        bands: Sequence[str] | None = None,
        after_bands: Sequence[str] | None = None,
        block: int = BLOCK,
    ) -> ImagePair:
        """Make a pair of two arrays.

        Args:
            before: First date `[bands, rows, cols]`, or `[rows, cols]` of one band; NaN is nodata.
            after: Second date, alike.
            before_valid: Mask `[rows, cols]` of the first date, such as cloud-free pixels.
            after_valid: Of the second.
            bands: Names of the first date's bands; numbered if left out.
            after_bands: Names of the second date's; the same if left out.
            block: Edge of the blocks in pixels.

        Raises:
            ContractError: If grids or bands differ.
        """
        first, second = (
            np.asarray(image)[None] if np.ndim(image) == 2 else np.asarray(image) for image in (before, after)
        )
        names = check_same(first.shape, second.shape, bands, after_bands)
        masks = [np.asarray(mask, np.bool_) for mask in (before_valid, after_valid) if mask is not None]
        for mask in masks:
            if mask.shape != first.shape[1:]:
                raise ContractError(
                    f"A mask of {_size(mask.shape)} pixels does not fit images of {_size(first.shape[1:])}; "
                    "put it on their grid."
                )

        def read(window: Window) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
            rows, cols = window.slices
            valid = np.ones((window.height, window.width), np.bool_)
            for mask in masks:
                valid &= mask[rows, cols]
            return first[:, rows, cols], second[:, rows, cols], valid

        return cls((first.shape[1], first.shape[2]), names, read, block=block)

    def blocks(self, margin: int = 0) -> Iterator[PairBlock]:
        """Yield the blocks of the pair in reading order.

        Args:
            margin: Pixels around each block that are read with it, cut at the image's border.
        """
        height, width = self.shape
        for row in range(0, height, self.block):
            for col in range(0, width, self.block):
                yield self.read(Window(row, col, min(self.block, height - row), min(self.block, width - col)), margin)

    def read(self, core: Window, margin: int = 0) -> PairBlock:
        """Read one window.

        Args:
            core: Inside the image.
            margin: Pixels around it, cut at the image's border.
        """
        read = core.pad(margin).intersect(Window(0, 0, *self.shape))
        assert read is not None
        before, after, valid = self._read(read)
        first, second = np.asarray(before, np.float64), np.asarray(after, np.float64)
        good = np.isfinite(first).all(axis=0) & np.isfinite(second).all(axis=0) & valid
        inner = core.shift(-read.row, -read.col).slices
        return PairBlock(np.where(good, first, 0.0), np.where(good, second, 0.0), good, inner, core.slices)

    def sample(self, edge: int, most: int, margin: int = 0) -> Iterator[PairBlock]:
        """Yield at most about `most` windows on a regular lattice, the same whatever the block; all where few.

        Args:
            edge: Of a window in pixels; windows are smaller at the lower and right border.
            most: How many.
            margin: Pixels around each.
        """
        height, width = self.shape
        places = [(row, col) for row in range(0, height, edge) for col in range(0, width, edge)]
        step = -(-len(places) // most)
        for row, col in places[step // 2 :: step]:
            yield self.read(Window(row, col, min(edge, height - row), min(edge, width - col)), margin)

    def check(self) -> int:
        """Return the number of pixels that are valid at both dates, after one pass.

        Raises:
            SceneError: If there are none, or a band has one value only at a date.
        """
        count = 0
        low = np.full((2, len(self.bands)), np.inf)
        high = -low
        for block in self.blocks():
            if not block.core_valid.any():
                continue
            count += int(block.core_valid.sum())
            for date, values in enumerate(block.vectors()):
                low[date] = np.minimum(low[date], values.min(axis=1))
                high[date] = np.maximum(high[date], values.max(axis=1))
        if not count:
            raise SceneError(
                "No pixel is valid at both dates, because of clouds or nodata; choose another date, or check the masks."
            )
        for date, name in enumerate(("first", "second")):
            for band in np.flatnonzero(low[date] == high[date]):
                raise SceneError(
                    f"Band {self.bands[band]} of the {name} date has the value {low[date][band]:g} in all pixels that "
                    "are valid at both dates; leave the band out."
                )
        return count


def check_same(
    before: Sequence[int], after: Sequence[int], bands: Sequence[str] | None, after_bands: Sequence[str] | None
) -> tuple[str, ...]:
    """Return the names of the bands that two images share.

    Args:
        before: Shape `[bands, rows, cols]` of the first.
        after: Of the second.
        bands: Names of the first's bands, or None.
        after_bands: Names of the second's, or None: the same.

    Raises:
        ContractError: If an image is not three-dimensional, or grids, numbers or names of bands differ.
    """
    if len(before) != 3 or len(after) != 3:
        raise ContractError(
            f"An image must be bands x rows x columns, but the shapes are {tuple(before)}, {tuple(after)}."
        )
    if tuple(before[1:]) != tuple(after[1:]):
        raise ContractError(
            f"The dates lie on different grids, {_size(before[1:])} and {_size(after[1:])} pixels; align them first."
        )
    first = tuple(bands) if bands is not None else tuple(f"band {index + 1}" for index in range(before[0]))
    second = tuple(after_bands) if after_bands is not None else first
    if first != second or before[0] != after[0]:
        only = [sorted(set(a) - set(b)) for a, b in ((first, second), (second, first))]
        what = f"only before: {', '.join(only[0]) or 'none'}; only after: {', '.join(only[1]) or 'none'}"
        what = what if any(only) else f"{before[0]} before and {after[0]} after, or another order"
        raise ContractError(f"The two dates have different bands ({what}); choose bands that both have.")
    if len(first) != before[0]:
        raise ContractError(f"There are {len(first)} names for {before[0]} bands; name every band once.")
    return first


def _size(shape: Sequence[int]) -> str:
    return " x ".join(str(side) for side in shape)
