"""Goldstein's adaptive filter of interferograms."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from ecumene.core.errors import ConfigurationError, ContractError
from ecumene.physics.interferometry.checks import image


def goldstein_filter(
    interferogram: NDArray,
    alpha: float | None = None,
    *,
    coherence: ArrayLike | None = None,
    patch: int = 32,
    overlap: int = 24,
    smoothing: int = 3,
) -> NDArray[np.complex128]:
    """Raise what dominates the spectrum of every patch, so that fringes stay and noise goes.

    Goldstein and Werner, "Radar interferogram filtering for geophysical applications", Geophys. Res. Lett.
    25(21), 1998, eq. 1: every overlapping patch's spectrum is multiplied by its own smoothed magnitude to the
    power `alpha`. With `coherence` and no `alpha` the power is `1 - mean coherence` of the patch (Baran et
    al., IEEE TGRS 41(9), 2003), so that good areas keep their detail. What differs: the weights of the
    overlapping patches sum to one everywhere, so that `alpha = 0` returns the input, and every patch's
    spectrum is scaled by its largest weight, so that its dominant fringe keeps its amplitude.

    Args:
        interferogram: Complex `[H, W]`, or wrapped phase in radians; NaN means no data.
        alpha: Power, 0 (nothing) to 1 (strong).
        coherence: Coherence `[H, W]`, 0..1; needed where `alpha` is None.
        patch: Side of the patches, pixels, even.
        overlap: Pixels that neighbouring patches share, below `patch`.
        smoothing: Side of the window that smooths the spectrum's magnitude, odd.

    Returns:
        complex128 `[H, W]`, NaN where the input has no data.

    Raises:
        ConfigurationError: If alpha, patch or overlap are out of range, or neither alpha nor coherence is given.
        ContractError: If the coherence has another shape.
    """
    given = image(interferogram, "interferogram")
    field = given.astype(np.complex128) if np.iscomplexobj(given) else np.exp(1j * given)
    if alpha is None and coherence is None:
        raise ConfigurationError("Give the filter's alpha, or a coherence from which it follows.")
    if alpha is not None and not 0 <= alpha <= 1:
        raise ConfigurationError(f"The filter's alpha must lie between 0 and 1, not {alpha}.")
    if patch < 4 or patch % 2 or not 0 <= overlap < patch or smoothing < 1 or smoothing % 2 == 0:
        raise ConfigurationError("The filter needs an even patch of at least 4, overlap below patch, odd smoothing.")
    known = np.isfinite(field)
    field = np.where(known, field, 0.0)
    powers = np.full(field.shape, 0.0 if alpha is None else alpha)
    if alpha is None:
        quality = np.asarray(coherence, np.float64)
        if quality.shape != field.shape:
            raise ContractError(f"The coherence has the shape {quality.shape}, the interferogram {field.shape}.")
        powers = 1.0 - np.clip(np.nan_to_num(quality), 0.0, 1.0)
    result = _filter_patches(field, powers, patch, patch - overlap, smoothing)
    return np.where(known, result, np.nan + 0j)


def _filter_patches(
    field: NDArray[np.complex128], powers: NDArray[np.float64], patch: int, step: int, smoothing: int
) -> NDArray[np.complex128]:
    height, width = field.shape
    ramp = 0.5 + np.minimum(np.arange(patch), np.arange(patch)[::-1])
    window = np.outer(ramp, ramp) / ramp.max() ** 2
    pad = [(patch, patch + step - length % step) for length in (height, width)]
    padded = np.pad(field, pad)
    strength = np.pad(powers, pad, mode="edge")
    total, weight = np.zeros_like(padded), np.zeros(padded.shape)
    for row in range(0, padded.shape[0] - patch + 1, step):
        for col in range(0, padded.shape[1] - patch + 1, step):
            place = np.s_[row : row + patch, col : col + patch]
            block = padded[place]
            if not block.any():
                continue
            spectrum = np.fft.fft2(block)
            magnitude = ndimage.uniform_filter(np.abs(spectrum), smoothing, mode="wrap")
            gain = (magnitude / magnitude.max()) ** float(strength[place].mean())
            total[place] += np.fft.ifft2(spectrum * gain) * window
            weight[place] += window
    inner = np.s_[patch : patch + height, patch : patch + width]
    return np.asarray(total[inner] / np.maximum(weight[inner], 1e-300))
