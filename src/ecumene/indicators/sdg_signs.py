"""What a land consumption rate and a population growth rate mean together: the table of signs of SDG 11.3.1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ecumene.indicators.ratio_interval import RatioSet

SIGN_TABLE: Mapping[tuple[int, int], str] = MappingProxyType(
    {
        (1, 1): "built-up land and population both grow",
        (1, 0): "built-up land grows while the population stays the same",
        (1, -1): "built-up land grows while the population shrinks",
        (0, 1): "the population grows on the same built-up land",
        (0, 0): "neither built-up land nor population changes noticeably",
        (0, -1): "the population shrinks on the same built-up land",
        (-1, 1): "built-up land shrinks while the population grows",
        (-1, 0): "built-up land shrinks while the population stays the same",
        (-1, -1): "built-up land and population both shrink",
    }
)
"""Meaning of (sign of the land consumption rate, sign of the population growth rate).

The ratio alone does not tell these cases apart: it is 2 where land grows twice as fast as people and where it shrinks
twice as fast, and -1 both where a shrinking city expands and where a growing one gives up built-up land.
"""

_GROWING = {1: "land grows faster than people", -1: "people grow faster than land (densification)"}
_SHRINKING = {1: "land shrinks faster than people", -1: "people leave faster than land is given up (thinning out)"}


@dataclass(frozen=True)
class Reading:
    """The meaning of a pair of rates.

    Attributes:
        land: Sign of the land consumption rate; 0: not distinguishable from no change.
        population: Sign of the population growth rate.
        ratio_to_one: 1: the ratio is surely above 1; -1: surely below; 0: neither; None: the signs differ or one is
            0, so that the comparison with 1 says nothing.
    """

    land: int
    population: int
    ratio_to_one: int | None = None

    @property
    def text(self) -> str:
        """The meaning in words, without a full stop."""
        said = SIGN_TABLE[self.land, self.population]
        if self.ratio_to_one is None:
            return said
        if self.ratio_to_one == 0:
            return f"{said}, at rates that cannot be told apart"
        return f"{said}: {(_GROWING if self.land > 0 else _SHRINKING)[self.ratio_to_one]}"


def sign_of(rate: float, low: float, high: float, negligible: float) -> int:
    """Return the sign of a rate; 0 where it is negligible or where its interval holds 0.

    Args:
        rate: The estimate.
        low: Lower end of its interval.
        high: Upper end.
        negligible: Rates nearer to 0 than this count as no change.
    """
    if abs(rate) < negligible or low <= 0.0 <= high:
        return 0
    return 1 if rate > 0 else -1


def read_signs(land: int, population: int, ratios: RatioSet | None) -> Reading:
    """Return the meaning of two signs and the set of possible ratios."""
    if land == 0 or land != population or ratios is None or ratios.kind != "interval":
        return Reading(land, population)
    assert ratios.low is not None  # an interval has both ends
    assert ratios.high is not None
    return Reading(land, population, 1 if ratios.low > 1 else -1 if ratios.high < 1 else 0)
