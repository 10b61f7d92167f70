"""Windows of scenes that a quantisation is calibrated on and judged by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import SceneError
from ecumene.core.window import Window
from ecumene.models.bundle import Model
from ecumene.scenes.stack import SceneStack
from ecumene.workflows.stacks import Declaration, open_stack

EDGE = 256
"""Wanted edge of a window in pixels; smaller for small scenes."""
SMALLEST_EDGE = 32
MOST_WINDOWS = 32
"""Windows of all scenes together, half of them for each purpose."""
_LEAST_VALID = 0.5

Windows = list[NDArray[np.float32]]


def read_windows(
    model: Model, scenes: Sequence[str | Path], *, mask_clouds: bool = True, **declaration: Unpack[Declaration]
) -> tuple[Windows, Windows]:
    """Read windows evenly over scenes, every other one for the one purpose and for the other.

    Args:
        model: Chooses the channels.
        scenes: One path each.
        mask_clouds: Treat clouds as nodata.
        **declaration: What the files do not say.

    Returns:
        (calibration windows, held-out windows), each `[1, C, H, W]` in physical units with NaN for nodata.

    Raises:
        SceneError: If the scenes have fewer than two windows with enough valid pixels.
        ContractError: If a scene does not fit the model.
    """
    return windows_of(
        model, (open_stack(scene, mask_clouds=mask_clouds, **declaration) for scene in scenes), len(scenes)
    )


def windows_of(model: Model, stacks: Iterable[SceneStack], count: int) -> tuple[Windows, Windows]:
    """Read windows evenly over stacks, every other one for the one purpose and for the other.

    Args:
        model: Chooses the channels.
        stacks: Of one date each.
        count: How many stacks there are.

    Returns:
        (calibration windows, held-out windows), each `[1, C, H, W]` in physical units with NaN for nodata; at most
        `MOST_WINDOWS` together, but two a stack.

    Raises:
        SceneError: If the stacks have fewer than two windows with enough valid pixels.
        ContractError: If a stack does not fit the model.
    """
    found: Windows = []
    share = max(2, MOST_WINDOWS // count)
    for given in stacks:
        stack = model.match(given)
        shape = (int(stack.geobox.shape[0]), int(stack.geobox.shape[1]))
        for window in _lattice(shape, model.spec.stride, share):
            image = stack.read(window).image[0]
            if np.isfinite(image).all(axis=0).mean() >= _LEAST_VALID:
                found.append(np.ascontiguousarray(image[None], np.float32))
    if len(found) < 2:
        raise SceneError(
            "The calibration scenes hold fewer than two windows with enough valid pixels; give larger or clearer ones."
        )
    return found[0::2], found[1::2]


def _lattice(shape: tuple[int, int], stride: int, count: int) -> list[Window]:
    """Return up to `count` windows that do not overlap, evenly over a grid."""
    edge = EDGE
    while edge > SMALLEST_EDGE and (shape[0] // edge) * (shape[1] // edge) < min(count, 4):
        edge //= 2
    edge = max(stride, edge // stride * stride)
    rows, cols = shape[0] // edge, shape[1] // edge
    places = [(row, col) for row in range(rows) for col in range(cols)]
    if len(places) > count:
        places = [places[round(k * (len(places) - 1) / (count - 1))] for k in range(count)]
    return [Window(row * edge, col * edge, edge, edge) for row, col in places]
