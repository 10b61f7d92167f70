"""The predictive distribution of a batch, and how each part of it becomes a raster layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np


@dataclass(frozen=True)
class LayerSpec:
    """How one layer of a prediction is stored; enough for `mapping` to write it without knowing the task.

    A stored value s means `s * scale + offset` in `unit`; floats are rounded to integers, never truncated.
    """

    name: str
    dtype: Literal["uint8", "uint16", "uint32", "int16", "int32", "float32"]
    nodata: float | int
    unit: str = "1"
    scale: float = 1.0
    offset: float = 0.0
    description: str = ""
    categorical: bool = False
    role: Literal["value", "uncertainty", "outlier", "valid", "probability", "set", "interval", "extra"] = "extra"
    band_names: tuple[str, ...] = ("",)
    statistics: bool = True
    limits: tuple[float, float] | None = None

    @property
    def count(self) -> int:
        """Number of bands."""
        return len(self.band_names)

    def encode(self, physical: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """Turn physical values `[bands, H, W]` into stored values; nodata where not `valid` or not finite.

        Args:
            physical: Values in `unit`, or codes for a categorical layer, shape `[bands, H, W]`.
            valid: bool `[H, W]`.

        Returns:
            Array of `dtype`, same shape.
        """
        usable = valid[None] & np.isfinite(physical)
        if self.dtype == "float32":
            return np.where(usable, physical, np.float32(self.nodata)).astype(np.float32)
        information = np.iinfo(self.dtype)
        scaled = physical if self.scale == 1.0 and self.offset == 0.0 else (physical - self.offset) / self.scale
        stored = np.clip(np.rint(np.where(usable, scaled, 0)), information.min, information.max)
        return np.where(usable, stored, self.nodata).astype(self.dtype)


@dataclass(frozen=True)
class Prediction:
    """The predictive distribution of a batch of pixels or scenes.

    All arrays have the batch first; pixel tasks add `H, W` last. They may be NumPy arrays or tensors.

    Attributes:
        value: Point value: class code, number, 0/1 per label.
        total: Total uncertainty in the layer's unit (entropy in [0, 1] for classes, standard
            deviation for numbers).
        aleatoric: Part of it that more training data would not remove, where the method has it.
        epistemic: Part of it that more training data would remove, where the method has it.
        layers: Every layer that `mapping` writes, by name, physical values `[B, bands, H, W]`.
        details: Anything task-specific that is not written.
    """

    value: Any
    total: Any
    aleatoric: Any | None = None
    epistemic: Any | None = None
    layers: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
