"""The quick-look of `clear`: the scene with its clouds, filled, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.files import atomic_path
from ecumene.core.window import Window
from ecumene.restoration.contract import BEYOND, FILLED
from ecumene.workflows.clear_scenes import ClearInput, raw_colour

_EDGE = 500  # pixels of the longer side of a panel


class ClearPicture:
    """Gathers every n-th pixel while tiles are computed, so that no layer is read again."""

    def __init__(self, source: ClearInput, date: int | None, title: str) -> None:
        """Prepare empty panels.

        Args:
            source: The series.
            date: The date that is filled; None: none was measured.
            title: Line above the panels.
        """
        height, width = source.shape
        self.step = max(1, -(-max(height, width) // _EDGE))
        small = (-(-height // self.step), -(-width // self.step))
        colours = source.true_colour()
        self.positions = [source.bands.index(name) for name in colours]
        self.raw = None if date is None else raw_colour(source, date)
        self.order = [list(dict.fromkeys(colours)).index(name) for name in colours]
        self.title = title
        self.cloudy = np.full((3, *small), np.nan, np.float32)
        self.filled = np.full((3, *small), np.nan, np.float32)
        self.deviation = np.full(small, np.nan, np.float32)
        self.state = np.full(small, BEYOND, np.uint8)

    def add(self, window: Window, layers: Mapping[str, NDArray[Any]]) -> None:
        """Take a tile's share of the panels."""
        top, left = -window.row % self.step, -window.col % self.step
        here = (slice(top, None, self.step), slice(left, None, self.step))
        rows = layers["state"][0][here].shape
        first = ((window.row + top) // self.step, (window.col + left) // self.step)
        there = (slice(first[0], first[0] + rows[0]), slice(first[1], first[1] + rows[1]))
        for channel, band in enumerate(self.positions):
            self.filled[channel][there] = layers["reflectance"][band][here]
        self.deviation[there] = np.sqrt(np.mean(np.square(layers["uncertainty"][:, *here]), axis=0))
        self.state[there] = layers["state"][0][here]
        if self.raw is not None:
            image = self.raw.read_intact(window)[0].image[0]
            for channel, position in enumerate(self.order):
                self.cloudy[channel][there] = image[position][here]

    def draw(self, path: Path) -> None:
        """Write the picture: as measured, filled, standard deviation."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(13.0, 5.2), dpi=100, layout="constrained")
        FigureCanvasAgg(figure)
        first, second, third = figure.subplots(1, 3)
        limits = _limits(self.filled if np.isfinite(self.filled).any() else self.cloudy)
        for axes, image, name in ((first, self.cloudy, "as measured"), (second, self.filled, "filled")):
            axes.imshow(_stretched(image, limits), interpolation="nearest")
            axes.set_title(name, fontsize=9)
        filled = self.state == FILLED
        if filled.any() and not filled.all():
            second.contour(filled, levels=[0.5], colors="#d55e00", linewidths=0.5)
        shown = np.where(self.state == BEYOND, np.nan, self.deviation)
        known = np.isfinite(shown)
        low, high = np.nanpercentile(shown, (1.0, 99.0)) if known.any() else (0.0, 1.0)
        image = third.imshow(shown, cmap="cividis", vmin=low, vmax=max(high, low + 1e-6), interpolation="nearest")
        bar = figure.colorbar(image, ax=third, orientation="horizontal", fraction=0.05, pad=0.03)
        bar.ax.tick_params(labelsize=7)
        bar.ax.locator_params(nbins=5)
        bar.set_label("standard deviation of reflectance, mean of bands", fontsize=7)
        third.set_title("how sure (white: beyond repair)", fontsize=9)
        for axes in (first, second, third):
            axes.set_xticks([])
            axes.set_yticks([])
        figure.suptitle(self.title, fontsize=10)
        with atomic_path(path) as target:
            figure.savefig(target, format="png", metadata={"Software": None})


def _limits(image: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the reflectances shown as black and as white, `[3]` each."""
    if not np.isfinite(image).any():
        return np.zeros(3), np.ones(3)
    low, high = np.nanpercentile(image.reshape(3, -1), (1.0, 99.0), axis=1)
    return low, np.maximum(high, low + 0.1)


def _stretched(image: NDArray[np.float32], limits: tuple[NDArray[np.float64], NDArray[np.float64]]) -> NDArray[Any]:
    low, high = (edge[:, None, None] for edge in limits)
    scaled = np.clip((image - low) / (high - low), 0.0, 1.0) ** 0.8
    return np.where(np.isfinite(scaled), scaled, 1.0).transpose(1, 2, 0)
