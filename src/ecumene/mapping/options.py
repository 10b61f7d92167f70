"""What a user may choose about a map."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ecumene.core.errors import ConfigurationError


class MapOptions(BaseModel):
    """Options of `map_stack`. None means: chosen by the plan, deterministically, and written into it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    window: tuple[int, int] | None = Field(default=None, description="Rows and columns that the network sees at once.")
    overlap: int | None = Field(default=None, ge=0, description="Pixels that neighbouring windows share.")
    tile: int = Field(default=2048, ge=64, description="Wanted edge of a tile in pixels; rounded to whole windows.")
    batch_size: int | None = Field(default=None, ge=1, description="Windows in one execution.")
    workers: int | None = Field(default=None, ge=1, le=64, description="Executors that run side by side.")
    threads: int | None = Field(default=None, ge=1, description="Threads of one executor.")
    backend: Literal["auto", "torch", "compiled", "onnx", "openvino"] = "auto"
    precision: Literal["auto", "fp32", "bf16", "int8"] = "auto"
    layers: tuple[str, ...] | None = Field(default=None, description="Layers to write; `valid` is always written.")
    probability: bool = Field(default=False, description="Write the objective's probability layers.")
    polygons: bool = Field(default=False, description="Write polygons (GeoParquet) of a categorical value.")
    minimum_mapping_unit_m2: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    compress: Literal["zstd", "deflate"] = "zstd"
    blocksize: Literal[128, 256, 512, 1024, 2048] = 512
    first_date: int | None = Field(
        default=None, ge=0, description="Place of the date that the model is given first; None: in order of time."
    )
    quicklook: bool = True
    overwrite: bool = Field(default=False, description="Replace a product that another plan has made.")

    @field_validator("window", mode="before")
    @classmethod
    def _square(cls, value: object) -> object:
        return (value, value) if isinstance(value, int) else value

    @field_validator("window")
    @classmethod
    def _positive(cls, value: tuple[int, int] | None) -> tuple[int, int] | None:
        if value is not None and min(value) < 1:
            raise ValueError("a window needs at least one row and one column")
        return value

    @classmethod
    def of(cls, **values: object) -> MapOptions:
        """Build options, turning a wrong value into one sentence.

        Raises:
            ConfigurationError: If a value is not allowed.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"]) or "an option"
            raise ConfigurationError(f"The map option {name} is wrong: {first['msg']}.") from error
