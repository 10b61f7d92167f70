"""Loads the YAML files of `sensors/data` into validated `Sensor` objects, once a process."""

from __future__ import annotations

import difflib
from functools import cache
from importlib import resources
from typing import Any

import yaml
from pydantic import ValidationError

from ecumene.core.errors import ConfigurationError
from ecumene.sensors.model import Sensor


def parse_sensor(text: str, name: str = "sensor description") -> Sensor:
    """Validate one YAML description.

    Args:
        text: YAML with the fields of `Sensor`.
        name: What the description is called in errors.

    Returns:
        The sensor.

    Raises:
        ConfigurationError: If it is no YAML mapping, or a field is missing, unknown or out of range, or
            names repeat, or a level names a band that the sensor does not have.
    """
    try:
        value: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{name} is not valid YAML; correct its syntax.") from error
    try:
        sensor = Sensor.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ConfigurationError(f"{name}: {where} is wrong ({first['msg']}); correct it.") from error
    _check(sensor, name)
    return sensor


def _check(sensor: Sensor, name: str) -> None:
    """Hold what the types cannot say: unique names, levels of known bands, wavelengths where they belong."""
    bands = [band.name for band in sensor.bands]
    levels = [level.name for level in sensor.levels]
    if not bands or not levels:
        raise ConfigurationError(f"{name}: a sensor needs at least one band and one level; add them.")
    for what, names in (("band", bands), ("level", levels)):
        repeated = sorted({item for item in names if names.count(item) > 1})
        if repeated:
            raise ConfigurationError(f"{name}: the {what} {repeated[0]!r} appears twice; rename one.")
    for level in sensor.levels:
        unknown = [band for band in level.bands or () if band not in bands]
        if unknown:
            raise ConfigurationError(f"{name}: level {level.name} names the unknown band {unknown[0]!r}; correct it.")
    if sensor.kind == "sar" and sensor.wavelength_m is None:
        raise ConfigurationError(f"{name}: a radar needs wavelength_m; add it.")


@cache
def _library() -> dict[str, Sensor]:
    """All sensors by id, in alphabetical order."""
    sensors: dict[str, Sensor] = {}
    folder = resources.files("ecumene.sensors") / "data"
    for entry in sorted(folder.iterdir(), key=lambda item: item.name):
        if entry.name.endswith(".yaml"):
            sensor = parse_sensor(entry.read_text(encoding="utf-8"), entry.name)
            sensors[sensor.id] = sensor
    return sensors


@cache
def _names() -> dict[str, str]:
    """Every id and alias in lower case, to its id."""
    names = {sensor.id: sensor.id for sensor in _library().values()}
    for sensor in _library().values():
        for alias in sensor.aliases:
            names.setdefault(alias.lower(), sensor.id)
    return names


def list_sensors() -> tuple[Sensor, ...]:
    """Return all sensors that ecumene knows, ordered by id."""
    return tuple(_library().values())


def get_sensor(name: str) -> Sensor:
    """Return a sensor by its id or one of its aliases, in any case, with `_` or blank for `-`.

    Raises:
        ConfigurationError: If there is none; the sentence lists similar names.
    """
    names = _names()
    asked = name.strip().lower()
    for candidate in (asked, asked.replace("_", "-").replace(" ", "-")):
        if candidate in names:
            return _library()[names[candidate]]
    near = difflib.get_close_matches(asked, names, n=6, cutoff=0.5)
    similar = list(dict.fromkeys(names[item] for item in near))
    known = similar or list(_library())
    intro = "did you mean" if similar else "known are"
    raise ConfigurationError(f"There is no sensor {name!r}; {intro}: {', '.join(known)} (see `ecumene sensors`).")
