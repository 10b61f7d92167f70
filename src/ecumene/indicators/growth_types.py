"""How built-up land grew: infill, extension or leapfrog, patch by patch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.indicators.landscape_patches import PatchSums

GROWTH_TYPES = ("infill", "extension", "leapfrog")
INFILL_FROM = 0.5
"""Share of a new patch's perimeter along built-up land from which it is infill (Xu et al. 2007)."""


@dataclass(frozen=True)
class Growth:
    """New built-up land of a zone between two dates.

    Attributes:
        areas_m2: Area of each of `GROWTH_TYPES`.
        patches: Number of patches of each.
        lost_m2: Built-up land at the first date that is not built-up at the second.
    """

    areas_m2: dict[str, float]
    patches: dict[str, int]
    lost_m2: float

    @property
    def total_m2(self) -> float:
        """All new built-up land."""
        return sum(self.areas_m2.values())

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able numbers."""
        return {"areas_m2": self.areas_m2, "patches": self.patches, "lost_m2": self.lost_m2}


class GrowthTypes:
    """Collects two dates strip by strip; `result` gives the growth by type.

    A patch of new built-up pixels (eight neighbours) has the perimeter P, of which L lies along pixels that were
    built-up before. S = L / P: infill for S >= 0.5, extension for 0 < S < 0.5, leapfrog for S = 0 (Xu, Liu, Zhang, An,
    Yu and Chen 2007, Landscape Ecology 22, 925-937, who call the last two edge-expansion and spontaneous growth).
    Sides towards pixels without class, or outside of the zone, are no part of P. A patch without perimeter, which fills
    all that is known, counts as leapfrog. Other definitions exist: Angel et al. (2016, Atlas of Urban Expansion) decide
    by the open space of the earlier urban extent, Liu et al. (2010) by the area of a buffer.

    Args:
        pixel_m: Height and width of a pixel on the ground, metres.
    """

    def __init__(self, pixel_m: tuple[float, float]) -> None:
        self._height, self._width = pixel_m
        self._patches = PatchSums(("area", "perimeter", "shared"))
        self._lost = 0.0

    def add(
        self,
        before: NDArray[np.bool_],
        after: NDArray[np.bool_],
        known: NDArray[np.bool_],
        areas: NDArray[np.float64],
    ) -> None:
        """Add the next strip of rows, with one pixel around it as for `Landscape.add`.

        Args:
            before: `[h + 2, W + 2]` built-up at the first date.
            after: Same at the second.
            known: Same shape; in the zone, and known at both dates.
            areas: `[h, W]` or `[h, 1]`, square metres.

        Raises:
            ConfigurationError: If shapes do not fit.
        """
        if not before.shape == after.shape == known.shape or areas.shape[0] != before.shape[0] - 2:
            raise ConfigurationError("Both dates, mask and areas of a strip do not fit together.")
        new = after & ~before & known
        inner = new[1:-1, 1:-1]
        perimeter, shared = np.zeros(inner.shape), np.zeros(inner.shape)
        for place, side in (
            ((slice(1, -1), slice(0, -2)), self._height),
            ((slice(1, -1), slice(2, None)), self._height),
            ((slice(0, -2), slice(1, -1)), self._width),
            ((slice(2, None), slice(1, -1)), self._width),
        ):
            perimeter += side * (known[place] & ~new[place])
            shared += side * (known[place] & before[place])
        full = np.broadcast_to(areas, inner.shape)
        zero = np.zeros(inner.shape, np.uint8)
        self._patches.add(zero, inner, {"area": full, "perimeter": perimeter, "shared": shared})
        gone = (before & ~after & known)[1:-1, 1:-1]
        self._lost += float(full[gone].sum())

    def result(self) -> Growth:
        """Return areas and numbers of patches by type."""
        sums = self._patches.finish().sums
        perimeter = sums["perimeter"]
        share = np.divide(sums["shared"], perimeter, out=np.zeros_like(perimeter), where=perimeter > 0)
        kinds = {"infill": share >= INFILL_FROM, "extension": (share > 0) & (share < INFILL_FROM)}
        kinds["leapfrog"] = ~(kinds["infill"] | kinds["extension"])
        return Growth(
            {name: float(sums["area"][kinds[name]].sum()) for name in GROWTH_TYPES},
            {name: int(kinds[name].sum()) for name in GROWTH_TYPES},
            self._lost,
        )
