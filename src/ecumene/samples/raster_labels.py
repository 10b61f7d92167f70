"""A categorical raster to labels on a grid."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from ecumene.core.errors import LabelError
from ecumene.core.window import Window
from ecumene.legends import Legend, LegendClass
from ecumene.samples.class_values import drop_ignored, legend_of, match_values
from ecumene.samples.contract import IGNORE
from ecumene.samples.grids import crs_of, grid_window
from ecumene.samples.labels import LabelRaster, crop

_TILE = 1024


def read_raster_labels(
    path: Path | str, geobox: GeoBox, *, legend: Legend | None = None, ignore: Sequence[str | int] = ()
) -> LabelRaster:
    """Read a categorical GeoTIFF, resampled to the grid by nearest neighbour.

    Codes become classes through `legend`, else through the category names stored with the file (GDAL's
    `.aux.xml`), else each code is a class named after its number. Patches of connected pixels of one
    class (4-neighbourhood) are the features.

    Args:
        path: The raster; its first band is read. Its nodata and mask mean unlabelled.
        geobox: The scene's grid.
        legend: Classes by code.
        ignore: Codes (or names) that mean unlabelled, such as an undeclared 0.

    Returns:
        The labels, see `ecumene.samples.labels.read_labels`.

    Raises:
        LabelError: If the file cannot be read, is not integer, or has no label in the grid.
    """
    path = Path(path)
    full = grid_window(geobox)
    with open_warped(path, geobox, "labels") as (vrt, source):
        if not np.issubdtype(np.dtype(source.dtypes[0]), np.integer):
            raise LabelError(
                f"{path.name} holds {source.dtypes[0]} values, which are no classes; give an integer raster, or read "
                "it as a numeric target."
            )
        codes: NDArray[Any] = np.zeros((full.height, full.width), np.dtype(source.dtypes[0]))
        known = np.zeros(codes.shape, bool)
        for tile in tiles(full, _TILE):
            codes[tile.slices], known[tile.slices] = read_tile(vrt, tile)
    distinct = np.unique(codes[known])
    own = legend if legend is not None else _named_legend(path, distinct)
    refused = set(distinct[~drop_ignored(distinct.tolist(), ignore)].tolist())
    if own is not None:
        refused |= {c.value for c in own.classes if c.name in {str(item) for item in ignore}}
    kept = np.array([code for code in distinct.tolist() if code not in refused], dtype=np.int64)
    if kept.size == 0:
        raise LabelError(f"{path.name} has no labelled pixel in the scene; check that both show the same place.")
    if own is None:
        own = legend_of(kept.tolist(), name=path.stem)
    indices = match_values(kept.tolist(), own, f"labels {path.name}")
    classes = np.full(codes.shape, IGNORE, np.int16)
    for code, index in zip(kept, indices, strict=True):
        classes[known & (codes == code)] = index
    del codes, known
    held = crop(LabelRaster(full, classes, np.broadcast_to(np.int32(-1), classes.shape), own, geobox))
    feature_id, counts = connected_features(held.classes, len(own))
    return LabelRaster(held.window, held.classes, feature_id, own, geobox, counts, source=path.name)


def connected_features(classes: NDArray[np.integer], n_classes: int) -> tuple[NDArray[np.int32], tuple[int, ...]]:
    """Number the patches of connected pixels of one class.

    Args:
        classes: `[h, w]`, -1 unlabelled.
        n_classes: Number of classes.

    Returns:
        int32 `[h, w]` patch numbers from 0 (-1 unlabelled), and the patches of each class.
    """
    from scipy import ndimage

    feature_id = np.full(classes.shape, -1, np.int32)
    counts = []
    start = 0
    for index in range(n_classes):
        here = classes == index
        numbered, count = ndimage.label(here)
        feature_id[here] = np.asarray(numbered)[here] - 1 + start
        counts.append(int(count))
        start += int(count)
    return feature_id, tuple(counts)


def tiles(window: Window, size: int) -> Iterator[Window]:
    """Yield the parts of a window of at most `size` rows and columns, row by row."""
    for row in range(window.row, window.row_stop, size):
        for col in range(window.col, window.col_stop, size):
            yield Window(row, col, min(size, window.row_stop - row), min(size, window.col_stop - col))


@contextlib.contextmanager
def open_warped(
    path: Path | str, geobox: GeoBox, what: str, *, resampling: str = "nearest", dtype: str | None = None
) -> Iterator[tuple[Any, Any]]:
    """Open a GeoTIFF as if it lay on the grid.

    Args:
        path: The file.
        geobox: The grid.
        what: Noun for error messages.
        resampling: Name of a `rasterio.enums.Resampling`.
        dtype: Data type to resample in (default: the file's).

    Yields:
        `(vrt, source)`: the warped view and the data set itself.

    Raises:
        LabelError: If the file cannot be opened or has no coordinate system.
    """
    import rasterio
    from rasterio.enums import ColorInterp, Resampling
    from rasterio.errors import RasterioIOError
    from rasterio.vrt import WarpedVRT

    path = Path(path)
    if not path.is_file():
        raise LabelError(f"The {what} file {path} does not exist; check the path.")
    crs = crs_of(geobox)
    try:
        # Only GeoTIFF: formats that can point to other files are not opened.
        source = rasterio.open(path, driver="GTiff")
    except RasterioIOError as error:
        raise LabelError(
            f"The {what} {path.name} cannot be read; give a GeoTIFF, or a vector file such as GeoPackage."
        ) from error
    with source:
        if source.crs is None:
            raise LabelError(f"The {what} {path.name} state no coordinate reference system; add one to the file.")
        options: dict[str, Any] = {} if dtype is None else {"dtype": dtype}
        # Without nodata, what the file does not cover would read as 0, a possible class.
        options["add_alpha"] = source.nodata is None and ColorInterp.alpha not in source.colorinterp
        with WarpedVRT(
            source,
            crs=crs.to_wkt(),
            transform=geobox.affine,
            width=int(geobox.width),
            height=int(geobox.height),
            resampling=Resampling[resampling],
            tolerance=1e-3,  # in pixels; the default of an eighth moves labels visibly
            **options,
        ) as vrt:
            yield vrt, source


def read_tile(vrt: Any, window: Window) -> tuple[NDArray, NDArray[np.bool_]]:
    """Read the first band of a warped raster and where it has data.

    Raises:
        LabelError: If the file is damaged.
    """
    from rasterio.errors import RasterioIOError
    from rasterio.windows import Window as RasterWindow

    place = RasterWindow(window.col, window.row, window.width, window.height)
    try:
        return vrt.read(1, window=place), vrt.read_masks(1, window=place) > 0
    except RasterioIOError as error:
        raise LabelError("The label raster cannot be read to its end; the file may be truncated.") from error


def _named_legend(path: Path, codes: NDArray) -> Legend | None:
    """Make a legend from the category names in GDAL's side-car file, for the codes that occur."""
    sidecar = path.with_name(path.name + ".aux.xml")
    if not sidecar.is_file():
        return None
    from xml.etree.ElementTree import ParseError

    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import parse

    try:
        root = parse(sidecar).getroot()
    except (ParseError, DefusedXmlException) as error:
        raise LabelError(f"{sidecar.name} is not well-formed XML; remove it or save the raster again.") from error
    band = root.find("./PAMRasterBand[@band='1']/CategoryNames") if root is not None else None
    if band is None:
        return None
    names = {position: (item.text or "").strip() for position, item in enumerate(band.findall("Category"))}
    used = {int(code): names.get(int(code), "") for code in codes if int(code) in names and 0 <= int(code) <= 254}
    if not used or not all(used.values()) or len(set(used.values())) < len(used) or len(used) < len(codes):
        return None
    palette = Legend.from_names(used.values()).classes
    return Legend(
        name=path.stem,
        classes=tuple(
            LegendClass(value=code, name=name, colour=item.colour)
            for (code, name), item in zip(used.items(), palette, strict=True)
        ),
    )
