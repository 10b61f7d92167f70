"""True areas of pixels and of classes, whatever the map's projection."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import CRS, Transformer

from ecumene.core.errors import ConfigurationError
from ecumene.core.window import Window
from ecumene.indicators.maps import TILE, open_map, walk
from ecumene.legends import Legend
from ecumene.samples.grids import crs_of, grid_window, pixel_size_m
from ecumene.samples.raster_labels import tiles

if TYPE_CHECKING:
    import pandas as pd

# The areal scale of a projection is smooth: between nodes 5 km apart, linear interpolation is wrong
# by less than 1e-7 for UTM and 1e-6 for Mercator at 60 degrees.
_NODE_SPACING_M = 5000.0
# Half the step of the numerical derivative: far above the rounding of coordinates, far below curvature.
_DIFFERENCE_M = 50.0


def pixel_areas(geobox: GeoBox, window: Window | None = None) -> NDArray[np.float64]:
    """Return the true area of each pixel on the ellipsoid.

    Geographic grids: the exact area between the pixel's parallels and meridians (authalic latitude,
    Snyder 1987, USGS PP 1395, eq. 3-12). Projected grids: the projected area times the
    local derivative of longitude and latitude; UTM's nominal areas are 0.08 % too small at the central
    meridian and too large at the zone's border.

    Args:
        geobox: The grid.
        window: Part of it, inside (default: all).

    Returns:
        float64 in square metres, `[h, w]`, or `[h, 1]` where all pixels of a row are equal.

    Raises:
        ConfigurationError: If a geographic grid is rotated.
        SceneError: If the grid has no coordinate system.
    """
    window = grid_window(geobox) if window is None else window
    crs = crs_of(geobox)
    if crs.is_geographic:
        return _geographic_areas(geobox, window, crs)
    return _projected_areas(geobox, window, crs)


def _geographic_areas(geobox: GeoBox, window: Window, crs: CRS) -> NDArray[np.float64]:
    affine = geobox.affine
    if affine.b != 0 or affine.d != 0:
        raise ConfigurationError("Areas on a rotated grid in degrees are not supported; reproject the map first.")
    major, e2 = _ellipsoid(crs)
    to_radians = crs.axis_info[0].unit_conversion_factor
    rows = np.arange(window.row, window.row_stop + 1)
    latitude = np.clip((affine.f + affine.e * rows) * to_radians, -np.pi / 2, np.pi / 2)
    zone = np.abs(np.diff(_authalic_q(np.sin(latitude), e2)))
    width = abs(affine.a) * to_radians
    areas: NDArray[np.float64] = (major**2 / 2 * width * zone)[:, None]
    return areas


def _authalic_q(sine: NDArray[np.float64], e2: float) -> NDArray[np.float64]:
    """Return q of Snyder (1987), eq. 3-12: the area from the equator to a latitude is pi a^2 q."""
    if e2 == 0:
        return 2 * sine
    e = np.sqrt(e2)
    q: NDArray[np.float64] = (1 - e2) * (sine / (1 - e2 * sine**2) + np.arctanh(e * sine) / e)
    return q


def _projected_areas(geobox: GeoBox, window: Window, crs: CRS) -> NDArray[np.float64]:
    step = int(np.clip(_NODE_SPACING_M // max(pixel_size_m(geobox)), 1, 64))
    rows = _nodes(window.row, window.row_stop, step)
    cols = _nodes(window.col, window.col_stop, step)
    nodes = _areas_at(geobox, crs, rows, cols)
    centre_rows, centre_cols = (
        np.arange(window.row, window.row_stop) + 0.5,
        np.arange(window.col, window.col_stop) + 0.5,
    )
    down = np.stack([np.interp(centre_rows, rows, nodes[:, i]) for i in range(len(cols))], axis=1)
    right = np.clip(np.searchsorted(cols, centre_cols, side="right") - 1, 0, len(cols) - 2)
    share = (centre_cols - cols[right]) / (cols[right + 1] - cols[right])
    areas: NDArray[np.float64] = down[:, right] * (1 - share) + down[:, right + 1] * share
    return areas


def _areas_at(geobox: GeoBox, crs: CRS, rows: NDArray[np.float64], cols: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the true area of a pixel around each node, from the derivative of longitude and latitude.

    PROJ's own scale factors are not used: for web Mercator they are those of a sphere.
    """
    affine, geographic = geobox.affine, crs.geodetic_crs
    if geographic is None:
        raise ConfigurationError(f"Areas need a coordinate system on the Earth; {crs.name} is none.")
    half = max(0.5, _DIFFERENCE_M / max(pixel_size_m(geobox)))  # in pixels
    transformer = Transformer.from_crs(crs, geographic, always_xy=True)
    across, along = np.meshgrid(cols, rows)

    def degrees(col: NDArray[np.float64], row: NDArray[np.float64]) -> NDArray[np.float64]:
        x = affine.a * col + affine.b * row + affine.c
        y = affine.d * col + affine.e * row + affine.f
        return np.stack(transformer.transform(x, y))

    by_col = degrees(across + half, along) - degrees(across - half, along)
    by_row = degrees(across, along + half) - degrees(across, along - half)
    for difference in (by_col, by_row):
        difference[0] = (difference[0] + 180) % 360 - 180  # across the antimeridian
    jacobian = np.abs(by_col[0] * by_row[1] - by_col[1] * by_row[0]) * (np.pi / 180 / (2 * half)) ** 2
    major, e2 = _ellipsoid(crs)
    latitude = np.radians(degrees(across, along)[1])
    # Radii of curvature in meridian and prime vertical (Snyder 1987, eq. 4-18 to 4-20).
    density = major**2 * (1 - e2) * np.cos(latitude) / (1 - e2 * np.sin(latitude) ** 2) ** 2
    areas: NDArray[np.float64] = jacobian * density
    if not np.isfinite(areas).all():
        raise ConfigurationError("The map reaches beyond the area where its projection is defined.")
    return areas


def _ellipsoid(crs: CRS) -> tuple[float, float]:
    """Return the semi-major axis in metres and the squared eccentricity."""
    ellipsoid = crs.ellipsoid
    if ellipsoid is None:
        raise ConfigurationError(f"Areas need a coordinate system on the Earth; {crs.name} is none.")
    flattening = 1 / ellipsoid.inverse_flattening if ellipsoid.inverse_flattening else 0.0
    return float(ellipsoid.semi_major_metre), flattening * (2 - flattening)


def _nodes(start: int, stop: int, step: int) -> NDArray[np.float64]:
    return np.unique(np.append(np.arange(start, stop, step), stop)).astype(np.float64)


@dataclass(frozen=True)
class ClassAreas:
    """Areas of the codes of a map.

    Attributes:
        codes: Codes that occur, ascending.
        pixels: int64, pixels of each.
        areas_m2: float64, true area of each in square metres.
        nodata_pixels: Pixels without a code.
        legend: What the codes mean, if known.
    """

    codes: tuple[int, ...]
    pixels: NDArray[np.int64]
    areas_m2: NDArray[np.float64]
    nodata_pixels: int
    legend: Legend | None = None

    def __getitem__(self, name: str) -> float:
        """Return the area of a class in square metres, 0 where it does not occur.

        Raises:
            ConfigurationError: If the legend is not known.
            LabelError: If the legend has no such class.
        """
        if self.legend is None:
            raise ConfigurationError("Areas by class name need the map's legend; give it to class_areas.")
        code = self.legend.values[self.legend.index_of(name)]
        return float(self.areas_m2[self.codes.index(code)]) if code in self.codes else 0.0

    def for_legend(self, legend: Legend) -> NDArray[np.float64]:
        """Return the areas in the order of a legend's classes, 0 for those that do not occur.

        Raises:
            ConfigurationError: If the map holds a code that the legend lacks.
        """
        if unknown := [str(code) for code in self.codes if code not in legend.values]:
            raise ConfigurationError(
                f"The map holds codes that are not in its legend: {', '.join(unknown)}; give the map's own legend."
            )
        table = dict(zip(self.codes, self.areas_m2, strict=True))
        return np.array([float(table.get(code, 0.0)) for code in legend.values])

    def to_frame(self) -> pd.DataFrame:
        """Return one row a code: name, pixels, area in square metres and hectares, share."""
        import pandas as pd

        legend = self.legend
        names = {} if legend is None else dict(zip(legend.values, legend.names, strict=True))
        return pd.DataFrame(
            {
                "name": [names.get(code, str(code)) for code in self.codes],
                "pixels": self.pixels,
                "area_m2": self.areas_m2,
                "area_ha": self.areas_m2 / 1e4,
                "share": self.areas_m2 / self.areas_m2.sum() if self.areas_m2.size else self.areas_m2,
            },
            index=pd.Index(self.codes, name="code"),
        )


def class_areas(
    source: Path | str | NDArray[np.integer],
    legend: Legend | None = None,
    *,
    geobox: GeoBox | None = None,
    nodata: int | None = None,
) -> ClassAreas:
    """Sum the true areas of each code of a map, tile by tile.

    Args:
        source: GeoTIFF of codes, or an integer array `[H, W]` with its `geobox`.
        legend: What the codes mean; the map may then hold no other codes.
        geobox: Grid of the array.
        nodata: Code that is no class (besides a file's own nodata; 255 for an array if not given).

    Raises:
        ProductError: If the file cannot be read.
        ConfigurationError: If an array comes without matching grid, or a code is not in the legend.
    """
    totals: dict[int, tuple[int, float]] = {}
    empty = 0
    if isinstance(source, np.ndarray):
        if geobox is None or source.shape != (geobox.height, geobox.width):
            raise ConfigurationError("An array of codes needs the grid of the same shape.")
        fill = 255 if nodata is None else nodata
        for tile in tiles(grid_window(geobox), TILE):
            codes = source[tile.slices].astype(np.int64)
            empty += _add(totals, codes, codes != fill, pixel_areas(geobox, tile))
    else:
        with open_map(source) as (dataset, grid):
            for tile, codes, known in walk(dataset, nodata):
                empty += _add(totals, codes, known, pixel_areas(grid, tile))
    found = sorted(totals)
    pixels = np.array([totals[code][0] for code in found], dtype=np.int64)
    areas = np.array([totals[code][1] for code in found], dtype=np.float64)
    result = ClassAreas(tuple(found), pixels, areas, empty, legend)
    if legend is not None:
        result.for_legend(legend)
    return result


def _add(
    totals: dict[int, tuple[int, float]],
    codes: NDArray[np.int64],
    known: NDArray[np.bool_],
    areas: NDArray[np.float64],
) -> int:
    """Add one tile; return its pixels without code."""
    distinct, inverse = np.unique(codes[known], return_inverse=True)
    pixels = np.bincount(inverse, minlength=len(distinct))
    sums = np.bincount(inverse, weights=np.broadcast_to(areas, codes.shape)[known], minlength=len(distinct))
    for code, count, area in zip(distinct.tolist(), pixels.tolist(), sums.tolist(), strict=True):
        before = totals.get(code, (0, 0.0))
        totals[code] = (before[0] + count, before[1] + area)
    return int((~known).sum())
