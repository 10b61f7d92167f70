"""The quick-look: value, uncertainty and outliers side by side, with legend and colour bar."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.files import atomic_path
from ecumene.legends import Legend
from ecumene.mapping.cog import class_table
from ecumene.objectives.prediction import LayerSpec

_EDGE = 700  # pixels of the longer side of a panel
_MAXIMUM_CLASSES = 24


def read_reduced(path: Path, edge: int = _EDGE) -> NDArray[Any]:
    """Read the first band of a raster, reduced through its overviews, masked where nodata."""
    import rasterio
    from rasterio.enums import Resampling

    with rasterio.open(path) as source:
        factor = max(1.0, max(source.shape) / edge)
        shape = (max(1, round(source.height / factor)), max(1, round(source.width / factor)))
        stored = source.read(1, out_shape=shape, resampling=Resampling.nearest, masked=True)
        return np.asarray(stored.astype(np.float64).filled(np.nan))


def _paint_classes(axes: Any, codes: NDArray[Any], table: list[tuple[int, str, str]]) -> None:
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Patch

    picture = np.full((*codes.shape, 3), 0.85)  # nodata
    for code, _, colour in table:
        picture[codes == code] = to_rgb(colour)
    axes.imshow(picture, interpolation="nearest")
    present = [row for row in table if np.any(codes == row[0])][:_MAXIMUM_CLASSES]
    handles = [Patch(facecolor=colour, edgecolor="0.4", label=name) for _, name, colour in present]
    if handles:
        axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.02), ncol=2, fontsize=7, frameon=False)


def _paint_numbers(figure: Any, axes: Any, stored: NDArray[Any], spec: LayerSpec) -> None:
    physical = stored * spec.scale + spec.offset
    finite = physical[np.isfinite(physical)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if spec.limits is not None:
        low, high = spec.limits
    image = axes.imshow(physical, cmap="viridis", vmin=low, vmax=high, interpolation="nearest")
    bar = figure.colorbar(image, ax=axes, orientation="horizontal", fraction=0.05, pad=0.03)
    bar.ax.tick_params(labelsize=7)
    if spec.unit not in {"", "1"}:
        bar.set_label(spec.unit, fontsize=7)


def write_quicklook(target: Path, layers: dict[str, tuple[Path, LayerSpec]], legend: Legend | None, title: str) -> None:
    """Draw the layers with the roles value, uncertainty and outlier into a PNG.

    Args:
        target: The picture.
        layers: File and description of each layer, by name.
        legend: Classes of a categorical value.
        title: Line above the panels.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    wanted = [
        next((entry for entry in layers.values() if entry[1].role == role), None)
        for role in ("value", "uncertainty", "outlier")
    ]
    panels = [entry for entry in wanted if entry is not None] or list(layers.values())[:1]
    figure = Figure(figsize=(4.6 * len(panels), 5.4), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    for number, (path, spec) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), number + 1)
        stored = read_reduced(path)
        table = class_table(spec, legend)
        if table:
            _paint_classes(axes, stored, table)
        else:
            _paint_numbers(figure, axes, stored, spec)
        axes.set_title(spec.name, fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([])
    figure.suptitle(title, fontsize=9)
    with atomic_path(target) as path:
        figure.savefig(path, format="png", metadata={"Software": None})
