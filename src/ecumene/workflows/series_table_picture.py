"""Picture of pixel series: observations, and the changes with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecumene.core.files import atomic_path

if TYPE_CHECKING:
    from ecumene.workflows.series_table import PixelTable

_MOST = 6  # pixels in the picture
_COLOURS = ("#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


def draw_table(target: Path, series: PixelTable, rows: Sequence[Mapping[str, Any]], title: str) -> None:
    """Draw the first pixels into a PNG, a panel for each band.

    Args:
        target: The file.
        series: What was observed.
        rows: The changes, with `pixel`, `date`, `date_low` and `date_high`.
        title: Above all.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown, bands = series.pixels[:_MOST], series.bands
    figure = Figure(figsize=(8.0, 1.0 + 2.0 * len(shown) * len(bands)), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    days = series.days.astype("datetime64[D]")
    panels: Any = figure.subplots(len(shown) * len(bands), 1, sharex=True, squeeze=False)[:, 0]
    for number, axes in enumerate(panels):
        p, b = divmod(number, len(bands))
        axes.plot(days, series.values[b, :, p], ".", color=_COLOURS[b % len(_COLOURS)], markersize=4)
        axes.set_ylabel(f"{bands[b]}\npixel {shown[p]}", fontsize=7)
        axes.tick_params(labelsize=7)
        for row in rows:
            if row["pixel"] == shown[p] and row["date"]:
                axes.axvline(np.datetime64(row["date"]), color="#d55e00", linewidth=1)
                axes.axvspan(
                    np.datetime64(row["date_low"]), np.datetime64(row["date_high"]), color="#d55e00", alpha=0.2
                )
    figure.suptitle(f"{title}: dates with their intervals", fontsize=9)
    with atomic_path(target) as path:
        figure.savefig(path, format="png", metadata={"Software": None})
