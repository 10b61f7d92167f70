"""Places to learn filling clouds from: windows of a user's scenes, and simulated landscapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ContractError, LabelError, SceneError
from ecumene.core.window import Window
from ecumene.samples.hidden_clouds import ClearSeries
from ecumene.scenes.contract import Channel, SceneSource, Stack
from ecumene.scenes.grid import ground_sampling_m
from ecumene.scenes.masks import with_rule_mask
from ecumene.scenes.stack import SceneStack, align_scenes
from ecumene.simulate.datasets.sen12ms import draw_uses
from ecumene.simulate.landscape import draw_where, simulate_landscape
from ecumene.simulate.noise import generator
from ecumene.simulate.optical import observe_sentinel2
from ecumene.simulate.radar import observe_sentinel1
from ecumene.workflows.clear_radar import assign_radar, check_radar, day_of, without_fill
from ecumene.workflows.train import select_bands

SIDE = 96
SIMULATED_DATES = 6
EDGE, MOST_WINDOWS = 512, 8
"""Largest edge (unless samples are larger) and number of the windows of one place."""
_PLACE_BYTES = 1 << 30
_SAMPLING_TOLERANCE = 0.05
_ZONE = 48


@dataclass(frozen=True)
class OwnPlaces:
    """What a user's scenes show.

    Attributes:
        windows: Of all places; several of one place have its name with a number.
        bands: Names of the optical bands, the first channels.
        resolution_m: Of the pixels.
        notes: What a user should know.
    """

    windows: tuple[ClearSeries, ...]
    bands: tuple[str, ...]
    resolution_m: float
    notes: tuple[str, ...] = ()


def open_places(
    sources: Sequence[SceneSource],
    *,
    radar: bool,
    mask_clouds: bool = True,
    use_bands: Sequence[str] | None = None,
    side: int = SIDE,
) -> OwnPlaces:
    """Read windows of scenes; scenes that overlap are dates (and radar) of one place.

    Args:
        sources: Optical scenes of one sensor, and radar in dB.
        radar: Whether the radar is read; False leaves it out.
        mask_clouds: Tell clear pixels by the scenes' masks, and by the stated rule where a scene has none; False: all
            measured pixels are clear.
        use_bands: Channels; None: all. The optical ones come first whatever their order here.
        side: Least rows and columns of a window, where the place is as large.

    Raises:
        LabelError: If there is no optical scene, or none of its bands is chosen.
        SceneError: If an optical scene has no date.
        ContractError: If scenes do not belong together, or radar is not in dB.
    """
    if radar:
        _check_decibels(sources)
    windows: list[ClearSeries] = []
    notes: list[str] = []
    bands: tuple[str, ...] = ()
    resolutions: list[float] = []
    for number, members in enumerate(_together(sources), start=1):
        name = f"place-{number}"
        stack, said = _stack_of(members, radar, mask_clouds, use_bands)
        optical = [channel for channel in stack.channels if channel.unit == "1"]
        if bands and bands != tuple(channel.band for channel in optical):
            raise ContractError("The places have different bands; choose those that all have with --use-bands.")
        bands = tuple(channel.band for channel in optical)
        resolutions.append(ground_sampling_m(stack.geobox))
        notes += [f"{name}: {note}" for note in said]
        windows += _windows(stack, name, len(optical), side)
    if not windows:
        raise LabelError("Filling clouds is learned from optical scenes in reflectance; give such.")
    if max(resolutions) / min(resolutions) > 1.0 + _SAMPLING_TOLERANCE:
        raise ContractError(
            f"The places have pixels of {min(resolutions):.4g} to {max(resolutions):.4g} m; use one size."
        )
    return OwnPlaces(tuple(windows), bands, resolutions[0], tuple(notes))


def _check_decibels(sources: Sequence[SceneSource]) -> None:
    wave = next((s for s in sources if s.quantity == "backscatter" and s.unit != "dB"), None)
    if wave is not None:
        raise ContractError(
            f"Radar scene {wave.id} is in {wave.unit}, and filling clouds is learned from dB; convert it, or leave it "
            "out."
        )


def _together(sources: Sequence[SceneSource]) -> list[list[SceneSource]]:
    """Return the optical scenes that overlap, directly or by others, each group with the radar that overlaps it."""
    boxes = [source.geobox.extent.to_crs("EPSG:4326").boundingbox for source in sources]

    def meet(one: int, two: int) -> bool:
        a, b = boxes[one], boxes[two]
        return bool(a.left < b.right and b.left < a.right and a.bottom < b.top and b.bottom < a.top)

    optical = [place for place, source in enumerate(sources) if source.quantity == "reflectance"]
    groups: list[list[int]] = []
    for place in optical:
        near = [group for group in groups if any(meet(place, member) for member in group)]
        groups = [group for group in groups if group not in near]
        groups.append(sorted([place, *(member for group in near for member in group)]))
    others = [place for place in range(len(sources)) if place not in optical]
    return [
        [sources[place] for place in (*group, *(o for o in others if any(meet(o, member) for member in group)))]
        for group in sorted(groups)
    ]


def _stack_of(
    members: Sequence[SceneSource], radar: bool, mask_clouds: bool, use_bands: Sequence[str] | None
) -> tuple[SceneStack, tuple[str, ...]]:
    """Return the dates of a place, optical channels first, with radar at most 12 days from them, and notes on it."""
    optical = [
        with_rule_mask(source) if mask_clouds else source for source in members if source.quantity == "reflectance"
    ]
    waves = [source for source in members if source.quantity != "reflectance"] if radar else []
    undated = next((source for source in optical if source.time is None), None)
    if undated is not None:
        raise SceneError(f"Scene {undated.id} has no date, which clouds and shadows need; declare it with --time.")
    if len({source.sensor for source in optical}) > 1:
        raise ContractError("The optical scenes of a place are of several sensors; learn from one sensor at a time.")
    check_radar(waves, optical)
    stack = align_scenes([*optical, *waves], mask_clouds=mask_clouds)
    notes: tuple[str, ...] = ()
    if waves:
        days = np.array([day_of(time) for time in stack.times])
        stack, _, notes = assign_radar(stack, waves, days)
    chosen = select_bands(stack, use_bands).channels
    if not any(channel.unit == "1" for channel in chosen):
        raise LabelError("None of the bands of --use-bands is in reflectance, so none can be filled; name one or more.")
    ordered = sorted(chosen, key=lambda channel: channel.unit != "1")  # stable: the given order within each
    return stack.select([channel.key for channel in ordered]), notes


def _windows(stack: SceneStack, name: str, optical: int, side: int) -> list[ClearSeries]:
    """Return windows spread evenly over a place, at least two where it is large enough."""
    dates, channels, height, width = stack.shape
    edge = int(np.clip(max(height, width) // 2, side, max(side, EDGE)))
    most = max(1, min(MOST_WINDOWS, _PLACE_BYTES // (4 * dates * channels * edge * edge)))
    rows, cols = (range(0, max(1, length - edge // 2), edge) for length in (height, width))
    cells = [Window(row, col, min(edge, height - row), min(edge, width - col)) for row in rows for col in cols]
    chosen = np.unique(np.linspace(0, len(cells) - 1, min(most, len(cells))).round().astype(int))
    return [_read(stack, cells[index], f"{name}-{index}", optical) for index in chosen]


def series_of(stack: SceneStack, name: str, size: int = 1024) -> ClearSeries:
    """Read a place as one window; clear pixels are those that its masks leave.

    Args:
        stack: Optical scenes of several dates, opened with their cloud masks.
        name: Of the place.
        size: Rows and columns that are read at most, from the upper left corner.
    """
    height, width = stack.geobox.shape
    window = Window(0, 0, min(int(height), size), min(int(width), size))
    return _read(stack, window, name, len(stack.channels))


def _read(stack: SceneStack, window: Window, name: str, optical: int) -> ClearSeries:
    """Read a window as measured, without the fill of the radar, and which of its pixels are clear."""
    measured, _ = replace(stack, mask_clouds=False).read_intact(window)
    masked, _ = stack.read_intact(window) if stack.mask_clouds else (measured, ())
    clear: NDArray[np.bool_] = np.asarray(np.isfinite(masked.image[:, :optical]).all(axis=1))
    days = measured.dates.astype(np.float64)
    image = np.concatenate([measured.image[:, :optical], without_fill(measured.image[:, optical:])], axis=1)
    return ClearSeries(name, image, clear, days, stack.channels, latitude_of(stack))


def latitude_of(stack: Stack) -> float:
    """Return the latitude of a grid's centre, degrees."""
    return float(stack.geobox.extent.to_crs("EPSG:4326").centroid.coords[0][1])


def simulated_places(channels: Sequence[Channel], number: int, *, seed: int = 0, side: int = SIDE) -> list[ClearSeries]:
    """Return simulated landscapes over parts of a year, without clouds, for a model that must learn from few places.

    Args:
        channels: Bands of Sentinel-2, of level L1C or L2A; after them polarisations of Sentinel-1 in dB, if any.
        number: Landscapes.
        seed: Of everything.
        side: Least rows and columns.

    Raises:
        LabelError: If the channels are others.
    """
    optical = [channel for channel in channels if channel.sensor == "sentinel-2"]
    waves = list(channels[len(optical) :])
    fit = list(channels[: len(optical)]) == optical and len({channel.level for channel in optical}) == 1
    if not fit or any(wave.sensor != "sentinel-1" or wave.unit != "dB" for wave in waves):
        raise LabelError(
            "Places can be simulated for Sentinel-2 bands of one level, with Sentinel-1 in dB after them; learn "
            "without them."
        )
    level: Any = optical[0].level
    places = []
    for index in range(number):
        rng = generator(seed, index, 97)
        zones = -(-side // _ZONE)
        city = simulate_landscape(int(rng.integers(1 << 31)), draw_uses(rng, zones), _ZONE, draw_where(index, seed))
        first = np.datetime64("2018-03-15") + np.timedelta64(int(rng.integers(0, 150)), "D")
        gaps = np.cumsum(rng.integers(5, 26, SIMULATED_DATES))
        days = [first + np.timedelta64(int(gap), "D") for gap in gaps]
        seen = [observe_sentinel2(city, day, level=level, seed=int(rng.integers(1 << 30))) for day in days]
        order = [seen[0].bands.index(channel.band) for channel in optical]
        image = np.stack([one.image[order] for one in seen]).astype(np.float32)
        when = np.array([day.astype("datetime64[D]").astype(np.int64) for day in days], np.float64)
        clear: NDArray[np.bool_] = np.asarray(np.isfinite(image).all(axis=1))
        if waves:
            radar = [observe_sentinel1(city, day, seed=int(rng.integers(1 << 30))) for day in days]
            shown = [radar[0].bands.index(wave.band) for wave in waves]
            image = np.concatenate([image, np.stack([one.image[shown] for one in radar])], axis=1).astype(np.float32)
        places.append(ClearSeries(f"simulated-{index}", image, clear, when, tuple(channels), city.latitude))
    return places
