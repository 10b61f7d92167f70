"""Block size and overviews of a Cloud-Optimised GeoTIFF that every validator takes for tiled.

Validators tell tiles from strips by comparing widths: a level exactly one block wide and more than 512
pixels high passes for untiled, although it is not. Scenes whose width is a power of two have such a
level, so that another block size, or fewer overviews, must be taken for them.
"""

from __future__ import annotations

_STRIPED_ABOVE = 512
_LARGEST = 4096


def _levels(shape: tuple[int, int], block: int) -> list[tuple[int, int]]:
    """Sizes of the full resolution and of the overviews, each half of the one before, until one block holds it."""
    levels = [shape]
    while max(levels[-1]) > block:
        height, width = levels[-1]
        levels.append((-(-height // 2), -(-width // 2)))
    return levels


def block_layout(shape: tuple[int, int], wanted: int) -> tuple[int, int]:
    """Choose block size and number of overviews.

    Args:
        shape: Rows and columns of the raster.
        wanted: Preferred block size, a power of two.

    Returns:
        (block size, number of overviews): the preferred size with all overviews where that is
        recognised as tiled, else the nearest size that is, else as many overviews as are.
    """
    best = (wanted, -1)
    for block in (wanted, 2 * wanted, 4 * wanted, wanted // 2, wanted // 4):
        if not 64 <= block <= _LARGEST:
            continue
        levels = _levels(shape, block)
        fine = 0
        while fine < len(levels) and not (levels[fine][1] == block and levels[fine][0] > _STRIPED_ABOVE):
            fine += 1
        if fine == len(levels):
            return block, fine - 1
        if fine - 1 > best[1]:
            best = (block, fine - 1)
    return best[0], max(best[1], 0)
