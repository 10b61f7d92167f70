"""Learns to fill clouds from scenes: clear pixels are hidden in the shape of clouds, on real and simulated places."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import LabelError
from ecumene.core.progress import Progress, silent
from ecumene.core.window import Window
from ecumene.models.bundle import Model
from ecumene.restoration.cloud_simulation import cover_field
from ecumene.samples.contract import Part
from ecumene.samples.hidden_clouds import ClearSeries, hide_under_clouds
from ecumene.samples.restoration_set import RestorationSet
from ecumene.scenes.contract import Channel, Stack
from ecumene.simulate.datasets.sen12ms import draw_uses
from ecumene.simulate.landscape import draw_where, simulate_landscape
from ecumene.simulate.noise import generator
from ecumene.simulate.optical import observe_sentinel2
from ecumene.systems import System
from ecumene.training.provenance import git_revision, versions
from ecumene.workflows.restoration_fit import fit_restoration
from ecumene.workflows.restoration_train import restoration_system
from ecumene.workflows.restoration_trust import fit_restoration_trust
from ecumene.workflows.training_data import TrainingData

SIDE = 96
DATES = 4
SIMULATED_DATES = 6
_ZONE = 48
_LONGEST = 40.0


def series_of(stack: Stack, name: str, size: int = 1024) -> ClearSeries:
    """Read a stack as a place to learn from; clear pixels are those that its masks leave.

    Args:
        stack: Optical scenes of several dates, opened with their cloud masks.
        name: Of the place.
        size: Rows and columns that are read at most, from the upper left corner.
    """
    height, width = stack.geobox.shape
    block = stack.read(Window(0, 0, min(int(height), size), min(int(width), size)))
    return ClearSeries(name, block.image, block.valid, block.dates.astype(np.float64), stack.channels)


def simulated_places(channels: Sequence[Channel], number: int, *, seed: int = 0, side: int = SIDE) -> list[ClearSeries]:
    """Return simulated landscapes over parts of a year, without clouds, for a model that must learn from few places.

    Args:
        channels: Bands of Sentinel-2, of level L1C or L2A.
        number: Landscapes.
        seed: Of everything.
        side: Least rows and columns.

    Raises:
        LabelError: If the bands are not Sentinel-2's.
    """
    if {channel.sensor for channel in channels} != {"sentinel-2"} or len({c.level for c in channels}) != 1:
        raise LabelError("Places can be simulated for Sentinel-2 bands of one level only; learn without them.")
    level: Any = channels[0].level
    places = []
    for index in range(number):
        rng = generator(seed, index, 97)
        zones = -(-side // _ZONE)
        city = simulate_landscape(int(rng.integers(1 << 31)), draw_uses(rng, zones), _ZONE, draw_where(index, seed))
        first = np.datetime64("2018-03-15") + np.timedelta64(int(rng.integers(0, 150)), "D")
        gaps = np.cumsum(rng.integers(5, 26, SIMULATED_DATES))
        days = [first + np.timedelta64(int(gap), "D") for gap in gaps]
        seen = [observe_sentinel2(city, day, level=level, seed=int(rng.integers(1 << 30))) for day in days]
        order = [seen[0].bands.index(channel.band) for channel in channels]
        image = np.stack([one.image[order] for one in seen]).astype(np.float32)
        when = np.array([day.astype("datetime64[D]").astype(np.int64) for day in days], np.float64)
        clear: NDArray[np.bool_] = np.asarray(np.isfinite(image).all(axis=1))
        places.append(ClearSeries(f"simulated-{index}", image, clear, when, tuple(channels)))
    return places


def cloud_shape(shape: tuple[int, int], share: float, seed: int) -> NDArray[np.bool_]:
    """Return covered pixels in the shape of clouds."""
    if share <= 0.0:
        return np.zeros(shape, bool)
    return cover_field(shape, share, seed, longest=_LONGEST)


def train_on_scenes(
    places: Sequence[ClearSeries],
    system: str | System = "date-blend",
    *,
    seed: int = 0,
    simulated: int = 12,
    samples: int = 256,
    epochs: int | None = None,
    max_minutes: float | None = None,
    resolution_m: float = 10.0,
    folder: str | Path | None = None,
    progress: Progress = silent,
) -> Model:
    """Train a system on clear dates of scenes, with clouds that hide pixels, and calibrate its error bars.

    Leave-one-place-out is a call without that place. Where there are few real places, simulated landscapes of the same
    bands are added; real and simulated ones take turns. A fifth of the samples each, drawn anew from all places, stops
    the training and calibrates the error bars: they are honest for places like these, and a place's own clear pixels
    should recalibrate them (the verb `clear` does).

    Args:
        places: At least one, all with the same bands; see `series_of`.
        system: Name of a system that reads series with the wanted date first.
        seed: Of everything random.
        simulated: Landscapes that are added.
        samples: Windows to learn from.
        epochs: Instead of the system's.
        max_minutes: Time limit of the training.
        resolution_m: Of the pixels.
        folder: For checkpoints; None: a temporary one.
        progress: Called with (epochs done, epochs, what).

    Returns:
        The model with calibrated error bars, not saved.

    Raises:
        LabelError: If there is nothing to learn from.
    """
    if not places:
        raise LabelError("Filling clouds is learned from places; give the scenes of one or more.")
    chosen = restoration_system(system)
    channels = places[0].channels
    everything = [*places, *simulated_places(channels, simulated, seed=seed)] if simulated else list(places)
    sizes = {Part.TRAIN: samples, Part.VALIDATION: max(4, samples // 5), Part.CALIBRATION: max(4, samples // 5)}
    parts: dict[Part, RestorationSet] = {
        part: hide_under_clouds(
            everything, cloud_shape, number=count, dates=DATES, side=SIDE, seed=seed * 8 + int(part)
        )
        for part, count in sizes.items()
    }
    sets = TrainingData(parts)
    provenance = {
        "places": [place.name for place in places],
        "simulated_places": simulated,
        "seed": seed,
        "versions": versions(),
        "git_revision": git_revision(),
    }
    with tempfile.TemporaryDirectory(prefix="ecumene-scenes-") as temporary:
        model = fit_restoration(
            chosen,
            tuple(channel.band for channel in channels),
            sets,
            name=chosen.name,
            resolution_m=resolution_m,
            seed=seed,
            epochs=epochs,
            max_minutes=max_minutes,
            folder=Path(folder or temporary) / "model",
            progress=progress,
            provenance=provenance,
        )
    model, notes = fit_restoration_trust(model, parts[Part.TRAIN], parts[Part.CALIBRATION], seed=seed)
    if simulated:
        notes.insert(0, f"{simulated} of the places that it learned from are simulated.")
    return model.with_training(notes=notes)
