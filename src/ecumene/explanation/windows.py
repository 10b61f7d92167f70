"""Which pixels a model needs to see to decide others."""

from __future__ import annotations

from ecumene.core.window import Window


def context_window(target: Window, stride: int, margin: int) -> Window:
    """Return the window that holds all pixels which decide those of `target`.

    Its sides are multiples of the network's stride, and its corner lies on multiples of it from the grid's origin, so
    that pooling falls on the same pixels wherever the target lies. It may reach over the border of the grid.

    Args:
        target: The pixels to decide.
        stride: Of the network.
        margin: Pixels of context on each side.
    """
    wide = target.pad(margin)
    row, col = wide.row // stride * stride, wide.col // stride * stride
    row_stop, col_stop = -(-wide.row_stop // stride) * stride, -(-wide.col_stop // stride) * stride
    return Window(row, col, row_stop - row, col_stop - col)


def tiles_of(area: Window, side: int) -> list[Window]:
    """Return windows of at most `side` pixels that cover an area without overlap, row by row."""
    return [
        Window(row, col, min(side, area.row_stop - row), min(side, area.col_stop - col))
        for row in range(area.row, area.row_stop, side)
        for col in range(area.col, area.col_stop, side)
    ]
