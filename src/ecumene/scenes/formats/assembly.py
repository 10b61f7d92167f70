"""From files and what is said about them to one `SceneSource`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from odc.geo.geobox import GeoBox

from ecumene.core.errors import ContractError, SceneError
from ecumene.scenes.contract import BandSource, MaskSource, SceneSource
from ecumene.scenes.declaration import Declaration, MaskDeclaration
from ecumene.scenes.formats.naming import acquisition_time, name_bands
from ecumene.scenes.formats.product import Calibration, Candidate, Product
from ecumene.scenes.formats.radiometry import calibrate, level_of_band, nodata_of, resolve_level
from ecumene.scenes.formats.raster import inspect_raster
from ecumene.scenes.security import AllowedRoots
from ecumene.sensors import ProductLevel, Sensor, match_band


def assemble(
    candidates: Sequence[Candidate],
    declaration: Declaration,
    product: Product | None,
    roots: AllowedRoots,
    *,
    name: str,
    folder: Path | None,
    mask: MaskSource | None = None,
) -> SceneSource:
    """Make the description of one acquisition.

    Args:
        candidates: Bands that may belong to it.
        declaration: What is declared, options over `scene.yaml`.
        product: What product metadata say, if there are any.
        roots: Where a declared mask may lie.
        name: Name of the scene where nothing else names it.
        folder: What a declared mask's path is relative to.
        mask: Mask that was found beside the files.

    Returns:
        The description; its grid is that of the finest band.

    Raises:
        ConfigurationError: If something must be declared.
        ContractError: If a band is missing.
        SceneError: If there are no bands, or the mask is unusable.
    """
    if not candidates:
        raise SceneError(f"{name} contains no scene; name a raster file, a product folder or a scene.yaml.")
    sensor, level = resolve_level(declaration, product, name)
    named = _selected(name_bands(candidates, sensor, level, declaration), sensor, declaration, name)
    bands, thermal = _bands(named, sensor, level, declaration, product)
    properties: dict[str, Any] = dict(product.properties) if product else {}
    if thermal:
        properties["thermal"] = thermal
    if declaration.licence:
        properties["licence"] = declaration.licence
    declared_mask = _mask_source(declaration.mask, roots, folder, declaration)
    found_mask = mask or (product.mask if product else None)
    first = level_of_band(sensor, level, bands[0].name) or level
    main = first if {band.unit for band in bands} == {first.unit} else level
    return SceneSource(
        id=declaration.id or (product.id if product else name),
        sensor=sensor.id,
        level=level.name,
        quantity=main.quantity,
        unit=main.unit,
        time=_time(candidates, declaration, product, name),
        bands=bands,
        geobox=finest_grid([band.geobox for band in bands]),
        mask=None if declaration.mask == "none" else declared_mask or found_mask,
        files=(*dict.fromkeys(band.href for band in bands), *(product.files if product else ())),
        properties=properties,
    )


def _bands(
    named: Sequence[tuple[str, Candidate]],
    sensor: Sensor,
    level: ProductLevel,
    declaration: Declaration,
    product: Product | None,
) -> tuple[tuple[BandSource, ...], dict[str, dict[str, float]]]:
    """Calibrated bands, and the constants of the thermal ones by name."""
    thermal: dict[str, dict[str, float]] = {}
    bands: list[BandSource] = []
    for band, item in named:
        of_band = level_of_band(sensor, level, band) or level
        numbers = calibrate(item, band, sensor, of_band, declaration, product)
        if numbers.k1 is not None and numbers.k2 is not None:
            thermal[band] = {"k1": numbers.k1, "k2": numbers.k2}
        bands.append(_band_source(item, band, numbers, of_band.unit, nodata_of(item, of_band, declaration)))
    return tuple(bands), thermal


def _time(
    candidates: Sequence[Candidate], declaration: Declaration, product: Product | None, name: str
) -> np.datetime64 | None:
    """Declared, else of the product's metadata, else of the files."""
    if declaration.time is None and product is not None and product.time is not None:
        return product.time
    infos = list({item.info.href: item.info for item in candidates}.values())
    names = [name, *(info.stem for info in infos), *(_parent(info.href) for info in infos)]
    return acquisition_time(declaration, infos, names)


def _selected(
    named: list[tuple[str, Candidate]], sensor: Sensor, declaration: Declaration, what: str
) -> list[tuple[str, Candidate]]:
    if not declaration.select:
        return named
    present = dict(named)
    names = [text if text in present else match_band(sensor, text) or text for text in declaration.select]
    for name in names:
        if name not in present:
            raise ContractError(f"The scene {what} has no band {name!r}; it has: {', '.join(present)}.")
    return [(name, present[name]) for name in names]


def _band_source(item: Candidate, band: str, numbers: Calibration, unit: str, nodata: float | None) -> BandSource:
    return BandSource(
        name=band,
        href=item.info.href,
        index=item.index,
        geobox=item.info.geobox,
        dtype=item.info.dtypes[item.index - 1],
        scale=numbers.scale,
        offset=numbers.offset,
        nodata=nodata,
        unit=unit,
    )


def _parent(href: str) -> str:
    return href.rsplit("/", 2)[-2] if "/" in href else ""


def _mask_source(mask: Any, roots: AllowedRoots, folder: Path | None, declaration: Declaration) -> MaskSource | None:
    if not isinstance(mask, MaskDeclaration):
        return None
    if mask.file is None:
        if mask.kind != "rule":
            raise SceneError(f"The declared mask of kind {mask.kind} needs a file; add mask: {{file: ...}}.")
        return MaskSource("rule")
    info = inspect_raster(
        roots.locate(mask.file, folder, "the mask declaration"),
        roots,
        crs=declaration.crs,
        transform=declaration.affine,
    )
    if mask.band > info.count:
        raise SceneError(f"The mask {info.name} has {info.count} bands, not {mask.band}; correct its band.")
    return MaskSource(mask.kind, info.href, mask.band, info.geobox, mask.bad_values)


def finest_grid(grids: Sequence[GeoBox]) -> GeoBox:
    """Return the grid with the smallest pixels (the first of equals); grids of other systems than the first's lose."""
    same = [grid for grid in grids if grid.crs == grids[0].crs]
    return min(same, key=lambda grid: round(abs(grid.affine.determinant), 15))
