"""Products from arrays in memory: a product whose one tile is there already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from ecumene.core.errors import ProductError
from ecumene.core.window import Window
from ecumene.mapping.checksums import InputRecord
from ecumene.mapping.product import Product
from ecumene.objectives.prediction import LayerSpec
from ecumene.workflows.product_files import ExtraFile, check_free, input_record
from ecumene.workflows.streamed_product import Afterwards, StreamedProduct, write_streamed_product

__all__ = ["ArrayProduct", "ExtraFile", "check_free", "input_record", "write_array_product"]

_SHOWN_PERCENTILES = (1.0, 99.0)


@dataclass(frozen=True)
class ArrayProduct:
    """What is to be written.

    Attributes:
        name: Short name of the method.
        title: One line for readers.
        lineage: How the layers were made, one or two sentences.
        geobox: Grid of all layers.
        layers: Specification and physical values `[bands, H, W]` of each layer; the last one is `valid`.
        valid: Mapped pixels, `[H, W]`.
        inputs: Files that went in.
        start: First date of the data (RFC 3339), or None.
        end: Last date.
        parameters: Options of the method (JSON values), for provenance.
        results: Figures of the run (JSON values).
        files: Further files of the product by the key of their asset, listed in the Item with their checksums.
    """

    name: str
    title: str
    lineage: str
    geobox: GeoBox
    layers: Sequence[tuple[LayerSpec, NDArray[Any]]]
    valid: NDArray[np.bool_]
    inputs: tuple[InputRecord, ...]
    start: str | None
    end: str | None
    parameters: Mapping[str, Any]
    results: Mapping[str, Any]
    files: Mapping[str, ExtraFile] = field(default_factory=dict)


def write_array_product(out: Path, product: ArrayProduct) -> Product:
    """Write layers, styles and quick-look, and at last the Item that makes them a product.

    Args:
        out: Folder; a product in it is replaced.
        product: What to write.

    Raises:
        ProductError: If something cannot be written whole or is not valid.
    """
    shape = (int(product.geobox.shape[0]), int(product.geobox.shape[1]))
    for spec, values in product.layers:
        if values.shape != (spec.count, *shape):
            raise ProductError(f"The layer {spec.name} has the shape {values.shape}, not {(spec.count, *shape)}.")
    arrays = {spec.name: values for spec, values in product.layers}
    specs = tuple(_for_display(spec, values, product.valid) for spec, values in product.layers)
    flag = next((spec.name for spec in specs if spec.role == "valid"), None)
    if flag is None:
        raise ProductError("A product needs a layer of the role valid, which says where it holds.")

    def tile(window: Window) -> dict[str, NDArray[Any]]:
        return {name: values[:, *window.slices] for name, values in arrays.items()} | {
            flag: product.valid[None, *window.slices]
        }

    whole = StreamedProduct(
        name=product.name, title=product.title, lineage=product.lineage, geobox=product.geobox, layers=specs, tile=tile,
        inputs=product.inputs, start=product.start, end=product.end, parameters=product.parameters,
        edge=max(shape), results=product.results,
    )  # fmt: skip
    return write_streamed_product(out, whole, afterwards=lambda files: Afterwards(files=product.files))


def _for_display(spec: LayerSpec, values: NDArray[Any], valid: NDArray[np.bool_]) -> LayerSpec:
    """Show the middle 98 % of a layer: a few bright pixels would leave the rest of it dark."""
    if spec.limits is not None or spec.categorical or spec.role not in {"value", "uncertainty"}:
        return spec
    shown = values[0][valid & np.isfinite(values[0])]
    if shown.size == 0:
        return spec
    low, high = (float(edge) for edge in np.percentile(shown, _SHOWN_PERCENTILES))
    return replace(spec, limits=(low, high)) if low < high else spec
