"""What the fine image says about a coarse one: statistics over valid pixels, matched and synthesised guides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ContractError, SceneError
from ecumene.physics.sharpening.scales import ScalePair

Image = NDArray[np.float64]


@dataclass(frozen=True)
class FusionInput:
    """Gap-free images of one place at two scales, and where they are real.

    Attributes:
        pair: The two grids.
        low: `[B, h, w]`, gaps filled from the nearest valid pixel.
        high: `[M, H, W]`, likewise.
        low_valid: bool `[h, w]`: the coarse pixel and all its fine pixels have data.
        high_valid: bool `[H, W]`.
    """

    pair: ScalePair
    low: Image
    high: Image
    low_valid: NDArray[np.bool_]
    high_valid: NDArray[np.bool_]

    @property
    def high_at_low(self) -> Image:
        """The fine image as the coarse sensor would see it, `[M, h, w]`."""
        return self.pair.degrade(self.high)


def prepare(low: Any, high: Any, ratio: int, nyquist_gain: float = 0.3) -> FusionInput:
    """Check two images and fill their gaps.

    Args:
        low: `[B, h, w]`, NaN: no data.
        high: `[M, H, W]` with H = ratio h and W = ratio w, aligned at the corner; or `[H, W]`.
        ratio: Of pixel sizes.
        nyquist_gain: See `ScalePair`.

    Raises:
        ConfigurationError: If the ratio or gain is out of range, or the image too small.
        ContractError: If the shapes do not fit.
        SceneError: If there is no pixel with data in both.
    """
    coarse, fine = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    fine = fine[None] if fine.ndim == 2 else fine
    if coarse.ndim != 3 or fine.ndim != 3:
        raise ContractError("Both images must be [bands, rows, columns].")
    pair = ScalePair((coarse.shape[1], coarse.shape[2]), ratio, nyquist_gain)
    if fine.shape[1:] != pair.fine_shape:
        raise ContractError(
            f"The fine image has {fine.shape[1]} x {fine.shape[2]} pixels, but a ratio of {ratio} needs "
            f"{pair.fine_shape[0]} x {pair.fine_shape[1]}; crop both to the same area."
        )
    low_valid = np.asarray(np.isfinite(coarse).all(axis=0))
    high_valid = np.asarray(np.isfinite(fine).all(axis=0))
    blocks = high_valid.reshape(coarse.shape[1], ratio, coarse.shape[2], ratio)
    both = np.asarray(low_valid & blocks.all(axis=(1, 3)))
    if not both.any():
        raise SceneError("No pixel has data in both images, so nothing can be sharpened; check extent and nodata.")
    return FusionInput(pair, _filled(coarse, low_valid), _filled(fine, high_valid), both, high_valid)


def _filled(image: Image, valid: NDArray[np.bool_]) -> Image:
    if valid.all():
        return image
    from scipy.ndimage import distance_transform_edt

    rows, columns = distance_transform_edt(~valid, return_distances=False, return_indices=True)
    return np.asarray(image[:, rows, columns])


def regress(targets: Image, predictors: Image, valid: NDArray[np.bool_]) -> tuple[Image, Image]:
    """Return (coefficients `[K, M]`, intercepts `[K]`) of least squares of `[K, h, w]` on `[M, h, w]` where valid.

    Predictors that go along with each other share the weight (minimum-norm solution in standard deviations).
    """
    x, y = predictors[:, valid], targets[:, valid]
    mean_x, mean_y = x.mean(axis=1, keepdims=True), y.mean(axis=1, keepdims=True)
    scale = x.std(axis=1, keepdims=True)
    scale[scale == 0] = 1.0
    solution, *_ = np.linalg.lstsq(((x - mean_x) / scale).T, (y - mean_y).T, rcond=1e-8)
    coefficients = solution.T / scale.T
    return coefficients, (mean_y[:, 0] - coefficients @ mean_x[:, 0])


def guide_for(targets: Image, data: FusionInput) -> Image:
    """Return a fine guide `[K, H, W]` for each coarse target `[K, h, w]`.

    One fine band (pan) is given the target's mean and standard deviation. Several are combined by the regression
    of the target on their degraded versions (hypersharpening; Selva et al. 2015, IEEE JSTARS 8(6):3008-3024).
    """
    at_low = data.high_at_low
    valid = data.low_valid
    if len(data.high) > 1:
        coefficients, intercepts = regress(targets, at_low, valid)
        return np.asarray(np.tensordot(coefficients, data.high, axes=1) + intercepts[:, None, None])
    pan = at_low[0][valid]
    spread = float(pan.std()) or 1.0
    values = targets[:, valid]
    gain = values.std(axis=1) / spread
    offset = values.mean(axis=1) - gain * pan.mean()
    return np.asarray(gain[:, None, None] * data.high + offset[:, None, None])


def injection_gains(bands: Image, component: Image, valid: NDArray[np.bool_]) -> Image:
    """Return cov(band, component) / var(component) over valid pixels: `[B]` for one component, or pairwise `[B]`."""
    x, y = np.broadcast_to(component, bands.shape)[:, valid], bands[:, valid]
    x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    variance = np.sum(x * x, axis=1)
    return np.asarray(np.divide(np.sum(x * y, axis=1), variance, out=np.zeros(len(bands)), where=variance > 0))
