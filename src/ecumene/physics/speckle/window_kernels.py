"""Compiled kernels: mean and variance in square and edge-aligned half windows."""

from __future__ import annotations

import numpy as np
from numba import njit

_DIRECTIONS = np.array([[0, 1], [1, 1], [1, 0], [1, -1]], np.int64)  # across vertical, diagonal, ... edges


@njit(cache=True, nogil=True)
def _sub_mean(image, usable, row, col):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    # Mean of 3 x 3 pixels about (row, col); -1 without any.
    total, count = 0.0, 0
    for i in range(max(row - 1, 0), min(row + 2, image.shape[0])):
        for j in range(max(col - 1, 0), min(col + 2, image.shape[1])):
            if usable[i, j]:
                total += image[i, j]
                count += 1
    return total / count if count else -1.0


@njit(cache=True, nogil=True)
def _moments(image, usable, row, col, half, dy, dx):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    # Count, mean and unbiased variance of the window's pixels on the side dy, dx of the centre (0, 0: all of it).
    total, count = 0.0, 0
    top, bottom = max(row - half, 0), min(row + half + 1, image.shape[0])
    left, right = max(col - half, 0), min(col + half + 1, image.shape[1])
    for i in range(top, bottom):
        for j in range(left, right):
            if usable[i, j] and (i - row) * dy + (j - col) * dx >= 0:
                total += image[i, j]
                count += 1
    if count == 0:
        return 0, 0.0, 0.0
    mean = total / count
    square = 0.0
    for i in range(top, bottom):
        for j in range(left, right):
            if usable[i, j] and (i - row) * dy + (j - col) * dx >= 0:
                square += (image[i, j] - mean) ** 2
    return count, mean, square / max(count - 1, 1)


@njit(cache=True, nogil=True)
def window_statistics(image, usable, half, looks, directional, mean, variance, count):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Fill `mean`, `variance`, `count` of every usable pixel's window.

    With `directional`, windows whose variation speckle does not explain are halved along their strongest
    edge, keeping the side that resembles the centre (Lee 1981).
    """
    step = max(1, half - 1)
    directions = _DIRECTIONS
    for row in range(image.shape[0]):
        for col in range(image.shape[1]):
            if not usable[row, col]:
                continue
            n, m, v = _moments(image, usable, row, col, half, 0, 0)
            limit = (1.0 + 2.0 * np.sqrt(2.0 * (1.0 + 1.0 / looks) / n)) / looks
            if directional and n > 3 and v > limit * m * m:
                centre = _sub_mean(image, usable, row, col)
                best, dy, dx = -1.0, 0, 0
                for k in range(4):
                    sy, sx = directions[k, 0], directions[k, 1]
                    ahead = _sub_mean(image, usable, row + step * sy, col + step * sx)
                    behind = _sub_mean(image, usable, row - step * sy, col - step * sx)
                    if ahead <= 0.0 or behind <= 0.0:
                        continue
                    # Multiplicative noise: the ratio, not the difference, has a constant false-alarm rate.
                    contrast = abs(np.log(ahead / behind))
                    if contrast > best:
                        best = contrast
                        near_ahead = abs(np.log(ahead / centre)) <= abs(np.log(behind / centre))
                        dy, dx = (sy, sx) if near_ahead else (-sy, -sx)
                if best > 0.0:
                    n, m, v = _moments(image, usable, row, col, half, dy, dx)
            count[row, col], mean[row, col], variance[row, col] = n, m, v
