"""Image chips around sample points: a scene in natural colours, near and far, always stretched alike."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import LabelError
from ecumene.viewer.painting import to_png
from ecumene.viewer.scene_pictures import display_bands
from ecumene.viewer.sheet.points import SamplePoint

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

    from ecumene.scenes.contract import SceneSource

VIEWS = {"detail": 25, "neighbourhood": 151}
"""Width of a chip in pixels of the map, odd so that the judged pixel is in the middle."""

_MOST_PIXELS = 512
_OVERVIEW = 600  # pixels of the longer side from which the stretch is taken
_KEPT = 128


class Chips:
    """Makes chips of scenes.

    The stretch is the same for all points, and for all dates of a sensor (the median of theirs, so that a clouded
    date does not decide it): places and dates can be compared.

    Attributes:
        scenes: The scenes, in the order of their dates.
    """

    def __init__(self, scenes: Sequence[SceneSource], grid: GeoBox) -> None:
        """Prepare; no pixel is read.

        Args:
            scenes: Acquisitions.
            grid: The map's grid.
        """
        self.scenes = tuple(sorted(scenes, key=lambda scene: (str(scene.time or ""), scene.id)))
        self._grid = grid
        self._stretch: dict[int, NDArray[np.float32]] = {}
        self._kept: OrderedDict[tuple[int, SamplePoint, str], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def describe(self) -> list[dict[str, Any]]:
        """Return what the page shows of each scene: title, date, bands."""
        return [
            {
                "index": number,
                "title": f"{scene.sensor} {scene.level}".strip(),
                "date": "undated" if scene.time is None else str(scene.time)[:10],
                "bands": list(display_bands(scene)),
            }
            for number, scene in enumerate(self.scenes)
        ]

    def chip(self, number: int, point: SamplePoint, view: str) -> bytes:
        """Return a chip as PNG; what the scene does not cover is transparent.

        Args:
            number: Of the scene.
            point: What is in the middle: the pixel of the map that holds the point.
            view: One of `VIEWS`.

        Raises:
            LabelError: If there is no such scene or view.
            SceneError: If the scene cannot be read.
        """
        if not 0 <= number < len(self.scenes) or view not in VIEWS:
            raise LabelError("There is no such image chip.")
        key = (number, point, view)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        picture = to_png(self._painted(number, point, view))
        with self._lock:
            self._kept[key] = picture
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return picture

    def _painted(self, number: int, point: SamplePoint, view: str) -> NDArray[np.uint8]:
        from ecumene.scenes.reading import read_bands

        scene = self.scenes[number]
        names = display_bands(scene)
        image = read_bands(scene, names, self._window(scene, point, VIEWS[view]))
        limits = self._limits(number, names)
        low, high = limits[0][:, None, None], limits[1][:, None, None]
        share = np.clip((image - low) / np.maximum(high - low, 1e-9), 0, 1)
        shown = np.isfinite(image).all(axis=0)
        rgba = np.zeros((*shown.shape, 4), np.uint8)
        colours = np.moveaxis(np.nan_to_num(share * 255).round().astype(np.uint8), 0, -1)
        rgba[..., :3] = colours if colours.shape[-1] == 3 else colours[..., :1]
        rgba[..., 3] = np.where(shown, 255, 0)
        return rgba

    def _window(self, scene: SceneSource, point: SamplePoint, width: int) -> GeoBox:
        """Return the grid of a chip: about the scene's own pixels, in the map's coordinate system."""
        from affine import Affine
        from odc.geo.geobox import GeoBox

        from ecumene.scenes.grid import ground_sampling_m

        ratio = ground_sampling_m(self._grid) / ground_sampling_m(scene.geobox)
        side = int(np.clip(round(width * ratio), min(width, _MOST_PIXELS), _MOST_PIXELS))
        to_map = self._grid.affine * Affine.translation(point.col + 0.5 - width / 2, point.line + 0.5 - width / 2)
        return GeoBox((side, side), to_map * Affine.scale(width / side), self._grid.crs)

    def _limits(self, number: int, names: Sequence[str]) -> NDArray[np.float32]:
        """Return the values `[2, bands]` that become black and white, of all scenes alike."""
        scene = self.scenes[number]
        alike = [
            other
            for other, found in enumerate(self.scenes)
            if (found.sensor, found.level, display_bands(found)) == (scene.sensor, scene.level, tuple(names))
        ]
        return np.median([self._quantiles(other, names) for other in alike], axis=0).astype(np.float32)

    def _quantiles(self, number: int, names: Sequence[str]) -> NDArray[np.float32]:
        """Return the 2 % and 98 % quantiles `[2, bands]` of a whole scene, read once."""
        from ecumene.scenes.grid import ground_sampling_m
        from ecumene.scenes.reading import read_bands
        from ecumene.scenes.stack import with_resolution

        with self._lock:
            found = self._stretch.get(number)
        if found is not None:
            return found
        scene = self.scenes[number]
        grid, longest = scene.geobox, max(scene.geobox.shape)
        if longest > _OVERVIEW:
            grid = with_resolution(grid, ground_sampling_m(grid) * longest / _OVERVIEW)
        image = read_bands(scene, names, grid)
        limits = np.zeros((2, len(names)), np.float32)
        for band in range(len(names)):
            finite = image[band][np.isfinite(image[band])]
            limits[:, band] = np.percentile(finite, (2, 98)) if finite.size else (0.0, 1.0)
        with self._lock:
            self._stretch[number] = limits
        return limits
