"""Reads interferograms, coherence and the table of pairs."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from ecumene.core.errors import ConfigurationError, ContractError, SceneError
from ecumene.physics.interferometry.network import PairNetwork, make_network, parse_date
from ecumene.scenes.formats.raster import inspect_raster
from ecumene.scenes.grid import same_grid
from ecumene.scenes.security import AllowedRoots

_MAXIMUM_TABLE_BYTES = 16 << 20
_PAIR = re.compile(r"(\d{4}-?\d{2}-?\d{2})[^0-9]+(\d{4}-?\d{2}-?\d{2})")


@dataclass(frozen=True)
class RasterStack:
    """Bands of one or many rasters on one grid.

    Attributes:
        values: float64 or complex128 `[M, H, W]`; NaN without data.
        geobox: Their grid.
        names: Band descriptions, or file names, `[M]`.
        files: Files that were read.
    """

    values: NDArray[Any]
    geobox: GeoBox
    names: tuple[str, ...]
    files: tuple[Path, ...]


def read_pairs(path: str | Path, *, single_pass: bool = False) -> PairNetwork:
    """Read a CSV with the columns `first`, `second` (dates) and optionally `bperp_m`.

    Args:
        path: The table.
        single_pass: Both images of a pair may be of one date.

    Raises:
        ConfigurationError: If the file is missing, not such a table, or a cell is not a date or number.
    """
    source = Path(path)
    if not source.is_file():
        raise ConfigurationError(f"There is no table of pairs {path}; write a CSV with first, second, bperp_m.")
    if source.stat().st_size > _MAXIMUM_TABLE_BYTES:
        raise ConfigurationError(f"{source.name} is too large to be a table of pairs.")
    try:
        rows = list(csv.DictReader(source.read_text(encoding="utf-8-sig").splitlines()))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"{source.name} is not a CSV table in UTF-8.") from error
    if not rows or not {"first", "second"} <= set(rows[0]):
        raise ConfigurationError(f"{source.name} needs the columns first and second (dates) and a row for every pair.")
    baselines: list[float] | None = None
    if "bperp_m" in rows[0]:
        try:
            baselines = [float(row["bperp_m"]) for row in rows]
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"A perpendicular baseline in {source.name} is not a number of metres.") from error
    first, second = ([str(row[key] or "") for row in rows] for key in ("first", "second"))
    return make_network(first, second, baselines, single_pass=single_pass)


def read_rasters(paths: Sequence[str | Path], *, nodata: float | None = None, crs: str | None = None) -> RasterStack:
    """Read all bands of all files.

    Args:
        paths: GeoTIFF files on one grid.
        nodata: Stored value without data, where the files do not say it; NaN is always without data.
        crs: Coordinate system of files that state none.

    Raises:
        ConfigurationError: If no file is given.
        SceneError: If a file is missing or damaged, or lies on another grid than the first.
    """
    import rasterio
    from rasterio.errors import RasterioError

    if not paths:
        raise ConfigurationError("No raster was given; name at least one file.")
    blocks, names = [], []
    grid: GeoBox | None = None
    for path in paths:
        information = inspect_raster(str(path), AllowedRoots.around([str(path)]), crs=crs)
        if grid is not None and not same_grid(information.geobox, grid):
            raise SceneError(f"{path} lies on another grid than the first raster; bring all to one grid.")
        grid = information.geobox
        try:
            with rasterio.open(information.href) as source:
                values = source.read()
        except (RasterioError, OSError) as error:
            raise SceneError(f"{path} cannot be read; fetch it again.") from error
        wide = values.astype(np.complex128 if np.iscomplexobj(values) else np.float64)
        for band in range(wide.shape[0]):
            stated = information.nodata[band] if nodata is None else nodata
            if stated is not None and not np.isnan(stated):
                wide[band][values[band] == stated] = np.nan
            scale, offset = information.scales[band], information.offsets[band]
            plain = scale == 1.0 and offset == 0.0  # times 1 would turn an infinite complex number into NaN
            blocks.append(wide[band] if plain else wide[band] * scale + offset)
            names.append(information.descriptions[band] or Path(path).stem)
    assert grid is not None
    return RasterStack(np.stack(blocks), grid, tuple(names), tuple(Path(path) for path in paths))


def order_by_pairs(stack: RasterStack, network: PairNetwork, what: str) -> NDArray[Any]:
    """Return the bands in the order of the pairs.

    Where every band's name holds two dates, these decide; else the order of files and bands does.

    Raises:
        ContractError: If the numbers differ or a pair has no band.
    """
    if len(stack.names) != network.pairs:
        raise ContractError(
            f"There are {len(stack.names)} {what} bands for {network.pairs} pairs; give one band for every pair."
        )
    found = [_PAIR.search(name) for name in stack.names]
    if not all(found):
        return stack.values
    place = {}
    for k, match in enumerate(found):
        assert match is not None
        place[parse_date(match.group(1)), parse_date(match.group(2))] = k
    order = []
    for first, second in zip(network.first, network.second, strict=True):
        if (first, second) not in place:
            raise ContractError(f"No {what} band is named after the pair {first} {second}; check table and files.")
        order.append(place[first, second])
    return np.asarray(stack.values[order])
