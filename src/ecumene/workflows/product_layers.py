"""Reading what products of classes and of numbers say, window by window, for verbs that compare products."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from ecumene.core.errors import ConfigurationError, ContractError, ProductError
from ecumene.core.files import multihash_of
from ecumene.core.window import Window
from ecumene.indicators.maps import open_layer, read_masked
from ecumene.legends import Legend
from ecumene.mapping.checksums import InputFile, InputRecord
from ecumene.mapping.product import ITEM_NAME, Product, open_product
from ecumene.scenes.grid import same_grid

VERSION_KEY = "ecumene:product_version"


def is_product(path: str | Path) -> bool:
    """Whether a path is a folder with the Item of a product (and not some other STAC item)."""
    item = Path(path) / ITEM_NAME
    if not item.is_file():
        return False
    try:
        return VERSION_KEY in json.loads(item.read_text(encoding="utf-8"))["properties"]
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError):
        return False


def times_of(product: Product) -> tuple[np.datetime64, np.datetime64] | None:
    """Return first and last moment of a product's data (UTC), or None if its Item states only when it was made."""
    properties = product.properties
    if "ecumene:datetime_is" in properties:
        return None
    moment = properties.get("datetime")
    start, end = (moment, moment) if moment else (properties.get("start_datetime"), properties.get("end_datetime"))
    if not start or not end:
        return None
    return np.datetime64(str(start).rstrip("Z"), "s"), np.datetime64(str(end).rstrip("Z"), "s")


def record_of(product: Product) -> InputRecord:
    """Record a product by the name of its folder and the checksum of its Item, never by its path."""
    name = product.folder.resolve().name
    times = times_of(product)
    item = InputFile(name=f"{name}/{ITEM_NAME}", checksum=multihash_of(product.item_path))
    licence = product.properties.get("license")
    return InputRecord(
        id=name,
        sensor="product",
        level="",
        time=None if times is None else f"{times[0]}Z",
        licence=str(licence) if licence else None,
        files=(item,),
    )


def require_grid(products: Sequence[Product], what: str) -> GeoBox:
    """Return the common grid of products.

    Args:
        products: At least one.
        what: What to do otherwise, the end of the sentence.

    Raises:
        ContractError: If grids differ.
    """
    first = products[0]
    for other in products[1:]:
        if not same_grid(first.geobox, other.geobox):
            raise ContractError(f"{first.folder.name} and {other.folder.name} lie on different grids; {what}.")
    return first.geobox


@dataclass(frozen=True)
class OpenLayer:
    """One layer, opened on a grid.

    Attributes:
        dataset: As rasterio opened it, or a virtual one on another grid.
        scale: Physical value = stored * scale + offset.
        offset: See `scale`.
    """

    dataset: Any
    scale: float
    offset: float

    def read(self, window: Window, band: int | None = None) -> NDArray[np.float64]:
        """Return physical values of a window inside the grid, NaN without data; `[bands, h, w]`, or `[h, w]`.

        Raises:
            ProductError: If the file is damaged.
        """
        stored = read_masked(self.dataset, window, band, "A layer")
        values: NDArray[np.float64] = stored.astype(np.float64).filled(np.nan) * self.scale + self.offset
        return values


@contextlib.contextmanager
def opened_raster(path: Path, geobox: GeoBox | None = None) -> Iterator[Any]:
    """Open a raster, on another grid by the nearest pixel if one is given.

    Raises:
        ProductError: If it cannot be read.
    """
    with contextlib.ExitStack() as stack:
        dataset, own = stack.enter_context(open_layer(path))
        if geobox is not None and not same_grid(own, geobox):
            from rasterio.vrt import WarpedVRT

            dataset = stack.enter_context(
                WarpedVRT(
                    dataset, crs=str(geobox.crs), transform=geobox.affine, height=int(geobox.shape[0]),
                    width=int(geobox.shape[1]), resampling=0, nodata=dataset.nodata,
                )
            )  # fmt: skip
        yield dataset


@contextlib.contextmanager
def opened_layer(product: Product, name: str, geobox: GeoBox | None = None) -> Iterator[OpenLayer]:
    """Open a layer of a product, on another grid by the nearest pixel if one is given.

    Raises:
        ProductError: If there is no such layer or it cannot be read.
    """
    layer = product.layers.get(name)
    path = product.path(name)
    assert layer is not None  # `path` has refused what does not exist
    with opened_raster(path, geobox) as dataset:
        yield OpenLayer(dataset, layer.scale, layer.offset)


@dataclass(frozen=True)
class ClassLayers:
    """A product of classes, opened.

    Attributes:
        product: The product.
        legend: Its classes.
        value: The layer of codes.
        chances: The layer of probabilities, or None.
        outlier: The layer of flags, or None.
    """

    product: Product
    legend: Legend
    value: OpenLayer
    chances: OpenLayer | None
    outlier: OpenLayer | None

    def classes(self, window: Window) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return indices of the classes `[h, w]` (0 where unknown), and where there is a class."""
        codes = self.value.read(window, 1)
        known = np.isin(codes, self.legend.values)
        order = np.argsort(self.legend.values)
        place = np.searchsorted(np.asarray(self.legend.values)[order], np.where(known, codes, self.legend.values[0]))
        return np.where(known, order[np.clip(place, 0, len(order) - 1)], 0), known

    def probabilities(self, window: Window) -> NDArray[np.float64] | None:
        """Return `[K, h, w]` in the order of the legend, summing to 1 (stored ones are rounded), NaN where unknown."""
        if self.chances is None:
            return None
        values = self.chances.read(window)
        total = values.sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.where(total > 0, values / total, np.nan))

    def flags(self, window: Window) -> NDArray[np.bool_]:
        """Return where the product says outlier, `[h, w]`."""
        if self.outlier is None:
            return np.zeros((window.height, window.width), np.bool_)
        return np.asarray(self.outlier.read(window, 1) == 1)


def open_classes(product: Product, stack: contextlib.ExitStack, geobox: GeoBox | None = None) -> ClassLayers:
    """Open a product of classes.

    Args:
        product: The product.
        stack: Closes the files.
        geobox: Another grid to read on, by the nearest pixel.

    Raises:
        ProductError: If it has no classes, or probabilities that do not fit them.
    """
    if product.legend is None:
        raise ProductError(f"{product.folder.name} is no map of classes; give products of `ecumene map`.")
    layers = [
        stack.enter_context(opened_layer(product, name, geobox)) if name in product.layers else None
        for name in ("value", "probability", "outlier")
    ]
    value, chances, outlier = layers
    if value is None:
        raise ProductError(f"{product.folder.name} has no layer of classes; map again.")
    if chances is not None and chances.dataset.count != len(product.legend):
        raise ProductError(f"The probabilities of {product.folder.name} do not fit its classes; map again.")
    return ClassLayers(product, product.legend, value, chances, outlier)


def require_legend(products: Sequence[Product]) -> Legend:
    """Return the legend that products share.

    Raises:
        ContractError: If they have different classes.
        ProductError: If one has none.
    """
    legends = []
    for product in products:
        if product.legend is None:
            raise ProductError(f"{product.folder.name} is no map of classes; give products of `ecumene map`.")
        legends.append(product.legend)
    for product, legend in zip(products, legends, strict=True):
        if legend.names != legends[0].names or legend.values != legends[0].values:
            raise ContractError(
                f"{products[0].folder.name} and {product.folder.name} have different classes; bring them to one legend "
                "with `ecumene convert`."
            )
    return legends[0]


def named_product(text: str | Path, times: Sequence[str] | None = None, position: int = 0) -> tuple[Product, Any]:
    """Open a product and return it with the middle of its time.

    Args:
        text: Folder.
        times: What the user states, one a product, or None.
        position: Of this product among them.

    Raises:
        ConfigurationError: If the product states no time and the user neither.
        ProductError: If it cannot be opened.
    """
    from ecumene.scenes.declaration import parse_time

    product = open_product(text)
    if times:
        return product, parse_time(times[position]).astype("datetime64[D]")
    found = times_of(product)
    if found is None:
        raise ConfigurationError(
            f"The product {product.folder.name} states no time of its data; give a date for each product with --time."
        )
    return product, (found[0] + (found[1] - found[0]) // 2).astype("datetime64[D]")
