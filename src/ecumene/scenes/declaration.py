"""What the user declares about a scene: options of the command line, or `scene.yaml` beside the files.

Explicit options win over `scene.yaml`, which wins over what the files say themselves.
"""

from __future__ import annotations

import datetime as dt
import difflib
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from affine import Affine
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ecumene.core.errors import ConfigurationError
from ecumene.sensors import Sensor, get_sensor, match_band

SCENE_FILE = "scene.yaml"
NO_NODATA = "none"
_UNITS = {
    "": "1",
    "1": "1",
    "reflectance": "1",
    "db": "dB",
    "decibel": "dB",
    "linear": "linear power",
    "linear power": "linear power",
    "power": "linear power",
    "k": "K",
    "kelvin": "K",
    "m": "m",
    "metre": "m",
    "meter": "m",
    "dn": "DN",
}
_COMPACT = re.compile(r"^(\d{4})(\d{2})(\d{2})(?:[T_ ]?(\d{2})(\d{2})(\d{2})(\.\d+)?)?Z?$")


def parse_time(value: Any) -> np.datetime64:
    """Return a time as UTC `datetime64[ns]`; times without zone are taken as UTC.

    Args:
        value: ISO 8601 text (`2020-06-04`, `2020-06-04T05:46:39Z`, `...+02:00`), the compact form
            (`20200604T054639`), a `date`, a `datetime` or a `datetime64`.

    Raises:
        ConfigurationError: If it is no time.
    """
    if isinstance(value, np.datetime64) and not np.isnat(value):
        return np.datetime64(str(value), "ns")
    if isinstance(value, dt.datetime):
        moment = value
    elif isinstance(value, dt.date):
        moment = dt.datetime(value.year, value.month, value.day)
    else:
        moment = _parse_text(str(value).strip())
    if moment.tzinfo is not None:
        moment = moment.astimezone(dt.UTC).replace(tzinfo=None)
    return np.datetime64(moment, "ns")


def _parse_text(text: str) -> dt.datetime:
    compact = _COMPACT.match(text)
    if compact:
        date = "-".join(compact.group(1, 2, 3))
        clock = ":".join(part or "00" for part in compact.group(4, 5, 6)) + (compact[7] or "")
        text = f"{date}T{clock}"
    # datetime holds microseconds; agencies write up to nine digits.
    text = re.sub(r"(\.\d{6})\d+", r"\1", text)
    try:
        return dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(f"{text!r} is no time; write it as 2020-06-04 or 2020-06-04T05:46:39Z.") from error


def parse_unit(text: str) -> str:
    """Return the unit as sensors spell it (`linear` and `LINEAR POWER` are `linear power`); others unchanged."""
    return _UNITS.get(text.strip().lower(), text.strip())


class MaskDeclaration(BaseModel):
    """A declared raster of clouds, shadows and defects."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str | None = None
    kind: Literal["scl", "landsat_qa", "binary", "rule"]
    band: int = Field(1, ge=1)
    bad_values: tuple[int, ...] = ()


class FileDeclaration(BaseModel):
    """One band: a file, and which of its bands."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    band: int = Field(1, ge=1)


class Declaration(BaseModel):
    """The keys of `scene.yaml`; every one may be absent.

    Attributes:
        sensor: Sensor id or alias.
        level: Product level of that sensor.
        scale: physical = stored * scale + offset; one number, or one per band name.
        offset: See `scale`; in physical units.
        nodata: Stored value without data; `nan` is possible, `none` says that there is none.
        unit: Unit of the physical values; must be one that the sensor's level has.
        bands: Names of the bands in file order, or the bands to open where the files name them.
        select: The bands to open of those that `bands` names.
        time: Acquisition time, UTC.
        mask: Raster of clouds and defects, `rule` for the stated rule, or `none`.
        licence: Licence of the data, carried over to products.
        files: The files of the scene: a list, or band name to file (and band number).
        metadata: Product metadata file (Landsat MTL) of the files.
        crs: Coordinate reference system, where the files have none or a wrong one.
        transform: Affine coefficients a, b, c, d, e, f, where the files have none.
        id: Name of the scene.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    sensor: str | None = None
    level: str | None = None
    scale: float | dict[str, float] | None = None
    offset: float | dict[str, float] | None = None
    nodata: float | Literal["none"] | None = None
    unit: str | None = None
    bands: tuple[str, ...] | None = None
    select: tuple[str, ...] | None = None
    time: Any = None
    mask: MaskDeclaration | Literal["none"] | None = None
    licence: str | None = None
    files: tuple[str, ...] | dict[str, FileDeclaration] | None = None
    metadata: str | None = None
    crs: str | None = None
    transform: tuple[float, float, float, float, float, float] | None = None
    id: str | None = None

    @field_validator("scale", "offset")
    @classmethod
    def _finite(cls, value: float | dict[str, float] | None) -> float | dict[str, float] | None:
        numbers = value.values() if isinstance(value, dict) else [value]
        if any(number is not None and not math.isfinite(number) for number in numbers):
            raise ValueError("must be a finite number")
        return value

    @field_validator("scale")
    @classmethod
    def _not_zero(cls, value: float | dict[str, float] | None) -> float | dict[str, float] | None:
        if 0 in (value.values() if isinstance(value, dict) else [value]):
            raise ValueError("must not be 0")
        return value

    @field_validator("crs", mode="before")
    @classmethod
    def _epsg(cls, value: Any) -> Any:
        return f"EPSG:{value}" if isinstance(value, int) else value

    @field_validator("nodata", mode="before")
    @classmethod
    def _nodata(cls, value: Any) -> Any:
        return value.strip().lower() if isinstance(value, str) else value

    @field_validator("bands", "select", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("mask", mode="before")
    @classmethod
    def _mask(cls, value: Any) -> Any:
        if not isinstance(value, str) or value == "none":
            return value
        return {"kind": "rule"} if value == "rule" else {"file": value, "kind": _mask_kind(value)}

    @field_validator("files", mode="before")
    @classmethod
    def _files(cls, value: Any) -> Any:
        if isinstance(value, str):
            return (value,)
        if isinstance(value, Mapping):
            return {str(k): {"file": v} if isinstance(v, str) else v for k, v in value.items()}
        return value

    @property
    def affine(self) -> Affine | None:
        """The declared transform."""
        return Affine(*self.transform) if self.transform else None

    def over(self, weaker: Declaration) -> Declaration:
        """Return this declaration, completed by a weaker one.

        Bands that both name are what this one selects of those that the weaker one names.
        """
        merged = {
            name: getattr(self, name) if getattr(self, name) is not None else getattr(weaker, name)
            for name in type(self).model_fields
        }
        if self.bands and weaker.bands:
            sensor = get_sensor(merged["sensor"]) if merged["sensor"] else None
            named = {_band_name(sensor, text) for text in weaker.bands}
            if {_band_name(sensor, text) for text in self.bands} <= named:
                merged |= {"bands": weaker.bands, "select": self.bands}
        return Declaration.model_construct(**merged)


def _band_name(sensor: Sensor | None, text: str) -> str:
    return (match_band(sensor, text) if sensor else None) or text


def _mask_kind(name: str) -> str:
    """Kind of a mask file that is given by its name alone, from the agencies' own file names."""
    tokens = set(re.split(r"[^a-z0-9]+", name.lower()))
    if "scl" in tokens:
        return "scl"
    if {"qa", "pixel"} <= tokens or "bqa" in tokens:
        return "landsat_qa"
    raise ValueError("does not say its kind; write mask: {file: ..., kind: scl | landsat_qa | binary}")


def make_declaration(values: Mapping[str, Any], named_by: str = "the options") -> Declaration:
    """Validate declared values.

    Args:
        values: Keys of `Declaration`; None means not declared.
        named_by: Where they come from, for the sentence.

    Returns:
        The declaration; its `time` is parsed.

    Raises:
        ConfigurationError: If a key is unknown or a value is wrong.
    """
    unknown = [str(key) for key in values if str(key) not in Declaration.model_fields]
    if unknown:
        near = difflib.get_close_matches(unknown[0], Declaration.model_fields, n=1)
        hint = f"did you mean {near[0]!r}" if near else f"known are {', '.join(Declaration.model_fields)}"
        raise ConfigurationError(f"{named_by}: there is no key {unknown[0]!r}; {hint}.")
    given = {str(key): value for key, value in values.items() if value is not None}
    if "time" in given:
        given["time"] = parse_time(given["time"])
    try:
        return Declaration.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        reason = str(first["msg"]).removeprefix("Value error, ")
        raise ConfigurationError(f"{named_by}: {first['loc'][0]} is wrong ({reason}); correct it.") from error


def read_declaration(path: Path) -> Declaration:
    """Read a `scene.yaml`.

    Raises:
        ConfigurationError: If it is not a YAML mapping of known keys.
    """
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not valid YAML; correct its syntax.") from error
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read ({error.strerror or error}); check the file.") from error
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{path} must be a mapping with keys such as sensor, level and bands; correct it.")
    return make_declaration(value, str(path))


def declaration_beside(path: Path) -> Declaration:
    """Return what `<name>.scene.yaml` and `scene.yaml` beside a file, or in a folder, declare.

    A `scene.yaml` that lists `files` speaks only of those; the more specific file wins.
    """
    folder = path if path.is_dir() else path.parent
    result = Declaration()
    if not path.is_dir():
        own = folder / f"{path.stem}.{SCENE_FILE}"
        if own.is_file():
            result = read_declaration(own)
    shared = folder / SCENE_FILE
    if shared.is_file() and shared != path:
        common = read_declaration(shared)
        if path.is_dir() or common.files is None or path.resolve() in listed_files(common, folder):
            result = result.over(common)
    return result


def listed_files(declaration: Declaration, folder: Path) -> set[Path]:
    """Return the resolved local paths that a declaration lists."""
    files: Sequence[str] | list[str]
    if isinstance(declaration.files, dict):
        files = [item.file for item in declaration.files.values()]
    else:
        files = declaration.files or ()
    return {(folder / name).resolve() for name in files}
