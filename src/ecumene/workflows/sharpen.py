"""The verb `sharpen`: a coarse scene on the grid of a finer one, with error bars."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Unpack

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from ecumene.core.errors import ConfigurationError, ContractError, SceneError
from ecumene.core.progress import Progress, silent
from ecumene.core.window import Window
from ecumene.mapping.checksums import input_records, time_text
from ecumene.mapping.product import Product
from ecumene.physics.sharpening import METHODS, Sharpened, estimate_geometry, prepare, sharpen
from ecumene.physics.sharpening.registration import PairGeometry
from ecumene.physics.sharpening.sharpen import MEASURED_SHORTFALL
from ecumene.scenes.grid import full_window, ground_sampling_m, window_geobox
from ecumene.scenes.stack import SceneStack, align_scenes
from ecumene.workflows.array_product import ArrayProduct, check_free, write_array_product
from ecumene.workflows.number_layers import flag_layers, number_layer
from ecumene.workflows.stacks import Declaration, open_sources, open_stack

_RATIO_TOLERANCE = 0.01
_LARGEST_VALUES = 1 << 28  # float64 numbers of the fine grid that fit into memory: 2 GiB
_DEFAULT_GAIN = 0.3
_OUTLIER = "1 where the result contradicts the coarse scene or lies beside a gap; its detail must not be trusted"


def sharpen_scene(
    low: str | Path,
    high: str | Path,
    out: str | Path,
    *,
    method: str = "joint-sparsity",
    nyquist_gain: float | None = None,
    register: bool = True,
    mask_clouds: bool = True,
    overwrite: bool = False,
    progress: Progress = silent,
    with_declaration: Declaration | None = None,
    **declaration: Unpack[Declaration],
) -> Product:
    """Sharpen a scene with a finer one: value, standard deviation, outlier, valid.

    The product lies on the coarse scene's grid divided by the whole ratio of pixel sizes, cut to the part that both
    cover. A shift between the scenes is found by how well the coarse bands explain the fine image.

    Args:
        low: Coarse scene, one acquisition.
        high: Fine scene of the same place, one acquisition.
        out: Folder of the product.
        method: A key of `physics.sharpening.METHODS`.
        nyquist_gain: Gain of the coarse sensor at its Nyquist frequency; None: estimated from the pair.
        register: Estimate a shift between the scenes and move the fine one by it.
        mask_clouds: Treat clouds and shadows as nodata.
        overwrite: Replace a product in `out`.
        progress: Called with (steps done, steps, what).
        with_declaration: What the fine scene's files do not say.
        **declaration: What the coarse scene's files do not say.

    Returns:
        The product.

    Raises:
        ConfigurationError: If an option is wrong, or the scenes are too small or too large.
        ContractError: If the ratio of pixel sizes is not whole, or a scene is a series.
        SceneError: If the scenes share no pixel with data, or cannot be read.
        ProductError: If the folder cannot be written to or holds a product.
    """
    if method not in METHODS:
        raise ConfigurationError(f"There is no sharpening method {method!r}; there are {', '.join(METHODS)}.")
    coarse = open_stack(low, mask_clouds=mask_clouds, **declaration)
    fine_sources = open_sources(high, **(with_declaration or {}))
    ratio = _ratio(coarse.geobox, fine_sources[0].geobox)
    grid = coarse.geobox.affine * Affine.scale(1.0 / ratio)
    shape = (int(coarse.geobox.shape[0]) * ratio, int(coarse.geobox.shape[1]) * ratio)
    fine = align_scenes(fine_sources, geobox=GeoBox(shape, grid, coarse.geobox.crs), mask_clouds=mask_clouds)
    _check(coarse, fine)
    folder = check_free(Path(out), overwrite)
    progress(0, 3, "read")
    image, guide, geobox = _read(coarse, fine, ratio)
    progress(1, 3, "register")
    geometry = _geometry(image, guide, ratio, nyquist_gain, register)
    progress(2, 3, method)
    result = sharpen(image, guide, ratio, method=method, nyquist_gain=geometry.nyquist_gain, shift=geometry.shift)
    progress(3, 3, "done")
    return write_array_product(folder, _product(coarse, fine, result, geometry, geobox, ratio, register, nyquist_gain))


def _ratio(low: GeoBox, high: GeoBox) -> int:
    exact = ground_sampling_m(low) / ground_sampling_m(high)
    ratio = round(exact)
    if ratio < 2 or abs(exact / ratio - 1.0) > _RATIO_TOLERANCE:
        raise ContractError(
            f"The pixels of the coarse scene are {exact:.4g} times as large as those of the fine one, but sharpening "
            "needs a whole number from 2; check the order of the scenes or resample the fine one."
        )
    return ratio


def _check(coarse: SceneStack, fine: SceneStack) -> None:
    if len(coarse.times) != 1 or len(fine.times) != 1:
        raise ContractError("Sharpening needs one coarse and one fine acquisition; give single scenes.")
    if len({channel.unit for channel in coarse.channels}) != 1:
        raise ContractError(
            "The bands of the coarse scene have different units; choose bands of one unit with --bands."
        )
    if any(channel.unit == "dB" for channel in (*coarse.channels, *fine.channels)):
        raise ContractError("Decibels cannot be averaged, so they cannot be sharpened; convert to linear power first.")
    values = math.prod(fine.geobox.shape) * (2 * len(coarse.channels) + len(fine.channels))
    if values > _LARGEST_VALUES:
        raise ConfigurationError(
            f"Sharpening {fine.geobox.shape[0]} x {fine.geobox.shape[1]} pixels in {len(coarse.channels)} bands does "
            "not fit into memory; cut the coarse scene to a smaller area or choose fewer bands."
        )


def _read(coarse: SceneStack, fine: SceneStack, ratio: int) -> tuple[NDArray[np.float32], NDArray[np.float32], GeoBox]:
    """Return both images cut to what both cover, and the fine grid of the cut."""
    low = coarse.read(full_window(coarse.geobox)).image[0]
    high = fine.read(full_window(fine.geobox)).image[0]
    blocks = np.isfinite(high).all(axis=0).reshape(low.shape[1], ratio, low.shape[2], ratio).any(axis=(1, 3))
    both = np.isfinite(low).all(axis=0) & blocks
    if not both.any():
        raise SceneError("The coarse and the fine scene share no pixel with data; check that they show one place.")
    rows, cols = np.flatnonzero(both.any(axis=1)), np.flatnonzero(both.any(axis=0))
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(cols[0]), int(cols[-1]) + 1
    window = Window(top * ratio, left * ratio, (bottom - top) * ratio, (right - left) * ratio)
    geobox = window_geobox(fine.geobox, window)
    return low[:, top:bottom, left:right], high[:, *window.slices], geobox


def _geometry(
    low: NDArray[np.float32], high: NDArray[np.float32], ratio: int, gain: float | None, register: bool
) -> PairGeometry:
    data = prepare(low, high, ratio, _DEFAULT_GAIN if gain is None else gain)
    return estimate_geometry(data, largest_shift=None if register else 0.0, fit_gain=gain is None, refine=register)


def _product(
    coarse: SceneStack,
    fine: SceneStack,
    result: Sharpened,
    geometry: PairGeometry,
    geobox: GeoBox,
    ratio: int,
    register: bool,
    gain: float | None,
) -> ArrayProduct:
    names = tuple(channel.band for channel in coarse.channels)
    unit, error = coarse.channels[0].unit, result.standard_deviation
    layers = [
        number_layer("value", unit, "sharpened bands", result.value, "value", names),
        number_layer(
            "uncertainty", unit, "standard deviation of value, learnt at coarser scales", error, "uncertainty", names
        ),
        *flag_layers(result.outlier, result.valid, _OUTLIER),
    ]
    when = time_text(coarse.times[0])
    guides = ", ".join(channel.key for channel in fine.channels)
    return ArrayProduct(
        name=f"sharpen-{result.method}",
        title=f"Bands sharpened {ratio} times by {result.method}",
        lineage=(
            f"Sharpened by {result.method} with {guides}; the fine scene was moved by {geometry.shift[0]:g} rows and "
            f"{geometry.shift[1]:g} columns of its grid. Error bars from Wald's protocol."
        ),
        geobox=geobox,
        layers=layers,
        valid=result.valid,
        inputs=input_records((*coarse.sources, *fine.sources)),
        start=when,
        end=when,
        parameters={"method": result.method, "ratio": ratio, "register": register, "nyquist_gain": gain},
        results={
            "shift_rows": geometry.shift[0],
            "shift_columns": geometry.shift[1],
            "shift_at_border": geometry.at_border,
            "nyquist_gain": geometry.nyquist_gain,
            "explained_before": round(geometry.explained_before, 6),
            "explained": round(geometry.explained, 6),
            "guides": [channel.key for channel in fine.channels],
            "error_over_error_bar_where_measured": MEASURED_SHORTFALL.get(result.method),
        },
    )
