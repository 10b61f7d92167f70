"""One tile while it is computed: its layers, and the seams that wait for their second window.

Every window fills its core at once. Of its borders only strips of moments are kept: those on both sides
of a seam inside of the tile meet when the tile's windows are done; those on the tile's own border are
handed to the tile on the right (`right strip`, raw) and below (`bottom strip`, already blended along
columns). A tile is finished when the strips of its left and upper neighbours have arrived, and no
window is executed twice. The outlier score travels with the moments as their last channel.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.memory import zeros_apart
from ecumene.core.window import Window
from ecumene.mapping.blending import blend_columns, blend_rows
from ecumene.mapping.plan import Plan, Tile
from ecumene.mapping.postprocess import Postprocessor, empty_layers

Strip = NDArray[np.float32]


class TileAssembly:
    """Layers of one tile in the making."""

    def __init__(self, plan: Plan, tile: Tile, post: Postprocessor) -> None:
        """Start with nodata everywhere."""
        self.plan, self.tile, self.post = plan, tile, post
        self.rows, self.cols = plan.rows, plan.cols
        self.layers = empty_layers(post.specs, (tile.window.height, tile.window.width))
        self.needed = zeros_apart((tile.window.height, tile.window.width), np.bool_)
        self.damaged: set[Window] = set()
        self._left: dict[tuple[int, int], Strip] = {}
        self._right: dict[tuple[int, int], Strip] = {}
        self._top: dict[int, Strip] = {}
        self._bottom: dict[int, Strip] = {}
        self._channels = post.channels

    @property
    def needs_left(self) -> bool:
        """Whether the left neighbour's strip is part of this tile."""
        return self.cols.seam(self.tile.first_col) > 0

    @property
    def needs_top(self) -> bool:
        """Whether the upper neighbour's strip is part of this tile."""
        return self.rows.seam(self.tile.first_row) > 0

    @property
    def gives_right(self) -> bool:
        """Whether a tile on the right waits for a strip."""
        return self.cols.overhang(self.tile.last_col) > 0

    @property
    def gives_bottom(self) -> bool:
        """Whether a tile below waits for a strip."""
        return self.rows.overhang(self.tile.last_row) > 0

    def add(self, i: int, j: int, needed: NDArray[np.bool_], output: Strip | None, score: Strip | None) -> None:
        """Take one window.

        Args:
            i: Its lattice row.
            j: Its lattice column.
            needed: bool `[h, w]`, pixels of the window inside the grid that get a value.
            output: Raw output `[n_outputs, >=h, >=w]`; None where no pixel is needed.
            score: Outlier score `[>=h, >=w]`.
        """
        (top, bottom), (left, right) = self.rows.cell(i), self.cols.cell(j)
        height, width = bottom - top, right - left
        seam_row, seam_col = self.rows.seam(i), self.cols.seam(j)
        over_row, over_col = self.rows.overhang(i), self.cols.overhang(j)
        place = (
            slice(top - self.tile.window.row, bottom - self.tile.window.row),
            slice(left - self.tile.window.col, right - self.tile.window.col),
        )
        self.needed[place] = needed[:height, :width]
        if output is None or score is None:
            output, score = None, None
        else:
            core = np.s_[seam_row:height, seam_col:width]
            inner = (slice(place[0].start + seam_row, place[0].stop), slice(place[1].start + seam_col, place[1].stop))
            views = {name: array[:, inner[0], inner[1]] for name, array in self.layers.items()}
            self.post.core(output[:, *core], score[core], self.needed[inner], views)
        rows = height + over_row
        if seam_col:
            self._left[i, j] = self._moments(output, score, 0, rows, 0, seam_col)
        if over_col:
            self._right[i, j] = self._moments(output, score, 0, rows, width, width + over_col)
        at = place[1].start + seam_col
        if seam_row:
            part = self._moments(output, score, 0, seam_row, seam_col, width)
            self._band(self._top, i)[:, :, at : place[1].stop] = part
        if over_row:
            part = self._moments(output, score, height, rows, seam_col, width)
            self._band(self._bottom, i)[:, :, at : place[1].stop] = part

    def _moments(self, output: Strip | None, score: Strip | None, r0: int, r1: int, c0: int, c1: int) -> Strip:
        strip: Strip = zeros_apart((self._channels, r1 - r0, c1 - c0), np.float32)
        if output is not None and score is not None:
            strip[:-1] = self.post.moments(output[:, r0:r1, c0:c1])
            strip[-1] = score[r0:r1, c0:c1]
        return strip

    def _band(self, bands: dict[int, Strip], i: int) -> Strip:
        if i not in bands:
            bands[i] = zeros_apart((self._channels, self.plan.overlap, self.tile.window.width), np.float32)
        return bands[i]

    def close_interior(self) -> None:
        """Blend all seams whose two windows both lie in this tile; call it after the last window."""
        tile = self.tile
        for i in range(tile.first_row, tile.last_row + 1):
            for j in range(tile.first_col + 1, tile.last_col + 1):
                if not self.cols.seam(j):
                    continue
                blended = blend_columns(self._right.pop((i, j - 1)), self._left.pop((i, j)))
                self._distribute(i, self.cols.start(j) - tile.window.col, blended)
        self._close_rows(self.plan.overlap if self.needs_left else 0, tile.window.width)

    def close_left(self, strip: Strip) -> None:
        """Blend the seam with the left neighbour, given its right strip."""
        first = 0
        for i in range(self.tile.first_row, self.tile.last_row + 1):
            own = self._left.pop((i, self.tile.first_col))
            stop = first + own.shape[1]
            self._distribute(i, 0, blend_columns(strip[:, first:stop], own))
            first = stop
        self._close_rows(0, self.plan.overlap)

    def close_top(self, strip: Strip) -> None:
        """Blend the seam with the upper neighbour, given its bottom strip; after `close_left`."""
        self._fill(blend_rows(strip, self._top.pop(self.tile.first_row)), 0, 0)

    def right_strip(self) -> Strip:
        """Return what the right neighbour needs: the strips of all window rows, one below the other."""
        order = range(self.tile.first_row, self.tile.last_row + 1)
        return np.concatenate([self._right[i, self.tile.last_col] for i in order], axis=1)

    def bottom_strip(self) -> Strip:
        """Return what the lower neighbour needs; after `close_left`."""
        return self._bottom[self.tile.last_row]

    def _distribute(self, i: int, col: int, blended: Strip) -> None:
        """Give a blended vertical seam of window row i to the layers, and its ends to the horizontal seams."""
        top, bottom = self.rows.cell(i)
        seam, height = self.rows.seam(i), bottom - top
        self._fill(blended[:, seam:height], top - self.tile.window.row + seam, col)
        stop = col + blended.shape[2]
        if seam:
            self._band(self._top, i)[:, :, col:stop] = blended[:, :seam]
        if self.rows.overhang(i):
            self._band(self._bottom, i)[:, :, col:stop] = blended[:, height:]

    def _close_rows(self, start: int, stop: int) -> None:
        """Blend the horizontal seams inside of the tile over columns start..stop."""
        for i in range(self.tile.first_row + 1, self.tile.last_row + 1):
            if not self.rows.seam(i):
                continue
            above, below = self._bottom[i - 1][:, :, start:stop], self._top[i][:, :, start:stop]
            self._fill(blend_rows(above, below), self.rows.start(i) - self.tile.window.row, start)

    def _fill(self, moments: Strip, row: int, col: int) -> None:
        if moments.shape[1] == 0 or moments.shape[2] == 0:
            return
        place = (slice(row, row + moments.shape[1]), slice(col, col + moments.shape[2]))
        needed = self.needed[place]
        if not needed.any():
            return
        views: dict[str, NDArray[Any]] = {name: array[:, *place] for name, array in self.layers.items()}
        self.post.seam(moments[:-1], moments[-1], needed, views)
