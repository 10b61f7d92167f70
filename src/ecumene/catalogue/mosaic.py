"""Mosaics: one virtual raster a layer and coordinate system, with paths relative to the store, that QGIS opens.

Tiles of one coordinate system share a lattice and do not overlap, so that no pixel is resampled. Tiles in several
UTM zones make one mosaic a zone; GIS programs put them together on the screen. Where every day was mapped by
itself, each day has its mosaic.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from ecumene.catalogue.empty import EMPTY
from ecumene.catalogue.store import TILES
from ecumene.core.errors import ProductError
from ecumene.mapping.cog import GDAL_TYPE

_OVERVIEWS_ABOVE = 4096


@dataclass(frozen=True)
class _Tile:
    unit: str
    shape: tuple[int, int]
    transform: tuple[float, ...]
    asset: Mapping[str, Any]


def mosaics(items: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the virtual rasters of a collection as texts by file name.

    Args:
        items: Items by unit.

    Returns:
        `value.vrt` and so on; with the day where days are mapped by themselves, and with the code of the
        coordinate system where there are several.

    Raises:
        ProductError: If tiles of one layer differ in data type or are not on one lattice.
    """
    groups: dict[tuple[str, str, str], list[_Tile]] = {}
    systems = {_crs(item) for item in items.values()}
    for unit, item in sorted(items.items()):
        day = unit.partition("_")[2]
        for name, asset in item["assets"].items():
            if asset.get("ecumene:role") and not (item["properties"].get(EMPTY) and name != "valid"):
                shape, transform = item["properties"]["proj:shape"], item["properties"]["proj:transform"]
                tile = _Tile(unit, (int(shape[0]), int(shape[1])), tuple(map(float, transform[:6])), asset)
                groups.setdefault((name, day, _crs(item)), []).append(tile)
    texts = {}
    for (name, day, crs), tiles in sorted(groups.items()):
        parts = [name, *([day] if day else []), *([crs.replace(":", "")] if len(systems) > 1 else [])]
        texts["-".join(parts) + ".vrt"] = _vrt(name, crs, tiles)
    return texts


def _crs(item: Mapping[str, Any]) -> str:
    properties = item["properties"]
    return str(properties.get("proj:code") or properties.get("proj:wkt2"))


def _vrt(layer: str, crs: str, tiles: Sequence[_Tile]) -> str:
    from rasterio.crs import CRS

    step_x, step_y = tiles[0].transform[0], tiles[0].transform[4]
    left = min(tile.transform[2] for tile in tiles)
    top = max(tile.transform[5] for tile in tiles)
    places = [_offset(tile, left, top, (step_x, step_y), layer) for tile in tiles]
    height = max(row + tile.shape[0] for (row, _), tile in zip(places, tiles, strict=True))
    width = max(col + tile.shape[1] for (_, col), tile in zip(places, tiles, strict=True))
    bands = _fullest(tiles)
    kinds = {tuple(str(band.get("data_type")) for band in tile.asset.get("bands") or [{}]) for tile in tiles}
    if len(kinds) > 1:
        raise ProductError(f"The tiles' layers {layer} differ in bands or data type, so they make no mosaic.")
    xml = [_band(number, band, layer, zip(places, tiles, strict=True)) for number, band in enumerate(bands, 1)]
    overviews = ""
    if max(height, width) > _OVERVIEWS_ABOVE:
        factors = [str(2**k) for k in range(1, 13) if max(height, width) >> k >= 256]
        categorical = bool(tiles[0].asset.get("ecumene:categorical"))
        kind = "nearest" if categorical else "average"
        overviews = f'<OverviewList resampling="{kind}">{" ".join(factors)}</OverviewList>'
    return (
        f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}">'
        f"<SRS>{escape(CRS.from_user_input(crs).to_wkt())}</SRS>"
        f"<GeoTransform>{left!r}, {step_x!r}, 0.0, {top!r}, 0.0, {step_y!r}</GeoTransform>"
        f"{''.join(xml)}{overviews}</VRTDataset>\n"
    )


def _fullest(tiles: Sequence[_Tile]) -> Sequence[Mapping[str, Any]]:
    """Return the bands of the first tile that names its classes, else of the first; empty tiles do not name them."""
    for tile in tiles:
        bands: Sequence[Mapping[str, Any]] = tile.asset.get("bands") or [{}]
        if "classification:classes" in bands[0]:
            return bands
    return tiles[0].asset.get("bands") or [{}]


def _offset(tile: _Tile, left: float, top: float, step: tuple[float, float], layer: str) -> tuple[int, int]:
    """Return (row, column) of a tile in its mosaic."""
    a, b, c, d, e, f = tile.transform
    col, row = (c - left) / step[0], (f - top) / step[1]
    exact = abs(col - round(col)) < 1e-3 and abs(row - round(row)) < 1e-3
    if (a, e) != step or b or d or not exact:
        raise ProductError(f"The tile {tile.unit} is not on the lattice of the others, so {layer} makes no mosaic.")
    return round(row), round(col)


def _band(number: int, band: Mapping[str, Any], layer: str, tiles: Iterable[tuple[tuple[int, int], _Tile]]) -> str:
    parts = [f'<VRTRasterBand dataType="{GDAL_TYPE[str(band.get("data_type", "uint8"))]}" band="{number}">']
    parts.append(f"<Description>{escape(str(band.get('name') or layer))}</Description>")
    if band.get("unit"):
        parts.append(f"<UnitType>{escape(str(band['unit']))}</UnitType>")
    if band.get("nodata") is not None:
        parts.append(f"<NoDataValue>{band['nodata']}</NoDataValue>")
    scale, offset = band.get("raster:scale", 1.0), band.get("raster:offset", 0.0)
    if (scale, offset) != (1.0, 0.0):
        parts.append(f"<Offset>{float(offset)!r}</Offset><Scale>{float(scale)!r}</Scale>")
    parts.append(_classes(band.get("classification:classes") or ()))
    for (row, col), tile in tiles:
        height, width = tile.shape
        href = f"{TILES}/{tile.unit}/{str(tile.asset['href']).removeprefix('./')}"
        size = f'xSize="{width}" ySize="{height}"'
        parts.append(
            f'<SimpleSource><SourceFilename relativeToVRT="1">{escape(href)}</SourceFilename>'
            f'<SourceBand>{number}</SourceBand><SourceProperties RasterXSize="{width}" RasterYSize="{height}" '
            f'DataType="{GDAL_TYPE[str(band.get("data_type", "uint8"))]}"/>'
            f'<SrcRect xOff="0" yOff="0" {size}/><DstRect xOff="{col}" yOff="{row}" {size}/></SimpleSource>'
        )
    return "".join(parts) + "</VRTRasterBand>"


def _classes(classes: Sequence[Mapping[str, Any]]) -> str:
    """Return colours and names of a categorical band."""
    known = {int(entry["value"]): entry for entry in classes if not entry.get("nodata")}
    if not known or min(known) < 0 or max(known) > 255:
        return "<ColorInterp>Gray</ColorInterp>"
    entries = []
    for code in range(256):
        colour = str(known.get(code, {}).get("color_hint", "000000"))
        red, green, blue = (int(colour[k : k + 2], 16) for k in (0, 2, 4))
        entries.append(f'<Entry c1="{red}" c2="{green}" c3="{blue}" c4="{255 if code in known else 0}"/>')
    names = "".join(
        f"<Category>{escape(str(known.get(code, {}).get('title') or known.get(code, {}).get('name') or ''))}</Category>"
        for code in range(max(known) + 1)
    )
    table = f"<ColorInterp>Palette</ColorInterp><ColorTable>{''.join(entries)}</ColorTable>"
    return f"{table}<CategoryNames>{names}</CategoryNames>"
