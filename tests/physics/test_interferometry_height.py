"""Heights of single pairs, their errors, and heights through time."""

import numpy as np
import pytest

from ecumene.core.errors import ConfigurationError, ContractError
from ecumene.physics.interferometry import height_series
from ecumene.physics.interferometry.geometry import RadarGeometry
from ecumene.physics.interferometry.height import (
    HeightMap,
    combine_heights,
    phase_to_height,
    relative_height_error,
)
from ecumene.physics.interferometry.height_series import follow_heights
from ecumene.physics.interferometry.phase_statistics import phase_deviation
from ecumene.physics.interferometry.unwrapping import wrap

TANDEM = RadarGeometry(0.0311, 6.0e5, 38.0, passes=1)


def test_heights_come_back_with_their_error():
    rng = np.random.default_rng(0)
    truth = np.linspace(0, 80, 20_000).reshape(100, 200)
    sigma = float(phase_deviation(0.8, 16))
    phase = truth * TANDEM.height_rate(150.0) + sigma * rng.normal(size=truth.shape)
    found = phase_to_height(phase, 150.0, TANDEM, np.full(truth.shape, 0.8), 16)
    error = (found.height_m - truth) / found.standard_deviation_m
    assert abs(error.mean()) < 0.03
    assert error.std() == pytest.approx(1.0, abs=0.02)
    expected = float(TANDEM.height_of_ambiguity(150.0)) * sigma / (2 * np.pi)
    assert found.standard_deviation_m[0, 0] == pytest.approx(expected)
    assert found.valid.all()


def test_relative_height_error_is_the_ninety_percent_point_to_point_error():
    rng = np.random.default_rng(1)
    sigma = 1.3
    stated = relative_height_error(np.full((50, 60), sigma))
    pairs = sigma * rng.normal(size=(2, 200_000))
    assert np.mean(np.abs(pairs[0] - pairs[1]) < stated) == pytest.approx(0.9, abs=0.003)
    cells = relative_height_error(np.where(np.arange(60) < 30, 1.0, 2.0)[None].repeat(50, 0), cell=30)
    assert cells.shape == (2, 2)
    assert cells[0, 1] == pytest.approx(2 * cells[0, 0])


def test_combined_heights_weigh_by_inverse_variance_and_flag_contradictions():
    def one(height, sigma):
        shape = (2, 2)
        return HeightMap(np.full(shape, height), np.full(shape, sigma), np.zeros(shape, bool), np.ones(shape, bool))

    combined = combine_heights([one(10.0, 1.0), one(13.0, 2.0)])
    assert combined.height_m[0, 0] == pytest.approx((10 + 13 / 4) / 1.25)
    assert combined.standard_deviation_m[0, 0] == pytest.approx(np.sqrt(1 / 1.25))
    assert not combined.outlier.any()
    assert combine_heights([one(10.0, 1.0), one(20.0, 1.0)]).outlier.all()


def test_heights_without_baseline_coherence_or_phase_are_refused():
    phase, coherence = np.zeros((3, 3)), np.full((3, 3), 0.5)
    with pytest.raises(ConfigurationError, match="baseline is zero"):
        phase_to_height(phase, 0.0, TANDEM, coherence, 4)
    with pytest.raises(ContractError, match="zero everywhere"):
        phase_to_height(phase, 100.0, TANDEM, 0 * coherence, 4)
    with pytest.raises(ContractError, match="no finite phase"):
        phase_to_height(phase * np.nan, 100.0, TANDEM, coherence, 4)
    with pytest.raises(ContractError, match="infinite"):
        phase_to_height(phase + np.inf, 100.0, TANDEM, coherence, 4)
    with pytest.raises(ContractError, match="one grid"):
        phase_to_height(phase, 100.0, TANDEM, coherence[:2], 4)
    with pytest.raises(ContractError, match="no height map"):
        combine_heights([])


def rice(rng, days, growth, baselines, coherence=0.6, looks=9):
    """Fields that grow over ground that does not, seen by single-pass pairs."""
    fields = np.zeros((40, 60), int)
    fields[5:20, 5:25], fields[5:20, 35:55] = 1, 2
    phase = []
    for day, baseline in zip(days, baselines, strict=True):
        height = np.select([fields == 1, fields == 2], [growth[0] * day, growth[1] * day], 0.0)
        noise = float(phase_deviation(coherence, looks)) * rng.normal(size=fields.shape)
        offset = rng.uniform(-3, 3)  # every pair has its own zero
        phase.append(wrap(height * TANDEM.height_rate(baseline) + offset + noise))
    return np.array(phase), np.full((len(days), 40, 60), coherence), fields


def test_growth_of_fields_is_followed_with_honest_errors():
    days = np.array([0, 11, 22, 33, 44, 66])
    dates = np.datetime64("2015-05-01") + days
    baselines = np.array([1500.0, -1800.0, 2000.0, 1700.0, 1600.0, -1900.0])
    scores = []
    for seed in range(60):
        phase, coherence, fields = rice(np.random.default_rng(seed), days, (0.012, 0.004), baselines)
        found = follow_heights(phase, coherence, dates, baselines, TANDEM, 9, fields, fields == 0)
        truth = np.outer(days, (0.012, 0.004))
        scores.append(((found.height_m - truth)[1:] / found.standard_deviation_m[1:]).ravel())
        assert np.all(found.rate_m_per_day > 3 * found.rate_deviation_m_per_day)
        assert not found.flags.any()
    scores = np.concatenate(scores)
    assert abs(scores.mean()) < 0.15
    assert scores.std() == pytest.approx(1.0, abs=0.12)


def test_height_series_orders_dates_and_flags_gaps_and_jumps():
    days = np.array([22, 0, 11])
    dates = np.datetime64("2015-05-01") + days
    baselines = np.array([3000.0, 3000.0, 3000.0])
    cycle = float(TANDEM.height_of_ambiguity(3000.0))
    phase, coherence, fields = rice(np.random.default_rng(0), days, (0.45 * cycle / 11, 0.0), baselines, 0.9)
    phase[0][fields == 2] = np.nan
    found = follow_heights(phase, coherence, dates, baselines, TANDEM, 9, fields, fields == 0)
    assert list(found.dates) == sorted(found.dates)
    assert found.flags[2, 1] == height_series.INVALID
    assert (found.flags[1:, 0] & height_series.AMBIGUOUS).all()


def test_bad_height_series_are_refused():
    days = np.array([0, 11])
    dates = np.datetime64("2015-05-01") + days
    phase, coherence, fields = rice(np.random.default_rng(0), days, (0.01, 0.01), [1500.0, 1500.0])
    ground = fields == 0
    with pytest.raises(ConfigurationError, match="baseline"):
        follow_heights(phase, coherence, dates, [1500.0, 0.0], TANDEM, 9, fields, ground)
    with pytest.raises(ConfigurationError, match="different dates"):
        follow_heights(phase, coherence, [dates[0]] * 2, [1500.0, 1500.0], TANDEM, 9, fields, ground)
    with pytest.raises(ContractError, match="no field"):
        follow_heights(phase, coherence, dates, [1500.0, 1500.0], TANDEM, 9, fields, ground & False)
    with pytest.raises(ContractError, match="grid"):
        follow_heights(phase, coherence, dates, [1500.0, 1500.0], TANDEM, 9, fields[:5], ground)
