"""Dasymetric mapping: the persons of census zones distributed over the pixels where people can live."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.core.window import Window
from ecumene.indicators.population_contract import Weights
from ecumene.samples.grids import crs_of, grid_window
from ecumene.samples.raster_labels import tiles
from ecumene.samples.vectors import read_features

_TILE = 1024
_OVERLAP = 1e-6

EmptyZones = Literal["even", "refuse"]
EMPTY_ZONES: tuple[EmptyZones, ...] = get_args(EmptyZones)
"""What becomes of the persons of a zone whose pixels all weigh 0: spread evenly over it, or an error."""


@dataclass(frozen=True)
class ZoneReport:
    """What was distributed.

    Attributes:
        names: Names of the zones.
        persons: float64 `[Z]`, persons of each zone in the file.
        placed: float64 `[Z]`, of these in the map: all, less the share of the zone's area outside of the map.
        weights: float64 `[Z]`, sum of the weights of its pixels.
        pixels: int64 `[Z]`, pixels of the map in it.
        even: Names of zones without target, whose persons were spread evenly.
        tiny: Names of zones without a pixel centre; their persons are in the pixel under a point inside.
        outside: Names of zones that lie wholly outside of the map.
    """

    names: tuple[str, ...]
    persons: NDArray[np.float64]
    placed: NDArray[np.float64]
    weights: NDArray[np.float64]
    pixels: NDArray[np.int64]
    even: tuple[str, ...]
    tiny: tuple[str, ...]
    outside: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able numbers."""
        return {
            "zones": len(self.names),
            "persons": float(self.persons.sum()),
            "persons_in_map": float(self.placed.sum()),
            "without_target_spread_evenly": list(self.even),
            "smaller_than_a_pixel": list(self.tiny),
            "outside_of_map": list(self.outside),
        }


class ZonePopulation:
    """Persons of zones on a grid: P_i = P_zone w_i / sum of w over the zone (binary: Wright 1936, Geogr. Review 26).

    The sum over a zone is its number of persons to rounding (relative 1e-12), less the share of the zone's area that
    lies outside of the map. A pixel belongs to the zone that holds its centre. Zones whose pixels all weigh 0 follow
    `empty`; zones without a pixel centre put their persons into the pixel under a point inside of them.

    Args:
        geometries: Polygons in the grid's coordinate system.
        persons: Number of each, at least 0.
        geobox: The grid.
        weights: Relative number of persons of a pixel; None: equal, which is areal weighting.
        names: For messages and the report; default their numbers.
        empty: See `EMPTY_ZONES`.

    Raises:
        LabelError: If a number is negative or not finite, zones overlap, none meets the map, or a zone has no target
            and `empty` is `refuse`.
        ConfigurationError: If arguments do not fit together.
    """

    def __init__(
        self,
        geometries: Sequence[Any],
        persons: Sequence[float] | NDArray[np.float64],
        geobox: GeoBox,
        weights: Weights | None = None,
        *,
        names: Sequence[str] | None = None,
        empty: str = "even",
    ) -> None:
        self.geobox = geobox
        self._geometries = list(geometries)
        self._weights = weights
        if empty not in EMPTY_ZONES:
            raise ConfigurationError(f"Empty zones are {' or '.join(EMPTY_ZONES)}, not {empty!r}.")
        counts = np.asarray(persons, dtype=np.float64)
        labels = tuple(names) if names is not None else tuple(str(i) for i in range(len(counts)))
        if counts.shape != (len(self._geometries),) or len(labels) != len(counts):
            raise ConfigurationError("There must be one number of persons and one name for each zone.")
        _check_persons(counts, labels)
        self._no_overlaps(labels)
        shares = self._shares_inside()
        if not shares.any():
            raise LabelError("None of the census zones meets the map; check place and coordinate system.")
        self._prepare(counts, shares, labels, empty)

    def _no_overlaps(self, names: tuple[str, ...]) -> None:
        import shapely

        shapes = np.array(self._geometries, dtype=object)
        tree = shapely.STRtree(shapes)
        one, two = tree.query(shapes, predicate="intersects")
        pairs = np.stack([one, two], axis=1)[one < two]
        common = shapely.area(shapely.intersection(shapes[pairs[:, 0]], shapes[pairs[:, 1]]))
        smaller = np.minimum(shapely.area(shapes[pairs[:, 0]]), shapely.area(shapes[pairs[:, 1]]))
        if (bad := np.flatnonzero(common > _OVERLAP * smaller)).size:
            first, second = (names[i] for i in pairs[bad[0]].tolist())
            raise LabelError(f"The census zones {first} and {second} overlap; their persons would be counted twice.")

    def _shares_inside(self) -> NDArray[np.float64]:
        """Return the share of each zone's area that lies in the map."""
        import shapely

        shapes = np.array(self._geometries, dtype=object)
        extent = extent_polygon(self.geobox)
        areas = shapely.area(shapes)
        inside = shapely.area(shapely.intersection(shapes, extent))
        if (areas <= 0).any():
            raise LabelError("A census zone has no area; give polygons.")
        share: NDArray[np.float64] = inside / areas
        return np.where(share > 1 - 1e-12, 1.0, share)

    def _prepare(
        self, counts: NDArray[np.float64], shares: NDArray[np.float64], names: tuple[str, ...], empty: EmptyZones
    ) -> None:
        """First pass: sums of weights and numbers of pixels of every zone."""
        number = len(counts)
        sums, pixels = np.zeros(number + 1), np.zeros(number + 1, np.int64)
        for tile in tiles(grid_window(self.geobox), _TILE):
            zones = self._zones(tile)
            flat = zones.ravel()
            pixels += np.bincount(flat, minlength=number + 1)
            if self._weights is not None:
                sums += np.bincount(flat, weights=self._checked(tile).ravel(), minlength=number + 1)
        pixels, sums = pixels[1:], (sums[1:] if self._weights is not None else pixels[1:].astype(np.float64))
        placed = counts * shares
        even = (pixels > 0) & (sums <= 0) & (counts > 0)
        if even.any() and empty == "refuse":
            raise LabelError(
                f"The census zone {names[int(np.flatnonzero(even)[0])]} has persons but no pixel where they can live; "
                "choose other weights, or let its persons be spread evenly."
            )
        tiny = (pixels == 0) & (shares > 0) & (counts > 0)
        self._factor = np.zeros(number + 1)
        self._factor[1:] = np.divide(placed, sums, out=np.zeros(number), where=sums > 0)
        self._even = np.zeros(number + 1)
        self._even[1:] = np.where(even, placed / np.maximum(pixels, 1), 0.0)
        self._extra = [self._point(index, placed[index]) for index in np.flatnonzero(tiny).tolist()]
        self.report = ZoneReport(
            names,
            counts,
            placed,
            sums,
            pixels,
            tuple(name for name, flag in zip(names, even.tolist(), strict=True) if flag),
            tuple(name for name, flag in zip(names, tiny.tolist(), strict=True) if flag),
            tuple(name for name, share in zip(names, shares.tolist(), strict=True) if share == 0),
        )

    def _point(self, index: int, persons: float) -> tuple[int, int, float]:
        """Return row and column of the pixel for a zone without a pixel centre."""
        import shapely

        extent = extent_polygon(self.geobox)
        point = shapely.intersection(self._geometries[index], extent).representative_point()
        col, row = ~self.geobox.affine * (point.x, point.y)
        return (
            min(max(int(row), 0), int(self.geobox.height) - 1),
            min(max(int(col), 0), int(self.geobox.width) - 1),
            persons,
        )

    def _zones(self, tile: Window) -> NDArray[np.int64]:
        """Return the number of the zone of each pixel, from 1; 0: none."""
        from rasterio.features import rasterize

        affine = self.geobox.affine * self.geobox.affine.translation(tile.col, tile.row)
        shapes = ((geometry, index + 1) for index, geometry in enumerate(self._geometries))
        burned: NDArray[np.int64] = rasterize(
            shapes, out_shape=(tile.height, tile.width), transform=affine, dtype="int32", fill=0
        ).astype(np.int64)
        return burned

    def _checked(self, window: Window) -> NDArray[np.float64]:
        assert self._weights is not None
        weights = self._weights(window)
        if not np.isfinite(weights).all() or (weights < 0).any():
            raise ConfigurationError("Weights of population must be finite numbers of at least 0.")
        return weights

    def zones(self, window: Window) -> NDArray[np.int64]:
        """Return the position of the zone of each pixel of a window inside the grid; -1: none."""
        return self._zones(window) - 1

    def persons(self, window: Window) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return persons in each pixel of a window inside the grid, and which pixels are in a zone."""
        zones = self._zones(window)
        weights = self._checked(window) if self._weights is not None else np.ones(zones.shape)
        result = weights * self._factor[zones] + self._even[zones]
        known = zones > 0
        for row, col, persons in self._extra:
            if window.row <= row < window.row_stop and window.col <= col < window.col_stop:
                result[row - window.row, col - window.col] += persons
                known[row - window.row, col - window.col] = True
        return result, known


def extent_polygon(geobox: GeoBox) -> Any:
    """Return the outline of a grid in its own coordinate system, as a shapely polygon."""
    import shapely

    corners = ((0, 0), (geobox.width, 0), (geobox.width, geobox.height), (0, geobox.height))
    return shapely.Polygon([geobox.affine * corner for corner in corners])


def _check_persons(counts: NDArray[np.float64], names: tuple[str, ...]) -> None:
    bad = ~np.isfinite(counts) | (counts < 0)
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise LabelError(
            f"The census zone {names[first]} has {counts[first]:g} persons; a population is a number of at least 0."
        )


def read_zones(
    path: Path | str,
    field: str,
    geobox: GeoBox,
    weights: Weights | None = None,
    *,
    name_field: str | None = None,
    empty: str = "even",
) -> ZonePopulation:
    """Read census zones from a vector file and distribute their persons.

    Args:
        path: GeoPackage, GeoJSON, Shapefile, FlatGeobuf or GeoParquet of polygons, in any coordinate system.
        field: Column with the number of persons.
        geobox: The grid.
        weights: See `ZonePopulation`.
        name_field: Column with names; None: rows are numbered.
        empty: See `EMPTY_ZONES`.

    Raises:
        LabelError: If the file cannot be read or used.
    """
    crs_of(geobox)
    features = read_features(path, [field, *([name_field] if name_field else [])], geobox, what="census zones")
    frame = features.frame
    if frame.empty:
        raise LabelError(f"None of the census zones of {Path(path).name} meets the map; check place and column.")
    try:
        persons = frame[field].to_numpy(dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise LabelError(f"The column {field!r} of {Path(path).name} does not hold numbers of persons.") from error
    names = [str(name) for name in (frame[name_field] if name_field else frame.index)]
    return ZonePopulation(list(frame.geometry), persons, geobox, weights, names=names, empty=empty)
