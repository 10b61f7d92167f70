"""Compiled kernels of the non-local filter: one search shift at a time, box sums over patches."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _box(source, half, scratch, target):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    # Sum over (2 half + 1)^2 pixels, cut at the border, by running sums.
    height, width = source.shape
    for row in range(height):
        total = 0.0
        for col in range(min(half, width)):
            total += source[row, col]
        for col in range(width):
            if col + half < width:
                total += source[row, col + half]
            if col - half - 1 >= 0:
                total -= source[row, col - half - 1]
            scratch[row, col] = total
    for row in range(height):
        for col in range(width):
            target[row, col] = 0.0
        for i in range(max(row - half, 0), min(row + half + 1, height)):
            for col in range(width):
                target[row, col] += scratch[i, col]


@njit(cache=True, nogil=True)
def _dissimilarity(image, logs, guide, usable, dy, dx, looks, tolerance, d, n):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    # Per pixel: generalised likelihood ratio of equal reflectivity, plus (with a guide) the symmetric divergence.
    height, width = image.shape
    log4 = np.log(4.0)
    for row in range(height):
        other = row + dy
        for col in range(width):
            d[row, col] = 0.0
            n[row, col] = 0.0
            across = col + dx
            if other < 0 or other >= height or across < 0 or across >= width:
                continue
            if not usable[row, col] or not usable[other, across]:
                continue
            total = image[row, col] + image[other, across]
            value = looks * (2.0 * np.log(total) - logs[row, col] - logs[other, across] - log4)
            if tolerance > 0.0:
                difference = guide[row, col] - guide[other, across]
                value += looks * difference * difference / (guide[row, col] * guide[other, across] * tolerance)
            d[row, col] = value
            n[row, col] = 1.0


@njit(cache=True, nogil=True)
def accumulate_shifts(  # type: ignore[no-untyped-def]  # noqa: ANN201
    image,  # noqa: ANN001
    logs,  # noqa: ANN001
    guide,  # noqa: ANN001
    usable,  # noqa: ANN001
    half_patch,  # noqa: ANN001
    half_search,  # noqa: ANN001
    looks,  # noqa: ANN001
    expected,  # noqa: ANN001
    deviation,  # noqa: ANN001
    strength,  # noqa: ANN001
    tolerance,  # noqa: ANN001
    sums,  # noqa: ANN001
):
    """Add weight, squared weight, weighted intensity and weighted squared intensity of all shifts to `sums`.

    `expected` and `deviation` are the moments of one pixel's dissimilarity between equal reflectivities; the weight
    falls as a Gaussian of the patch's standardised dissimilarity, of width `strength`.
    """
    height, width = image.shape
    d, n = np.zeros((height, width)), np.zeros((height, width))
    scratch, patch, count = np.zeros((height, width)), np.zeros((height, width)), np.zeros((height, width))
    for dy in range(half_search + 1):
        for dx in range(-half_search, half_search + 1):
            if dy == 0 and dx <= 0:
                continue
            _dissimilarity(image, logs, guide, usable, dy, dx, looks, tolerance, d, n)
            _box(d, half_patch, scratch, patch)
            _box(n, half_patch, scratch, count)
            for row in range(max(0, -dy), min(height, height - dy)):
                for col in range(max(0, -dx), min(width, width - dx)):
                    if n[row, col] == 0.0:
                        continue
                    pixels = count[row, col]
                    z = (patch[row, col] - pixels * expected) / (deviation * np.sqrt(pixels))
                    if z > 4.0 * strength:
                        continue
                    weight = np.exp(-0.5 * (z / strength) ** 2) if z > 0.0 else 1.0
                    here, there = image[row, col], image[row + dy, col + dx]
                    sums[0, row, col] += weight
                    sums[1, row, col] += weight * weight
                    sums[2, row, col] += weight * there
                    sums[3, row, col] += weight * there * there
                    sums[0, row + dy, col + dx] += weight
                    sums[1, row + dy, col + dx] += weight * weight
                    sums[2, row + dy, col + dx] += weight * here
                    sums[3, row + dy, col + dx] += weight * here * here
