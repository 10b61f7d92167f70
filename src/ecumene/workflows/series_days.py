"""Days of a class (snow, water, ice) in every season: gaps filled step by step, and the trend over the seasons."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.change.series_gaps import NODATA, FilledSeries, count_days, fill_gaps
from ecumene.change.series_seasons import filling_accuracy, yearly_seasons
from ecumene.core.errors import SceneError
from ecumene.core.window import Window
from ecumene.legends import Legend
from ecumene.mapping.layers import VALID
from ecumene.objectives.prediction import LayerSpec
from ecumene.viewer.charts import Chart
from ecumene.workflows.product_layers import ClassLayers
from ecumene.workflows.series_growth import DAY_NODATA, DAY_UNIT
from ecumene.workflows.series_products import MapSeries
from ecumene.workflows.series_scenes import Layers, spread_windows
from ecumene.workflows.series_values import check_level, check_second, counted_class, season_start

_LEAST_SEASONS = 3  # of a trend


@dataclass
class DaysSeries:
    """Days of one class in every season, gaps filled, and their trend where there are three whole seasons.

    Attributes:
        series: The maps.
        target: Index of the class.
        begin: Month and day at which a season begins, `MM-DD`.
        level: Of the slope's interval.
        second: Maps of another sensor by position of their date in the series.
        filling: How right filled values are, measured on known ones that were hidden.
        name: Of the method.
    """

    series: MapSeries
    target: int
    begin: str = "01-01"
    level: float = 0.9
    second: dict[int, ClassLayers] = field(default_factory=dict)
    filling: dict[str, Any] = field(default_factory=dict)
    name: str = "days"

    @classmethod
    def of(cls, series: MapSeries, count: str | None, begin: str, level: float, second: MapSeries | None) -> DaysSeries:
        """Check the options, and measure on a sample how right filled values are.

        Args:
            series: The maps.
            count: Name of the class.
            begin: Of a season.
            level: Of the slope's interval.
            second: Maps of another sensor, of dates of the first one's.

        Raises:
            ConfigurationError: If the class or the begin is missing or wrong.
            ContractError: If the second sensor's maps have other classes or dates.
        """
        target = counted_class(series.legend, count)
        check_level(level)
        found = {} if second is None else _matched(series, second)
        made = cls(series, target, begin, level, found)
        made._start(2001)
        made.filling = made._measured_filling()
        return made

    def _start(self, year: int) -> int:
        """Return the day at which a year's season begins."""
        return season_start(self.begin, year)

    @property
    def years(self) -> list[int]:
        """Years in which the seasons of the maps begin, ascending."""
        calendar = (self.series.days.astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64) + 1970).tolist()
        return sorted(
            {
                year if day >= self._start(year) else year - 1
                for year, day in zip(calendar, self.series.days, strict=True)
            }
        )

    @property
    def whole(self) -> list[int]:
        """Years whose seasons lie wholly between the first and the last map."""
        days = self.series.days
        return [y for y in self.years if self._start(y) >= days[0] and self._start(y + 1) - 1 <= days[-1]]

    @property
    def legends(self) -> dict[str, Legend]:
        """There are no classes."""
        return {}

    def layers(self) -> tuple[LayerSpec, ...]:
        """Return the specifications of the layers."""
        years = tuple(map(str, self.years))
        nan, said = float("nan"), self.series.legend.names[self.target]
        specs = [
            LayerSpec("value", "float32", nan, "d", role="value", band_names=years,
                      description=f"days with the class {said} in the season that begins in each year"),
            LayerSpec("error", "float32", nan, "d", role="uncertainty", band_names=years,
                      description="days whose class is unknown (also before the first and after the last map), or "
                      "comes from the season alone"),
            LayerSpec("onset", "int32", DAY_NODATA, DAY_UNIT, band_names=years,
                      description="first day of the longest unbroken run of each season"),
            LayerSpec("end", "int32", DAY_NODATA, DAY_UNIT, band_names=years,
                      description="last day of the longest unbroken run of each season"),
        ]  # fmt: skip
        if len(self.whole) >= _LEAST_SEASONS:
            specs += [
                LayerSpec("trend", "float32", nan, "d a-1", band_names=("slope",),
                          description="median of the slopes between the days of whole seasons"),
                LayerSpec("trend_error", "float32", nan, "d a-1", band_names=("half width",),
                          description=f"half the width of the slope's {self.level:.0%} interval"),
                LayerSpec("trend_p_value", "float32", nan, band_names=("p",), limits=(0.0, 1.0),
                          description="two-sided probability of such an order of seasons without trend"),
            ]  # fmt: skip
        return (*specs, VALID)

    def _masks(self, window: Window) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        """Return the class as 0, 1 and 255 (unknown) `[T, h, w]`, of the first and of the second sensor."""
        shape = (len(self.series.maps), window.height, window.width)
        first, other = np.full(shape, NODATA, np.uint8), np.full(shape, NODATA, np.uint8)
        for t, layers in enumerate(self.series.maps):
            for target, source in ((first, layers), (other, self.second.get(t))):
                if source is not None:
                    found, known = source.classes(window)
                    target[t][known] = (found == self.target)[known]
        return first, other if self.second else None

    def _measured_filling(self) -> dict[str, Any]:
        """Measure how right filled values are on windows all over the maps; nothing where no value is missing."""
        height, width = (int(side) for side in self.series.geobox.shape)
        parts = [self._masks(window) for window in spread_windows(height, width)]
        dates = len(self.series.maps)
        first = np.concatenate([mask.reshape(dates, -1) for mask, _ in parts], axis=1)
        if not ((first == NODATA).any() and (first != NODATA).any()):
            return {}
        others = [mask.reshape(dates, -1) for _, mask in parts if mask is not None]
        try:
            found = filling_accuracy(first, self.series.days, np.concatenate(others, axis=1) if others else None)
        except SceneError:  # a sample in which too little is known to hide any of it
            return {}
        return {
            step: {key: value if np.isfinite(value) else None for key, value in row.items()}
            for step, row in found.items()
        }

    def tile(self, window: Window) -> Layers:
        """Return all layers of a window."""
        first, other = self._masks(window)
        known = np.asarray((first != NODATA).any(axis=0))
        if other is not None:
            known |= (other != NODATA).any(axis=0)
        if not known.any():
            blank = {spec.name: np.full((spec.count, *known.shape), np.nan) for spec in self.layers()}
            return blank | {"valid": known[None]}
        filled = fill_gaps(first, self.series.days, other)
        seasons = [count_days(filled, self._start(year), self._start(year + 1)) for year in self.years]
        layers: Layers = {
            "value": np.stack([season.duration for season in seasons]),
            "error": np.stack([season.unknown + season.inferred for season in seasons]),
            "onset": np.stack([season.onset for season in seasons]),
            "end": np.stack([season.end for season in seasons]),
            "valid": known[None],
        }
        return layers | self._trend(filled)

    def _trend(self, filled: FilledSeries) -> Layers:
        """Return the layers of the trend, if there are any."""
        if len(self.whole) < _LEAST_SEASONS:
            return {}
        try:
            found = yearly_seasons(filled, begin=self.begin, level=self.level).trend
        except SceneError:  # no pixel of this tile is known well enough in any season
            blank = np.full((1, *filled.mask.shape[1:]), np.nan)
            return {"trend": blank, "trend_error": blank, "trend_p_value": blank}
        return {
            "trend": found.slope,
            "trend_error": 0.5 * (found.slope_high - found.slope_low),
            "trend_p_value": found.p_value,
        }

    def results(self) -> dict[str, Any]:
        """Return the figures of the run."""
        found: dict[str, Any] = {"class": self.series.legend.names[self.target], "years": self.years}
        found |= {"whole_seasons": self.whole, "season_begins": self.begin}
        if self.filling:
            found["hidden_values_filled"] = self.filling
        return found

    def charts(self) -> list[Chart]:
        """Return charts of the product."""
        return []


def _matched(series: MapSeries, second: MapSeries) -> dict[int, ClassLayers]:
    """Return the second sensor's maps by position of their date."""
    places: list[int] = series.days.tolist()
    check_second(series.legend, places, second.legend, second.days.tolist())
    return {places.index(day): layers for layers, day in zip(second.maps, second.days.tolist(), strict=True)}
