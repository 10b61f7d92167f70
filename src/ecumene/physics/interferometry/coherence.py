"""From two complex images to an averaged interferogram with its coherence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ecumene.core.errors import ConfigurationError, ContractError
from ecumene.physics.interferometry.checks import image
from ecumene.physics.interferometry.phase_statistics import phase_deviation


@dataclass(frozen=True)
class Interferogram:
    """An averaged interferogram.

    Attributes:
        phase: Wrapped phase of `first * conj(second)`, radians, -pi..pi, `[H, W]`; NaN without data.
        coherence: Sample coherence magnitude, 0..1, `[H, W]`; NaN without data.
        standard_deviation: Of the phase, radians, from coherence and looks, `[H, W]`.
        looks: Independent looks that were averaged, by assumption of the caller's oversampling.
        valid: Pixels with data in both images, `[H, W]`.
    """

    phase: NDArray[np.float64]
    coherence: NDArray[np.float64]
    standard_deviation: NDArray[np.float64]
    looks: float
    valid: NDArray[np.bool_]


def multilook(values: NDArray, rows: int, cols: int) -> NDArray:
    """Average non-overlapping cells of `rows` x `cols` pixels; an incomplete border is left out.

    Args:
        values: Real or complex, `[..., H, W]`; NaN pixels are left out of their cell's mean.
        rows: Looks in azimuth.
        cols: Looks in range.

    Returns:
        `[..., H // rows, W // cols]`; NaN where a cell has no data.

    Raises:
        ConfigurationError: If a cell is smaller than one pixel or larger than the image.
    """
    array = np.asarray(values)
    height, width = array.shape[-2:]
    if rows < 1 or cols < 1 or rows > height or cols > width:
        raise ConfigurationError(
            f"Looks of {rows} x {cols} pixels do not fit into an image of {height} x {width}; choose fewer."
        )
    cut = array[..., : height // rows * rows, : width // cols * cols]
    cells = cut.reshape(*array.shape[:-2], height // rows, rows, width // cols, cols)
    usable = np.isfinite(cells)
    number = usable.sum(axis=(-3, -1))
    total = np.where(usable, cells, 0).sum(axis=(-3, -1))
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(number > 0, total / np.maximum(number, 1), np.nan))


def _boxcar(values: NDArray, rows: int, cols: int) -> NDArray:
    smooth = [ndimage.uniform_filter(part, (rows, cols), mode="constant") for part in (values.real, values.imag)]
    return np.asarray(smooth[0] + 1j * smooth[1]) if np.iscomplexobj(values) else np.asarray(smooth[0])


def form_interferogram(
    first: NDArray[np.complexfloating],
    second: NDArray[np.complexfloating],
    window: tuple[int, int] = (5, 5),
    *,
    reference_phase: NDArray[np.float64] | None = None,
    decimate: bool = False,
    oversampling: float = 1.0,
) -> Interferogram:
    """Average `first * conj(second)` and estimate its coherence.

    `coherence = |<g1 g2*>| / sqrt(<|g1|^2> <|g2|^2>)` over the window (Bamler and Hartl 1998, eq. 49). Turn
    away fringes with `reference_phase` first: what varies inside of the window lowers the estimate.

    Args:
        first: Coregistered complex image `[H, W]`; zero or NaN means no data.
        second: The other one.
        window: Rows and columns of the averaging window.
        reference_phase: Flat-Earth and topographic phase to remove before averaging, radians, `[H, W]`.
        decimate: Average separate cells (`multilook`) in place of a moving window.
        oversampling: Product of the oversampling in range and azimuth; divides the number of looks.

    Returns:
        The interferogram; with `decimate` on the coarser grid.

    Raises:
        ContractError: If the images differ in shape, are not complex, or have no common data.
        ConfigurationError: If the window does not fit.
    """
    one, two = image(first, "first image"), image(second, "second image")
    if not (np.iscomplexobj(one) and np.iscomplexobj(two)):
        raise ContractError("An interferogram needs complex images (SLC); these have no phase.")
    if one.shape != two.shape:
        raise ContractError(
            f"The images have {one.shape} and {two.shape} pixels; coregister them to one grid before this step."
        )
    rows, cols = window
    if rows < 1 or cols < 1 or rows > one.shape[0] or cols > one.shape[1]:
        raise ConfigurationError(
            f"A window of {rows} x {cols} pixels does not fit into the image; choose a smaller one."
        )
    if not oversampling >= 1:
        raise ConfigurationError(f"The oversampling must be at least 1, not {oversampling}.")
    known = np.isfinite(one) & np.isfinite(two) & (one != 0) & (two != 0)
    if not known.any():
        raise ContractError("The two images have no common pixel with data.")
    one, two = np.where(known, one, 0).astype(np.complex128), np.where(known, two, 0).astype(np.complex128)
    product = one * np.conj(two)
    if reference_phase is not None:
        product = product * np.exp(-1j * np.where(known, reference_phase, 0.0))
    smooth = multilook if decimate else _boxcar
    cross = smooth(product, rows, cols)
    power = smooth(np.abs(one) ** 2, rows, cols) * smooth(np.abs(two) ** 2, rows, cols)
    share = smooth(known.astype(np.float64), rows, cols) / smooth(np.ones(known.shape), rows, cols)
    valid = (share > 0.5) & (power > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        coherence = np.where(valid, np.minimum(np.abs(cross) / np.sqrt(power), 1.0), np.nan)
    phase = np.where(valid, np.angle(cross), np.nan)
    looks = max(1.0, rows * cols / oversampling)
    return Interferogram(phase, coherence, phase_deviation(coherence, looks), looks, valid)
