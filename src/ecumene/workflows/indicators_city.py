"""Everything that is measured of one city, in one pass over the strips of its window."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from ecumene.core.window import Window
from ecumene.indicators.areas import pixel_areas
from ecumene.indicators.growth_losses import FromTo, FromToAreas, RealShare
from ecumene.indicators.growth_types import Growth, GrowthTypes
from ecumene.indicators.landscape import Landscape, LandscapeMetrics
from ecumene.indicators.olofsson import Estimate
from ecumene.indicators.population_contract import Population
from ecumene.indicators.shared_errors import WORST_CASE, SharedArea
from ecumene.samples.grids import grid_window, pixel_size_m
from ecumene.workflows.indicators_maps import BuiltUpMap, legends_agree, padded_codes

_STRIP_ROWS = 256
_BUILT = "built-up"
Period = tuple[int, int]


@dataclass(frozen=True)
class Groups:
    """Codes of the classes that growth can take: name of the group, codes."""

    codes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class CityYear:
    """A city in one year.

    Attributes:
        areas_m2: Mapped area of every class code, over pixels known in all years.
        built_m2: Mapped built-up area.
        expected: Built-up area from the map's probabilities with its interval, or None.
        measured_errors: Whether the interval rests on calibration blocks; if not, errors count as shared within 1 km.
        persons: Population of the pixels that have a class in all years, as the built-up area is theirs.
        persons_known: Share of these pixels at which the population is known.
        landscape: Metrics of the map's classes.
    """

    areas_m2: dict[int, float]
    built_m2: float
    expected: SharedArea | None
    persons: float
    persons_known: float
    landscape: LandscapeMetrics | None
    measured_errors: bool = False


@dataclass(frozen=True)
class CityMeasurements:
    """A city in all years.

    Attributes:
        years: By year.
        area_m2: Area of the city's pixels in the map.
        known_share: Share of it that has a class in all years.
        growth: By period of consecutive years.
        from_to: By period; None where the years have different classes.
        losses_m2: Of a period and a group, the mapped area that became built-up.
        real_losses: Of a period and a group, the lost area that is expected to be real by the maps' probabilities.
    """

    years: dict[int, CityYear]
    area_m2: float
    known_share: float
    growth: dict[Period, Growth]
    from_to: dict[Period, FromTo | None]
    losses_m2: dict[tuple[Period, str], float]
    real_losses: dict[tuple[Period, str], Estimate]


class _Collector:
    """Accumulators of one city."""

    def __init__(self, maps: Mapping[int, BuiltUpMap], groups: Groups, geobox: GeoBox, block: int) -> None:
        pixel = pixel_size_m(geobox)
        self.maps, self.groups, self.block = maps, groups, block
        years = list(maps)
        self.periods: list[Period] = list(itertools.pairwise(years))
        self.landscapes = {year: Landscape(pixel) for year in years}
        self.growth = {period: GrowthTypes(pixel) for period in self.periods}
        agree = legends_agree(maps)
        self.from_to = {period: FromToAreas(maps[period[0]].legend) if agree else None for period in self.periods}
        self.expected = {year: RealShare() for year in years}
        self.real = {(period, name): RealShare() for period in self.periods for name in groups.codes} if agree else {}
        self.areas: dict[int, dict[int, float]] = {year: {} for year in years}
        self.with_probability = dict.fromkeys(years, False)
        self.total = self.known = 0.0

    def add(
        self, window: Window, grid: Window, inside: NDArray[np.bool_], areas: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Add a strip, and return its pixels that have a class in all years; `inside` has one pixel around it."""
        read = {year: padded_codes(source, window, 1, grid) for year, source in self.maps.items()}
        known = inside.copy()
        for _, usable in read.values():
            known &= usable
        core = (slice(1, -1), slice(1, -1))
        here = known[core]
        full = np.broadcast_to(areas, here.shape)
        self.total += float(full[inside[core]].sum())
        self.known += float(full[here].sum())
        built = {year: np.isin(codes, self.maps[year].built_codes) for year, (codes, _) in read.items()}
        chances = self._chances(window)
        for year, (codes, _) in read.items():
            self.landscapes[year].add(codes, known, full)
            self._class_areas(year, codes[core][here], full[here])
            if year in chances:
                self.with_probability[year] = True
                self.expected[year].add(chances[year][_BUILT], here, full, self.block)
        for period in self.periods:
            before, after = period
            self.growth[period].add(built[before], built[after], known, full)
            table = self.from_to[period]
            if table is not None:
                table.add(read[before][0][core], read[after][0][core], here, full)
        self._losses(chances, read, built, here, full)
        return np.asarray(here)

    def _chances(self, window: Window) -> dict[int, dict[str, NDArray[np.float64]]]:
        """Return the probabilities of built-up land and of the groups of every year that has any; each read once."""
        lost = self.groups.codes if self.real else {}
        found = {
            year: source.chances(window, {**lost, _BUILT: source.built_codes}) for year, source in self.maps.items()
        }
        return {year: chances for year, chances in found.items() if chances is not None}

    def _class_areas(self, year: int, codes: NDArray[np.int64], areas: NDArray[np.float64]) -> None:
        distinct, inverse = np.unique(codes, return_inverse=True)
        sums = np.bincount(inverse, weights=areas, minlength=len(distinct))
        for code, area in zip(distinct.tolist(), sums.tolist(), strict=True):
            self.areas[year][code] = self.areas[year].get(code, 0.0) + area

    def _losses(
        self,
        chances: Mapping[int, Mapping[str, NDArray[np.float64]]],
        read: Mapping[int, tuple[NDArray[np.int64], NDArray[np.bool_]]],
        built: Mapping[int, NDArray[np.bool_]],
        here: NDArray[np.bool_],
        areas: NDArray[np.float64],
    ) -> None:
        core = (slice(1, -1), slice(1, -1))
        for (period, name), share in self.real.items():
            before, after = period
            if before not in chances or after not in chances:
                continue
            lost = here & np.isin(read[before][0][core], self.groups.codes[name]) & built[after][core]
            share.add(chances[before][name] * chances[after][_BUILT], lost, areas, self.block)

    def result(
        self, persons: Mapping[int, float], persons_known: Mapping[int, float], confidence: float
    ) -> CityMeasurements:
        """Return everything, with persons and the share of the pixels at which they are known, by year."""
        years = {}
        for year, source in self.maps.items():
            areas = self.areas[year]
            years[year] = CityYear(
                areas,
                sum(areas.get(code, 0.0) for code in source.built_codes),
                self.expected[year].shared(source.shared or WORST_CASE, confidence)
                if self.with_probability[year]
                else None,
                persons[year],
                persons_known[year],
                self.landscapes[year].metrics(),
                source.shared is not None,
            )
        tables = {period: entry.result() if entry is not None else None for period, entry in self.from_to.items()}
        losses = {
            (period, name): table.between(codes, self.maps[period[1]].built_codes)
            for period, table in tables.items()
            for name, codes in self.groups.codes.items()
            if table is not None
        }
        real = {
            (period, name): share.result(confidence)
            for (period, name), share in self.real.items()
            if all(self.with_probability[year] for year in period)
        }
        return CityMeasurements(
            years,
            self.total,
            self.known / self.total if self.total else 0.0,
            {period: entry.result() for period, entry in self.growth.items()},
            tables,
            losses,
            real,
        )


def measure_city(
    geometry: Any,
    geobox: GeoBox,
    maps: Mapping[int, BuiltUpMap],
    populations: Mapping[int, Population],
    groups: Groups,
    confidence: float = 0.95,
) -> CityMeasurements:
    """Measure a city in all years.

    Args:
        geometry: Its boundary in the grid's coordinate system; a pixel belongs to it by its centre.
        geobox: The grid.
        maps: Built-up land by year.
        populations: Persons by the same years.
        groups: Classes whose loss to growth is wanted.
        confidence: Level of intervals from probabilities.
    """
    grid = grid_window(geobox)
    side = max((source.shared or WORST_CASE).block_m for source in maps.values())
    block = int(np.clip(round(side / max(pixel_size_m(geobox))), 1, 1024))
    collector = _Collector(maps, groups, geobox, block)
    persons, seen, pixels = dict.fromkeys(maps, 0.0), dict.fromkeys(maps, 0), 0
    for window in _strips(geometry, geobox, grid, block):
        inside = _burn(geometry, geobox, window.pad(1))
        here = collector.add(window, grid, inside, pixel_areas(geobox, window))
        pixels += int(here.sum())
        for year, population in populations.items():
            found, usable = population.persons(window)
            persons[year] += float(found[here].sum())
            seen[year] += int((usable & here).sum())
    known = {year: count / pixels if pixels else 0.0 for year, count in seen.items()}
    return collector.result(persons, known, confidence)


def _strips(geometry: Any, geobox: GeoBox, grid: Window, block: int) -> list[Window]:
    """Return strips of whole blocks over the city's box, from top to bottom."""
    inverse = ~geobox.affine
    left, bottom, right, top = geometry.bounds
    corners = np.array([inverse * (x, y) for x in (left, right) for y in (bottom, top)])
    low, high = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0))
    col, row = (int(value // block) * block for value in low)
    box = Window(row, col, int(high[1]) - row, int(high[0]) - col).intersect(grid)
    if box is None:
        return []
    rows = block * -(-_STRIP_ROWS // block)
    return [
        Window(start, box.col, min(rows, box.row_stop - start), box.width)
        for start in range(box.row, box.row_stop, rows)
    ]


def _burn(geometry: Any, geobox: GeoBox, window: Window) -> NDArray[np.bool_]:
    from rasterio.features import rasterize

    affine = geobox.affine * geobox.affine.translation(window.col, window.row)
    burned = rasterize([geometry], out_shape=(window.height, window.width), transform=affine, dtype="uint8")
    result: NDArray[np.bool_] = burned.astype(bool)
    return result
