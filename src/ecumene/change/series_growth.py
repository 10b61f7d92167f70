"""Yearly maps of built-up land made consistent: once built-up stays built-up, from which year on, and how much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.change.series_classes import NODATA
from ecumene.core.errors import ConfigurationError, SceneError

NEVER = 0
"""Year of pixels that are not built-up until the end."""


@dataclass(frozen=True)
class YearlyGrowth:
    """Built-up land of every year.

    Attributes:
        state: bool `[T, *space]`; a pixel that is True stays so.
        first_year: int16 `[*space]`: year of first built-up; 0 never; -1 without any known year.
        years: The years.
    """

    state: NDArray[np.bool_]
    first_year: NDArray[np.int16]
    years: tuple[int, ...]

    def area_curve(self, areas: Any) -> NDArray[np.float64]:
        """Return the built-up area of every year `[T]`.

        Args:
            areas: Areas of the pixels, of a shape that spreads to theirs; square metres.
        """
        weights = np.broadcast_to(np.asarray(areas, np.float64), self.state.shape[1:])
        return np.array([float(weights[part].sum()) for part in self.state])


def yearly_growth(built_up: Any, years: Sequence[int]) -> YearlyGrowth:
    """Make yearly maps of built-up land consistent: a majority of three years, then no way back.

    A year is built-up if two of the three years around it are, at both ends of the series both years of the pair: a
    single wrong year neither makes nor breaks built-up land. Then a pixel that is built-up stays so. Years without data
    do not vote: of two votes both must agree, and a single one decides.

    Args:
        built_up: uint8 or bool `[T, *space]`: 0, 1; 255 unknown.
        years: `[T]`, rising by one or more.

    Returns:
        The growth.

    Raises:
        ConfigurationError: If shapes or codes are wrong.
        SceneError: If years repeat or run backwards, or are fewer than three.
    """
    given = np.asarray(built_up)
    if given.dtype.kind not in "bu" or given.shape[:1] != (len(years),):
        raise ConfigurationError(f"Built-up land must be uint8 [{len(years)} years, ...] of 0, 1 and 255 (unknown).")
    codes = given.astype(np.uint8)
    if ((codes > 1) & (codes != NODATA)).any():
        raise ConfigurationError("Built-up land holds codes besides 0, 1 and 255; select the built-up classes first.")
    if len(years) < 3:
        raise SceneError("A majority of years needs at least three of them; give more yearly maps.")
    steps = np.diff(np.asarray(years, np.int64))
    if (steps <= 0).any():
        late = years[int(np.argmax(steps <= 0)) + 1]
        raise SceneError(f"The years repeat or run backwards at {late}; give one map a year in the order of time.")
    state = np.logical_or.accumulate(_majority(codes), axis=0)
    number = np.asarray(years, np.int16).reshape(-1, *[1] * (given.ndim - 1))
    first = np.where(state, number, np.iinfo(np.int16).max).min(axis=0)
    known = (codes != NODATA).any(axis=0)
    year = np.where(known, np.where(state[-1], first, NEVER), -1).astype(np.int16)
    return YearlyGrowth(state, year, tuple(int(entry) for entry in years))


def _majority(codes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where more than half of the votes of a year and its neighbours say built-up."""
    result = np.empty(codes.shape, np.bool_)
    for t in range(len(codes)):
        around = codes[max(0, t - 1) : t + 2]
        result[t] = 2 * (around == 1).sum(axis=0) > (around != NODATA).sum(axis=0)
    return result
