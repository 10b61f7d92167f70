"""How two images of one place lie on each other, and how blurred the coarse one really is.

Products of one sensor can be off by a pixel between their resolutions; sharpening then doubles every edge. Both
unknowns are found by the same criterion: how well the coarse bands explain the fine image as the coarse sensor
would see it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.physics.sharpening.guides import FusionInput, Image, regress

GAINS = (0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6)
"""Gains at the Nyquist frequency that are tried."""

_LARGEST = 640  # fine pixels of the central part that is looked at


@dataclass(frozen=True)
class PairGeometry:
    """Shift and blur of a pair.

    Attributes:
        shift: (rows, columns) by which the fine image must be moved to lie on the coarse one, fine pixels.
        nyquist_gain: Gain of the coarse sensor at its Nyquist frequency that explains the pair best.
        explained_before: Share of the degraded fine image's variance that the coarse bands explain, as given.
        explained: The same after shift and with this gain.
        at_border: The best shift lies at the border of the search; the true one may be larger.
    """

    shift: tuple[float, float]
    nyquist_gain: float
    explained_before: float
    explained: float
    at_border: bool


def estimate_geometry(
    data: FusionInput,
    *,
    largest_shift: float | None = None,
    fit_gain: bool = True,
    step: float = 0.25,
    refine: bool = True,
) -> PairGeometry:
    """Estimate shift and blur of a pair.

    Whole-pixel shifts are searched first, then fractions in steps of `step` around the best; gains after the shift,
    and the shift once more with the gain found. Only a central part is looked at if the image is large.

    Args:
        data: The pair.
        largest_shift: Along each axis, fine pixels; None: one and a half coarse pixels.
        fit_gain: Whether the gain is looked for; otherwise the pair's stays.
        step: Resolution of the shift, fine pixels.
        refine: Whether fractions of a pixel are searched at all.

    Returns:
        Shift and gain.
    """
    small = _central(data)
    radius = 1.5 * data.pair.ratio if largest_shift is None else float(largest_shift)
    before = explained_share(small)
    whole = np.arange(-np.floor(radius), np.floor(radius) + 1)
    best, shift = max((explained_share(shifted(small, (r, c))), (float(r), float(c))) for r in whole for c in whole)
    if refine:
        shift, best = _refine(small, shift, best, step)
    gain = data.pair.nyquist_gain
    if fit_gain:
        moved = shifted(small, shift)
        best, gain = max((explained_share(_with_gain(moved, g)), g) for g in (*GAINS, gain))
        if refine:
            shift, best = _refine(_with_gain(small, gain), shift, best, step)
    at_border = refine and max(abs(shift[0]), abs(shift[1])) >= np.floor(radius)
    return PairGeometry(shift, float(gain), before, float(best), bool(at_border))


def shifted(data: FusionInput, shift: tuple[float, float]) -> FusionInput:
    """Return the pair with the fine image moved by (rows, columns) fine pixels; cubic splines between pixels.

    What moves in from outside is not valid.
    """
    if shift == (0.0, 0.0):
        return data
    high = move(data.high, shift)
    gaps = move((~data.high_valid)[None].astype(np.float64), shift, order=1, outside=1.0)[0]
    high_valid = gaps < 1e-3
    height, width = data.pair.shape
    blocks = high_valid.reshape(height, data.pair.ratio, width, data.pair.ratio).all(axis=(1, 3))
    low_valid = data.low_valid & blocks
    if not low_valid.any():
        low_valid = data.low_valid
    return replace(data, high=high, high_valid=high_valid, low_valid=low_valid)


def move(image: Image, shift: tuple[float, float], order: int = 3, outside: float | None = None) -> Image:
    """Return `[M, H, W]` moved by (rows, columns); borders repeat the last pixel, or take the value `outside`."""
    from scipy.ndimage import shift as move_image

    whole = all(float(value).is_integer() for value in shift)
    mode, value = ("nearest", 0.0) if outside is None else ("constant", outside)
    run: Any = move_image
    return np.stack([run(band, shift, order=0 if whole else order, mode=mode, cval=value) for band in image])


def explained_share(data: FusionInput) -> float:
    """Return R^2, mean over the fine bands, of their degraded versions regressed on the coarse bands."""
    targets, valid = data.high_at_low, data.low_valid
    weights, offsets = regress(targets, data.low, valid)
    rest = targets - np.tensordot(weights, data.low, axes=1) - offsets[:, None, None]
    total = targets[:, valid].var(axis=1)
    left = rest[:, valid].var(axis=1)
    return float(np.mean(1.0 - np.divide(left, total, out=np.ones_like(left), where=total > 0)))


def _refine(
    data: FusionInput, shift: tuple[float, float], best: float, step: float
) -> tuple[tuple[float, float], float]:
    """Descend to the best neighbour in steps of a half, a quarter, ... pixel."""
    size = 0.5
    while size >= step - 1e-9:
        improved = True
        while improved:
            improved = False
            for row, col in ((size, 0.0), (-size, 0.0), (0.0, size), (0.0, -size)):
                trial = (shift[0] + row, shift[1] + col)
                value = explained_share(shifted(data, trial))
                if value > best + 1e-12:
                    shift, best, improved = trial, value, True
        size /= 2.0
    return shift, best


def _with_gain(data: FusionInput, gain: float) -> FusionInput:
    return replace(data, pair=replace(data.pair, nyquist_gain=gain))


def _central(data: FusionInput) -> FusionInput:
    """Return the part with the most valid pixels out of the centre and four corners, if the image is large."""
    ratio = data.pair.ratio
    edge = max(_LARGEST // ratio, 8)
    height, width = data.pair.shape
    if height <= edge and width <= edge:
        return data
    rows, cols = min(edge, height), min(edge, width)
    corners = [((height - rows) // 2, (width - cols) // 2), (0, 0), (0, width - cols)]
    corners += [(height - rows, 0), (height - rows, width - cols)]

    def share(corner: tuple[int, int]) -> int:
        return int(data.low_valid[corner[0] : corner[0] + rows, corner[1] : corner[1] + cols].sum())

    top, left = max(corners, key=share)
    low = (slice(top, top + rows), slice(left, left + cols))
    high = (slice(top * ratio, (top + rows) * ratio), slice(left * ratio, (left + cols) * ratio))
    pair: Any = replace(data.pair, shape=(rows, cols))
    low_valid: NDArray[np.bool_] = data.low_valid[low]
    return FusionInput(pair, data.low[:, *low], data.high[:, *high], low_valid, data.high_valid[high])
