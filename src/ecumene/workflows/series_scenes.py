"""Methods of the verb `series` on scenes: breaks, monitoring, omnibus test, statistics and trends, tile by tile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ecumene.change.breaks import BreakModel, detect_breaks
from ecumene.change.breaks_monitoring import monitor_breaks
from ecumene.change.omnibus import omnibus_test
from ecumene.change.seasons import noise_autocorrelation
from ecumene.change.series_statistics import temporal_statistics
from ecumene.change.series_trends import monotone_trend
from ecumene.change.temporal_looks import temporal_looks
from ecumene.core.errors import ConfigurationError, SceneError
from ecumene.core.window import Window
from ecumene.indicators.areas import pixel_areas
from ecumene.legends import Legend, LegendClass
from ecumene.mapping.layers import VALID
from ecumene.objectives.prediction import LayerSpec
from ecumene.viewer.charts import Chart
from ecumene.workflows.change_scenes import PROBABILITY_SCALE, outlier_layer
from ecumene.workflows.series_growth import AreaByYear, day_layer, interval_layers, year_of
from ecumene.workflows.series_input import SeriesInput

Layers = dict[str, NDArray[Any]]
_NAN = float("nan")
_SAMPLES, _SAMPLE_EDGE = 4, 64
_SCATTER = 6.0  # robust standard deviations beyond which a series' noise is unlike that of the scene


class SeriesMethod(Protocol):
    """One way of reading a series."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def legends(self) -> dict[str, Legend]: ...  # noqa: D102

    def layers(self) -> tuple[LayerSpec, ...]:
        """Return the specifications of the layers."""

    def tile(self, window: Window) -> Layers:
        """Return all layers of a window."""

    def results(self) -> dict[str, Any]:
        """Return the figures of the run."""

    def charts(self) -> list[Chart]:
        """Return charts of the product."""


def change_kinds(first: str) -> Legend:
    """Return the classes of the layer `kind`: the direction in which the first followed value changed."""
    return Legend(
        name="direction",
        classes=(
            LegendClass(value=0, name="no change", colour="#e6e6e6"),
            LegendClass(value=1, name=f"{first} fell", colour="#2166ac"),
            LegendClass(value=2, name=f"{first} rose", colour="#b2182b"),
        ),
    )


def kind_layer(description: str) -> LayerSpec:
    """Return the layer of the kind of change."""
    return LayerSpec("kind", "uint8", 255, categorical=True, description=description, band_names=("kind",))


def empty_layers(specs: tuple[LayerSpec, ...], window: Window) -> Layers:
    """Return layers without data: no date of the tile has a valid pixel."""
    shape = (window.height, window.width)
    return {
        spec.name: np.zeros((1, *shape)) if spec.name == "valid" else np.full((spec.count, *shape), np.nan)
        for spec in specs
    }


def series_years(series: SeriesInput) -> tuple[int, int]:
    """Return first and last year of a series."""
    years = year_of(series.days)
    return int(years[0]), int(years[-1])


def series_areas(series: SeriesInput, window: Window) -> NDArray[np.float64]:
    """Return the areas of a window's pixels in square metres, `[h, w]`."""
    return np.asarray(np.broadcast_to(pixel_areas(series.stack.geobox, window), (window.height, window.width)))


def sample_windows(series: SeriesInput) -> list[Window]:
    """Return small windows that are spread regularly over the scene."""
    height, width = (int(side) for side in series.stack.geobox.shape)
    return spread_windows(height, width)


def resolved_breaks(
    breaks: Mapping[str, Any], values: Callable[[], NDArray[np.floating]], days: NDArray[np.int64]
) -> dict[str, Any]:
    """Return the options of a break model with the autocorrelation of the noise as a number.

    Args:
        breaks: Options; `autocorrelation` may be a number, its text, or `auto`: estimated.
        values: Gives series to estimate it from, `[B, T, ...]`.
        days: Their dates.

    Raises:
        ConfigurationError: If it is neither a number nor `auto`.
        SceneError: If it cannot be estimated.
    """
    stated = breaks.get("autocorrelation")
    if not isinstance(stated, str):
        return dict(breaks)
    if stated == "auto":
        model = {key: breaks[key] for key in ("order", "trend") if key in breaks}
        return {**breaks, "autocorrelation": noise_autocorrelation(values(), days, **model)}
    try:
        return {**breaks, "autocorrelation": float(stated)}
    except ValueError as error:
        raise ConfigurationError(f"--autocorrelation is a number from 0 to 1, or auto, not {stated!r}.") from error


def sample_values(series: SeriesInput) -> NDArray[np.float32]:
    """Return the values of small windows all over the scene, `[B, T, P]`."""
    parts = [series.read(window, count=False) for window in sample_windows(series)]
    return np.concatenate([part.reshape(*part.shape[:2], -1) for part in parts], axis=2)


def spread_windows(height: int, width: int) -> list[Window]:
    """Return small windows that are spread regularly over a grid."""
    rows, cols = (
        sorted({int(p) for p in np.linspace(0, max(side - _SAMPLE_EDGE, 0), _SAMPLES)}) for side in (height, width)
    )
    return [
        Window(row, col, min(_SAMPLE_EDGE, height - row), min(_SAMPLE_EDGE, width - col))
        for row in rows
        for col in cols
    ]


@dataclass
class BreakSeries:
    """The most probable break of a season-trend model.

    Attributes:
        series: The scenes.
        model: What can break.
        noise_limit: Logarithm of the residual standard deviation, by band, beyond which a pixel is flagged.
        sums: Area with a break by year.
    """

    series: SeriesInput
    model: BreakModel
    noise_limit: NDArray[np.float64]
    sums: AreaByYear
    name: str = "breaks"

    @classmethod
    def of(cls, series: SeriesInput, model: BreakModel) -> BreakSeries:
        """Learn from a sample of the scene how noisy its series usually are."""
        found = []
        for window in sample_windows(series):
            values = series.read(window, count=False)
            if np.isfinite(values).any():
                breaks = detect_breaks(values, series.days, model=model, threads=1)
                found.append(np.log(np.maximum(breaks.scale[:, breaks.valid], 1e-9)))
        usual = np.concatenate(found, axis=1) if found else np.zeros((len(series.names), 0))
        limit = np.full(len(series.names), np.inf)
        if usual.shape[1]:
            middle = np.nanmedian(usual, axis=1)
            spread = 1.4826 * np.nanmedian(np.abs(usual - middle[:, None]), axis=1)
            limit = middle + _SCATTER * np.maximum(spread, 0.05)
        return cls(series, model, limit, AreaByYear.between(*series_years(series)))

    @property
    def legends(self) -> dict[str, Legend]:
        """Classes of categorical layers."""
        return {"kind": change_kinds(self.series.names[0])}

    def layers(self) -> tuple[LayerSpec, ...]:
        """Return the specifications of the layers."""
        names = self.series.names
        unit = "dB" if self.series.radar else "1"
        return (
            day_layer("value", "date of the break where it is more probable than none", "value"),
            *interval_layers(self.model.level, "the date of the break"),
            LayerSpec("probability", "uint16", 65535, scale=PROBABILITY_SCALE, role="probability", limits=(0.0, 1.0),
                      description="probability that there is a break", band_names=("break",)),
            LayerSpec("magnitude", "float32", _NAN, unit, band_names=names,
                      description="value after minus before the break, without season"),
            LayerSpec("magnitude_error", "float32", _NAN, unit, band_names=names,
                      description="standard deviation of the magnitude, given the date"),
            kind_layer("direction of the first followed value at the break"),
            LayerSpec("observations", "uint16", 65535, band_names=("observations",),
                      description="dates with a valid pixel"),
            outlier_layer("1 where the series is far noisier than usual in the scene; distrust its break"),
            VALID,
        )  # fmt: skip

    def tile(self, window: Window) -> Layers:
        """Return all layers of a window."""
        values = self.series.read(window)
        if not np.isfinite(values).any():
            return empty_layers(self.layers(), window)
        found = detect_breaks(values, self.series.days, model=self.model)
        broken = found.valid & (found.probability >= 0.5)
        low, high = (np.where(broken, day, np.nan) for day in (found.date_low, found.date_high))
        date = np.where(broken, found.date, np.nan)
        self.sums.add(date, low, high, series_areas(self.series, window))
        with np.errstate(invalid="ignore"):
            odd = (np.log(np.maximum(found.scale, 1e-9)) > self.noise_limit[:, None, None]).any(axis=0) & found.valid
        kind = np.where(broken, np.where(found.magnitude[0] > 0, 2, 1), 0)
        return {
            "value": date[None],
            "error": 0.5 * (high - low)[None],
            "date_low": low[None],
            "date_high": high[None],
            "probability": found.probability[None],
            "magnitude": found.magnitude,
            "magnitude_error": found.magnitude_deviation,
            "kind": kind[None],
            "observations": np.isfinite(values).all(axis=0).sum(axis=0)[None],
            "outlier": odd[None],
            "valid": found.valid[None],
        }

    def results(self) -> dict[str, Any]:
        """Return the figures of the run."""
        return {"changed_by_year_m2": self.sums.results()}

    def charts(self) -> list[Chart]:
        """Return charts of the product."""
        return [self.sums.chart("Area that has changed, by year", "#d55e00", self.model.level)]


@dataclass
class MonitorSeries:
    """Alarms since the end of a history.

    Attributes:
        series: The scenes, of one followed value.
        history: Last day of the history, since 1970-01-01.
        options: Of `monitor_breaks`.
        sums: Area with an alarm by year.
    """

    series: SeriesInput
    history: int
    options: dict[str, Any]
    sums: AreaByYear = field(init=False)
    boundary: float = float("nan")
    name: str = "monitor"

    def __post_init__(self) -> None:
        self.sums = AreaByYear.between(*series_years(self.series))

    @property
    def legends(self) -> dict[str, Legend]:
        """Classes of categorical layers."""
        return {"kind": change_kinds(self.series.names[0])}

    def layers(self) -> tuple[LayerSpec, ...]:
        """Return the specifications of the layers."""
        unit = "dB" if self.series.radar else "1"
        return (
            day_layer("value", "date of the alarm", "value"),
            *interval_layers(1.0, "the change"),
            LayerSpec("magnitude", "float32", _NAN, unit, band_names=(self.series.names[0],),
                      description="mean difference from the model of the history"),
            LayerSpec("peak", "float32", _NAN, band_names=("peak",),
                      description="largest process over its growth; an alarm where it is above the boundary"),
            kind_layer("direction of the alarm"),
            VALID,
        )  # fmt: skip

    def tile(self, window: Window) -> Layers:
        """Return all layers of a window."""
        values = self.series.read(window)
        if not np.isfinite(values[0]).any():
            return empty_layers(self.layers(), window)
        found = monitor_breaks(values[0], self.series.days, self.history, **self.options)
        self.boundary = found.boundary
        raised = np.isfinite(found.date) & found.valid
        date = np.where(raised, found.date, np.nan)
        low = np.where(raised, found.last_before, np.nan)
        self.sums.add(date, low, date, series_areas(self.series, window))
        return {
            "value": date[None],
            "error": 0.5 * (date - low)[None],
            "date_low": low[None],
            "date_high": date[None],
            "magnitude": found.magnitude[None],
            "peak": found.peak[None],
            "kind": np.where(raised, np.where(found.magnitude > 0, 2, 1), 0)[None],
            "valid": found.valid[None],
        }

    def results(self) -> dict[str, Any]:
        """Return the figures of the run."""
        return {"boundary": self.boundary, "alarmed_by_year_m2": self.sums.results()}

    def charts(self) -> list[Chart]:
        """Return charts of the product."""
        return [self.sums.chart("Area with an alarm, by year", "#d55e00", 1.0)]


@dataclass
class OmnibusSeries:
    """Changes of radar intensity by the omnibus test.

    Attributes:
        series: The scenes, as linear intensities.
        looks: Equivalent number of looks.
        significance: Level of each test.
        sums: Area with a change by year.
    """

    series: SeriesInput
    looks: float
    significance: float
    sums: AreaByYear
    name: str = "omnibus"

    @classmethod
    def of(cls, series: SeriesInput, looks: float | None, significance: float) -> OmnibusSeries:
        """Estimate the looks from a sample of the scene where they are not stated, the same for all tiles.

        Raises:
            ConfigurationError: If the scenes are no radar.
            SceneError: If the looks cannot be estimated.
        """
        if not series.radar:
            raise ConfigurationError("The omnibus test is one of radar intensities; choose breaks for optical scenes.")
        series.decibels = False
        if looks is None:
            looks = temporal_looks(np.moveaxis(sample_values(series), 0, 1))
        return cls(series, looks, significance, AreaByYear.between(*series_years(series)))

    @property
    def legends(self) -> dict[str, Legend]:
        """Classes of categorical layers."""
        classes = (
            LegendClass(value=0, name="no change", colour="#e6e6e6"),
            LegendClass(value=1, name="darker", colour="#2166ac"),
            LegendClass(value=2, name="brighter", colour="#b2182b"),
            LegendClass(value=3, name="mixed", colour="#7b3294"),
        )
        return {"kind": Legend(name="direction", classes=classes)}

    def layers(self) -> tuple[LayerSpec, ...]:
        """Return the specifications of the layers."""
        return (
            day_layer("value", "middle between the dates before and after the first change", "value"),
            *interval_layers(1.0, "the first change"),
            LayerSpec("p_value", "float32", _NAN, limits=(0.0, 1.0), band_names=("p",),
                      description="probability of such a series without any change"),
            LayerSpec("count", "uint16", 65535, band_names=("changes",), description="number of changes"),
            day_layer("last", "first date after the last change"),
            kind_layer("direction of the first change"),
            VALID,
        )  # fmt: skip

    def tile(self, window: Window) -> Layers:
        """Return all layers of a window."""
        values = np.moveaxis(self.series.read(window), 0, 1)
        with np.errstate(invalid="ignore"):
            if not (values > 0).all(axis=(0, 1)).any():
                return empty_layers(self.layers(), window)
        found = omnibus_test(values, self.looks, level=self.significance)
        days = self.series.days.astype(np.float64)
        changed = found.first > 0
        after = np.where(changed, days[np.maximum(found.first, 0)], np.nan)
        before = np.where(changed, days[np.maximum(found.first - 1, 0)], np.nan)
        sign = np.take_along_axis(found.sign, np.maximum(found.first - 1, 0)[None].astype(np.int64), 0)[0]
        kind = np.select([~changed, sign == -1, sign == 1], [0, 1, 2], 3)
        self.sums.add(0.5 * (before + after), before, after, series_areas(self.series, window))
        return {
            "value": 0.5 * (before + after)[None],
            "error": 0.5 * (after - before)[None],
            "date_low": before[None],
            "date_high": after[None],
            "p_value": found.p_value[None],
            "count": found.count[None],
            "last": np.where(changed, days[np.maximum(found.last, 0)], np.nan)[None],
            "kind": kind[None],
            "valid": found.valid[None],
        }

    def results(self) -> dict[str, Any]:
        """Return the figures of the run."""
        return {"looks": self.looks, "significance": self.significance, "changed_by_year_m2": self.sums.results()}

    def charts(self) -> list[Chart]:
        """Return charts of the product."""
        return [self.sums.chart("Area that has changed, by year", "#d55e00", 1.0)]


@dataclass
class StatisticsSeries:
    """Statistics over time of every followed value (TimeScan)."""

    series: SeriesInput
    names: tuple[str, ...] = ()
    name: str = "statistics"

    def __post_init__(self) -> None:
        probe = np.zeros((1, len(self.series.days), 1, 1), np.float32)
        self.names = tuple(temporal_statistics(probe, self.series.days)[0])

    @property
    def legends(self) -> dict[str, Legend]:
        """There are no classes."""
        return {}

    def _layer(self, statistic: str) -> str:
        return "value" if statistic == "mean" else statistic

    def layers(self) -> tuple[LayerSpec, ...]:
        """Return the specifications of the layers: the mean is the value."""
        unit = "dB" if self.series.radar else "1"
        specs = []
        for statistic in sorted(self.names, key=lambda name: name != "mean"):
            said = f"{statistic.replace('_', ' ')} over all valid dates"
            role: Any = "value" if statistic == "mean" else "extra"
            specs.append(
                LayerSpec(self._layer(statistic), "float32", _NAN, unit, description=said, role=role,
                          band_names=self.series.names)
            )  # fmt: skip
        count = LayerSpec(
            "observations", "uint16", 65535, band_names=self.series.names, description="dates with a valid pixel"
        )
        return (*specs, count, VALID)

    def tile(self, window: Window) -> Layers:
        """Return all layers of a window."""
        values = self.series.read(window)
        if not np.isfinite(values).any():
            return empty_layers(self.layers(), window)
        found, seen = temporal_statistics(values, self.series.days)
        layers: Layers = {self._layer(name): band for name, band in found.items()}
        return layers | {"observations": seen, "valid": np.asarray((seen > 0).all(axis=0))[None]}

    def results(self) -> dict[str, Any]:
        """Return the figures of the run."""
        return {}

    def charts(self) -> list[Chart]:
        """Return charts of the product."""
        return []


@dataclass
class TrendSeries:
    """Theil-Sen slope and Mann-Kendall test of yearly medians, so that the season plays no part."""

    series: SeriesInput
    level: float
    name: str = "trends"

    def __post_init__(self) -> None:
        if len(set(year_of(self.series.days).tolist())) < 3:
            raise SceneError("A trend is one of yearly values and needs three years; give scenes of more years.")

    @property
    def legends(self) -> dict[str, Legend]:
        """There are no classes."""
        return {}

    def layers(self) -> tuple[LayerSpec, ...]:
        """Return the specifications of the layers."""
        unit = "dB a-1" if self.series.radar else "a-1"
        names = self.series.names
        return (
            LayerSpec("value", "float32", _NAN, unit, role="value", band_names=names,
                      description="median of the slopes between yearly medians"),
            LayerSpec("error", "float32", _NAN, unit, role="uncertainty", band_names=names,
                      description=f"half the width of the slope's {self.level:.0%} interval"),
            LayerSpec("p_value", "float32", _NAN, band_names=names, limits=(0.0, 1.0),
                      description="two-sided probability of such an order of years without trend"),
            VALID,
        )  # fmt: skip

    def tile(self, window: Window) -> Layers:
        """Return all layers of a window."""
        values = self.series.read(window)
        if not np.isfinite(values).any():
            return empty_layers(self.layers(), window)
        years = year_of(self.series.days)
        distinct = np.unique(years)
        yearly = np.full((values.shape[0], len(distinct), *values.shape[2:]), np.nan, np.float32)
        for place, year in enumerate(distinct):
            part = values[:, years == year]
            some = np.asarray(np.isfinite(part).any(axis=1))
            yearly[:, place][some] = np.nanmedian(np.where(some[:, None], part, 0.0), axis=1)[some]
        middle = np.array([np.datetime64(f"{year}-07-01") for year in distinct])
        found = monotone_trend(yearly, middle, level=self.level)
        return {
            "value": found.slope,
            "error": 0.5 * (found.slope_high - found.slope_low),
            "p_value": found.p_value,
            "valid": np.asarray(np.isfinite(found.slope).all(axis=0))[None],
        }

    def results(self) -> dict[str, Any]:
        """Return the figures of the run."""
        return {}

    def charts(self) -> list[Chart]:
        """Return charts of the product."""
        return []
