"""The reference of an interferogram: interferometry sees differences only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecumene.core.errors import ConfigurationError, ContractError


def choose_reference(phase: NDArray[np.float64], coherence: ArrayLike, *, margin: int = 1) -> tuple[int, int]:
    """Return (row, column) of the pixel that is best suited as reference.

    The highest product of mean coherence over its 3 x 3 neighbourhood, among pixels with data in every
    interferogram; ties go to the first.

    Args:
        phase: Unwrapped phases `[M, H, W]`.
        coherence: Coherence `[M, H, W]`, 0..1.
        margin: Pixels at the border that are left out.

    Raises:
        ContractError: If no pixel has data in all interferograms.
    """
    from scipy import ndimage

    stack = np.asarray(phase, np.float64)
    quality = np.nanmean(np.where(np.isfinite(stack), coherence, 0.0), axis=0)
    complete = np.isfinite(stack).all(axis=0)
    if not complete.any():
        raise ContractError("No pixel has data in all interferograms, so none can be the reference; use the median.")
    score = np.where(complete, ndimage.uniform_filter(np.nan_to_num(quality), 3, mode="nearest"), -np.inf)
    if margin > 0 and min(score.shape) > 2 * margin and np.isfinite(score[margin:-margin, margin:-margin]).any():
        inner = np.full(score.shape, -np.inf)
        inner[margin:-margin, margin:-margin] = score[margin:-margin, margin:-margin]
        score = inner
    row, col = np.unravel_index(int(np.argmax(score)), score.shape)
    return int(row), int(col)


def reference_phases(
    phase: NDArray[np.float64], point: tuple[int, int] | None = None, *, radius: int = 2
) -> NDArray[np.float64]:
    """Return each interferogram's phase at the reference, radians, `[M]`.

    Args:
        phase: Unwrapped phases `[M, H, W]`.
        point: (row, column); None: the median of the whole image.
        radius: Half side of the window around the point whose median is taken.

    Raises:
        ConfigurationError: If the point lies outside.
        ContractError: If an interferogram has no data there.
    """
    stack = np.asarray(phase, np.float64)
    flat = around_reference(stack, point, radius).reshape(stack.shape[0], -1)
    require_data(np.isfinite(flat).any(axis=1))
    return np.asarray(np.nanmedian(flat, axis=1))


def around_reference(stack: NDArray[Any], point: tuple[int, int] | None, radius: int) -> NDArray[Any]:
    """Return the window around the reference in all images `[M, H, W]`; the whole images without a point.

    Raises:
        ConfigurationError: If the point lies outside.
    """
    if point is None:
        return stack
    row, col = point
    if not (0 <= row < stack.shape[1] and 0 <= col < stack.shape[2]):
        raise ConfigurationError(
            f"The reference point {point} lies outside of the image of {stack.shape[1]} x {stack.shape[2]} pixels."
        )
    return stack[:, max(0, row - radius) : row + radius + 1, max(0, col - radius) : col + radius + 1]


def require_data(known: NDArray[np.bool_]) -> None:
    """Refuse a reference at which an interferogram has no data; `known` says which have, `[M]`.

    Raises:
        ContractError: If one has none.
    """
    if not known.all():
        raise ContractError(
            f"Interferogram {int(np.argmin(known)) + 1} has no data at the reference; choose another reference point."
        )


def apply_reference(
    phase: NDArray[np.float64], point: tuple[int, int] | None = None, *, radius: int = 2
) -> NDArray[np.float64]:
    """Return the phases minus those at the reference, `[M, H, W]`; see `reference_phases`."""
    stack = np.asarray(phase, np.float64)
    return stack - reference_phases(stack, point, radius=radius)[:, None, None]
