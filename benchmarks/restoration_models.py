"""Learned methods of `restoration.py`, trained without the place that they are judged on.

A system that restores a date which it is given masked (date-blend) is recalibrated on hidden clear pixels of the place,
as the verb does it. The published networks see the image under its clouds; which dates they see is what the verb
`clear` gives them, and their error bars are those of their own calibration. They see radar where the place has it and
another place of its level has it too. They are trained at their full size, but on smaller windows and for minutes
instead of days, on the other real places of the same level and bands and on simulated landscapes: these are figures of
short trainings, not of the published models.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import LabelError
from ecumene.models.bundle import Model
from ecumene.objectives.arrays import to_numpy
from ecumene.restoration.contract import Target
from ecumene.restoration.holdout import calibrate
from ecumene.restoration.internal_learning import NAME as INTERNAL
from ecumene.samples.hidden_clouds import ClearSeries
from ecumene.scenes.contract import Channel
from ecumene.systems import System
from ecumene.workflows.clear_model import seen_by
from ecumene.workflows.clear_model_trust import RestorationRun, SeriesWindow, hold_out_model
from ecumene.workflows.clear_radar import day_of
from ecumene.workflows.restoration_places import latitude_of
from ecumene.workflows.restoration_scenes import train_on_scenes, usable_for
from ecumene.workflows.restoration_statement import FIRST_DATE, stated_of, target_date
from ecumene.workflows.restoration_train import restoration_system
from restoration_data import PLACES, UNDATED, Learned, Place
from restoration_internal import FittedHere

Array = NDArray[Any]
Z90 = 1.6449
SIMULATED = 12
WHOLE, WINDOW = 320, 256
"""Largest side that is executed at once, and the windows of larger places."""


def learned_methods(names: list[str], seed: int = 0, side: int = 64, **options: Any) -> dict[str, Learned]:
    """Return learned methods by the names of their systems.

    Args:
        names: Systems that remove clouds, or `internal-learning`, which learns from the place itself.
        seed: Of the training.
        side: Rows and columns of the windows that published networks learn from.
        **options: Of `train_on_scenes`.
    """
    methods: dict[str, Learned] = {}
    for name in names:
        if name == INTERNAL:
            methods[name] = FittedHere()
            continue
        system = restoration_system(name)
        if target_date(system) == FIRST_DATE:
            methods[name] = HiddenDate(system, seed, options)
        else:
            methods[name] = SeenClouds(with_side(system, side), seed, options)
    return methods


def with_side(system: System, side: int) -> System:
    """Return a system that learns from windows of this side."""
    crop = {"crop": side} if "crop" in system.data_options else {}
    return system.model_copy(update={"patch_size": side, "data_options": {**system.data_options, **crop}})


@dataclass
class Trained:
    """A system and what it has learned for each place.

    Attributes:
        system: What is trained.
        seed: Of the training.
        options: Of `train_on_scenes`.
        models: By the name of the place that was left out.
        about: What their trainings were, likewise.
    """

    system: System
    seed: int
    options: dict[str, Any]
    models: dict[str, Model] = field(default_factory=dict)
    about: dict[str, dict[str, Any]] = field(default_factory=dict)

    def radar_for(self, place: Place) -> bool:
        """Whether the system sees radar there."""
        return False

    def model_for(self, place: Place) -> Model:
        """Return the model that has not seen a place, trained when it is wanted first."""
        if place.name in self.models:
            return self.models[place.name]
        radar = self.radar_for(place)
        others, bands = others_of(place, radar=radar), len(place.channels)
        model = train_on_scenes(others, self.system, bands=bands, seed=self.seed, simulated=SIMULATED, **self.options)
        history = model.spec.training["history"]
        self.models[place.name] = model
        self.about[place.name] = {
            "samples": self.options["samples"],
            "epochs": int(history["epochs_done"]),
            "seconds": round(float(history["seconds"])),
            "side": int(self.system.data_options.get("crop") or self.system.patch_size),
            "places": [other.name for other in _usable(self.system, others)],
            "simulated_places": SIMULATED,
            "radar": radar,
        }
        return model

    def training_of(self, place: Place) -> dict[str, Any]:
        """Return how the model of a place was trained."""
        return self.about[place.name]


class HiddenDate(Trained):
    """A system that fills the first given date, whose hidden pixels have no data."""

    def applies(self, place: Place) -> bool:
        """See `Learned`."""
        return len(place.days) > 1 and bool(others_of(place))

    def fill(
        self, place: Place, image: NDArray[np.float32], date: int, covered: NDArray[np.bool_]
    ) -> tuple[Array, Array, Array]:
        """See `Learned`."""
        run = RestorationRun(self.model_for(place))
        clear = place.usable.copy()
        clear[date] &= ~covered
        window = SeriesWindow(place.image, clear, place.days)
        mean, deviation = run.fill(window, date)
        held = hold_out_model(run, [window], whole=int(clear[date].sum()) < 300, seed=self.seed)
        if held is None:
            return mean, deviation, Z90 * deviation
        calibration = calibrate(held)
        flat = mean.reshape(len(mean), -1)
        known = np.isfinite(flat).all(axis=0)
        bars = np.full_like(flat, np.nan)
        bars[:, known] = calibration.apply(
            flat[:, known], deviation.reshape(len(mean), -1)[:, known], np.full(int(known.sum()), np.nan)
        )
        half = bars * calibration.interval[:, None].astype(np.float32)
        return mean, bars.reshape(mean.shape), half.reshape(mean.shape)


class SeenClouds(Trained):
    """A published network: it sees one date or several under their clouds."""

    def applies(self, place: Place) -> bool:
        """See `Learned`."""
        dates = int(self.system.data_options.get("dates", 1)) if self.system.reads == "series" else 1
        return len(place.days) >= dates and bool(others_of(place))

    def radar_for(self, place: Place) -> bool:
        """Whether place and others have radar."""
        return bool(others_of(place, radar=True))

    def fill(
        self, place: Place, image: NDArray[np.float32], date: int, covered: NDArray[np.bool_]
    ) -> tuple[Array, Array, Array]:
        """See `Learned`."""
        model = self.model_for(place)
        stack, _ = seen_by(model, place.source, Target(float(place.days[date]), date))
        chosen = [place.source.stack.times.index(time) for time in stack.times]
        seen = image[chosen]
        if len(model.spec.inputs) > len(place.channels):
            assert place.radar is not None
            seen = np.concatenate([seen, place.radar[chosen]], axis=1)
        days = place.days[chosen].astype(np.float32)[None] if model.spec.temporal else None
        mean, deviation = executed(model, seen if model.spec.temporal else seen[0], days)
        return mean, deviation, Z90 * deviation


def executed(model: Model, image: NDArray[np.float32], days: NDArray[np.float32] | None) -> tuple[Array, Array]:
    """Return mean and standard deviation `[K, H, W]`; large images in windows of 256 x 256 pixels side by side."""
    height, width = image.shape[-2:]
    mean = np.full((len(stated_of(model.spec)["bands"]), height, width), np.nan, np.float32)
    deviation = mean.copy()
    for row in _starts(height):
        for col in _starts(width):
            size = WHOLE if max(height, width) <= WHOLE else WINDOW
            inside = (Ellipsis, slice(row, row + size), slice(col, col + size))
            part = np.ascontiguousarray(image[inside][None])
            said = model.objective.predict(model.raw_output(part, days))
            seen = np.isfinite(part[0, 0] if days is None else part[0, :, 0])
            unseen = ~(seen if days is None else seen.any(axis=0))
            for target, values in ((mean, said.value), (deviation, said.total)):
                found = to_numpy(values)[0].astype(np.float32)
                found[:, unseen] = np.nan
                target[inside] = found
    return mean, deviation


def _starts(length: int) -> list[int]:
    """Return where windows begin; the last one ends at the border."""
    if length <= WHOLE:
        return [0]
    return sorted({min(start, length - WINDOW) for start in range(0, length, WINDOW)})


def others_of(place: Place, *, radar: bool = False) -> list[ClearSeries]:
    """Return the other places of the same level and bands; simulated ones are added by the training.

    Args:
        place: What is left out.
        radar: Only those with radar, as further channels; none where the place has no radar.
    """
    found = []
    for name in PLACES:
        other = _place(name)
        same = other.level == place.level and [c.key for c in other.channels] == [c.key for c in place.channels]
        if name == place.name or not same:
            continue
        image, channels = other.image, other.channels
        if radar:
            waves = (waves_of(place), waves_of(other))
            if not waves[0] or [c.key for c in waves[0]] != [c.key for c in waves[1]]:
                continue
            assert other.radar is not None
            image, channels = np.concatenate([image, other.radar], axis=1), (*channels, *waves[1])
        latitude = latitude_of(other.source.stack)
        days = np.array([day_of(UNDATED if time is None else time) for time in other.source.stack.times])
        found.append(ClearSeries(name, image, other.usable, days, channels, latitude))
    return found


@functools.cache
def _place(name: str) -> Place:
    return PLACES[name]()


def waves_of(place: Place) -> tuple[Channel, ...]:
    """Return the radar channels of a place, in dB; none without radar."""
    return () if place.radar is None else place.source.stack.channels[len(place.channels) :]


def _usable(system: System, others: list[ClearSeries]) -> list[ClearSeries]:
    try:
        return usable_for(system, others)
    except LabelError:
        return []
