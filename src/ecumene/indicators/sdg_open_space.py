"""SDG 11.7.1: the share of a city's built-up area that is open space, from a map of classes."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.indicators.olofsson import Estimate
from ecumene.indicators.ratio_interval import normal_quantile


@dataclass(frozen=True)
class OpenSpace:
    """Open space of a city.

    Attributes:
        share: (open space + streets) / city, with its interval; NaN errors where none were given.
        open_m2: Area of the open classes.
        streets_m2: Area of the street classes.
        city_m2: Area of the city: open space, streets and everything else that counts as city.
    """

    share: Estimate
    open_m2: float
    streets_m2: float
    city_m2: float


def open_space_share(
    areas_m2: Mapping[int, float],
    open_codes: Collection[int],
    street_codes: Collection[int] = (),
    *,
    city_codes: Collection[int] | None = None,
    standard_errors_m2: Mapping[int, float] | None = None,
    confidence: float = 0.95,
) -> OpenSpace:
    """Return the share of open space and streets in a city's area.

    The metadata of 11.7.1 ask for open space in public use; a land cover map shows that a place is open, not who may
    enter it. The share is therefore an upper estimate unless the legend's classes are public by definition.

    Args:
        areas_m2: Area of each class code in the city.
        open_codes: Codes of open space, e.g. parks and sports grounds.
        street_codes: Codes of land allocated to streets.
        city_codes: Codes that count as city (open space and streets always do); None: all.
        standard_errors_m2: Standard errors of the areas; classes' errors are taken as independent.
        confidence: Level of the interval.

    Raises:
        ConfigurationError: If a code is both open space and street, or no open class is given.
        LabelError: If the city has no area.
    """
    if not open_codes:
        raise ConfigurationError("The share of open space needs the classes that are open space; name at least one.")
    if both := sorted(set(open_codes) & set(street_codes)):
        raise ConfigurationError(f"The class code {both[0]} is both open space and street; name it once.")
    wanted = {*open_codes, *street_codes}
    city = set(areas_m2) if city_codes is None else wanted | set(city_codes)
    inside, rest = city & wanted, city - wanted
    open_m2 = sum(areas_m2.get(code, 0.0) for code in sorted(open_codes))
    streets = sum(areas_m2.get(code, 0.0) for code in sorted(street_codes))
    other = sum(areas_m2.get(code, 0.0) for code in sorted(rest))
    total = open_m2 + streets + other
    if total <= 0:
        raise LabelError("The city has no area of its classes in the map; check its boundary and the class list.")
    share = (open_m2 + streets) / total
    error = math.nan
    if standard_errors_m2 is not None:
        one = math.fsum(standard_errors_m2.get(code, 0.0) ** 2 for code in sorted(inside))
        two = math.fsum(standard_errors_m2.get(code, 0.0) ** 2 for code in sorted(rest))
        # Delta method for x / (x + y).
        error = math.sqrt(other**2 * one + (open_m2 + streets) ** 2 * two) / total**2
    margin = normal_quantile(confidence) * error
    known = math.isfinite(margin)
    estimate = Estimate(
        share,
        error,
        margin,
        max(0.0, share - margin) if known else math.nan,
        min(1.0, share + margin) if known else math.nan,
    )
    return OpenSpace(estimate, open_m2, streets, total)
