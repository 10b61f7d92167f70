"""What a model of rows makes of a pixel's dates before it looks: a composite, and indices of its bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, ContractError, ModelError
from ecumene.models.contract import InputBand, ModelSpec
from ecumene.scenes.composites import median_composite
from ecumene.scenes.contract import Channel
from ecumene.scenes.normalised_differences import NORMALISED, normalised_difference, possible_indices


@dataclass(frozen=True)
class RowFeatures:
    """How a row is made of a pixel; without arguments it is the bands, date after date.

    Attributes:
        yearly_median: Whether a row is the median of each band over the dates of one calendar year, any number of them;
            a date counts where it has all bands.
        indices: Normalised differences of the bands, which follow these in the row; of one image or composite only.
            See `normalised_differences`.
    """

    yearly_median: bool = False
    indices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unknown = [name for name in self.indices if name not in NORMALISED]
        if unknown:
            raise ConfigurationError(f"There is no index {unknown[0]!r}; choose among {', '.join(NORMALISED)}.")

    @classmethod
    def of(cls, spec: ModelSpec) -> RowFeatures:
        """Return what a bundle states under `features`.

        Raises:
            ModelError: If that is damaged.
        """
        arguments = spec.architecture.get("arguments", {})
        stated = arguments.get("features", {}) if isinstance(arguments, Mapping) else None
        try:
            return cls.from_config(stated)
        except (ConfigurationError, TypeError) as error:
            raise ModelError("The model's row features are damaged; get the model again from its source.") from error

    @classmethod
    def from_config(cls, config: Any) -> RowFeatures:
        """Rebuild from `to_config`.

        Raises:
            TypeError: If arguments are unknown or of another type.
            ConfigurationError: If an index is unknown.
        """
        if not isinstance(config, Mapping):
            raise TypeError("features are a mapping")
        found = cls(**{**config, "indices": tuple(config.get("indices", ()))})
        if not isinstance(found.yearly_median, bool):
            raise TypeError("yearly_median is true or false")
        return found

    def to_config(self) -> dict[str, Any]:
        """Return JSON-able arguments; empty for rows of plain bands."""
        median = {"yearly_median": True} if self.yearly_median else {}
        return {**median, **({"indices": list(self.indices)} if self.indices else {})}

    def count(self, bands: int, dates: int) -> int:
        """Return the features of a row."""
        return bands * (1 if self.yearly_median else dates) + len(self.indices)

    def composed(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return one image `[B, C, H, W]` of the dates `[B, T, C, H, W]`; the images as they are without composite."""
        if not self.yearly_median or image.ndim == 4:
            return image
        whole = np.isfinite(image).all(axis=2, keepdims=True)
        seen = np.where(whole, image, np.float32(np.nan))
        batch, _, _, height, width = seen.shape
        joined = np.concatenate(list(seen), axis=2)  # images of a batch below each other
        return np.ascontiguousarray(np.moveaxis(median_composite(joined).image.reshape(-1, batch, height, width), 1, 0))

    def extended(self, image: NDArray[np.float32], inputs: Sequence[InputBand | Channel]) -> NDArray[np.float32]:
        """Return images `[B, C, H, W]` with the indices after their bands.

        Args:
            image: Physical units.
            inputs: What the channels are.

        Raises:
            ContractError: If the images hold several dates.
        """
        if not self.indices:
            return image
        if image.shape[1] != len(inputs):
            raise ContractError("Indices are of one date or of a yearly median; use yearly_median with several dates.")
        channels = [Channel(band.sensor, band.level, band.band, band.unit) for band in inputs]
        found = [normalised_difference(name, image, channels) for name in self.indices]
        return np.concatenate((image, np.stack(found, axis=1)), axis=1)

    def require_bands(self, channels: Sequence[Channel]) -> None:
        """Refuse scenes that lack the bands of an index.

        Raises:
            ContractError: If that is so.
        """
        possible = possible_indices(channels)
        missing = [name for name in self.indices if name not in possible]
        if missing:
            raise ContractError(
                f"The index {missing[0]} needs a {NORMALISED[missing[0]][0]} and a {NORMALISED[missing[0]][1]} band, "
                "which the scenes do not have; give scenes with green, red, near and short-wave infrared bands."
            )

    def require_one_year(self, times: Sequence[np.datetime64 | None]) -> None:
        """Refuse dates of several years where a row is the composite of one.

        Raises:
            ContractError: If a date is missing or the years differ.
        """
        if not self.yearly_median:
            return
        years = sorted({str(time)[:4] for time in times if time is not None})
        if len(years) != 1 or any(time is None for time in times):
            told = f"are of {years[0]} to {years[-1]}" if len(years) > 1 else "do not all have a date"
            raise ContractError(
                f"This model reads the scenes of one calendar year, but these {told}; give those of one year, or "
                "follow the years with `ecumene series --model`."
            )
