"""What one tile reads: scenes on its grid, composed over time where that is asked for, and not read in vain."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from ecumene.core.window import Window
from ecumene.scenes.composites import best_pixel_composite, geomedian_composite, median_composite
from ecumene.scenes.contract import Block, Channel, SceneSource, Stack
from ecumene.scenes.damage import read_around_damage

CompositeKind = Literal["none", "median", "geomedian", "medoid", "least-cloudy"]
COMPOSITES: tuple[CompositeKind, ...] = ("none", "median", "geomedian", "medoid", "least-cloudy")
_STRIP_BYTES = 96 << 20  # of all dates of a strip, so that memory does not grow with the number of dates


@dataclass(frozen=True)
class TileStack:
    """A stack as a tile reads it.

    Attributes:
        base: Scenes on the padded grid of the tile.
        kind: How dates become one image; `none` leaves them as they are.
        shares: For `least-cloudy` the clear share of each frame of `base`, 0..1.
        area: Shapely polygons in the grid's coordinate system; windows that miss them are not read.
    """

    base: Any
    kind: CompositeKind = "none"
    shares: tuple[float, ...] = ()
    area: Any = None

    @property
    def geobox(self) -> GeoBox:
        """The grid."""
        grid: GeoBox = self.base.geobox
        return grid

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Channels of the image."""
        return tuple(self.base.channels)

    @property
    def times(self) -> tuple[np.datetime64 | None, ...]:
        """Times of the frames; a composite has one, the middle of its dates."""
        if self.kind == "none":
            return tuple(self.base.times)
        known = [time.astype("datetime64[s]").astype(np.int64) for time in self.base.times if time is not None]
        if not known:
            return (None,)
        middle = (min(known) + max(known)) // 2
        return (np.datetime64(int(middle), "s").astype("datetime64[ns]"),)

    @property
    def sources(self) -> tuple[SceneSource, ...]:
        """All scenes, for provenance."""
        return tuple(self.base.sources)

    def select(self, channels: Sequence[str]) -> Stack:
        """Return the stack with these channels, in this order."""
        return replace(self, base=self.base.select(channels))

    def read(self, window: Window) -> Block:
        """Read a window; composites are made strip by strip. Thread-safe as the scenes are."""
        frames = len(self.times)
        if not self._wanted(window):
            image = np.full((frames, len(self.channels), window.height, window.width), np.nan, np.float32)
            return Block(image, np.zeros((frames, window.height, window.width), np.bool_), self._dates())
        if self.kind == "none":
            block: Block = self.base.read(window)
            return block
        image = np.empty((1, len(self.channels), window.height, window.width), np.float32)
        row_bytes = 4 * len(self.base.times) * len(self.channels) * window.width
        rows = max(32, _STRIP_BYTES // max(1, row_bytes))
        for top in range(0, window.height, rows):
            height = min(rows, window.height - top)
            strip = self.base.read(Window(window.row + top, window.col, height, window.width))
            image[0, :, top : top + height] = self._compose(strip.image)
        return Block(image, ~np.isnan(image.sum(axis=1)), self._dates())

    def read_intact(self, window: Window) -> tuple[Block, tuple[Window, ...]]:
        """Read a window with NaN for what cannot be decoded; see `scenes.contract.Stack`."""
        return read_around_damage(self, window)

    def _wanted(self, window: Window) -> bool:
        if self.area is None:
            return True
        from shapely.geometry import box

        matrix = self.geobox.affine
        left, top = matrix * (window.col, window.row)
        right, bottom = matrix * (window.col_stop, window.row_stop)
        return bool(self.area.intersects(box(min(left, right), min(top, bottom), max(left, right), max(top, bottom))))

    def _dates(self) -> NDArray[np.int32]:
        days = [0 if time is None else int(time.astype("datetime64[D]").astype(np.int64)) for time in self.times]
        return np.array(days, np.int32)

    def _compose(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        result: NDArray[np.float32]
        if len(image) == 1:
            result = image[0]
            return result
        if self.kind == "least-cloudy":
            shares = np.asarray(self.shares, np.float64)
            return best_pixel_composite(image, "clearest", clear_fractions=shares).image
        makers: Mapping[str, Callable[[Any], Any]] = {
            "median": median_composite,
            "geomedian": geomedian_composite,
            "medoid": best_pixel_composite,
        }
        result = makers[self.kind](image).image
        return result


def clear_share(source: SceneSource) -> float:
    """Return the clear share of a scene, 0..1: what its metadata say, else an estimate from its mask.

    Raises:
        SceneError: If the mask cannot be read.
    """
    said = source.properties.get("eo:cloud_cover")
    if isinstance(said, int | float) and 0 <= said <= 100:
        return round(1.0 - float(said) / 100.0, 6)
    from ecumene.scenes.statistics import scene_statistics

    statistics = scene_statistics(replace(source, bands=source.bands[:1]), 256)
    cloud = statistics.cloud_fraction or 0.0
    return round(statistics.valid_fraction * (1.0 - cloud), 6)
