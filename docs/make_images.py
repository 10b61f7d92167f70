"""Draws the pictures of the README from the folder that `ecumene demo` has written.

Usage: python docs/make_images.py DEMO_FOLDER
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from PIL import Image

from ecumene import open_scene
from ecumene.mapping.product import open_product
from ecumene.viewer.pictures import read_reduced

IMAGES = Path(__file__).parent / "images"
CLEAR, CLOUDED = "sentinel2_2023-07-06.tif", "sentinel2_2023-08-25.tif"
STRETCH = 0.25
"""Reflectance that is shown white."""
COLOURS = 256
"""Size of the palette; keeps the files below 150 kB."""


def natural(path: Path) -> NDArray[np.float32]:
    """Return a scene in natural colours, `[H, W, 3]`, 0..1."""
    scene = open_scene(path, chunks=None, checksums=False)
    bands = np.stack([scene[name].to_numpy()[0] for name in ("B04", "B03", "B02")], axis=-1)
    return np.clip(np.nan_to_num(bands) / STRETCH, 0, 1) ** 0.7


def canvas(panels: int) -> tuple[Figure, Any]:
    """Return a figure with square panels in a row."""
    figure = Figure(figsize=(3.3 * panels, 3.9), dpi=90, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, panels)
    for panel in axes:
        panel.set_xticks([])
        panel.set_yticks([])
    return figure, axes


def save(figure: Figure, name: str) -> None:
    """Write a figure as PNG with a palette."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    picture = Image.open(stream).convert("RGB")
    picture.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, kmeans=4, dither=Image.Dither.NONE).save(
        IMAGES / name, optimize=True
    )


def main(demo: Path) -> None:
    """Draw both pictures."""
    IMAGES.mkdir(exist_ok=True)
    product = open_product(demo / "product")
    legend = product.legend
    if legend is None:
        raise SystemExit("The demonstration's product has no classes.")
    figure, axes = canvas(3)
    axes[0].imshow(natural(demo / "scenes" / CLEAR))
    axes[0].set_title("scene (SIMULATED Sentinel-2)")
    codes = read_reduced(product.path("value"))
    colours = {item.value: item.colour for item in legend.classes}
    ranks = np.searchsorted(np.array(legend.values), codes)
    axes[1].imshow(ranks, cmap=ListedColormap([colours[value] for value in legend.values]), interpolation="nearest")
    axes[1].set_title("value")
    shown = axes[2].imshow(read_reduced(product.path("uncertainty")), vmin=0, vmax=1, cmap="cividis")
    axes[2].set_title("uncertainty")
    figure.colorbar(shown, ax=axes[2], orientation="horizontal", fraction=0.05, label="0 sure, 1 any class")
    handles = [Patch(color=item.colour, label=item.name) for item in legend.classes]
    figure.legend(handles=handles, loc="outside lower left", ncols=5, fontsize=7, frameon=False)
    save(figure, "demo.png")

    figure, axes = canvas(2)
    axes[0].imshow(natural(demo / "scenes" / CLOUDED))
    axes[0].set_title("another date (SIMULATED)")
    flags = read_reduced(open_product(demo / "product-clouded").path("outlier"))
    axes[1].imshow(flags, cmap=ListedColormap(["#e1e1e1", "#d55e00"]), vmin=0, vmax=1, interpolation="nearest")
    axes[1].set_title(f"outlier: {np.nanmean(flags):.0%} of the pixels")
    save(figure, "outliers.png")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]))
