"""How many reference points does an assessment need, and where.

Stratified random sampling with the map's classes as strata: Cochran (1977), Sampling Techniques,
chapter 5, and Olofsson et al. (2014), doi:10.1016/j.rse.2014.02.015, section 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecumene.core.errors import ConfigurationError, ProductError
from ecumene.core.files import atomic_path
from ecumene.indicators.areas import ClassAreas, class_areas
from ecumene.indicators.maps import open_map, walk
from ecumene.legends import Legend

if TYPE_CHECKING:
    import geopandas


def sample_size(
    weights: ArrayLike, anticipated_users_accuracy: ArrayLike, target_standard_error: float, pixels: int | None = None
) -> int:
    """Return how many points reach a standard error of overall accuracy.

    `n = (sum W_i S_i)^2 / (S(O)^2 + (1/N) sum W_i S_i^2)`, `S_i = sqrt(U_i (1 - U_i))`: Cochran (1977)
    eq. 5.25, Olofsson et al. (2014) eq. 13; the term with N is dropped for large maps.

    Args:
        weights: Area share of each stratum, any scale.
        anticipated_users_accuracy: U_i of each stratum, in [0, 1].
        target_standard_error: Wanted standard error of overall accuracy, for example 0.01.
        pixels: N, pixels of the map.

    Returns:
        The number of points, rounded up, at least 1.

    Raises:
        ConfigurationError: If a value is out of range.
    """
    share = _shares(weights)
    users = np.broadcast_to(np.asarray(anticipated_users_accuracy, dtype=np.float64), share.shape)
    if (users < 0).any() or (users > 1).any() or not 0 < target_standard_error < 1:
        raise ConfigurationError("Anticipated accuracies lie between 0 and 1, the target standard error above 0.")
    spread = np.sqrt(users * (1 - users))
    finite = 0.0 if pixels is None else float((share * spread**2).sum()) / pixels
    size = float((share * spread).sum()) ** 2 / (target_standard_error**2 + finite)
    return max(1, int(np.ceil(size - 1e-9)))


def allocate(
    total: int, weights: ArrayLike, minimum: int = 50, available: ArrayLike | None = None
) -> NDArray[np.int64]:
    """Distribute points over strata: a minimum to rare ones, the rest in proportion to area.

    Olofsson et al. (2014, section 5.1.2) recommend 50 to 100 points in each rare stratum.

    Args:
        total: Points to distribute; it is exceeded only where the minima alone need more.
        weights: Area share of each stratum, any scale; strata of weight 0 get nothing.
        minimum: Points of a stratum whose proportional share is less.
        available: Pixels of each stratum; none gets more.

    Returns:
        int64 points of each stratum.

    Raises:
        ConfigurationError: If a number is out of range.
    """
    share = _shares(weights)
    if total < 1 or minimum < 0:
        raise ConfigurationError("A sampling design needs at least one point and a minimum that is not negative.")
    limit = np.full(share.shape, np.iinfo(np.int64).max) if available is None else np.asarray(available, np.int64)
    if limit.shape != share.shape:
        raise ConfigurationError("There must be one number of available pixels for each stratum.")
    limit = np.where(share > 0, limit, 0)
    lowest = np.minimum(minimum, limit)
    goal = int(np.clip(total, lowest.sum(), min(limit.sum(dtype=float), 2**62)))
    # Points in proportion, held between the bounds of each stratum: the factor that gives the sum
    # lies between 0 and the one at which the smallest stratum alone would take all points.
    low, high = 0.0, float(goal) / share[share > 0].min() + 1
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if np.clip(middle * share, lowest, limit).sum() < goal else (low, middle)
    wanted = np.clip(high * share, lowest, limit)
    points: NDArray[np.int64] = np.floor(wanted + 1e-6).astype(np.int64)
    order = np.argsort(-(wanted - points), kind="stable")
    order = order[points[order] < limit[order]]
    points[order[: goal - int(points.sum())]] += 1
    return points


def _shares(weights: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(weights, dtype=np.float64)
    if values.ndim != 1 or (values < 0).any() or not np.isfinite(values).all() or values.sum() <= 0:
        raise ConfigurationError("Stratum weights must be non-negative numbers, at least one of them positive.")
    normalised: NDArray[np.float64] = values / values.sum()
    return normalised


@dataclass(frozen=True)
class SamplingDesign:
    """A drawn stratified random sample.

    Attributes:
        points: Columns `id`, `stratum` (code), `stratum_name`, `weight` (area share of the stratum),
            `inclusion_probability` (points / pixels of the stratum) and an empty `reference`; point
            geometry at pixel centres in the map's coordinate system; in random order.
        areas: Areas of the map's codes.
        allocation: Points of each code.
        seed: Seed of the draw.
    """

    points: geopandas.GeoDataFrame
    areas: ClassAreas
    allocation: dict[int, int]
    seed: int

    def write(self, path: Path | str) -> Path:
        """Write the points to a GeoPackage, whole or not at all.

        Raises:
            ConfigurationError: If the suffix is not `.gpkg`.
            ProductError: If the file cannot be written.
        """
        target = Path(path)
        if target.suffix.lower() != ".gpkg":
            raise ConfigurationError(f"The sampling design is a GeoPackage; name it {target.stem}.gpkg.")
        from pyogrio.errors import DataSourceError

        with atomic_path(target) as temporary:
            try:
                self.points.to_file(temporary, layer="reference_points", driver="GPKG")
            except DataSourceError as error:
                raise ProductError(f"{target} cannot be written: {error}.") from error
        return target


def draw_design(
    map_path: Path | str,
    legend: Legend,
    *,
    total: int | None = None,
    target_standard_error: float = 0.01,
    anticipated_users_accuracy: float | Mapping[str, float] = 0.8,
    minimum: int = 50,
    nodata: int | None = None,
    seed: int = 0,
) -> SamplingDesign:
    """Draw a stratified random sample of a map's pixels, without replacement within strata.

    Args:
        map_path: GeoTIFF of class codes.
        legend: The map's legend.
        total: Points; None: from `sample_size` with the two following.
        target_standard_error: Wanted standard error of overall accuracy.
        anticipated_users_accuracy: One for all classes, or by class name (0.8 for those not named).
        minimum: See `allocate`.
        nodata: Code that is no class, besides the file's nodata.
        seed: The same seed gives the same points.

    Returns:
        The design.

    Raises:
        ConfigurationError: If the map holds codes that the legend lacks, or a number is out of range.
        ProductError: If the map cannot be read or has no classified pixel.
    """
    areas = class_areas(map_path, legend, nodata=nodata)
    if not areas.codes:
        raise ProductError(f"The map {Path(map_path).name} has no classified pixel; there is nothing to sample.")
    names = {code: name for code, name in zip(legend.values, legend.names, strict=True) if code in areas.codes}
    if isinstance(anticipated_users_accuracy, Mapping):
        if unknown := set(anticipated_users_accuracy) - set(legend.names):
            raise ConfigurationError(f"Anticipated accuracies name unknown classes: {', '.join(sorted(unknown))}.")
        users = [anticipated_users_accuracy.get(names[code], 0.8) for code in areas.codes]
    else:
        users = [float(anticipated_users_accuracy)] * len(areas.codes)
    if total is None:
        total = sample_size(areas.areas_m2, users, target_standard_error, int(areas.pixels.sum()))
    points = allocate(total, areas.areas_m2, minimum, areas.pixels)
    allocation = dict(zip(areas.codes, points.tolist(), strict=True))
    rng = np.random.default_rng(seed)
    ranks = {
        code: np.sort(rng.choice(int(n), size=allocation[code], replace=False))
        for code, n in zip(areas.codes, areas.pixels, strict=True)
    }
    rows, cols, strata, crs, affine = _locate(map_path, ranks, nodata)
    order = rng.permutation(len(rows))
    frame = _points_frame(rows[order], cols[order], strata[order], areas, names, allocation, crs, affine)
    return SamplingDesign(frame, areas, allocation, seed)


def _locate(
    map_path: Path | str, ranks: Mapping[int, NDArray[np.int64]], nodata: int | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], Any, Any]:
    """Find the pixel of each rank, counting the pixels of a code in the order of the tiles."""
    seen = dict.fromkeys(ranks, 0)
    rows, cols, strata = [], [], []
    with open_map(map_path) as (dataset, grid):
        for tile, codes, known in walk(dataset, nodata):
            for code, wanted in ranks.items():
                here = np.flatnonzero((codes == code) & known)
                start, stop = np.searchsorted(wanted, [seen[code], seen[code] + here.size])
                flat = here[wanted[start:stop] - seen[code]]
                seen[code] += here.size
                rows.append(flat // tile.width + tile.row)
                cols.append(flat % tile.width + tile.col)
                strata.append(np.full(flat.size, code, np.int64))
        return np.concatenate(rows), np.concatenate(cols), np.concatenate(strata), dataset.crs, grid.affine


def _points_frame(
    rows: NDArray[np.int64],
    cols: NDArray[np.int64],
    strata: NDArray[np.int64],
    areas: ClassAreas,
    names: Mapping[int, str],
    allocation: Mapping[int, int],
    crs: Any,
    affine: Any,
) -> geopandas.GeoDataFrame:
    import geopandas
    import pandas as pd

    shares = dict(zip(areas.codes, (areas.areas_m2 / areas.areas_m2.sum()).tolist(), strict=True))
    chances = {code: allocation[code] / int(n) for code, n in zip(areas.codes, areas.pixels, strict=True)}
    x, y = affine * (cols + 0.5, rows + 0.5)
    return geopandas.GeoDataFrame(
        {
            "id": np.arange(1, len(rows) + 1),
            "stratum": strata,
            "stratum_name": [names[code] for code in strata.tolist()],
            "weight": [shares[code] for code in strata.tolist()],
            "inclusion_probability": [chances[code] for code in strata.tolist()],
            "reference": pd.array([None] * len(rows), dtype="string"),
        },
        geometry=geopandas.points_from_xy(x, y),
        crs=crs.to_wkt(),
    )
