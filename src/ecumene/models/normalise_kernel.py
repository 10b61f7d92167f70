"""Standardising a window in one pass, on a processor."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

_F = np.float32
_LARGEST = np.finfo(np.float32).max
_FLAT = "float32[::1]"


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _find_valid(line: Any, row: Any) -> None:
    """Write whether all channels of a line `[C, W]` are finite."""
    for x in range(row.size):
        row[x] = True
    for c in range(line.shape[0]):
        for x in range(row.size):
            row[x] &= abs(line[c, x]) <= _LARGEST


@numba.njit(
    f"void(float32[:,:,:], {_FLAT}, {_FLAT}, float32[:,:,::1], boolean[:,::1])",
    nogil=True,
    cache=True,
    error_model="numpy",
)
def standardise(image: Any, mean: Any, std: Any, scaled: Any, valid: Any) -> None:
    """Standardise an image and put its channels last.

    Args:
        image: float32 `[C, H, W]`, physical units, NaN for nodata.
        mean: `[C]`.
        std: `[C]`.
        scaled: float32 `[H, W, C]`, overwritten: (image - mean) / std, 0 at pixels that are not valid.
        valid: bool `[H, W]`, overwritten: whether all channels are finite.
    """
    channels, height, width = image.shape
    for y in range(height):
        row = valid[y]
        _find_valid(image[:, y], row)
        for c in range(channels):
            average, deviation = mean[c], std[c]
            for x in range(width):
                scaled[y, x, c] = (image[c, y, x] - average) / deviation if row[x] else _F(0.0)


@numba.njit(
    f"void(float32[:,:,:], {_FLAT}, {_FLAT}, uint16[:,:,::1], boolean[:,::1])",
    nogil=True,
    cache=True,
    error_model="numpy",
)
def standardise_half(image: Any, mean: Any, std: Any, scaled: Any, valid: Any) -> None:
    """Do what `standardise` does and round to bfloat16, to the nearest and ties to even.

    Args:
        image: As `standardise` takes it.
        mean: `[C]`.
        std: `[C]`.
        scaled: The bits of bfloat16, uint16 `[H, W, C]`, overwritten.
        valid: bool `[H, W]`, overwritten.
    """
    channels, height, width = image.shape
    values = np.empty(width, np.float32)
    bits = values.view(np.uint32)
    for y in range(height):
        row = valid[y]
        _find_valid(image[:, y], row)
        for c in range(channels):
            average, deviation = mean[c], std[c]
            for x in range(width):
                values[x] = (image[c, y, x] - average) / deviation if row[x] else _F(0.0)
            for x in range(width):
                odd = (bits[x] >> np.uint32(16)) & np.uint32(1)
                scaled[y, x, c] = (bits[x] + np.uint32(0x7FFF) + odd) >> np.uint32(16)
