"""Year of first built-up by published rules that know no probabilities: the step function, and a majority of years."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.change.series_classes import NODATA
from ecumene.change.series_growth import yearly_growth
from ecumene.change.series_steps import fit_steps
from ecumene.core.window import Window
from ecumene.indicators.areas import pixel_areas
from ecumene.legends import Legend
from ecumene.mapping.layers import VALID
from ecumene.objectives.prediction import LayerSpec
from ecumene.viewer.charts import Axis, Chart, ChartTable, Series
from ecumene.workflows.indicators_maps import YEAR_UNIT
from ecumene.workflows.series_growth import day_layer, interval_layers, year_of
from ecumene.workflows.series_products import MapSeries, built_up_classes, class_before
from ecumene.workflows.series_scenes import Layers
from ecumene.workflows.series_values import check_rule


@dataclass
class RuleSeries:
    """Growth by a rule: `steps` (smallest squared error of a step from 0 to 1) or `majority` (2 of 3 years).

    Neither gives a probability; the interval holds the dates of observation around the change.

    Attributes:
        series: The maps.
        built: Indices of the classes that are built-up.
        rule: `steps` or `majority`.
        area: Built-up area by date in square metres, `[T]`.
    """

    series: MapSeries
    built: tuple[int, ...]
    rule: str
    area: NDArray[np.float64] = field(init=False)
    name: str = "growth"

    @classmethod
    def of(cls, series: MapSeries, built_up: Sequence[str] | None, rule: str) -> RuleSeries:
        """Find the built-up classes.

        Raises:
            ConfigurationError: If a named class is not there.
            ProductError: If no class is known to be built-up.
            SceneError: If the rule needs other dates.
        """
        made = cls(series, built_up_classes(series.legend, built_up), rule)
        check_rule(rule, series.days)
        return made

    def __post_init__(self) -> None:
        self.area = np.zeros(len(self.series.days))

    @property
    def legends(self) -> dict[str, Legend]:
        """Classes of categorical layers."""
        return {"kind": self.series.legend}

    def layers(self) -> tuple[LayerSpec, ...]:
        """Return the specifications of the layers."""
        years = self.series.years
        specs = [
            LayerSpec("value", "uint16", 65535, YEAR_UNIT, role="value", band_names=("year",),
                      description="year of the first map that shows lasting built-up land; 0: not until the end",
                      limits=(float(years[0]), float(years[-1]))),
            *interval_layers(1.0, "the date of building"),
            day_layer("date", "date of the first map that shows it"),
            LayerSpec("kind", "uint8", 255, categorical=True, band_names=("class",),
                      description="class before it was built-up, where that happened within the series"),
        ]  # fmt: skip
        if self.rule == "steps":
            specs.append(
                LayerSpec("misfit", "float32", float("nan"), limits=(0.0, 1.0), band_names=("misfit",),
                          description="root mean square of the probabilities less the step function")
            )  # fmt: skip
        return (*specs, VALID)

    def tile(self, window: Window) -> Layers:
        """Return all layers of a window."""
        chances = self.series.probabilities(window)
        share = chances[list(self.built)].sum(axis=0)
        seen = np.isfinite(share)
        known = np.asarray(seen.any(axis=0))
        layers: Layers = {}
        if self.rule == "steps":
            fitted = fit_steps(np.clip(share, 0.0, 1.0), self.series.days)
            state = fitted.state
            layers["misfit"] = fitted.error[None]
        else:
            codes = np.where(seen, np.nan_to_num(share) > 0.5, NODATA).astype(np.uint8)
            state = yearly_growth(codes, year_of(self.series.days).tolist()).state
        areas = np.broadcast_to(pixel_areas(self.series.geobox, window), known.shape)
        self.area += [float(areas[part & known].sum()) for part in state]
        reached = known & state[-1]
        days = self.series.days.astype(np.float64)
        place = state.argmax(axis=0)
        date = np.where(reached, days[place], np.nan)
        # The last date with the pixel before: a date that is missing says nothing.
        earlier = np.where(seen & ~state, days[:, None, None], -np.inf).max(axis=0)
        later = np.where(seen & state, days[:, None, None], np.inf).min(axis=0)
        grown = reached & np.isfinite(earlier) & np.isfinite(later)
        low, high = np.where(grown, earlier, date), np.where(grown, later, date)
        year = np.where(reached, year_of(np.where(reached, date, 0)), 0).astype(np.float64)
        return layers | {
            "value": np.where(known, year, np.nan)[None],
            "error": 0.5 * (high - low)[None],
            "date_low": low[None],
            "date_high": high[None],
            "date": date[None],
            "kind": class_before(self.series, chances, self.built, date, reached & (place > 0))[None],
            "valid": known[None],
        }

    def results(self) -> dict[str, Any]:
        """Return the figures of the run."""
        dates = [str(np.datetime64(int(day), "D")) for day in self.series.days]
        return {
            "built_up_m2": {date: {"mapped": float(area)} for date, area in zip(dates, self.area, strict=True)},
            "built_up_classes": [self.series.legend.names[k] for k in self.built],
            "rule": self.rule,
        }

    def charts(self) -> list[Chart]:
        """Return charts of the product."""
        years = [round(1970.0 + float(day) / 365.2425, 3) for day in self.series.days]
        area = [float(value) / 1e4 for value in self.area]
        rows = [[f"{year:g}", f"{value:,.2f}"] for year, value in zip(years, area, strict=True)]
        return [
            Chart(
                id="area-by-year",
                title="Built-up land by year",
                kind="lines",
                caption=f"Mapped area by the rule {self.rule}, which gives no interval.",
                x=Axis(label="year"),
                y=Axis(label="area", unit="ha"),
                series=[Series(name="area", x=years, y=area, colour="#c80000")],
                table=ChartTable(columns=["year", "area, ha"], rows=rows),
            )
        ]
