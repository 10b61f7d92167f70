"""Scenes as the eye would see them, for pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ecumene.viewer import pictures as draw
from ecumene.viewer.report import Picture

if TYPE_CHECKING:
    from ecumene.scenes.contract import SceneSource

NATURAL = (("B04", "B03", "B02"), ("B4", "B3", "B2"), ("B3", "B2", "B1"), ("red", "green", "blue"))
"""Names of the red, green and blue band, by instrument."""


def display_bands(scene: SceneSource) -> tuple[str, ...]:
    """Return red, green and blue of a scene, or its first band where it has no such three."""
    names = set(scene.band_names)
    return next((triple for triple in NATURAL if set(triple) <= names), scene.band_names[:1])


def scene_picture(scene: SceneSource) -> Picture | None:
    """Show a scene in natural colours, or in its first band; None for a scene without bands."""
    from ecumene.scenes.grid import ground_sampling_m
    from ecumene.scenes.reading import read_bands
    from ecumene.scenes.stack import with_resolution

    geobox = scene.geobox
    longest = max(geobox.shape)
    if longest > draw.LONGEST_SIDE:
        geobox = with_resolution(geobox, ground_sampling_m(geobox) * longest / draw.LONGEST_SIDE)
    names = display_bands(scene)
    if not names:
        return None
    image = read_bands(scene, names, geobox)
    when = "undated" if scene.time is None else str(scene.time)[:10]
    caption = f"{scene.sensor} {scene.level}, {when}, {', '.join(names)}, stretched between the 2 % and 98 % quantiles."
    if len(names) == 3:
        return Picture("Scene", draw.composite_picture(image), caption)
    finite = image[0][np.isfinite(image[0])]
    low, high = np.percentile(finite, (2, 98)) if finite.size else (0.0, 1.0)
    return Picture("Scene", draw.ramp_picture(image[0], float(low), float(high), "gray"), caption)
