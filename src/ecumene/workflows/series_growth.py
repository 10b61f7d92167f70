"""Area of a state by date, with intervals, and its chart; layers that every dated product shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecumene.objectives.prediction import LayerSpec
from ecumene.viewer.charts import Axis, Chart, ChartTable, Series

DAY_UNIT = "days since 1970-01-01"
DAY_NODATA = -(2**31)
"""Nodata of layers of days."""


def day_layer(name: str, description: str, role: str = "extra") -> LayerSpec:
    """Return a layer of dates as whole days since 1970-01-01."""
    return LayerSpec(
        name, "int32", DAY_NODATA, DAY_UNIT, description=description, role=role,  # type: ignore[arg-type]
        band_names=("date",),
    )  # fmt: skip


def interval_layers(level: float, what: str) -> tuple[LayerSpec, ...]:
    """Return the layers of the ends of a date's interval, and of its half width as error bar.

    Args:
        level: Probability that the interval holds; 1: bounds by dates of observation.
        what: What the date is of.
    """
    said = f"{level:.0%} interval of {what}" if level < 1.0 else f"dates of observation around {what}"
    return (
        LayerSpec(
            "error", "float32", float("nan"), "d", description=f"half the width of the {said}", role="uncertainty",
            band_names=("half width",),
        ),
        day_layer("date_low", f"begin of the {said}", "interval"),
        day_layer("date_high", f"end of the {said}", "interval"),
    )  # fmt: skip


def year_of(days: NDArray[np.floating] | NDArray[np.integer]) -> NDArray[np.int64]:
    """Return calendar years of days since 1970-01-01 (finite)."""
    return np.asarray(days, np.int64).astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64) + 1970


@dataclass
class AreaByYear:
    """Area where something has happened by the end of each year, summed over tiles.

    `low` and `high` add up what has happened by then at the late and at the early end of each pixel's interval: the
    interval of the sum if all pixels err together. Errors of pixels that are independent would cancel, so it is wide.

    Attributes:
        years: First and last year.
        area: In square metres by year, `[Y]`.
        low: Lower end.
        high: Upper end.
    """

    years: tuple[int, int]
    area: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @classmethod
    def between(cls, first: int, last: int) -> AreaByYear:
        """Return empty sums for years."""
        count = last - first + 1
        return cls((first, last), np.zeros(count), np.zeros(count), np.zeros(count))

    def add(
        self,
        day: NDArray[np.floating],
        early: NDArray[np.floating],
        late: NDArray[np.floating],
        areas: NDArray[np.float64],
    ) -> None:
        """Add pixels.

        Args:
            day: Day since 1970-01-01 of the event, NaN where there is none, `[h, w]`.
            early: Begin of the interval; NaN: it certainly did not happen.
            late: End of the interval; NaN: it may not have happened at all.
            areas: Square metres, `[h, w]`.
        """
        for sums, when in ((self.area, day), (self.low, late), (self.high, early)):
            there = np.isfinite(when)
            index = np.clip(year_of(when[there]) - self.years[0], 0, len(sums) - 1)
            sums += np.cumsum(np.bincount(index, weights=areas[there], minlength=len(sums)))

    def results(self) -> dict[str, dict[str, float]]:
        """Return areas by year in square metres."""
        return {
            str(self.years[0] + k): {"value": float(a), "low": float(low), "high": float(high)}
            for k, (a, low, high) in enumerate(zip(self.area, self.low, self.high, strict=True))
        }

    def chart(self, title: str, colour: str, level: float) -> Chart:
        """Return the areas as a chart."""
        years = [self.years[0] + k for k in range(len(self.area))]
        return area_chart(title, colour, level, years, self.area, self.low, self.high)


def area_chart(
    title: str,
    colour: str,
    level: float,
    years: Sequence[float],
    area: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
) -> Chart:
    """Return a chart of an area in time with its interval.

    Args:
        title: Of the chart.
        colour: Of the line.
        level: Of each pixel's interval.
        years: Of the numbers, decimals are possible.
        area: In square metres.
        low: Lower end.
        high: Upper end.
    """
    y, lower, upper = ([float(v) / 1e4 for v in values] for values in (area, low, high))
    rows = [
        [f"{year:g}", f"{a:,.2f}", f"{b:,.2f}", f"{c:,.2f}"]
        for year, a, b, c in zip(years, y, lower, upper, strict=True)
    ]
    return Chart(
        id="area-by-year",
        title=title,
        kind="lines",
        caption=f"Interval: all pixels at the ends of their {level:.0%} intervals, as if they erred together.",
        x=Axis(label="year"),
        y=Axis(label="area", unit="ha"),
        series=[Series(name="area", x=[float(k) for k in years], y=y, low=lower, high=upper, colour=colour)],
        table=ChartTable(columns=["year", "area, ha", "low", "high"], rows=rows),
    )
