"""Where a scene can be used: masks of clouds, shadows and defects.

Classes and bits that count as bad:

- Sentinel-2 scene classification (Sen2Cor): 0 no data, 1 saturated or defective, 3 cloud shadow,
  8 and 9 cloud of medium and high probability, 10 thin cirrus. Kept: 2 (dark area, topographic shadow:
  a measurement, only a dark one), 4 to 6 (vegetation, bare, water), 7 (unclassified), 11 (snow or ice,
  a surface).
- Landsat: fill, dilated cloud, cirrus, cloud and cloud shadow; of two-bit confidences only "high".
  Snow and water are kept. The bits are those of the collection that the scene's property
  `landsat_collection` names: "2" (QA_PIXEL, the default), "1" or "pre" (BQA).
- binary: the listed values, or everything but 0 if none is listed.
- rule: the stated rule on the scene's own bands, see `cloud_rule`.

What a mask does not cover is not clear. Radar has no cloud mask.

Sources: ESA, Level-2A Algorithm Theoretical Basis Document S2-PDGS-MPC-ATBD-L2A; USGS, Landsat 8-9
Collection 2 Level 2 Science Product Guide (LSDS-1619), table 6-3; USGS, Landsat Collection 1 BQA bits;
USGS, Landsat 8 Data Users Handbook version 1.0 (pre-collection), table on the quality band.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.windows import Window as RasterWindow

from ecumene.core.errors import SceneError
from ecumene.scenes.contract import MaskSource, SceneSource
from ecumene.scenes.grid import native_window, window_geobox
from ecumene.scenes.handles import with_raster
from ecumene.scenes.warping import native_coordinates

SCL_BAD = (0, 1, 3, 8, 9, 10)
"""Classes of Sen2Cor's scene classification that are not used."""

_SINGLE_BITS = {"2": (0, 1, 2, 3, 4), "1": (0, 4), "pre": (0, 1)}
_CONFIDENCE_BITS = {"2": (), "1": (5, 7, 11), "pre": (12, 14)}


def landsat_bad(codes: NDArray[Any], collection: str = "2") -> NDArray[np.bool_]:
    """Return where Landsat quality codes say fill, cloud, cirrus or cloud shadow.

    Args:
        codes: QA_PIXEL or BQA codes, unsigned integers, any shape.
        collection: "2" (QA_PIXEL), "1" or "pre" (BQA of Collection 1, and of before the collections).

    Raises:
        SceneError: If the collection is unknown.
    """
    collection = collection.lstrip("0")
    if collection not in _SINGLE_BITS:
        raise SceneError(f"The Landsat collection {collection!r} is unknown; declare 2, 1 or pre.")
    bits = sum(1 << bit for bit in _SINGLE_BITS[collection])
    bad: NDArray[np.bool_] = (codes & bits) != 0
    for low in _CONFIDENCE_BITS[collection]:
        bad |= (codes >> low) & 3 == 3
    return bad


def read_codes(mask: MaskSource, geobox: GeoBox, fallback: GeoBox) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read a mask's codes on a grid, nearest neighbour.

    Args:
        mask: A mask with a raster.
        geobox: The grid wanted.
        fallback: Grid of the mask's raster if `mask` does not say it.

    Returns:
        (codes `[H, W]`, covered `[H, W]`: False outside of the mask's raster, where the code is 0).

    Raises:
        SceneError: If the raster cannot be read or has another size than described.
    """
    assert mask.href is not None
    native = mask.geobox if mask.geobox is not None else fallback
    shape = tuple(int(size) for size in geobox.shape)
    needed = native_window(native, geobox, 1)

    def read(dataset: Any) -> NDArray[Any]:
        if (dataset.height, dataset.width) != tuple(native.shape) or mask.index > dataset.count:
            raise SceneError(f"The mask {mask.href} does not have the size that was described; open the scene again.")
        if needed is None:
            return np.zeros(shape, dataset.dtypes[mask.index - 1])
        window = RasterWindow(needed.col, needed.row, needed.width, needed.height)
        stored: NDArray[Any] = dataset.read(mask.index, window=window)
        return stored

    stored = with_raster(mask.href, read)
    if needed is None:
        return stored, np.zeros(shape, bool)
    x, y = native_coordinates(window_geobox(native, needed), geobox)
    with np.errstate(invalid="ignore"):
        covered = (x >= 0) & (x < needed.width) & (y >= 0) & (y < needed.height)
        col = np.clip(np.nan_to_num(np.floor(x)), 0, needed.width - 1).astype(np.intp)
        row = np.clip(np.nan_to_num(np.floor(y)), 0, needed.height - 1).astype(np.intp)
    codes = stored[row, col]
    codes[~covered] = 0
    return codes, covered


def clear_sky(source: SceneSource, geobox: GeoBox) -> NDArray[np.bool_]:
    """Return where a scene is free of clouds, cloud shadows and defects, as far as its mask knows.

    Args:
        source: The scene; without a mask all of it is clear.
        geobox: The grid wanted.

    Returns:
        bool `[H, W]`.

    Raises:
        SceneError: If the mask cannot be read.
        ContractError: If the rule is asked for and the scene lacks the bands it needs.
    """
    mask = source.mask
    if mask is None:
        return np.ones(tuple(int(size) for size in geobox.shape), bool)
    if mask.kind == "rule":
        from ecumene.scenes.cloud_rule import clear_by_rule

        return clear_by_rule(source, geobox)
    if mask.href is None:
        raise SceneError(f"The {mask.kind} mask of {source.id} names no file; declare it or leave the mask out.")
    codes, covered = read_codes(mask, geobox, source.geobox)
    if mask.kind == "scl":
        bad = np.isin(codes, mask.bad_values or SCL_BAD)
    elif mask.kind == "landsat_qa":
        bad = landsat_bad(codes, str(source.properties.get("landsat_collection", "2")))
    else:
        bad = np.isin(codes, mask.bad_values) if mask.bad_values else codes != 0
    return covered & ~bad


def with_rule_mask(source: SceneSource) -> SceneSource:
    """Return an optical reflectance scene with the rule-based mask; others and masked ones unchanged."""
    if source.mask is not None or source.quantity != "reflectance":
        return source
    return replace(source, mask=MaskSource(kind="rule"))
