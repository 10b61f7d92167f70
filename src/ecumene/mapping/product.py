"""A finished product: a folder with a STAC Item and what it points to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from odc.geo.geobox import GeoBox
from pydantic import ValidationError

from ecumene.core.errors import PartialResultError, ProductError
from ecumene.core.files import multihash_of
from ecumene.core.window import Window
from ecumene.legends import Legend, LegendClass
from ecumene.mapping.stac_models import BandFields, ItemFields

PRODUCT_VERSION = 1
"""Version of the product's layout; a higher one is refused."""

RESIDUALS_PROPERTY = "ecumene:block_residuals"
"""Property of an Item with what the model's calibration blocks say about sums of probabilities (`BlockResiduals`)."""

ITEM_NAME = "item.json"
_MAXIMUM_ITEM_BYTES = 64 << 20
_ROLE_ORDER = ("value", "uncertainty", "outlier", "valid")


@dataclass(frozen=True)
class ProductLayer:
    """One raster layer of a product; physical = stored * scale + offset, in `unit`."""

    name: str
    path: Path
    role: str
    dtype: str
    nodata: float | int | None
    unit: str
    scale: float
    offset: float
    categorical: bool
    band_names: tuple[str, ...]
    description: str = ""
    statistics: tuple[Mapping[str, float], ...] = ()


@dataclass(frozen=True)
class Product:
    """A map on disk.

    Attributes:
        folder: Where it is.
        item: The STAC Item as JSON.
        layers: Raster layers by name.
        geobox: The grid of all layers.
        legend: Classes of a categorical value.
        class_pixels: Mapped pixels of each class code.
        quicklook: Picture, if there is one.
        polygons: GeoParquet, if there is one.
    """

    folder: Path
    item: Mapping[str, Any]
    layers: Mapping[str, ProductLayer]
    geobox: GeoBox
    legend: Legend | None = None
    class_pixels: Mapping[int, int] = field(default_factory=dict)
    quicklook: Path | None = None
    polygons: Path | None = None

    @property
    def item_path(self) -> Path:
        """The STAC Item's file."""
        return self.folder / ITEM_NAME

    @property
    def properties(self) -> Mapping[str, Any]:
        """Properties of the STAC Item."""
        return dict(self.item["properties"])

    @property
    def model_checksum(self) -> str:
        """Checksum of the model that made it; empty where the Item states none."""
        stated = self.item["properties"].get("ecumene:model")
        return str(stated.get("checksum") or "") if isinstance(stated, Mapping) else ""

    @property
    def damaged(self) -> tuple[Window, ...]:
        """Parts of the grid whose input could not be decoded; no pixel of them is valid."""
        return tuple(Window(*part) for part in self.item["properties"].get("ecumene:damaged_windows", ()))

    def require_undamaged(self) -> None:
        """Say where the input could not be decoded.

        Raises:
            PartialResultError: If there are such parts.
        """
        if self.damaged:
            first = self.damaged[0]
            raise PartialResultError(
                f"{len(self.damaged)} part(s) of the scenes cannot be decoded and are not valid in {self.folder} (the "
                f"first: {first.height} x {first.width} pixels from row {first.row}, column {first.col}; all in "
                f"{ITEM_NAME}); the rest is mapped; fetch the files again and map with --overwrite."
            )

    def path(self, layer: str) -> Path:
        """Return the file of a layer.

        Raises:
            ProductError: If the product has no such layer.
        """
        if layer not in self.layers:
            raise ProductError(
                f"The product {self.folder.name} has no layer {layer!r}; it has: {', '.join(self.layers)}."
            )
        return self.layers[layer].path


def open_product(folder: Path | str, *, verify: bool = False) -> Product:
    """Open a finished product.

    Args:
        folder: The product's folder.
        verify: Also compare every file with its checksum.

    Returns:
        The product; nothing but the Item is read.

    Raises:
        ProductError: If there is no product, it is newer than this version, its Item is damaged, or a file
            is missing, lies outside of the folder or (with `verify`) differs from its checksum.
    """
    folder = Path(folder)
    path = folder / ITEM_NAME
    if not path.is_file():
        raise ProductError(f"{folder} holds no finished product (no {ITEM_NAME}); make one with: ecumene map.")
    if path.stat().st_size > _MAXIMUM_ITEM_BYTES:
        raise ProductError(f"{path} is too large to be a product's Item.")
    try:
        item = json.loads(path.read_text(encoding="utf-8"))
        version = int(item["properties"]["ecumene:product_version"])
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise ProductError(f"{path} is not the Item of an ecumene product.") from error
    if version > PRODUCT_VERSION:
        raise ProductError(f"{folder} was made by a newer ecumene (layout {version}); update ecumene to open it.")
    try:
        fields = ItemFields.model_validate(item)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ProductError(f"The Item {path} is damaged at {where}: {first['msg']}.") from error
    files = {key: _inside(folder, asset.href) for key, asset in fields.assets.items()}
    if verify:
        for key, asset in fields.assets.items():
            if multihash_of(files[key]) != asset.checksum:
                raise ProductError(f"{files[key]} was changed after it was written; map again.")
    return _build(folder, item, fields, files)


def _inside(folder: Path, href: str) -> Path:
    path = folder / href
    if Path(href).is_absolute() or "://" in href or not path.resolve().is_relative_to(folder.resolve()):
        raise ProductError(f"The product {folder} points to {href}, outside of its folder; it is not opened.")
    if not path.is_file():
        raise ProductError(f"The product {folder} lacks its file {href}; map again.")
    return path


def _build(folder: Path, item: dict[str, Any], fields: ItemFields, files: dict[str, Path]) -> Product:
    from affine import Affine

    layers: dict[str, ProductLayer] = {}
    legend: Legend | None = None
    class_pixels: dict[int, int] = {}
    order = {role: rank for rank, role in enumerate(_ROLE_ORDER)}
    for key, asset in sorted(fields.assets.items(), key=lambda entry: order.get(entry[1].role or "", len(order))):
        if asset.role is None:
            continue
        bands = asset.bands or (BandFields(),)
        first = bands[0]
        layers[key] = ProductLayer(
            name=key,
            path=files[key],
            role=asset.role,
            dtype=first.data_type or "uint8",
            nodata=_number(first.nodata),
            unit=first.unit or "1",
            scale=first.scale,
            offset=first.offset,
            categorical=asset.categorical,
            band_names=tuple(band.name or "" for band in bands),
            description=asset.description or "",
            statistics=tuple({str(k): v for k, v in (band.statistics or {}).items()} for band in bands),
        )
        if asset.role == "value" and first.classes:
            classes = [entry for entry in first.classes if not entry.nodata]
            legend = Legend(
                name=asset.legend_name or "classes",
                classes=tuple(
                    LegendClass(
                        value=entry.value,
                        name=entry.title or entry.name,
                        colour="#" + (entry.color_hint or "000000").lower(),
                        description=entry.description or "",
                    )
                    for entry in classes
                ),
            )
            class_pixels = {entry.value: entry.count or 0 for entry in classes}
    properties = fields.properties
    geobox = GeoBox(properties.shape, Affine(*properties.transform[:6]), properties.code or properties.wkt2)
    return Product(
        folder=folder,
        item=item,
        layers=layers,
        geobox=geobox,
        legend=legend,
        class_pixels=class_pixels,
        quicklook=files.get("quicklook"),
        polygons=files.get("polygons"),
    )


def _number(nodata: float | int | str | None) -> float | int | None:
    return float(nodata) if isinstance(nodata, str) else nodata
