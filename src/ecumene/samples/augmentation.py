"""Augmentation that keeps what a measurement means: exact symmetries, radiometry, speckle; no hue.

An augmentation takes a `Sample` and a NumPy `Generator` and returns a new `Sample`; the given one is
not changed. Invalid (NaN) pixels stay NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ContractError
from ecumene.samples.contract import Sample


class Augmentation(Protocol):
    """Anything that turns a sample into another one."""

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Return the augmented sample."""


@dataclass(frozen=True)
class Compose:
    """Several augmentations one after the other."""

    steps: tuple[Augmentation, ...]

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Return the sample after all steps."""
        for step in self.steps:
            sample = step(sample, rng)
        return sample


def d4_array(array: NDArray, element: int) -> NDArray:
    """Apply one of the eight symmetries of the square to the last two axes.

    Args:
        array: `[..., H, W]`.
        element: 0..7: `element % 4` quarter turns counter-clockwise, then a left-right flip from 4 on.
    """
    turned = np.rot90(array, element % 4, axes=(-2, -1))
    return np.ascontiguousarray(turned[..., ::-1] if element >= 4 else turned)


def d4_inverse(element: int) -> int:
    """Return the element that undoes another: flips undo themselves, turns turn back."""
    return element if element >= 4 else (4 - element) % 4


def d4_boxes(boxes: NDArray[np.float32], element: int, height: int, width: int) -> NDArray[np.float32]:
    """Apply a symmetry to boxes in pixel coordinates.

    Args:
        boxes: `[N, 4]` as x_min, y_min, x_max, y_max, counted from the upper left corner of the image.
        element: As in `d4_array`.
        height: Rows of the image before.
        width: Columns of the image before.
    """
    x0, y0, x1, y1 = (boxes[:, i] for i in range(4))
    for _ in range(element % 4):
        # A quarter turn counter-clockwise: what was right comes up.
        x0, y0, x1, y1 = y0, width - x1, y1, width - x0
        height, width = width, height
    if element >= 4:
        x0, x1 = width - x1, width - x0
    return np.stack([x0, y0, x1, y1], axis=1).astype(np.float32)


def d4_sample(sample: Sample, element: int) -> Sample:
    """Apply one symmetry to everything in a sample."""
    height, width = sample["image"].shape[-2:]
    out = sample.copy()
    out["image"] = d4_array(sample["image"], element)
    out["valid"] = d4_array(sample["valid"], element)
    if "mask" in sample:
        out["mask"] = d4_array(sample["mask"], element)
    if "bbox_xyxy" in sample:
        out["bbox_xyxy"] = d4_boxes(sample["bbox_xyxy"], element, height, width)
    return out


@dataclass(frozen=True)
class RandomD4:
    """A random symmetry of the square; of the rectangle (4 elements) where the patch is not square.

    Not for radar where the look direction matters to the task, nor for shadows used as direction.
    """

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Return the turned and flipped sample."""
        height, width = sample["image"].shape[-2:]
        return d4_sample(sample, self.draw(rng, square=height == width))

    @staticmethod
    def draw(rng: np.random.Generator, *, square: bool) -> int:
        """Return a random element, see `d4_array`."""
        return int(rng.choice(np.array(list(range(8) if square else (0, 2, 4, 6)))))


def _frames(image: NDArray[np.float32]) -> int:
    return image.shape[0] if image.ndim == 4 else 1


def _per_channel(values: NDArray[np.float64], image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Shape `[T, C]` values so that they broadcast over an image `[C,H,W]` or `[T,C,H,W]`."""
    shaped = values[..., None, None] if image.ndim == 4 else values[0, :, None, None]
    return shaped.astype(np.float32)


@dataclass(frozen=True)
class OpticalJitter:
    """Radiometric variation of reflectance, one draw a date.

    `rho' = gain * gain_c * rho + path_c`: a gain common to all bands (illumination, adjacency), a small
    one of each band (calibration, a few per cent on orbit), and an additive path reflectance that falls
    with wavelength as `lambda^-angstrom` (haze; Angstrom exponent of aerosols 0..2, e.g. Schuster et
    al. 2006, doi:10.1029/2005JD006328). Bands keep their physical order: no hue, no channel shuffling.

    Attributes:
        channels: Which channels are reflectance.
        wavelengths_um: Centre wavelength of each of them; None: the haze is grey.
        gain: Standard deviation of the common gain.
        band_gain: Standard deviation of each band's gain.
        haze: Largest path reflectance at 0.49 um.
    """

    channels: tuple[int, ...]
    wavelengths_um: tuple[float | None, ...] = ()
    gain: float = 0.05
    band_gain: float = 0.02
    haze: float = 0.02

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Return the sample with other radiometry."""
        image = sample["image"].copy()
        gains, path = self.draw(rng, _frames(image))
        chosen = list(self.channels)
        part = image[..., chosen, :, :]
        image[..., chosen, :, :] = part * _per_channel(gains, image) + _per_channel(path, image)
        return {**sample, "image": image}

    def draw(self, rng: np.random.Generator, frames: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return gain and path reflectance of each frame and chosen channel, `[frames, channels]` both."""
        count = len(self.channels)
        gains = np.exp(rng.normal(0, self.gain, (frames, 1)) + rng.normal(0, self.band_gain, (frames, count)))
        waves = np.array([wave or 0.49 for wave in self.wavelengths_um or (None,) * count])
        angstrom = rng.uniform(0, 2, (frames, 1))
        path = self.haze * rng.uniform(0, 1, (frames, 1)) * (waves[None, :] / 0.49) ** -angstrom
        return gains, path


@dataclass(frozen=True)
class SarJitter:
    """More speckle and another calibration for backscatter.

    Speckle multiplies linear power by a gamma variate of mean 1 and variance 1/looks (Goodman 1976);
    in dB the same factor is added as `10 log10`. Each date and channel gets one calibration offset.

    Attributes:
        channels: Which channels are backscatter.
        units: `dB` or `linear power` for each.
        looks: Equivalent number of looks of the added speckle (larger is weaker).
        calibration_db: Standard deviation of the offset (Sentinel-1: a few tenths of a dB).
    """

    channels: tuple[int, ...]
    units: tuple[str, ...]
    looks: float = 20.0
    calibration_db: float = 0.3

    def __post_init__(self) -> None:
        if len(self.units) != len(self.channels) or not set(self.units) <= {"dB", "linear power"}:
            raise ContractError("Backscatter augmentation needs the unit 'dB' or 'linear power' for each channel.")

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Return the sample with other speckle and calibration."""
        image = sample["image"].copy()
        frames = _frames(image)
        chosen = list(self.channels)
        part = image[..., chosen, :, :]
        speckle = rng.gamma(self.looks, 1 / self.looks, part.shape)
        offsets = _per_channel(10 ** (rng.normal(0, self.calibration_db, (frames, len(chosen))) / 10), image)
        factor = np.maximum(speckle * offsets, np.finfo(np.float32).tiny)
        decibels = np.array([unit == "dB" for unit in self.units])[:, None, None]
        image[..., chosen, :, :] = np.where(decibels, part + 10 * np.log10(factor), part * factor)
        return {**sample, "image": image}


@dataclass(frozen=True)
class BandDropout:
    """Sets whole channels to NaN (on all dates), so that a network survives a missing band.

    `valid` keeps saying where the measurement was complete; at least one channel stays.

    Attributes:
        probability: For each channel.
    """

    probability: float = 0.1

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Return the sample with channels removed."""
        image = sample["image"].copy()
        drop = np.less(rng.random(image.shape[-3:-2]), self.probability)
        drop[rng.integers(0, drop.size)] = False
        image[..., drop, :, :] = np.nan
        return {**sample, "image": image}


@dataclass(frozen=True)
class DateDropout:
    """Removes whole dates of a series (NaN and invalid), as clouds do; at least one stays.

    Attributes:
        probability: For each date.
    """

    probability: float = 0.2

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Return the sample with dates removed; images without dates are returned as they are."""
        if sample["image"].ndim != 4:
            return sample
        image, valid = sample["image"].copy(), sample["valid"].copy()
        drop = rng.random(len(image)) < self.probability
        # The date that stays must show something, else the sample would be empty.
        usable = np.flatnonzero(valid.reshape(len(valid), -1).any(axis=1))
        drop[rng.choice(usable if usable.size else np.arange(len(image)))] = False
        image[drop], valid[drop] = np.nan, False
        return {**sample, "image": image, "valid": valid}


class Measured(Protocol):
    """What an augmentation must know of a channel (`Channel` and `InputBand` have it)."""

    @property
    def unit(self) -> str:
        """Unit of the values."""

    @property
    def center_wavelength_um(self) -> float | None:
        """Centre wavelength in micrometres, where there is one."""


def augmentation_for(channels: Sequence[Measured], *, spatial: bool = True, temporal: bool = False) -> Compose:
    """Return the augmentation that fits the channels' units.

    Reflectance (unit `1` with a centre wavelength) gets `OpticalJitter`, backscatter (`dB`,
    `linear power`) `SarJitter`; other units (kelvin, metres) are left as measured.

    Args:
        channels: Channels of the image, in order.
        spatial: Turn and flip patches (`RandomD4`); useless for single pixels.
        temporal: Whether samples are series, which get `DateDropout`.
    """
    optical = [i for i, c in enumerate(channels) if c.unit == "1" and c.center_wavelength_um is not None]
    radar = [i for i, c in enumerate(channels) if c.unit in {"dB", "linear power"}]
    steps: list[Augmentation] = [RandomD4()] if spatial else []
    if optical:
        waves = tuple(channels[i].center_wavelength_um for i in optical)
        steps.append(OpticalJitter(tuple(optical), waves))
    if radar:
        steps.append(SarJitter(tuple(radar), tuple(channels[i].unit for i in radar)))
    if temporal:
        steps.append(DateDropout())
    return Compose(tuple(steps))
