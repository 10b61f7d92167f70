"""Methods of the verb `series` on radar: patterns of change in time and space, and following them on."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.change.patterns import PATTERNS, UNKNOWN, PatternModel, Patterns, find_patterns
from ecumene.change.patterns_space import change_objects, couple_patterns
from ecumene.change.patterns_update import CumulativeSums
from ecumene.core.errors import ConfigurationError, ContractError, ProductError, SceneError
from ecumene.core.files import atomic_path
from ecumene.core.window import Window
from ecumene.indicators.maps import open_layer
from ecumene.legends import Legend, LegendClass
from ecumene.mapping.layers import VALID
from ecumene.mapping.product import open_product
from ecumene.objectives.prediction import LayerSpec
from ecumene.scenes.grid import same_grid
from ecumene.viewer.charts import Chart
from ecumene.workflows.change_scenes import PROBABILITY_SCALE
from ecumene.workflows.product_files import ExtraFile
from ecumene.workflows.product_layers import OpenLayer, opened_layer, times_of
from ecumene.workflows.series_growth import AreaByYear, day_layer, interval_layers
from ecumene.workflows.series_input import SeriesInput
from ecumene.workflows.series_scenes import Layers, change_kinds, empty_layers, kind_layer, series_areas, series_years

_NAN = float("nan")
_SWEEPS = 4
_MARGIN = 4 * _SWEEPS  # a sweep has four colours, each of which carries a label on by one pixel
_COLOURS = ("#e6e6e6", "#b2182b", "#2166ac", "#fdae61", "#7b3294")
_TOLERANCE, _FEWEST = 60.0, 4
Files = Mapping[str, tuple[Path, LayerSpec]]


@dataclass
class PatternSeries:
    """The pattern that each series follows: nothing, a step up or down, a ramp or a pulse; neighbours are coupled.

    Attributes:
        series: The scenes, radar in decibels.
        model: What is looked for.
        coupling: Price of unlike neighbours; 0: none.
        level: Of the date's interval.
        sums: Area with a change by year.
        areas_m2: Area of each family.
    """

    series: SeriesInput
    model: PatternModel
    coupling: float
    level: float
    sums: AreaByYear = field(init=False)
    areas_m2: NDArray[np.float64] = field(default_factory=lambda: np.zeros(len(PATTERNS)))
    name: str = "patterns"

    def __post_init__(self) -> None:
        if not self.coupling >= 0.0:
            raise ConfigurationError("The price of unlike neighbours must be at least 0; 0 couples none.")
        if not 0.0 < self.level < 1.0:
            raise ConfigurationError("The level of an interval must lie between 0 and 1.")
        if not self.series.radar:
            raise ConfigurationError("The patterns are those of radar series; choose breaks for optical scenes.")
        self.sums = AreaByYear.between(*series_years(self.series))

    @property
    def legends(self) -> dict[str, Legend]:
        """Classes of categorical layers."""
        entries = zip(PATTERNS, _COLOURS, strict=True)
        classes = tuple(LegendClass(value=k, name=name, colour=colour) for k, (name, colour) in enumerate(entries))
        return {"kind": Legend(name="patterns", classes=classes)}

    def layers(self) -> tuple[LayerSpec, ...]:
        """Return the specifications of the layers."""
        names = self.series.names
        return (
            day_layer("value", "date at which the change begins", "value"),
            *interval_layers(self.level, "the begin of the change"),
            LayerSpec("probability", "uint16", 65535, scale=PROBABILITY_SCALE, role="probability", limits=(0.0, 1.0),
                      description="probability of each pattern, of the pixel by itself", band_names=PATTERNS),
            kind_layer("pattern, coupled with the neighbours'"),
            LayerSpec("duration", "float32", _NAN, "d", band_names=("duration",),
                      description="days of a ramp or a pulse; 0 for steps"),
            LayerSpec("duration_error", "float32", _NAN, "d", band_names=("duration",),
                      description="standard deviation of the duration"),
            LayerSpec("magnitude", "float32", _NAN, "dB", band_names=names,
                      description="by how much the values changed (during a pulse: away from before)"),
            LayerSpec("magnitude_error", "float32", _NAN, "dB", band_names=names,
                      description="standard deviation of the magnitude, given the dates"),
            LayerSpec("level", "float32", _NAN, "dB", band_names=names, description="level at the end of the series"),
            LayerSpec("scale", "float32", _NAN, "dB", band_names=names, description="residual standard deviation"),
            VALID,
        )  # fmt: skip

    def tile(self, window: Window) -> Layers:
        """Return all layers of a window: it is read with a margin, so that tiles do not show."""
        margin = _MARGIN if self.coupling > 0 else 0
        wide = Window(window.row - margin, window.col - margin, window.height + 2 * margin, window.width + 2 * margin)
        values = self.series.read(wide, count=False)
        core = slice(margin, margin + window.height), slice(margin, margin + window.width)
        self.series.count(values[:, :, *core])
        if not np.isfinite(values).any():
            return empty_layers(self.layers(), window)
        found = find_patterns(values, self.series.days, model=self.model)
        if self.coupling > 0:
            found = couple_patterns(found, values, model=self.model, coupling=self.coupling, sweeps=_SWEEPS)
        part = {name: getattr(found, name)[..., *core] for name in _KEPT}
        low, high = (end[core] for end in found.interval(self.level))
        pattern = part["pattern"]
        valid = np.asarray(pattern != UNKNOWN)
        areas = series_areas(self.series, window)
        self.areas_m2 += np.bincount(pattern[valid], weights=areas[valid], minlength=len(PATTERNS))
        self.sums.add(part["date"], low, high, areas)
        return {
            "value": part["date"][None],
            "error": 0.5 * (high - low)[None],
            "date_low": low[None],
            "date_high": high[None],
            "probability": part["probability"],
            "kind": pattern[None],
            "duration": part["duration"][None],
            "duration_error": part["duration_deviation"][None],
            "magnitude": part["amplitude"],
            "magnitude_error": part["amplitude_deviation"],
            "level": part["level"],
            "scale": part["scale"],
            "valid": valid[None],
        }

    def results(self) -> dict[str, Any]:
        """Return the figures of the run."""
        areas = {name: float(area) for name, area in zip(PATTERNS, self.areas_m2, strict=True)}
        return {"area_by_pattern_m2": areas, "changed_by_year_m2": self.sums.results()}

    def charts(self) -> list[Chart]:
        """Return charts of the product."""
        return [self.sums.chart("Area that has changed, by year", "#d55e00", self.level)]


_KEPT = (
    "pattern", "date", "probability", "duration", "duration_deviation", "amplitude", "amplitude_deviation", "level",
    "scale",
)  # fmt: skip


def write_objects(folder: Path, files: Files, level: float) -> tuple[ExtraFile | None, int]:
    """Write neighbouring pixels that changed alike as polygons; the layers of dates are held in memory.

    Args:
        folder: Of the product.
        files: Its layers.
        level: Of the layers' intervals.

    Returns:
        (the file, or None where nothing changed; number of objects).
    """
    import geopandas
    from rasterio.features import shapes
    from scipy import stats
    from shapely.geometry import shape
    from shapely.ops import unary_union

    def read(name: str) -> tuple[NDArray[np.float32], Any]:
        with open_layer(files[name][0]) as (dataset, geobox):
            return dataset.read(masked=True).astype(np.float32).filled(np.nan), geobox

    (kind, geobox), (date, _), (error, _) = read("kind"), read("value"), read("error")
    (duration, _), (size, _) = read("duration"), read("magnitude")
    nothing = np.zeros((0, *kind.shape[1:]), np.float32)
    deviation = error[0] / np.float32(stats.norm.ppf(0.5 * (1.0 + level)))
    pattern = np.where(np.isfinite(kind[0]), kind[0], UNKNOWN).astype(np.uint8)
    labels, objects = change_objects(
        Patterns(pattern, nothing, date[0], deviation, duration[0], nothing[0:0], size, nothing, nothing, nothing,
                 nothing, np.zeros(0, np.int64)),
        tolerance=_TOLERANCE, fewest=_FEWEST,
    )  # fmt: skip
    if not objects:
        return None, 0
    polygons: dict[int, list[Any]] = {}
    for part, number in shapes(labels, mask=labels > 0, transform=geobox.affine, connectivity=8):
        polygons.setdefault(int(number), []).append(shape(part))
    names = files["magnitude"][1].band_names
    table: dict[str, list[Any]] = {
        "pattern": [PATTERNS[entry.pattern] for entry in objects],
        "date": [str(np.datetime64(int(np.floor(entry.date)), "D")) for entry in objects],
        "date_error_days": [round(entry.date_deviation, 2) for entry in objects],
        "duration_days": [round(entry.duration, 1) for entry in objects],
        "pixels": [entry.pixels for entry in objects],
    }
    table |= {f"magnitude_{name}_dB": [entry.amplitude[b] for entry in objects] for b, name in enumerate(names)}
    shown = [unary_union(polygons[entry.number]) for entry in objects]
    path = folder / "objects.gpkg"
    with atomic_path(path) as temporary:
        frame = geopandas.GeoDataFrame(table, geometry=shown, crs=str(geobox.crs))
        frame.to_file(temporary, driver="GPKG", layer="objects", engine="pyogrio")
    about = (
        f"Neighbours of one pattern whose dates differ by no more than {_TOLERANCE:g} days, {_FEWEST} pixels or more."
    )
    return ExtraFile(path, "application/geopackage+sqlite3", "objects that changed", about), len(objects)


@dataclass
class CusumSeries:
    """New dates against the level at which a product of `patterns` ends, by cumulative sums.

    Attributes:
        series: The new scenes.
        level: Layer of the levels.
        scale: Layer of the residual standard deviations.
        day: Last day of the product.
        sums: Area with an alarm by year.
    """

    series: SeriesInput
    level: OpenLayer
    scale: OpenLayer
    day: int
    sums: AreaByYear = field(init=False)
    name: str = "cusum"

    @classmethod
    def of(cls, series: SeriesInput, after: str | Path | None, stack: contextlib.ExitStack) -> CusumSeries:
        """Open the product of the dates before.

        Args:
            series: The new scenes.
            after: Folder of the product.
            stack: Closes the files.

        Raises:
            ConfigurationError: If no product is named.
            ProductError: If it is none of `patterns`.
            ContractError: If it has another grid or other bands.
            SceneError: If a date is not after those of the product.
        """
        if after is None:
            raise ConfigurationError(
                "Name the product of `--method patterns` that new dates are followed on from: --after."
            )
        product = open_product(after)
        times = times_of(product)
        if not {"level", "scale"} <= set(product.layers) or times is None:
            raise ProductError(f"{product.folder.name} is no product of `ecumene series --method patterns`.")
        if product.layers["level"].band_names != series.names or not series.radar:
            raise ContractError(
                f"The scenes have {', '.join(series.names)} and {product.folder.name} follows "
                f"{', '.join(product.layers['level'].band_names)} in decibels; name the same bands with --use."
            )
        if not same_grid(product.geobox, series.stack.geobox):
            raise ContractError(f"The scenes and {product.folder.name} lie on different grids; use scenes of its grid.")
        day = int(times[1].astype("datetime64[D]").astype(np.int64))
        if series.days[0] <= day:
            raise SceneError(
                f"The date {np.datetime64(int(series.days[0]), 'D')} is not after those of {product.folder.name}, "
                f"which end at {np.datetime64(day, 'D')}; give later scenes."
            )
        level, scale = (stack.enter_context(opened_layer(product, name)) for name in ("level", "scale"))
        return cls(series, level, scale, day)

    def __post_init__(self) -> None:
        first, last = series_years(self.series)
        began = int(np.datetime64(self.day, "D").astype("datetime64[Y]").astype(np.int64)) + 1970
        self.sums = AreaByYear.between(min(first, began), last)

    @property
    def legends(self) -> dict[str, Legend]:
        """Classes of categorical layers."""
        return {"kind": change_kinds("backscatter")}

    def layers(self) -> tuple[LayerSpec, ...]:
        """Return the specifications of the layers."""
        return (
            day_layer("value", "date of the alarm", "value"),
            *interval_layers(1.0, "the change"),
            LayerSpec("peak", "float32", _NAN, band_names=("peak",),
                      description="largest cumulative sum in residual standard deviations, at the alarm or at the end"),
            kind_layer("direction of the alarm"),
            VALID,
        )  # fmt: skip

    def tile(self, window: Window) -> Layers:
        """Return all layers of a window."""
        values = self.series.read(window)
        sums = CumulativeSums.start(self.level.read(window), self.scale.read(window), self.day)
        for position, day in enumerate(self.series.days):
            sums.add(values[:, position], int(day))
        valid = np.asarray(np.isfinite(sums.level).any(axis=0) & np.isfinite(values).any(axis=(0, 1)))
        self.sums.add(sums.alarm, sums.began, sums.alarm, series_areas(self.series, window))
        raised = np.isfinite(sums.alarm)
        return {
            "value": sums.alarm[None],
            "error": 0.5 * (sums.alarm - sums.began)[None],
            "date_low": sums.began[None],
            "date_high": sums.alarm[None],
            "peak": sums.sums.max(axis=(0, 1))[None],
            "kind": np.where(raised, np.where(sums.direction > 0, 2, 1), 0)[None],
            "valid": valid[None],
        }

    def results(self) -> dict[str, Any]:
        """Return the figures of the run."""
        return {"known_until": str(np.datetime64(self.day, "D")), "alarmed_by_year_m2": self.sums.results()}

    def charts(self) -> list[Chart]:
        """Return charts of the product."""
        return [self.sums.chart("Area with an alarm, by year", "#d55e00", 1.0)]
