"""Typed models of the extension fields in a product's STAC Item: the offline half of its validation.

pystac ships the core schemas but no extension's, and nothing is fetched when a map is made. These models
state, for the fields that products use, what the published extensions state: projection 2.0, raster
2.0-beta.1, classification 2.0, processing 1.2, file 2.1, and the common band fields of STAC 1.1.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

EXTENSIONS = (
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/raster/v2.0.0-beta.1/schema.json",
    "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
    "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
)
_PREFIXES = {"proj", "raster", "classification", "processing", "file"}

Multihash = Annotated[str, Field(pattern=r"^1220[0-9a-f]{64}$")]
DataType = Literal["uint8", "uint16", "uint32", "int16", "int32", "float32"]


class _Fields(BaseModel):
    """Forbids unknown fields of the extensions, allows those of others."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)

    @model_validator(mode="after")
    def _known(self) -> _Fields:
        for name in self.model_extra or {}:
            if name.split(":")[0] in _PREFIXES and ":" in name:
                raise ValueError(f"{name} is not a field that belongs here")
        return self


class ClassFields(_Fields):
    """One entry of `classification:classes`."""

    value: int
    name: str = Field(pattern=r"^[0-9A-Za-z_-]+$")
    title: str | None = None
    description: str | None = None
    color_hint: str | None = Field(default=None, pattern=r"^[0-9A-F]{6}$")
    nodata: bool = False
    count: int | None = Field(default=None, ge=0)
    percentage: float | None = Field(default=None, ge=0, le=100)


class BandFields(_Fields):
    """One entry of `bands`."""

    name: str | None = None
    description: str | None = None
    data_type: DataType | None = None
    nodata: float | int | Literal["nan", "inf", "-inf"] | None = None
    unit: str | None = None
    statistics: dict[Literal["minimum", "maximum", "mean", "stddev", "valid_percent"], float] | None = None
    scale: float = Field(default=1.0, alias="raster:scale", allow_inf_nan=False)
    offset: float = Field(default=0.0, alias="raster:offset", allow_inf_nan=False)
    sampling: Literal["area", "point"] | None = Field(default=None, alias="raster:sampling")
    spatial_resolution: float | None = Field(default=None, alias="raster:spatial_resolution", gt=0)
    classes: tuple[ClassFields, ...] | None = Field(default=None, alias="classification:classes", min_length=1)

    @model_validator(mode="after")
    def _unique_classes(self) -> BandFields:
        codes = [entry.value for entry in self.classes or ()]
        names = [entry.name for entry in self.classes or ()]
        if len(set(codes)) != len(codes) or len(set(names)) != len(names):
            raise ValueError("values and names of classes must be unique")
        return self


class AssetFields(_Fields):
    """One asset."""

    href: str = Field(min_length=1)
    type: str
    roles: tuple[str, ...] = Field(min_length=1)
    title: str | None = None
    description: str | None = None
    bands: tuple[BandFields, ...] | None = None
    checksum: Multihash = Field(alias="file:checksum")
    size: int = Field(alias="file:size", ge=0)
    role: str | None = Field(default=None, alias="ecumene:role")
    categorical: bool = Field(default=False, alias="ecumene:categorical")
    legend_name: str | None = Field(default=None, alias="ecumene:legend")


class PropertyFields(_Fields):
    """Properties of the Item."""

    datetime: str | None
    start_datetime: str | None = None
    end_datetime: str | None = None
    code: str | None = Field(alias="proj:code", pattern=r"^[A-Z]+:[0-9A-Za-z]+$")
    wkt2: str | None = Field(default=None, alias="proj:wkt2")
    shape: tuple[int, int] = Field(alias="proj:shape")
    transform: tuple[float, ...] = Field(alias="proj:transform", min_length=6, max_length=9)
    bbox: tuple[float, float, float, float] | None = Field(default=None, alias="proj:bbox")
    lineage: str = Field(alias="processing:lineage", min_length=1)
    software: dict[str, str] = Field(alias="processing:software", min_length=1)
    processed: str = Field(alias="processing:datetime")
    level: str | None = Field(default=None, alias="processing:level")
    product_version: int = Field(alias="ecumene:product_version", ge=1)
    damaged: tuple[tuple[int, int, int, int], ...] = Field(default=(), alias="ecumene:damaged_windows")

    @model_validator(mode="after")
    def _complete(self) -> PropertyFields:
        if self.datetime is None and (self.start_datetime is None or self.end_datetime is None):
            raise ValueError("without datetime, start_datetime and end_datetime are needed")
        if self.code is None and not self.wkt2:
            raise ValueError("without proj:code, proj:wkt2 is needed")
        if min(self.shape) < 1:
            raise ValueError("proj:shape must be positive")
        return self


class ItemFields(_Fields):
    """The Item."""

    type: Literal["Feature"]
    stac_version: Literal["1.1.0"]
    stac_extensions: tuple[str, ...]
    id: str = Field(min_length=1)
    properties: PropertyFields
    assets: dict[str, AssetFields]

    @model_validator(mode="after")
    def _declared(self) -> ItemFields:
        missing = set(EXTENSIONS) - set(self.stac_extensions)
        if missing:
            raise ValueError(f"the extension {sorted(missing)[0]} is used but not declared")
        return self


def validate_item(item: dict[str, Any]) -> ItemFields:
    """Validate an Item without network: core by pystac's schemas, extensions by these models.

    Raises:
        pystac.errors.STACValidationError: If the core schema is violated.
        pydantic.ValidationError: If an extension's field is wrong.
    """
    import pystac
    from pystac.validation import JsonSchemaSTACValidator

    JsonSchemaSTACValidator().validate_core(item, pystac.STACObjectType.ITEM, str(item["stac_version"]))
    return ItemFields.model_validate(item)
