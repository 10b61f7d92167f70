"""Curves as pictures for the report."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence

COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


def curve_picture(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    x_label: str,
    y_label: str,
    *,
    diagonal: bool = False,
    square: bool = False,
) -> str:
    """Draw named curves into one diagram.

    Args:
        curves: x and y of each curve; a curve whose name begins with `-` is dashed and grey.
        x_label: What x is.
        y_label: What y is.
        diagonal: Draw the line x = y.
        square: Let both axes run from 0 to 1.

    Returns:
        A data URI of a PNG.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2, 3.6), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if diagonal:
        axes.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    number = 0
    for name, (x, y) in curves.items():
        if name.startswith("-"):
            axes.plot(x, y, color="0.5", linewidth=1, linestyle="--", label=name[1:])
        else:
            axes.plot(x, y, color=COLOURS[number % len(COLOURS)], linewidth=1.4, label=name)
            number += 1
    if square:
        axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.legend(frameon=False, fontsize=8)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
