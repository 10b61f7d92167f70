"""Which values the options of maps of several dates may have, and which dates: said before anything is mapped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, ContractError, SceneError
from ecumene.legends import Legend
from ecumene.workflows.series_growth import year_of

if TYPE_CHECKING:
    from ecumene.workflows.series_options import SeriesOptions


def check_values(chosen: SeriesOptions) -> None:
    """Refuse values of options that no method of maps can use.

    Raises:
        ConfigurationError: If one is out of range.
    """
    check_certainty(chosen.certainty)
    check_level(chosen.interval)
    season_start(chosen.season, 2001)
    if not 0.0 < chosen.stay < 1.0:
        raise ConfigurationError(f"The probability that a class stays lies between 0 and 1, but is {chosen.stay:g}.")
    if chosen.last < 1:
        raise ConfigurationError("A switch must last at least one date; give --last 1 or more.")
    if not 0.0 <= chosen.margin < 1.0:
        raise ConfigurationError(f"The margin of a switch lies from 0 to below 1, but is {chosen.margin:g}.")


def check_certainty(certainty: float) -> None:
    """Refuse a certainty of classes outside (0.5, 1).

    Raises:
        ConfigurationError: If it is.
    """
    if not 0.5 < certainty < 1.0:
        raise ConfigurationError(f"The certainty of a map must lie between 0.5 and 1, but is {certainty:g}.")


def check_level(level: float) -> None:
    """Refuse a level of intervals outside (0, 1).

    Raises:
        ConfigurationError: If it is.
    """
    if not 0.0 < level < 1.0:
        raise ConfigurationError("The level of an interval must lie between 0 and 1.")


def season_start(begin: str, year: int) -> int:
    """Return the day, since 1970-01-01, at which a year's season begins.

    Args:
        begin: Month and day, `MM-DD`.
        year: In which it begins.

    Raises:
        ConfigurationError: If that is no day of the year.
    """
    try:
        return int(np.datetime64(f"{year:04d}-{begin}", "D").astype(np.int64))
    except ValueError as error:
        raise ConfigurationError(
            f"A season begins at MM-DD, such as 09-01, on a day that every year has, not at {begin!r}."
        ) from error


def check_rule(rule: str, days: NDArray[np.int64]) -> None:
    """Refuse dates that a rule of growth cannot use.

    Args:
        rule: One of `series_options.RULES`.
        days: Of the maps, since 1970-01-01, ascending.

    Raises:
        SceneError: If they are too few, or two are of one year.
    """
    years = year_of(days)
    if rule == "majority" and (len(years) < 3 or (np.diff(years) == 0).any()):
        raise SceneError("The majority of years needs three maps or more, one a year; give these, or another rule.")


def counted_class(legend: Legend, count: str | None) -> int:
    """Return the index of the class whose days are counted.

    Raises:
        ConfigurationError: If none is named.
        LabelError: If the legend has no such class.
    """
    if count is None:
        raise ConfigurationError(f"Name the class whose days are counted: --count, one of {', '.join(legend.names)}.")
    return legend.index_of(count)


def check_second(legend: Legend, days: Sequence[int], second: Legend, second_days: Sequence[int]) -> None:
    """Refuse maps of a second sensor that have other classes or dates than the first one's.

    Args:
        legend: Of the first sensor's maps.
        days: Of these, since 1970-01-01.
        second: Legend of the second sensor's maps.
        second_days: Of these.

    Raises:
        ContractError: If that is so.
    """
    if second.names != legend.names or second.values != legend.values:
        raise ContractError("The maps of --second have other classes; bring them to one legend with `ecumene convert`.")
    if missing := [day for day in second_days if day not in days]:
        raise ContractError(
            f"The map of {np.datetime64(int(missing[0]), 'D')} in --second has no map of that date among the first "
            "ones; give maps of the same dates."
        )
