"""Change between two SAR intensities: log-ratio under a Markov random field, solved as total variation."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from ecumene.change.contract import FittedChange, ImagePair, PairBlock, Threshold
from ecumene.change.histogram import MagnitudeHistogram
from ecumene.change.ratio import DECIBEL, checked_names
from ecumene.change.scoring import finish
from ecumene.change.thresholds import two_means
from ecumene.change.variation_kernels import denoise
from ecumene.core.errors import ConfigurationError

Image = NDArray[np.float64]

_MARGIN = 48  # what lies farther changes the denoised ratio by less than its rounding to float32 shows
_TILE = 21  # pixels along the squares whose correlation is measured
_REACH = 5  # largest lag
_TILES = 1024
_SAMPLE_EDGE, _SAMPLES = 512, 16
_FIT_ROUNDS = 6
_LARGEST = 40.0  # |ln ratio| beyond any instrument's range


@dataclass(frozen=True)
class _VariationScore:
    smoothing: float
    floor: float
    centre: Image
    strength: Image
    rounds: int
    kind_names: tuple[str, ...]
    margin: int = _MARGIN

    def logs(self, block: PairBlock) -> Image:
        """Return the centred log-ratio `[bands, rows, cols]`, margin included; 0 where not valid."""
        one = np.log(np.where(block.valid, block.before + self.floor, 1.0))
        two = np.log(np.where(block.valid, block.after + self.floor, 1.0))
        return np.where(block.valid, two - one - self.centre[:, None, None], 0.0)

    def smooth(self, logs: Image, valid: NDArray[np.bool_]) -> Image:
        """Return the Gaussian mean of the valid pixels; 0 far from any."""
        weight = ndimage.gaussian_filter(valid.astype(np.float64), self.smoothing, mode="constant")
        planes = [ndimage.gaussian_filter(plane, self.smoothing, mode="constant") for plane in logs]
        return np.where(weight > 1e-6, np.stack(planes) / np.maximum(weight, 1e-6), 0.0)

    def field(self, block: PairBlock) -> Image:
        """Return the denoised log-ratio `[bands, rows, cols]` of the core."""
        smooth = self.smooth(self.logs(block), block.valid)
        planes = [denoise(plane, strength, self.rounds) for plane, strength in zip(smooth, self.strength, strict=True)]
        return np.stack(planes)[:, *block.core]

    def __call__(self, block: PairBlock) -> tuple[Image, Image]:
        field = self.field(block)
        return np.sqrt((field**2).mean(axis=0)), (field + self.centre[:, None, None]) * DECIBEL


@dataclass(frozen=True)
class RatioVariation:
    """Log-ratio with a smoothness prior, thresholded between its class means and above its noise.

    Per pixel the log-ratio is Gaussian about the mean of its class, unchanged or changed, with one variance; borders
    between classes cost their length. The most probable map of such a Markov random field is the level set, at the
    middle of the two means, of the log-ratio denoised by total variation (Chambolle 2005, "Total variation
    minimization and a class of binary MRF models", doi 10.1007/11585978_10), a convex problem
    without local minima whose borders have no preferred direction.

    1. Log-ratio of `intensity + floor`, its median taken off (a difference of calibration is no change), and a
       narrow Gaussian mean, since the logarithm of speckle has a long tail.
    2. The variation's weight follows from data: `coupling * variance / (share * step)`, variance of the log-ratio
       about its class means, share of independent samples (speckle is correlated, so pixels count less than one
       observation), step between the means. These and the map determine each other, six rounds.
    3. Threshold (`class-means`): half of the mean log-ratio, as observed, of the pixels above it, but at least the
       value that the noise of unchanged pixels reaches once in the image (`thresholds.noise_limited`).

    Several polarisations are denoised one by one; the magnitude is their root mean square. Kind: denoised ratio of
    each band in decibels. In images of more than 4 million pixels, variances, share and step come from windows on a
    regular lattice. Blocks are denoised with a margin of 48 pixels.

    Attributes:
        floor: Noise floor added to every intensity, in its unit.
        smoothing: Deviation of the Gaussian in pixels.
        coupling: Price of a border's length against the data, in units of the ratio's log likelihood per pixel.
        rounds: Of the denoising.
        threshold: `class-means`, or another rule of `thresholds.RULES`, or `posterior`.
    """

    floor: float = 0.0
    smoothing: float = 1.0
    coupling: float = 0.4
    rounds: int = 100
    threshold: str = "class-means"

    def fit(self, pair: ImagePair) -> FittedChange:
        """Learn centre, share, variance and step, then find threshold and mixture.

        Args:
            pair: Linear intensities.

        Raises:
            ConfigurationError: If an option is out of range.
            SceneError: If no pixel is valid at both dates, a band is constant, or values are no intensities.
        """
        if not (self.smoothing > 0.0 and self.coupling > 0.0 and self.rounds >= 10):
            raise ConfigurationError("The ratio's smoothing and coupling must be positive, its rounds at least 10.")
        names = checked_names(pair, self.floor)
        count = len(pair.bands)
        blank = _VariationScore(self.smoothing, self.floor, np.zeros(count), np.full(count, 0.3), self.rounds, names)
        centred = replace(blank, centre=self._centre(pair, blank))
        share = _independent_share(pair, centred)
        strength = centred.strength
        step = variance = np.zeros(count)
        for _ in range(_FIT_ROUNDS):
            step, variance = self._classes(pair, replace(centred, strength=strength))
            strength = np.maximum(self.coupling * variance / (share * np.maximum(step, 1e-6)), 1e-6)
        score = replace(centred, strength=strength)
        loadings = {"centre": centred.centre, "share": share, "step": step, "variance": variance, "strength": strength}
        if self.threshold != "class-means":
            return finish(pair, score, self.threshold, loadings)
        fitted = finish(pair, score, "noise-limited", loadings)
        return replace(fitted, threshold=self._between(pair, score, fitted.threshold))

    def _between(self, pair: ImagePair, score: _VariationScore, start: Threshold) -> Threshold:
        """Return half of the mean log-ratio of the pixels above it, but not less than the noise limit."""
        parts = []
        for block in pair.sample(_SAMPLE_EDGE, _SAMPLES, score.margin):
            inside = block.core_valid
            field, logs = score.field(block)[:, inside], score.logs(block)[:, *block.core][:, inside]
            magnitude = np.sqrt((field**2).mean(axis=0))
            # The observed ratio along the direction of the denoised one, so that noise does not raise it.
            parts.append((magnitude, (field * logs).mean(axis=0) / np.maximum(magnitude, 1e-30)))
        magnitudes, observed = (np.concatenate(planes) for planes in zip(*parts, strict=True))
        limit, value, mean = start.details["noise_limit"], start.value, 0.0
        for _ in range(20):
            changed = magnitudes > value
            if not changed.any():
                break
            mean = float(observed[changed].mean())
            value = max(mean / 2.0, limit)
        details = {"changed_mean": mean, "noise_limit": limit, "noise_deviation": start.details["noise_deviation"]}
        return Threshold(value, "class-means", details)

    def _centre(self, pair: ImagePair, score: _VariationScore) -> Image:
        """Return the median log-ratio of each band."""
        histograms = [MagnitudeHistogram() for _ in pair.bands]
        for block in pair.blocks():
            logs = score.logs(block)[:, *block.core][:, block.core_valid]
            for histogram, values in zip(histograms, logs, strict=True):
                histogram.add(np.clip(values, -_LARGEST, _LARGEST) + _LARGEST)
        return np.array([histogram.quantile(0.5) - _LARGEST for histogram in histograms])

    def _classes(self, pair: ImagePair, score: _VariationScore) -> tuple[Image, Image]:
        """Return the step between the class means and the variance about them, of each band."""
        parts = []
        for block in pair.sample(_SAMPLE_EDGE, _SAMPLES, score.margin):
            inside = block.core_valid
            parts.append((score.field(block)[:, inside], score.logs(block)[:, *block.core][:, inside]))
        fields, logs = (np.concatenate(planes, axis=1) for planes in zip(*parts, strict=True))
        steps, variances = np.zeros(len(fields)), np.zeros(len(fields))
        for band, (field, values) in enumerate(zip(fields, logs, strict=True)):
            histogram = MagnitudeHistogram()
            histogram.add(np.abs(field))
            changed = np.abs(field) > two_means(histogram)[0]
            signed = np.sign(field) * values
            if not changed.any() or changed.all():
                steps[band], variances[band] = max(float(np.abs(field).max()), 1e-6), float(values.var())
                continue
            step = float(signed[changed].mean())
            steps[band] = max(step, 1e-6)
            apart = np.where(changed, signed - step, values - np.median(values[~changed]))
            variances[band] = float((apart**2).mean())
        return steps, variances


def _independent_share(pair: ImagePair, score: _VariationScore) -> Image:
    """Return the share of independent samples of each band's log-ratio.

    A mean of n pixels has the variance `sigma^2 / (n share)`, `share = 1 / sum of correlations over all lags`.
    Squares of 21 pixels are centred, the more homogeneous half is kept, and the median of their correlations taken.
    """
    squares_read = pair.sample(_TILE, _TILES)
    full = (block for block in squares_read if block.valid.shape == (_TILE, _TILE) and block.valid.all())
    tiles = [score.logs(block) for block in full]
    if not tiles:
        return np.ones(len(pair.bands))
    values = np.stack(tiles, axis=1)
    values = values - values.mean(axis=(2, 3), keepdims=True)
    size = (2 * _TILE, 2 * _TILE)
    pairs = fft.irfft2(np.abs(fft.rfft2(np.ones((_TILE, _TILE)), size)) ** 2, size)
    lags = np.arange(-_REACH, _REACH + 1)
    shares = np.ones(len(values))
    for band, squares in enumerate(values):
        spread = (squares**2).mean(axis=(1, 2))
        kept = squares[(spread <= np.median(spread)) & (spread > 0.0)]
        if not len(kept):
            continue
        power = np.abs(fft.rfft2(kept, size)) ** 2
        covariance = fft.irfft2(power, size) / np.maximum(pairs, 1.0)
        chosen = np.median((covariance / covariance[:, :1, :1])[:, lags[:, None], lags], axis=0)
        chance = 4.0 / (_TILE * np.sqrt(len(kept)))
        shares[band] = 1.0 / max(1.0, float(chosen[chosen > chance].sum()))
    return shares
