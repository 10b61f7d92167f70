"""What `clear` writes: layers, figures, chart and quick-look of one date, and the list of all dates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecumene.core.files import write_json, write_text
from ecumene.core.progress import Progress
from ecumene.legends import Legend, LegendClass
from ecumene.mapping.checksums import InputRecord, time_text
from ecumene.mapping.layers import VALID
from ecumene.mapping.product import ITEM_NAME, Product
from ecumene.objectives.prediction import LayerSpec
from ecumene.restoration.contract import STATE_CLASSES
from ecumene.viewer.charts import Axis, Chart, ChartTable, Series
from ecumene.workflows.array_product import ExtraFile
from ecumene.workflows.clear_picture import ClearPicture
from ecumene.workflows.clear_radar import RADAR_DAYS
from ecumene.workflows.number_layers import flag_layers
from ecumene.workflows.streamed_product import Afterwards, StreamedProduct, write_streamed_product

if TYPE_CHECKING:
    from ecumene.workflows.clear_fill import Filler

STATES = Legend(
    name="clear-sky",
    classes=tuple(LegendClass(value=code, name=name, colour=colour) for code, name, colour in STATE_CLASSES),
)
"""Classes of the layer `state`."""
_OUTLIER = "1 where a filled pixel contradicts what the method assumes, as after a sudden change"
SCENE_NAME = "scene.yaml"


def layer_specs(bands: Sequence[str]) -> tuple[LayerSpec, ...]:
    """Return the layers of a date with these bands."""
    names = tuple(bands)
    nan = float("nan")
    outlier = flag_layers(np.zeros((1, 1), np.uint8), np.ones((1, 1), bool), _OUTLIER)[0][0]
    return (
        LayerSpec(
            "reflectance", "float32", nan, description="measured or filled reflectance", role="value", band_names=names
        ),
        LayerSpec(
            "uncertainty",
            "float32",
            nan,
            description="standard deviation of the reflectance: of the sensor where observed, of the filling where "
            "filled, of the band in the whole scene where nothing is known",
            role="uncertainty",
            band_names=names,
        ),
        LayerSpec("state", "uint8", 255, description="where the value comes from", categorical=True, role="extra"),
        outlier,
        VALID,
    )


def clear_product(
    filler: Filler, parameters: Mapping[str, Any], *, edge: int, inputs: tuple[InputRecord, ...]
) -> StreamedProduct:
    """Describe the product of one date; its tiles are computed when it is written."""
    source = filler.source
    day, time = filler.day(), None
    if day is not None:
        index = filler.target.index
        time = f"{day}T12:00:00Z" if index is None else time_text(source.stack.times[index])
    lineage, figures = filler.account()
    dates = [None if moment is None else str(moment)[:10] for moment in source.stack.times]
    results: dict[str, Any] = {"day": day, "dates": dates, "notes": list(source.notes), "method": filler.method}
    if source.radar is not None:
        results["radar"] = radar_facts(filler)
    results |= figures
    return StreamedProduct(
        name="clear",
        title="Clear sky" if day is None else f"Clear sky on {day}",
        lineage=lineage,
        geobox=source.stack.geobox,
        layers=layer_specs(source.bands),
        tile=filler.tile,
        inputs=inputs,
        start=time,
        end=time,
        parameters=parameters,
        legends={"state": STATES},
        edge=edge,
        results=results,
        everywhere=("state", "uncertainty"),
    )


def radar_facts(filler: Filler) -> dict[str, Any]:
    """Return which radar stands for the wanted day and for each date, and how far away it may be."""
    source, stands = filler.source, filler.source.radar_of(filler.target)
    times = () if source.radar is None else source.radar.times
    return {
        "day": None if stands is None else str(stands)[:10],
        "dates": [None if time is None else str(time)[:10] for time in times],
        "most_days_apart": RADAR_DAYS,
    }


def write_clear_product(folder: Path, product: StreamedProduct, filler: Filler, progress: Progress) -> Product:
    """Write the product of one date with quick-look, chart, and a `scene.yaml` by which it is a scene again."""
    folder.mkdir(parents=True, exist_ok=True)
    picture = ClearPicture(filler.source, filler.target.index, product.title)
    counted = np.zeros(len(STATE_CLASSES), np.int64)
    compute = product.tile

    def tile(window: Any) -> dict[str, Any]:
        layers = dict(compute(window))
        picture.add(window, layers)
        counted[:] += np.bincount(layers["state"].ravel(), minlength=len(counted))
        return layers

    def afterwards(_: Mapping[str, tuple[Path, LayerSpec]]) -> Afterwards:
        whole = max(int(counted.sum()), 1)
        shares = {entry[1]: round(int(n) / whole, 6) for entry, n in zip(STATE_CLASSES, counted, strict=True)}
        chart = score_chart(product.results.get("held_out", {}))
        scene = folder / SCENE_NAME
        write_text(scene, scene_text(filler, product))
        files = {"scene": ExtraFile(scene, "application/yaml", "the layers as a scene", roles=("metadata",))}
        return Afterwards({"shares": shares}, () if chart is None else (chart,), files)

    return write_streamed_product(
        folder,
        replace(product, tile=tile),
        afterwards=afterwards,
        draw=lambda path, _: picture.draw(path),
        progress=progress,
    )


def scene_text(filler: Filler, product: StreamedProduct) -> str:
    """Return a `scene.yaml` that opens the reflectances with their sensor, level and date again."""
    first = filler.source.channels[0]
    lines = [
        f"sensor: {first.sensor}",
        f"level: {first.level}",
        f"bands: [{', '.join(filler.source.bands)}]",
        "files: [reflectance.tif]",
        "scale: 1.0",
        "offset: 0.0",
        "nodata: .nan",
        "mask: none",
    ]
    if product.start is not None:
        lines.append(f"time: {product.start}")
    return "\n".join(lines) + "\n"


def score_chart(scores: Mapping[str, Mapping[str, float]]) -> Chart | None:
    """Return the errors of all methods that were tried on hidden clear pixels, or None without any."""
    tried = {name: score for name, score in scores.items() if "rmse" in score}
    if not tried:
        return None
    names = sorted(tried, key=lambda name: tried[name]["rmse"])
    rows = [
        [name, *(f"{tried[name][what]:.4f}" for what in ("rmse", "mae")), f"{tried[name]['filled']:.3f}"]
        for name in names
    ]
    return Chart(
        id="held-out-error",
        title="Error on hidden clear pixels",
        kind="bars",
        caption="Clear pixels of the same series were hidden under simulated clouds and filled by each method.",
        x=Axis(label="method", categories=names),
        y=Axis(label="root mean squared error", unit="reflectance"),
        series=[Series(name="RMSE", y=[tried[name]["rmse"] for name in names])],
        table=ChartTable(columns=["method", "RMSE", "MAE", "share filled"], rows=rows),
    )


def write_list(out: Path, products: Sequence[Product]) -> None:
    """Write `series.json`, which lists the products of all dates in order of time."""
    dates = [{"day": folder.folder.name, "item": f"{folder.folder.name}/{ITEM_NAME}"} for folder in products]
    write_json(out / "series.json", {"dates": dates})
