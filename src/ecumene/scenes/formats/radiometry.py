"""Which numbers turn stored values into physical ones, and in which unit; nothing is read off the pixels."""

from __future__ import annotations

import numpy as np

from ecumene.core.errors import ConfigurationError, SceneError
from ecumene.scenes.declaration import NO_NODATA, Declaration, parse_unit
from ecumene.scenes.formats.product import Calibration, Candidate, Product
from ecumene.sensors import ProductLevel, Sensor, get_sensor, list_sensors, match_band


def resolve_level(declaration: Declaration, product: Product | None, what: str) -> tuple[Sensor, ProductLevel]:
    """Return sensor and product level of a scene.

    Args:
        declaration: What is declared.
        product: What product metadata say, if there are any.
        what: The scene, for the sentence.

    Raises:
        ConfigurationError: If sensor or level are said nowhere, contradict each other, or the declared
            unit is none of the level's.
    """
    if declaration.sensor is None and product is None:
        known = ", ".join(sensor.id for sensor in list_sensors())
        raise ConfigurationError(
            f"Nothing in {what} says which sensor measured it; "
            f"declare --sensor or sensor: in scene.yaml (one of {known})."
        )
    sensor = get_sensor(declaration.sensor or (product.sensor if product else ""))
    if product is not None and sensor.id != product.sensor:
        raise ConfigurationError(
            f"{what} is declared as {sensor.id}, but its metadata say {product.sensor}; drop --sensor."
        )
    return sensor, _level(sensor, declaration, product, what)


def _level(sensor: Sensor, declaration: Declaration, product: Product | None, what: str) -> ProductLevel:
    names = [level.name for level in sensor.levels if "/" not in level.name]
    asked = declaration.level or (product.level if product else None) or (names[0] if len(names) == 1 else None)
    if asked is None:
        raise ConfigurationError(
            f"Nothing in {what} says its product level; "
            f"declare --level or level: in scene.yaml (one of {', '.join(names)})."
        )
    found = next((name for name in names if name.lower() == asked.strip().lower()), None)
    if found is None:
        raise ConfigurationError(f"{sensor.id} has no level {asked!r}; it has: {', '.join(names)}.")
    level = sensor.level(found)
    if declaration.unit is None:
        return level
    unit = parse_unit(declaration.unit)
    for candidate in sensor.levels:
        if candidate.unit == unit and candidate.name.split("-")[0] == level.name.split("-")[0]:
            return candidate
    raise ConfigurationError(
        f"Level {level.name} of {sensor.id} is in the unit {level.unit!r}, not {unit!r}; "
        "declare another --level, or drop --unit."
    )


def level_of_band(sensor: Sensor, level: ProductLevel, band: str) -> ProductLevel | None:
    """Return the level that describes a band: the scene's, or its companion (`L1/thermal`); None if there is none."""
    if level.bands is None or band in level.bands:
        return level
    for companion in sensor.levels:
        if companion.name.startswith(level.name + "/") and band in (companion.bands or ()):
            return companion
    return None


def _declared(value: float | dict[str, float] | None, sensor: Sensor, band: str) -> float | None:
    if isinstance(value, dict):
        for name, number in value.items():
            if name == band or match_band(sensor, name) == band:
                return float(number)
        return None
    return None if value is None else float(value)


def calibrate(
    candidate: Candidate,
    band: str,
    sensor: Sensor,
    level: ProductLevel,
    declaration: Declaration,
    product: Product | None,
) -> Calibration:
    """Return the numbers of one band: declared, else from product metadata, else the file's tags, else the level's.

    Raises:
        ConfigurationError: If a number is needed and said nowhere.
        SceneError: If the band holds complex numbers.
    """
    info, place = candidate.info, candidate.index - 1
    if info.dtypes[place].startswith("complex"):
        raise SceneError(f"{info.name} holds complex numbers; compute backscatter from it first.")
    scale = _declared(declaration.scale, sensor, band)
    offset = _declared(declaration.offset, sensor, band)
    known = product.calibration.get(band) if product else None
    if scale is None and offset is None:
        if known is not None:
            return known
        if info.scales[place] != 1.0 or info.offsets[place] != 0.0:
            return Calibration(float(info.scales[place]), float(info.offsets[place]))
        _refuse_float(candidate, level)
    if scale is None:
        scale = known.scale if known else level.scale
    if offset is None:
        offset = known.offset if known else _default_offset(level, info.name)
    if scale is None:
        raise ConfigurationError(
            f"{info.name} does not say the scale of level {level.name} ({band}, unit {level.unit!r}); "
            f"declare --scale or scale: in scene.yaml{_metadata_hint(level)}."
        )
    return Calibration(scale, offset)


def _metadata_hint(level: ProductLevel) -> str:
    return ", or join the product's metadata file with '+'" if level.offset_rule == "metadata" else ""


def _default_offset(level: ProductLevel, name: str) -> float:
    if level.offset_rule == "sentinel2_baseline":
        raise ConfigurationError(
            f"{name} does not say the offset of level {level.name}; declare --offset 0 (processing baseline before "
            "04.00, or harmonised) or --offset -0.1 (baseline 04.00 and later)."
        )
    if level.offset_rule == "metadata" and level.offset is None:
        raise ConfigurationError(
            f"{name} does not say the scale and offset of level {level.name}; declare --scale and --offset"
            f"{_metadata_hint(level)}."
        )
    return level.offset or 0.0


def _refuse_float(candidate: Candidate, level: ProductLevel) -> None:
    """A level's scale is for the integers that the agency ships; floating point was converted by someone."""
    kind = candidate.info.dtypes[candidate.index - 1]
    if kind.startswith("float") and level.scale not in (None, 1.0):
        raise ConfigurationError(
            f"{candidate.info.name} stores {kind} where level {level.name} has integers, so its unit is not known; "
            "declare --scale and --offset (1 and 0 if the values are physical already)."
        )


def nodata_of(candidate: Candidate, level: ProductLevel, declaration: Declaration) -> float | None:
    """Return the stored value without data: declared, else the file's, else the level's (integer files only)."""
    if declaration.nodata == NO_NODATA:
        return None
    if declaration.nodata is not None:
        return float(declaration.nodata)
    own = candidate.info.nodata[candidate.index - 1]
    if own is not None:
        return float(own)
    kind = np.dtype(candidate.info.dtypes[candidate.index - 1])
    return level.nodata if np.issubdtype(kind, np.integer) else None
