"""Landscape metrics of a map of classes: how much, in how many pieces, with how long borders.

Definitions and units are those of FRAGSTATS (McGarigal and Marks 1995, USDA PNW-GTR-351; version 4): patches over
eight neighbours, adjacencies over four; borders to pixels without class, or outside of the zone, are no edges. Further
sources are named at the metrics. Areas are true square metres; lengths are numbers of pixel sides times the ground
size of a pixel.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.indicators.landscape_patches import PatchSums, PatchTable

_PER_100_HECTARES = 1e6
_HECTARE_M2 = 1e4


@dataclass(frozen=True)
class ClassMetrics:
    """Metrics of one class.

    Attributes:
        area_ha: Class area (CA).
        share: Of the landscape, 0..1 (PLAND / 100).
        patches: Number of patches (NP).
        patch_density: Patches per 100 ha of landscape (PD).
        largest_patch_index: Largest patch, percent of the landscape (LPI).
        mean_patch_ha: Mean patch size (AREA_MN).
        edge_density: Edge with other classes, metres per hectare of landscape (ED).
        aggregation_index: Percent of the like adjacencies that are possible (He et al. 2000, Landscape Ecology 15);
            None for a class of one pixel.
        effective_mesh_ha: Sum of squared patch areas / landscape area (Jaeger 2000, Landscape Ecology 15).
        cohesion: Patch cohesion, percent: physical connectedness (Schumaker 1996, Ecology 77); None for a class of
            single pixels in a landscape of one pixel.
    """

    area_ha: float
    share: float
    patches: int
    patch_density: float
    largest_patch_index: float
    mean_patch_ha: float
    edge_density: float
    aggregation_index: float | None
    effective_mesh_ha: float
    cohesion: float | None


@dataclass(frozen=True)
class LandscapeMetrics:
    """Metrics of a landscape and of its classes.

    Attributes:
        classes: By code.
        area_ha: Area with a class.
        patches: Number of patches.
        patch_density: Per 100 ha.
        largest_patch_index: Percent.
        mean_patch_ha: Hectares.
        edge_density: Metres per hectare.
        aggregation_index: Mean of the classes, weighted by share, percent; None where no class has one.
        effective_mesh_ha: Hectares.
        shannon_diversity: -sum p ln p (Shannon 1948).
        contagion: Percent (Li and Reynolds 1993, Landscape Ecology 8; double count); None with fewer than two classes.
        cohesion: Of all patches, percent.
    """

    classes: Mapping[int, ClassMetrics]
    area_ha: float
    patches: int
    patch_density: float
    largest_patch_index: float
    mean_patch_ha: float
    edge_density: float
    aggregation_index: float | None
    effective_mesh_ha: float
    shannon_diversity: float
    contagion: float | None
    cohesion: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able numbers."""
        found = {key: value for key, value in vars(self).items() if key != "classes"}
        return found | {"classes": {str(code): dict(vars(entry)) for code, entry in self.classes.items()}}


class Landscape:
    """Collects a map strip by strip; `metrics` gives the result.

    Args:
        pixel_m: Height and width of a pixel on the ground, metres.
        neighbours: 8 or 4, for patches.
    """

    def __init__(self, pixel_m: tuple[float, float], neighbours: int = 8) -> None:
        self._height, self._width = pixel_m
        self._patches = PatchSums(("area", "cells", "perimeter"), neighbours)
        # Pairs of side by side (0) and of stacked (1) pixels: codes (a, b) -> number.
        self._pairs: tuple[dict[tuple[int, int], int], dict[tuple[int, int], int]] = ({}, {})

    def add(self, codes: NDArray[np.integer], known: NDArray[np.bool_], areas: NDArray[np.float64]) -> None:
        """Add the next strip of rows.

        Args:
            codes: `[h + 2, W + 2]`: the strip with one pixel around it; the next strip begins where this one ends,
                so that its first row is this one's second last.
            known: Same shape; False outside of the map or zone.
            areas: `[h, W]` or `[h, 1]`, square metres.

        Raises:
            ConfigurationError: If shapes do not fit.
        """
        inner = codes[1:-1, 1:-1]
        if codes.shape != known.shape or areas.shape[0] != inner.shape[0]:
            raise ConfigurationError("Codes, mask and areas of a strip do not fit together.")
        here = known[1:-1, 1:-1]
        sides = np.zeros(inner.shape)
        # The side to the left of each pixel and the one above count pairs; all four count the perimeter.
        around = ((slice(1, -1), slice(0, -2)), (slice(0, -2), slice(1, -1)),
                  (slice(1, -1), slice(2, None)), (slice(2, None), slice(1, -1)))  # fmt: skip
        for position, place in enumerate(around):
            both = here & known[place]
            sides += here & ~(both & (inner == codes[place]))
            if position < 2:
                self._count(self._pairs[position], codes[place][both], inner[both])
        full = np.broadcast_to(areas, inner.shape)
        self._patches.add(inner, here, {"area": full, "cells": np.ones(inner.shape), "perimeter": sides})

    @staticmethod
    def _count(pairs: dict[tuple[int, int], int], one: NDArray[np.integer], two: NDArray[np.integer]) -> None:
        if one.size == 0:
            return
        # One number a pair: sorting numbers is many times faster than sorting pairs.
        distinct, counts = np.unique((one.astype(np.int64) << 32) + two, return_counts=True)
        for key, number in zip(distinct.tolist(), counts.tolist(), strict=True):
            pair = (key >> 32, key & 0xFFFFFFFF)
            pairs[pair] = pairs.get(pair, 0) + number

    def metrics(self) -> LandscapeMetrics | None:
        """Return the metrics of what was added; None if no pixel has a class."""
        table = self._patches.finish()
        if len(table) == 0:
            return None
        codes = np.unique(table.code)
        index = {code: position for position, code in enumerate(codes.tolist())}
        single = np.zeros((len(codes), len(codes)))  # like adjacencies once, unlike ones in both orders
        edges = np.zeros((len(codes), len(codes)))
        for side, pairs in zip((self._height, self._width), self._pairs, strict=True):
            for (a, b), number in pairs.items():
                i, j = index[a], index[b]
                single[i, j] += number
                if i != j:
                    single[j, i] += number
                    edges[i, j] += number * side
                    edges[j, i] += number * side
        return _metrics(codes, table, single, edges)


def _metrics(
    codes: NDArray[np.int64], table: PatchTable, single: NDArray[np.float64], edges: NDArray[np.float64]
) -> LandscapeMetrics:
    area = table.sums["area"]
    total = float(area.sum())
    classes = {}
    for position, code in enumerate(codes.tolist()):
        own = table.code == code
        edge = float(edges[position].sum())
        classes[code] = _class_metrics(table, own, float(single[position, position]), edge, total)
    shares = np.array([entry.share for entry in classes.values()])
    indices = [(entry.aggregation_index, entry.area_ha) for entry in classes.values()]
    known = [(value, weight) for value, weight in indices if value is not None]
    aggregation = sum(v * w for v, w in known) / sum(w for _, w in known) if known else None
    everything = np.ones(len(table), bool)
    return LandscapeMetrics(
        classes,
        total / _HECTARE_M2,
        len(table),
        len(table) / total * _PER_100_HECTARES,
        100 * float(area.max()) / total,
        float(area.mean()) / _HECTARE_M2,
        float(edges.sum()) / 2 / total * _HECTARE_M2,
        aggregation,
        float((area**2).sum()) / total / _HECTARE_M2,
        max(0.0, -float((shares * np.log(shares)).sum())),
        _contagion(shares, single),
        _cohesion(table, everything),
    )


def _class_metrics(table: PatchTable, own: NDArray[np.bool_], like: float, edge: float, total: float) -> ClassMetrics:
    area = table.sums["area"][own]
    cells = round(float(table.sums["cells"][own].sum()))
    possible = _possible_adjacencies(cells)
    return ClassMetrics(
        float(area.sum()) / _HECTARE_M2,
        float(area.sum()) / total,
        len(area),
        len(area) / total * _PER_100_HECTARES,
        100 * float(area.max()) / total,
        float(area.mean()) / _HECTARE_M2,
        edge / total * _HECTARE_M2,
        100 * like / possible if possible else None,
        float((area**2).sum()) / total / _HECTARE_M2,
        _cohesion(table, own),
    )


def _possible_adjacencies(cells: int) -> int:
    """Return the most like adjacencies of so many cells: those of the most compact shape (He et al. 2000)."""
    side = math.isqrt(cells)
    rest = cells - side * side
    base = 2 * side * (side - 1)
    if rest == 0:
        return base
    return base + 2 * rest - (1 if rest <= side else 2)


def _contagion(shares: NDArray[np.float64], single: NDArray[np.float64]) -> float | None:
    """Li and Reynolds (1993) with like adjacencies counted twice, as FRAGSTATS does."""
    if len(shares) < 2:
        return None
    double = single + np.diag(np.diag(single))
    rows = double.sum(axis=1, keepdims=True)
    p = shares[:, None] * np.divide(double, rows, out=np.zeros_like(double), where=rows > 0)
    filled = p[p > 0]
    return 100 * (1 + float((filled * np.log(filled)).sum()) / (2 * math.log(len(shares))))


def _cohesion(table: PatchTable, own: NDArray[np.bool_]) -> float | None:
    cells, perimeter = table.sums["cells"][own], table.sums["perimeter"][own]
    everything = float(table.sums["cells"].sum())
    if everything <= 1:
        return None
    inner = 1 - float(perimeter.sum()) / float((perimeter * np.sqrt(cells)).sum())
    return 100 * inner / (1 - 1 / math.sqrt(everything))
