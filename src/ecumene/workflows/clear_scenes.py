"""The input of `clear`: optical dates with their cloud masks and radar beside them, as pixels of a series."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ContractError, LabelError
from ecumene.core.window import Window
from ecumene.restoration.contract import Sample, SeriesPixels, Target
from ecumene.scenes.common_names import common_bands
from ecumene.scenes.contract import Channel, SceneSource
from ecumene.scenes.intensity import as_decibels
from ecumene.scenes.masks import with_rule_mask
from ecumene.scenes.stack import SceneStack, align_scenes
from ecumene.workflows.clear_radar import (
    RADAR_DAYS,
    RadarDates,
    assign_radar,
    check_radar,
    day_of,
    far_note,
    without_fill,
)
from ecumene.workflows.stacks import Paths, open_sources

_SAMPLE, _WINDOWS, _EDGE = 40_000, 64, 256


@dataclass(frozen=True)
class ClearInput:
    """What is to be filled.

    Attributes:
        stack: Optical channels first, then radar; clouds are NaN.
        optical: Number of optical channels.
        days: `[T]`, days since 1970-01-01, with fractions.
        radar: Which radar stands for which date; None without radar.
        wanted: The radar acquisition of a wanted day that is none of the dates; None: no such day, or no radar near it.
        notes: What a user should know.
    """

    stack: SceneStack
    optical: int
    days: NDArray[np.float64]
    radar: RadarDates | None = None
    wanted: SceneStack | None = None
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
    def sources(self) -> tuple[SceneSource, ...]:
        """All scenes that are read, each once."""
        wanted = () if self.wanted is None else self.wanted.sources
        known = self.stack.sources
        return (*known, *(scene for scene in wanted if not any(scene is other for other in known)))

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
        radar, wanted = None, None
        if self.radar is not None:
            radar = _decibels(image[:, self.optical :], self.radar.unit)
        if self.radar is not None and self.wanted is not None:
            found, _ = self.wanted.read_intact(window)
            wanted = _decibels(found.image.reshape(1, -1, height * width), self.radar.unit)[0]
        return SeriesPixels(np.where(clear[:, None], optical, np.float32(np.nan)), clear, self.days, radar, wanted)

    def at(self, index: int) -> ClearInput:
        """Return one optical date alone, without radar."""
        keys = [channel.key for channel in self.channels]
        return ClearInput(self.stack.at(index).select(keys), self.optical, self.days[index : index + 1])

    def for_day(self, day: float) -> ClearInput:
        """Return the same dates with the radar of a day that is none of them, if there is one near enough."""
        if self.radar is None:
            return self
        place, lag = self.radar.nearest(day)
        if lag > RADAR_DAYS:
            note = far_note(str(np.datetime64(int(np.floor(day)), "D")), lag)
            return replace(self, wanted=None, notes=(*self.notes, note))
        names = [f"{channel.sensor}/{channel.band}" for channel in self.stack.channels[self.optical :]]
        return replace(self, wanted=self.radar.acquisitions.at(place).select(names))

    def radar_of(self, target: Target) -> np.datetime64 | None:
        """Return when the radar that stands for a day was acquired; None without, or where its file has no date."""
        if target.index is None:
            return None if self.wanted is None else self.wanted.times[0]
        return None if self.radar is None else self.radar.times[target.index]

    def true_colour(self) -> tuple[str, str, str]:
        """Return the bands shown as red, green and blue; the first one for all three where these are not known."""
        found = common_bands(self.channels[0].sensor, self.bands)
        if {"red", "green", "blue"} <= set(found):
            return found["red"], found["green"], found["blue"]
        return (self.bands[0],) * 3


def _decibels(values: NDArray[np.float32], unit: str) -> NDArray[np.float32]:
    """Return radar `[T, R, P]` in dB, NaN in all polarisations where one has no measurement."""
    found = as_decibels(without_fill(values), unit)
    return np.where(np.isfinite(found).all(axis=1, keepdims=True), found, np.float32(np.nan)).astype(np.float32)


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
    check_radar(waves, optical)
    stack = align_scenes([*optical, *waves], mask_clouds=mask_clouds)
    number = sum(channel.sensor == optical[0].sensor for channel in stack.channels)
    days = np.array([day_of(time) for time in stack.times])
    if not waves:
        return ClearInput(stack, number, days)
    stack, assigned, notes = assign_radar(stack, waves, days)
    return ClearInput(stack, number, days, assigned, notes=notes)


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
    radar = (
        np.concatenate([p.radar for p in parts if p.radar is not None], axis=2) if source.radar is not None else None
    )
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
