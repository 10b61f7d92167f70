"""What a map of persons can do, and which unit a raster of population has."""

from __future__ import annotations

from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from ecumene.core.errors import ConfigurationError
from ecumene.core.window import Window

PopulationUnit = Literal["persons-per-pixel", "persons-per-km2"]
UNITS: tuple[PopulationUnit, ...] = get_args(PopulationUnit)


class Population(Protocol):
    """Persons on a grid, read window by window; the result does not depend on the windows."""

    @property
    def geobox(self) -> GeoBox:
        """The grid of the map."""
        ...

    def persons(self, window: Window) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return persons in each pixel of a window inside the grid, and where the number is known (0 elsewhere)."""
        ...


class Weights(Protocol):
    """Relative number of persons that a pixel may hold, at least 0."""

    def __call__(self, window: Window) -> NDArray[np.float64]:
        """Return `[h, w]` for a window inside the grid; 0 where nothing is known."""
        ...


def check_unit(unit: str) -> PopulationUnit:
    """Return a unit of population rasters.

    Raises:
        ConfigurationError: If there is none of that name.
    """
    if unit not in UNITS:
        raise ConfigurationError(f"There is no population unit {unit!r}; choose one of: {', '.join(UNITS)}.")
    return unit
