"""Vector layers of a product: what a page shows of its GeoParquet files, and their features inside a box.

Facts come from the file's footer. Features are read batch by batch and end at a limit, so that memory does not depend
on the file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecumene.core.errors import ProductError
from ecumene.viewer.places import MERCATOR_HALF, is_georeferenced, lonlat_to_mercator
from ecumene.viewer.rasters import checked_path

if TYPE_CHECKING:
    import pyarrow as pa

    from ecumene.mapping.product import Product

MOST_FEATURES = 20_000
"""More features are never sent at once."""

_MEDIA = "application/vnd.apache.parquet"
_BATCH = 4096
_MOST_COLUMNS = 64
_HEIGHT = "height_m"
_HEIGHT_ERRORS = ("height_standard_deviation_m", "height_deviation_m")
_KINDS = {"Point": "point", "MultiPoint": "point", "LineString": "line", "MultiLineString": "line"}

Box = tuple[float, float, float, float]


def vector_files(product: Product) -> dict[str, Path]:
    """Return the GeoParquet files of a product by asset name."""
    return {
        key: product.folder / str(asset["href"])
        for key, asset in product.item["assets"].items()
        if str(asset.get("type", "")).startswith(_MEDIA)
    }


def describe_vectors(product: Product, base: str) -> list[dict[str, Any]]:
    """Describe every GeoParquet file of a product; files of that kind without geometry are left out.

    Args:
        product: The product.
        base: Relative address of the product.

    Raises:
        ProductError: If a file cannot be read.
    """
    described = []
    for name, path in vector_files(product).items():
        found = _describe(product, name, path)
        if found is not None:
            described.append(found | {"url": f"{base}/vectors/{name}"})
    return described


def _open(product: Product, path: Path) -> tuple[Any, Mapping[str, Any] | None]:
    """Return (Parquet file, its GeoParquet metadata or None)."""
    import pyarrow.parquet as pq
    from pyarrow.lib import ArrowException

    real = checked_path(product.folder, path)
    try:
        file = pq.ParquetFile(real)
        geo = (file.schema_arrow.metadata or {}).get(b"geo")
        return file, json.loads(geo) if geo else None
    except (ArrowException, OSError, ValueError) as error:
        raise ProductError(f"{path.name} of {product.folder.name} cannot be read as GeoParquet; map again.") from error


def _column_range(file: Any, index: int) -> tuple[float | None, float | None]:
    """Return (minimum, maximum) of a column from the footer's statistics."""
    low, high = math.inf, -math.inf
    for group in range(file.metadata.num_row_groups):
        numbers = file.metadata.row_group(group).column(index).statistics
        if numbers is None or not numbers.has_min_max:
            return None, None
        low, high = min(low, float(numbers.min)), max(high, float(numbers.max))
    return (low, high) if low <= high and math.isfinite(low) and math.isfinite(high) else (None, None)


def _columns(file: Any, geometry: str) -> list[dict[str, Any]]:
    import pyarrow as pa

    positions = {file.schema.column(i).path: i for i in range(len(file.schema))}
    columns = []
    for field in list(file.schema_arrow)[:_MOST_COLUMNS]:
        if field.name == geometry or pa.types.is_nested(field.type) or pa.types.is_binary(field.type):
            continue
        if pa.types.is_boolean(field.type):
            columns.append({"name": field.name, "kind": "flag", "minimum": None, "maximum": None})
        elif pa.types.is_integer(field.type) or pa.types.is_floating(field.type):
            low, high = _column_range(file, positions[field.name]) if field.name in positions else (None, None)
            columns.append({"name": field.name, "kind": "number", "minimum": low, "maximum": high})
        else:
            columns.append({"name": field.name, "kind": "text", "minimum": None, "maximum": None})
    return columns


def _describe(product: Product, name: str, path: Path) -> dict[str, Any] | None:
    file, geo = _open(product, path)
    if geo is None:
        return None
    primary = str(geo.get("primary_column", "geometry"))
    types = [str(kind).removesuffix(" Z") for kind in geo["columns"][primary].get("geometry_types", [])]
    columns = _columns(file, primary)
    known = {column["name"]: column for column in columns}
    height = known.get(_HEIGHT) if known.get(_HEIGHT, {}).get("kind") == "number" else None
    colour_by = "class" if "class" in known and product.legend is not None else _HEIGHT if height else None
    low, high = (height["minimum"], height["maximum"]) if height else (None, None)
    return {
        "name": name,
        "title": str(product.item["assets"][name].get("title") or name),
        "geometry": _KINDS.get(types[0], "polygon") if types else "polygon",
        "number": int(file.metadata.num_rows),
        "columns": columns,
        "colour_by": colour_by,
        "limits": [low, high] if low is not None and high is not None and high > low else None,
        "colormap": "viridis" if colour_by == _HEIGHT else None,
        "height": None
        if height is None
        else {"column": _HEIGHT, "uncertainty": next((error for error in _HEIGHT_ERRORS if error in known), None)},
    }


def read_features(product: Product, name: str, box: Box | None = None, limit: int = 5000) -> dict[str, Any]:
    """Return the features of a vector layer that touch a box.

    Args:
        product: The product.
        name: Of the vector layer.
        box: West, south, east, north in degrees; None: everywhere.
        limit: Most features, at most `MOST_FEATURES`.

    Returns:
        A GeoJSON FeatureCollection in WGS 84 with `total` (rows of the file), `returned` and `truncated`.

    Raises:
        ProductError: If there is no such layer or it cannot be read.
    """
    files = vector_files(product)
    if name not in files:
        raise ProductError(f"The product {product.folder.name} has no vector layer {name!r}.")
    file, geo = _open(product, files[name])
    if geo is None:
        raise ProductError(f"{files[name].name} of {product.folder.name} has no geometry.")
    primary = str(geo.get("primary_column", "geometry"))
    wanted = [column["name"] for column in _columns(file, primary)]
    colours = {entry.name: entry.colour for entry in product.legend.classes} if product.legend else {}
    place = _Place(product, geo["columns"][primary])
    features: list[dict[str, Any]] = []
    truncated = False
    for batch in _batches(file, [*wanted, primary], place.box_of_file(box)):
        for feature in _features(batch, wanted, primary, place, box, colours):
            if len(features) >= min(limit, MOST_FEATURES):
                truncated = True
                break
            features.append(feature)
        if truncated:
            break
    return {
        "type": "FeatureCollection",
        "features": features,
        "total": int(file.metadata.num_rows),
        "returned": len(features),
        "truncated": truncated,
    }


def _batches(file: Any, columns: Sequence[str], box: Box | None) -> Iterator[pa.RecordBatch]:
    """Yield batches of rows; row groups whose covering box lies elsewhere are passed over."""
    with_cover = "bbox" in file.schema_arrow.names
    positions = {file.schema.column(i).path: i for i in range(len(file.schema))}
    for group in range(file.metadata.num_row_groups):
        if box is not None and with_cover and _elsewhere(file.metadata.row_group(group), positions, box):
            continue
        yield from file.iter_batches(batch_size=_BATCH, row_groups=[group], columns=list(columns))


def _elsewhere(group: Any, positions: Mapping[str, int], box: Box) -> bool:
    ends = {}
    for key in ("xmin", "ymin", "xmax", "ymax"):
        index = positions.get(f"bbox.{key}")
        numbers = None if index is None else group.column(index).statistics
        if numbers is None or not numbers.has_min_max:
            return False
        ends[key] = numbers
    return bool(
        ends["xmin"].min > box[2] or ends["xmax"].max < box[0] or ends["ymin"].min > box[3] or ends["ymax"].max < box[1]
    )


class _Place:
    """Moves coordinates of a file to degrees, and a box of degrees to the file's coordinates."""

    def __init__(self, product: Product, column: Mapping[str, Any]) -> None:
        from pyproj import Transformer

        rows, cols = product.geobox.shape
        self._centre = (cols / 2, rows / 2)
        self._move: Any = None
        self.pixels = not is_georeferenced(product.geobox)
        if not self.pixels:
            crs = column.get("crs", "OGC:CRS84") or product.geobox.crs.proj  # type: ignore[union-attr]
            self._move = Transformer.from_crs(crs, "OGC:CRS84", always_xy=True)

    def box_of_file(self, box: Box | None) -> Box | None:
        """Return the box in the file's coordinates, or None for no box."""
        if box is None:
            return None
        if self.pixels:
            (left, bottom), (right, top) = (lonlat_to_mercator(*box[:2]), lonlat_to_mercator(*box[2:]))
            cx, cy = self._centre
            return left + cx, cy - top, right + cx, cy - bottom
        moved = self._move.transform_bounds(*box, direction="INVERSE")
        return moved if all(math.isfinite(value) for value in moved) else None

    def to_degrees(self, geometries: Any) -> Any:
        """Move an array of shapely geometries."""
        import numpy as np
        import shapely

        def move(points: Any) -> Any:
            if self.pixels:
                x, y = points[:, 0] - self._centre[0], self._centre[1] - points[:, 1]
                lat = 2 * np.arctan(np.exp(y / MERCATOR_HALF * np.pi)) - np.pi / 2
                return np.column_stack([x / MERCATOR_HALF * 180, np.degrees(lat)])
            return np.column_stack(self._move.transform(points[:, 0], points[:, 1]))

        return shapely.transform(geometries, move)


def _features(
    batch: pa.RecordBatch,
    columns: Sequence[str],
    primary: str,
    place: _Place,
    box: Box | None,
    colours: Mapping[str, str],
) -> Iterator[dict[str, Any]]:
    import numpy as np
    import shapely

    geometries = shapely.from_wkb(batch.column(primary).to_numpy(zero_copy_only=False), on_invalid="ignore")
    geometries = place.to_degrees(shapely.force_2d(geometries))
    present = ~shapely.is_missing(geometries) & ~shapely.is_empty(geometries)
    if box is not None:
        present &= shapely.intersects(geometries, shapely.box(*box))
    keep = np.flatnonzero(present)
    rows = batch.take(keep).select(list(columns)).to_pylist()
    for row, text in zip(rows, shapely.to_geojson(geometries[keep]), strict=True):
        properties = {key: _plain(value) for key, value in row.items()}
        if properties.get("class") in colours:
            properties["colour"] = colours[str(properties["class"])]
        yield {"type": "Feature", "geometry": json.loads(text), "properties": properties}


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.9g}") if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
