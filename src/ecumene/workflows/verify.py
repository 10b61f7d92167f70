"""The verb `verify`: which polygons of a land-use map disagree with a product, ranked."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecumene.core.errors import ConfigurationError, LabelError, ProductError
from ecumene.core.files import ensure_writable_folder, sha256_of
from ecumene.core.progress import Progress, silent
from ecumene.core.window import Window
from ecumene.indicators.polygon_agreement import Agreement, PixelEvidence, judge_polygons
from ecumene.legends import Legend
from ecumene.mapping.product import Product, open_product
from ecumene.samples.raster_labels import tiles
from ecumene.samples.vectors import read_features
from ecumene.workflows.product_layers import ClassLayers, open_classes
from ecumene.workflows.verify_output import JSON_NAME, write_verification

if TYPE_CHECKING:
    import geopandas

_TILE = 1024
_CERTAINTY = 0.9


@dataclass(frozen=True)
class VerifyOptions:
    """What may be chosen.

    Attributes:
        column: Column with the polygons' class.
        layer: Layer of a file with several.
        classes: Classes of the product by value of the column; a value may be several classes.
        legend: Published legend of the column's values, brought to the product's by a crosswalk; None: values are
            class names or codes of the product.
        inset: Metres along the polygon's border that are left out, since pixels are mixed there.
        prior: Share of polygons that are wrong, before the map is seen.
        correlation: Of the map's errors within a polygon; None: estimated.
        overwrite: Replace a verification in the folder.
    """

    column: str = "class"
    layer: str | None = None
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    legend: str | None = None
    inset: float = 0.0
    prior: float = 0.05
    correlation: float | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class Verification:
    """What the verb found.

    Attributes:
        folder: Where it was written.
        table: One row a polygon, the most doubtful first.
        correlation: Of the map's errors within a polygon.
        notes: Sentences that must not be overlooked.
    """

    folder: Path
    table: geopandas.GeoDataFrame
    correlation: float
    notes: tuple[str, ...]


def verify_polygons(
    polygons: str | Path,
    product: str | Path,
    out: str | Path,
    options: VerifyOptions | None = None,
    *,
    progress: Progress = silent,
) -> Verification:
    """Compare each polygon with a map of classes and rank them by how probably they are wrong.

    Args:
        polygons: Vector file with a class for each polygon.
        product: Folder of the map.
        out: Folder for GeoPackage, GeoParquet, CSV, JSON and page.
        options: See there.
        progress: Called with (polygons done, polygons, what).

    Returns:
        The ranked polygons.

    Raises:
        ConfigurationError: If options are out of range, or a class is unknown.
        LabelError: If the polygons cannot be used.
        ProductError: If the product is no map of classes, or nothing can be written.
    """
    chosen = options or VerifyOptions()
    if not (np.isfinite(chosen.inset) and chosen.inset >= 0.0):
        raise ConfigurationError(f"The inset must be a length of at least 0 metres, but is {chosen.inset}.")
    folder = Path(out)
    if (folder / JSON_NAME).exists() and not chosen.overwrite:
        raise ProductError(f"{out} already holds a verification; use --overwrite to replace it, or another --out.")
    opened = open_product(product)
    with contextlib.ExitStack() as stack:
        layers = open_classes(opened, stack)
        features = read_features(polygons, [chosen.column], opened.geobox, layer=chosen.layer, what="polygons")
        frame, expected, notes = _expected(features.frame, layers.legend, chosen, Path(polygons).name)
        if features.skipped:
            notes.append(f"{features.skipped} features lack a class or a geometry and are left out.")
        evidence = []
        for number, (shape, wanted) in enumerate(zip(_shapes(frame, chosen, opened), expected, strict=True)):
            progress(number, len(frame), "polygons")
            evidence.append(_evidence(layers, shape, wanted))
        progress(len(frame), len(frame), "polygons")
    if not any(item.pixels for item in evidence):
        raise LabelError(
            f"No polygon of {Path(polygons).name} holds a mapped pixel; check that both show one place, and --inset."
        )
    empty = sum(item.pixels == 0 for item in evidence)
    if empty:
        notes.append(f"{empty} polygons hold no mapped pixel and are not judged.")
    if layers.chances is None:
        notes.append(f"The map has no probabilities; each class is taken to be {_CERTAINTY:.0%} certain.")
    found = judge_polygons(evidence, expected, prior=chosen.prior, correlation=chosen.correlation)
    table = _table(frame, evidence, expected, found, layers.legend, chosen.column)
    provenance = {
        "inputs": [
            {"name": Path(polygons).name, "what": "polygons", "sha256": sha256_of(polygons)},
            {"name": opened.folder.resolve().name, "what": "product", "sha256": sha256_of(opened.item_path)},
        ],
        "options": {
            key: dict(value) if isinstance(value, Mapping) else value
            for key, value in vars(chosen).items()
            if key != "overwrite"
        },
    }
    write_verification(ensure_writable_folder(folder), table, found.correlation, chosen.column, notes, provenance)
    return Verification(folder, table, found.correlation, tuple(notes))


def _expected(
    frame: geopandas.GeoDataFrame, legend: Legend, chosen: VerifyOptions, name: str
) -> tuple[geopandas.GeoDataFrame, list[tuple[int, ...]], list[str]]:
    """Return polygons with their possible classes (indices), and notes about those that have none."""
    areal = frame.geometry.geom_type.isin(["Polygon", "MultiPolygon"])
    frame = frame[areal.to_numpy()]
    if frame.empty:
        raise LabelError(f"{name} has no polygon in the map; points are compared by `ecumene assess`.")
    values = [str(value).strip() for value in frame[chosen.column]]
    table = _classes_of(sorted(set(values)), legend, chosen)
    lost = sorted({value for value in values if not table.get(value)})
    keep = np.array([bool(table.get(value)) for value in values])
    if not keep.any():
        raise LabelError(
            f"No value of {chosen.column!r} ({', '.join(lost[:5])}) is a class of the map ({', '.join(legend.names)}); "
            "say what they are with --class VALUE=NAME or --legend."
        )
    notes = []
    if lost:
        notes.append(
            f"{int((~keep).sum())} polygons have no counterpart in the map and are left out: {', '.join(lost)}."
        )
    return frame[keep], [table[value] for value, kept in zip(values, keep, strict=True) if kept], notes


def _classes_of(values: Sequence[str], legend: Legend, chosen: VerifyOptions) -> dict[str, tuple[int, ...]]:
    """Return indices of the map's classes by value of the column."""
    table: dict[str, tuple[int, ...]] = {}
    if chosen.legend is not None:
        from ecumene.legends.crosswalk import get_crosswalk

        walk = get_crosswalk(chosen.legend, legend.name)
        for value in values:
            row = _place(value, walk.source)
            if row is not None:
                targets = [walk.target.names[k] for k in np.flatnonzero(walk.shares[row] > 0)]
                table[value] = tuple(legend.names.index(name) for name in targets if name in legend.names)
    else:
        for value in values:
            place = _place(value, legend)
            if place is not None:
                table[value] = (place,)
    for value, names in chosen.classes.items():
        if unknown := [name for name in names if name not in legend.names]:
            raise ConfigurationError(
                f"The map has no class {unknown[0]!r} for {value!r}; it has: {', '.join(legend.names)}."
            )
        table[value] = tuple(legend.names.index(name) for name in names)
    return table


def _place(value: str, legend: Legend) -> int | None:
    """Return the index of a class by its name or its code."""
    if value in legend.names:
        return legend.names.index(value)
    text = value.removesuffix(".0")
    if text.lstrip("-").isdigit() and int(text) in legend.values:
        return legend.values.index(int(text))
    return None


def _shapes(frame: geopandas.GeoDataFrame, chosen: VerifyOptions, product: Product) -> list[Any]:
    """Return the polygons without their borders."""
    if chosen.inset == 0.0:
        return list(frame.geometry)
    crs = product.geobox.crs
    if crs is None or crs.geographic:
        raise ConfigurationError("An inset in metres needs a map in a projected coordinate system; map in one.")
    return list(frame.geometry.buffer(-chosen.inset))


def _evidence(layers: ClassLayers, shape: Any, expected: tuple[int, ...]) -> PixelEvidence:
    """Add up the pixels whose centres lie in a polygon."""
    from rasterio.features import rasterize

    found = PixelEvidence(len(layers.legend))
    window = None if shape.is_empty else _window(shape.bounds, layers)
    if window is None:
        return found
    geobox = layers.product.geobox
    for tile in tiles(window, _TILE):
        affine = geobox.affine * geobox.affine.translation(tile.col, tile.row)
        inside = rasterize([(shape, 1)], out_shape=(tile.height, tile.width), transform=affine, dtype="uint8") == 1
        if not inside.any():
            continue
        index, known = layers.classes(tile)
        chances = layers.probabilities(tile)
        use = inside & known
        if chances is None:
            count = len(layers.legend)
            chances = np.full((count, *known.shape), (1.0 - _CERTAINTY) / (count - 1))
            np.put_along_axis(chances, index[None], _CERTAINTY, 0)
        use &= np.isfinite(chances).all(axis=0)
        found.add(index[use], chances[:, use], expected, layers.flags(tile)[use])
    return found


def _window(bounds: tuple[float, float, float, float], layers: ClassLayers) -> Window | None:
    """Return the part of the grid that a bounding box touches, or None."""
    geobox = layers.product.geobox
    inverse = ~geobox.affine
    corners = [inverse * (x, y) for x in bounds[::2] for y in bounds[1::2]]
    cols, rows = [corner[0] for corner in corners], [corner[1] for corner in corners]
    row, col = int(np.floor(min(rows))), int(np.floor(min(cols)))
    height, width = int(np.ceil(max(rows))) - row, int(np.ceil(max(cols))) - col
    whole = Window(0, 0, int(geobox.shape[0]), int(geobox.shape[1]))
    return Window(row, col, max(height, 1), max(width, 1)).intersect(whole)


def _table(
    frame: geopandas.GeoDataFrame,
    evidence: Sequence[PixelEvidence],
    expected: Sequence[tuple[int, ...]],
    found: Agreement,
    legend: Legend,
    field_name: str,
) -> geopandas.GeoDataFrame:
    """Return one row a polygon, the most doubtful first."""
    import geopandas

    names = np.array([*legend.names, ""])
    mapped = [-1 if not item.pixels or item.counts is None else int(item.counts.argmax()) for item in evidence]
    outliers = [item.outliers / item.pixels if item.pixels else np.nan for item in evidence]
    table = geopandas.GeoDataFrame(
        {
            "row": frame.index.to_numpy(),
            field_name: [str(value) for value in frame[field_name]],
            "expected": [" or ".join(legend.names[k] for k in wanted) for wanted in expected],
            "mapped": names[mapped],
            "likeliest": names[found.likeliest],
            "pixels": [item.pixels for item in evidence],
            "share_agrees": found.share,
            "expected_disagreement": found.expected_disagreement,
            "p_value": found.p_value,
            "probability_wrong": found.wrong,
            "effective_pixels": found.effective_pixels,
            "share_outlier": outliers,
        },
        geometry=frame.geometry.to_numpy(),
        crs=frame.crs,
    )
    order = np.lexsort((found.p_value, -np.nan_to_num(found.wrong, nan=-1.0)))
    table = table.iloc[order].reset_index(drop=True)
    table.insert(0, "rank", np.arange(1, len(table) + 1))
    return table
