"""What `clear` computes of one date: observed pixels kept, the others estimated, all layers tile by tile."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.core.window import Window
from ecumene.restoration.contract import BEYOND, FILLED, NO_KNOWLEDGE, OBSERVED, Sample, SeriesPixels, Target
from ecumene.restoration.holdout import Chosen
from ecumene.sensors import get_sensor
from ecumene.workflows.clear_scenes import ClearInput

Estimate = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]
"""Mean `[K, N]` (NaN where nothing is known), standard deviation `[K, N]` and outlier flag `[N]` of some pixels."""


@dataclass(frozen=True)
class Filler(abc.ABC):
    """Fills one date of a series, tile by tile; subclasses say how.

    Attributes:
        source: The series.
        target: The day.
        keep_observed: Whether clear pixels of the date keep their measured value.
        noise: `[K]`, standard deviation of a measured reflectance.
        spread: `[K]`, standard deviation of the band in the scene: all that is known of a pixel beyond repair.
    """

    source: ClearInput
    target: Target
    keep_observed: bool
    noise: NDArray[np.float64]
    spread: NDArray[np.float64]

    @property
    @abc.abstractmethod
    def method(self) -> str:
        """What fills."""

    def day(self) -> str | None:
        """Return the day as YYYY-MM-DD; None for a scene without a date."""
        if self.target.index is not None and self.source.stack.times[self.target.index] is None:
            return None
        return str(np.datetime64(int(np.floor(self.target.day)), "D"))

    def pixels(self, window: Window) -> tuple[SeriesPixels, int | None]:
        """Return the pixels of a window that `tile` and `estimate` need, and the place of the day among their dates."""
        return self.source.read(window), self.target.index

    @abc.abstractmethod
    def estimate(self, window: Window, series: SeriesPixels, wanted: NDArray[np.intp]) -> Estimate:
        """Estimate the wanted pixels (places in the window's pixels) of the day."""

    @abc.abstractmethod
    def account(self) -> tuple[str, dict[str, Any]]:
        """Return how the layers were made in one or two sentences, and figures (JSON values)."""

    def tile(self, window: Window) -> dict[str, NDArray[Any]]:
        """Return all layers of a window `[bands, h, w]` by name."""
        series, index = self.pixels(window)
        number, pixels = series.bands, series.pixels
        state = np.full(pixels, BEYOND, np.uint8)
        mean = np.full((number, pixels), np.nan, np.float32)
        deviation = np.repeat(self.spread.astype(np.float32)[:, None], pixels, axis=1)
        outlier = np.zeros(pixels, np.uint8)
        if index is not None and self.keep_observed:
            seen = series.clear[index]
            state[seen] = OBSERVED
            mean[:, seen] = series.image[index][:, seen]
            deviation[:, seen] = self.noise[:, None]
        wanted = np.flatnonzero(state == BEYOND)
        if wanted.size:
            value, spread, strange = self.estimate(window, series, wanted)
            known = np.isfinite(value).all(axis=0)
            place = wanted[known]
            state[place] = FILLED
            mean[:, place], deviation[:, place] = value[:, known], spread[:, known]
            outlier[place] = strange[known]
        shape = (window.height, window.width)
        return {
            "reflectance": mean.reshape(number, *shape),
            "uncertainty": deviation.reshape(number, *shape),
            "state": state.reshape(1, *shape),
            "outlier": outlier.reshape(1, *shape),
            "valid": (state != BEYOND).astype(np.uint8).reshape(1, *shape),
        }


@dataclass(frozen=True)
class MethodFiller(Filler):
    """Fills by a method that was fitted on the series.

    Attributes:
        chosen: Method and calibration; None: the series teaches nothing.
    """

    chosen: Chosen | None

    @property
    def method(self) -> str:
        """What fills."""
        return "nothing" if self.chosen is None else self.chosen.method.name

    def estimate(self, window: Window, series: SeriesPixels, wanted: NDArray[np.intp]) -> Estimate:
        """See `Filler`."""
        if self.chosen is None:
            nothing = np.full((series.bands, len(wanted)), np.nan, np.float32)
            return nothing, nothing, np.zeros(len(wanted), bool)
        filled = self.chosen.method.fill(series.take(wanted), self.target)
        calibration = self.chosen.calibration
        deviation = calibration.apply(filled.mean, filled.deviation, filled.surprise)
        return filled.mean, deviation, filled.surprise > calibration.surprise_limit

    def account(self) -> tuple[str, dict[str, Any]]:
        """See `Filler`."""
        chosen = self.chosen
        if chosen is None:
            return "No pixel could be filled, because no clear observation can be learned from.", {}
        blocks = chosen.calibration.groups
        bars = "error bars not tried, because too few clear pixels could be hidden"
        if blocks:
            bars = f"error bars recalibrated on {blocks} blocks of clear pixels that were hidden"
        return f"Clouds and shadows filled by {chosen.method.name}; {bars}. {chosen.reason}", {
            "reason": chosen.reason,
            "held_out": {name: rounded(score) for name, score in chosen.scores.items()},
            "calibration": chosen.calibration.to_dict(self.source.bands),
        }


def rounded(values: dict[str, float]) -> dict[str, float]:
    """Return numbers with six digits."""
    return {key: float(f"{value:.6g}") for key, value in values.items()}


def noise_of(source: ClearInput, sample: Sample) -> NDArray[np.float64]:
    """Return the noise of a measured reflectance by the sensor's description; the scene's spread where it has none."""
    found = []
    for channel, spread in zip(source.channels, spread_of(sample), strict=True):
        try:
            level = get_sensor(channel.sensor).level(channel.level)
        except (ConfigurationError, KeyError):
            found.append(spread)
            continue
        found.append(spread if level.noise is None else level.noise)
    return np.array(found)


def spread_of(sample: Sample) -> NDArray[np.float64]:
    """Return the standard deviation of each band over all clear pixels, or that of an unknown number from 0 to 1."""
    clear = sample.series.clear
    if clear.sum() < 2:
        return np.full(sample.series.bands, NO_KNOWLEDGE)
    values = np.moveaxis(sample.series.image, 1, 0)[:, clear].astype(np.float64)
    return np.asarray(values.std(axis=1))
