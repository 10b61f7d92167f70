"""Methods of the verb `series` on maps of several dates: built-up land by year, days of a class, lasting switches."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from ecumene.change.series import days_of
from ecumene.change.series_classes import Onset, consistent_classes, first_lasting, lasting_switches, stay_matrix
from ecumene.change.series_gaps import count_days, fill_gaps
from ecumene.core.errors import ConfigurationError, ProductError
from ecumene.core.window import Window
from ecumene.indicators.areas import pixel_areas
from ecumene.indicators.class_groups import class_codes
from ecumene.legends import Legend
from ecumene.mapping.layers import VALID
from ecumene.mapping.product import Product
from ecumene.objectives.prediction import LayerSpec
from ecumene.viewer.charts import Chart
from ecumene.workflows.change_scenes import PROBABILITY_SCALE, outlier_layer
from ecumene.workflows.indicators_maps import BUILT_PROBABILITY, YEAR_UNIT
from ecumene.workflows.product_layers import ClassLayers, open_classes, require_grid, require_legend
from ecumene.workflows.series_growth import DAY_UNIT, area_chart, day_layer, interval_layers, year_of
from ecumene.workflows.series_scenes import Layers, spread_windows

_CERTAINTY = 0.9
_BYTES = 256 << 20
_ROUNDS, _LEAST_SHARE = 15, 0.005


@dataclass
class MapSeries:
    """Maps of the same classes on one grid.

    Attributes:
        maps: The products, opened, in the order of time.
        days: Days since 1970-01-01, `[T]`.
        legend: Their classes.
        geobox: Their grid.
        certainty: Probability that is given to the class of a map without probabilities.
    """

    maps: list[ClassLayers]
    days: NDArray[np.int64]
    legend: Legend
    geobox: GeoBox
    certainty: float

    @classmethod
    def of(
        cls, products: Sequence[tuple[Product, np.datetime64]], stack: contextlib.ExitStack, *, least: int,
        certainty: float = _CERTAINTY,
    ) -> MapSeries:  # fmt: skip
        """Open products.

        Args:
            products: Each with its date, in the order of time.
            stack: Closes the files.
            least: Dates that are needed.
            certainty: See the class.

        Raises:
            SceneError: If dates repeat, run backwards or are too few.
            ContractError: If grids or classes differ.
            ConfigurationError: If the certainty is out of range.
        """
        if not 0.5 < certainty < 1.0:
            raise ConfigurationError(f"The certainty of a map must lie between 0.5 and 1, but is {certainty:g}.")
        days = days_of(np.array([day for _, day in products]), least=least)
        found = [product for product, _ in products]
        geobox = require_grid(found, "map all scenes on one grid")
        legend = require_legend(found)
        return cls([open_classes(product, stack) for product in found], days, legend, geobox, certainty)

    @property
    def edge(self) -> int:
        """Edge of a tile whose probabilities fit into memory."""
        pixels = _BYTES / (8 * len(self.maps) * (len(self.legend) + 4))
        return int(np.clip(int(np.sqrt(pixels)) // 64 * 64, 64, 1024))

    def probabilities(self, window: Window) -> NDArray[np.float64]:
        """Return `[K, T, h, w]`, NaN where a date has no class."""
        count = len(self.legend)
        found = np.full((count, len(self.maps), window.height, window.width), np.nan)
        for t, layers in enumerate(self.maps):
            index, known = layers.classes(window)
            chances = layers.probabilities(window)
            if chances is None:
                chances = np.full((count, *known.shape), (1.0 - self.certainty) / (count - 1))
                np.put_along_axis(chances, index[None], self.certainty, 0)
            found[:, t] = np.where(known, chances, np.nan)
        return found

    def flags(self, window: Window) -> NDArray[np.bool_]:
        """Return where most dates are flagged as outliers."""
        flagged = sum(layers.flags(window).astype(np.int64) for layers in self.maps)
        return np.asarray(2 * flagged > len(self.maps))


def built_up_classes(legend: Legend, named: Sequence[str] | None) -> tuple[int, ...]:
    """Return the indices of the built-up classes of a legend.

    Raises:
        ConfigurationError: If a named class is not there.
        ProductError: If no class is known to be built-up.
    """
    codes = class_codes(legend, "built-up", named)
    if not codes:
        raise ProductError(
            f"The maps have no class that is known to be built-up ({', '.join(legend.names)}); name it with --built-up."
        )
    return tuple(legend.values.index(code) for code in codes)


@dataclass
class GrowthSeries:
    """Year of first built-up from maps of several years: once built-up, always built-up.

    Attributes:
        series: The maps.
        built: Indices of the classes that are built-up.
        level: Of the date's interval.
        area: Expected built-up area by date in square metres, the sum of probabilities, `[T]`; `low` and `high` add up
            what is built-up with a probability above the upper and lower tail.
        low: See `area`.
        high: See `area`.
        mapped: Area whose year says built-up by each date, `[T]`.
        raw: Built-up area of each map by itself, `[T]`.
        prior_ever: Share of pixels that are ever built-up, before their own maps are seen.
        prior_beginning: Share of these that are so from the first date.
    """

    series: MapSeries
    built: tuple[int, ...]
    level: float
    area: NDArray[np.float64] = field(init=False)
    low: NDArray[np.float64] = field(init=False)
    high: NDArray[np.float64] = field(init=False)
    mapped: NDArray[np.float64] = field(init=False)
    raw: NDArray[np.float64] = field(init=False)
    prior_ever: float = 0.5
    prior_beginning: float = 0.5
    name: str = "growth"

    @classmethod
    def of(cls, series: MapSeries, built_up: Sequence[str] | None, level: float) -> GrowthSeries:
        """Find the built-up classes.

        Raises:
            ConfigurationError: If a named class is not there, or the level is out of range.
            ProductError: If no class is known to be built-up.
        """
        if not 0.0 < level < 1.0:
            raise ConfigurationError("The level of an interval must lie between 0 and 1.")
        made = cls(series, built_up_classes(series.legend, built_up), level)
        made._learn_priors()
        return made

    def _learn_priors(self) -> None:
        """Estimate the priors from windows all over the maps: expectation maximisation of the two shares.

        Growth is rare, and with even priors every chance error of the last map would count as new.
        """
        height, width = (int(side) for side in self.series.geobox.shape)
        built = []
        for window in spread_windows(height, width):
            values = self.series.probabilities(window)[list(self.built)].sum(axis=0)
            built.append(values.reshape(len(values), -1))
        sample = np.concatenate(built, axis=1)
        sample = sample[:, np.isfinite(sample).any(axis=0)]
        if not sample.shape[1]:
            return
        for _ in range(_ROUNDS):
            found = first_lasting(
                sample, self.series.days, prior_ever=self.prior_ever, prior_beginning=self.prior_beginning
            )
            ever, beginning = float(found.probability.mean()), float(found.from_beginning.mean())
            self.prior_ever = float(np.clip(ever, _LEAST_SHARE, 1.0 - _LEAST_SHARE))
            self.prior_beginning = float(np.clip(beginning / max(ever, _LEAST_SHARE), _LEAST_SHARE, 1.0 - _LEAST_SHARE))

    def __post_init__(self) -> None:
        self.area, self.low, self.high, self.mapped, self.raw = np.zeros((5, len(self.series.days)))

    @property
    def years(self) -> list[int]:
        """Distinct years of the maps, ascending."""
        return sorted(set(year_of(self.series.days).tolist()))

    @property
    def legends(self) -> dict[str, Legend]:
        """Classes of categorical layers."""
        return {"kind": self.series.legend}

    def layers(self) -> tuple[LayerSpec, ...]:
        """Return the specifications of the layers."""
        years = self.years
        return (
            LayerSpec("value", "uint16", 65535, YEAR_UNIT, role="value", band_names=("year",),
                      description="year of the first map that shows lasting built-up land; 0: not until the end",
                      limits=(float(years[0]), float(years[-1]))),
            *interval_layers(self.level, "the date of building"),
            day_layer("date", "date of the first map that shows it"),
            LayerSpec("probability", "uint16", 65535, scale=PROBABILITY_SCALE, role="probability", limits=(0.0, 1.0),
                      description="probability of being built-up by the last date", band_names=("built-up",)),
            LayerSpec(BUILT_PROBABILITY, "uint16", 65535, scale=PROBABILITY_SCALE, limits=(0.0, 1.0),
                      description="probability of being built-up by the end of each year",
                      band_names=tuple(map(str, years))),
            LayerSpec("kind", "uint8", 255, categorical=True, band_names=("class",),
                      description="class before it was built-up, where that happened within the series"),
            outlier_layer("1 where most of the maps are flagged as outliers; distrust their classes"),
            VALID,
        )  # fmt: skip

    def tile(self, window: Window) -> Layers:
        """Return all layers of a window."""
        chances = self.series.probabilities(window)
        built = chances[list(self.built)].sum(axis=0)
        found = first_lasting(
            built, self.series.days, level=self.level, prior_ever=self.prior_ever, prior_beginning=self.prior_beginning
        )
        known = np.isfinite(found.probability)
        reached = known & np.isfinite(found.day)
        self._add(found, built, known, window)
        date = np.where(reached, found.day, np.nan)
        low = np.where(reached, self._date_before(found.low), np.nan)
        high = np.where(reached, found.high, np.nan)
        started = reached & (found.from_beginning >= 0.5)
        year = np.where(reached, year_of(np.where(reached, found.day, 0)), 0).astype(np.float64)
        last = [int(np.flatnonzero(year_of(self.series.days) == year_)[-1]) for year_ in self.years]
        return {
            "value": np.where(known, year, np.nan)[None],
            "error": 0.5 * (high - low)[None],
            "date_low": low[None],
            "date_high": high[None],
            "date": date[None],
            "probability": found.probability[None],
            BUILT_PROBABILITY: np.clip(found.reached_by[last], 0.0, 1.0),
            "kind": self._class_before(chances, date, reached & ~started)[None],
            "outlier": (self.series.flags(window) & known)[None],
            "valid": known[None],
        }

    def _date_before(self, day: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the date before the first that shows built-up land: the building lies between them."""
        days = self.series.days.astype(np.float64)
        place = np.searchsorted(days, np.where(np.isfinite(day), day, days[0]), side="left")
        return np.asarray(days[np.maximum(place - 1, 0)])

    def _class_before(
        self, chances: NDArray[np.float64], date: NDArray[np.float64], wanted: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Return the code of the most probable class that is not built-up on the dates before; NaN elsewhere."""
        earlier = self.series.days[:, None, None] < np.where(wanted, date, -np.inf)
        sums = np.where(earlier[None] & np.isfinite(chances), chances, 0.0).sum(axis=1)
        sums[list(self.built)] = -1.0
        codes = np.asarray(self.series.legend.values, np.float64)[sums.argmax(axis=0)]
        return np.where(wanted & (sums.max(axis=0) > 0), codes, np.nan)

    def _add(self, found: Onset, built: NDArray[np.float64], known: NDArray[np.bool_], window: Window) -> None:
        """Add the areas of a tile."""
        areas = np.broadcast_to(pixel_areas(self.series.geobox, window), known.shape)
        tail = 0.5 * (1.0 - self.level)
        day = np.where(np.isfinite(found.day), found.day, np.inf)
        for t, when in enumerate(self.series.days):
            by = np.nan_to_num(found.reached_by[t])
            self.area[t] += (areas * by)[known].sum()
            self.mapped[t] += areas[known & (day <= when)].sum()
            self.low[t] += areas[known & (by >= 1.0 - tail)].sum()
            self.high[t] += areas[known & (by >= tail)].sum()
            self.raw[t] += areas[known & (np.nan_to_num(built[t]) > 0.5)].sum()

    def results(self) -> dict[str, Any]:
        """Return the figures of the run."""
        dates = [str(np.datetime64(int(day), "D")) for day in self.series.days]
        return {
            "built_up_m2": {
                date: {
                    "expected": float(a),
                    "low": float(b),
                    "high": float(c),
                    "mapped": float(d),
                    "map_alone": float(e),
                }
                for date, a, b, c, d, e in zip(
                    dates, self.area, self.low, self.high, self.mapped, self.raw, strict=True
                )
            },
            "prior_share_ever_built_up": self.prior_ever,
            "prior_share_of_these_at_the_beginning": self.prior_beginning,
            "built_up_classes": [self.series.legend.names[k] for k in self.built],
        }

    def charts(self) -> list[Chart]:
        """Return charts of the product."""
        years = [round(1970.0 + float(day) / 365.2425, 3) for day in self.series.days]
        # The sum of probabilities lies within its bounds but in odd cases; a chart must not show the contrary.
        low, high = np.minimum(self.low, self.area), np.maximum(self.high, self.area)
        return [area_chart("Built-up land by year", "#c80000", self.level, years, self.area, low, high)]


@dataclass
class DaysSeries:
    """Days of one class in every year, gaps filled.

    Attributes:
        series: The maps.
        target: Index of the class.
        name: Of the method.
    """

    series: MapSeries
    target: int
    name: str = "days"

    @property
    def years(self) -> list[int]:
        """Distinct years of the maps, ascending."""
        return sorted(set(year_of(self.series.days).tolist()))

    @property
    def legends(self) -> dict[str, Legend]:
        """There are no classes."""
        return {}

    def layers(self) -> tuple[LayerSpec, ...]:
        """Return the specifications of the layers."""
        years = tuple(map(str, self.years))
        nan, said = float("nan"), self.series.legend.names[self.target]
        return (
            LayerSpec("value", "float32", nan, "d", role="value", band_names=years,
                      description=f"days with the class {said} in each year"),
            LayerSpec("error", "float32", nan, "d", role="uncertainty", band_names=years,
                      description="days whose class is unknown (also before the first and after the last map), or "
                      "comes from the season alone"),
            LayerSpec("onset", "int32", -(2**31), DAY_UNIT, band_names=years,
                      description="first day of the longest unbroken run of each year"),
            LayerSpec("end", "int32", -(2**31), DAY_UNIT, band_names=years,
                      description="last day of the longest unbroken run of each year"),
            VALID,
        )  # fmt: skip

    def tile(self, window: Window) -> Layers:
        """Return all layers of a window."""
        index = np.full((len(self.series.maps), window.height, window.width), 255, np.uint8)
        for t, layers in enumerate(self.series.maps):
            found, known = layers.classes(window)
            index[t][known] = (found == self.target)[known]
        known_somewhere = np.asarray((index != 255).any(axis=0))
        if not known_somewhere.any():
            bands = len(self.years)
            blank = np.full((bands, *known_somewhere.shape), np.nan)
            return {"value": blank, "error": blank, "onset": blank, "end": blank, "valid": known_somewhere[None]}
        filled = fill_gaps(index, self.series.days)
        seasons = [
            count_days(filled, np.datetime64(f"{year}-01-01"), np.datetime64(f"{year + 1}-01-01"))
            for year in self.years
        ]
        return {
            "value": np.stack([season.duration for season in seasons]),
            "error": np.stack([season.unknown + season.inferred for season in seasons]),
            "onset": np.stack([season.onset for season in seasons]),
            "end": np.stack([season.end for season in seasons]),
            "valid": known_somewhere[None],
        }

    def results(self) -> dict[str, Any]:
        """Return the figures of the run."""
        return {"class": self.series.legend.names[self.target], "years": self.years}

    def charts(self) -> list[Chart]:
        """Return charts of the product."""
        return []


@dataclass
class SwitchSeries:
    """Class switches that last (patch-series change).

    Class probabilities of all dates are smoothed by a hidden Markov model whose classes stay with `stay`; a switch is
    a new most probable class on `last` dates in a row, with a mean probability that exceeds the old class's by
    `margin`. Beside its most probable class, the smoothed probability of a date is shared evenly by the others.

    Attributes:
        series: The maps.
        stay: Probability that a class stays from one date to the next.
        last: Dates in a row.
        margin: Of the probabilities.
        rows: Switches found: x, y, from, to, date before, date after, margin.
    """

    series: MapSeries
    stay: float = 0.95
    last: int = 2
    margin: float = 0.2
    rows: list[tuple[float, float, str, str, str, str, float]] = field(default_factory=list)
    name: str = "switches"

    @property
    def legends(self) -> dict[str, Legend]:
        """Classes of categorical layers."""
        return {"from": self.series.legend, "to": self.series.legend}

    def layers(self) -> tuple[LayerSpec, ...]:
        """Return the specifications of the layers."""
        shared: dict[str, Any] = {"dtype": "uint8", "nodata": 255, "categorical": True, "band_names": ("class",)}
        return (
            day_layer("value", "middle between the dates before and after the first lasting switch", "value"),
            *interval_layers(1.0, "the first lasting switch"),
            LayerSpec("from", description="class before the first lasting switch", **shared),
            LayerSpec("to", description="class after it", **shared),
            LayerSpec("margin", "float32", float("nan"), band_names=("margin",),
                      description="by how much the new class is more probable than the old one"),
            LayerSpec("count", "uint16", 65535, band_names=("switches",), description="number of lasting switches"),
            VALID,
        )  # fmt: skip

    def tile(self, window: Window) -> Layers:
        """Return all layers of a window."""
        chances = self.series.probabilities(window)
        known = np.asarray(np.isfinite(chances).all(axis=0).any(axis=0))
        count = len(self.series.legend)
        paths = consistent_classes(chances, self.series.days, transition=stay_matrix(count, self.stay))
        shape = known.shape
        layers: Layers = {name: np.full((1, *shape), np.nan) for name in ("value", "error", "date_low", "date_high")}
        layers |= {name: np.full((1, *shape), np.nan) for name in ("from", "to", "margin")}
        number = np.zeros((1, *shape))
        moving = known & (paths.path != paths.path[:1]).any(axis=0)
        names, codes = self.series.legend.names, self.series.legend.values
        for row, col in np.argwhere(moving):
            smooth = self._smoothed(paths.path[:, row, col], paths.probability[:, row, col], count)
            found = lasting_switches(smooth, self.series.days, last=self.last, margin=self.margin)
            number[0, row, col] = len(found)
            x, y = self.series.geobox.affine * (window.col + col + 0.5, window.row + row + 0.5)
            for old, new, before, after, gain in found:
                dates = [str(np.datetime64(day, "D")) for day in (before, after)]
                self.rows.append((x, y, names[old], names[new], *dates, gain))  # type: ignore[arg-type]
            if found:
                old, new, before, after, gain = found[0]
                values = {"value": 0.5 * (before + after), "error": 0.5 * (after - before), "date_low": before}
                values |= {"date_high": after, "from": codes[old], "to": codes[new], "margin": gain}
                for key, value in values.items():
                    layers[key][0, row, col] = value
        return layers | {"count": number, "valid": known[None]}

    @staticmethod
    def _smoothed(path: NDArray[np.uint8], sure: NDArray[np.float32], count: int) -> NDArray[np.float64]:
        """Return `[K, T]` with the path's probabilities, the rest shared evenly."""
        smooth = np.repeat(((1.0 - sure) / (count - 1))[None].astype(np.float64), count, axis=0)
        smooth[path, np.arange(len(path))] = sure
        return smooth

    def results(self) -> dict[str, Any]:
        """Return the figures of the run."""
        return {"switches": len(self.rows), "stay": self.stay, "last": self.last, "margin": self.margin}

    def charts(self) -> list[Chart]:
        """Return charts of the product."""
        return []
