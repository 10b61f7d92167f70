"""Labels as people make them: a few small polygons in the middle of things, and reference points at random."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio import features
from scipy import ndimage
from shapely.geometry import MultiPolygon, Point, Polygon, shape
from shapely.geometry.base import BaseGeometry

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.core.files import atomic_path
from ecumene.simulate.city import PIXEL_M, City
from ecumene.simulate.cover import LEGEND
from ecumene.simulate.noise import generator

PURE = 0.85
"""Share of a pixel that its class covers where somebody would draw a polygon."""
_REACH = 9  # pixels around the starting point that a polygon may cover
_LEAST_AREA = 250.0


def _hand_drawn(rng: np.random.Generator, x: float, y: float) -> Polygon:
    """Return an irregular polygon of five to nine corners, 25 to 80 m around a point."""
    count = int(rng.integers(5, 10))
    turns = np.sort((np.arange(count) + rng.uniform(-0.3, 0.3, count)) / count) * 2 * np.pi
    radius = rng.uniform(35.0, 80.0) * rng.uniform(0.6, 1.0, count)
    return Polygon(np.stack([x + radius * np.cos(turns), y + radius * np.sin(turns)], axis=1))


def _draw_at(
    rng: np.random.Generator, city: City, inside: NDArray[np.bool_], row: int, col: int
) -> BaseGeometry | None:
    """Return a polygon of pure pixels around one of them, or None if it would be tiny."""
    origin = city.geobox.transform
    top, left = max(row - _REACH, 0), max(col - _REACH, 0)
    patch = inside[top : row + _REACH + 1, left : col + _REACH + 1]
    number, _ = ndimage.label(patch)
    near = number == number[row - top, col - left]
    transform = Affine(PIXEL_M, 0.0, origin.c + left * PIXEL_M, 0.0, -PIXEL_M, origin.f - top * PIXEL_M)
    outlines = features.shapes(near.astype(np.uint8), mask=near, transform=transform)
    region = shape(next(iter(outlines))[0])
    x, y = origin.c + (col + 0.5) * PIXEL_M, origin.f - (row + 0.5) * PIXEL_M
    # First away from the border, then smoothed by less: the polygon stays inside.
    drawn = region.buffer(-2.0).intersection(_hand_drawn(rng, x, y)).simplify(1.5)
    if isinstance(drawn, MultiPolygon):
        drawn = max(drawn.geoms, key=lambda part: part.area)
    return drawn if isinstance(drawn, Polygon) and drawn.area >= _LEAST_AREA else None


def draw_polygons(
    city: City, n_polygons_per_class: int, seed: int, year: int | None = None
) -> list[tuple[str, BaseGeometry]]:
    """Return polygons with their class name, at most `n_polygons_per_class` each, inside their classes.

    Polygons of a class are at least 120 m apart where there is room. A class that is absent, or nowhere
    as wide as a polygon, has none.

    Raises:
        LabelError: If fewer than two classes can be drawn.
        ConfigurationError: If the number is not positive.
    """
    if n_polygons_per_class < 1:
        raise ConfigurationError(f"The number of polygons a class must be positive, not {n_polygons_per_class}.")
    rng = generator(city.seed, seed, 51)
    cover, pure = city.land_cover(year), city.purity(year) >= PURE
    drawn: list[tuple[str, BaseGeometry]] = []
    for item in LEGEND.classes:
        inside = (cover == item.value) & pure
        candidates = rng.permutation(np.argwhere(inside))
        taken: list[tuple[int, int]] = []
        for spacing in (12, 5):
            for row, col in candidates[:4000].tolist():
                if len(taken) == n_polygons_per_class:
                    break
                if any(max(abs(row - r), abs(col - c)) < spacing for r, c in taken):
                    continue
                polygon = _draw_at(rng, city, inside, row, col)
                if polygon is not None and not any(name == item.name and polygon.intersects(p) for name, p in drawn):
                    taken.append((row, col))
                    drawn.append((item.name, polygon))
    if len({name for name, _ in drawn}) < 2:
        raise LabelError("Fewer than two classes are wide enough for polygons in this city; make it larger.")
    return drawn


def _write(path: Path | str, names: list[str], geometry: list[BaseGeometry], crs: str) -> Path:
    import geopandas

    frame = geopandas.GeoDataFrame({"class": names}, geometry=geometry, crs=crs)
    with atomic_path(path) as temporary:
        frame.to_file(temporary, driver="GPKG", layer="labels", engine="pyogrio")
    return Path(path)


def write_labels(
    city: City, path: Path | str, n_polygons_per_class: int, seed: int, *, year: int | None = None
) -> Path:
    """Write training polygons as a GeoPackage with the field `class`.

    Args:
        city: The town.
        path: Target, `.gpkg`.
        n_polygons_per_class: At most so many polygons for each class.
        seed: Another seed, other polygons.
        year: Year of the truth, None for the last.

    Returns:
        The path.

    Raises:
        LabelError: If fewer than two classes can be drawn.
        ProductError: If the file cannot be written.
    """
    drawn = draw_polygons(city, n_polygons_per_class, seed, year)
    return _write(path, [name for name, _ in drawn], [polygon for _, polygon in drawn], str(city.geobox.crs))


def write_reference_points(city: City, path: Path | str, n: int, seed: int, *, year: int | None = None) -> Path:
    """Write a simple random sample of pixel centres with their true class as a GeoPackage, field `class`.

    Args:
        city: The town.
        path: Target, `.gpkg`.
        n: Number of points, drawn without replacement.
        seed: Another seed, other points.
        year: Year of the truth, None for the last.

    Returns:
        The path.

    Raises:
        ConfigurationError: If there are fewer pixels than points, or n is not positive.
        ProductError: If the file cannot be written.
    """
    cover = city.land_cover(year)
    if not 1 <= n <= cover.size:
        raise ConfigurationError(f"The number of reference points must be between 1 and {cover.size}, not {n}.")
    rows, cols = np.unravel_index(generator(city.seed, seed, 52).choice(cover.size, n, replace=False), cover.shape)
    origin = city.geobox.transform
    names = {item.value: item.name for item in LEGEND.classes}
    x, y = origin.c + (cols + 0.5) * PIXEL_M, origin.f - (rows + 0.5) * PIXEL_M
    where: list[BaseGeometry] = [Point(east, north) for east, north in zip(x, y, strict=True)]
    return _write(path, [names[int(code)] for code in cover[rows, cols]], where, str(city.geobox.crs))
