"""Several methods one after the other: what the first cannot fill, the next one may."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ecumene.restoration.contract import Filled, FillMethod, SeriesPixels, Target


@dataclass(frozen=True)
class Chain:
    """Fills each pixel by the first method that knows it.

    Attributes:
        methods: In the order of preference, at least one.
    """

    methods: tuple[FillMethod, ...]

    @property
    def name(self) -> str:
        """Names of the methods, joined."""
        return ", then ".join(method.name for method in self.methods)

    def fill(self, series: SeriesPixels, target: Target) -> Filled:
        """Estimate every pixel of a day; see `contract.FillMethod`."""
        first, *others = self.methods
        result = first.fill(series, target)
        for method in others:
            missing = np.flatnonzero(np.isnan(result.mean[0]))
            if not missing.size:
                break
            more = method.fill(series.take(missing), target)
            result.mean[:, missing] = more.mean
            result.deviation[:, missing] = more.deviation
            result.surprise[missing] = more.surprise
        return result
