"""Layers of products that are made from arrays: numbers with what they are, and the flags that every product has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.mapping.layers import OUTLIER, VALID
from ecumene.objectives.prediction import LayerSpec

Layer = tuple[LayerSpec, NDArray[Any]]
"""What is stored, and its physical values `[bands, H, W]`."""


def number_layer(
    name: str,
    unit: str,
    description: str,
    values: NDArray[np.floating],
    role: Any = "extra",
    bands: Sequence[str] = ("",),
) -> Layer:
    """Return a layer of real numbers, NaN where there are none.

    Args:
        name: Of the layer.
        unit: Of the values.
        description: One line for readers.
        values: `[H, W]` or `[bands, H, W]`.
        role: As of `LayerSpec`.
        bands: Names of the bands.
    """
    spec = LayerSpec(name, "float32", float("nan"), unit, description=description, role=role, band_names=tuple(bands))
    return spec, values if values.ndim == 3 else values[None]


def flag_layers(outlier: NDArray[Any], valid: NDArray[np.bool_], description: str) -> list[Layer]:
    """Return the layers `outlier` and `valid` of flags `[H, W]`; the description says when an outlier is 1."""
    spec = replace(OUTLIER, description=description)
    return [(spec, outlier[None].astype(np.uint8)), (VALID, valid[None].astype(np.uint8))]
