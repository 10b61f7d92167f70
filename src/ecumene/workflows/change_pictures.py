"""Pictures of change: before, after and change side by side, and before and after as an animation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.files import atomic_path
from ecumene.indicators.maps import read_masked
from ecumene.legends import Legend
from ecumene.mapping.quicklook import read_reduced
from ecumene.scenes.common_names import common_bands
from ecumene.scenes.grid import full_window
from ecumene.scenes.intensity import as_decibels
from ecumene.viewer.scene_pictures import display_bands
from ecumene.workflows.array_product import ExtraFile
from ecumene.workflows.product_layers import opened_raster

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

    from ecumene.mapping.product import ProductLayer
    from ecumene.scenes.contract import SceneSource

EDGE = 600
"""Pixels of the longer side of a picture."""
Picture = NDArray[np.uint8]
_GREY = 217
_QUANTILES = (2.0, 98.0)


def scene_picture(scene: SceneSource, geobox: GeoBox) -> Picture:
    """Return a scene on a grid as RGB `[h, w, 3]`: natural colours, else its first band (radar in decibels).

    Args:
        scene: The scene.
        geobox: The grid; it is coarsened to at most `EDGE` pixels.
    """
    from ecumene.scenes.reading import read_bands

    common = common_bands(scene.sensor, scene.band_names)
    natural = [common[name] for name in ("red", "green", "blue") if name in common]
    names = natural if len(natural) == 3 else display_bands(scene)
    values = read_bands(scene, names, coarser(geobox))
    if scene.quantity == "backscatter":
        units = {band.name: band.unit for band in scene.bands}
        values = np.stack([as_decibels(band, units[name]) for band, name in zip(values, names, strict=True)])
    return stretched(values)


def coarser(geobox: GeoBox) -> GeoBox:
    """Return a grid of the same place with at most `EDGE` pixels along a side."""
    from odc.geo.geobox import GeoBox as Grid

    factor = max(1.0, max(geobox.shape) / EDGE)
    shape = (max(1, round(geobox.shape[0] / factor)), max(1, round(geobox.shape[1] / factor)))
    step = geobox.affine.scale(geobox.shape[1] / shape[1], geobox.shape[0] / shape[0])
    return Grid(shape, geobox.affine * step, geobox.crs)


def stretched(values: NDArray[np.floating]) -> Picture:
    """Return one or three bands `[b, h, w]` as RGB, each between its 2 % and 98 % quantiles; nodata is grey."""
    shown = np.full((*values.shape[1:], 3), _GREY, np.uint8)
    good = np.isfinite(values).all(axis=0)
    if good.any():
        for channel in range(3):
            band = values[channel if len(values) == 3 else 0]
            low, high = np.percentile(band[good], _QUANTILES)
            scaled = np.clip((band - low) / max(float(high - low), 1e-12), 0.0, 1.0)
            shown[..., channel][good] = np.rint(255.0 * scaled[good])
    return shown


def read_on_grid(path: Path, geobox: GeoBox | None) -> NDArray[np.float64]:
    """Return the first band of a raster, reduced to at most `EDGE` pixels, NaN without data.

    Args:
        path: The raster.
        geobox: Grid to show it on, by the nearest pixel; None: its own.
    """
    if geobox is None:
        return np.asarray(read_reduced(path, EDGE))
    grid = coarser(geobox)
    with opened_raster(path, grid) as placed:
        stored = read_masked(placed, full_window(grid), 1, "A layer")
        return np.asarray(stored.astype(np.float64).filled(np.nan))


def class_picture(path: Path, legend: Legend, geobox: GeoBox | None = None) -> Picture:
    """Return a layer of classes as RGB in the legend's colours, on another grid if one is given."""
    codes = read_on_grid(path, geobox)
    shown = np.full((*codes.shape, 3), _GREY, np.uint8)
    for entry in legend.classes:
        shown[codes == entry.value] = [int(entry.colour[k : k + 2], 16) for k in (1, 3, 5)]
    return shown


def number_picture(layer: ProductLayer, geobox: GeoBox | None = None) -> Picture:
    """Return the first band of a layer of numbers as RGB on a ramp between its 2 % and 98 % quantiles."""
    from matplotlib import colormaps

    values = read_on_grid(layer.path, geobox) * layer.scale + layer.offset
    grey = stretched(values[None])[..., 0]
    shown = (colormaps["viridis"](grey)[..., :3] * 255).astype(np.uint8)
    shown[~np.isfinite(values)] = _GREY
    return shown


def draw_panels(
    target: Path,
    panels: Sequence[tuple[str, Picture]],
    title: str,
    keys: Sequence[tuple[str, str]] = (),
    ramp: tuple[str, NDArray[np.floating], tuple[float, float]] | None = None,
) -> None:
    """Draw pictures side by side into a PNG.

    Args:
        target: The file.
        panels: Title and RGB of each.
        title: Above all.
        keys: Name and colour of the classes of the last panel.
        ramp: Title, numbers `[h, w]` and limits of one more panel with a colour bar.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    count = len(panels) + (ramp is not None)
    figure = Figure(figsize=(3.6 * count, 4.6), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes: list[Any] = [figure.add_subplot(1, count, k + 1) for k in range(count)]
    for axis, (name, picture) in zip(axes, panels, strict=False):
        axis.imshow(picture, interpolation="nearest")
        axis.set_title(name, fontsize=9)
    if keys:
        handles = [Patch(facecolor=colour, edgecolor="0.4", label=name) for name, colour in keys[:16]]
        axes[len(panels) - 1].legend(
            handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.02), ncol=2, fontsize=7, frameon=False
        )
    if ramp is not None:
        name, values, (low, high) = ramp
        image = axes[-1].imshow(values, cmap="viridis", vmin=low, vmax=high, interpolation="nearest")
        axes[-1].set_title(name, fontsize=9)
        bar = figure.colorbar(image, ax=axes[-1], orientation="horizontal", fraction=0.05, pad=0.03)
        bar.ax.tick_params(labelsize=7)
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
    figure.suptitle(title, fontsize=9)
    with atomic_path(target) as path:
        figure.savefig(path, format="png", metadata={"Software": None})


def animate(folder: Path, frames: Sequence[tuple[str, Picture]], title: str, seconds: float = 1.0) -> ExtraFile:
    """Write pictures as an animated WebP with the name of each in its corner.

    Args:
        folder: Of the product; the file is `animation.webp`.
        frames: Name and RGB of each picture, all of one size.
        title: Of the file.
        seconds: How long each is shown.
    """
    from PIL import Image, ImageDraw

    images = []
    for name, picture in frames:
        image = Image.fromarray(np.ascontiguousarray(picture))
        factor = max(1, 300 // max(image.size))  # small scenes are enlarged, so that the text can be read
        image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
        pen = ImageDraw.Draw(image)
        box = pen.textbbox((4, 4), name)
        pen.rectangle((box[0] - 3, box[1] - 2, box[2] + 3, box[3] + 3), fill=(255, 255, 255))
        pen.text((4, 4), name, fill=(0, 0, 0))
        images.append(image)
    path = folder / "animation.webp"
    with atomic_path(path) as temporary:
        images[0].save(
            temporary, format="WEBP", save_all=True, append_images=images[1:], duration=int(1000 * seconds), loop=0,
            quality=80,
        )  # fmt: skip
    return ExtraFile(path, "image/webp", title, roles=("overview",))
