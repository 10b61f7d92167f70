"""SDG 11.3.1: the land consumption rate, the population growth rate and their ratio, with errors propagated.

Forms (UN-Habitat, metadata of indicator 11.3.1; T in years, V built-up area, P population):

- `logarithmic`, until 2020: LCR = ln(V_2 / V_1) / T.
- `metadata-2021`, since 2021: LCR = (V_2 - V_1) / V_1 / T.

Both divide by PGR = ln(P_2 / P_1) / T. The secondary indicators are built-up area per person, V / P, and the total
change of built-up area, (V_2 - V_1) / V_1.

Areas and populations are positive and their errors are mostly relative, so an estimate V with standard error s is
taken as log-normal: ln V is normal about ln(value) with the variance ln(1 + (s / V)^2). Then both rates of the
logarithmic form are exactly normal, and Fieller's set of their ratio is exact; the other form takes its interval by
transformation and its ratio by the delta method inside of Fieller's set.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from ecumene.core.errors import ConfigurationError
from ecumene.indicators.accuracy import number
from ecumene.indicators.olofsson import Estimate
from ecumene.indicators.ratio_interval import RatioSet, delta_error, fieller_set, normal_quantile
from ecumene.indicators.sdg_signs import Reading, read_signs, sign_of

Form = Literal["logarithmic", "metadata-2021"]
FORMS: tuple[Form, ...] = get_args(Form)
NEGLIGIBLE_RATE = 5e-4
"""Rates below 0.05 % a year count as no change; a ratio is not formed with such a population growth."""


@dataclass(frozen=True)
class Quantity:
    """A positive amount at one date.

    Attributes:
        value: Square metres or persons, above 0.
        standard_error: In the same unit; None where nothing is known, which counts as 0 and makes intervals too short.
    """

    value: float
    standard_error: float | None = None

    def __post_init__(self) -> None:
        error = self.standard_error
        if not (math.isfinite(self.value) and self.value > 0):
            raise ConfigurationError(f"Areas and populations must be positive numbers, but one is {self.value:g}.")
        if error is not None and not (math.isfinite(error) and error >= 0):
            raise ConfigurationError(f"A standard error must be a number of at least 0, but one is {error:g}.")

    @property
    def log_variance(self) -> float:
        """Variance of the logarithm."""
        return math.log1p(((self.standard_error or 0.0) / self.value) ** 2)


@dataclass(frozen=True)
class LandUseEfficiency:
    """The indicator over one period.

    Attributes:
        form: Of the land consumption rate.
        years: First and last year.
        land_rate: Land consumption rate a year.
        population_rate: Population growth rate a year.
        ratio: LCR / PGR; None where it is undefined.
        ratio_error: Standard error by the delta method; None where the ratio is undefined.
        ratios: Fieller's confidence set of the ratio, also where the ratio is undefined.
        reading: What it means.
        undefined: Why there is no ratio; empty if there is one.
        confidence: Level of the intervals.
    """

    form: Form
    years: tuple[int, int]
    land_rate: Estimate
    population_rate: Estimate
    ratio: float | None
    ratio_error: float | None
    ratios: RatioSet
    reading: Reading
    undefined: str
    confidence: float

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able numbers; undefined ones are None."""
        return {
            "form": self.form,
            "years": list(self.years),
            "land_consumption_rate": self.land_rate.to_dict(),
            "population_growth_rate": self.population_rate.to_dict(),
            "ratio": None if self.ratio is None else number(self.ratio),
            "ratio_standard_error": self.ratio_error,
            "ratio_set": {"kind": self.ratios.kind, "low": self.ratios.low, "high": self.ratios.high},
            "reading": self.reading.text,
            "undefined": self.undefined,
            "confidence": self.confidence,
        }


def check_form(form: str) -> Form:
    """Return a form of the land consumption rate.

    Raises:
        ConfigurationError: If there is none of that name.
    """
    if form not in FORMS:
        raise ConfigurationError(f"SDG 11.3.1 has no form {form!r}; choose one of: {', '.join(FORMS)}.")
    return form


def check_period(years: tuple[int, int]) -> int:
    """Return the length of a period in years.

    Raises:
        ConfigurationError: If its years repeat or run backwards.
    """
    first, last = years
    if last == first:
        raise ConfigurationError(f"Both dates are of the year {first}; a rate needs two different years.")
    if last < first:
        raise ConfigurationError(f"The years run backwards, from {first} to {last}; give the earlier year first.")
    return last - first


def log_change(past: Quantity, present: Quantity, correlation: float = 0.0) -> tuple[float, float]:
    """Return ln(present / past) and its variance.

    Args:
        past: Earlier amount.
        present: Later amount.
        correlation: Of the errors of both logarithms, in [-1, 1]; errors that two dates share cancel.

    Raises:
        ConfigurationError: If the correlation is out of range.
    """
    if not -1.0 <= correlation <= 1.0:
        raise ConfigurationError(f"A correlation lies between -1 and 1, but is {correlation:g}.")
    one, two = past.log_variance, present.log_variance
    variance = one + two - 2 * correlation * math.sqrt(one * two)
    return math.log(present.value / past.value), max(0.0, variance)


def land_use_efficiency(
    area: tuple[Quantity, Quantity],
    population: tuple[Quantity, Quantity],
    years: tuple[int, int],
    *,
    form: str = "logarithmic",
    area_correlation: float = 0.0,
    population_correlation: float = 0.0,
    confidence: float = 0.95,
    negligible: float = NEGLIGIBLE_RATE,
) -> LandUseEfficiency:
    """Return SDG 11.3.1 over one period.

    Errors of area and of population are taken as independent of each other: they come from different sources.

    Args:
        area: Built-up area at the first and at the last date, square metres.
        population: Population at both, persons.
        years: Both years.
        form: `logarithmic` or `metadata-2021`.
        area_correlation: Of the errors of both areas; 0 is on the safe side for maps that err alike.
        population_correlation: The same for the populations.
        confidence: Level of the intervals.
        negligible: Rates nearer to 0 count as no change.

    Returns:
        The indicator. Where population growth is negligible or cannot be told from 0, the ratio is None.

    Raises:
        ConfigurationError: If a number is out of range, or the years repeat or run backwards.
    """
    chosen, span, z = check_form(form), check_period(years), normal_quantile(confidence)
    change, change_variance = log_change(*area, area_correlation)
    people, people_variance = log_change(*population, population_correlation)
    land = _land_rate(chosen, change, change_variance, span, z)
    growth = _rate(people / span, math.sqrt(people_variance) / span, z)
    ratios = fieller_set(land.value, growth.value, land.standard_error**2, growth.standard_error**2, 0.0, confidence)
    undefined = _undefined(growth, negligible, confidence)
    ratio = error = None
    if not undefined:
        ratio = land.value / growth.value
        error = delta_error(land.value, growth.value, land.standard_error**2, growth.standard_error**2)
    signs = [sign_of(rate.value, rate.low, rate.high, negligible) for rate in (land, growth)]
    reading = read_signs(signs[0], signs[1], None if undefined else ratios)
    return LandUseEfficiency(chosen, years, land, growth, ratio, error, ratios, reading, undefined, confidence)


def _rate(value: float, error: float, z: float) -> Estimate:
    return Estimate(value, error, z * error, value - z * error, value + z * error)


def _land_rate(form: Form, change: float, variance: float, span: int, z: float) -> Estimate:
    """Return the land consumption rate; of the 2021 form the interval is that of the logarithm, transformed."""
    error = math.sqrt(variance)
    if form == "logarithmic":
        return _rate(change / span, error / span, z)
    low, high = math.expm1(change - z * error) / span, math.expm1(change + z * error) / span
    own = math.exp(change) * error / span
    return Estimate(math.expm1(change) / span, own, z * own, low, high)


def _undefined(growth: Estimate, negligible: float, confidence: float) -> str:
    if abs(growth.value) < negligible:
        return (
            f"the population changes by {growth.value:.3%} a year, less than {negligible:.2%}, "
            "so that a ratio would say nothing"
        )
    if growth.low <= 0.0 <= growth.high:
        return (
            f"the population growth of {growth.value:.2%} a year cannot be told from 0 "
            f"({confidence:.0%} interval {growth.low:.2%} to {growth.high:.2%})"
        )
    return ""


def built_up_per_person(area: Quantity, population: Quantity, confidence: float = 0.95) -> Estimate:
    """Return built-up square metres a person with a log-normal interval (secondary indicator of SDG 11.3.1)."""
    ratio = area.value / population.value
    return _log_normal(ratio, math.sqrt(area.log_variance + population.log_variance), normal_quantile(confidence))


def total_change(past: Quantity, present: Quantity, *, correlation: float = 0.0, confidence: float = 0.95) -> Estimate:
    """Return (present - past) / past as a share, not in percent (secondary indicator of SDG 11.3.1)."""
    change, variance = log_change(past, present, correlation)
    grown = _log_normal(math.exp(change), math.sqrt(variance), normal_quantile(confidence))
    return Estimate(math.expm1(change), grown.standard_error, grown.margin, grown.low - 1.0, grown.high - 1.0)


def _log_normal(value: float, log_error: float, z: float) -> Estimate:
    error = value * log_error
    return Estimate(value, error, z * error, value * math.exp(-z * log_error), value * math.exp(z * log_error))
