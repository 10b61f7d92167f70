"""Sorting scenes into the frames of a series, and refusing those that do not belong together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ecumene.core.errors import ConfigurationError, ContractError, SceneError
from ecumene.scenes.contract import Channel, SceneSource
from ecumene.scenes.grid import ground_sampling_m


@dataclass(frozen=True)
class Frame:
    """One date of a series: for every sensor of the stack the scenes that are mosaicked, first one first."""

    time: np.datetime64 | None
    mosaics: tuple[tuple[SceneSource, ...], ...]


def by_sensor(sources: Sequence[SceneSource]) -> dict[str, list[SceneSource]]:
    """Group scenes by sensor, sensors in the order of their first scene.

    Raises:
        SceneError: If there is no scene.
        ContractError: If scenes of one sensor differ in level, quantity or unit.
    """
    if not sources:
        raise SceneError("There is no scene to align; give at least one.")
    groups: dict[str, list[SceneSource]] = {}
    for source in sources:
        groups.setdefault(source.sensor, []).append(source)
    for sensor, members in groups.items():
        first = members[0]
        for other in members[1:]:
            for what, one, two in (
                ("level", first.level, other.level),
                ("quantity", first.quantity, other.quantity),
                ("unit", first.unit, other.unit),
            ):
                if one != two:
                    raise ContractError(
                        f"Scenes {first.id} and {other.id} of {sensor} have different {what}s ({one} and {two}); "
                        "use scenes of one product level in a stack."
                    )
    return groups


def choose_channels(groups: dict[str, list[SceneSource]], bands: Sequence[str] | None) -> tuple[Channel, ...]:
    """Return the channels of a stack.

    Args:
        groups: Scenes by sensor.
        bands: Band names, or `sensor/band`, in the order wanted; None takes all bands, sensor by
            sensor, in the order of each sensor's first scene.

    Raises:
        ContractError: If scenes of one sensor have different bands and `bands` does not choose common
            ones, if a band has different units, or if no sensor has a band of `bands`.
    """
    offered = {sensor: members[0].band_names for sensor, members in groups.items()}
    if bands is None:
        wanted = [(sensor, name) for sensor, names in offered.items() for name in names]
    else:
        wanted = []
        everything = {sensor: {name for m in members for name in m.band_names} for sensor, members in groups.items()}
        for entry in bands:
            sensor_part, _, name = entry.rpartition("/")
            found = [(s, name) for s, names in everything.items() if name in names and sensor_part in ("", s)]
            if not found:
                have = "; ".join(f"{sensor}: {', '.join(names)}" for sensor, names in offered.items())
                raise ContractError(f"No scene has the band {entry}; there are {have}.")
            wanted += [pair for pair in found if pair not in wanted]
    for sensor, members in groups.items():
        names = [name for chosen, name in wanted if chosen == sensor]
        if bands is None:  # what only later scenes have would be lost silently
            names += [name for member in members[1:] for name in member.band_names if name not in names]
        for member in members:
            missing = [name for name in names if name not in member.band_names]
            if missing:
                raise ContractError(
                    f"Scene {member.id} lacks the band {', '.join(missing)} that other {sensor} scenes have; "
                    "choose common bands with --bands."
                )
    return tuple(_channel(groups[sensor], name) for sensor, name in wanted)


def _channel(members: Sequence[SceneSource], name: str) -> Channel:
    """Describe one channel; wavelength and nominal sampling come from the sensor's description."""
    from ecumene.sensors import get_sensor

    first = members[0]
    stored = {band.name: band for band in first.bands}[name]
    units = {band.unit for member in members for band in member.bands if band.name == name}
    if len(units) > 1:
        raise ContractError(
            f"Band {name} of {first.sensor} has different units in the scenes ({', '.join(sorted(units))}); "
            "declare one unit."
        )
    wavelength, sampling = None, None
    try:
        described = get_sensor(first.sensor).band(name)
        wavelength, sampling = described.center_wavelength_um, described.ground_sampling_m
    except (ConfigurationError, KeyError):
        pass  # a sensor that the user describes by hand
    return Channel(
        sensor=first.sensor,
        level=first.level,
        band=name,
        unit=stored.unit,
        center_wavelength_um=wavelength,
        ground_sampling_m=sampling if sampling is not None else round(ground_sampling_m(stored.geobox), 3),
    )


def _acquisitions(sensor: str, members: Sequence[SceneSource]) -> list[tuple[SceneSource, ...]]:
    """Group one sensor's scenes by UTC day, ascending; within a day the given order is kept.

    Raises:
        SceneError: If there are several and one has no date (elevation needs none: it is one mosaic).
    """
    undated = [source for source in members if source.time is None]
    if undated and len(members) > 1:
        if len(undated) == len(members) and members[0].quantity == "elevation":
            return [tuple(members)]
        raise SceneError(
            f"Scene {undated[0].id} has no date, but {len(members)} {sensor} scenes form a series; give every scene "
            "its date with --time or in scene.yaml."
        )
    if undated:
        return [tuple(members)]
    days: dict[np.datetime64, list[SceneSource]] = {}
    for source in members:
        assert source.time is not None
        days.setdefault(source.time.astype("datetime64[D]"), []).append(source)
    return [tuple(days[day]) for day in sorted(days)]


def _time_of(mosaic: Sequence[SceneSource]) -> np.datetime64 | None:
    """Return the earliest time of a mosaic."""
    times = [source.time for source in mosaic if source.time is not None]
    return min(times) if times else None


def _nearest(mosaics: Sequence[tuple[SceneSource, ...]], time: np.datetime64 | None) -> tuple[SceneSource, ...]:
    """Return the mosaic nearest in time; of two equally near the earlier."""
    if time is None or len(mosaics) == 1:
        return mosaics[0]

    def distance(mosaic: Sequence[SceneSource]) -> float:
        other = _time_of(mosaic)
        if other is None:
            return 0.0
        return abs(float((other.astype("datetime64[s]") - time.astype("datetime64[s]")).astype(np.int64)))

    return min(mosaics, key=distance)


def make_frames(groups: dict[str, list[SceneSource]]) -> tuple[Frame, ...]:
    """Return the frames of a stack, ascending in time.

    One frame for every day of the first sensor; every other sensor contributes to each frame its
    acquisition nearest in time, so that a sensor with fewer dates is used several times.

    Raises:
        SceneError: If scenes of a series have no date.
    """
    series = {sensor: _acquisitions(sensor, members) for sensor, members in groups.items()}
    reference, *others = series
    frames = []
    for mosaic in series[reference]:
        time = _time_of(mosaic)
        frames.append(Frame(time, (mosaic, *(_nearest(series[sensor], time) for sensor in others))))
    return tuple(frames)
