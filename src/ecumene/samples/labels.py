"""Labels on a grid: from points, polygons or a categorical raster to class indices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from ecumene.core.errors import LabelError
from ecumene.core.window import Window
from ecumene.legends import Legend
from ecumene.samples.contract import IGNORE


@dataclass(frozen=True)
class LabelRaster:
    """Class labels on (the labelled part of) a grid.

    Attributes:
        window: The bounding box of all labelled pixels, in the grid; `classes` and `feature_id`
            cover it.
        classes: int16 `[h, w]`: index into `legend.classes`, -1 where unlabelled.
        feature_id: int32 `[h, w]`: which feature (row of the file, or patch of a raster) a pixel
            belongs to, -1 where unlabelled.
        legend: The classes.
        geobox: The whole grid.
        features_per_class: Features with at least one pixel, per class.
        conflicts: Pixels covered by features of different classes; they are unlabelled.
        skipped: Features without class or geometry.
        outside: Features that do not meet the grid.
        without_pixels: Features that meet the grid but contain no pixel centre.
        by_date: With a time field: the labels of each date, by days since 1970-01-01. `classes`
            then merges all dates; where dates disagree a pixel counts as a conflict.
        source: File name.
    """

    window: Window
    classes: NDArray[np.int16]
    feature_id: NDArray[np.int32]
    legend: Legend
    geobox: GeoBox
    features_per_class: tuple[int, ...] = ()
    conflicts: int = 0
    skipped: int = 0
    outside: int = 0
    without_pixels: int = 0
    by_date: Mapping[int, LabelRaster] = field(default_factory=dict)
    source: str = ""

    @property
    def pixels_per_class(self) -> tuple[int, ...]:
        """Labelled pixels of each class of the legend."""
        labelled = self.classes[self.classes >= 0]
        return tuple(int(n) for n in np.bincount(labelled, minlength=len(self.legend)))

    @property
    def dates(self) -> tuple[int, ...]:
        """Days since 1970-01-01 for which there are labels of their own, ascending."""
        return tuple(sorted(self.by_date))

    def at(self, date: np.datetime64 | int) -> LabelRaster:
        """Return the labels of one date.

        Raises:
            LabelError: If there are none of that date.
        """
        day = int(date) if isinstance(date, int | np.integer) else int(date.astype("datetime64[D]").astype(int))
        if day not in self.by_date:
            known = ", ".join(str(np.datetime64(item, "D")) for item in self.dates) or "none"
            raise LabelError(f"There are no labels of {np.datetime64(day, 'D')}; the dates are: {known}.")
        return self.by_date[day]

    def read(self, window: Window) -> NDArray[np.int16]:
        """Return class indices of any window of the grid; -1 outside of the labelled part."""
        return read_part(self.classes, self.window, window, IGNORE)


def read_part(array: NDArray, held: Window, window: Window, fill: float) -> NDArray[Any]:
    """Cut `window` out of an array that covers the window `held` of the same grid.

    Args:
        array: `[held.height, held.width]`.
        held: What the array covers.
        window: What is wanted; may lie partly or wholly elsewhere.
        fill: Value outside of `held`.

    Returns:
        A new array `[window.height, window.width]`.
    """
    out = np.full((window.height, window.width), fill, array.dtype)
    common = held.intersect(window)
    if common is not None:
        rows, cols = common.shift(-held.row, -held.col).slices
        out[common.shift(-window.row, -window.col).slices] = array[rows, cols]
    return out


def read_labels(
    path: Path | str,
    field: str | None,
    geobox: GeoBox,
    *,
    legend: Legend | None = None,
    all_touched: bool = False,
    layer: str | None = None,
    time_field: str | None = None,
    ignore: Sequence[str | int] = (),
) -> LabelRaster:
    """Read labels onto a grid.

    A pixel is labelled where its centre lies in a polygon, or where it holds a point. Features of
    different classes over one pixel leave it unlabelled. Without `legend` the classes are ordered
    alphabetically (text) or by number (integers, whose values become the codes where they fit 0..254).

    Args:
        path: Vector file (any coordinate system) or categorical GeoTIFF.
        field: Column with the class (text or integer); None for a raster.
        geobox: The scene's grid.
        legend: Classes and their order; text is matched with names, integers with codes.
        all_touched: Label every pixel that a polygon touches, not only those whose centre it contains.
        layer: Layer of a vector file with several.
        time_field: Column with the date for which a feature holds.
        ignore: Values (names or codes) that mean unlabelled.

    Returns:
        The labels; a single class is allowed here, see `require_trainable`.

    Raises:
        LabelError: If the file cannot be used or no label falls into the grid.
    """
    from ecumene.samples.vectors import is_vector

    if is_vector(path):
        if field is None:
            raise LabelError(f"Say which field of {Path(path).name} holds the class.")
        from ecumene.samples.vector_labels import read_vector_labels

        return read_vector_labels(
            path,
            field,
            geobox,
            legend=legend,
            all_touched=all_touched,
            layer=layer,
            time_field=time_field,
            ignore=ignore,
        )
    from ecumene.samples.raster_labels import read_raster_labels

    return read_raster_labels(path, geobox, legend=legend, ignore=ignore)


def require_trainable(labels: LabelRaster) -> LabelRaster:
    """Return labels whose legend has only classes that occur, or refuse them.

    Raises:
        LabelError: If fewer than two classes have labelled pixels.
    """
    present = [name for name, count in zip(labels.legend.names, labels.pixels_per_class, strict=True) if count]
    if len(present) < 2:
        found = f"only the class {present[0]!r} has" if present else "no class has"
        raise LabelError(f"Training needs at least two classes, but {found} labelled pixels in the scene.")
    return labels


def crop(labels: LabelRaster) -> LabelRaster:
    """Return the labels held in the smallest window that contains all labelled pixels."""
    rows = np.flatnonzero((labels.classes >= 0).any(axis=1))
    cols = np.flatnonzero((labels.classes >= 0).any(axis=0))
    if rows.size == 0:
        return labels
    held = labels.window
    window = Window(
        held.row + int(rows[0]), held.col + int(cols[0]), int(rows[-1] - rows[0]) + 1, int(cols[-1] - cols[0]) + 1
    )
    cut = window.shift(-held.row, -held.col).slices
    return replace(labels, window=window, classes=labels.classes[cut].copy(), feature_id=labels.feature_id[cut].copy())
