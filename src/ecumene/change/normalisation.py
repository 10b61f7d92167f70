"""Relative radiometric normalisation by pixels that did not change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecumene.change.contract import ImagePair
from ecumene.change.irmad import IterativelyReweightedMad
from ecumene.change.linear import chi_square_tail
from ecumene.change.moments import Moments
from ecumene.core.errors import ConfigurationError, ContractError, SceneError

_LEAST = 30  # pixels of a regression


@dataclass(frozen=True)
class RadiometricNormalisation:
    """Linear functions that bring the second date to the radiometry of the first, band by band.

    Attributes:
        gain: `[bands]`.
        offset: `[bands]`, in the unit of the first date.
        gain_error: Standard errors, `[bands]`.
        offset_error: `[bands]`.
        correlation: Between the dates over the pixels of the fit, `[bands]`.
        pixels: Pixels of the fit.
        held_out_difference: Mean of normalised second minus first date over the two fifths of the unchanged pixels that
            the fit did not use, in units of its standard error, `[bands]`.
        held_out_variance_ratio: Variance of the normalised second over that of the first date there, `[bands]`.
    """

    gain: NDArray[np.float64]
    offset: NDArray[np.float64]
    gain_error: NDArray[np.float64]
    offset_error: NDArray[np.float64]
    correlation: NDArray[np.float64]
    pixels: int
    held_out_difference: NDArray[np.float64]
    held_out_variance_ratio: NDArray[np.float64]

    def apply(self, after: ArrayLike) -> NDArray[np.float64]:
        """Return the second date in the radiometry of the first.

        Args:
            after: `[bands, rows, cols]`, physical units.

        Raises:
            ContractError: If the number of bands differs.
        """
        image = np.asarray(after, np.float64)
        if image.ndim != 3 or len(image) != len(self.gain):
            raise ContractError(
                f"The normalisation is of {len(self.gain)} bands, but the image has the shape {image.shape}; hand in "
                "bands x rows x columns."
            )
        return np.asarray(image * self.gain[:, None, None] + self.offset[:, None, None])


def normalise_radiometry(
    pair: ImagePair, *, least_probability: float = 0.95, method: IterativelyReweightedMad | None = None
) -> RadiometricNormalisation:
    """Fit gains and offsets over pseudo-invariant pixels.

    Canty and Nielsen (2008, doi 10.1016/j.rse.2007.07.013): invariant are the pixels whose IR-MAD probability of no
    change is large; gain and offset are those of orthogonal regression, since both dates have noise. Two fifths of
    the pixels are held out for a check of means and variances.

    Args:
        pair: The two dates; the first is the reference.
        least_probability: Of no change.
        method: IR-MAD with other options.

    Raises:
        ConfigurationError: If the probability is not in (0, 1).
        SceneError: If fewer than 30 pixels are invariant, or as `IterativelyReweightedMad.fit`.
    """
    if not 0.0 < least_probability < 1.0:
        raise ConfigurationError(f"The least probability must lie between 0 and 1, but is {least_probability}.")
    score = (method or IterativelyReweightedMad()).learn(pair)[0]
    count = len(pair.bands)
    used, held = Moments(2 * count), Moments(2 * count)
    for block in pair.blocks():
        before, after = block.vectors()
        squares = (score.components(before, after) ** 2).sum(axis=0)
        invariant = chi_square_tail(squares, count) >= least_probability
        rows, cols = np.nonzero(block.core_valid)
        # A diagonal pattern of the whole image, so that the held-out part does not depend on blocks.
        apart = (rows + block.place[0].start + 2 * (cols + block.place[1].start)) % 5 < 2
        stacked = np.concatenate([before, after])
        used.add(stacked[:, invariant & ~apart])
        held.add(stacked[:, invariant & apart])
    if used.weight < _LEAST or held.weight < _LEAST:
        raise SceneError(
            f"Only {int(used.weight + held.weight)} pixels are invariant with a probability of {least_probability:g}; "
            "lower it, or choose dates that are more alike."
        )
    return _fit(used, held, count)


def _fit(used: Moments, held: Moments, count: int) -> RadiometricNormalisation:
    """Return orthogonal regression and its check from moments of the stacked dates."""
    full = used.covariance
    xx, yy, xy = np.diagonal(full)[:count], np.diagonal(full)[count:], np.diagonal(full[:count, count:])
    if (xy <= 0.0).any():
        raise SceneError("A band of the dates is not positively correlated where nothing changed; leave the band out.")
    number = used.weight
    gain = (xx - yy + np.sqrt((xx - yy) ** 2 + 4.0 * xy**2)) / (2.0 * xy)
    offset = used.mean[:count] - gain * used.mean[count:]
    correlation = np.minimum(xy / np.sqrt(xx * yy), 1.0)
    gain_error = gain * np.sqrt(np.maximum(1.0 - correlation**2, 0.0) / number) / correlation
    residual = np.maximum(xx - 2.0 * gain * xy + gain**2 * yy, 0.0)
    offset_error = np.sqrt(residual / number + (used.mean[count:] * gain_error) ** 2)
    check = held.covariance
    a, b, c = np.diagonal(check)[:count], np.diagonal(check)[count:], np.diagonal(check[:count, count:])
    spread = np.sqrt(np.maximum(a - 2.0 * gain * c + gain**2 * b, 1e-300) / held.weight)
    difference = (gain * held.mean[count:] + offset - held.mean[:count]) / spread
    ratio = gain**2 * b / a
    return RadiometricNormalisation(gain, offset, gain_error, offset_error, correlation, int(number), difference, ratio)
