"""A window of a pixel grid; it may reach beyond the grid's border."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Window:
    """Rows `row .. row+height` and columns `col .. col+width` of a grid, in pixels.

    A window may lie partly or wholly outside of the grid: readers fill what is outside with NaN.
    """

    row: int
    col: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """The window as (row, column) slices; only meaningful inside the grid."""
        return slice(self.row, self.row + self.height), slice(self.col, self.col + self.width)

    @property
    def row_stop(self) -> int:
        """First row below the window."""
        return self.row + self.height

    @property
    def col_stop(self) -> int:
        """First column right of the window."""
        return self.col + self.width

    def intersect(self, other: Window) -> Window | None:
        """Return the common part of two windows, or None."""
        row, col = max(self.row, other.row), max(self.col, other.col)
        row_stop, col_stop = min(self.row_stop, other.row_stop), min(self.col_stop, other.col_stop)
        if row >= row_stop or col >= col_stop:
            return None
        return Window(row, col, row_stop - row, col_stop - col)

    def pad(self, margin: int) -> Window:
        """Return the window grown by `margin` pixels on every side."""
        return Window(self.row - margin, self.col - margin, self.height + 2 * margin, self.width + 2 * margin)

    def shift(self, rows: int, cols: int) -> Window:
        """Return the window moved by `rows` and `cols`."""
        return Window(self.row + rows, self.col + cols, self.height, self.width)
