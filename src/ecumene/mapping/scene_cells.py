"""Maps of models that answer for whole images: a grid of cells, each with the answer of the patch around it.

The cells are the pixels of a coarser grid. A window of them is read as one piece of the scene, and the executor cuts
the patches out of it, so that tiles, restarts and layers are those of any other map and memory is that of a window.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from ecumene.core.errors import ConfigurationError
from ecumene.core.window import Window
from ecumene.mapping.contract import MapCalibration, MapDetector
from ecumene.models.bundle import Model
from ecumene.models.contract import Executor, ModelSpec
from ecumene.objectives import build_objective
from ecumene.objectives.contract import Objective
from ecumene.scenes.contract import Block, Channel, SceneSource, Stack

LEAST_VALID = 0.5
"""A cell is mapped where at least this share of its patch has data."""
WINDOW_PIXELS = 1024
"""Wanted side of what is read at once, in pixels of the scene."""
_CHUNK_PIXELS = 1 << 20  # of the patches that are executed at once
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Cells:
    """How cells lie on a scene's pixels.

    Attributes:
        patch: Rows and columns of the image that a cell's answer comes from.
        step: Rows and columns of a cell.
        row: Pixel row at which cell row 0 begins; 0 or negative.
        col: Pixel column at which cell column 0 begins; 0 or negative.
    """

    patch: int
    step: int
    row: int = 0
    col: int = 0

    @property
    def before(self) -> int:
        """Pixels by which a patch begins before its cell (negative: after); both have the same centre."""
        return (self.patch - self.step + 1) // 2

    def pixels(self, window: Window) -> Window:
        """Return the pixels that the patches of a window of cells cover; they may reach over the scene's border."""
        return Window(
            self.row + window.row * self.step - self.before,
            self.col + window.col * self.step - self.before,
            (window.height - 1) * self.step + self.patch,
            (window.width - 1) * self.step + self.patch,
        )

    def touched(self, pixels: Window) -> Window:
        """Return the cells that some pixels lie in."""
        top, left = (pixels.row - self.row) // self.step, (pixels.col - self.col) // self.step
        bottom = -(-(pixels.row_stop - self.row) // self.step)
        right = -(-(pixels.col_stop - self.col) // self.step)
        return Window(top, left, bottom - top, right - left)


def _overhang(corner: float, pixel: float, step: int) -> int:
    """Return the pixels between the multiple of a cell's size before a corner and the corner; 0 if no whole number."""
    size = abs(pixel) * step
    direction = 1.0 if pixel > 0 else -1.0
    distance = (direction * corner) % size / abs(pixel)
    whole = round(distance)
    return whole % step if abs(distance - whole) < _TOLERANCE else 0


def lay_cells(geobox: GeoBox, patch: int, step: int) -> tuple[Cells, GeoBox]:
    """Lay cells over a scene's grid, and return their grid.

    Where the scene's pixels allow it, cells lie on whole multiples of their size in its coordinate system, so that maps
    of neighbouring scenes meet: 10 pixels of 10 m give a grid of 100 m.

    Args:
        geobox: The scene's grid.
        patch: Side of a patch, pixels.
        step: Side of a cell, pixels.

    Raises:
        ConfigurationError: If the step is not positive.
    """
    if step < 1:
        raise ConfigurationError(f"--step is the side of a cell in pixels, at least 1, not {step}.")
    affine = geobox.affine
    straight = affine.b == 0 and affine.d == 0 and geobox.crs is not None and not geobox.crs.geographic
    row = -_overhang(affine.f, affine.e, step) if straight else 0
    col = -_overhang(affine.c, affine.a, step) if straight else 0
    height, width = (int(size) for size in geobox.shape)
    shape = (-(-(height - row) // step), -(-(width - col) // step))
    grid = GeoBox(shape, affine * Affine.translation(col, row) * Affine.scale(step), geobox.crs)
    return Cells(patch, step, row, col), grid


def _reflected(start: int, count: int, length: int) -> NDArray[np.intp]:
    """Return which pixels of a side stand at `start` and after; beyond the border those that lie opposite of it."""
    if length == 1:
        return np.zeros(count, np.intp)
    place = np.arange(start, start + count) % (2 * length - 2)
    return np.minimum(place, 2 * length - 2 - place).astype(np.intp)


class CellStack:
    """A stack as seen by cells; see `scenes.contract.Stack`.

    A block's image has the pixels of the patches, its `valid` the cells.

    Args:
        stack: The scene, with the model's channels.
        cells: How cells lie on it.
        geobox: Their grid.
    """

    def __init__(self, stack: Stack, cells: Cells, geobox: GeoBox) -> None:
        self._stack, self.cells, self._geobox = stack, cells, geobox

    @property
    def geobox(self) -> GeoBox:
        """The grid of the cells."""
        return self._geobox

    @property
    def channels(self) -> tuple[Channel, ...]:
        """As the stack's."""
        return self._stack.channels

    @property
    def times(self) -> tuple[np.datetime64 | None, ...]:
        """As the stack's."""
        return self._stack.times

    @property
    def sources(self) -> tuple[SceneSource, ...]:
        """As the stack's."""
        return self._stack.sources

    def select(self, channels: Sequence[str]) -> CellStack:
        """Return the same cells of these channels."""
        return CellStack(self._stack.select(channels), self.cells, self._geobox)

    def read(self, window: Window) -> Block:
        """Return the pixels of the patches, and which cells are valid."""
        return self.read_intact(window)[0]

    def read_intact(self, window: Window) -> tuple[Block, tuple[Window, ...]]:
        """Return what `read` does, and the cells of which pixels could not be decoded.

        Args:
            window: Of cells.
        """
        wanted = self.cells.pixels(window)
        height, width = (int(size) for size in self._stack.geobox.shape)
        rows, cols = _reflected(wanted.row, wanted.height, height), _reflected(wanted.col, wanted.width, width)
        top, left = int(rows.min()), int(cols.min())
        seen = Window(top, left, int(rows.max()) - top + 1, int(cols.max()) - left + 1)
        block, damaged = self._stack.read_intact(seen)
        image, valid = block.image, block.valid
        if seen != wanted:
            image = image[..., (rows - top)[:, None], cols - left]
            valid = valid[..., (rows - top)[:, None], cols - left]
        usable = self._usable(valid)
        broken = tuple(self.cells.touched(part) for part in damaged)
        for part in broken:
            common = part.intersect(window)
            if common is not None:
                usable[(slice(None), *common.shift(-window.row, -window.col).slices)] = False
        return Block(image=image, valid=usable, dates=block.dates), broken

    def _usable(self, valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return the cells `[T, h, w]` whose patches have enough of the valid pixels `[T, H, W]`."""
        total = np.zeros((valid.shape[0], valid.shape[1] + 1, valid.shape[2] + 1), np.int64)
        np.cumsum(np.cumsum(valid, axis=1), axis=2, out=total[:, 1:, 1:])
        patch, step = self.cells.patch, self.cells.step
        rows = np.arange(0, valid.shape[1] - patch + 1, step)[:, None]
        cols = np.arange(0, valid.shape[2] - patch + 1, step)
        inside = total[:, rows + patch, cols + patch] - total[:, rows, cols + patch]
        inside += total[:, rows, cols] - total[:, rows + patch, cols]
        return np.asarray(inside >= LEAST_VALID * patch * patch)


class CellExecutor:
    """Runs a model of whole images on every patch of larger ones; see `models.contract.Executor`.

    Args:
        inner: Runs patches.
        cells: How they are cut.
    """

    def __init__(self, inner: Executor, cells: Cells) -> None:
        self.backend, self.precision = inner.backend, inner.precision
        self._inner, self._layout = inner, cells

    def cells(self, height: int, width: int) -> tuple[int, int]:
        """Return rows and columns of the cells of an image of this size."""
        patch, step = self._layout.patch, self._layout.step
        return (height - patch) // step + 1, (width - patch) // step + 1

    def run(
        self, image: NDArray[np.float32], dates: NDArray[np.float32] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return (output `[B, n_outputs, rows, columns]` of cells, outlier score `[B, rows, columns]`)."""
        patch, step = self._layout.patch, self._layout.step
        rows, cols = self.cells(*image.shape[-2:])
        view = np.lib.stride_tricks.sliding_window_view(image, (patch, patch), axis=(2, 3))[:, :, ::step, ::step]
        view = view.transpose(0, 2, 3, 1, 4, 5)
        place = np.indices((image.shape[0], rows, cols)).reshape(3, -1)
        count = max(1, _CHUNK_PIXELS // (patch * patch))
        outputs, scores = [], []
        for start in range(0, place.shape[1], count):
            batch, row, col = place[:, start : start + count]
            output, score = self._inner.run(np.ascontiguousarray(view[batch, row, col]))
            outputs.append(output[:, :, 0, 0])
            scores.append(score[:, 0, 0])
        whole = np.concatenate(outputs).reshape(image.shape[0], rows, cols, -1)
        return np.ascontiguousarray(np.moveaxis(whole, -1, 1)), np.concatenate(scores).reshape(-1, rows, cols)


class CellModel:
    """A model of whole images as the engine sees it; see `mapping.contract.MapModel`.

    Args:
        model: The bundle.
        step: Side of a cell in pixels; None: that of a patch.

    Raises:
        ConfigurationError: If the model answers for pixels.
    """

    def __init__(self, model: Model, step: int | None = None) -> None:
        if model.spec.patch_size is None:
            raise ConfigurationError(f"The model {model.spec.name} answers for every pixel; leave --step out.")
        self.model, self.patch = model, model.spec.patch_size
        self.step = self.patch if step is None else step
        if self.step < 1:
            raise ConfigurationError(f"--step is the side of a cell in pixels, at least 1, not {self.step}.")
        self._layout = Cells(self.patch, self.step)

    @property
    def spec(self) -> ModelSpec:
        """As the bundle's."""
        return self.model.spec

    @cached_property
    def objective(self) -> Objective:
        """The bundle's objective, answering for cells as others do for pixels."""
        return for_cells(self.model.objective)

    @property
    def calibration(self) -> MapCalibration | None:
        """As the bundle's."""
        calibration: MapCalibration | None = self.model.calibration
        return calibration

    @property
    def detector(self) -> MapDetector | None:
        """As the bundle's."""
        detector: MapDetector | None = self.model.detector
        return detector

    @property
    def card(self) -> str:
        """As the bundle's."""
        return self.model.card

    @property
    def checksum(self) -> str:
        """Of the bundle, and of how cells are laid."""
        return replace(self.model, spec=self._named(self.model.spec)).checksum

    def _named(self, spec: ModelSpec) -> ModelSpec:
        return spec.model_copy(update={"training": {**spec.training, "cells": self.cells}})

    @property
    def cells(self) -> dict[str, int]:
        """Patch and step in pixels, for the Item."""
        return {"patch": self.patch, "step": self.step}

    def match(self, stack: Stack) -> CellStack:
        """Return the cells of the stack; see `Model.match`."""
        matched = self.model.match(stack)
        layout, grid = lay_cells(matched.geobox, self.patch, self.step)
        return CellStack(matched, layout, grid)

    def executor(self, backend: str, precision: str, threads: int | None) -> CellExecutor:
        """Return a fresh executor."""
        return CellExecutor(self.model.executor(backend, precision, threads), self._layout)

    def window(self) -> tuple[int, int]:
        """Return the cells, rows and columns, whose patches are read at once."""
        side = max(1, (WINDOW_PIXELS - self.patch) // self.step + 1)
        return side, side


def for_cells(objective: Objective) -> Objective:
    """Return an objective of whole images as one of pixels, with the same moments and layers."""
    config = _as_pixels(objective.to_config())
    changed = build_objective(config)
    if changed.unit_of_work != "pixel":
        changed = copy.copy(changed)
        changed.unit_of_work = "pixel"
    return changed


def _as_pixels(config: Mapping[str, Any]) -> dict[str, Any]:
    names = {"scene-classification": "segmentation"}
    return {
        key: names.get(str(value), value)
        if key == "name"
        else (_as_pixels(value) if isinstance(value, Mapping) and "name" in value and key != "legend" else value)
        for key, value in config.items()
    }
