"""The shares of all materials as one picture, beside the quick-look that shows the first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.files import atomic_path

_MOST = 12
_COLUMNS = 4
_EDGE = 500  # pixels of the longer side of a panel


def draw_shares(target: Path, shares: NDArray[np.float32], names: Sequence[str]) -> int:
    """Draw one panel a material, all on the scale 0 to 1.

    Args:
        target: PNG file.
        shares: `[p, H, W]`, NaN without data.
        names: Of the materials, p of them.

    Returns:
        Panels drawn: p, at most 12.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    count = min(len(names), _MOST)
    columns = min(count, _COLUMNS)
    rows = math.ceil(count / columns)
    step = max(1, math.ceil(max(shares.shape[1:]) / _EDGE))
    height = 2.6 * shares.shape[1] / shares.shape[2]
    figure = Figure(figsize=(2.7 * columns + 0.8, min(height, 6.0) * rows + 0.5), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    image: Any = None
    for panel, share, name in zip(axes, shares, names, strict=False):
        image = panel.imshow(share[::step, ::step], cmap="viridis", vmin=0.0, vmax=1.0, interpolation="nearest")
        panel.set_title(name, fontsize=8)
    for panel in axes:
        panel.set_xticks([])
        panel.set_yticks([])
    for panel in axes[count:]:
        panel.set_axis_off()
    figure.colorbar(image, ax=axes.tolist(), label="share", fraction=0.03)
    with atomic_path(target) as path:
        figure.savefig(path, format="png", metadata={"Software": None})
    return count
