"""The verb `series`: when something changed, how sure the date is, and since when land is built-up."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from numpy.typing import NDArray

from ecumene.change.breaks import BreakModel
from ecumene.change.patterns import PatternModel
from ecumene.change.series import day_of, days_of
from ecumene.core.errors import ConfigurationError
from ecumene.core.files import atomic_path
from ecumene.core.progress import Progress, silent
from ecumene.mapping.checksums import InputRecord, input_records, time_text
from ecumene.mapping.product import Product, open_product
from ecumene.objectives.prediction import LayerSpec
from ecumene.scenes.contract import SceneSource
from ecumene.workflows.given_options import refuse_declared
from ecumene.workflows.product_files import ExtraFile, check_free, refuse_existing
from ecumene.workflows.product_layers import is_product, named_product, record_of, require_legend
from ecumene.workflows.series_boundary import write_boundaries
from ecumene.workflows.series_days import DaysSeries
from ecumene.workflows.series_input import SeriesInput, check_dates, check_grids, open_series
from ecumene.workflows.series_maps import maps_years, scenes_of_maps
from ecumene.workflows.series_options import (
    METHODS,
    SeriesOptions,
    check_method,
    method_of_maps,
    method_of_scenes,
    refuse_several_values,
)
from ecumene.workflows.series_patterns import CusumSeries, PatternSeries, write_objects
from ecumene.workflows.series_pictures import draw_series, growth_frames
from ecumene.workflows.series_products import GrowthSeries, MapSeries, SwitchSeries, built_up_classes
from ecumene.workflows.series_rules import RuleSeries
from ecumene.workflows.series_scenes import (
    BreakSeries,
    MonitorSeries,
    OmnibusSeries,
    SeriesMethod,
    StatisticsSeries,
    TrendSeries,
    resolved_breaks,
    sample_values,
)
from ecumene.workflows.series_several import SeveralSeries
from ecumene.workflows.series_values import check_rule, check_second, counted_class
from ecumene.workflows.stacks import Declaration, Paths, as_paths, open_in_order
from ecumene.workflows.streamed_product import Afterwards, StreamedProduct, write_streamed_product

if TYPE_CHECKING:
    from ecumene.models.bundle import Model

__all__ = ["SeriesOptions", "follow_series"]

_MAPS = ".maps"
_CELLS = "ecumene:cells"  # property of maps with one answer for each patch

Files = Mapping[str, tuple[Path, LayerSpec]]


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
    (`monitor`), several changes one after another (`sequence`), changes of radar intensity (`omnibus`), patterns of
    change (`patterns`) and alarms after them (`cusum`), statistics (`statistics`) and trends (`trends`). Maps, or
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
    check_method(chosen)
    paths = as_paths(scenes)
    if not paths:
        raise ConfigurationError("No scene was given; name at least one file or folder.")
    maps = [is_product(path) for path in paths]
    if any(maps) != all(maps):
        raise ConfigurationError("Some of the inputs are products and others are scenes; give one kind.")
    if all(maps):
        if chosen.model is not None:
            raise ConfigurationError("The inputs are maps already; leave out --model.")
        refuse_declared(declaration, "products state it themselves, so leave it out", ("time",))
        refuse_existing(Path(out), chosen.overwrite)
        products = _dated(paths, declaration.get("time"))
        method, reason = method_of_maps(chosen, patches=_CELLS in products[0][0].properties, mapped=False)
        records = tuple(record_of(product) for product, _ in products)
        return _of_maps(products, Path(out), chosen, records, progress, method, reason)
    sources = open_in_order(paths, **declaration)
    if chosen.model is not None:
        return _mapped(paths, sources, Path(out), chosen, declaration, progress)
    return _of_scenes(sources, Path(out), chosen, progress)


def _dated(paths: Sequence[str | Path], times: str | Sequence[str] | None) -> list[tuple[Product, Any]]:
    """Open products with their dates."""
    stated = [times] if isinstance(times, str) else list(times or []) or None
    if stated is not None and len(stated) != len(paths):
        raise ConfigurationError(f"There are {len(paths)} products and {len(stated)} dates; give one date each.")
    return [named_product(path, stated, k) for k, path in enumerate(paths)]


def _products_in(paths: Sequence[str | Path]) -> list[Path]:
    """Return products by their folders; a folder that is none stands for the products in it.

    Raises:
        ConfigurationError: If a folder holds none.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        inside = [path] if is_product(path) else sorted(entry for entry in path.glob("*/") if is_product(entry))
        if not inside:
            raise ConfigurationError(f"{path.name} is no product and holds none; give maps of `ecumene map`.")
        found += inside
    return found


def _of_scenes(sources: Sequence[SceneSource], out: Path, chosen: SeriesOptions, progress: Progress) -> Product:
    """Follow the values of scenes."""
    name, reason = method_of_scenes(sources, chosen)
    series = open_series(
        sources,
        least=METHODS[name].least,
        indices=chosen.index,
        bands=chosen.use_bands,
        align=chosen.align,
        mask_clouds=chosen.mask_clouds,
    )
    if name == "monitor":
        refuse_several_values(chosen.index or chosen.use_bands or ())
        series = series.first()
    refuse_existing(out, chosen.overwrite)
    with contextlib.ExitStack() as stack:
        return _write_scenes(series, name, reason, out, chosen, progress, stack)


def _write_scenes(
    series: SeriesInput, name: str, reason: str, out: Path, chosen: SeriesOptions, progress: Progress,
    stack: contextlib.ExitStack,
) -> Product:  # fmt: skip
    """Write the product of a method of scenes."""
    progress(0, 1, "learning")
    if name == "breaks":
        breaks = resolved_breaks(chosen.breaks, lambda: sample_values(series), series.days)
        chosen = replace(chosen, breaks=breaks)
    method = _method(name, series, chosen, stack)
    parameters = {
        "method": name,
        "chosen": reason,
        "followed": list(series.names),
        "mask_clouds": chosen.mask_clouds,
        "dates": [str(np.datetime64(int(day), "D")) for day in series.days],
        **_stated(name, chosen),
    }

    def check() -> dict[str, Any]:
        series.require_dates(METHODS[name].least)
        silent_dates = series.silent_dates()
        return {"dates_without_a_clear_pixel": silent_dates} if silent_dates else {}

    times = [time for time in series.stack.times if time is not None]
    product = StreamedProduct(
        name=f"series-{name}",
        title=f"{METHODS[name].title}, {str(times[0])[:10]} to {str(times[-1])[:10]}",
        lineage=f"{len(times)} dates of {' and '.join(series.sensors)}, {', '.join(series.names)} followed by the "
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


def _stated(name: str, chosen: SeriesOptions) -> dict[str, Any]:
    """Return the options of a method for provenance, as JSON values; paths by their last name."""
    found: dict[str, Any] = {}
    for key in METHODS[name].options:
        value = getattr(chosen, key)
        if isinstance(value, Mapping):
            value = dict(value)
        elif isinstance(value, Path) or key == "after":
            value = Path(value).name if value is not None else None
        elif key == "second":
            value = [Path(path).name for path in value]
        elif isinstance(value, Sequence) and not isinstance(value, str):
            value = list(value)
        found[key] = value
    return found


def _method(name: str, series: SeriesInput, chosen: SeriesOptions, stack: contextlib.ExitStack) -> SeriesMethod:
    """Return a method of scenes with its options."""
    if name == "sequence":
        rules = {"confirm": chosen.confirm, "confidence": chosen.confidence} | dict(chosen.breaks)
        return SeveralSeries(series, chosen.most, name, rules=rules)
    if name == "monitor":
        if chosen.history is None:
            raise ConfigurationError("Monitoring needs the last date of the stable history; state it with --history.")
        options = {"false_alarms": chosen.false_alarms} | dict(chosen.breaks)
        return MonitorSeries(series, day_of(chosen.history, "end of the history"), options)
    if name == "omnibus":
        return OmnibusSeries.of(series, chosen.looks, chosen.significance)
    if name == "patterns":
        return PatternSeries(series, PatternModel(**chosen.breaks), chosen.coupling, chosen.interval)
    if name == "cusum":
        return CusumSeries.of(series, chosen.after, stack)
    if name == "trends":
        return TrendSeries(series, chosen.interval)
    if name == "statistics":
        return StatisticsSeries(series)
    model = BreakModel(**{"level": chosen.interval, **chosen.breaks})
    if chosen.most > 1:
        return SeveralSeries(series, chosen.most, name, model)
    return BreakSeries.of(series, model)


def _mapped(
    paths: Sequence[str], sources: Sequence[SceneSource], out: Path, chosen: SeriesOptions,
    declaration: Declaration, progress: Progress,
) -> Product:  # fmt: skip
    """Map every scene with a model and follow the maps; what cannot be followed is refused before."""
    from ecumene.models.bundle import Model

    assert chosen.model is not None
    model = Model.load(Path(chosen.model))
    if model.spec.temporal and not maps_years(model.spec):
        raise ConfigurationError(
            f"The model {model.spec.name} reads whole series; give it to `ecumene map`, or a model of one date here."
        )
    method, reason = method_of_maps(chosen, patches=model.spec.patch_size is not None, mapped=True)
    check_dates(sources, 1)
    if len(sources) != len(paths):
        raise ConfigurationError("Every input must be one scene of one date; name the scenes one by one.")
    if not chosen.align:
        check_grids(sources)
    maps = scenes_of_maps(paths, sources, yearly=maps_years(model.spec))
    _check_followed(model, method, days_of(np.array(list(maps)), least=METHODS[method].least), chosen)
    folder = check_free(out, chosen.overwrite)
    place = folder / (_MAPS if not chosen.keep_maps else "maps")
    try:
        products = _map_all(model, maps, place, chosen, declaration, progress)
        records = input_records(sources)
        return _of_maps(products, folder, chosen, records, progress, method, reason, model.spec.name)
    finally:
        if not chosen.keep_maps:
            shutil.rmtree(place, ignore_errors=True)


def _check_followed(model: Model, method: str, days: NDArray[np.int64], chosen: SeriesOptions) -> None:
    """Refuse classes and dates of maps that cannot be followed, before they are made."""
    legend = model.objective.legend
    if legend is None:
        raise ConfigurationError(
            f"The model {model.spec.name} maps no classes, so there is nothing to follow; give a model of classes."
        )
    if method == "growth":
        built_up_classes(legend, chosen.built_up)
        check_rule(chosen.rule, days)
    if method == "days":
        counted_class(legend, chosen.count)
    if second := _second(chosen):
        products = [product for product, _ in second]
        check_second(legend, days.tolist(), require_legend(products), _days(second, least=1).tolist())


def _second(chosen: SeriesOptions) -> list[tuple[Product, Any]]:
    """Return the maps of another sensor with their dates, in the order of time."""
    if not chosen.second:
        return []
    return sorted(_dated(_products_in(chosen.second), None), key=lambda entry: int(entry[1].astype(np.int64)))


def _days(products: Sequence[tuple[Product, Any]], *, least: int) -> NDArray[np.int64]:
    return days_of(np.array([day for _, day in products]), least=least)


def _map_all(
    model: Model, maps: Mapping[np.datetime64, Sequence[tuple[str, SceneSource]]], place: Path,
    chosen: SeriesOptions, declaration: Declaration, progress: Progress,
) -> list[tuple[Product, Any]]:  # fmt: skip
    """Map each scene, or the scenes of each year, into a folder that is named by its date."""
    from ecumene.workflows.map import map_scenes

    told: dict[str, Any] = {key: value for key, value in declaration.items() if key != "time" and value is not None}
    products = []
    for number, (day, members) in enumerate(maps.items()):
        progress(number, len(maps), "maps")
        product = map_scenes(
            model, [path for path, _ in members], place / str(day), mask_clouds=chosen.mask_clouds, overwrite=True,
            time=[str(source.time) for _, source in members], **told,
        )  # fmt: skip
        products.append((product, day))
    return products


def _of_maps(
    products: Sequence[tuple[Product, Any]], out: Path, chosen: SeriesOptions, inputs: tuple[InputRecord, ...],
    progress: Progress, name: str, reason: str, model: str | None = None,
) -> Product:  # fmt: skip
    """Follow the classes of maps."""
    with contextlib.ExitStack() as stack:
        series = MapSeries.of(
            products, stack, least=METHODS[name].least, certainty=chosen.certainty, align=chosen.align
        )
        second = None
        if others := _second(chosen):
            inputs += tuple(record_of(product) for product, _ in others)
            second = MapSeries.of(others, stack, least=1, align=chosen.align, geobox=series.geobox)
        follower = _follower(name, series, chosen, second)
        dates = [str(np.datetime64(int(day), "D")) for day in series.days]
        parameters = {"method": name, "chosen": reason, "dates": dates, "model": model, **_stated(name, chosen)}
        if model is not None:
            parameters["mask_clouds"] = chosen.mask_clouds
        product = StreamedProduct(
            name=f"series-{name}",
            title=f"{METHODS[name].title}, {dates[0]} to {dates[-1]}",
            lineage=f"{len(dates)} maps, {dates[0]} to {dates[-1]}, followed by the method {name} ({reason})"
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


def _follower(name: str, series: MapSeries, chosen: SeriesOptions, second: MapSeries | None) -> SeriesMethod:
    """Return a method of maps with its options."""
    if name == "growth" and chosen.rule != "likelihood":
        return RuleSeries.of(series, chosen.built_up, chosen.rule)
    if name == "growth":
        return GrowthSeries.of(series, chosen.built_up, chosen.interval)
    if name == "switches":
        return SwitchSeries(series, chosen.stay, chosen.last, chosen.margin)
    return DaysSeries.of(series, chosen.count, chosen.season, chosen.interval, second)


def _write(
    out: Path, product: StreamedProduct, method: SeriesMethod, chosen: SeriesOptions, progress: Progress,
    check: Callable[[], dict[str, Any]],
) -> Product:  # fmt: skip
    """Write the product with charts, tables and polygons of its own, quick-look and animation."""
    folder = check_free(out, chosen.overwrite)

    def afterwards(files: Files) -> Afterwards:
        results = {**check(), **method.results()}
        extra = _extra_files(folder, method, chosen, files, results)
        if chosen.animation:
            animation = growth_frames(folder, method.name, files)
            extra |= {} if animation is None else {"animation": animation}
        return Afterwards(results, method.charts(), extra)

    def draw(path: Path, files: Files) -> None:
        draw_series(path, files, product, method.charts())

    write_streamed_product(folder, product, afterwards=afterwards, draw=draw, progress=progress)
    return open_product(folder)


def _extra_files(
    folder: Path, method: SeriesMethod, chosen: SeriesOptions, files: Files, results: dict[str, Any]
) -> dict[str, ExtraFile]:
    """Write what only some methods have beside layers."""
    if isinstance(method, SwitchSeries):
        return {"switches": _switch_table(folder, method)}
    if isinstance(method, GrowthSeries | RuleSeries) and chosen.urban_boundary:
        boundaries = write_boundaries(folder, files["value"][0], method.series.years)
        return {} if boundaries is None else {"boundaries": boundaries}
    if isinstance(method, PatternSeries) and chosen.objects:
        objects, results["objects"] = write_objects(folder, files, method.level)
        return {} if objects is None else {"objects": objects}
    return {}


def _switch_table(folder: Path, method: SwitchSeries) -> ExtraFile:
    """Write the switches as CSV, in reading order of the cells."""
    import pandas as pd

    path = folder / "switches.csv"
    table = pd.DataFrame(method.rows, columns=["x", "y", "from", "to", "date_before", "date_after", "margin"])
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False)
    return ExtraFile(path, "text/csv", "lasting switches", "Centre of the cell, classes, and the dates around it.")
