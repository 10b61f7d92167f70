"""Learned methods of `restoration.py`, trained without the place that they are judged on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.models.bundle import Model
from ecumene.restoration.holdout import calibrate
from ecumene.samples.hidden_clouds import ClearSeries
from ecumene.workflows.clear_model_trust import RestorationRun, SeriesWindow, hold_out_model
from ecumene.workflows.restoration_places import latitude_of
from ecumene.workflows.restoration_scenes import train_on_scenes
from restoration_data import PLACES, Place

Array = NDArray[Any]
Method = Callable[[Place, NDArray[np.float32], int, NDArray[np.bool_]], tuple[Array, Array, Array]]


def learned_methods(names: list[str], seed: int = 0, **options: Any) -> dict[str, Method]:
    """Return functions (place, image `[T, K, H, W]`, date, covered) -> (mean, deviation, half width of 90 %).

    Args:
        names: Systems that fill a date from others.
        seed: Of the training.
        **options: Of `train_on_scenes`.
    """
    return {name: _method(name, seed, options) for name in names}


def _method(name: str, seed: int, options: dict[str, Any]) -> Method:
    trained: dict[str, Model] = {}

    def fill(
        place: Place, image: NDArray[np.float32], date: int, covered: NDArray[np.bool_]
    ) -> tuple[Array, Array, Array]:
        if len(place.days) < 2:
            nothing = np.full(place.image.shape[1:], np.nan, np.float32)
            return nothing, nothing, nothing
        if place.name not in trained:
            trained[place.name] = train_on_scenes(others_of(place), name, seed=seed, **options)
        run = RestorationRun(trained[place.name])
        clear = place.usable.copy()
        clear[date] &= ~covered
        window = SeriesWindow(place.image, clear, place.days)
        mean, deviation = run.fill(window, date)
        held = hold_out_model(run, [window], whole=int(clear[date].sum()) < 300, seed=seed)
        if held is None:
            return mean, deviation, 1.6449 * deviation
        calibration = calibrate(held)
        flat = mean.reshape(len(mean), -1)
        known = np.isfinite(flat).all(axis=0)
        bars = np.full_like(flat, np.nan)
        bars[:, known] = calibration.apply(
            flat[:, known], deviation.reshape(len(mean), -1)[:, known], np.full(int(known.sum()), np.nan)
        )
        half = bars * calibration.interval[:, None].astype(np.float32)
        return mean, bars.reshape(mean.shape), half.reshape(mean.shape)

    return fill


def others_of(place: Place) -> list[ClearSeries]:
    """Return the other places of the same level that have several dates; simulated ones are added by the training."""
    found = []
    for name, make in PLACES.items():
        if name == place.name:
            continue
        other = make()
        if other.level == place.level and [c.key for c in other.channels] == [c.key for c in place.channels]:
            latitude = latitude_of(other.source.stack)
            found.append(ClearSeries(name, other.image, other.usable, other.days, other.channels, latitude))
    return found
