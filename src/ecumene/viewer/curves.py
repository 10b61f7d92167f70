"""Curves, bars and dots as pictures for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ecumene.viewer.figures import COLOURS, INK, new_figure, to_svg

_GREY = "#8a8a8a"


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
        A data URI of an SVG.
    """
    figure, axes = new_figure(4.2, 3.6)
    if diagonal:
        axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1)
    number = 0
    for name, (x, y) in curves.items():
        if name.startswith("-"):
            axes.plot(x, y, color=_GREY, linewidth=1, linestyle="--", label=name[1:])
        else:
            axes.plot(x, y, color=COLOURS[number % len(COLOURS)], linewidth=1.4, label=name)
            number += 1
    if square:
        axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.legend(frameon=False, fontsize=8, labelcolor=INK)
    return to_svg(figure)


def reliability_picture(curves: Mapping[str, Sequence[tuple[float, float, float]]]) -> str:
    """Draw reliability curves: mean confidence against accuracy, dot area by the share of pixels.

    Args:
        curves: For each name the (confidence, accuracy, share) of its non-empty bins, all in [0, 1].

    Returns:
        A data URI of an SVG.
    """
    figure, axes = new_figure(3.8, 3.6)
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1)
    for colour, (name, points) in zip(COLOURS, curves.items(), strict=False):
        if points:
            confidence, accuracy, share = zip(*points, strict=True)
            axes.plot(confidence, accuracy, color=colour, linewidth=1, label=name)
            axes.scatter(confidence, accuracy, s=[10 + 200 * part for part in share], color=colour, alpha=0.6)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="accuracy", aspect="equal")
    axes.legend(loc="upper left", frameon=False, fontsize=8, labelcolor=INK)
    return to_svg(figure)


def histogram_picture(shares: Sequence[float]) -> str:
    """Draw shares of equal bins on [0, 1], with a line where they were even.

    Args:
        shares: One for each bin.

    Returns:
        A data URI of an SVG.
    """
    number = len(shares)
    figure, axes = new_figure(3.8, 2.6)
    axes.bar([(i + 0.5) / number for i in range(number)], list(shares), width=0.9 / number, color=COLOURS[1])
    axes.axhline(1.0 / number, color=_GREY, linewidth=1)
    axes.set(xlim=(0, 1), xlabel="level of the predicted distribution", ylabel="share of pixels")
    return to_svg(figure)
