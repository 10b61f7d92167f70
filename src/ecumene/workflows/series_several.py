"""Methods of the verb `series` that find several changes of a pixel: divided series, and followed ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.change.breaks import BreakModel
from ecumene.change.breaks_sequence import follow_changes
from ecumene.change.breaks_several import detect_several_breaks
from ecumene.core.window import Window
from ecumene.legends import Legend
from ecumene.mapping.layers import VALID
from ecumene.objectives.prediction import LayerSpec
from ecumene.viewer.charts import Chart
from ecumene.workflows.change_scenes import PROBABILITY_SCALE
from ecumene.workflows.series_growth import DAY_NODATA, DAY_UNIT, AreaByYear, day_layer, interval_layers
from ecumene.workflows.series_input import SeriesInput
from ecumene.workflows.series_scenes import Layers, change_kinds, empty_layers, kind_layer, series_areas, series_years

_NAN = float("nan")


@dataclass(frozen=True)
class FoundChanges:
    """Changes of every pixel in the order of their dates, NaN after the last one.

    Attributes:
        count: `[h, w]`, -1 where the series is too short.
        date: `[N, h, w]`.
        low: Begin of the interval.
        high: End.
        certainty: `[N, h, w]`, probability or p value of each.
        magnitude: `[N, B, h, w]`.
        outliers: `[h, w]`, observations that were left out; None: the method leaves none out.
    """

    count: NDArray[np.integer]
    date: NDArray[np.float32]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    certainty: NDArray[np.float32]
    magnitude: NDArray[np.float32]
    outliers: NDArray[np.integer] | None = None


@dataclass
class SeveralSeries:
    """Up to N changes of a pixel: `breaks` with `most` above 1, and `sequence`.

    Attributes:
        series: The scenes.
        most: N.
        name: Of the method.
        model: Of `breaks`.
        rules: Of `sequence`: options of `follow_changes`.
        sums: Area with a change by year of the first one.
    """

    series: SeriesInput
    most: int
    name: str
    model: BreakModel = field(default_factory=BreakModel)
    rules: Mapping[str, Any] = field(default_factory=dict)
    sums: AreaByYear = field(init=False)

    def __post_init__(self) -> None:
        self.sums = AreaByYear.between(*series_years(self.series))

    @property
    def _level(self) -> float:
        return self.model.level if self.name == "breaks" else 1.0

    @property
    def legends(self) -> dict[str, Legend]:
        """Classes of categorical layers."""
        return {"kind": change_kinds(self.series.names[0])}

    def layers(self) -> tuple[LayerSpec, ...]:
        """Return the specifications of the layers."""
        places = tuple(str(k + 1) for k in range(self.most))
        dated: dict[str, Any] = {"dtype": "int32", "nodata": DAY_NODATA, "unit": DAY_UNIT, "band_names": places}
        bands = tuple(f"{name} {place}" for place in places for name in self.series.names)
        several = self.name == "breaks"
        certainty = LayerSpec(
            "probability" if several else "p_value", "uint16", 65535, scale=PROBABILITY_SCALE, limits=(0.0, 1.0),
            role="probability" if several else "extra", band_names=places,
            description="probability of each break between its neighbours" if several else
            "probability that noise gives the scores of each change (not corrected for the dates tried)",
        )  # fmt: skip
        specs = [
            day_layer("value", "date of the first change", "value"),
            *interval_layers(self._level, "the first change"),
            LayerSpec("count", "uint16", 65535, band_names=("changes",), description="number of changes"),
            LayerSpec("dates", description="dates of the changes", **dated),
            LayerSpec("dates_low", description="begins of their intervals", role="interval", **dated),
            LayerSpec("dates_high", description="ends of their intervals", role="interval", **dated),
            certainty,
            LayerSpec("magnitudes", "float32", _NAN, "dB" if self.series.radar else "1", band_names=bands,
                      description="value after minus before each change, without season"),
            kind_layer("direction of the first followed value at the first change"),
        ]  # fmt: skip
        if not several:
            specs.append(
                LayerSpec("left_out", "uint16", 65535, band_names=("observations",),
                          description="single observations that did not fit")
            )  # fmt: skip
        return (*specs, VALID)

    def _find(self, values: NDArray[np.float32]) -> FoundChanges:
        days = self.series.days
        if self.name == "breaks":
            a = detect_several_breaks(values, days, model=self.model, most=self.most)
            return FoundChanges(a.count, a.date, a.date_low, a.date_high, a.probability, a.magnitude)
        b = follow_changes(values, days, most=self.most, **self.rules)
        return FoundChanges(b.count, b.date, b.date_low, b.date_high, b.p_value, b.magnitude, b.outliers)

    def tile(self, window: Window) -> Layers:
        """Return all layers of a window."""
        values = self.series.read(window)
        if not np.isfinite(values).any():
            return empty_layers(self.layers(), window)
        found = self._find(values)
        valid = np.asarray(found.count >= 0)
        date, low, high = found.date[0], found.low[0], found.high[0]
        self.sums.add(date, low, high, series_areas(self.series, window))
        kind = np.where(np.isfinite(date), np.where(found.magnitude[0, 0] > 0, 2, 1), 0)
        layers: Layers = {
            "value": date[None],
            "error": 0.5 * (high - low)[None],
            "date_low": low[None],
            "date_high": high[None],
            "count": np.where(valid, found.count, np.nan)[None],
            "dates": found.date,
            "dates_low": found.low,
            "dates_high": found.high,
            "probability" if self.name == "breaks" else "p_value": found.certainty,
            "magnitudes": found.magnitude.reshape(-1, *valid.shape),
            "kind": kind[None],
            "valid": valid[None],
        }
        if found.outliers is not None:
            layers["left_out"] = found.outliers[None]
        return layers

    def results(self) -> dict[str, Any]:
        """Return the figures of the run."""
        return {"first_change_by_year_m2": self.sums.results()}

    def charts(self) -> list[Chart]:
        """Return charts of the product."""
        return [self.sums.chart("Area with a first change, by year", "#d55e00", self._level)]
