"""SDG 11.3.1 of simulated growing cities: how often its intervals hold the truth, by how far errors are shared.

    python benchmarks/change_indicators.py [--seeds 12]

Each city is cut into districts. Maps of two years are drawn with probabilities whose errors neighbours share over
blocks of a given size; the population is the truth with a log-normal error of known size. Three models of errors are
compared: how far blocks of 1 km of two other cities share their errors (what `train` stores with a model as block
residuals), with the correlation of both years' errors that blocks labelled at both years show, and without it; and the
worst case, errors fully shared within 1 km, for a map whose model knows nothing of it. All take blocks as independent,
so they are too narrow for errors shared over more. In the second part probabilities are calibrated for the city as a
whole only. Simulated: it supports no claim about real maps.
"""

from __future__ import annotations

import argparse
import json
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common import machine, store
from ecumene.indicators.growth_losses import RealShare
from ecumene.indicators.sdg_land_use import FORMS, Quantity, land_use_efficiency
from ecumene.indicators.sdg_sampling import sample_efficiency
from ecumene.indicators.shared_errors import (
    WORST_CASE,
    SharedArea,
    SharedErrors,
    correlation_of_years,
    shared_errors,
)
from ecumene.simulate import simulate_city
from ecumene.trust.block_residuals import BlockResiduals, correlation_of_dates

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
    """Return the share of built-up land of each pixel's block of 1 km, or of the whole city."""
    if not local:
        return np.full(truth.shape, truth.mean())
    blocks = truth.reshape(SHAPE[0] // ASSUMED, ASSUMED, SHAPE[1] // ASSUMED, ASSUMED).mean(axis=(1, 3))
    return np.clip(blocks, 1e-3, 1 - 1e-3).repeat(ASSUMED, 0).repeat(ASSUMED, 1)


def calibration(
    cities: list[dict[int, NDArray[np.bool_]]], number: int, block: int, local: bool, generator: np.random.Generator
) -> tuple[SharedErrors, float]:
    """Return how far errors are shared within blocks of two other cities, and between both years of a block."""
    rows, cols = np.indices(SHAPE) // ASSUMED
    numbers = (rows * 100 + cols).ravel()
    chances: dict[int, list[NDArray[np.float64]]] = {year: [] for year in YEARS}
    labels: dict[int, list[NDArray[np.bool_]]] = {year: [] for year in YEARS}
    for place in (1, 2):
        for year in YEARS:
            truth = cities[(number + place) % len(cities)][year]
            chances[year].append(probabilities(truth, prior(truth, local), generator, block).ravel())
            labels[year].append(truth.ravel())
    p = [np.concatenate(chances[year]) for year in YEARS]
    there = [np.concatenate(labels[year]) for year in YEARS]
    groups = np.concatenate([numbers, numbers + 10_000])
    residuals = BlockResiduals.fit(
        np.stack([1 - p[0], p[0]], axis=1), there[0].astype(np.int64), groups, (ASSUMED * 10.0) ** 2
    )
    found = shared_errors(residuals, [1])
    assert found is not None
    return found, correlation_of_dates((p[0], p[1]), (there[0], there[1]), groups)


def expected_area(chance: NDArray[np.float64], errors: SharedErrors) -> SharedArea:
    """Return built-up area with its error as `ecumene indicators` computes it."""
    share = RealShare()
    share.add(chance, np.ones(chance.shape, bool), np.full((chance.shape[0], 1), PIXEL_M2), ASSUMED)
    return share.shared(errors, CONFIDENCE)


def one_district(
    truth: dict[int, NDArray[np.bool_]],
    chances: dict[int, NDArray[np.float64]],
    errors: SharedErrors,
    correlation: float,
    generator: np.random.Generator,
) -> dict[str, float]:
    """Compare the indicator of one district with its truth."""
    found_areas = [expected_area(chances[year], errors) for year in YEARS]
    common = correlation_of_years(found_areas[0], found_areas[1], blocks=correlation)
    areas = tuple(Quantity(max(a.estimate.value, 1.0), a.estimate.standard_error) for a in found_areas)
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
        found = land_use_efficiency(areas, people, YEARS, form=form, area_correlation=common, confidence=CONFIDENCE)
        gain = true_area[1] / true_area[0]
        true_rate = math.log(gain) / span if form == "logarithmic" else (gain - 1) / span
        row[f"{form} land rate"] = found.land_rate.low <= true_rate <= found.land_rate.high
        row[f"{form} ratio"] = true_rate / true_growth in found.ratios
        if found.ratios.kind == "interval":
            row[f"{form} width"] = found.ratios.high - found.ratios.low
    for area, true in zip(found_areas, true_area, strict=True):
        row["area"] = row.get("area", 0.0) + 0.5 * (area.estimate.low <= true <= area.estimate.high)
    sampled = sample_efficiency(areas, people, YEARS, area_correlation=common, confidence=CONFIDENCE, draws=4000)
    if sampled.ratio is not None:
        ratio = math.log(true_area[1] / true_area[0]) / span / true_growth
        row["Monte Carlo width"] = sampled.ratio[1] - sampled.ratio[0]
        row["Monte Carlo ratio"] = sampled.ratio[0] <= ratio <= sampled.ratio[1]
    return row


def measured(cities: list[dict[int, NDArray[np.bool_]]], block_m: int, local: bool, errors_as: str) -> dict[str, Any]:
    """Return the coverage over all districts of all cities, and the mean widths of sets of the ratio."""
    rows = []
    sharing, correlations = [], []
    for number, truth in enumerate(cities):
        generator = np.random.default_rng((number, block_m))
        chances = {
            year: probabilities(truth[year], prior(truth[year], local), generator, block_m // 10) for year in YEARS
        }
        blocks, measured_correlation = calibration(cities, number, block_m // 10, local, generator)
        errors = WORST_CASE if errors_as == "worst case" else blocks
        correlation = max(0.0, measured_correlation) if errors_as == "blocks, both years" else 0.0
        sharing.append(blocks.deviation)
        correlations.append(measured_correlation)
        for row in range(0, SHAPE[0], DISTRICT):
            for col in range(0, SHAPE[1], DISTRICT):
                place = np.s_[row : row + DISTRICT, col : col + DISTRICT]
                here = {year: truth[year][place] for year in YEARS}
                if min(part.mean() for part in here.values()) < 0.02:
                    continue
                rows.append(
                    one_district(here, {year: chances[year][place] for year in YEARS}, errors, correlation, generator)
                )
    keys = sorted({key for row in rows for key in row})
    found = {key: float(np.mean([row[key] for row in rows if key in row])) for key in keys}
    return {
        "districts": len(rows),
        "errors_shared": float(np.mean(sharing)),
        "correlation": float(np.mean(correlations)),
    } | found


def main() -> None:
    """Measure and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--quick", action="store_true", help="three cities; nothing is stored")
    given = parser.parse_args()
    seeds = 3 if given.quick else given.seeds
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
        "block_m": ASSUMED * 10,
        "calibrated": {
            where: {
                kind: {str(block): measured(cities, block, local, kind) for block in SHARED_M}
                for kind in ("blocks, both years", "blocks", "worst case")
            }
            for where, local in (("in each block of 1 km", True), ("over the city only", False))
        },
    }
    print(json.dumps(results, indent=1) if given.quick else store("change_indicators", results).read_text())


if __name__ == "__main__":
    main()
