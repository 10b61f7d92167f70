"""Places that could not be decoded, told as few rectangles."""

from __future__ import annotations

from collections.abc import Iterable

from ecumene.core.window import Window


def merged(cells: Iterable[Window], shape: tuple[int, int]) -> tuple[Window, ...]:
    """Join cells to few rectangles: first along rows, then equal runs below each other; cut at the grid's border.

    Args:
        cells: Cells of the lattice, in any order, repetitions allowed.
        shape: Rows and columns of the grid.
    """
    runs: list[Window] = []
    for cell in sorted(set(cells), key=lambda cell: (cell.row, cell.col)):
        last = runs[-1] if runs else None
        if last is not None and (last.row, last.height, last.col_stop) == (cell.row, cell.height, cell.col):
            runs[-1] = Window(last.row, last.col, last.height, last.width + cell.width)
        else:
            runs.append(cell)
    joined: dict[tuple[int, int, int], Window] = {}
    for run in runs:
        above = joined.pop((run.row, run.col, run.width), None)
        top, height = (run.row, run.height) if above is None else (above.row, above.height + run.height)
        joined[run.row_stop, run.col, run.width] = Window(top, run.col, height, run.width)
    grid = Window(0, 0, *shape)
    cut = [common for window in joined.values() if (common := window.intersect(grid)) is not None]
    return tuple(sorted(cut, key=lambda window: (window.row, window.col)))
