"""Distances between pixels on the ground, in tiles, so that memory does not grow with the scene."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecumene.core.window import Window

_TILE = 1024


def nearer_than(mask: NDArray[np.bool_], distance_m: float, pixel_m: tuple[float, float]) -> NDArray[np.bool_]:
    """Return which pixels have a True pixel closer than `distance_m`, centre to centre.

    Args:
        mask: bool `[h, w]`.
        distance_m: Distance in metres; 0 or less: nothing is nearer.
        pixel_m: (height, width) of a pixel in metres.

    Returns:
        bool `[h, w]`; True pixels of the mask are near themselves.
    """
    from scipy.ndimage import distance_transform_edt

    near = np.zeros(mask.shape, bool)
    if distance_m <= 0 or not mask.any():
        return near
    reach = (int(np.ceil(distance_m / pixel_m[0])), int(np.ceil(distance_m / pixel_m[1])))
    whole = Window(0, 0, *mask.shape)
    for row in range(0, mask.shape[0], _TILE):
        for col in range(0, mask.shape[1], _TILE):
            tile = Window(row, col, _TILE, _TILE).intersect(whole)
            padded = Window(row - reach[0], col - reach[1], _TILE + 2 * reach[0], _TILE + 2 * reach[1])
            around = padded.intersect(whole)
            if tile is None or around is None:
                continue
            part = mask[around.slices]
            if part.any():
                distance = distance_transform_edt(~part, sampling=pixel_m)
                inner = tile.shift(-around.row, -around.col).slices
                near[tile.slices] = distance[inner] < distance_m * (1 - 1e-12)
    return near


def separate(
    parts: NDArray[np.uint8], order: tuple[int, ...], distance_m: float, pixel_m: tuple[float, float]
) -> NDArray[np.uint8]:
    """Remove pixels until any two of different parts are at least `distance_m` apart.

    Earlier parts of `order` keep their pixels, later ones give way: removing on one side of a border
    is enough for the distance, and loses half as many labels as removing on both.

    Args:
        parts: uint8 `[h, w]`, 0 for no part.
        order: Parts, the one that gives way last first.
        distance_m: Smallest allowed distance between pixel centres.
        pixel_m: (height, width) of a pixel in metres.

    Returns:
        A copy with the removed pixels 0.
    """
    out = parts.copy()
    if distance_m <= 0:
        return out
    kept = np.zeros(parts.shape, bool)
    for part in order:
        here = out == part
        if not here.any():
            continue
        lost = here & nearer_than(kept, distance_m, pixel_m)
        out[lost] = 0
        kept |= here & ~lost
    return out
