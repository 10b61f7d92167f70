"""The file of a study: area, period, inputs, model or labels, products, indicators; validated before anything runs."""

from __future__ import annotations

import difflib
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from ecumene.catalogue.period import parse_period
from ecumene.core.errors import ConfigurationError

LARGEST_FILE = 1 << 20
"""Bytes; a study is a page of text."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Listed = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class Declared(_Part):
    """What the files do not say about the scenes; see `workflows.stacks.Declaration`."""

    sensor: str | None = None
    level: str | None = None
    scale: float | None = None
    offset: float | None = None
    nodata: float | None = None
    unit: str | None = None
    bands: Listed | None = None
    time: Listed | None = None
    crs: str | None = None


class Inputs(_Part):
    """Where the scenes are: a list of paths on one grid, or a STAC catalogue to search."""

    scenes: Listed = ()
    catalogue: str | None = Field(default=None, description="STAC catalogue or API; needs `grid`.")
    collection: str | None = Field(default=None, description="Of the catalogue.")
    allowed_roots: Listed = Field(default=(), description="Folders and URL prefixes that a catalogue may point to.")
    declare: Declared = Declared()
    mask_clouds: bool | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Inputs:
        if bool(self.scenes) == (self.catalogue is not None):
            raise ValueError("give either scenes or catalogue")
        return self


class Training(_Part):
    """A model to train from labels; see `workflows.train.train_model`."""

    labels: str
    field: str = "class"
    scenes: Listed | None = Field(default=None, description="Scenes to learn from; default: the study's own.")
    system: str = "auto"
    seed: int = 0
    epochs: int | None = None
    max_minutes: float | None = None
    split: Literal["block", "feature"] = "block"
    block_size: float | None = None
    buffer: float = 0.0
    coverage: float = 0.9


class ModelPart(_Part):
    """A finished bundle, or what to train."""

    bundle: str | None = None
    train: Training | None = None

    @model_validator(mode="after")
    def _one_model(self) -> ModelPart:
        if (self.bundle is None) == (self.train is None):
            raise ValueError("give either bundle or train")
        return self


class Grid(_Part):
    """Tiles of a study over many scenes; see `workflows.map_collection.Source`."""

    tiles: str = "mgrs"
    composite: str | None = None
    resolution: float | None = Field(default=None, gt=0)
    cluster: str | None = None


class Indicators(_Part):
    """What to compute from the map."""

    reference: str | None = Field(default=None, description="Reference labels; `holdout`: the labels not learned from.")
    field: str = "class"
    confidence: float = Field(default=0.95, gt=0, lt=1)


class Study(_Part):
    """A whole study; relative paths are relative to its file."""

    name: str = Field(min_length=1)
    area: str | None = Field(default=None, description="Vector file; only its polygons are mapped.")
    period: Annotated[
        str | None, BeforeValidator(lambda value: str(value) if isinstance(value, int | date) else value)
    ] = Field(default=None, description="START/END, such as 2024-06/2024-08.")
    inputs: Inputs
    model: ModelPart
    map: dict[str, Any] = Field(default_factory=dict, description="Fields of `MapOptions`.")
    grid: Grid | None = None
    indicators: Indicators = Indicators()
    report: bool = True
    out: str

    @model_validator(mode="after")
    def _complete(self) -> Study:
        if self.inputs.catalogue is not None and self.grid is None:
            raise ValueError("a catalogue needs grid")
        if self.period is not None and self.grid is None:
            raise ValueError("a period chooses among many scenes, which needs grid")
        if self.inputs.catalogue is not None and self.model.bundle is None and not self.model_scenes:
            raise ValueError("with a catalogue, model.train needs scenes of its own")
        if self.indicators.reference == "holdout" and self.model.train is None:
            raise ValueError("indicators.reference: holdout needs model.train")
        if self.period is not None:
            try:
                parse_period(self.period)
            except ConfigurationError as error:
                raise ValueError(str(error).rstrip(".")) from error
        return self

    @property
    def model_scenes(self) -> tuple[str, ...]:
        """Scenes to learn from."""
        train = self.model.train
        return () if train is None else (train.scenes or self.inputs.scenes)


def read_study(path: Path | str) -> Study:
    """Read and validate a study.

    Args:
        path: YAML file.

    Returns:
        The study; its paths as written.

    Raises:
        ConfigurationError: If the file is absent, too large, no YAML, or says something that is not allowed.
    """
    path = Path(path)
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ConfigurationError(f"{path} is larger than 1 MB, which no study is; give the right file.")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The study {path} cannot be read ({error}); check the path.") from error
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
            raise ConfigurationError(f"{path} uses YAML aliases, which a study may not; write the values out.")
        content = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" in line {where.line + 1}" if where is not None else ""
        raise ConfigurationError(f"{path} is not valid YAML{line}; mend it there.") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path} is not a study: it must be a mapping with name, inputs, model and out.")
    try:
        return Study.model_validate(content)
    except ValidationError as error:
        raise ConfigurationError(f"{path}: {_sentence(error)}.") from error


def _sentence(error: ValidationError) -> str:
    """Turn the first mistake into words; an unknown key comes first, because it explains a missing one."""
    first = min(error.errors(), key=lambda mistake: mistake["type"] != "extra_forbidden")
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = _keys_beside(first["loc"])
        near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
        return f"the key {where!r} is unknown; {hint}"
    if first["type"] == "missing":
        return f"the key {where!r} is missing; add it"
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message


def _keys_beside(location: tuple[int | str, ...]) -> list[str]:
    """Return the keys that are known where a key is unknown."""
    model: Any = Study
    for part in location[:-1]:
        annotation = model.model_fields[str(part)].annotation
        options = getattr(annotation, "__args__", (annotation,))
        model = next((kind for kind in options if isinstance(kind, type) and issubclass(kind, BaseModel)), model)
    return list(model.model_fields)
