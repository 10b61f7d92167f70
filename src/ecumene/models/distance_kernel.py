"""The squared distance of every pixel of a window in one pass, on a processor.

An outlier score that is put together from whole-window array operations costs much beside a quantised network: local
averages, a copy of all features side by side, their projection and its squares each go through memory. Here a row of
pixels stays in the cache from the image to the score, and features on a coarser grid are projected once a cell instead
of once a pixel.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

_F = np.float32
_LARGEST = np.finfo(np.float32).max
_BLOCK = 256  # pixels whose features stay in the first-level cache
_CUBE, _HALF = "float32[:,:,:]", "uint16[:,:,:]"
_FLAT, _SQUARE = "float32[::1]", "float32[:,::1]"


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _add_row(image: Any, y: int, mean: Any, std: Any, padded: Any, sums: Any, weights: Any) -> None:
    """Fill the sums `[C, W]` and numbers `[W]` of usable pixels along row `y`, over as many as `padded` is wider."""
    channels, _, width = image.shape
    radius = (padded.shape[1] - width) // 2
    # Slices that begin at 0: places that could be negative would keep the loops out of vectors.
    valid = padded[channels, radius : radius + width]
    for x in range(width):
        valid[x] = _F(1.0)
    for c in range(channels):
        line = image[c, y]
        for x in range(width):
            valid[x] = valid[x] if abs(line[x]) <= _LARGEST else _F(0.0)
    for c in range(channels):
        line, row = image[c, y], padded[c, radius : radius + width]
        average, deviation = mean[c], std[c]
        for x in range(width):
            value = (line[x] - average) / deviation
            row[x] = value if valid[x] > _F(0.0) else _F(0.0)
    for c in range(channels + 1):
        target = sums[c] if c < channels else weights
        row = padded[c, 0:width]
        for x in range(width):
            target[x] = row[x]
        for step in range(1, 2 * radius + 1):
            row = padded[c, step : step + width]
            for x in range(width):
                target[x] += row[x]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _average_row(ring: Any, number: Any, y: int, height: int, centre: Any, values: Any) -> None:
    """Fill the first C rows of `values` `[.., W]` with the local averages of row `y`, less their centre."""
    depth, channels, width = ring.shape
    radius = depth // 2
    first, last = max(0, y - radius), min(height - 1, y + radius)
    weight = np.zeros(width, np.float32)
    for k in range(first, last + 1):
        row = number[k % depth]
        for x in range(width):
            weight[x] += row[x]
    for c in range(channels):
        target, shift = values[c], centre[c]
        for x in range(width):
            target[x] = _F(0.0)
        for k in range(first, last + 1):
            row = ring[k % depth, c]
            for x in range(width):
                target[x] += row[x]
        for x in range(width):
            target[x] = target[x] / max(weight[x], _F(1e-6)) - shift


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _load_row(features: Any, y: int, centre: Any, values: Any) -> None:
    """Fill `values` `[c, W]` with row `y` of features `[c, H, W]`, less their centre."""
    channels, _, width = features.shape
    if features.strides[0] < features.strides[2]:
        for x in range(width):
            for c in range(channels):
                values[c, x] = features[c, y, x] - centre[c]
    else:
        for c in range(channels):
            for x in range(width):
                values[c, x] = features[c, y, x] - centre[c]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _load_half_row(features: Any, y: int, centre: Any, values: Any) -> None:
    """Do what `_load_row` does, for the bits of bfloat16."""
    channels, _, width = features.shape
    bits = np.empty((channels, width), np.uint32)
    if features.strides[0] < features.strides[2]:
        for x in range(width):
            for c in range(channels):
                bits[c, x] = np.uint32(features[c, y, x]) << np.uint32(16)
    else:
        for c in range(channels):
            for x in range(width):
                bits[c, x] = np.uint32(features[c, y, x]) << np.uint32(16)
    wide = bits.view(np.float32)
    for c in range(channels):
        for x in range(width):
            values[c, x] = wide[c, x] - centre[c]


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def _add_products(row: Any, first: int, values: Any, start: int, stop: int, total: Any) -> None:
    """Add sum_f row[f] values[f, start:stop] over f >= first to `total` `[stop - start]`."""
    features, width = values.shape[0], stop - start
    f = first
    while f + 4 <= features:
        a, b, c, d = row[f], row[f + 1], row[f + 2], row[f + 3]
        v, w = values[f, start:stop], values[f + 1, start:stop]
        s, t = values[f + 2, start:stop], values[f + 3, start:stop]
        for x in range(width):
            total[x] += (a * v[x] + b * w[x]) + (c * s[x] + d * t[x])
        f += 4
    while f < features:
        a, v = row[f], values[f, start:stop]
        for x in range(width):
            total[x] += a * v[x]
        f += 1


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _spread_cells(cells: Any, factor: int, target: Any) -> None:
    """Repeat the values of cells `[w]` for each of their pixels `[w factor]`."""
    if factor == 2:  # what most networks have, and twice as fast with a number that the compiler knows
        for cell in range(cells.size):
            target[2 * cell] = cells[cell]
            target[2 * cell + 1] = cells[cell]
        return
    for cell in range(cells.size):
        for pixel in range(cell * factor, (cell + 1) * factor):
            target[pixel] = cells[cell]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _project_coarse(values: Any, upper: Any, fine: int, spread: Any, factor: int) -> None:
    """Project features on a coarser grid `[c, w]` once a cell, and spread the results over the cells' pixels.

    Fills `spread` `[fine + 1, W]`: what they add to the fine rows of the triangle, and the squares of their own rows.
    """
    cells = values.shape[1]
    total = np.empty(cells, np.float32)
    squares = np.zeros(cells, np.float32)
    for r in range(upper.shape[0]):
        for x in range(cells):
            total[x] = _F(0.0)
        _add_products(upper[r, fine:], max(0, r - fine), values, 0, cells, total)
        if r < fine:
            _spread_cells(total, factor, spread[r])
        else:
            for x in range(cells):
                squares[x] += total[x] * total[x]
    _spread_cells(squares, factor, spread[fine])


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _add_squares(values: Any, upper: Any, spread: Any, total: Any, score: Any) -> None:
    """Fill a row of scores from its fine features `[fine, W]` and what `_project_coarse` has made of the others."""
    fine, width = values.shape
    share = _F(1.0) / _F(upper.shape[0])
    for start in range(0, width, _BLOCK):
        stop = min(width, start + _BLOCK)
        result, own = score[start:stop], spread[fine, start:stop]
        for x in range(stop - start):
            result[x] = own[x]
        for r in range(fine):
            added = spread[r, start:stop]
            for x in range(stop - start):
                total[x] = added[x]
            _add_products(upper[r], r, values, start, stop, total)
            for x in range(stop - start):
                result[x] += total[x] * total[x]
        for x in range(stop - start):
            result[x] *= share


@numba.njit(
    f"void({_CUBE}, {_FLAT}, {_FLAT}, int64, {_CUBE}, {_HALF}, {_CUBE}, {_HALF}, int64, {_FLAT}, {_SQUARE}, {_SQUARE})",
    nogil=True,
    cache=True,
    error_model="numpy",
)
def squared_distances(
    image: Any,
    mean: Any,
    std: Any,
    radius: int,
    fine: Any,
    fine_bits: Any,
    coarse: Any,
    coarse_bits: Any,
    factor: int,
    centre: Any,
    upper: Any,
    score: Any,
) -> None:
    """Fill `score` with |R (x - c)|^2 / F of every pixel.

    x is (bands averaged over usable neighbours, fine features, coarse features). R is an upper triangle, so that its
    last rows read coarse features only.

    Args:
        image: float32 `[C, H, W]`, physical units, NaN for nodata.
        mean: `[C]` that bands are standardised with.
        std: `[C]`.
        radius: Pixels on each side that bands are averaged over.
        fine: float32 `[c, H, W]`, features of pixels; or empty.
        fine_bits: uint16 `[c, H, W]`, instead of them the bits of bfloat16; or empty.
        coarse: float32 `[d, H / factor, W / factor]`, features of cells; or empty.
        coarse_bits: uint16, instead of them the bits of bfloat16; or empty.
        factor: Pixels on a side of a cell.
        centre: `[F]`, F = C + c + d.
        upper: `[F, F]`, the triangle R.
        score: float32 `[H, W]`, overwritten.
    """
    channels, height, width = image.shape
    n_fine = max(fine.shape[0], fine_bits.shape[0])
    n_coarse = max(coarse.shape[0], coarse_bits.shape[0])
    dense, depth = channels + n_fine, 2 * radius + 1
    padded = np.zeros((channels + 1, width + 2 * radius), np.float32)
    ring = np.zeros((depth, channels, width), np.float32)
    number = np.zeros((depth, width), np.float32)
    values = np.empty((dense, width), np.float32)
    cells = np.empty((n_coarse, max(1, width // factor)), np.float32)
    spread = np.zeros((dense + 1, width), np.float32)
    total = np.empty(_BLOCK, np.float32)
    for y in range(min(radius, height)):
        _add_row(image, y, mean, std, padded, ring[y % depth], number[y % depth])
    for y in range(height):
        if y + radius < height:
            _add_row(image, y + radius, mean, std, padded, ring[(y + radius) % depth], number[(y + radius) % depth])
        _average_row(ring, number, y, height, centre, values)
        if fine.shape[0]:
            _load_row(fine, y, centre[channels:], values[channels:])
        else:
            _load_half_row(fine_bits, y, centre[channels:], values[channels:])
        if n_coarse and y % factor == 0:
            if coarse.shape[0]:
                _load_row(coarse, y // factor, centre[dense:], cells)
            else:
                _load_half_row(coarse_bits, y // factor, centre[dense:], cells)
            _project_coarse(cells, upper, dense, spread, factor)
        _add_squares(values, upper, spread, total, score[y])
