"""The elevation profile of one row of a stack as a picture: linear profile behind, scatterers in front."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecumene.core.files import atomic_path
from ecumene.physics.tomography.grid import SearchGrid
from ecumene.physics.tomography.result import Scatterers
from ecumene.physics.tomography.spectral import svd_wiener

_WIDEST = 1500
_DECIBEL = 25.0


def draw_profile(
    target: Path, grid: SearchGrid, row: NDArray[np.complex128], found: Scatterers, number: int, noise: float
) -> Path | None:
    """Draw a row.

    Args:
        target: PNG file.
        grid: Search grid; motion, if any, is taken at its value of most power.
        row: Samples of the row, `[N, W]`.
        found: Scatterers of the whole image, row by row.
        number: The row's number.
        noise: Noise variance.

    Returns:
        The file, or None where the row has no valid pixel.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width = row.shape[1]
    step = max(1, width // _WIDEST)
    columns = np.arange(0, width, step)
    pixels = row[:, columns].T
    valid = np.isfinite(pixels).all(axis=1) & (np.abs(pixels) > 0).all(axis=1)
    if not valid.any():
        return None
    power = np.full((columns.size, grid.shape[0]), np.nan)
    for place in np.flatnonzero(valid):  # one pixel at a time: with motion a profile is large
        profile = np.abs(svd_wiener(grid, pixels[place : place + 1], noise_variance=noise)[0]) ** 2
        power[place] = profile.reshape(grid.shape[0], -1).max(axis=1)
    level = 10.0 * np.log10(np.maximum(power, 1e-30) / np.nanmax(power))
    axis = grid.axes[0]
    half, start = grid.steps[0] / 2, number * width
    figure = Figure(figsize=(10, 4))
    FigureCanvasAgg(figure)
    panel = figure.add_subplot()
    extent = (columns[0] - step / 2, columns[-1] + step / 2, axis[0] - half, axis[-1] + half)
    image = panel.imshow(
        level.T,
        origin="lower",
        aspect="auto",
        extent=extent,
        cmap="gray_r",
        vmin=-_DECIBEL,
        vmax=0,
        interpolation="nearest",
    )
    chosen = start + columns
    for flagged, colour, label in ((False, "#0072b2", "scatterer"), (True, "#d55e00", "outlier")):
        where = found.outlier[chosen] == flagged
        heights, errors = found.elevation_m[chosen][where], found.standard_deviation[chosen][where, :, 0]
        across = np.repeat(columns[where][:, None], heights.shape[1], axis=1)
        shown = np.isfinite(heights) & np.isfinite(errors)
        panel.errorbar(across[shown], heights[shown], errors[shown], fmt=".", ms=3, lw=0.6, color=colour, label=label)
    panel.set(
        xlabel="column / pixels", ylabel="elevation / m", title=f"row {number}", ylim=(axis[0] - half, axis[-1] + half)
    )
    panel.legend(frameon=False, loc="upper right")
    figure.colorbar(image, ax=panel, label="SVD-Wiener power / dB")
    figure.tight_layout()
    with atomic_path(target) as path:
        figure.savefig(path, dpi=130, format="png")
    return target
