"""Is a block model closed, and how much does it hold? Checks for what `lod1` writes and others send."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ContractError


@dataclass(frozen=True)
class SolidCheck:
    """What the geometry of one building says.

    Attributes:
        closed: Every edge belongs to two surfaces that run along it in opposite directions.
        volume_m3: Enclosed volume by the divergence theorem; positive where surfaces face outwards.
        surfaces: Number of surfaces.
    """

    closed: bool
    volume_m3: float
    surfaces: int


def check_solids(model: Mapping[str, Any]) -> dict[str, SolidCheck]:
    """Check the solids of every building of a CityJSON object.

    Raises:
        ContractError: If the object is not CityJSON with vertices and a transform.
    """
    try:
        scale = np.asarray(model["transform"]["scale"], np.float64)
        # without the translation: volumes do not need it, and coordinates of millions would cost digits
        vertices = np.asarray(model["vertices"], np.float64) * scale
        objects = dict(model["CityObjects"])
    except (KeyError, TypeError, ValueError) as error:
        raise ContractError("This is not a CityJSON object with vertices and a transform.") from error
    result = {}
    for name, entry in objects.items():
        surfaces = [surface for geometry in entry.get("geometry", ()) for surface in _surfaces(geometry)]
        edges: Counter[tuple[int, int]] = Counter()
        for surface in surfaces:
            for ring in surface:
                edges.update(zip(ring, [*ring[1:], ring[0]], strict=True))
        closed = bool(edges) and all(number == 1 and edges[(b, a)] == 1 for (a, b), number in edges.items())
        volume = sum(_cone(vertices, ring) for surface in surfaces for ring in surface)
        result[name] = SolidCheck(closed, float(volume), len(surfaces))
    return result


def _surfaces(geometry: Mapping[str, Any]) -> list[list[list[int]]]:
    solids = geometry["boundaries"] if geometry["type"] == "MultiSolid" else [geometry["boundaries"]]
    if geometry["type"] not in {"Solid", "MultiSolid"}:
        return []
    return [surface for solid in solids for shell in solid for surface in shell]


def _cone(vertices: NDArray[np.float64], ring: list[int]) -> float:
    """Signed volume between a flat ring and the origin; holes run the other way and take theirs off."""
    corners = vertices[ring]
    normal = np.cross(corners - corners[0], np.roll(corners, -1, axis=0) - corners[0]).sum(axis=0)
    return float(np.dot(normal, corners[0]) / 6.0)
