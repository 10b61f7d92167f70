"""Mapping more than is written: a margin of context around a tile of a larger grid.

A tile that is mapped by itself would see nothing beyond its border, so that neighbours would not meet. The
engine therefore computes a padded grid and writes a window of it, the *crop*. Pixels outside of the crop get no
value, do not count in any statistic, and are cut off when the layers are put together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from pydantic import PrivateAttr

from ecumene.core.errors import ConfigurationError
from ecumene.core.window import Window
from ecumene.mapping.blocks import block_layout
from ecumene.mapping.plan import Plan, Tile, window_transform
from ecumene.mapping.reading import ClipMask


def crop_window(plan: Plan) -> Window:
    """Return the window of the plan's grid that is written."""
    return Window(0, 0, *plan.shape) if plan.crop is None else Window(*plan.crop)


def check_crop(crop: Window, shape: tuple[int, int]) -> None:
    """Refuse a crop that is empty or leaves the grid.

    Raises:
        ConfigurationError: If it does.
    """
    if crop.intersect(Window(0, 0, *shape)) != crop:
        raise ConfigurationError(f"The part to write {crop} lies outside of the grid {shape}; choose a part of it.")


def written_pixels(plan: Plan, tile: Tile) -> NDArray[np.bool_]:
    """Return bool `[h, w]` over a tile: True inside of the crop."""
    inside = np.zeros((tile.window.height, tile.window.width), np.bool_)
    common = tile.window.intersect(crop_window(plan))
    if common is not None:
        inside[common.shift(-tile.window.row, -tile.window.col).slices] = True
    return inside


class CropMask(ClipMask):
    """A clip, restricted to the crop."""

    def __init__(self, crop: Window, clip: ClipMask | None) -> None:
        """Keep the crop and the clip (None: everything)."""
        self.crop, self.clip = crop, clip

    def read(self, window: Window) -> NDArray[np.bool_]:
        """Return bool `[h, w]`, True inside of both."""
        inside = np.zeros((window.height, window.width), np.bool_)
        common = window.intersect(self.crop)
        if common is not None:
            inside[common.shift(-window.row, -window.col).slices] = True
            if self.clip is not None:
                inside &= self.clip.read(window)
        return inside


class WrittenPlan(Plan):
    """A plan as its product sees it: grid and tiles of the crop."""

    _whole: Plan = PrivateAttr()

    @classmethod
    def of(cls, plan: Plan) -> Plan:
        """Return the plan of what is written; the plan itself where nothing is cut off."""
        if plan.crop is None:
            return plan
        crop = Window(*plan.crop)
        fields = {name: getattr(plan, name) for name in Plan.model_fields}
        fields["shape"] = (crop.height, crop.width)
        fields["transform"] = window_transform(plan.transform, crop)
        fields["blocksize"] = block_layout((crop.height, crop.width), plan.blocksize)[0]
        written = cls.model_construct(**fields)
        written._whole = plan
        return written

    @property
    def extra_pixels(self) -> float:
        """Executed over written pixels, the margin included."""
        return self._whole.rows.executed * self._whole.cols.executed / (self.shape[0] * self.shape[1])

    def tiles(self) -> Iterator[Tile]:
        """Yield the tiles that reach into the crop, placed on its grid; they may begin before it."""
        crop = crop_window(self._whole)
        for tile in self._whole.tiles():
            if tile.window.intersect(crop) is not None:
                yield replace(tile, window=tile.window.shift(-crop.row, -crop.col))
