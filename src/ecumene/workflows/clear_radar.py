"""Which radar acquisition stands for which optical date of `clear`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, ContractError
from ecumene.scenes.altered import AlteredStack
from ecumene.scenes.contract import Block, SceneSource
from ecumene.scenes.stack import SceneStack, align_scenes

RADAR_DAYS = 12.0
"""Days between an optical date and the radar that stands for it; further away there is none (one repeat cycle)."""


@dataclass(frozen=True)
class RadarDates:
    """Radar acquisitions, and which of them stand for the dates of a series.

    Attributes:
        acquisitions: All of them on the series' grid, a frame each, ascending in time.
        times: Of the acquisition that stands for each date; None where none is near enough, or it has no date.
        unit: Of the values, `dB` or `linear power`.
    """

    acquisitions: SceneStack
    times: tuple[np.datetime64 | None, ...]
    unit: str

    def nearest(self, day: float) -> tuple[int, float]:
        """Return the acquisition nearest to a day (of two equally near the earlier), and the days between them."""
        apart = [abs(day_of(time) - day) if time is not None else 0.0 for time in self.acquisitions.times]
        place = int(np.argmin(apart))
        return place, apart[place]


def check_radar(waves: Sequence[SceneSource], optical: Sequence[SceneSource]) -> None:
    """Refuse radar that is no backscatter, has no date beside a series, or changes its polarisations.

    Raises:
        ContractError: If quantity, unit or polarisations do not fit.
        ConfigurationError: If a date is missing.
    """
    for wave in waves:
        if wave.quantity != "backscatter" or wave.unit not in {"dB", "linear power"}:
            raise ContractError(
                f"Radar scene {wave.id} is {wave.quantity} in {wave.unit}; give backscatter in dB or linear power."
            )
        if wave.time is None and len(optical) > 1:
            raise ConfigurationError(f"Radar scene {wave.id} has no date; declare it with --radar-time.")
        if {b.name for b in wave.bands} != {b.name for b in waves[0].bands}:
            raise ContractError(f"The radar scenes {waves[0].id} and {wave.id} have other polarisations; use the same.")


def assign_radar(
    stack: SceneStack, waves: Sequence[SceneSource], days: NDArray[np.float64]
) -> tuple[SceneStack, RadarDates, tuple[str, ...]]:
    """Leave each date the radar that is nearest to it, if that is near enough.

    Args:
        stack: Optical dates with the radar nearest to each, see `scenes.stack.align_scenes`.
        waves: The radar scenes.
        days: `[T]`, days of the dates since 1970-01-01.

    Returns:
        The stack without radar of another season, the dates of the radar, and sentences about dates without.
    """
    optical = stack.channels[0].sensor
    times: list[np.datetime64 | None] = []
    missing, notes = np.zeros(len(days), bool), []
    for position, frame in enumerate(stack.frames):
        time = next(mosaic for mosaic in frame.mosaics if mosaic[0].sensor != optical)[0].time
        times.append(time)
        if time is None or frame.time is None:
            continue
        lag = abs(day_of(time) - days[position])
        if lag > RADAR_DAYS:
            missing[position], times[-1] = True, None
            notes.append(far_note(str(frame.time)[:10], lag))
    if missing.any():
        frames = tuple(
            replace(frame, mosaics=tuple(m for m in frame.mosaics if m[0].sensor == optical)) if far else frame
            for frame, far in zip(stack.frames, missing, strict=True)
        )
        stack = replace(stack, frames=frames)
    acquisitions = align_scenes(waves, geobox=stack.geobox, mask_clouds=False)
    return stack, RadarDates(acquisitions, tuple(times), waves[0].unit), tuple(notes)


def without_fill(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return radar `[T, R, ...]` with NaN where all polarisations are exactly zero: that is no measurement."""
    return np.where((values == 0.0).all(axis=1, keepdims=True), np.float32(np.nan), values)


@dataclass(frozen=True)
class MeasuredStack(AlteredStack):
    """Another stack, whose radar channels are NaN where all of them are exactly zero, as training has them.

    Optical channels are reflectances; every channel in another unit is radar.
    """

    def alter(self, block: Block) -> Block:
        """Return a block without radar that was not measured."""
        waves = [place for place, channel in enumerate(self.channels) if channel.unit != "1"]
        if not waves:
            return block
        image = block.image.copy()
        image[:, waves] = without_fill(image[:, waves])
        return replace(block, image=image, valid=block.valid & ~np.isnan(image[:, waves]).any(axis=1))


def far_note(day: str, lag: float) -> str:
    """Return the sentence about a day without radar."""
    return f"{day} has no radar within {RADAR_DAYS:.0f} days (nearest: {lag:.0f})."


def day_of(time: np.datetime64 | None) -> float:
    """Return a time in days since 1970-01-01; 0 for a single scene without one."""
    return 0.0 if time is None else float(time.astype("datetime64[s]").astype(np.int64)) / 86400.0
