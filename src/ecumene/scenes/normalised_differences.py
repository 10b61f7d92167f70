"""Normalised differences of two bands by STAC's common names: the indices that need no catalogue of formulas."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ContractError
from ecumene.scenes.common_names import common_bands
from ecumene.scenes.contract import Channel

NORMALISED = {
    "NDVI": ("nir", "red"),
    "NDBI": ("swir16", "nir"),
    "NDWI": ("green", "nir"),
    "MNDWI": ("green", "swir16"),
    "NDMI": ("nir", "swir16"),
    "NBR": ("nir", "swir22"),
    "UI": ("swir22", "nir"),
}
"""(A, B) of (A - B) / (A + B). NDVI: Rouse et al. 1974; NDBI: Zha et al. 2003; NDWI: McFeeters 1996; MNDWI: Xu 2006;
NDMI: Gao 1996; NBR: Key and Benson 2006; UI: Kawamura et al. 1996."""
_LEAST = 1e-6


def normalised_difference(name: str, image: NDArray[np.floating], channels: Sequence[Channel]) -> NDArray[np.float32]:
    """Compute an index of `NORMALISED` on the pixels of a stack.

    Args:
        name: Of the index.
        image: `[..., C, H, W]`, reflectance (or any unit that is proportional to it).
        channels: The stack's channels; the first sensor that has both bands is used.

    Returns:
        float32 `[..., H, W]` in [-1, 1] (clipped: noise can make reflectances negative); NaN where a band has no data
        or both are 0.

    Raises:
        ContractError: If no sensor of the stack has the bands.
    """
    first, second = NORMALISED[name]
    for sensor in dict.fromkeys(channel.sensor for channel in channels):
        known = common_bands(sensor, [channel.band for channel in channels if channel.sensor == sensor])
        if first in known and second in known:
            places = {channel.band: p for p, channel in enumerate(channels) if channel.sensor == sensor}
            one, two = (image[..., places[known[band]], :, :].astype(np.float64) for band in (first, second))
            total = one + two
            with np.errstate(invalid="ignore", divide="ignore"):
                found = np.where(np.abs(total) > _LEAST, (one - two) / total, np.nan)
            return np.clip(found, -1.0, 1.0).astype(np.float32)
    raise ContractError(
        f"The index {name} needs a {first} and a {second} band, which the scenes do not have; choose other indices."
    )


def possible_indices(channels: Sequence[Channel]) -> tuple[str, ...]:
    """Return the indices of `NORMALISED` that a stack has the bands for."""
    found = []
    for name, (first, second) in NORMALISED.items():
        for sensor in dict.fromkeys(channel.sensor for channel in channels):
            known = common_bands(sensor, [channel.band for channel in channels if channel.sensor == sensor])
            if first in known and second in known:
                found.append(name)
                break
    return tuple(found)
