"""What growth took: areas from class to class between two maps, with intervals."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.indicators.olofsson import Estimate, olofsson_report
from ecumene.indicators.shared_errors import WORST_CASE, SharedArea, SharedErrors, shared_area
from ecumene.legends import Legend


@dataclass(frozen=True)
class FromTo:
    """Areas from class to class.

    Attributes:
        legend: Classes of rows (first date) and columns (second date).
        areas_m2: `[K, K]` true areas.
    """

    legend: Legend
    areas_m2: NDArray[np.float64]

    def between(self, before: Collection[int], after: Collection[int]) -> float:
        """Return the mapped area that went from some codes to others, square metres."""
        rows = [index for index, code in enumerate(self.legend.values) if code in before]
        cols = [index for index, code in enumerate(self.legend.values) if code in after]
        return float(self.areas_m2[np.ix_(rows, cols)].sum())

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able numbers."""
        return {"classes": list(self.legend.names), "rows": "first date", "areas_m2": self.areas_m2.tolist()}


class FromToAreas:
    """Collects two maps of one legend window by window.

    Args:
        legend: Of both maps.
    """

    def __init__(self, legend: Legend) -> None:
        self._legend = legend
        self._index = np.full(256, -1, np.int64)
        self._index[list(legend.values)] = np.arange(len(legend))
        self._areas = np.zeros(len(legend) ** 2)

    def add(
        self,
        before: NDArray[np.integer],
        after: NDArray[np.integer],
        known: NDArray[np.bool_],
        areas: NDArray[np.float64],
    ) -> None:
        """Add a window: codes `[h, w]` of both dates, where both are known, areas `[h, w]` or `[h, 1]`.

        Raises:
            ConfigurationError: If a code is not in the legend.
        """
        one, two = self._index[before[known]], self._index[after[known]]
        if one.size and min(one.min(), two.min()) < 0:
            raise ConfigurationError(f"A map holds codes that are not in its legend {self._legend.name}.")
        weights = np.broadcast_to(areas, known.shape)[known]
        size = len(self._legend)
        self._areas += np.bincount(one * size + two, weights=weights, minlength=size * size)

    def result(self) -> FromTo:
        """Return the table."""
        size = len(self._legend)
        return FromTo(self._legend, self._areas.reshape(size, size))


def sampled_transition(mapped_m2: ArrayLike, counts: ArrayLike, position: int, confidence: float = 0.95) -> Estimate:
    """Return the area of one transition, corrected by a reference sample that is stratified by mapped transition.

    Args:
        mapped_m2: `[S]` mapped area of each stratum: the transitions of interest and all the rest.
        counts: `[S, S]` reference elements; rows = MAPPED transition, columns = transition in the reference.
        position: Which one.
        confidence: Level of the interval.

    Returns:
        The estimate of Olofsson et al. (2014).
    """
    return olofsson_report(counts, mapped_m2, confidence=confidence).areas[position]


class RealShare:
    """How much of a mapped area is expected to be real, by the maps' own probabilities.

    Of pixels with the chance q of being what they are mapped as, the area sum(a q) is expected to be real. Pixels err
    together: how far, the model's calibration blocks say (`shared_errors`); without them errors within a block are
    taken as fully correlated, blocks as independent, so that the variance is the sum over blocks of
    (sum of a sqrt(q (1 - q)))^2. That is wide where errors are shared over less than a block, too narrow where they are
    shared over more, and presumes calibrated probabilities. Neither says anything about what the maps missed.
    """

    def __init__(self) -> None:
        self._mapped = self._expected = self._worst = self._squares = 0.0

    def add(
        self, chance: NDArray[np.floating], where: NDArray[np.bool_], areas: NDArray[np.float64], block: int
    ) -> None:
        """Add a window of whole blocks.

        Args:
            chance: `[h, w]` in [0, 1].
            where: `[h, w]` pixels that count.
            areas: `[h, w]` or `[h, 1]`, square metres.
            block: Side of a block in pixels; blocks begin at the window's upper left corner.
        """
        full = np.broadcast_to(areas, where.shape)
        q = np.where(where, np.clip(chance, 0.0, 1.0), 0.0).astype(np.float64)
        self._mapped += float(full[where].sum())
        self._expected += float((full * q).sum())
        worst = full * np.sqrt(q * (1 - q))
        self._worst += float(worst.sum())
        self._squares += block_variance(worst, block)

    def result(self, confidence: float = 0.95) -> Estimate:
        """Return the area that is expected to be real with its interval in the worst case, square metres."""
        return self.shared(WORST_CASE, confidence).estimate

    def shared(self, errors: SharedErrors, confidence: float = 0.95) -> SharedArea:
        """Return the same with the errors that calibration blocks show.

        Args:
            errors: Of blocks as large as those that were added.
            confidence: Level of the interval.
        """
        return shared_area(self._expected, self._worst, self._squares, errors, self._mapped, confidence)


def block_variance(deviations: NDArray[np.float64], block: int) -> float:
    """Return the variance of a sum whose parts are fully correlated within blocks and independent between them.

    Args:
        deviations: `[h, w]` standard deviations.
        block: Side in pixels.
    """
    rows = np.arange(0, deviations.shape[0], block)
    cols = np.arange(0, deviations.shape[1], block)
    sums = np.add.reduceat(np.add.reduceat(deviations, rows, axis=0), cols, axis=1)
    return float((sums**2).sum())
