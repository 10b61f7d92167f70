"""The products that a server shows: the only files that requests can reach, by name and never by path."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ecumene.core.errors import ProductError
from ecumene.mapping.product import ITEM_NAME, Product, open_product
from ecumene.viewer.charts import product_charts
from ecumene.viewer.layers import describe_product
from ecumene.viewer.pixel import read_pixel
from ecumene.viewer.rasters import checked_path, safe_environment
from ecumene.viewer.vectors import Box, read_features

if TYPE_CHECKING:
    from ecumene.trust.block_residuals import BlockResiduals
    from ecumene.viewer.server.tiles import Source

MOST_PRODUCTS = 200
"""More products are not listed at once."""


class Entry(Protocol):
    """Something that a page can show: a product, or one day of a collection."""

    @property
    def description(self) -> Mapping[str, Any]:
        """As `layers.describe_product` gives it."""
        ...

    def sources(self, layer: str, box: Box) -> Sequence[Source]:
        """Return the rasters of a layer that may touch a box in degrees, the uppermost first."""
        ...

    def pixel(self, **place: Any) -> dict[str, Any]:
        """Return what `pixel.read_pixel` says at a place."""
        ...

    def charts(self) -> list[dict[str, Any]]:
        """Return charts as JSON."""
        ...

    def features(self, name: str, box: Box | None, limit: int) -> dict[str, Any]:
        """Return features of a vector layer."""
        ...

    def file(self, what: str) -> Path | None:
        """Return the file of `card` or `quicklook`, or None."""
        ...


@dataclass(frozen=True)
class ModelFigures:
    """What a model states about itself.

    Attributes:
        accuracy: Figures on held-out blocks.
        residuals: What its calibration blocks say about sums of probabilities, or None.
    """

    accuracy: Mapping[str, Any]
    residuals: BlockResiduals | None = None


@dataclass(frozen=True)
class ProductEntry:
    """One product.

    Attributes:
        product: The opened product.
        identifier: Its name in addresses.
        figures: What its model states, for charts.
        assessment: Its assessment, for charts.
    """

    product: Product
    identifier: str
    figures: ModelFigures | None = None
    assessment: Mapping[str, Any] | None = None

    @cached_property
    def description(self) -> Mapping[str, Any]:
        """As `layers.describe_product` gives it."""
        return describe_product(self.product, identifier=self.identifier)

    @cached_property
    def _layers(self) -> dict[str, Mapping[str, Any]]:
        return {layer["name"]: layer for layer in self.description["layers"]}

    def sources(self, layer: str, box: Box) -> Sequence[Source]:
        """Return the raster of a layer.

        Raises:
            ProductError: If there is no such layer.
        """
        from ecumene.viewer.server.tiles import Source

        self.product.path(layer)  # says so where there is no such layer
        return [Source(self.product, self._layers)]

    def pixel(self, **place: Any) -> dict[str, Any]:
        """Return what `pixel.read_pixel` says at a place."""
        return read_pixel(self.product, self.description, **place)

    @cached_property
    def _charts(self) -> list[dict[str, Any]]:
        figures = self.figures or ModelFigures({})
        with safe_environment():
            return product_charts(self.product, figures.accuracy, self.assessment, figures.residuals)

    def charts(self) -> list[dict[str, Any]]:
        """Return charts as JSON; they are made once."""
        return self._charts

    def features(self, name: str, box: Box | None, limit: int) -> dict[str, Any]:
        """Return features of a vector layer."""
        return read_features(self.product, name, box, limit)

    def file(self, what: str) -> Path | None:
        """Return the file of `card` or `quicklook`, or None."""
        return product_file(self.product, what)


def product_file(product: Product, what: str) -> Path | None:
    """Return the file of `card` or `quicklook` of a product, or None.

    Raises:
        ProductError: If it lies outside of the product or is gone.
    """
    from ecumene.viewer.layers import card_name

    if what == "quicklook":
        return None if product.quicklook is None else checked_path(product.folder, product.quicklook)
    key = card_name(product)
    return None if key is None else checked_path(product.folder, product.folder / product.item["assets"][key]["href"])


@dataclass
class Library:
    """Entries by identifier, in the order of the command line."""

    entries: dict[str, Entry] = field(default_factory=dict)

    def entry(self, identifier: str) -> Entry:
        """Return an entry.

        Raises:
            ProductError: If there is none of that name.
        """
        if identifier not in self.entries:
            raise ProductError(f"There is no product {identifier[:80]!r} here.")
        return self.entries[identifier]

    def descriptions(self) -> list[Mapping[str, Any]]:
        """Return the descriptions of the first products."""
        return [entry.description for entry in list(self.entries.values())[:MOST_PRODUCTS]]


def identifier_for(name: str, taken: Mapping[str, Any]) -> str:
    """Return a name for addresses: letters, digits, `-`, `_`, and a number where it is taken."""
    base = re.sub(r"[^0-9A-Za-z_-]+", "-", name).strip("-")[:60] or "product"
    if base not in taken:
        return base
    return next(f"{base}-{n}" for n in range(2, len(taken) + 3) if f"{base}-{n}" not in taken)


def open_library(
    folders: Sequence[Path | str],
    *,
    figures: Mapping[str, ModelFigures] | None = None,
    assessment: Mapping[str, Any] | None = None,
) -> Library:
    """Open products and collections.

    Args:
        folders: Folders of products (with an `item.json`) or of collections (with a `collection.json`).
        figures: Of models, by the model's checksum.
        assessment: Assessment of the only product.

    Raises:
        ProductError: If a folder is neither, is newer than this version, or damaged.
    """
    from ecumene.viewer.server.collection import COLLECTION_NAME, open_collection

    library = Library()
    for folder in map(Path, folders):
        if not (folder / ITEM_NAME).is_file() and (folder / COLLECTION_NAME).is_file():
            library.entries.update(open_collection(folder, library.entries))
            continue
        product = open_product(folder)
        identifier = identifier_for(folder.resolve().name, library.entries)
        known = (figures or {}).get(product.model_checksum)
        entry = ProductEntry(product, identifier, known, assessment)
        _ = entry.description  # so that damage is said before the page opens
        library.entries[identifier] = entry
    return library
