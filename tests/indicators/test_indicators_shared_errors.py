"""The error of sums of probabilities from calibration blocks: theory, coverage, and the way of a change."""

import json
import math

import numpy as np
import pytest

from ecumene.core.errors import ConfigurationError, ModelError
from ecumene.indicators.growth_losses import RealShare
from ecumene.indicators.sdg_land_use import Quantity, land_use_efficiency
from ecumene.indicators.sdg_sampling import sample_efficiency
from ecumene.indicators.shared_errors import (
    WORST_CASE,
    SharedErrors,
    correlation_of_years,
    shared_area,
    shared_errors,
)
from ecumene.trust.block_residuals import BlockResiduals, correlation_of_dates

SIDE = 20  # pixels of a block


def blocks(rng, count, bias=0.0, persistent=0.0, dates=1):
    """Chances and labels `[dates, count, SIDE^2]`; a block's errors are shared in part, and alike at both dates."""
    chance = rng.uniform(0.05, 0.95, (count, SIDE**2)) * rng.uniform(0.1, 1.0, (count, 1))
    lasting = rng.normal(size=(count, 1))
    labels = []
    for _ in range(dates):
        shift = math.sqrt(persistent) * lasting + math.sqrt(1 - persistent) * rng.normal(size=(count, 1))
        odds = np.log(chance / (1 - chance)) + bias + 0.6 * shift
        labels.append(rng.random(chance.shape) < 1 / (1 + np.exp(-odds)))
    return chance, labels


def fitted(chance, label):
    p = chance.ravel()
    groups = np.repeat(np.arange(len(chance)), SIDE**2)
    return BlockResiduals.fit(np.stack([1 - p, p], axis=1), label.ravel().astype(int), groups, float(SIDE**2))


def collected(chance):
    share = RealShare()
    for block in chance.reshape(-1, SIDE, SIDE):
        share.add(block, np.ones(block.shape, bool), np.ones((SIDE, 1)), SIDE)
    return share


@pytest.mark.parametrize("bias", [0.0, 0.4])
def test_intervals_hold_the_area_as_often_as_stated_and_are_narrower_than_the_worst_case(bias):
    rng = np.random.default_rng(3)
    held, width, worst = [], [], []
    for _ in range(300):
        errors = shared_errors(fitted(*(x[0] if isinstance(x, list) else x for x in blocks(rng, 15, bias))), [1])
        chance, (label,) = blocks(rng, 6, bias)
        share = collected(chance)
        found = share.shared(errors, 0.9).estimate
        held.append(found.low <= label.sum() <= found.high)
        width.append(found.high - found.low)
        worst.append(share.result(0.9).high - share.result(0.9).low)
    assert 0.85 <= np.mean(held) <= 0.95
    assert np.mean(width) < 0.6 * np.mean(worst)


def test_independent_pixels_and_wholly_shared_errors_are_the_two_ends():
    rng = np.random.default_rng(0)
    chance = np.full((200, SIDE**2), 0.3)
    alone = fitted(chance, rng.random(chance.shape) < chance)
    together = fitted(chance, np.broadcast_to(rng.random((200, 1)) < 0.3, chance.shape))
    assert alone.shared_deviation[1] == pytest.approx(1 / SIDE, rel=0.15)
    assert together.shared_deviation[1] == pytest.approx(1.0, rel=0.15)
    assert abs(alone.shared_mean[1]) < 0.02


def test_the_worst_case_is_what_nobody_measured():
    chance = np.full((4, SIDE**2), 0.5)
    found = collected(chance).result(0.9)
    assert found.standard_error == pytest.approx(math.sqrt(4) * SIDE**2 * 0.5)
    assert shared_errors(None, [1]) is None
    assert shared_errors(BlockResiduals((0.0, 0.0), (0.1, 0.1), 5, 1e4), [1]) is None  # of an earlier version


def test_student_counts_for_few_blocks_and_bias_is_corrected():
    few = shared_area(100.0, 50.0, 500.0, SharedErrors(0.2, 0.3, 4, 1e4), 1000.0, 0.9)
    many = shared_area(100.0, 50.0, 500.0, SharedErrors(0.2, 0.3, 4000, 1e4), 1000.0, 0.9)
    assert few.estimate.value == many.estimate.value == pytest.approx(110.0)
    assert few.estimate.margin > 1.4 * many.estimate.margin
    assert many.estimate.standard_error == pytest.approx(0.3 * math.sqrt(500.0), rel=0.01)
    capped = shared_area(5.0, 50.0, 500.0, SharedErrors(-0.5, 1.0, 10, 1e4), 40.0, 0.9).estimate
    assert capped.value == capped.low == 0.0
    assert capped.high <= 40.0


def test_several_classes_take_the_largest_error_and_their_bias_counts_as_error():
    residuals = BlockResiduals((0.0,) * 3, (0.1,) * 3, 9, 1e4, (0.3, -0.1, 0.2), (0.4, 0.2, 0.5))
    assert shared_errors(residuals, [0]) == SharedErrors(0.3, 0.4, 9.0, 1e4)
    group = shared_errors(residuals, [0, 1])
    assert group.mean == 0.0
    assert group.deviation == pytest.approx(math.hypot(0.4, 0.3))
    with pytest.raises(ConfigurationError, match="use the map's own model"):
        shared_errors(residuals, [3])


def test_errors_that_last_make_the_change_better_known_and_closed_form_and_monte_carlo_agree():
    rng = np.random.default_rng(5)
    chance, labels = blocks(rng, 200, persistent=0.9, dates=2)
    groups = np.repeat(np.arange(200), SIDE**2)
    flat = chance.ravel()
    between = correlation_of_dates((flat, flat), (labels[0].ravel(), labels[1].ravel()), groups)
    assert 0.6 < between < 0.95
    errors = shared_errors(fitted(chance, labels[0]), [1])
    areas = [collected(chance[:40] * share).shared(errors, 0.9) for share in (0.8, 1.0)]
    common = correlation_of_years(*areas, blocks=between)
    assert common > correlation_of_years(*areas) > correlation_of_years(*areas, same_model=False) == 0.0
    amounts = tuple(Quantity(a.estimate.value, a.estimate.standard_error) for a in areas)
    people = (Quantity(1e5, 1e3), Quantity(1.2e5, 1.2e3))
    widths = []
    for correlation in (0.0, common):
        options = {"area_correlation": correlation, "confidence": 0.9}
        closed = land_use_efficiency(amounts, people, (2015, 2020), **options)
        drawn = sample_efficiency(amounts, people, (2015, 2020), draws=40_000, **options)
        np.testing.assert_allclose(drawn.land_rate, (closed.land_rate.low, closed.land_rate.high), rtol=0.03)
        np.testing.assert_allclose(drawn.ratio, (closed.ratios.low, closed.ratios.high), rtol=0.03)
        widths.append(closed.ratios.high - closed.ratios.low)
    assert widths[1] < 0.7 * widths[0]


def test_blocks_survive_json_and_damage_is_found():
    rng = np.random.default_rng(1)
    chance, (label,) = blocks(rng, 8)
    residuals = fitted(chance, label)
    config = json.loads(json.dumps(residuals.to_config()))
    assert BlockResiduals.from_config(config) == residuals
    for damage in ({"shared_mean": [0.0]}, {"shared_deviation": None}, {"shared_deviation": [1.0, -1.0]},
                   {"shared_mean": ["x", 0.0]}):  # fmt: skip
        with pytest.raises(ModelError, match="calibration is damaged"):
            BlockResiduals.from_config(config | damage)


def test_bad_input_of_the_correlation_gets_a_sentence():
    some = np.full(4, 0.5)
    with pytest.raises(ConfigurationError, match="chances"):
        correlation_of_dates((some, some), (some > 0, some[:3] > 0), np.arange(4))
    with pytest.raises(ConfigurationError, match="at least three blocks"):
        correlation_of_dates((some, some), (some > 0, some > 0), np.array([0, 0, 1, 1]))
    assert WORST_CASE.block_m == 1000.0
