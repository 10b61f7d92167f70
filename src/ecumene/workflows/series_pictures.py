"""Pictures of series: date and its error side by side with the area by year, and growth as an animation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.files import atomic_path
from ecumene.mapping.quicklook import read_reduced
from ecumene.objectives.prediction import LayerSpec
from ecumene.viewer.charts import Chart
from ecumene.workflows.array_product import ExtraFile
from ecumene.workflows.change_pictures import EDGE, animate
from ecumene.workflows.indicators_maps import YEAR_UNIT
from ecumene.workflows.series_growth import DAY_UNIT
from ecumene.workflows.streamed_product import StreamedProduct

Files = Mapping[str, tuple[Path, LayerSpec]]
_MOST_FRAMES = 60
_LAND, _NEW, _OLD, _NOTHING = (225, 225, 220), (230, 75, 20), (90, 90, 95), (255, 255, 255)


def decimal_years(stored: NDArray[np.float64], spec: LayerSpec) -> NDArray[np.float64]:
    """Return a layer of dates or years as decimal years, NaN where there is none."""
    if spec.unit == YEAR_UNIT:
        return np.where(stored > 0, stored, np.nan)
    return 1970.0 + stored / 365.2425


def draw_series(target: Path, files: Files, product: StreamedProduct, charts: Sequence[Chart]) -> None:
    """Draw the value, its error bar and the area by year into a PNG.

    Args:
        target: The file.
        files: The product's layers.
        product: What they are.
        charts: The product's charts; the first with lines is drawn.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    lines = next((chart for chart in charts if chart.kind == "lines"), None)
    shown = [next(entry for entry in files.values() if entry[1].role == "value")]
    shown += [entry for entry in files.values() if entry[1].role == "uncertainty"][:1]
    shown += [files["probability"]] if "probability" in files else []
    count = len(shown) + (lines is not None)
    figure = Figure(figsize=(4.2 * count, 4.8), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    for number, (path, spec) in enumerate(shown):
        axes = figure.add_subplot(1, count, number + 1)
        _paint(figure, axes, read_reduced(path, EDGE), spec)
    if lines is not None:
        axes = figure.add_subplot(1, count, count)
        series = lines.series[0]
        x, y = np.array(series.x, float), np.array(series.y, float)
        axes.fill_between(x, np.array(series.low, float), np.array(series.high, float), alpha=0.25, color=series.colour)
        axes.plot(x, y, color=series.colour, marker="o", markersize=3)
        axes.set_title(lines.title, fontsize=9)
        axes.set_xlabel(lines.x.label, fontsize=8)
        axes.set_ylabel(f"{lines.y.label}, {lines.y.unit}", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.set_ylim(bottom=0.0)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    figure.suptitle(product.title, fontsize=9)
    with atomic_path(target) as path:
        figure.savefig(path, format="png", metadata={"Software": None})


def _paint(figure: Any, axes: Any, stored: NDArray[np.float64], spec: LayerSpec) -> None:
    """Paint one layer with its colour bar; dates as years."""
    dated = spec.unit in (YEAR_UNIT, DAY_UNIT)
    values = decimal_years(stored, spec) if dated else stored * spec.scale + spec.offset
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    if not dated and known.size:
        low, high = (float(edge) for edge in np.percentile(known, (1, 99)))
    axes.set_facecolor("0.9")
    image = axes.imshow(values, cmap="turbo" if dated else "viridis", vmin=low, vmax=high, interpolation="nearest")
    bar = figure.colorbar(image, ax=axes, orientation="horizontal", fraction=0.05, pad=0.03)
    bar.ax.tick_params(labelsize=7)
    bar.formatter.set_useOffset(False)
    axes.set_title(f"{spec.name}: {spec.description}"[:70], fontsize=7)
    axes.set_xticks([])
    axes.set_yticks([])
    if spec.unit not in ("", "1"):
        bar.set_label("year" if dated else spec.unit, fontsize=7)


def growth_frames(folder: Path, method: str, files: Files) -> ExtraFile | None:
    """Write an animation of what has happened by each year; None where the product has no dates.

    Args:
        folder: Of the product.
        method: Name of the method.
        files: The product's layers.
    """
    path, spec = next(entry for entry in files.values() if entry[1].role == "value")
    if spec.unit not in (YEAR_UNIT, DAY_UNIT):
        return None
    stored = read_reduced(path, EDGE)
    years = np.floor(decimal_years(stored, spec))
    valid = read_reduced(files["valid"][0], EDGE) == 1
    if not np.isfinite(years).any():
        return None
    first, last = int(np.nanmin(years)), int(np.nanmax(years))
    frames = []
    for year in range(first, last + 1)[-_MOST_FRAMES:]:
        picture = np.full((*years.shape, 3), _NOTHING, np.uint8)
        picture[valid] = _LAND
        picture[years < year] = _OLD
        picture[years == year] = _NEW
        frames.append((str(year), picture))
    title = "built-up land by year" if method == "growth" else "change by year"
    return animate(folder, frames, title, seconds=0.8)
