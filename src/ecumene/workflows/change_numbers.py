"""Change between two products of numbers: the difference of every band with both error bars."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from ecumene.change.number_pair import compare_numbers
from ecumene.core.errors import ContractError, ProductError
from ecumene.core.window import Window
from ecumene.legends import Legend, LegendClass
from ecumene.mapping.layers import VALID
from ecumene.mapping.product import Product, ProductLayer
from ecumene.objectives.prediction import LayerSpec
from ecumene.workflows.change_scenes import outlier_layer
from ecumene.workflows.product_layers import OpenLayer, opened_layer
from ecumene.workflows.series_growth import DAY_UNIT

SIGNS = Legend(
    name="direction of change",
    classes=(
        LegendClass(value=0, name="decrease", colour="#2166ac"),
        LegendClass(value=1, name="no significant change", colour="#e6e6e6"),
        LegendClass(value=2, name="increase", colour="#b2182b"),
    ),
)
"""Classes of the layer `change` of two maps of numbers."""


def number_layer(product: Product) -> ProductLayer:
    """Return the layer with the product's numbers: the one whose role is `value`.

    Raises:
        ProductError: If there is none, or it holds classes.
    """
    found = next((layer for layer in product.layers.values() if layer.role == "value"), None)
    if found is None or found.categorical:
        raise ProductError(
            f"{product.folder.name} has no layer of numbers that could be compared; give a map of numbers."
        )
    return found


def deviation_layer(product: Product) -> ProductLayer | None:
    """Return the layer with the standard deviations of all bands of the numbers, or None.

    Its role is `uncertainty` and its description says that it holds standard deviations: half widths of intervals and
    other error bars cannot be added in squares.
    """
    numbers = number_layer(product)
    for layer in product.layers.values():
        alike = layer.unit == numbers.unit and len(layer.band_names) == len(numbers.band_names)
        if layer.role == "uncertainty" and alike and "standard deviation" in layer.description:
            return layer
    return None


@dataclass
class NumberChange:
    """Two products of numbers in one unit, opened.

    Attributes:
        values: Layers of the numbers, before and after.
        deviations: Layers of their standard deviations; None where a product has none.
        outliers: Layers of flags, as far as there are any.
        unit: Of the numbers.
        bands: Names of the numbers.
        tolerance: Differences up to it do not count.
        level: Significance level.
        sums: Sums over pixels for the results: pixels, sum, increases and decreases, each `[bands]`.
    """

    values: tuple[OpenLayer, OpenLayer]
    deviations: tuple[OpenLayer, OpenLayer] | None
    outliers: tuple[OpenLayer, ...]
    unit: str
    bands: tuple[str, ...]
    tolerance: float
    level: float
    sums: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        self.sums = np.zeros((4, len(self.bands)))

    @classmethod
    def of(
        cls, first: Product, second: Product, geobox: GeoBox, tolerance: float, level: float,
        stack: contextlib.ExitStack,
    ) -> NumberChange:  # fmt: skip
        """Open two products of numbers.

        Raises:
            ContractError: If units or bands differ.
            ProductError: If a product has no layer of numbers.
        """
        one, two = number_layer(first), number_layer(second)
        if one.unit != two.unit:
            raise ContractError(
                f"{first.folder.name} is in {one.unit} and {second.folder.name} in {two.unit}; compare one unit."
            )
        if one.band_names != two.band_names:
            raise ContractError(
                f"{first.folder.name} holds {', '.join(one.band_names)} and {second.folder.name} "
                f"{', '.join(two.band_names)}; compare maps of the same numbers."
            )

        def opened(layer: ProductLayer, product: Product) -> OpenLayer:
            return stack.enter_context(opened_layer(product, layer.name, geobox))

        both = (first, second)
        bars = [deviation_layer(product) for product in both]
        deviations = None
        if bars[0] is not None and bars[1] is not None:
            deviations = (opened(bars[0], first), opened(bars[1], second))
        flags = [
            opened(layer, product) for product in both for layer in product.layers.values() if layer.role == "outlier"
        ]
        unit = "d" if one.unit == DAY_UNIT else one.unit  # a difference of dates is a duration
        values = (opened(one, first), opened(two, second))
        return cls(values, deviations, tuple(flags), unit, one.band_names, tolerance, level)

    def tile(self, window: Window) -> dict[str, NDArray[Any]]:
        """Return all layers of a window."""
        before, after = (layer.read(window) for layer in self.values)
        bars = (None, None) if self.deviations is None else tuple(layer.read(window) for layer in self.deviations)
        found = compare_numbers(before, after, *bars, tolerance=self.tolerance, level=self.level)
        valid = np.asarray(found.valid.any(axis=0))
        odd = np.zeros(valid.shape, np.bool_)
        for layer in self.outliers:
            odd |= (layer.read(window) == 1).any(axis=0)
        space = (1, 2)
        self.sums += [
            found.valid.sum(axis=space),
            np.where(found.valid, found.value, 0.0).sum(axis=space, dtype=np.float64),
            (found.sign > 0).sum(axis=space),
            (found.sign < 0).sum(axis=space),
        ]
        layers: dict[str, NDArray[Any]] = {
            "value": found.value,
            "change": np.where(found.valid, found.sign + 1.0, np.nan),
            "outlier": (odd & valid)[None],
            "valid": valid[None],
        }
        if self.deviations is not None:
            layers |= {"error": found.deviation, "p_value": found.p_value}
        return layers

    def layers(self) -> tuple[LayerSpec, ...]:
        """Return the specifications of the layers."""
        nan, bands = float("nan"), self.bands
        specs = [
            LayerSpec("value", "float32", nan, self.unit, description="second minus first map", role="value",
                      band_names=bands),
        ]  # fmt: skip
        if self.deviations is not None:
            specs += [
                LayerSpec("error", "float32", nan, self.unit, description="standard deviation of the difference",
                          role="uncertainty", band_names=bands),
                LayerSpec("p_value", "float32", nan, description="probability of such a difference without change",
                          band_names=bands, limits=(0.0, 1.0)),
            ]  # fmt: skip
        specs.append(
            LayerSpec("change", "uint8", 255, categorical=True, band_names=bands,
                      description="decrease, no significant change, increase")
        )  # fmt: skip
        specs.append(outlier_layer("1 where one of the maps is flagged as outlier; distrust its numbers"))
        return (*specs, VALID)

    def results(self) -> dict[str, Any]:
        """Return the figures of the run, by band where there are several."""
        found = {}
        for name, (pixels, total, up, down) in zip(self.bands, self.sums.T, strict=True):
            count = max(float(pixels), 1.0)
            found[name] = {
                "pixels": int(pixels),
                "mean_difference": float(total) / count,
                "share_increased": float(up) / count,
                "share_decreased": float(down) / count,
            }
        told: dict[str, Any] = {"tolerance": self.tolerance, "level": self.level}
        return (next(iter(found.values())) if len(found) == 1 else {"bands": found}) | told
