"""Colour ramps of the pages: perceptually even, readable with colour-vision deficiency, the same everywhere."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError

COLORMAPS = ("viridis", "cividis", "magma", "plasma", "gray", "PuOr", "twilight")
"""Names: five even ramps, one that diverges from a middle, one that closes on itself (angles and phases)."""

LEVELS = 256


@cache
def _ramp(name: str) -> NDArray[np.uint8]:
    import matplotlib

    if name not in COLORMAPS:
        raise ConfigurationError(f"There is no colour ramp {name!r}; choose one of: {', '.join(COLORMAPS)}.")
    colours = matplotlib.colormaps[name](np.arange(LEVELS))[:, :3]
    ramp = np.round(colours * 255).astype(np.uint8)
    ramp.setflags(write=False)
    return ramp


def ramp(name: str) -> NDArray[np.uint8]:
    """Return a ramp as uint8 `[256, 3]`, read-only.

    Raises:
        ConfigurationError: If there is no such ramp.
    """
    return _ramp(name)


def hex_ramp(name: str) -> list[str]:
    """Return a ramp as 256 texts `#rrggbb`."""
    return ["#" + bytes(colour).hex() for colour in ramp(name)]


def rgb(colour: str) -> tuple[int, int, int]:
    """Return `#rrggbb` as three numbers of 0 to 255."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
