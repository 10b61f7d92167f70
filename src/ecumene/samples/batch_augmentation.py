"""Augmentation of a whole batch of images at once, with what each sample's own augmentation would draw.

Turning, flipping and radiometry are one pass over the pixels here instead of five, in a compiled kernel that other
threads do not wait for; the results are those of the augmentation applied to one sample after the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ecumene.samples.augmentation import Augmentation, Compose, OpticalJitter, RandomD4
from ecumene.samples.contract import Sample


@njit(nogil=True, cache=True, boundscheck=False)
def _turn_and_scale(
    source: NDArray[np.float32],
    element: NDArray[np.int64],
    gain: NDArray[np.float32],
    path: NDArray[np.float32],
    target: NDArray[np.float32],
) -> None:
    """Write `gain * turned + path` of `[N, C, H, W]`; a gain of 1 with a path of 0 keeps the values' bits."""
    images, channels, rows, cols = target.shape
    for image in range(images):
        quarter, flipped = element[image] % 4, element[image] >= 4
        height, width = source.shape[2], source.shape[3]
        for channel in range(channels):
            a, b = gain[image, channel], path[image, channel]
            plane, out = source[image, channel], target[image, channel]
            for row in range(rows):
                for col in range(cols):
                    left = cols - 1 - col if flipped else col
                    if quarter == 0:
                        value = plane[row, left]
                    elif quarter == 1:
                        value = plane[left, width - 1 - row]
                    elif quarter == 2:
                        value = plane[height - 1 - row, width - 1 - left]
                    else:
                        value = plane[height - 1 - left, row]
                    out[row, col] = value * a + b


def _known(augmentation: Augmentation) -> tuple[bool, OpticalJitter | None] | None:
    """Return (whether it turns, its radiometry) of an augmentation that the kernel can do, else None."""
    steps = augmentation.steps if isinstance(augmentation, Compose) else (augmentation,)
    turns = bool(steps) and isinstance(steps[0], RandomD4)
    rest = steps[1:] if turns else steps
    if not rest:
        return turns, None
    if len(rest) == 1 and isinstance(rest[0], OpticalJitter):
        return turns, rest[0]
    return None


def augment_batch(
    images: NDArray[np.float32], augmentation: Augmentation, generators: Sequence[np.random.Generator]
) -> NDArray[np.float32]:
    """Return augmented images `[N, C, P, P]`; the given ones are not changed.

    Args:
        images: float32 `[N, C, P, P]`, NaN for no data.
        augmentation: Of one sample.
        generators: One for each image.
    """
    known = _known(augmentation)
    if known is None or len(images) == 0:
        pairs = zip(images, generators, strict=True)
        done = [augmentation(Sample(image=i, valid=np.isfinite(i).all(axis=0)), g)["image"] for i, g in pairs]
        return np.stack(done).astype(np.float32) if done else images
    turns, jitter = known
    count, channels, height, width = images.shape
    element = np.zeros(count, np.int64)
    gain, path = np.ones((count, channels), np.float32), np.zeros((count, channels), np.float32)
    for number, generator in enumerate(generators):
        if turns:
            element[number] = RandomD4.draw(generator, square=height == width)
        if jitter is not None:
            gains, paths = jitter.draw(generator, 1)
            gain[number, list(jitter.channels)], path[number, list(jitter.channels)] = gains[0], paths[0]
    target = np.empty_like(images)
    _turn_and_scale(np.ascontiguousarray(images), element, gain, path, target)
    return target
