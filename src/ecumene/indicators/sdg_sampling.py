"""SDG 11.3.1 by Monte Carlo: the same model of errors as the closed form, without its approximations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.indicators.sdg_land_use import NEGLIGIBLE_RATE, Quantity, check_form, check_period
from ecumene.indicators.sdg_signs import SIGN_TABLE

DRAWS = 20_000


@dataclass(frozen=True)
class SampledEfficiency:
    """The indicator over many draws of areas and populations.

    Attributes:
        land_rate: Ends of the interval of the land consumption rate.
        population_rate: The same of the population growth rate.
        ratio: Quantiles of the ratio over draws whose population growth is not negligible; wide tails where the growth
            comes near 0. None without such a draw.
        undefined_share: Share of draws with negligible population growth.
        faster_share: Share of draws in which land grows faster than people (LCR > PGR).
        meanings: Share of draws by meaning, as in `SIGN_TABLE`; those that do not occur are left out.
        draws: Number of draws.
    """

    land_rate: tuple[float, float]
    population_rate: tuple[float, float]
    ratio: tuple[float, float] | None
    undefined_share: float
    faster_share: float
    meanings: dict[str, float]
    draws: int

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able numbers."""
        return {
            "land_consumption_rate": list(self.land_rate),
            "population_growth_rate": list(self.population_rate),
            "ratio": None if self.ratio is None else list(self.ratio),
            "undefined_share": self.undefined_share,
            "land_grows_faster_share": self.faster_share,
            "meanings": self.meanings,
            "draws": self.draws,
        }


def sample_efficiency(
    area: tuple[Quantity, Quantity],
    population: tuple[Quantity, Quantity],
    years: tuple[int, int],
    *,
    form: str = "logarithmic",
    area_correlation: float = 0.0,
    population_correlation: float = 0.0,
    confidence: float = 0.95,
    negligible: float = NEGLIGIBLE_RATE,
    draws: int = DRAWS,
    seed: int = 0,
) -> SampledEfficiency:
    """Draw areas and populations from their log-normal distributions and form the indicator of each draw.

    Args:
        area: As for `land_use_efficiency`.
        population: As there.
        years: As there.
        form: As there.
        area_correlation: As there.
        population_correlation: As there.
        confidence: Level of the intervals.
        negligible: Rates nearer to 0 count as no change.
        draws: Number of draws, at least 100.
        seed: The same seed gives the same numbers.

    Raises:
        ConfigurationError: If a number is out of range, or the years repeat or run backwards.
    """
    chosen, span = check_form(form), check_period(years)
    if draws < 100 or not 0.0 < confidence < 1.0:
        raise ConfigurationError("Sampling needs at least 100 draws and a confidence between 0 and 1.")
    generator = np.random.default_rng(seed)
    change = _log_changes(generator, area, area_correlation, draws)
    land = change / span if chosen == "logarithmic" else np.expm1(change) / span
    growth = _log_changes(generator, population, population_correlation, draws) / span
    ends = (50 - 50 * confidence, 50 + 50 * confidence)
    usable = np.abs(growth) >= negligible
    return SampledEfficiency(
        _interval(land, ends),
        _interval(growth, ends),
        _interval(land[usable] / growth[usable], ends) if usable.any() else None,
        float(1.0 - usable.mean()),
        float((land > growth).mean()),
        _meanings(land, growth, negligible),
        draws,
    )


def _log_changes(
    generator: np.random.Generator, amounts: tuple[Quantity, Quantity], correlation: float, draws: int
) -> NDArray[np.float64]:
    if not -1.0 <= correlation <= 1.0:
        raise ConfigurationError(f"A correlation lies between -1 and 1, but is {correlation:g}.")
    past, present = amounts
    first = generator.standard_normal(draws)
    second = correlation * first + math.sqrt(1.0 - correlation**2) * generator.standard_normal(draws)
    values: NDArray[np.float64] = (
        math.log(present.value / past.value)
        + math.sqrt(present.log_variance) * second
        - math.sqrt(past.log_variance) * first
    )
    return values


def _interval(values: NDArray[np.float64], ends: tuple[float, float]) -> tuple[float, float]:
    low, high = np.percentile(values, ends)
    return float(low), float(high)


def _meanings(land: NDArray[np.float64], growth: NDArray[np.float64], negligible: float) -> dict[str, float]:
    signs = [np.where(np.abs(rate) < negligible, 0, np.sign(rate)).astype(int) for rate in (land, growth)]
    shares = {text: float(((signs[0] == pair[0]) & (signs[1] == pair[1])).mean()) for pair, text in SIGN_TABLE.items()}
    return {text: share for text, share in shares.items() if share > 0}
