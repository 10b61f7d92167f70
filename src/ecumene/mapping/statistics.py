"""Statistics of stored layers, gathered tile by tile, exact and independent of the order of tiles."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from ecumene.objectives.prediction import LayerSpec


class BandStatistics(BaseModel):
    """Sums over the valid pixels of one band, in stored units.

    Attributes:
        count: Valid pixels.
        minimum: Smallest stored value (0 where there is none).
        maximum: Largest stored value (0 where there is none).
        total: Sum; an exact integer for integer layers.
        squares: Sum of squares.
        histogram: Pixels of each stored code, for categorical byte layers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    count: int = 0
    minimum: float = 0.0
    maximum: float = 0.0
    total: int | float = 0
    squares: int | float = 0
    histogram: dict[int, int] = {}


def band_statistics(stored: NDArray[Any], valid: NDArray[np.bool_], spec: LayerSpec) -> BandStatistics:
    """Sum one band of one tile.

    Args:
        stored: `[H, W]` of the layer's type.
        valid: bool `[H, W]`.
        spec: The layer.
    """
    if stored.dtype == np.uint8:
        from ecumene.mapping.kernels import count_codes

        counts = np.zeros(256, dtype=np.int64)
        count_codes(stored, valid, counts)
        if spec.role != "valid":
            counts[int(spec.nodata)] = 0
        codes = np.flatnonzero(counts)
        if codes.size == 0:
            return BandStatistics()
        kept = counts[codes]
        return BandStatistics(
            count=int(kept.sum()),
            minimum=int(codes[0]),
            maximum=int(codes[-1]),
            total=int((codes * kept).sum()),
            squares=int((codes * codes * kept).sum()),
            histogram={int(c): int(n) for c, n in zip(codes, kept, strict=True)} if spec.categorical else {},
        )
    values = stored[valid]
    values = values[np.isfinite(values)] if stored.dtype.kind == "f" else values
    if spec.role not in {"set"} and not math.isnan(float(spec.nodata)):
        values = values[values != stored.dtype.type(spec.nodata)]
    if values.size == 0:
        return BandStatistics()
    total: int | float = 0
    squares: int | float = 0
    if spec.statistics and spec.role != "set":
        if stored.dtype.kind in "iu" and stored.dtype.itemsize <= 2:
            whole = values.astype(np.int64)
            total, squares = int(whole.sum()), int((whole * whole).sum())
        else:
            wide = values.astype(np.float64)
            total, squares = float(wide.sum()), float(np.square(wide).sum())
    low, high = float(values.min()), float(values.max())
    return BandStatistics(count=int(values.size), minimum=low, maximum=high, total=total, squares=squares)


def merge_statistics(parts: Iterable[BandStatistics]) -> BandStatistics:
    """Return the statistics of the union of disjoint parts (in the order given, for float sums)."""
    kept = [part for part in parts if part.count]
    if not kept:
        return BandStatistics()
    histogram: dict[int, int] = {}
    for part in kept:
        for code, number in part.histogram.items():
            histogram[code] = histogram.get(code, 0) + number
    return BandStatistics(
        count=sum(part.count for part in kept),
        minimum=min(part.minimum for part in kept),
        maximum=max(part.maximum for part in kept),
        total=sum(part.total for part in kept),
        squares=sum(part.squares for part in kept),
        histogram=dict(sorted(histogram.items())),
    )


def stac_statistics(statistics: BandStatistics, spec: LayerSpec, pixels: int) -> dict[str, float]:
    """Return the `statistics` object of STAC 1.1 (physical units; codes for categorical layers)."""
    result: dict[str, float] = {"valid_percent": round(100.0 * statistics.count / pixels, 6)}
    if statistics.count == 0 or not spec.statistics:
        return result
    physical = [statistics.minimum * spec.scale + spec.offset, statistics.maximum * spec.scale + spec.offset]
    result |= {"minimum": min(physical), "maximum": max(physical)}
    if not spec.categorical:
        mean = statistics.total / statistics.count
        variance = max(0.0, statistics.squares / statistics.count - mean * mean)
        result |= {"mean": mean * spec.scale + spec.offset, "stddev": math.sqrt(variance) * abs(spec.scale)}
    return {key: float(f"{value:.9g}") for key, value in result.items()}
