"""From finished tiles to one Cloud-Optimised GeoTIFF a layer, streamed.

A virtual raster over the tiles is copied by GDAL's COG driver, which holds a few rows of blocks at a
time. The file is validated before it takes its name.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from ecumene.core.errors import ProductError
from ecumene.core.files import atomic_path, write_text
from ecumene.legends import Legend
from ecumene.mapping.blocks import block_layout
from ecumene.mapping.layers import FLAG_NAMES
from ecumene.mapping.plan import Plan, Tile
from ecumene.mapping.tiles import TileStore
from ecumene.objectives.prediction import LayerSpec

GDAL_TYPE = {
    "uint8": "Byte",
    "uint16": "UInt16",
    "uint32": "UInt32",
    "int16": "Int16",
    "int32": "Int32",
    "float32": "Float32",
}
"""GDAL's name of a NumPy type."""

_FLAG_COLOURS = {"outlier": ("#ffffff", "#d55e00"), "valid": ("#000000", "#ffffff")}
_CACHE_BYTES = 64 << 20  # of all layers that are written at the same time
_MOST_OPEN_TILES = 100  # GDAL's own limit; fewer where a row of tiles needs fewer, as every open file takes memory


def class_table(spec: LayerSpec, legend: Legend | None) -> list[tuple[int, str, str]]:
    """Return (code, name, colour) of a categorical layer; empty where codes have no fixed meaning."""
    if spec.name in FLAG_NAMES:
        rows = zip(FLAG_NAMES[spec.name], _FLAG_COLOURS[spec.name], strict=True)
        return [(code, name, colour) for code, (name, colour) in enumerate(rows)]
    if spec.role == "value" and spec.categorical and spec.dtype == "uint8" and legend is not None:
        return [(item.value, item.name, item.colour) for item in legend.classes]
    return []


def _colour_table(table: list[tuple[int, str, str]]) -> str:
    entries = {code: colour for code, _, colour in table}
    lines = []
    for code in range(256):
        text = entries.get(code, "#000000")
        red, green, blue = (int(text[k : k + 2], 16) for k in (1, 3, 5))
        alpha = 255 if code in entries else 0
        lines.append(f'<Entry c1="{red}" c2="{green}" c3="{blue}" c4="{alpha}"/>')
    return "<ColorInterp>Palette</ColorInterp><ColorTable>" + "".join(lines) + "</ColorTable>"


def _band_xml(
    spec: LayerSpec, band: int, sources: Iterable[tuple[Tile, str]], table: list[tuple[int, str, str]]
) -> str:
    parts = [f'<VRTRasterBand dataType="{GDAL_TYPE[spec.dtype]}" band="{band}">']
    name = spec.band_names[band - 1] or spec.name
    parts.append(f"<Description>{escape(name)}</Description>")
    if spec.unit not in {"", "1"}:
        parts.append(f"<UnitType>{escape(spec.unit)}</UnitType>")
    if spec.role != "valid":
        parts.append(f"<NoDataValue>{spec.nodata}</NoDataValue>")
    if spec.scale != 1.0 or spec.offset != 0.0:
        parts.append(f"<Offset>{spec.offset!r}</Offset><Scale>{spec.scale!r}</Scale>")
    parts.append(_colour_table(table) if table else "<ColorInterp>Gray</ColorInterp>")
    for tile, path in sources:
        window = tile.window
        size = f'xSize="{window.width}" ySize="{window.height}"'
        parts.append(
            f'<SimpleSource><SourceFilename relativeToVRT="1">{escape(path)}</SourceFilename>'
            f"<SourceBand>{band}</SourceBand>"
            f'<SrcRect xOff="0" yOff="0" {size}/><DstRect xOff="{window.col}" yOff="{window.row}" {size}/>'
            "</SimpleSource>"
        )
    parts.append("</VRTRasterBand>")
    return "".join(parts)


def write_vrt(path: Path, plan: Plan, spec: LayerSpec, store: TileStore, legend: Legend | None) -> None:
    """Write the virtual raster of one layer over its tiles."""
    from rasterio.crs import CRS

    table = class_table(spec, legend)
    sources = [(tile, f"{store.folder.name}/{store.layer_path(tile, spec.name).name}") for tile in plan.tiles()]
    a, b, c, d, e, f = plan.transform
    metadata = {"AREA_OR_POINT": "Area", "layer": spec.name, "role": spec.role, "description": spec.description}
    if table:
        metadata["classes"] = "; ".join(f"{code}={name}" for code, name, _ in table)
    items = "".join(f"<MDI key={quoteattr(key)}>{escape(text)}</MDI>" for key, text in metadata.items() if text)
    bands = "".join(_band_xml(spec, band, sources, table) for band in range(1, spec.count + 1))
    text = (
        f'<VRTDataset rasterXSize="{plan.shape[1]}" rasterYSize="{plan.shape[0]}">'
        f"<SRS>{escape(CRS.from_user_input(plan.crs).to_wkt())}</SRS>"
        f"<GeoTransform>{c!r}, {a!r}, {b!r}, {f!r}, {d!r}, {e!r}</GeoTransform>"
        f"<Metadata>{items}</Metadata>{bands}</VRTDataset>"
    )
    write_text(path, text)


def validate_cog(path: Path) -> None:
    """Refuse a file that is not a valid Cloud-Optimised GeoTIFF.

    Raises:
        ProductError: With the validator's first complaint.
    """
    from rasterio.errors import RasterioError
    from rio_cogeo.cogeo import cog_validate

    try:
        valid, errors, _ = cog_validate(path, quiet=True)
    except UnboundLocalError:
        return  # older validators look for the first stored block, and a raster of nodata alone has none
    except RasterioError as error:
        raise ProductError(
            f"{path.name} was not written whole (is the disk full?); run the same command again."
        ) from error
    if not valid:
        raise ProductError(f"{path.name} is not a valid Cloud-Optimised GeoTIFF: {errors[0]}.")


def write_cog(target: Path, plan: Plan, spec: LayerSpec, store: TileStore, legend: Legend | None) -> None:
    """Assemble one layer.

    Args:
        target: The final file.
        plan: Grid, compression and block size.
        spec: The layer.
        store: Its tiles.
        legend: Classes of a categorical value.

    Raises:
        ProductError: If it cannot be written whole and valid.
    """
    import rasterio
    import rasterio.shutil
    from rasterio._err import CPLE_BaseError
    from rasterio.errors import RasterioError

    vrt = store.work / f"{spec.name}.vrt"
    write_vrt(vrt, plan, spec, store, legend)
    nearest = spec.categorical or spec.role == "set"
    options = {
        "COMPRESS": plan.compress.upper(),
        "PREDICTOR": "NO" if nearest else "YES",
        "BLOCKSIZE": plan.blocksize,
        "OVERVIEW_RESAMPLING": "NEAREST" if nearest else "AVERAGE",
        "OVERVIEW_COUNT": block_layout(plan.shape, plan.blocksize)[1],
        "BIGTIFF": "IF_SAFER",
        "NUM_THREADS": plan.threads,
        "STATISTICS": "NO",
        "LEVEL": 3 if plan.compress == "zstd" else 6,
    }
    cache = {} if "GDAL_CACHEMAX" in os.environ else {"GDAL_CACHEMAX": _CACHE_BYTES}
    columns = len({tile.window.col for tile in plan.tiles()})
    environment = cache | {
        "GDAL_PAM_ENABLED": "NO",
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
        "GDAL_MAX_DATASET_POOL_SIZE": min(4 * columns, _MOST_OPEN_TILES),
    }
    with atomic_path(target, validate_cog) as path:
        try:
            with rasterio.Env(CPL_TMPDIR=str(store.work), **environment):
                rasterio.shutil.copy(str(vrt), str(path), driver="COG", **options)
        except (RasterioError, CPLE_BaseError) as error:
            raise ProductError(
                f"{target.name} could not be written ({str(error)[:200]}); make room and run the same command again."
            ) from error
    vrt.unlink(missing_ok=True)


def write_category_names(target: Path, table: list[tuple[int, str, str]]) -> None:
    """Write class names where GDAL looks for them, beside the raster (GeoTIFF itself has no place for them)."""
    names = {code: name for code, name, _ in table}
    categories = "".join(f"<Category>{escape(names.get(code, ''))}</Category>" for code in range(max(names) + 1))
    write_text(
        target,
        f'<PAMDataset><PAMRasterBand band="1"><CategoryNames>{categories}</CategoryNames>'
        "</PAMRasterBand></PAMDataset>\n",
    )
