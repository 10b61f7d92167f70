"""Reading windows: native pixels inside of the grid, reflected ones beyond its border."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, ContractError
from ecumene.core.window import Window
from ecumene.mapping.plan import Coefficients, Plan, Tile, window_transform
from ecumene.scenes.contract import Stack


@dataclass(frozen=True)
class ReadBatch:
    """One batch of windows, read.

    Attributes:
        tile: The tile that the windows belong to.
        windows: Lattice row and column of each window.
        needed: For each window the pixels inside the grid `[h, w]` that get a value.
        image: float32 `[B, C, H, W]` or `[B, T, C, H, W]`; None if no pixel is needed.
        dates: float32 `[B, T]` for a temporal model.
        answer: Rows and columns of the model's answer to a window: those of `image`, but for models of whole images,
            whose cells have several pixels.
        damaged: Parts of the grid that could not be decoded; no pixel of them is needed.
    """

    tile: Tile
    windows: tuple[tuple[int, int], ...]
    needed: tuple[NDArray[np.bool_], ...]
    image: NDArray[np.float32] | None
    dates: NDArray[np.float32] | None
    answer: tuple[int, int]
    damaged: tuple[Window, ...] = ()


def reflect_index(length: int, size: int) -> NDArray[np.intp]:
    """Return indices that continue `length` pixels to `size` by reflection at the last pixel.

    The border pixel is not repeated; short inputs are reflected to and fro, a single pixel is repeated.
    """
    if length == 1:
        return np.zeros(size, dtype=np.intp)
    position = np.arange(size) % (2 * length - 2)
    return np.minimum(position, 2 * length - 2 - position)


def pad_to(image: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Reflect the last two axes of an image to `height` and `width` (no copy where it fits)."""
    rows, cols = image.shape[-2:]
    if rows < height:
        image = image[..., reflect_index(rows, height), :]
    if cols < width:
        image = image[..., reflect_index(cols, width)]
    return image


def window_of(plan: Plan, i: int, j: int) -> Window:
    """Return the pixels inside the grid that window (i, j) sees."""
    top, left = plan.rows.start(i), plan.cols.start(j)
    return Window(top, left, plan.rows.stop(i) - top, plan.cols.stop(j) - left)


class WindowReader:
    """Reads a stack by the plan's batches; thread-safe as the stack is."""

    def __init__(self, plan: Plan, stack: Stack, temporal: bool, mask: ClipMask | None) -> None:
        """Keep where to read.

        Args:
            plan: Lattice and batches.
            stack: The matched stack.
            temporal: Whether the model takes series.
            mask: Pixels to map, None for all.

        Raises:
            ContractError: If a single-image model is given a series.
            ConfigurationError: If the plan names a first date that the stack has not.
        """
        if not temporal and len(stack.times) != 1:
            raise ContractError(
                f"This model maps one image, but {len(stack.times)} dates were given; give one scene, "
                "make a composite first, or use a time-series model."
            )
        self.plan, self.stack, self.temporal, self.mask = plan, stack, temporal, mask
        self._order = _date_order(len(stack.times), plan.first_date)

    def read(self, tile: Tile, windows: tuple[tuple[int, int], ...]) -> ReadBatch:
        """Read one batch; nothing is stacked where no pixel is needed."""
        images, masks, dates = [], [], []
        damaged: list[Window] = []
        for i, j in windows:
            window = window_of(self.plan, i, j)
            block, missing = self.stack.read_intact(window)
            damaged += missing
            needed: NDArray[np.bool_] = np.logical_or.reduce(block.valid, axis=0)
            if self.mask is not None:
                needed &= self.mask.read(window)
            images.append(block.image if self.temporal else block.image[0])
            masks.append(needed)
            dates.append(block.dates)
        answer = self.plan.rows.extent(windows[0][0]), self.plan.cols.extent(windows[0][1])
        # A damaged window is executed all the same: a neighbour may blend its seam with it.
        if not damaged and not any(mask.any() for mask in masks):
            return ReadBatch(tile, windows, tuple(masks), None, None, answer)
        padded = [pad_to(image, *answer) for image in images]
        image = padded[0][None] if len(padded) == 1 else np.stack(padded)
        image = np.ascontiguousarray(image, dtype=np.float32)
        when = np.stack(dates).astype(np.float32) if self.temporal else None
        if when is not None and self._order is not None:
            image, when = np.ascontiguousarray(image[:, self._order]), when[:, self._order]
        return ReadBatch(tile, windows, tuple(masks), image, when, answer, tuple(damaged))


def _date_order(count: int, first: int | None) -> list[int] | None:
    """Return the dates in the order that the model is given them; None: in order of time.

    Raises:
        ConfigurationError: If there is no such date.
    """
    if first is None:
        return None
    if first >= count:
        raise ConfigurationError(f"There is no date {first} to be given first; the scenes have {count} dates.")
    return [first, *(date for date in range(count) if date != first)]


class ClipMask:
    """Says which pixels lie inside the polygons of a clip (pixel centres), window by window."""

    def __init__(self, plan_shape: tuple[int, int], transform: Coefficients, geometries: list[dict]) -> None:
        """Keep polygons in the grid's CRS as GeoJSON-like mappings, and the grid's affine coefficients a..f."""
        self.shape, self.geometries = plan_shape, geometries
        self._transform = transform

    def read(self, window: Window) -> NDArray[np.bool_]:
        """Return bool `[h, w]`, True inside."""
        from affine import Affine
        from rasterio.features import geometry_mask

        moved = Affine(*window_transform(self._transform, window))
        shape = (window.height, window.width)
        return np.asarray(geometry_mask(self.geometries, out_shape=shape, transform=moved, invert=True))
