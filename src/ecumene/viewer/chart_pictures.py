"""Charts of a product, as the web map describes them, drawn as SVG for the report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ecumene.viewer.figures import COLOURS, INK, new_figure, to_svg
from ecumene.viewer.report import Diagram, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GREY, _NEUTRAL = "#8a8a8a", "#7f868d"
_ROW_INCHES, _WIDTH, _HEIGHT = 0.3, 4.8, 3.4


def chart_table(chart: Mapping[str, Any]) -> Table:
    """Return the numbers of a chart as a table."""
    rows = [[str(cell) for cell in row] for row in chart["table"]["rows"]]
    return Table(chart["title"], tuple(chart["table"]["columns"]), rows, chart.get("caption") or "")


def chart_diagram(chart: Mapping[str, Any]) -> Diagram | None:
    """Draw a chart; None for one that is a table only.

    Args:
        chart: One entry of `charts.product_charts`.
    """
    kind = chart["kind"]
    if kind not in {"bars", "lines", "points"} or not chart.get("series"):
        return None
    numbers = chart_table(chart)
    picture = _bars(chart) if kind == "bars" else _curves(chart)
    words = {"bars": "Bar chart", "lines": "Line chart", "points": "Scatter chart"}[kind]
    stop = "" if chart["title"].endswith(("?", "!", ".")) else "."
    alt = f"{words}: {chart['title']}{stop} The numbers are in the table below."
    plain = Table(numbers.title, numbers.columns, numbers.rows)
    return Diagram(chart["title"], alt, picture, chart.get("caption") or "", plain)


def _label(axis: Mapping[str, Any]) -> str:
    unit = axis.get("unit") or ""
    return f"{axis.get('label') or ''}, {unit}" if unit else str(axis.get("label") or "")


def _values(numbers: Sequence[float | None] | None, length: int) -> list[float]:
    return [math.nan if number is None else float(number) for number in numbers] if numbers else [math.nan] * length


def _errors(series: Mapping[str, Any], y: Sequence[float]) -> list[list[float]] | None:
    """Return distances from y to both ends of the interval, or None where a series has none."""
    if not series.get("low") or not series.get("high"):
        return None
    low, high = _values(series["low"], len(y)), _values(series["high"], len(y))
    down = [max(0.0, middle - end) for middle, end in zip(y, low, strict=True)]
    up = [max(0.0, end - middle) for middle, end in zip(y, high, strict=True)]
    return [down, up]


def _colour(series: Mapping[str, Any], position: int) -> str:
    return str(series.get("colour") or COLOURS[position % len(COLOURS)])


def _bars(chart: Mapping[str, Any]) -> str:
    """Draw bars along the rows, so that long names stay readable; the first category is at the top."""
    categories = [str(name) for name in chart["x"].get("categories") or ()]
    many = len(chart["series"])
    height = max(1.6, 0.9 + _ROW_INCHES * len(categories) * max(1.0, 0.7 * many))
    figure, axes = new_figure(_WIDTH, height)
    thick = 0.8 / many
    by_class = any(series.get("colours") for series in chart["series"])  # colours mean classes: no others beside them
    for position, series in enumerate(chart["series"]):
        y = _values(series["y"], len(categories))
        places = [row - 0.4 + thick * (position + 0.5) for row in range(len(categories))]
        axes.barh(
            places,
            y,
            height=thick * 0.92,
            color=series.get("colours") or (_NEUTRAL if by_class else _colour(series, position)),
            edgecolor=INK,
            linewidth=0.4,
            label=series.get("name"),
            xerr=_errors(series, y),
            error_kw={"ecolor": INK, "elinewidth": 1.1, "capsize": 2.5},
        )
    axes.set_yticks(range(len(categories)), categories)
    axes.invert_yaxis()
    axes.set_xlabel(_label(chart["y"]))
    if chart["y"].get("limits"):
        axes.set_xlim(*chart["y"]["limits"])
    _finish(axes, chart)
    return to_svg(figure)


def _curves(chart: Mapping[str, Any]) -> str:
    """Draw lines with their intervals as bands, or dots with theirs as whiskers."""
    figure, axes = new_figure(_WIDTH, _HEIGHT)
    if chart.get("diagonal"):
        ends = chart["x"].get("limits") or [0.0, 1.0]
        axes.plot(ends, ends, color=_GREY, linewidth=1)
    categories = chart["x"].get("categories")
    for position, series in enumerate(chart["series"]):
        y = _values(series["y"], 0)
        x = list(range(len(y))) if series.get("x") is None else _values(series["x"], len(y))
        _one_curve(axes, chart["kind"], series, x, y, position)
    if categories:
        axes.set_xticks(range(len(categories)), [str(name) for name in categories])
    for axis, put in (("x", axes.set_xlim), ("y", axes.set_ylim)):
        if chart[axis].get("limits"):
            put(*chart[axis]["limits"])
    axes.set(xlabel=_label(chart["x"]), ylabel=_label(chart["y"]))
    _finish(axes, chart)
    return to_svg(figure)


def _one_curve(
    axes: Axes, kind: str, series: Mapping[str, Any], x: Sequence[float], y: Sequence[float], position: int
) -> None:
    dashed = bool(series.get("dashed"))
    colour = _GREY if dashed and not series.get("colour") else _colour(series, position)
    errors = _errors(series, y)
    weights = series.get("weight")
    style = "--" if dashed else "-"
    if kind == "lines" and errors is not None:
        low, high = _values(series["low"], len(y)), _values(series["high"], len(y))
        axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
    elif errors is not None:
        axes.errorbar(x, y, yerr=errors, fmt="none", ecolor=colour, elinewidth=1, capsize=2)
    if kind == "lines" or weights or dashed:
        axes.plot(x, y, color=colour, linewidth=1.4, linestyle=style, label=series.get("name"))
    if kind == "points" and not dashed:
        sizes = [10 + 200 * float(part or 0) for part in weights] if weights else 18
        name = None if weights else series.get("name")
        axes.scatter(x, y, s=sizes, color=colour, alpha=0.65, linewidths=0, label=name)
    elif kind == "lines" and len(x) <= 40 and not dashed:
        axes.plot(x, y, color=colour, linestyle="none", marker="o", markersize=3)


def _finish(axes: Axes, chart: Mapping[str, Any]) -> None:
    if len(chart["series"]) < 2:
        return
    from matplotlib.patches import Patch

    by_class = [series.get("name") for series in chart["series"] if series.get("colours")]
    handles, labels = axes.get_legend_handles_labels()
    for position, name in enumerate(labels):
        if name in by_class:
            handles[position] = Patch(facecolor="none", edgecolor=INK, linewidth=0.7)
            labels[position] = f"{name} (colour of its class)"
    figure = axes.get_figure()
    assert figure is not None  # the axes were made with it
    figure.legend(handles, labels, loc="outside upper left", ncols=2, frameon=False, fontsize=8, labelcolor=INK)
