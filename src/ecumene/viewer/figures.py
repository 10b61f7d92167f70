"""Diagrams as SVG data URIs that follow the reader's light or dark scheme."""

from __future__ import annotations

import base64
import io
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#b3a100")
"""Colours of curves, distinguishable with colour-vision deficiency (Okabe and Ito, 2008) and on light and dark."""

INK = "#010203"
"""Axes and text are drawn in this colour, which the picture replaces by the scheme's own."""

_SALT = "ecumene"
_STYLE = "svg{color:#222}@media (prefers-color-scheme:dark){svg{color:#ddd}}@media print{svg{color:#222}}"
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",  # real text: small, sharp, searchable
    "svg.hashsalt": _SALT,  # the same picture has the same bytes
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """Return an empty figure of a size in inches and its axes, in the page's style."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
    figure.patch.set_alpha(0.0)
    axes.patch.set_alpha(0.0)
    return figure, axes


def to_svg(figure: Figure) -> str:
    """Return a figure as data URI of an SVG without scripts and outside resources.

    Args:
        figure: Of `new_figure`; what is drawn in `INK` takes the colour of the reader's scheme.
    """
    import matplotlib

    stream = io.StringIO()
    with matplotlib.rc_context(_SETTINGS):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Type": None, "Format": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]  # without XML declaration and document type, which name outside addresses
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = text.replace(INK, "currentColor").replace("<defs>", f"<style>{_STYLE}</style><defs>", 1)
    text = re.sub(r"\s*\n\s*", "\n", text)
    return "data:image/svg+xml;base64," + base64.b64encode(text.encode("utf-8")).decode("ascii")
