"""Search grids over elevation and motion, and the steering vectors (dictionary) on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.physics.tomography.geometry import StackGeometry

_MAXIMUM_ATOMS = 1 << 21


@dataclass(frozen=True)
class SearchGrid:
    """A regular grid over the parameters of a scatterer.

    Attributes:
        geometry: The stack.
        axes: Grid points of every parameter, ascending, `[L_d]` each; elevation (m) first.
    """

    geometry: StackGeometry
    axes: tuple[NDArray[np.float64], ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Grid points along each parameter."""
        return tuple(axis.size for axis in self.axes)

    @property
    def size(self) -> int:
        """Number of atoms L."""
        return int(np.prod(self.shape))

    @cached_property
    def points(self) -> NDArray[np.float64]:
        """Parameters of all atoms, `[L, D]`, last parameter fastest."""
        mesh = np.meshgrid(*self.axes, indexing="ij")
        return np.stack([part.ravel() for part in mesh], axis=1)

    @cached_property
    def dictionary(self) -> NDArray[np.complex128]:
        """Steering vectors of all atoms, `[N, L]`; every column has the squared norm N."""
        return steering(self.geometry, self.points)

    @cached_property
    def steps(self) -> NDArray[np.float64]:
        """Spacing of the grid along each parameter (the Rayleigh unit for axes of one point), `[D]`."""
        unit = self.geometry.resolution()
        return np.array([axis[1] - axis[0] if axis.size > 1 else unit[d] for d, axis in enumerate(self.axes)])

    @property
    def limits(self) -> NDArray[np.float64]:
        """Smallest and largest value of each parameter, `[D, 2]`."""
        return np.array([[axis[0], axis[-1]] for axis in self.axes])


def steering(geometry: StackGeometry, parameters: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Return steering vectors exp(j rates @ theta).

    Args:
        geometry: The stack.
        parameters: `[..., D]`, elevation in metres first, then motion in its units.

    Returns:
        `[N, ...]`.
    """
    phase = np.tensordot(geometry.phase_rates, np.asarray(parameters, np.float64), axes=([1], [-1]))
    return np.asarray(np.exp(1j * phase))


def make_grid(
    geometry: StackGeometry,
    elevation_m: tuple[float, float],
    *,
    motion_ranges: Sequence[tuple[float, float]] | None = None,
    oversampling: float = 10.0,
    motion_oversampling: float = 4.0,
) -> SearchGrid:
    """Return a grid whose steps are fractions of the Rayleigh units.

    Args:
        geometry: The stack.
        elevation_m: Lowest and highest elevation, metres.
        motion_ranges: Lowest and highest value of each motion parameter; None: the model's default.
        oversampling: Grid points a Rayleigh unit of elevation.
        motion_oversampling: Grid points a Rayleigh unit of each motion parameter.

    Returns:
        The grid.

    Raises:
        ConfigurationError: If a range is empty or not finite, oversampling is below 1, or the grid would
            have more than 2 million atoms.
    """
    ranges = [tuple(elevation_m)]
    given = (
        motion_ranges if motion_ranges is not None else [(-m.default_range, m.default_range) for m in geometry.models]
    )
    ranges += [tuple(pair) for pair in given]
    names = geometry.parameter_names
    if len(ranges) != len(names):
        raise ConfigurationError(f"{len(ranges) - 1} motion ranges are given for {len(names) - 1} motion parameters.")
    factors = [oversampling] + [motion_oversampling] * (len(names) - 1)
    counts = []
    for name, (low, high), unit, factor in zip(names, ranges, geometry.resolution(), factors, strict=True):
        if not (np.isfinite(low) and np.isfinite(high) and low < high):
            raise ConfigurationError(f"The range of {name} ({low} to {high}) is empty; give lowest and highest value.")
        if not factor >= 1:
            raise ConfigurationError(f"The oversampling of {name} must be at least 1, not {factor}.")
        counts.append(int(np.ceil((high - low) / unit * factor)) + 1)
    total = float(np.prod(np.asarray(counts, np.float64)))
    if total > _MAXIMUM_ATOMS:
        raise ConfigurationError(
            f"The search grid would have {total:.3g} points; narrow the ranges or lower the oversampling."
        )
    axes = tuple(np.linspace(low, high, count) for (low, high), count in zip(ranges, counts, strict=True))
    return SearchGrid(geometry, axes)
