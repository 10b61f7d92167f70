"""The network of acquisitions and pairs: what can be inverted, and the loops that check it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecumene.core.errors import ConfigurationError, ContractError
from ecumene.physics.interferometry.geometry import DAYS_PER_YEAR


@dataclass(frozen=True)
class PairNetwork:
    """Pairs of acquisitions.

    Attributes:
        first: Dates of the first images, datetime64[D], `[M]`.
        second: Dates of the second images, `[M]`; later or earlier than `first`.
        baselines_m: Perpendicular baselines `b_second - b_first`, metres, `[M]`, or None.
        single_pass: Both images of a pair may be of one date (bistatic pairs: heights, no motion).
        dates: All acquisitions in order of time, datetime64[D], `[N]`.
        first_index: Place of `first` in `dates`, `[M]`.
        second_index: Place of `second` in `dates`, `[M]`.
    """

    first: NDArray[np.datetime64]
    second: NDArray[np.datetime64]
    baselines_m: NDArray[np.float64] | None = None
    single_pass: bool = False
    dates: NDArray[np.datetime64] = field(init=False)
    first_index: NDArray[np.int64] = field(init=False)
    second_index: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        """Order the acquisitions and refuse pairs that say nothing."""
        set_ = object.__setattr__
        first, second = (np.asarray(dates, "datetime64[D]") for dates in (self.first, self.second))
        if first.ndim != 1 or first.shape != second.shape or first.size == 0:
            raise ConfigurationError("Give the first and the second date of every pair, and at least one pair.")
        if np.isnat(first).any() or np.isnat(second).any():
            raise ConfigurationError("A pair has no date; write dates as YYYYMMDD or YYYY-MM-DD.")
        same = np.flatnonzero(first == second)
        if same.size and not self.single_pass:
            raise ConfigurationError(f"Pair {int(same[0]) + 1} joins {first[same[0]]} with itself; leave it out.")
        set_(self, "first", first)
        set_(self, "second", second)
        dates = np.unique(np.concatenate([first, second]))
        set_(self, "dates", dates)
        set_(self, "first_index", np.searchsorted(dates, first))
        set_(self, "second_index", np.searchsorted(dates, second))
        if self.baselines_m is not None:
            baselines = np.asarray(self.baselines_m, np.float64)
            if baselines.shape != first.shape or not np.isfinite(baselines).all():
                raise ConfigurationError("Give one finite perpendicular baseline, in metres, for every pair.")
            set_(self, "baselines_m", baselines)

    @property
    def pairs(self) -> int:
        """Number of pairs M."""
        return int(self.first.size)

    @property
    def acquisitions(self) -> int:
        """Number of acquisitions N."""
        return int(self.dates.size)

    @property
    def years(self) -> NDArray[np.float64]:
        """Time since the first acquisition, years, `[N]`."""
        return np.asarray((self.dates - self.dates[0]).astype(np.float64) / DAYS_PER_YEAR)

    @property
    def incidence(self) -> NDArray[np.float64]:
        """Phase differences from acquisitions, `[M, N]`: -1 at the first, +1 at the second image."""
        matrix = np.zeros((self.pairs, self.acquisitions))
        rows = np.arange(self.pairs)
        matrix[rows, self.first_index] = -1.0
        matrix[rows, self.second_index] = 1.0
        return matrix

    def subsets(self) -> NDArray[np.int64]:
        """Return the number of the connected subset of every acquisition, `[N]`; all 0 where all hang together."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        links = coo_array((np.ones(self.pairs), (self.first_index, self.second_index)), shape=(self.acquisitions,) * 2)
        return np.asarray(connected_components(links, directed=False)[1], np.int64)

    def acquisition_baselines(self) -> NDArray[np.float64]:
        """Return perpendicular baselines of the acquisitions, metres, mean zero within each subset, `[N]`.

        Raises:
            ConfigurationError: If the pairs have no baselines.
        """
        if self.baselines_m is None:
            raise ConfigurationError("The pairs state no perpendicular baselines; add a column bperp_m to the table.")
        return np.asarray(np.linalg.lstsq(self.incidence, self.baselines_m, rcond=None)[0])

    def triangles(self) -> NDArray[np.int64]:
        """Return all loops of three pairs, `[T, 3]`: pairs (a, b), (b, c) and (a, c) of acquisitions a < b < c."""
        place = {(int(i), int(j)): k for k, (i, j) in enumerate(zip(self.first_index, self.second_index, strict=True))}
        place |= {(j, i): k for (i, j), k in place.items()}
        found = [
            (place[a, b], place[b, c], place[a, c])
            for a, b, c in combinations(range(self.acquisitions), 3)
            if (a, b) in place and (b, c) in place and (a, c) in place
        ]
        return np.array(found, np.int64).reshape(-1, 3)

    def loop_signs(self, loops: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the factor of each pair in each loop of `triangles`, `[T, 3]`, so that true phases sum to zero."""
        forward = np.where(self.first_index < self.second_index, 1.0, -1.0)
        return np.asarray(forward[loops] * np.array([1.0, 1.0, -1.0]))


def make_network(
    first: Sequence[str] | ArrayLike,
    second: Sequence[str] | ArrayLike,
    baselines_m: ArrayLike | None = None,
    *,
    single_pass: bool = False,
) -> PairNetwork:
    """Return a network from dates as text (`20180106`, `2018-01-06`) or datetime64; see `PairNetwork`."""
    ends = [np.array([parse_date(str(date)) for date in np.asarray(dates).ravel()]) for dates in (first, second)]
    baselines = None if baselines_m is None else np.asarray(baselines_m, np.float64)
    return PairNetwork(ends[0], ends[1], baselines, single_pass)


def parse_date(text: str) -> np.datetime64:
    """Return a date from `YYYYMMDD` or `YYYY-MM-DD`.

    Raises:
        ConfigurationError: If it is neither.
    """
    plain = text.strip()
    if len(plain) == 8 and plain.isdigit():
        plain = f"{plain[:4]}-{plain[4:6]}-{plain[6:]}"
    try:
        return np.datetime64(date.fromisoformat(plain), "D")
    except ValueError as error:
        raise ConfigurationError(f"{text!r} is not a date; write YYYYMMDD or YYYY-MM-DD.") from error


@dataclass(frozen=True)
class Closures:
    """Sums of phases around loops of three pairs.

    Attributes:
        loops: Pairs of every loop, `[T, 3]`.
        phase: Sum around the loop, radians, `[T, ...]`; NaN where a pair has no data.
        cycles: Its nearest number of whole cycles, `[T, ...]`: unwrapping errors; 0 without data.
        residual: What is left, radians, `[T, ...]`: averaging, soil moisture, filters.
        suspect: Pixels where some loop has whole cycles left, `[...]`.
    """

    loops: NDArray[np.int64]
    phase: NDArray[np.float64]
    cycles: NDArray[np.int64]
    residual: NDArray[np.float64]
    suspect: NDArray[np.bool_]


def closure_phases(phase: NDArray[np.float64], network: PairNetwork) -> Closures:
    """Sum unwrapped phases around all loops of three pairs.

    De Zan, Zonno and Lopez-Dekker, "Phase inconsistencies and multiple scattering in SAR interferometry", IEEE
    TGRS 53(12), 2015. Phases must be referenced (`reference.apply_reference`) before whole cycles mean anything.

    Args:
        phase: Unwrapped phases, radians, `[M, ...]`.
        network: The pairs.

    Raises:
        ContractError: If the number of phases is not that of the pairs.
    """
    stack = np.asarray(phase, np.float64)
    if stack.shape[0] != network.pairs:
        raise ContractError(f"There are {stack.shape[0]} interferograms for {network.pairs} pairs.")
    loops = network.triangles()
    signs = network.loop_signs(loops)
    total = np.zeros((len(loops), *stack.shape[1:]))
    for k in range(3):
        total += stack[loops[:, k]] * signs[:, k].reshape(-1, *([1] * (stack.ndim - 1)))
    cycles = np.rint(np.nan_to_num(total) / (2.0 * np.pi)).astype(np.int64)
    return Closures(loops, total, cycles, total - 2.0 * np.pi * cycles, np.any(cycles != 0, axis=0))
