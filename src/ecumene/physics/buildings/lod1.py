"""Block models of buildings (LoD1) as CityJSON.

CityJSON 2.0 (https://www.cityjson.org/specs/2.0.1/, also OGC Community Standard): vertices are integers with one
`transform`; a `Solid` is a closed shell of surfaces whose outer rings run counter-clockwise seen from outside, and
whose holes run clockwise. LoD1.2 of Biljecki, Ledoux and Stoter, "An improved LOD specification for 3D building
models", Computers, Environment and Urban Systems 59, 2016: a footprint extruded to one height.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecumene.core.errors import ContractError
from ecumene.physics.buildings.rings import clean_ring, oriented, signed_area

SEMANTICS = ("GroundSurface", "RoofSurface", "WallSurface")

Ring = ArrayLike
Polygon = Sequence[Ring]
"""Outer ring first, then holes; each a list of (x, y)."""


@dataclass(frozen=True)
class Building:
    """One building to be modelled.

    Attributes:
        identifier: Unique name in the file.
        polygons: Footprint, metres in a projected coordinate system: one polygon or several apart.
        ground_m: Height of the ground, metres.
        height_m: Roof above ground, metres, > 0.
        height_deviation_m: Standard deviation of the height, metres; NaN where unknown.
        outlier: The height must not be trusted.
        attributes: Further attributes (JSON values).
    """

    identifier: str
    polygons: Sequence[Polygon]
    ground_m: float
    height_m: float
    height_deviation_m: float = float("nan")
    outlier: bool = False
    attributes: Mapping[str, Any] = field(default_factory=dict)


class _Vertices:
    """Whole-number vertices, each once."""

    def __init__(self, origin: NDArray[np.float64], precision: float) -> None:
        self.origin, self.precision = origin, precision
        self.places: dict[tuple[int, int, int], int] = {}

    def add(self, x: float, y: float, z: float) -> int:
        scaled = np.rint((np.array([x, y, z]) - self.origin) / self.precision)
        key = (int(scaled[0]), int(scaled[1]), int(scaled[2]))
        return self.places.setdefault(key, len(self.places))


def footprint_area(polygons: Sequence[Polygon], precision: float = 1e-3) -> float:
    """Return the area of a footprint, holes left out, square metres."""
    total = 0.0
    for polygon in polygons:
        rings = [clean_ring(ring, precision) for ring in polygon]
        total += abs(signed_area(rings[0])) - sum(abs(signed_area(ring)) for ring in rings[1:])
    return total


def _shell(
    rings: list[NDArray[np.float64]], ground: float, roof: float, vertices: _Vertices
) -> tuple[list[list[list[int]]], list[int]]:
    """One closed shell: surfaces as lists of rings of vertex numbers, and the semantic of each."""
    turned = [oriented(ring, counter_clockwise=k == 0) for k, ring in enumerate(rings)]
    low = [[vertices.add(x, y, ground) for x, y in ring] for ring in turned]
    high = [[vertices.add(x, y, roof) for x, y in ring] for ring in turned]
    surfaces = [[ring[::-1] for ring in low], list(high)]
    semantics = [0, 1]
    for bottom, top in zip(low, high, strict=True):
        count = len(bottom)
        for k in range(count):
            after = (k + 1) % count
            surfaces.append([[bottom[k], bottom[after], top[after], top[k]]])
            semantics.append(2)
    return surfaces, semantics


def _geometry(building: Building, vertices: _Vertices, precision: float) -> dict[str, Any]:
    shells, values = [], []
    for polygon in building.polygons:
        rings = [clean_ring(ring, precision) for ring in polygon]
        surfaces, semantics = _shell(rings, building.ground_m, building.ground_m + building.height_m, vertices)
        shells.append([surfaces])
        values.append([semantics])
    several = len(shells) > 1
    return {
        "type": "MultiSolid" if several else "Solid",
        "lod": "1.2",
        "boundaries": shells if several else shells[0],
        "semantics": {
            "surfaces": [{"type": name} for name in SEMANTICS],
            "values": values if several else values[0],
        },
    }


def _attributes(building: Building, precision: float) -> dict[str, Any]:
    area = footprint_area(building.polygons, precision)
    result: dict[str, Any] = {
        "measuredHeight": round(building.height_m, 3),
        "ecumene_groundHeight": round(building.ground_m, 3),
        "ecumene_footprintArea": round(area, 3),
        "ecumene_volume": round(area * building.height_m, 3),
        "ecumene_outlier": bool(building.outlier),
    }
    if np.isfinite(building.height_deviation_m):
        result["ecumene_heightStandardDeviation"] = round(building.height_deviation_m, 3)
        result["ecumene_volumeStandardDeviation"] = round(area * building.height_deviation_m, 3)
    return result | dict(building.attributes)


def to_cityjson(
    buildings: Iterable[Building],
    *,
    epsg: int | None = None,
    title: str | None = None,
    reference_date: str | None = None,
    precision: float = 1e-3,
) -> dict[str, Any]:
    """Return a CityJSON 2.0 object with one LoD1 solid a building.

    Args:
        buildings: Buildings with footprints in metres.
        epsg: EPSG code of the coordinate system (a compound or three-dimensional one to be strict).
        title: Title of the model.
        reference_date: Date of the data, YYYY-MM-DD.
        precision: Size of the vertex grid, metres.

    Returns:
        A JSON-able dictionary.

    Raises:
        ContractError: If there is no building, names repeat, a height is not positive and finite, or a ring has no
            area.
    """
    listed = list(buildings)
    if not listed:
        raise ContractError("There is no building to model; give at least one footprint with a height.")
    for building in listed:
        if not (np.isfinite(building.height_m) and building.height_m > 0 and np.isfinite(building.ground_m)):
            raise ContractError(
                f"The building {building.identifier} has no positive, finite height; leave it out of the model."
            )
        if not building.polygons:
            raise ContractError(f"The building {building.identifier} has no footprint; leave it out of the model.")
    if len({building.identifier for building in listed}) != len(listed):
        raise ContractError("Two buildings have one identifier; give each its own.")
    corners = [np.asarray(ring, np.float64)[:, :2] for b in listed for polygon in b.polygons for ring in polygon]
    floor = np.min([corner.min(axis=0) for corner in corners], axis=0)
    lowest = min(building.ground_m for building in listed)
    origin = np.floor(np.array([floor[0], floor[1], lowest]))
    vertices = _Vertices(origin, precision)
    objects = {
        building.identifier: {
            "type": "Building",
            "attributes": _attributes(building, precision),
            "geometry": [_geometry(building, vertices, precision)],
        }
        for building in listed
    }
    places = np.array(list(vertices.places), np.int64)
    extent = [*(places.min(axis=0) * precision + origin), *(places.max(axis=0) * precision + origin)]
    metadata: dict[str, Any] = {"geographicalExtent": [round(float(value), 6) for value in extent]}
    if epsg is not None:
        metadata["referenceSystem"] = f"https://www.opengis.net/def/crs/EPSG/0/{epsg}"
    if title:
        metadata["title"] = title
    if reference_date:
        metadata["referenceDate"] = reference_date
    return {
        "type": "CityJSON",
        "version": "2.0",
        "transform": {"scale": [precision] * 3, "translate": origin.tolist()},
        "metadata": metadata,
        "CityObjects": objects,
        "vertices": places.tolist(),
    }
