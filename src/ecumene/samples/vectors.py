"""Reading features from a vector file onto the coordinate system of a grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from odc.geo.geobox import GeoBox

from ecumene.core.errors import LabelError
from ecumene.samples.grids import crs_of

if TYPE_CHECKING:
    import geopandas

_DRIVERS = {"GPKG", "GeoJSON", "GeoJSONSeq", "ESRI Shapefile", "FlatGeobuf", "Parquet", "TopoJSON"}
_PARQUET = {".parquet", ".geoparquet"}
# A straight edge in one coordinate system is a curve in another; its sagitta is about L^2 / (8 R), so
# edges of 2 km deviate by less than 0.1 m.
_LONGEST_EDGE_M = 2000.0
_METRES_PER_DEGREE = 111_320.0


@dataclass(frozen=True)
class Features:
    """Features near a grid, in the grid's coordinate system.

    Attributes:
        frame: Columns as asked for, geometry repaired and not empty; its index counts the rows read.
        skipped: Rows without geometry or with null in a wanted column.
        repaired: Rows whose geometry was invalid.
        total: Rows in the file.
    """

    frame: geopandas.GeoDataFrame
    skipped: int
    repaired: int
    total: int


def is_vector(path: Path | str) -> bool:
    """Whether the file's suffix is that of a supported vector format."""
    return Path(path).suffix.lower() in {".gpkg", ".geojson", ".geojsonl", ".json", ".shp", ".fgb", *_PARQUET}


def read_features(
    path: Path | str,
    fields: Sequence[str],
    geobox: GeoBox | None,
    *,
    optional: Sequence[str] = (),
    layer: str | None = None,
    what: str = "labels",
) -> Features:
    """Read features, repair them and bring them into the coordinate system of `geobox`.

    Args:
        path: GeoPackage, GeoJSON, Shapefile, FlatGeobuf or GeoParquet.
        fields: Columns to keep; a row with null in one of them is skipped.
        geobox: The grid; only features whose bounding box meets it are kept. None: everything, in
            the file's own coordinate system.
        optional: Columns to keep where the file has them.
        layer: Layer of a file with several.
        what: Noun for error messages.

    Returns:
        The features.

    Raises:
        LabelError: If the file cannot be read, has no coordinate system, lacks a field, or holds
            several layers and none was chosen.
    """
    path = Path(path)
    if not path.is_file():
        raise LabelError(f"The {what} file {path} does not exist; check the path.")
    parquet = path.suffix.lower() in _PARQUET
    available = _parquet_fields(path, what) if parquet else _ogr_fields(path, layer, what)
    for name in fields:
        if name not in available:
            listed = ", ".join(available) if available else "none"
            raise LabelError(f"The {what} {path.name} have no field {name!r}; the fields are: {listed}.")
    wanted = list(dict.fromkeys([*fields, *(name for name in optional if name in available)]))
    frame = _read_frame(path, wanted, layer, parquet, what)
    if frame.crs is None:
        raise LabelError(
            f"The {what} {path.name} state no coordinate reference system; save them again with one "
            "(a Shapefile needs its .prj file)."
        )
    total = len(frame)
    missing = frame.geometry.isna() | frame.geometry.is_empty
    for name in fields:
        missing |= frame[name].isna()
    frame = frame[~missing]
    invalid = ~frame.geometry.is_valid.to_numpy(dtype=bool)
    frame = _repair(frame, invalid)
    if geobox is not None:
        frame = bring_to_grid(frame, geobox)
    return Features(frame, int(missing.sum()), int(invalid.sum()), total)


def _ogr_fields(path: Path, layer: str | None, what: str) -> list[str]:
    import pyogrio
    from pyogrio.errors import DataLayerError, DataSourceError

    with path.open("rb") as stream:
        if b"<OGRVRT" in stream.read(4096):
            raise LabelError(f"{path.name} is a virtual file that points to other files; give the data file itself.")
    try:
        layers = [str(name) for name in pyogrio.list_layers(path)[:, 0]]
        if layer is None and len(layers) > 1:
            raise LabelError(f"{path.name} has several layers ({', '.join(layers)}); choose one of them.")
        information = pyogrio.read_info(path, layer=layer)
    except DataLayerError as error:
        raise LabelError(f"{path.name} has no layer {layer!r}; it has: {', '.join(layers)}.") from error
    except DataSourceError as error:
        raise LabelError(
            f"The {what} {path.name} cannot be read as a vector file; give a GeoPackage, GeoJSON, "
            "Shapefile, FlatGeobuf or GeoParquet."
        ) from error
    if information["driver"] not in _DRIVERS:
        raise LabelError(
            f"The {what} {path.name} are in the format {information['driver']}; convert them to GeoPackage."
        )
    return [str(name) for name in information["fields"]]


def _parquet_fields(path: Path, what: str) -> list[str]:
    import pyarrow
    import pyarrow.parquet

    try:
        schema = pyarrow.parquet.read_schema(path)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise LabelError(f"The {what} {path.name} cannot be read as Parquet; the file may be damaged.") from error
    if schema.metadata is None or b"geo" not in schema.metadata:
        raise LabelError(f"{path.name} is Parquet without geometry metadata; save it as GeoParquet.")
    return [str(name) for name in schema.names if name != "geometry"]


def _read_frame(path: Path, fields: list[str], layer: str | None, parquet: bool, what: str) -> geopandas.GeoDataFrame:
    import geopandas
    from pyogrio.errors import DataSourceError

    try:
        frame = geopandas.read_parquet(path) if parquet else geopandas.read_file(path, columns=fields, layer=layer)
    except (DataSourceError, ValueError, OSError) as error:
        raise LabelError(f"The {what} {path.name} cannot be read; the file may be damaged.") from error
    if not isinstance(frame, geopandas.GeoDataFrame):
        raise LabelError(f"The {what} {path.name} hold a table without geometry; give points or polygons.")
    return frame[[*fields, frame.geometry.name]].reset_index(drop=True)


def _repair(frame: geopandas.GeoDataFrame, invalid: np.ndarray) -> geopandas.GeoDataFrame:
    """Make invalid polygons valid, keeping only their polygonal parts."""
    import shapely

    if not invalid.any():
        return frame
    geometries = np.array(frame.geometry.array, dtype=object)
    geometries[invalid] = [_polygonal(shapely.make_valid(item), item) for item in geometries[invalid]]
    frame = frame.set_geometry(np.asarray(geometries), crs=frame.crs)
    return frame[~frame.geometry.is_empty]


def _polygonal(repaired: Any, original: Any) -> Any:
    import shapely

    if "Polygon" not in original.geom_type or "Collection" not in repaired.geom_type:
        return repaired
    return shapely.union_all([part for part in repaired.geoms if "Polygon" in part.geom_type])


def bring_to_grid(frame: geopandas.GeoDataFrame, geobox: GeoBox) -> geopandas.GeoDataFrame:
    """Reproject features with densified edges and keep those whose bounding box meets the grid's.

    Args:
        frame: Of `read_features` without a grid.
        geobox: The grid.

    Raises:
        LabelError: If there is no way from their coordinate system to the grid's.
    """
    import shapely
    from pyproj import CRS
    from pyproj.exceptions import ProjError

    target = crs_of(geobox)
    source = CRS.from_user_input(frame.crs)
    if source != target and len(frame):
        unit = source.axis_info[0].unit_conversion_factor if source.is_projected else 1.0
        longest = _LONGEST_EDGE_M / (unit if source.is_projected else _METRES_PER_DEGREE)
        frame = frame.set_geometry(shapely.segmentize(frame.geometry.array, longest), crs=frame.crs)
        try:
            frame = frame.to_crs(target)
        except ProjError as error:
            raise LabelError(
                f"The labels' coordinate system {source.name} cannot be transformed to the scene's {target.name}."
            ) from error
    box = geobox.boundingbox
    bounds = frame.bounds.to_numpy()
    # Far outside of a projection's domain coordinates become infinite: comparisons are then False.
    meets = np.isfinite(bounds).all(axis=1)
    meets &= (bounds[:, 0] <= box.right) & (bounds[:, 2] >= box.left)
    meets &= (bounds[:, 1] <= box.top) & (bounds[:, 3] >= box.bottom)
    return frame[meets]
