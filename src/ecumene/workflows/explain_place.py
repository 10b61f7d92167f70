"""What is explained: a point or a box of the scene, and the pixels that a model needs for it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from odc.geo.geobox import GeoBox

from ecumene.core.errors import ConfigurationError, SceneError
from ecumene.core.window import Window
from ecumene.scenes.grid import full_window

VIEW_RADIUS = 24
"""Pixels on each side of a point for which layers are written."""

LARGEST_BOX = 1024 * 1024
"""Pixels of a box at most."""


@dataclass(frozen=True)
class Place:
    """What is explained.

    Attributes:
        view: Pixels for which layers are written, inside of the grid.
        pixel: Row and column of the explained pixel on the grid; None for a box.
        text: For people, e.g. `x 500123, y 5100456 (EPSG:32633)`.
    """

    view: Window
    pixel: tuple[int, int] | None
    text: str

    @property
    def in_view(self) -> tuple[int, int]:
        """Row and column of the explained pixel in the view; a box has none."""
        assert self.pixel is not None
        return self.pixel[0] - self.view.row, self.pixel[1] - self.view.col


def parse_numbers(text: str, count: int, option: str) -> tuple[float, ...]:
    """Return the numbers of `X,Y` or `XMIN,YMIN,XMAX,YMAX`.

    Raises:
        ConfigurationError: If there are others than `count` finite numbers.
    """
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != count or not all(math.isfinite(number) for number in numbers):
        wanted = "X,Y" if count == 2 else "XMIN,YMIN,XMAX,YMAX"
        raise ConfigurationError(f"{option} takes {count} numbers {wanted}, not {text!r}.")
    return numbers


def _to_pixels(geobox: GeoBox, x: float, y: float, crs: str | None) -> tuple[float, float]:
    """Return (column, row) of coordinates, which are in the grid's system or in `crs`."""
    if crs is not None:
        from pyproj import Transformer
        from pyproj.exceptions import ProjError

        try:
            transformer = Transformer.from_crs(crs, str(geobox.crs), always_xy=True)
        except ProjError as error:
            raise ConfigurationError(f"--at-crs {crs!r} is no coordinate system; give e.g. EPSG:4326.") from error
        x, y = transformer.transform(x, y)
    column, row = ~geobox.affine * (x, y)
    return float(column), float(row)


def _outside(what: str, geobox: GeoBox, crs: str | None) -> SceneError:
    box = geobox.extent.boundingbox
    return SceneError(
        f"{what} lies outside of the scene, which covers x {box.left:.8g} to {box.right:.8g} and y {box.bottom:.8g} to "
        f"{box.top:.8g} in {geobox.crs}; give x before y{'' if crs else ', or name the system of the point: --at-crs'}."
    )


def locate_point(geobox: GeoBox, at: str, crs: str | None) -> Place:
    """Return the place of a point.

    Args:
        geobox: The grid.
        at: `X,Y`, in the grid's coordinate system or in `crs` (x is the longitude).
        crs: Coordinate system of the point; None: the grid's.

    Raises:
        ConfigurationError: If it is not a point, or the system is unknown.
        SceneError: If it lies outside of the grid.
    """
    x, y = parse_numbers(at, 2, "--at")
    column, row = _to_pixels(geobox, x, y, crs)
    inside = math.isfinite(column) and math.isfinite(row)
    pixel = (math.floor(row), math.floor(column)) if inside else (-1, -1)
    whole = full_window(geobox)
    if not (0 <= pixel[0] < whole.height and 0 <= pixel[1] < whole.width):
        raise _outside(f"The point {at}", geobox, crs)
    view = Window(pixel[0], pixel[1], 1, 1).pad(VIEW_RADIUS).intersect(whole)
    assert view is not None
    return Place(view, pixel, f"x {x:.8g}, y {y:.8g} ({crs or geobox.crs})")


def locate_box(geobox: GeoBox, box: str, crs: str | None) -> Place:
    """Return the place of a box, cut to the grid.

    Args:
        geobox: The grid.
        box: `XMIN,YMIN,XMAX,YMAX`, in the grid's coordinate system or in `crs`.
        crs: See `locate_point`.

    Raises:
        ConfigurationError: If it is no box, or too large.
        SceneError: If it lies outside of the grid.
    """
    left, bottom, right, top = parse_numbers(box, 4, "--box")
    if left >= right or bottom >= top:
        raise ConfigurationError(f"--box takes XMIN,YMIN,XMAX,YMAX with a minimum below its maximum, not {box!r}.")
    corners = [_to_pixels(geobox, x, y, crs) for x in (left, right) for y in (bottom, top)]
    columns, rows = np.array(corners).T
    if not np.isfinite(corners).all():
        raise _outside(f"The box {box}", geobox, crs)
    start = math.floor(rows.min() + 1e-6), math.floor(columns.min() + 1e-6)
    stop = math.ceil(rows.max() - 1e-6), math.ceil(columns.max() - 1e-6)
    wanted = Window(*start, max(1, stop[0] - start[0]), max(1, stop[1] - start[1]))
    view = wanted.intersect(full_window(geobox))
    if view is None:
        raise _outside(f"The box {box}", geobox, crs)
    if view.height * view.width > LARGEST_BOX:
        raise ConfigurationError(
            f"The box has {view.height} x {view.width} pixels, but at most {LARGEST_BOX} can be explained at once; "
            "choose a smaller --box."
        )
    return Place(view, None, f"box {box} ({crs or geobox.crs})")
