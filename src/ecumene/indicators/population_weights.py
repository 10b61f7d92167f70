"""Weights of dasymetric mapping: binary, by class, by fraction, by volume."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, ProductError
from ecumene.core.window import Window
from ecumene.indicators.maps import read_codes, read_masked
from ecumene.indicators.population_contract import Weights


class ClassWeights:
    """A weight for each class of a map: 1 for built-up gives binary mapping, less for industry its usual refinement.

    Args:
        dataset: Open map of codes, from `maps.open_map`.
        weights: Weight by code, at least 0; other codes weigh 0.

    Raises:
        ConfigurationError: If a weight is negative, or all are 0.
    """

    def __init__(self, dataset: Any, weights: Mapping[int, float]) -> None:
        values = list(weights.values())
        if not values or min(values) < 0 or max(values) <= 0:
            raise ConfigurationError("Weights of classes must be at least 0, and one of them above 0.")
        self._dataset = dataset
        self._weights = dict(weights)

    def __call__(self, window: Window) -> NDArray[np.float64]:
        """Return `[h, w]` weights."""
        codes, known = read_codes(self._dataset, window)
        result = np.zeros(codes.shape)
        for code, weight in self._weights.items():
            result[known & (codes == code)] = weight
        return result


class NumberWeights:
    """The numbers of a raster as weights: the built-up fraction of a pixel, or the height of its buildings.

    Args:
        dataset: Open raster of numbers, from `maps.open_layer`.
        scale: physical = stored * scale + offset.
        offset: See `scale`.
        name: For messages.
    """

    def __init__(self, dataset: Any, scale: float = 1.0, offset: float = 0.0, name: str = "weights") -> None:
        self._dataset, self._scale, self._offset, self._name = dataset, scale, offset, name

    def __call__(self, window: Window) -> NDArray[np.float64]:
        """Return `[h, w]` weights.

        Raises:
            ProductError: If the file is damaged or holds a negative number.
        """
        stored = read_masked(self._dataset, window, 1, f"The {self._name}")
        physical = stored.filled(0).astype(np.float64) * self._scale + self._offset
        known = ~np.ma.getmaskarray(stored) & np.isfinite(physical)
        if (physical[known] < 0).any():
            raise ProductError(f"The {self._name} hold a negative number; weights of population are at least 0.")
        return np.where(known, physical, 0.0)


class ProductOfWeights:
    """Several weights multiplied: built-up fraction x height x weight of the class is a weighted volume."""

    def __init__(self, *weights: Weights) -> None:
        self._weights = weights

    def __call__(self, window: Window) -> NDArray[np.float64]:
        """Return `[h, w]` weights."""
        result = np.ones((window.height, window.width))
        for weights in self._weights:
            result = result * weights(window)
        return result
