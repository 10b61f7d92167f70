"""The verb `series`: when something changed, how sure the date is, and since when land is built-up."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from ecumene.change.breaks import BreakModel
from ecumene.change.series import day_of
from ecumene.core.errors import ConfigurationError
from ecumene.core.files import atomic_path
from ecumene.core.progress import Progress, silent
from ecumene.mapping.checksums import InputRecord, input_records, time_text
from ecumene.mapping.product import Product, open_product
from ecumene.objectives.prediction import LayerSpec
from ecumene.scenes.contract import SceneSource
from ecumene.workflows.array_product import ExtraFile, check_free
from ecumene.workflows.product_layers import is_product, named_product, record_of, refuse_existing
from ecumene.workflows.series_boundary import write_boundaries
from ecumene.workflows.series_input import SeriesInput, check_dates, open_series
from ecumene.workflows.series_pictures import draw_series, growth_frames
from ecumene.workflows.series_products import DaysSeries, GrowthSeries, MapSeries, SwitchSeries, built_up_classes
from ecumene.workflows.series_scenes import (
    BreakSeries,
    MonitorSeries,
    OmnibusSeries,
    SeriesMethod,
    StatisticsSeries,
    TrendSeries,
)
from ecumene.workflows.stacks import Declaration, Paths, as_paths, open_in_order
from ecumene.workflows.streamed_product import Afterwards, StreamedProduct, write_streamed_product

OF_SCENES = ("breaks", "monitor", "omnibus", "statistics", "trends")
OF_MAPS = ("growth", "switches", "days")
_LEAST = {"breaks": 3, "monitor": 3, "omnibus": 2, "statistics": 1, "trends": 3, "growth": 2, "switches": 2, "days": 1}
_MAPS = ".maps"

Files = Mapping[str, tuple[Path, LayerSpec]]


@dataclass(frozen=True)
class SeriesOptions:
    """What may be chosen.

    Attributes:
        method: `auto`, one of `OF_SCENES` or `OF_MAPS`.
        model: Folder of a model of one date: every scene is mapped with it, and the maps are followed.
        index: Spectral indices to follow; None: NDBI and NDVI.
        use_bands: Bands to follow instead.
        align: Whether scenes may lie on other grids than the first.
        mask_clouds: Whether the scenes' own cloud masks count.
        breaks: Model of `breaks`.
        history: Last date of the stable history of `monitor`.
        false_alarms: Of `monitor`: probability that a stable pixel raises an alarm.
        looks: Of `omnibus`: equivalent number of looks; None: estimated.
        significance: Of `omnibus`: level of each test.
        built_up: Of `growth`: classes that are built-up; None: what is known of the legend.
        certainty: Of maps without probabilities: how sure their classes are.
        count: Of `days`: the class.
        stay: Of `switches`: probability that a class stays.
        last: Of `switches`: dates that a new class must last.
        margin: Of `switches`: by how much it must be more probable.
        urban_boundary: Of `growth`: write the urban functional boundaries of all years.
        interval: Level of intervals.
        keep_maps: Whether the maps of the single dates are kept, in `maps/`.
        animation: Whether an animated picture is written.
        overwrite: Replace a product in the folder.
    """

    method: str = "auto"
    model: str | Path | None = None
    index: Sequence[str] | None = None
    use_bands: Sequence[str] | None = None
    align: bool = False
    mask_clouds: bool = True
    breaks: Mapping[str, Any] = field(default_factory=dict)
    history: str | None = None
    false_alarms: float = 0.05
    looks: float | None = None
    significance: float = 0.01
    built_up: Sequence[str] | None = None
    certainty: float = 0.9
    count: str | None = None
    stay: float = 0.95
    last: int = 2
    margin: float = 0.2
    urban_boundary: bool = False
    interval: float = 0.9
    keep_maps: bool = False
    animation: bool = True
    overwrite: bool = False


def follow_series(
    scenes: Paths,
    out: str | Path,
    options: SeriesOptions | None = None,
    *,
    progress: Progress = silent,
    **declaration: Unpack[Declaration],
) -> Product:
    """Follow every pixel through a series and write when it changed.

    Scenes: the date of a break with interval, probability, magnitude and kind (`breaks`), alarms after a stable history
    (`monitor`), changes of radar intensity (`omnibus`), statistics (`statistics`) and trends (`trends`). Maps, or
    scenes with a model: year of first built-up with the area by year (`growth`), lasting switches of class
    (`switches`), days of a class (`days`).

    Args:
        scenes: Scenes or products, one a date, in the order of time.
        out: Folder of the product.
        options: See there.
        progress: Called with (done, total, what).
        **declaration: What scenes' files do not say; `time` also gives the dates of products.

    Returns:
        The product.

    Raises:
        ConfigurationError: If options do not fit.
        ContractError: If grids, bands or classes differ.
        SceneError: If dates repeat, run backwards or are too few, or scenes cannot be used.
        ProductError: If a product cannot be used or written.
    """
    chosen = options or SeriesOptions()
    _check_method(chosen)
    paths = as_paths(scenes)
    if not paths:
        raise ConfigurationError("No scene was given; name at least one file or folder.")
    maps = [is_product(path) for path in paths]
    if any(maps) != all(maps):
        raise ConfigurationError("Some of the inputs are products and others are scenes; give one kind.")
    if all(maps):
        if chosen.model is not None:
            raise ConfigurationError("The inputs are maps already; leave out --model.")
        refuse_existing(Path(out), chosen.overwrite)
        times = declaration.get("time")
        stated = [times] if isinstance(times, str) else list(times or []) or None
        if stated is not None and len(stated) != len(paths):
            raise ConfigurationError(f"There are {len(paths)} products and {len(stated)} dates; give one date each.")
        products = [named_product(path, stated, k) for k, path in enumerate(paths)]
        return _of_maps(products, Path(out), chosen, tuple(record_of(product) for product, _ in products), progress)
    sources = open_in_order(paths, **declaration)
    if chosen.model is not None:
        return _mapped(paths, sources, Path(out), chosen, declaration, progress)
    return _of_scenes(sources, Path(out), chosen, progress)


def _check_method(chosen: SeriesOptions) -> None:
    known = ("auto", *OF_SCENES, *OF_MAPS)
    if chosen.method not in known:
        raise ConfigurationError(f"There is no method {chosen.method!r} for series; choose one of: {', '.join(known)}.")
    if chosen.model is not None and chosen.method in OF_SCENES:
        raise ConfigurationError(
            f"The method {chosen.method} needs no model; leave out --model, or choose growth, switches or days."
        )


def _of_scenes(sources: Sequence[SceneSource], out: Path, chosen: SeriesOptions, progress: Progress) -> Product:
    """Follow the values of scenes."""
    if chosen.method in OF_MAPS:
        raise ConfigurationError(
            f"The method {chosen.method} follows classes; give products of `ecumene map`, or a model with --model."
        )
    name, reason = _choose(sources, chosen)
    series = open_series(
        sources,
        least=_LEAST[name],
        indices=chosen.index,
        bands=chosen.use_bands,
        align=chosen.align,
        mask_clouds=chosen.mask_clouds,
    )
    if name == "omnibus" and not series.radar:
        raise ConfigurationError("The omnibus test is one of radar intensities; choose breaks for optical scenes.")
    refuse_existing(out, chosen.overwrite)
    progress(0, 1, "learning")
    method = _method(name, series, chosen)
    parameters = {
        "method": name,
        "chosen": reason,
        "followed": list(series.names),
        "dates": [str(np.datetime64(int(day), "D")) for day in series.days],
        "interval": chosen.interval,
        "breaks": dict(chosen.breaks),
        "history": chosen.history,
    }

    def check() -> dict[str, Any]:
        series.require_dates(_LEAST[name])
        silent_dates = series.silent_dates()
        return {"dates_without_a_clear_pixel": silent_dates} if silent_dates else {}

    times = [time for time in series.stack.times if time is not None]
    product = StreamedProduct(
        name=f"series-{name}",
        title=f"{_TITLES[name]}, {str(times[0])[:10]} to {str(times[-1])[:10]}",
        lineage=f"{len(times)} dates of {series.stack.sources[0].sensor}, {', '.join(series.names)} followed by the "
        f"method {name} ({reason}).",
        geobox=series.stack.geobox,
        layers=method.layers(),
        tile=method.tile,
        inputs=input_records(series.stack.sources),
        start=time_text(times[0]),
        end=time_text(times[-1]),
        parameters=parameters,
        legends=method.legends,
        edge=series.edge,
    )
    return _write(out, product, method, chosen, progress, check)


_TITLES = {
    "breaks": "Date of change",
    "monitor": "Alarms",
    "omnibus": "Changes of intensity",
    "statistics": "Statistics over time",
    "trends": "Trend of yearly values",
    "growth": "Year of first built-up",
    "switches": "Lasting switches of class",
    "days": "Days of a class",
}


def _choose(sources: Sequence[SceneSource], chosen: SeriesOptions) -> tuple[str, str]:
    """Return the method and why it was taken."""
    if chosen.method != "auto":
        return chosen.method, "named by the user"
    if chosen.history is not None:
        return "monitor", "a history is stated"
    dates = len({str(source.time)[:10] for source in sources if source.sensor == sources[0].sensor})
    if sources[0].quantity == "backscatter" and dates < 12:
        return "omnibus", f"{dates} dates of radar: too few for a model of the season"
    return "breaks", "a model of season and trend finds the date of a break with its interval"


def _method(name: str, series: SeriesInput, chosen: SeriesOptions) -> SeriesMethod:
    if name == "breaks":
        return BreakSeries.of(series, BreakModel(**{"level": chosen.interval, **chosen.breaks}))
    if name == "monitor":
        if chosen.history is None:
            raise ConfigurationError("Monitoring needs the last date of the stable history; state it with --history.")
        keys = {key: chosen.breaks[key] for key in ("order", "trend") if key in chosen.breaks}
        options = {"false_alarms": chosen.false_alarms} | keys
        return MonitorSeries(series, day_of(chosen.history, "end of the history"), options)
    if name == "omnibus":
        return OmnibusSeries.of(series, chosen.looks, chosen.significance)
    if name == "trends":
        return TrendSeries(series, chosen.interval)
    return StatisticsSeries(series)


def _mapped(
    paths: Sequence[str], sources: Sequence[SceneSource], out: Path, chosen: SeriesOptions,
    declaration: Declaration, progress: Progress,
) -> Product:  # fmt: skip
    """Map every scene with a model and follow the maps."""
    from ecumene.models.bundle import Model
    from ecumene.workflows.map import map_scenes

    assert chosen.model is not None
    model = Model.load(Path(chosen.model))
    if model.spec.temporal:
        raise ConfigurationError(
            f"The model {model.spec.name} reads whole series; give it to `ecumene map`, or a model of one date here."
        )
    method = chosen.method if chosen.method != "auto" else "switches" if model.spec.patch_size is not None else "growth"
    check_dates(sources, _LEAST[method])
    if method == "growth" and model.objective.legend is not None:
        built_up_classes(model.objective.legend, chosen.built_up)  # before the scenes are mapped
    if len(sources) != len(paths):
        raise ConfigurationError("Every input must be one scene of one date; name the scenes one by one.")
    folder = check_free(out, chosen.overwrite)
    place = folder / (_MAPS if not chosen.keep_maps else "maps")
    told: dict[str, Any] = {key: value for key, value in declaration.items() if key != "time" and value is not None}
    products = []
    try:
        for number, (path, source) in enumerate(zip(paths, sources, strict=True)):
            progress(number, len(paths), "maps")
            when = source.time
            assert when is not None  # `check_dates` has refused scenes without a date
            product = map_scenes(
                model, [path], place / str(when)[:10], mask_clouds=chosen.mask_clouds, overwrite=True, time=[str(when)],
                **told,
            )  # fmt: skip
            products.append((product, when.astype("datetime64[D]")))
        return _of_maps(products, folder, chosen, input_records(sources), progress, method, model.spec.name)
    finally:
        if not chosen.keep_maps:
            shutil.rmtree(place, ignore_errors=True)


def _of_maps(
    products: Sequence[tuple[Product, Any]], out: Path, chosen: SeriesOptions, inputs: tuple[InputRecord, ...],
    progress: Progress, method: str | None = None, model: str | None = None,
) -> Product:  # fmt: skip
    """Follow the classes of maps."""
    name = method or (chosen.method if chosen.method != "auto" else "days" if chosen.count else "growth")
    if name not in OF_MAPS:
        raise ConfigurationError(f"The method {name} follows values of scenes, but the inputs are maps; choose growth.")
    with contextlib.ExitStack() as stack:
        series = MapSeries.of(products, stack, least=_LEAST[name], certainty=chosen.certainty)
        follower = _follower(name, series, chosen)
        dates = [str(np.datetime64(int(day), "D")) for day in series.days]
        parameters = {
            "method": name,
            "dates": dates,
            "model": model,
            "interval": chosen.interval,
            "certainty_of_maps_without_probabilities": chosen.certainty,
        }
        product = StreamedProduct(
            name=f"series-{name}",
            title=f"{_TITLES[name]}, {dates[0]} to {dates[-1]}",
            lineage=f"{len(dates)} maps, {dates[0]} to {dates[-1]}, followed by the method {name}"
            + (f"; mapped by {model}." if model else "."),
            geobox=series.geobox,
            layers=follower.layers(),
            tile=follower.tile,
            inputs=inputs,
            start=f"{dates[0]}T00:00:00Z",
            end=f"{dates[-1]}T00:00:00Z",
            parameters=parameters,
            legends=follower.legends,
            edge=series.edge,
        )
        return _write(out, product, follower, chosen, progress, dict)


def _follower(name: str, series: MapSeries, chosen: SeriesOptions) -> SeriesMethod:
    if name == "growth":
        return GrowthSeries.of(series, chosen.built_up, chosen.interval)
    if name == "switches":
        return SwitchSeries(series, chosen.stay, chosen.last, chosen.margin)
    if chosen.count is None:
        raise ConfigurationError(
            f"Name the class whose days are counted: --count, one of {', '.join(series.legend.names)}."
        )
    return DaysSeries(series, series.legend.index_of(chosen.count))


def _write(
    out: Path, product: StreamedProduct, method: SeriesMethod, chosen: SeriesOptions, progress: Progress, check: Any
) -> Product:
    """Write the product with charts, table of switches, quick-look and animation."""
    folder = check_free(out, chosen.overwrite)

    def afterwards(files: Files) -> Afterwards:
        results = {**check(), **method.results()}
        extra: dict[str, ExtraFile] = {}
        if isinstance(method, SwitchSeries):
            extra["switches"] = _switch_table(folder, method)
        if isinstance(method, GrowthSeries) and chosen.urban_boundary:
            boundaries = write_boundaries(folder, files["value"][0], method.years)
            extra |= {} if boundaries is None else {"boundaries": boundaries}
        if chosen.animation:
            animation = growth_frames(folder, method.name, files)
            extra |= {} if animation is None else {"animation": animation}
        return Afterwards(results, method.charts(), extra)

    def draw(path: Path, files: Files) -> None:
        draw_series(path, files, product, method.charts())

    write_streamed_product(folder, product, afterwards=afterwards, draw=draw, progress=progress)
    return open_product(folder)


def _switch_table(folder: Path, method: SwitchSeries) -> ExtraFile:
    """Write the switches as CSV, in reading order of the cells."""
    import pandas as pd

    path = folder / "switches.csv"
    table = pd.DataFrame(method.rows, columns=["x", "y", "from", "to", "date_before", "date_after", "margin"])
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False)
    return ExtraFile(path, "text/csv", "lasting switches", "Centre of the cell, classes, and the dates around it.")
