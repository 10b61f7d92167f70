"""The input of `clear`: optical dates with their cloud masks and radar beside them, as pixels of a series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, ContractError, LabelError
from ecumene.core.window import Window
from ecumene.restoration.contract import Sample, SeriesPixels
from ecumene.scenes.common_names import common_bands
from ecumene.scenes.contract import Channel, SceneSource
from ecumene.scenes.masks import with_rule_mask
from ecumene.scenes.stack import SceneStack, align_scenes
from ecumene.workflows.stacks import Paths, open_sources

RADAR_DAYS = 12.0
"""Days between an optical date and the radar that stands for it; further away there is none (one repeat cycle)."""
_LEAST_POWER = 1e-10  # floor before the logarithm
_SAMPLE, _WINDOWS, _EDGE = 40_000, 64, 256


@dataclass(frozen=True)
class ClearInput:
    """What is to be filled.

    Attributes:
        stack: Optical channels first, then radar; clouds are NaN.
        optical: Number of optical channels.
        days: `[T]`, days since 1970-01-01, with fractions.
        radar_missing: `[T]`, no radar acquisition is near enough.
        radar_power: Whether radar is linear power, to be turned into dB.
        notes: What a user should know.
    """

    stack: SceneStack
    optical: int
    days: NDArray[np.float64]
    radar_missing: NDArray[np.bool_]
    radar_power: bool
    notes: tuple[str, ...] = ()

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The optical channels."""
        return self.stack.channels[: self.optical]

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the optical bands."""
        return tuple(channel.band for channel in self.channels)

    @property
    def radar(self) -> bool:
        """Whether there is radar."""
        return len(self.stack.channels) > self.optical

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self.stack.geobox.shape[0]), int(self.stack.geobox.shape[1])

    def read(self, window: Window) -> SeriesPixels:
        """Read the pixels of a window, row by row; what cannot be decoded is as if it were clouded."""
        block, _ = self.stack.read_intact(window)
        dates, _, height, width = block.image.shape
        image = block.image.reshape(dates, -1, height * width)
        optical = image[:, : self.optical]
        clear = np.asarray(np.isfinite(optical).all(axis=1), np.bool_)
        radar = self._decibels(image[:, self.optical :]) if self.radar else None
        return SeriesPixels(np.where(clear[:, None], optical, np.float32(np.nan)), clear, self.days, radar)

    def _decibels(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return radar in dB, NaN where there is none: exact zeros in all polarisations are fill, no measurement."""
        empty = (values == 0.0).all(axis=1) | ~np.isfinite(values).all(axis=1)
        empty |= self.radar_missing[:, None]
        if self.radar_power:
            with np.errstate(invalid="ignore"):
                values = np.float32(10.0) * np.log10(np.maximum(values, np.float32(_LEAST_POWER)))
        return np.where(empty[:, None], np.float32(np.nan), values).astype(np.float32)

    def true_colour(self) -> tuple[str, str, str]:
        """Return the bands shown as red, green and blue; the first one for all three where these are not known."""
        found = common_bands(self.channels[0].sensor, self.bands)
        if {"red", "green", "blue"} <= set(found):
            return found["red"], found["green"], found["blue"]
        return (self.bands[0],) * 3


def open_clear_input(
    scenes: Paths, radar: Paths | None, *, mask_clouds: bool, radar_declaration: Mapping[str, Any], **declaration: Any
) -> ClearInput:
    """Open optical dates and radar on the grid of the first optical date.

    A scene without a mask of its provider gets the stated rule (`scenes.cloud_rule`), if clouds are to be masked.

    Args:
        scenes: Optical acquisitions in reflectance, in any order.
        radar: Radar acquisitions, or None.
        mask_clouds: Whether masks count at all.
        radar_declaration: What the radar's files do not say.
        **declaration: What the optical files do not say.

    Raises:
        ContractError: If the scenes are no reflectance, of several sensors or levels, or the radar is no backscatter.
        SceneError: If a scene of a series has no date.
    """
    optical = open_sources(scenes, **declaration)
    for source in optical:
        if source.quantity != "reflectance":
            raise ContractError(
                f"Clouds are filled in reflectance, but scene {source.id} is {source.quantity}; give radar by --radar."
            )
        if source.sensor != optical[0].sensor:
            raise ContractError(
                f"The scenes are of {optical[0].sensor} and {source.sensor}; fill one sensor's series at a time."
            )
    if mask_clouds:
        optical = tuple(with_rule_mask(source) for source in optical)
    waves = () if radar is None else open_sources(radar, **radar_declaration)
    _check_radar(waves, optical)
    stack = align_scenes([*optical, *waves], mask_clouds=mask_clouds)
    number = sum(channel.sensor == optical[0].sensor for channel in stack.channels)
    days = np.array([_day(time) for time in stack.times])
    missing, notes = _radar_lags(stack, number, days)
    if missing.any():  # no reader of the stack is to see radar of another season
        frames = tuple(
            replace(frame, mosaics=tuple(m for m in frame.mosaics if m[0].quantity != "backscatter")) if far else frame
            for frame, far in zip(stack.frames, missing, strict=True)
        )
        stack = replace(stack, frames=frames)
    power = bool(waves) and waves[0].unit != "dB"
    return ClearInput(stack, number, days, missing, power, notes)


def _check_radar(waves: Sequence[SceneSource], optical: Sequence[SceneSource]) -> None:
    for wave in waves:
        if wave.quantity != "backscatter" or wave.unit not in {"dB", "linear power"}:
            raise ContractError(
                f"Radar scene {wave.id} is {wave.quantity} in {wave.unit}; give backscatter in dB or linear power."
            )
        if wave.time is None and len(optical) > 1:
            raise ConfigurationError(f"Radar scene {wave.id} has no date; declare it with --radar-time.")
        if {b.name for b in wave.bands} != {b.name for b in waves[0].bands}:
            raise ContractError(f"The radar scenes {waves[0].id} and {wave.id} have other polarisations; use the same.")


def _day(time: np.datetime64 | None) -> float:
    """Return a time in days since 1970-01-01; 0 for a single scene without one."""
    return 0.0 if time is None else float(time.astype("datetime64[s]").astype(np.int64)) / 86400.0


def _radar_lags(
    stack: SceneStack, optical: int, days: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Return for which dates no radar is near enough, and what to say about it."""
    missing = np.zeros(len(days), bool)
    if len(stack.channels) == optical:
        return missing, ()
    notes = []
    for position, frame in enumerate(stack.frames):
        mosaic = next(m for m in frame.mosaics if m[0].sensor != stack.channels[0].sensor)
        if mosaic[0].time is None or frame.time is None:
            continue
        lag = abs(_day(mosaic[0].time) - days[position])
        if lag > RADAR_DAYS:
            missing[position] = True
            notes.append(f"{str(frame.time)[:10]} has no radar within {RADAR_DAYS:.0f} days (nearest: {lag:.0f}).")
    return missing, tuple(notes)


def take_sample(source: ClearInput, seed: int = 0) -> Sample:
    """Return pixels of windows spread evenly over the scene, at most 40,000, with their blocks.

    Raises:
        LabelError: If radar was given and is empty everywhere.
    """
    height, width = source.shape
    block = int(np.clip(max(height, width) // 16, 8, 256))
    windows = _spread(height, width)
    share = min(1.0, _SAMPLE / sum(w.height * w.width for w in windows))
    rng = np.random.default_rng(seed)
    parts, rows, cols = [], [], []
    for window in windows:
        pixels = source.read(window)
        chosen = np.flatnonzero(rng.random(pixels.pixels) < share)
        parts.append(pixels.take(chosen))
        rows.append(window.row + chosen // window.width)
        cols.append(window.col + chosen % window.width)
    radar = np.concatenate([p.radar for p in parts if p.radar is not None], axis=2) if source.radar else None
    if radar is not None and not np.isfinite(radar).any():
        raise LabelError("The radar has no measurement (only zeros or no data) near these dates; check its files.")
    series = SeriesPixels(
        np.concatenate([part.image for part in parts], axis=2),
        np.concatenate([part.clear for part in parts], axis=1),
        source.days,
        radar,
    )
    row, col = np.concatenate(rows).astype(np.int64), np.concatenate(cols).astype(np.int64)
    group = (row // block) * (width // block + 1) + col // block
    return Sample(series, group, row, col)


def _spread(height: int, width: int) -> list[Window]:
    """Return windows that cover a small scene, or `_WINDOWS` of them spread evenly over a large one."""
    rows, cols = range(0, height, _EDGE), range(0, width, _EDGE)
    cells = [Window(row, col, min(_EDGE, height - row), min(_EDGE, width - col)) for row in rows for col in cols]
    if len(cells) <= _WINDOWS:
        return cells
    chosen = np.unique(np.linspace(0, len(cells) - 1, _WINDOWS).round().astype(int))
    return [cells[index] for index in chosen]


def raw_colour(source: ClearInput, date: int) -> SceneStack:
    """Return the picture's three channels of one date with its clouds."""
    keys = [f"{source.channels[0].sensor}/{name}" for name in dict.fromkeys(source.true_colour())]
    return replace(source.stack, mask_clouds=False).at(date).select(keys)
