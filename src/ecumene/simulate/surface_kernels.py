"""One pass over the cells of the fine grid: their objects, their shade, and what they add to their pixels.

The kernels add in the order in which array operations a material at a time would add, and in the same precision, so
that results do not depend on how the work is divided.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

PARTS = 6
"""End-members that a cell can consist of: two of its material, flowers, dry plants, two of soil."""
_F = np.float32


@numba.njit(nogil=True, cache=True)
def _slot(keys: Any, kinds: Any, table: Any, key: Any, kind: Any) -> Any:
    """Return where in the table an object stands, or the empty place where it belongs."""
    mask = table.size - 1
    mixed = (key ^ (key >> np.uint64(29))) + np.uint64(kind) * np.uint64(0x9E3779B97F4A7C15)
    place = np.int64((mixed * np.uint64(0xBF58476D1CE4E5B9)) >> np.uint64(20)) & mask
    while table[place] >= 0 and (keys[table[place]] != key or kinds[table[place]] != kind):
        place = (place + 1) & mask
    return place


@numba.njit(nogil=True, cache=True)
def number_objects(key: Any, material: Any) -> tuple[Any, Any, Any]:
    """Number the objects of a surface: cells of one key and one material.

    Args:
        key: uint64 `[cells]`.
        material: uint8 `[cells]`.

    Returns:
        The object of each cell, int32 `[cells]`; key, uint64, and material, uint8, of each object, `[objects]`, in the
        order in which they are met.
    """
    number = np.empty(key.size, np.int32)
    keys, kinds = np.empty(1024, np.uint64), np.empty(1024, np.uint8)
    table = np.full(4096, -1, np.int32)
    count = 0
    for cell in range(key.size):
        if cell and key[cell] == key[cell - 1] and material[cell] == material[cell - 1]:
            number[cell] = number[cell - 1]
            continue
        place = _slot(keys, kinds, table, key[cell], material[cell])
        if table[place] < 0:
            if count == keys.size:
                keys, kinds = np.append(keys, np.empty_like(keys)), np.append(kinds, np.empty_like(kinds))
                table = np.full(4 * keys.size, -1, np.int32)
                for known in range(count):
                    table[_slot(keys, kinds, table, keys[known], kinds[known])] = known
                place = _slot(keys, kinds, table, key[cell], material[cell])
            keys[count], kinds[count], table[place] = key[cell], material[cell], count
            count += 1
        number[cell] = table[place]
    return number, keys[:count].copy(), kinds[:count].copy()


@numba.njit(nogil=True, cache=True)
def shade(height: NDArray[np.float32], drop: NDArray[np.float32], rows: Any, cols: Any, shaded: Any) -> None:
    """Mark the cells that stand lower than a ray over something higher.

    Args:
        height: Metres above ground, 0 or more, float32 `[rows, cols]`.
        drop: What a ray has come down after each step, metres, float32 `[steps]`.
        rows: Rows from a cell to where its ray is after each step, `[steps]`.
        cols: The same for columns.
        shaded: bool `[rows, cols]`, all False; cells in the shade are set.
    """
    tall, wide = height.shape
    highest = np.empty(tall, np.float32)
    for row in range(tall):
        highest[row] = height[row].max()
    for row in range(tall):
        target, own = shaded[row], height[row]
        for step in range(drop.size):
            source = row - rows[step]
            # A ray that has come down to the ground shades nothing.
            if source < 0 or source >= tall or highest[source] <= drop[step]:
                continue
            other, back, lower = height[source], cols[step], drop[step]
            for col in range(max(back, 0), wide + min(back, 0)):
                target[col] = target[col] | (other[col - back] - lower > own[col] + _F(0.5))


@numba.njit(nogil=True, cache=True)
def _add_pixel(
    bright: Any, thing: Any, kind: Any, shaded: Any, between: Any, table: Any, members: Any, wide: int, total: Any
) -> None:
    """Add the cells of a pixel, in the order of their materials, into `total` `[end-members, 2]`; see `add_cells`."""
    part = np.zeros((PARTS, 2))
    one = _F(1.0)
    present = np.uint64(0)
    for cell in range(kind.size):
        present |= np.uint64(1) << np.uint64(kind[cell])
    for material in range(members.shape[0]):
        if not (present >> np.uint64(material)) & np.uint64(1):
            continue
        part[:] = 0.0
        for cell in range(kind.size):
            if kind[cell] != material:
                continue
            side, light, which = shaded[cell], bright[cell], thing[cell]
            if material == wide:
                part[0, side] += light * (1.0 - between[which])
                part[1, side] += light * between[which]
                continue
            middle, cover, flowers = _F(between[which]), table[which, 0], table[which, 1]
            litter, soil = table[which, 2], table[which, 3]
            leaves, below = light * (cover - flowers), light * (one - cover)
            ground = below * (one - litter)
            part[0, side] += leaves * (one - middle)
            part[1, side] += leaves * middle
            part[2, side] += light * flowers
            part[3, side] += below * litter
            part[4, side] += ground * (one - soil)
            part[5, side] += ground * soil
        for end in range(PARTS):
            total[members[material, end], 0] += part[end, 0]
            total[members[material, end], 1] += part[end, 1]


@numba.njit(nogil=True, cache=True)
def add_cells(
    bright: Any,
    number: Any,
    shaded: Any,
    kind: Any,
    between: Any,
    table: Any,
    members: Any,
    wide: int,
    factor: int,
    fractions: Any,
) -> None:
    """Add the cells of some rows of pixels into the fractions of their end-members.

    Args:
        bright: Brightness of each cell, float32 `[rows, cols]` on the fine grid.
        number: Object of each cell.
        shaded: Whether it lies in the shade.
        kind: Material of each object, uint8 `[objects]`.
        between: Its place between the pair of its material, float64 `[objects]`.
        table: Its cover of leaves, of flowers, of litter below, and the brightness of the soil, float32 `[objects, 4]`.
        members: The `PARTS` end-members of each material, `[materials, PARTS]`.
        wide: A material without leaves that is mixed in double precision.
        factor: Cells on a side of a pixel.
        fractions: float32 `[end-members, 2, rows, cols]` of pixels, lit and shaded; filled.
    """
    ends, _, rows, cols = fractions.shape
    cells, area = factor * factor, float(factor * factor)
    # A row of pixels at a time: the layers of `fractions` are too far apart to be filled side by side.
    total = np.empty((cols, ends, 2))
    light, thing = np.empty(cells, np.float32), np.empty(cells, np.int32)
    material, side = np.empty(cells, np.uint8), np.empty(cells, np.uint8)
    for row in range(rows):
        total[:] = 0.0
        for col in range(cols):
            cell = 0
            for down in range(factor * row, factor * row + factor):
                for right in range(factor * col, factor * col + factor):
                    light[cell], thing[cell] = bright[down, right], number[down, right]
                    material[cell], side[cell] = kind[number[down, right]], shaded[down, right]
                    cell += 1
            _add_pixel(light, thing, material, side, between, table, members, wide, total[col])
        for end in range(ends):
            for half in range(2):
                target = fractions[end, half, row]
                for col in range(cols):
                    target[col] = total[col, end, half] / area
