"""Relief, a meandering river and lakes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ecumene.simulate.noise import fractal_field

RELIEF_M = 40.0
"""Standard deviation of the relief away from the valley, in metres."""


@dataclass(frozen=True)
class Terrain:
    """The ground before people; all arrays on the fine grid `[rows, cols]`.

    Attributes:
        elevation: Metres above sea level.
        slope: Rise over run of the smoothed relief.
        water: True on rivers and lakes.
        river_distance: Metres to the river's bank, negative in the river.
        x: Metres east of the grid's western border.
        y: Metres south of the grid's northern border.
    """

    elevation: NDArray[np.float32]
    slope: NDArray[np.float32]
    water: NDArray[np.bool_]
    river_distance: NDArray[np.float32]
    x: NDArray[np.float32]
    y: NDArray[np.float32]


@dataclass(frozen=True)
class Curve:
    """A smooth line across the scene: offset across a direction as a sum of sines.

    Attributes:
        origin: A point that the undisturbed line passes through, metres (x, y).
        direction: Direction of the line, radians from x towards y.
        waves: Rows of (amplitude in metres, wavelength in metres, phase).
    """

    origin: tuple[float, float]
    direction: float
    waves: NDArray[np.float64]

    def distance(self, x: NDArray, y: NDArray) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return distance from the line (first order, metres) and position along it (metres)."""
        dx, dy = x - self.origin[0], y - self.origin[1]
        along = dx * np.cos(self.direction) + dy * np.sin(self.direction)
        across = -dx * np.sin(self.direction) + dy * np.cos(self.direction)
        # One profile of the line, looked up: far cheaper than sines for every cell.
        steps = np.arange(float(along.min()) - 10.0, float(along.max()) + 20.0, 5.0)
        phase = 2.0 * np.pi * steps[:, None] / self.waves[:, 1] + self.waves[:, 2]
        offset = (self.waves[:, 0] * np.sin(phase)).sum(axis=1)
        slope = (self.waves[:, 0] * np.cos(phase) * 2.0 * np.pi / self.waves[:, 1]).sum(axis=1)
        position = (along - steps[0]) / 5.0
        lower = position.astype(np.int32)
        part = (position - lower).astype(np.float32)

        def look_up(profile: NDArray) -> NDArray[np.float32]:
            values = profile.astype(np.float32)
            return np.asarray(values[lower] + part * (values[lower + 1] - values[lower]))

        distance = np.abs(across - look_up(offset)) / np.sqrt(1.0 + look_up(slope) ** 2)
        return distance.astype(np.float32), along.astype(np.float32)


def random_curve(rng: np.random.Generator, through: tuple[float, float], direction: float, meander_m: float) -> Curve:
    """Return a line through a point with meanders of about `meander_m` metres amplitude."""
    wavelengths = rng.uniform((2200.0, 1000.0, 480.0), (3600.0, 1700.0, 800.0))
    amplitudes = meander_m * np.array((1.0, 0.55, 0.22)) * rng.uniform(0.6, 1.3, 3)
    return Curve(through, direction, np.stack([amplitudes, wavelengths, rng.uniform(0, 2 * np.pi, 3)], axis=1))


def _lakes(
    rng: np.random.Generator, x: NDArray, y: NDArray, centre: tuple[float, float], rough: NDArray
) -> NDArray[np.bool_]:
    """Return the lakes: ragged ellipses, about one for each 4 square kilometres, away from the centre."""
    width, height = float(x.max()), float(y.max())
    lakes = np.zeros(rough.shape, bool)
    for _ in range(1 + rng.poisson(width * height / 4e6)):
        east, south = rng.uniform(0.05, 0.95) * width, rng.uniform(0.05, 0.95) * height
        long_axis = rng.uniform(70.0, 190.0)
        short_axis, angle = long_axis * rng.uniform(0.4, 0.8), rng.uniform(0, np.pi)
        if np.hypot(east - centre[0], south - centre[1]) < 350.0 + long_axis:
            continue
        a = (x - east) * np.cos(angle) + (y - south) * np.sin(angle)
        b = -(x - east) * np.sin(angle) + (y - south) * np.cos(angle)
        lakes |= np.hypot(a / long_axis, b / short_axis) + 0.16 * rough < 1.0
    return lakes


def make_terrain(
    rng: np.random.Generator, shape: tuple[int, int], cell_m: float, centre: tuple[float, float]
) -> Terrain:
    """Return relief and water.

    Args:
        rng: Source of randomness.
        shape: Rows and columns of the fine grid.
        cell_m: Cell size in metres.
        centre: The town's centre in metres (x, y); the river passes near it.
    """
    y, x = np.meshgrid(
        (np.arange(shape[0], dtype=np.float32) + 0.5) * np.float32(cell_m),
        (np.arange(shape[1], dtype=np.float32) + 0.5) * np.float32(cell_m),
        indexing="ij",
    )
    direction = rng.uniform(0, np.pi)
    side = rng.choice((-1.0, 1.0)) * rng.uniform(120.0, 420.0)
    origin = (centre[0] - side * np.sin(direction), centre[1] + side * np.cos(direction))
    river = random_curve(rng, origin, direction, meander_m=130.0)
    distance, along = river.distance(x, y)
    half_width = rng.uniform(16.0, 34.0) * (1.0 + 0.25 * np.sin(along / 310.0 + rng.uniform(0, 6.0)))
    river_distance = (distance - half_width).astype(np.float32)
    coarse = (-(-shape[0] // 4), -(-shape[1] // 4))
    relief = ndimage.zoom(
        fractal_field(rng, coarse, longest=2600.0 / (4 * cell_m), exponent=3.6, shortest=6.0), 4, order=1
    )[: shape[0], : shape[1]]
    rough = fractal_field(rng, shape, longest=220.0 / cell_m, exponent=3.2, shortest=16.0 / cell_m)
    valley = 1.0 - np.exp(-((np.maximum(river_distance, 0.0) / 620.0) ** 2))
    elevation = 240.0 + RELIEF_M * (1.4 * valley + relief * (0.12 + 0.88 * valley))
    lakes = _lakes(rng, x, y, centre, rough)
    labels, count = ndimage.label(lakes)
    if count:
        # A lake's surface is level.
        level = ndimage.minimum(elevation, labels, np.arange(count + 1))
        elevation = np.where(lakes, np.asarray(level)[labels], elevation)
    rows_slope, cols_slope = np.gradient(ndimage.uniform_filter(elevation.astype(np.float32), 9), cell_m)
    return Terrain(
        elevation=elevation.astype(np.float32),
        slope=np.hypot(rows_slope, cols_slope).astype(np.float32),
        water=(river_distance < 0) | lakes,
        river_distance=river_distance,
        x=x,
        y=y,
    )
