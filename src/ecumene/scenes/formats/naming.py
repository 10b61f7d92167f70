"""Which band is which: by what files and metadata say, or by what the user declares; never guessed by position."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from ecumene.core.errors import ConfigurationError, ContractError
from ecumene.scenes.declaration import Declaration, parse_time
from ecumene.scenes.formats.product import Candidate
from ecumene.scenes.formats.radiometry import level_of_band
from ecumene.scenes.formats.raster import RasterInfo
from ecumene.sensors import ProductLevel, Sensor, match_band
from ecumene.sensors.names import expand_names, is_positional

_TIME_TAGS = ("ACQUISITIONDATETIME", "acquisition", "acquisition_time", "acquisition_datetime", "sensing_time")
# Naming conventions of the agencies: Sentinel-1 and -2 products, Earth Engine's Sentinel-2 index, EnMAP, Landsat
# Collections. The first date is the start of sensing.
_TIME_IN_NAMES = (
    re.compile(r"S1[A-D]_[A-Z0-9]{2}_[A-Z]{3}._[0-9A-Z]{4}_(\d{8}T\d{6})"),
    re.compile(r"S2[A-D]_MSIL(?:1C|2A)_(\d{8}T\d{6})"),
    re.compile(r"^(\d{8}T\d{6})_\d{8}T\d{6}_T\d{2}[A-Z]{3}"),
    re.compile(r"ENMAP01[_-].*?_(\d{8}T\d{6})Z"),
    re.compile(r"L[COTEM]0[4-9]_L[12][A-Z]{2}_\d{6}_(\d{8})_"),
)


def name_bands(
    candidates: Sequence[Candidate], sensor: Sensor, level: ProductLevel, declaration: Declaration
) -> list[tuple[str, Candidate]]:
    """Return the bands of the scene with the sensor's names.

    Declared names select bands where the files name them; otherwise they name the bands in file order.
    Without declared names, bands come in the instrument's order.

    Raises:
        ConfigurationError: If nothing names the bands, or two files claim the same one.
        ContractError: If a declared band is not there, or is none of the sensor's.
    """
    named = [(found, item) for item in candidates if (found := _said_name(sensor, item)) is not None]
    _refuse_twice(named)
    wanted = _declared_names(sensor, level, declaration)
    if not wanted:
        return _all_named(candidates, named, sensor, level)
    present = dict(named)
    if all(name in present for name in wanted):
        return [(name, present[name]) for name in wanted]
    if len(wanted) == len(candidates) and not any(item.name for item in candidates):
        return list(zip(wanted, candidates, strict=True))
    missing = [name for name in wanted if name not in present]
    source = candidates[0].info.name
    if named:
        raise ContractError(
            f"The band {missing[0]} is not in {source}{' and its companions' if len(candidates) > 1 else ''}; "
            f"it has: {', '.join(present)}."
        )
    raise ContractError(
        f"{source} has {len(candidates)} bands without names, but {len(wanted)} names are declared; "
        "declare one name for each band, in file order."
    )


def _said_name(sensor: Sensor, item: Candidate) -> str | None:
    if item.name is not None:
        return item.name
    return match_band(sensor, item.text) or _by_wavelength(sensor, item)


def _by_wavelength(sensor: Sensor, item: Candidate) -> str | None:
    """The band of a hyperspectral sensor whose centre is nearest to the one that the file states."""
    if sensor.kind != "hyperspectral":
        return None
    tags = {key.lower(): value for key, value in item.info.band_tags[item.index - 1].items()}
    try:
        centre = float(tags["wavelength"])
    except (KeyError, ValueError):
        return None
    if not tags.get("wavelength_units", tags.get("wavelength_unit", "nm")).lower().startswith(("um", "micro", "µ")):
        centre /= 1000
    known = [(abs((band.center_wavelength_um or np.inf) - centre), band) for band in sensor.bands]
    distance, band = min(known, key=lambda pair: pair[0])
    return band.name if distance <= (band.full_width_half_max_um or 0.0) / 2 else None


def _refuse_twice(named: Sequence[tuple[str, Candidate]]) -> None:
    first: dict[str, Candidate] = {}
    for name, item in named:
        if name in first:
            other = first[name].info.name
            where = f"{other} and {item.info.name}" if other != item.info.name else f"two bands of {other}"
            raise ConfigurationError(
                f"Both {where} claim to be band {name}; give one acquisition a path, or list its files in scene.yaml."
                if other != item.info.name
                else f"{where[0].upper()}{where[1:]} claim to be band {name}; declare --bands in file order."
            )
        first[name] = item


def _declared_names(sensor: Sensor, level: ProductLevel, declaration: Declaration) -> tuple[str, ...]:
    if not declaration.bands:
        return ()
    usual = level.bands or tuple(band.name for band in sensor.bands)
    try:
        names = expand_names(sensor, usual, declaration.bands)
    except KeyError as error:
        raise ContractError(f"{sensor.id} has no band {error.args[0]!r} at level {level.name}.") from error
    own = {band.name for band in sensor.bands}
    result = [name if name in own else match_band(sensor, name) or name for name in names]
    for name in result:
        if name not in own or level_of_band(sensor, level, name) is None:
            raise ContractError(f"{sensor.id} has no band {name!r} at level {level.name}; it has: {_shorten(usual)}.")
    repeated = [name for name in result if result.count(name) > 1]
    if repeated:
        raise ConfigurationError(f"The band {repeated[0]} is declared twice; declare every band once.")
    return tuple(result)


def _shorten(names: Sequence[str], limit: int = 20) -> str:
    return ", ".join(names) if len(names) <= limit else f"{names[0]} ... {names[-1]}"


def _all_named(
    candidates: Sequence[Candidate],
    named: Sequence[tuple[str, Candidate]],
    sensor: Sensor,
    level: ProductLevel,
) -> list[tuple[str, Candidate]]:
    """Every named band of the level; panchromatic bands only where there is nothing else."""
    usable = [(name, item) for name, item in named if level_of_band(sensor, level, name) is not None]
    if not usable or any(_unnamed(item, sensor) for item in candidates):
        bad = next((item for item in candidates if _unnamed(item, sensor)), candidates[0])
        said = "" if is_positional(bad.text) else f" ({bad.text!r} is none of {sensor.id}'s)"
        raise ConfigurationError(
            f"Band {bad.index} of {bad.info.name} has no name that says which band it is{said}; "
            "declare --bands in file order, or bands: in scene.yaml ('all' for all bands of the level)."
        )
    grey = {band.name for band in sensor.bands if band.common_name == "pan"}
    colour = [(name, item) for name, item in usable if name not in grey]
    order = [band.name for band in sensor.bands]
    return sorted(colour or usable, key=lambda pair: order.index(pair[0]))


def _unnamed(item: Candidate, sensor: Sensor) -> bool:
    return _said_name(sensor, item) is None


def acquisition_time(
    declaration: Declaration, infos: Sequence[RasterInfo], names: Sequence[str]
) -> np.datetime64 | None:
    """Return the time of acquisition: declared, else tagged in a file, else in a name that follows an agency's rule."""
    if declaration.time is not None:
        return parse_time(declaration.time)
    for info in infos:
        tags = {key.lower(): value for key, value in info.tags.items()}
        for tag in _TIME_TAGS:
            if tag.lower() in tags:
                try:
                    return parse_time(tags[tag.lower()])
                except ConfigurationError:
                    continue
    for name in names:
        for pattern in _TIME_IN_NAMES:
            match = pattern.search(name)
            if match:
                return parse_time(match[1])
    return None
