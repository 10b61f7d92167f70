"""The shape of an instrument's description; the descriptions themselves are the YAML files beside it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Quantity = Literal[
    "reflectance", "radiance", "backscatter", "brightness_temperature", "elevation", "digital_number", "complex"
]
OffsetRule = Literal["none", "fixed", "metadata", "sentinel2_baseline"]


class Band(BaseModel):
    """One band of an instrument."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    common_name: str | None = Field(None, description="STAC common band name (blue, nir, ...), if one fits.")
    center_wavelength_um: float | None = Field(None, gt=0)
    full_width_half_max_um: float | None = Field(None, gt=0)
    ground_sampling_m: float | None = Field(None, gt=0)
    polarisation: Literal["HH", "HV", "VH", "VV"] | None = None
    description: str = ""


class ProductLevel(BaseModel):
    """What the numbers of a product level mean: physical = DN * scale + offset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    quantity: Quantity
    unit: str = Field(description="'1' for reflectance, 'dB', 'linear power', 'K', 'm', ...")
    scale: float | None = Field(None, description="None: the files or the user must declare it.")
    offset: float | None = None
    offset_rule: OffsetRule = "none"
    nodata: float | None = None
    noise: float | None = Field(None, ge=0, description="Typical 1-sigma noise in `unit` (for dB: noise-equivalent).")
    bands: tuple[str, ...] | None = Field(None, description="Bands of this level; None: all of the sensor.")
    description: str = ""


class Sensor(BaseModel):
    """An instrument (or a family with the same bands) as data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[a-z0-9-]+$")
    title: str
    kind: Literal["optical", "sar", "hyperspectral", "elevation"]
    platforms: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    wavelength_m: float | None = Field(None, gt=0, description="Radar wavelength.")
    bands: tuple[Band, ...]
    levels: tuple[ProductLevel, ...]
    source: str = Field(min_length=1)

    def band(self, name: str) -> Band:
        """Return a band by name (KeyError if there is none)."""
        for band in self.bands:
            if band.name == name:
                return band
        raise KeyError(name)

    def level(self, name: str) -> ProductLevel:
        """Return a product level by name (KeyError if there is none)."""
        for level in self.levels:
            if level.name == name:
                return level
        raise KeyError(name)
