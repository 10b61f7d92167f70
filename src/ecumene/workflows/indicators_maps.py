"""Built-up land of several years on one grid: one product a year, or one with the year of first built-up."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, ProductError
from ecumene.core.window import Window
from ecumene.indicators.areas_expected import TILE, read_shares
from ecumene.indicators.class_groups import class_codes
from ecumene.indicators.maps import open_layer, open_map, read_codes, read_masked
from ecumene.indicators.shared_errors import SharedErrors, shared_errors
from ecumene.legends import Legend, LegendClass
from ecumene.mapping.product import RESIDUALS_PROPERTY, Product, ProductLayer, open_product
from ecumene.samples.raster_labels import tiles
from ecumene.scenes.grid import same_grid
from ecumene.trust.block_residuals import BlockResiduals

YEAR_UNIT = "calendar year"
"""Unit of a layer that holds the year of first built-up; 0 in it means not built-up until the end of the series."""
BUILT_PROBABILITY = "built_up_probability"
"""Layer beside it with the probability of being built-up by the end of each year; a band is named by its year."""
BINARY = Legend(
    name="built-up",
    classes=(
        LegendClass(value=0, name="not built-up", colour="#d9d9d9"),
        LegendClass(value=1, name="built-up", colour="#c80000"),
    ),
)
_NAMED = re.compile(r"^(\d{4})=(.+)$")


class BuiltUpMap(Protocol):
    """Built-up land of one year."""

    @property
    def product(self) -> Product:
        """Where it comes from."""
        ...

    @property
    def legend(self) -> Legend:
        """What codes mean."""
        ...

    @property
    def built_codes(self) -> tuple[int, ...]:
        """Codes that are built-up."""
        ...

    def codes(self, window: Window) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return codes of a window inside the grid, and where there are any."""
        ...

    def chances(self, window: Window, groups: Mapping[str, Sequence[int]]) -> dict[str, NDArray[np.float64]] | None:
        """Return the probability that a pixel has one of the codes of each group; None without a layer of it.

        Args:
            window: Inside the grid.
            groups: Codes by name.

        Returns:
            `[h, w]` by the same names, 0 where unknown.
        """
        ...

    @property
    def shared(self) -> SharedErrors | None:
        """How far errors of the built-up probability are shared by neighbours; None where nobody measured it."""
        ...


@dataclass(frozen=True)
class ClassMap:
    """A product of classes of one year, opened."""

    product: Product
    legend: Legend
    built_codes: tuple[int, ...]
    dataset: Any
    probabilities: Any | None
    shared: SharedErrors | None = None

    def codes(self, window: Window) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """See `BuiltUpMap`."""
        return read_codes(self.dataset, window)

    def chances(self, window: Window, groups: Mapping[str, Sequence[int]]) -> dict[str, NDArray[np.float64]] | None:
        """See `BuiltUpMap`; read tile by tile, because all classes of a wide window need much memory."""
        if self.probabilities is None:
            return None
        channels = {name: [self.legend.values.index(code) for code in codes] for name, codes in groups.items()}
        found = {name: np.zeros((window.height, window.width)) for name in groups}
        for tile in tiles(window, TILE):
            shares, _ = read_shares(self.probabilities, tile)
            place = tile.shift(-window.row, -window.col).slices
            for name, chosen in channels.items():
                found[name][place] = shares[chosen].sum(axis=0)
        return found


@dataclass(frozen=True)
class FirstYearMap:
    """A product with the year of first built-up, looked at in one year."""

    product: Product
    year: int
    layer: ProductLayer
    dataset: Any
    by_year: Any | None = None
    legend: Legend = BINARY
    built_codes: tuple[int, ...] = (1,)

    def codes(self, window: Window) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """See `BuiltUpMap`."""
        stored = read_masked(self.dataset, window, 1, "A layer")
        years = stored.filled(0).astype(np.float64) * self.layer.scale + self.layer.offset
        known = ~np.ma.getmaskarray(stored) & np.isfinite(years)
        return ((years > 0) & (years <= self.year) & known).astype(np.int64), known

    def chances(self, window: Window, groups: Mapping[str, Sequence[int]]) -> dict[str, NDArray[np.float64]] | None:
        """See `BuiltUpMap`; those of the last year of the series that is not after this one."""
        if self.by_year is None:
            return None
        stated = self.product.layers[BUILT_PROBABILITY]
        bands = [band for band, year in enumerate(stated.band_names, 1) if int(year) <= self.year]
        if not bands:
            return None
        stored = read_masked(self.by_year, window, bands[-1], "A layer")
        known = ~np.ma.getmaskarray(stored)
        built = np.where(known, stored.filled(0).astype(np.float64) * stated.scale + stated.offset, 0.0)
        return {
            name: (1 in codes) * built + (0 in codes) * np.where(known, 1.0 - built, 0.0)
            for name, codes in groups.items()
        }

    @property
    def shared(self) -> SharedErrors | None:
        """None: nobody measured it."""
        return None


def open_years(
    named: Sequence[str | Path],
    population_years: Sequence[int],
    built_up: Sequence[str] | None,
    stack: contextlib.ExitStack,
) -> dict[int, BuiltUpMap]:
    """Open the maps of built-up land of all years.

    Args:
        named: Product folders, each alone or as `YEAR=FOLDER`.
        population_years: Years of the population data; a product with the year of first built-up is looked at in these.
        built_up: Names of the classes that are built-up, or None, see `class_codes`.
        stack: Closes the files.

    Returns:
        Maps by year, in the order of the years.

    Raises:
        ConfigurationError: If years repeat, are unknown, run backwards or do not meet those of the population, or grids
            differ.
        ProductError: If a product cannot be opened or has no built-up class.
    """
    if not named:
        raise ConfigurationError(
            "Name the products of built-up land: one a year, or one with the year of first built-up."
        )
    opened = [_open_named(str(text)) for text in named]
    series = [product for _, product in opened if product.legend is None and _year_layer(product) is not None]
    if series:
        if len(opened) > 1:
            raise ConfigurationError("A product with the year of first built-up stands alone; name no other beside it.")
        years = _checked_years(list(population_years), "population")
        return _series_maps(series[0], years, stack)
    years = _checked_years([_year_of(product) if year is None else year for year, product in opened], "products")
    if missing := sorted(set(years) ^ set(population_years)):
        lacking = "population" if missing[0] in years else "product"
        raise ConfigurationError(
            f"There is no {lacking} of {missing[0]}; every year needs a product and a population (products: "
            f"{_listed(years)}; populations: {_listed(sorted(population_years))})."
        )
    _one_grid([product for _, product in opened])
    return {year: _class_map(product, built_up, stack) for year, (_, product) in zip(years, opened, strict=True)}


def _open_named(text: str) -> tuple[int | None, Product]:
    match = _NAMED.match(text)
    if match and not Path(text).exists():
        return int(match[1]), open_product(match[2])
    return None, open_product(text)


def _checked_years(years: list[int], what: str) -> list[int]:
    """Return years that rise."""
    for before, after in itertools.pairwise(years):
        if after == before or years.count(after) > 1:
            raise ConfigurationError(f"The {what} name the year {after} twice; give each year once.")
        if after < before:
            raise ConfigurationError(
                f"The years of the {what} run backwards ({before}, then {after}); give them in the order of time."
            )
    if len(years) < 2:
        raise ConfigurationError(
            "Growth needs at least two years; give two products, or one with years and two populations."
        )
    return years


def _listed(years: Sequence[int]) -> str:
    return ", ".join(map(str, years))


def _year_layer(product: Product) -> ProductLayer | None:
    found = [layer for layer in product.layers.values() if layer.unit == YEAR_UNIT and layer.role != "uncertainty"]
    return next((layer for layer in found if layer.role == "value"), found[0] if found else None)


def _period(product: Product) -> tuple[int, int] | None:
    """Return first and last year of the data, or None if the Item states only when it was made."""
    properties = product.properties
    if "ecumene:datetime_is" in properties:
        return None
    ends = (properties.get("start_datetime"), properties.get("end_datetime"))
    moment = properties.get("datetime")
    start, end = (moment, moment) if moment else ends
    return (int(str(start)[:4]), int(str(end)[:4])) if start and end else None


def _year_of(product: Product) -> int:
    period = _period(product)
    folder = product.folder.name
    if period is None:
        raise ConfigurationError(f"The product {folder} states no time of its data; name it as YEAR={folder}.")
    if period[0] != period[1]:
        raise ConfigurationError(
            f"The data of {folder} are of {period[0]} to {period[1]}; say which year it stands for as YEAR={folder}."
        )
    return period[0]


def _series_maps(product: Product, years: Sequence[int], stack: contextlib.ExitStack) -> dict[int, BuiltUpMap]:
    layer = _year_layer(product)
    assert layer is not None  # the caller chose products that have one
    period = _period(product)
    if period is not None and (years[0] < period[0] or years[-1] > period[1]):
        raise ConfigurationError(
            f"The series of {product.folder.name} is of {period[0]} to {period[1]}, but the populations are of "
            f"{_listed(years)}; give populations of years within it."
        )
    dataset, _ = stack.enter_context(open_layer(layer.path))
    chances = None
    stated = product.layers.get(BUILT_PROBABILITY)
    if stated is not None and all(name.isdecimal() for name in stated.band_names):
        chances, _ = stack.enter_context(open_layer(stated.path))
    return {year: FirstYearMap(product, year, layer, dataset, chances) for year in years}


def _class_map(product: Product, built_up: Sequence[str] | None, stack: contextlib.ExitStack) -> ClassMap:
    folder = product.folder.name
    if product.legend is None:
        raise ProductError(f"{folder} has no classes and no layer in the unit {YEAR_UNIT!r}, so no built-up land.")
    codes = class_codes(product.legend, "built-up", built_up)
    if not codes:
        raise ProductError(
            f"{folder} has no class that is known to be built-up (its classes: {', '.join(product.legend.names)}); "
            "name it with --built-up."
        )
    dataset, _ = stack.enter_context(open_map(product.path("value")))
    probabilities = None
    if "probability" in product.layers:
        probabilities, _ = stack.enter_context(open_layer(product.path("probability")))
        if probabilities.count != len(product.legend):
            raise ProductError(f"The probabilities of {folder} do not fit its classes; map again.")
    return ClassMap(product, product.legend, codes, dataset, probabilities, _shared(product, product.legend, codes))


def _shared(product: Product, legend: Legend, codes: Sequence[int]) -> SharedErrors | None:
    """Return what the Item says about errors that built-up pixels share, or None."""
    stated = product.properties.get(RESIDUALS_PROPERTY)
    if stated is None:
        return None
    residuals = BlockResiduals.from_config(stated)
    if len(residuals.mean) != len(legend):
        raise ProductError(f"The calibration in the Item of {product.folder.name} does not fit its classes; map again.")
    return shared_errors(residuals, [legend.values.index(code) for code in codes])


def _one_grid(products: Sequence[Product]) -> None:
    first = products[0]
    for other in products[1:]:
        if not same_grid(first.geobox, other.geobox):
            raise ConfigurationError(
                f"{first.folder.name} and {other.folder.name} are on different grids; map both scenes on one grid."
            )


def padded_codes(
    source: BuiltUpMap, window: Window, margin: int, grid: Window
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return codes of a window with a margin that may reach over the map; unknown there."""
    wide = window.pad(margin)
    codes, known = np.zeros((wide.height, wide.width), np.int64), np.zeros((wide.height, wide.width), bool)
    part = wide.intersect(grid)
    if part is not None:
        place = part.shift(-wide.row, -wide.col).slices
        codes[place], known[place] = source.codes(part)
    return codes, known


def legends_agree(maps: Mapping[int, BuiltUpMap]) -> bool:
    """Whether all years have the same classes."""
    legends = [source.legend for source in maps.values()]
    return all(other.values == legends[0].values and other.names == legends[0].names for other in legends[1:])


class BuiltUpWeights:
    """1 where a map is built-up, else 0: binary weights of dasymetric mapping."""

    def __init__(self, source: BuiltUpMap) -> None:
        self._source = source

    def __call__(self, window: Window) -> NDArray[np.float64]:
        """Return `[h, w]` weights."""
        codes, known = self._source.codes(window)
        return (known & np.isin(codes, self._source.built_codes)).astype(np.float64)
