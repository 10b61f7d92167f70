"""A small painter of aerial images: surfaces and objects with their shadows, and the truth of what is visible."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ecumene.legends.library import get_legend
from ecumene.simulate.noise import fractal_field

PIXEL_M = 0.3
LABELS = get_legend("ucm_multilabel").names
"""Object labels of the multi-label annotations of UC Merced, in their order."""

Colour = tuple[float, float, float]

# Red, green and blue, 0..1, of surfaces from above; rounded by hand.
COLOURS: dict[str, Colour] = {
    "bare-soil": (0.58, 0.48, 0.37),
    "chaparral": (0.55, 0.52, 0.40),
    "field": (0.36, 0.45, 0.24),
    "grass": (0.33, 0.44, 0.25),
    "pavement": (0.45, 0.45, 0.45),
    "sand": (0.80, 0.74, 0.60),
    "sea": (0.16, 0.33, 0.40),
    "water": (0.20, 0.28, 0.26),
    "trees": (0.17, 0.27, 0.15),
    "court": (0.24, 0.42, 0.36),
    "dock": (0.66, 0.62, 0.56),
    "tanks": (0.88, 0.88, 0.86),
    "airplane": (0.92, 0.92, 0.93),
    "ship": (0.90, 0.90, 0.88),
    "mobile-home": (0.78, 0.77, 0.74),
}
ROOFS: tuple[Colour, ...] = (
    (0.55, 0.36, 0.29),
    (0.50, 0.48, 0.46),
    (0.68, 0.65, 0.60),
    (0.36, 0.34, 0.34),
    (0.82, 0.81, 0.78),
)
CARS: tuple[Colour, ...] = (
    (0.92, 0.92, 0.92),
    (0.12, 0.12, 0.13),
    (0.55, 0.56, 0.58),
    (0.60, 0.12, 0.12),
    (0.15, 0.22, 0.45),
)
LEAST_VISIBLE = 40
"""Pixels of a label that make it visible: 3.6 square metres, half a car."""


@dataclass(frozen=True)
class Spot:
    """A position on the canvas, pixels from the upper left corner, and a direction in radians."""

    x: float
    y: float
    angle: float = 0.0

    def moved(self, along: float, across: float) -> Spot:
        """Return the spot moved along and across its direction."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return Spot(self.x + along * cos - across * sin, self.y + along * sin + across * cos, self.angle)


class Canvas:
    """An image in the making.

    Args:
        rng: Source of randomness.
        size: Rows and columns.
    """

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self.rng, self.size = rng, size
        self.image = np.zeros((3, size, size), np.float32)
        self.truth = np.full((size, size), -1, np.int8)
        self.rough = fractal_field(rng, (size, size), longest=90.0, exponent=3.0)
        self.grain = fractal_field(rng, (size, size), longest=12.0, exponent=1.6)
        self._shaded = np.zeros((size, size), bool)
        turn = rng.uniform(0, 2 * np.pi)
        self.shadow = (np.cos(turn), np.sin(turn))  # pixels of shadow for each pixel of height

    def everywhere(self) -> NDArray[np.bool_]:
        """Return the mask of the whole canvas."""
        return np.ones((self.size, self.size), bool)

    def ground(self, label: str, where: NDArray[np.bool_] | None = None, contrast: float = 0.06) -> None:
        """Cover ground with a surface and its texture."""
        where = self.everywhere() if where is None else where
        tint = 1.0 + 0.10 * self.rng.standard_normal() + 0.03 * self.rng.standard_normal((3, 1))
        texture = 1.0 + contrast * (self.rough[where] + 0.8 * self.grain[where])
        self.image[:, where] = np.array(COLOURS[label], np.float32)[:, None] * tint * texture
        self.truth[where] = LABELS.index(label)

    def box(self, spot: Spot, length: float, width: float) -> tuple[tuple[slice, slice], NDArray, NDArray]:
        """Return the window around a spot, and distances along and across its direction, pixels."""
        reach = 0.5 * float(np.hypot(length, width)) + 2.0
        rows, cols = (
            slice(min(max(int(at - reach), 0), self.size), min(max(int(at + reach) + 1, 0), self.size))
            for at in (spot.y, spot.x)
        )
        y, x = np.mgrid[rows, cols]
        cos, sin = np.cos(spot.angle), np.sin(spot.angle)
        return (rows, cols), (x - spot.x) * cos + (y - spot.y) * sin, -(x - spot.x) * sin + (y - spot.y) * cos

    def paint(
        self, window: tuple[slice, slice], mask: NDArray[np.bool_], colour: Colour, label: str, height: float = 0.0
    ) -> None:
        """Put something on the canvas, after the shadow that its height, pixels, throws."""
        if not mask.any():
            return
        if height > 0:
            self._shade(window, mask, height)
        texture = 1.0 + 0.03 * self.grain[window][mask]
        self.image[:, window[0], window[1]][:, mask] = np.array(colour, np.float32)[:, None] * texture
        self.truth[window][mask] = LABELS.index(label)

    def _shade(self, window: tuple[slice, slice], mask: NDArray[np.bool_], height: float) -> None:
        """Darken what lies in the shadow; what is painted later stands in the light."""
        rows, cols = np.nonzero(mask)
        dark = np.zeros((self.size, self.size), bool)
        for step in range(1, int(np.ceil(height)) + 1):
            y = np.rint(rows + window[0].start + step * self.shadow[1]).astype(int)
            x = np.rint(cols + window[1].start + step * self.shadow[0]).astype(int)
            inside = (y >= 0) & (y < self.size) & (x >= 0) & (x < self.size)
            dark[y[inside], x[inside]] = True
        self.image[:, dark & ~self._shaded] *= 0.5
        self._shaded |= dark

    def rectangle(
        self, spot: Spot, length: float, width: float, colour: Colour, label: str, height: float = 0.0
    ) -> None:
        """Paint a rectangle; lengths in pixels."""
        window, along, across = self.box(spot, length, width)
        self.paint(window, (np.abs(along) < length / 2) & (np.abs(across) < width / 2), colour, label, height)

    def disc(self, spot: Spot, radius: float, colour: Colour, label: str, height: float = 0.0) -> None:
        """Paint a disc; lengths in pixels."""
        window, along, across = self.box(spot, 2 * radius, 2 * radius)
        self.paint(window, np.hypot(along, across) < radius, colour, label, height)

    def finish(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return the image, uint8 `[3, size, size]`, and 0 or 1 for each of `LABELS`, int64 `[17]`."""
        blurred = ndimage.gaussian_filter(self.image, (0.0, 0.6, 0.6))
        noisy = blurred + 0.012 * self.rng.standard_normal(blurred.shape)
        counts = np.bincount(self.truth[self.truth >= 0].ravel(), minlength=len(LABELS))
        image = np.clip(np.rint(255.0 * noisy), 0, 255).astype(np.uint8)
        return image, (counts >= LEAST_VISIBLE).astype(np.int64)
