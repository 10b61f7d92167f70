"""SDG 11.3.1 of simulated growing cities: how often its intervals hold the truth, by how far errors are shared.

    python benchmarks/change_indicators.py [--seeds 12]

Each city is cut into districts. Maps of two years are drawn with probabilities whose errors neighbours share over
blocks of a given size; the population is the truth with a log-normal error of known size. The intervals take errors
as fully shared within 1 km and as independent beyond, so they should be too wide for errors shared over less and too
narrow for more. They presume that probabilities are calibrated in each district; the second part shows what becomes
of them where this holds for the city as a whole only. Simulated: it supports no claim about real maps.
"""

from __future__ import annotations

import argparse
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common import machine, store
from ecumene.indicators.growth_losses import RealShare
from ecumene.indicators.sdg_land_use import FORMS, Quantity, land_use_efficiency
from ecumene.indicators.sdg_sampling import sample_efficiency
from ecumene.simulate import simulate_city

SHAPE, DISTRICT, PIXEL_M2 = (400, 400), 200, 100.0
YEARS = (2016, 2024)
SHARED_M = (50, 200, 1000, 2000)
ASSUMED = 100  # pixels: 1 km
CONFIDENCE = 0.9
POPULATION_ERROR = 0.01
SIGNAL_NOISE = 0.45
"""Of the image's signal, in units of the difference between built-up and other land."""


def probabilities(
    truth: NDArray[np.bool_], share: NDArray[np.float64], generator: np.random.Generator, block: int
) -> NDArray[np.float64]:
    """Draw a map of probabilities: each is the posterior of a noisy signal, given a share of built-up land.

    Args:
        truth: Built-up land.
        share: Prior share of built-up land at each pixel.
        generator: Source of noise.
        block: Side of the blocks in which all pixels share 80 % of the noise's variance, in pixels.
    """
    cells = [-(-side // block) + 1 for side in truth.shape]
    shift = generator.integers(0, block, 2)
    shared = generator.normal(size=cells).repeat(block, 0).repeat(block, 1)
    shared = shared[shift[0] : shift[0] + truth.shape[0], shift[1] : shift[1] + truth.shape[1]]
    noise = math.sqrt(0.8) * shared + math.sqrt(0.2) * generator.normal(size=truth.shape)
    signal = truth + SIGNAL_NOISE * noise
    log_odds = (signal - 0.5) / SIGNAL_NOISE**2 + np.log(share / (1 - share))
    return 1 / (1 + np.exp(-log_odds))


def prior(truth: NDArray[np.bool_], local: bool) -> NDArray[np.float64]:
    """Return the share of built-up land of each pixel's district, or of the whole city."""
    if not local:
        return np.full(truth.shape, truth.mean())
    blocks = truth.reshape(SHAPE[0] // DISTRICT, DISTRICT, SHAPE[1] // DISTRICT, DISTRICT).mean(axis=(1, 3))
    return np.clip(blocks, 1e-3, 1 - 1e-3).repeat(DISTRICT, 0).repeat(DISTRICT, 1)


def expected_area(chance: NDArray[np.float64]) -> Quantity:
    """Return built-up area with its error as `ecumene indicators` computes it."""
    share = RealShare()
    share.add(chance, np.ones(chance.shape, bool), np.full((chance.shape[0], 1), PIXEL_M2), ASSUMED)
    found = share.result(CONFIDENCE)
    return Quantity(found.value, found.standard_error)


def one_district(
    truth: dict[int, NDArray[np.bool_]], chances: dict[int, NDArray[np.float64]], generator: np.random.Generator
) -> dict[str, float]:
    """Compare the indicator of one district with its truth."""
    areas = tuple(expected_area(chances[year]) for year in YEARS)
    true_area = [float(truth[year].sum()) * PIXEL_M2 for year in YEARS]
    true_people = [true_area[0] / 40.0, true_area[0] / 40.0 * 1.2]
    spread = math.sqrt(math.log1p(POPULATION_ERROR**2))
    people = tuple(
        Quantity(value := true * math.exp(spread * generator.normal()), value * POPULATION_ERROR)
        for true in true_people
    )
    span = YEARS[1] - YEARS[0]
    true_growth = math.log(true_people[1] / true_people[0]) / span
    row: dict[str, float] = {}
    for form in FORMS:
        found = land_use_efficiency(areas, people, YEARS, form=form, confidence=CONFIDENCE)
        gain = true_area[1] / true_area[0]
        true_rate = math.log(gain) / span if form == "logarithmic" else (gain - 1) / span
        row[f"{form} land rate"] = found.land_rate.low <= true_rate <= found.land_rate.high
        row[f"{form} ratio"] = true_rate / true_growth in found.ratios
        if found.ratios.kind == "interval":
            row[f"{form} width"] = found.ratios.high - found.ratios.low
    sampled = sample_efficiency(areas, people, YEARS, confidence=CONFIDENCE, draws=4000)
    if sampled.ratio is not None:
        ratio = math.log(true_area[1] / true_area[0]) / span / true_growth
        row["Monte Carlo ratio"] = sampled.ratio[0] <= ratio <= sampled.ratio[1]
    return row


def measured(cities: list[dict[int, NDArray[np.bool_]]], block_m: int, local: bool) -> dict[str, Any]:
    """Return the coverage over all districts of all cities."""
    rows = []
    for number, truth in enumerate(cities):
        generator = np.random.default_rng((number, block_m))
        chances = {
            year: probabilities(truth[year], prior(truth[year], local), generator, block_m // 10) for year in YEARS
        }
        for row in range(0, SHAPE[0], DISTRICT):
            for col in range(0, SHAPE[1], DISTRICT):
                place = np.s_[row : row + DISTRICT, col : col + DISTRICT]
                here = {year: truth[year][place] for year in YEARS}
                if min(part.mean() for part in here.values()) < 0.02:
                    continue
                rows.append(one_district(here, {year: chances[year][place] for year in YEARS}, generator))
    keys = sorted({key for row in rows for key in row})
    found = {key: float(np.mean([row[key] for row in rows if key in row])) for key in keys}
    return {"districts": len(rows)} | found


def main() -> None:
    """Measure and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=12)
    seeds = parser.parse_args().seeds
    cities = []
    for seed in range(seeds):
        city = simulate_city(seed, SHAPE, years=YEARS)
        cities.append({year: np.asarray(city.built_up(year)) for year in YEARS})
    results = {
        "kind": "simulated",
        "machine": machine(),
        "seeds": seeds,
        "district_m": DISTRICT * 10,
        "confidence": CONFIDENCE,
        "population_error": POPULATION_ERROR,
        "errors_taken_as_shared_within_m": ASSUMED * 10,
        "calibrated_in_each_district": {str(block): measured(cities, block, True) for block in SHARED_M},
        "calibrated_over_the_city_only": {str(block): measured(cities, block, False) for block in SHARED_M},
    }
    print(store("change_indicators", results).read_text())


if __name__ == "__main__":
    main()
