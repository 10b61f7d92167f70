"""Methods of the verb `series` on maps of several dates: built-up land by year, lasting switches of class."""

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
from ecumene.change.series_onset_prior import OnsetPrior, estimate_onset_prior
from ecumene.change.sharpness import sharpness_results
from ecumene.core.errors import ContractError, ProductError
from ecumene.core.window import Window
from ecumene.indicators.areas import pixel_areas
from ecumene.indicators.class_groups import class_codes
from ecumene.legends import Legend
from ecumene.mapping.layers import VALID
from ecumene.mapping.product import Product
from ecumene.objectives.prediction import LayerSpec
from ecumene.scenes.grid import same_grid
from ecumene.viewer.charts import Chart
from ecumene.workflows.change_scenes import PROBABILITY_SCALE, outlier_layer
from ecumene.workflows.indicators_maps import BUILT_PROBABILITY, YEAR_UNIT
from ecumene.workflows.product_layers import ClassLayers, open_classes, require_grid, require_legend
from ecumene.workflows.series_growth import area_chart, day_layer, interval_layers, year_of
from ecumene.workflows.series_scenes import Layers, spread_windows
from ecumene.workflows.series_values import check_certainty, check_level

_CERTAINTY = 0.9
_ALIGN = "add --align to bring all maps onto the grid of the first"
_BYTES = 256 << 20
_SAMPLE = 20_000  # pixels that the prior of growth is estimated from


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
        certainty: float = _CERTAINTY, align: bool = False, geobox: GeoBox | None = None,
    ) -> MapSeries:  # fmt: skip
        """Open products.

        Args:
            products: Each with its date, in the order of time.
            stack: Closes the files.
            least: Dates that are needed.
            certainty: See the class.
            align: Whether maps may lie on other grids; they are then read by the nearest pixel.
            geobox: Their grid; None: that of the first.

        Raises:
            SceneError: If dates repeat, run backwards or are too few.
            ContractError: If grids or classes differ.
            ConfigurationError: If the certainty is out of range.
        """
        check_certainty(certainty)
        days = days_of(np.array([day for _, day in products]), least=least)
        found = [product for product, _ in products]
        grid, legend = geobox or found[0].geobox, require_legend(found)
        if not align:
            require_grid(found, _ALIGN)
            if not same_grid(grid, found[0].geobox):
                raise ContractError(f"{found[0].folder.name} lies on another grid than the first maps; {_ALIGN}.")
        return cls([open_classes(product, stack, grid) for product in found], days, legend, grid, certainty)

    @property
    def years(self) -> list[int]:
        """Distinct years of the maps, ascending."""
        return sorted(set(year_of(self.days).tolist()))

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


def class_before(
    series: MapSeries, chances: NDArray[np.float64], built: Sequence[int], date: NDArray[np.float64],
    wanted: NDArray[np.bool_],
) -> NDArray[np.float64]:  # fmt: skip
    """Return the code of the most probable class that is not built-up on the dates before; NaN elsewhere.

    Args:
        series: The maps.
        chances: Their probabilities `[K, T, h, w]`.
        built: Indices of the built-up classes.
        date: Day of first built-up, `[h, w]`.
        wanted: Pixels that were built over within the series.
    """
    earlier = series.days[:, None, None] < np.where(wanted, date, -np.inf)
    sums = np.where(earlier[None] & np.isfinite(chances), chances, 0.0).sum(axis=1)
    sums[list(built)] = -1.0
    codes = np.asarray(series.legend.values, np.float64)[sums.argmax(axis=0)]
    return np.where(wanted & (sums.max(axis=0) > 0), codes, np.nan)


@dataclass
class GrowthSeries:
    """Year of first built-up from maps of several years: once built-up, always built-up.

    Attributes:
        series: The maps.
        built: Indices of the classes that are built-up.
        level: Of the date's interval.
        area: Expected built-up area by date in square metres, the sum of probabilities, `[T]`, as sharp as the dates
            agree: softer ones sum up to too little growth. `low` and `high` add up what is built-up with a probability
            above the upper and lower tail, as soft as the maps say it.
        low: See `area`.
        high: See `area`.
        mapped: Area whose year says built-up by each date, `[T]`.
        raw: Built-up area of each map by itself, `[T]`.
        prior: Of growth, before a pixel's own maps are seen.
    """

    series: MapSeries
    built: tuple[int, ...]
    level: float
    area: NDArray[np.float64] = field(init=False)
    low: NDArray[np.float64] = field(init=False)
    high: NDArray[np.float64] = field(init=False)
    mapped: NDArray[np.float64] = field(init=False)
    raw: NDArray[np.float64] = field(init=False)
    prior: OnsetPrior = field(default_factory=OnsetPrior)
    name: str = "growth"

    @classmethod
    def of(cls, series: MapSeries, built_up: Sequence[str] | None, level: float) -> GrowthSeries:
        """Find the built-up classes.

        Raises:
            ConfigurationError: If a named class is not there, or the level is out of range.
            ProductError: If no class is known to be built-up.
        """
        check_level(level)
        made = cls(series, built_up_classes(series.legend, built_up), level)
        made.prior = made._learned()
        return made

    def _learned(self) -> OnsetPrior:
        """Estimate the prior from windows all over the maps."""
        height, width = (int(side) for side in self.series.geobox.shape)
        parts = [self.series.probabilities(window)[list(self.built)] for window in spread_windows(height, width)]
        sample = np.concatenate([part.sum(axis=0).reshape(part.shape[1], -1) for part in parts], axis=1)
        step = max(1, sample.shape[1] // _SAMPLE)
        return estimate_onset_prior(np.clip(sample[:, ::step], 0.0, 1.0), self.series.days)

    def __post_init__(self) -> None:
        self.area, self.low, self.high, self.mapped, self.raw = np.zeros((5, len(self.series.days)))

    @property
    def legends(self) -> dict[str, Legend]:
        """Classes of categorical layers."""
        return {"kind": self.series.legend}

    def layers(self) -> tuple[LayerSpec, ...]:
        """Return the specifications of the layers."""
        years = self.series.years
        return (
            LayerSpec("value", "uint16", 65535, YEAR_UNIT, role="value", band_names=("year",),
                      description="year of the first map that shows lasting built-up land; 0: not until the end",
                      limits=(float(years[0]), float(years[-1]))),
            *interval_layers(self.level, "the date of building"),
            day_layer("date", "date of the first map that shows it"),
            LayerSpec("probability", "uint16", 65535, scale=PROBABILITY_SCALE, role="probability", limits=(0.0, 1.0),
                      description="probability of being built-up by the last date", band_names=("built-up",)),
            LayerSpec(BUILT_PROBABILITY, "uint16", 65535, scale=PROBABILITY_SCALE, limits=(0.0, 1.0),
                      description="probability of being built-up by the end of each year, as sharp as the dates agree",
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
        found = self._onset(self.prior.apply(np.clip(built, 0.0, 1.0)))
        # What the dates' agreement sharpens is when, not whether the model errs alike on all of them.
        said = found if self.prior.sharpness == 1.0 else self._onset(built)
        known = np.isfinite(found.probability)
        reached = known & np.isfinite(found.day)
        self._add(found, said, built, known, window)
        date = np.where(reached, found.day, np.nan)
        low = np.where(reached, self._date_before(found.low), np.nan)
        high = np.where(reached, found.high, np.nan)
        started = reached & (found.from_beginning >= 0.5)
        year = np.where(reached, year_of(np.where(reached, found.day, 0)), 0).astype(np.float64)
        last = [int(np.flatnonzero(year_of(self.series.days) == year_)[-1]) for year_ in self.series.years]
        return {
            "value": np.where(known, year, np.nan)[None],
            "error": 0.5 * (high - low)[None],
            "date_low": low[None],
            "date_high": high[None],
            "date": date[None],
            "probability": found.probability[None],
            BUILT_PROBABILITY: np.clip(found.reached_by[last], 0.0, 1.0),
            "kind": class_before(self.series, chances, self.built, date, reached & ~started)[None],
            "outlier": (self.series.flags(window) & known)[None],
            "valid": known[None],
        }

    def _onset(self, built: NDArray[np.float64]) -> Onset:
        """Return the first dates of probabilities `[T, h, w]`."""
        return first_lasting(
            built,
            self.series.days,
            level=self.level,
            prior_ever=self.prior.ever,
            prior_beginning=self.prior.beginning,
        )

    def _date_before(self, day: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the date before the first that shows built-up land: the building lies between them."""
        days = self.series.days.astype(np.float64)
        place = np.searchsorted(days, np.where(np.isfinite(day), day, days[0]), side="left")
        return np.asarray(days[np.maximum(place - 1, 0)])

    def _add(
        self, found: Onset, said: Onset, built: NDArray[np.float64], known: NDArray[np.bool_], window: Window
    ) -> None:
        """Add the areas of a tile; ends of the interval by what the maps themselves say."""
        areas = np.broadcast_to(pixel_areas(self.series.geobox, window), known.shape)
        tail = 0.5 * (1.0 - self.level)
        day = np.where(np.isfinite(found.day), found.day, np.inf)
        for t, when in enumerate(self.series.days):
            by = np.nan_to_num(said.reached_by[t])
            self.area[t] += (areas * np.nan_to_num(found.reached_by[t]))[known].sum()
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
            "prior_share_ever_built_up": self.prior.ever,
            "prior_share_of_these_at_the_beginning": self.prior.beginning,
            **sharpness_results(self.prior.sharpness),
            "built_up_classes": [self.series.legend.names[k] for k in self.built],
        }

    def charts(self) -> list[Chart]:
        """Return charts of the product."""
        years = [round(1970.0 + float(day) / 365.2425, 3) for day in self.series.days]
        # The sum of probabilities lies within its bounds but in odd cases; a chart must not show the contrary.
        low, high = np.minimum(self.low, self.area), np.maximum(self.high, self.area)
        return [area_chart("Built-up land by year", "#c80000", self.level, years, self.area, low, high)]


@dataclass
class SwitchSeries:
    """Class switches that last (patch-series change).

    Class probabilities of all dates are smoothed by a hidden Markov model whose classes stay with `stay`; a switch is
    a new most probable class on `last` dates with data in a row, with a mean probability that exceeds the old class's
    by `margin`. Beside its most probable class, the smoothed probability of a date is shared evenly by the others.

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
        seen = np.asarray(np.isfinite(chances).all(axis=0))
        known = np.asarray(seen.any(axis=0))
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
            smooth[:, ~seen[:, row, col]] = np.nan  # a date without the pixel says nothing of when
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
