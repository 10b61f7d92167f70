import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecumene.core.errors import ConfigurationError
from ecumene.physics.few_baseline import building_heights, estimate_heights, filter_interferograms
from ecumene.physics.few_baseline.buildings import robust_mean
from ecumene.physics.few_baseline.nonlocal_filter import likelihood_ratio_moments

BASELINES = np.array([80.0, 130.0, 210.0, 330.0])
RADAR = (0.0310666, 6e5, 38.0)
RATES = 2 * np.pi * BASELINES / (RADAR[0] * RADAR[1] * np.sin(np.radians(RADAR[2])))


def pairs(truth, coherence, rng, gain=1.0):
    shape = (BASELINES.size, *truth.shape)
    one, noise = ((rng.standard_normal((*shape, 2)) @ [1, 1j]) / np.sqrt(2) for _ in range(2))
    two = (coherence * one + np.sqrt(1 - coherence**2) * noise) * np.exp(-1j * RATES[:, None, None] * truth)
    return gain * one, gain * two


def test_ratio_moments_match_wishart_draws():
    rng = np.random.default_rng(0)
    g = (rng.standard_normal((2, 20000, 2, 9, 2)) @ [1, 1j]) / np.sqrt(2)
    c = g @ g.conj().swapaxes(-1, -2) / 9
    logs = np.log(np.linalg.det(c).real)
    d = 9 * (2 * np.log(np.linalg.det(c.mean(axis=0)).real) - logs[0] - logs[1])
    mean, deviation = likelihood_ratio_moments(9)
    assert d.mean() == pytest.approx(mean, rel=0.02)
    assert d.std() == pytest.approx(deviation, rel=0.15)  # the chi-square limit


def test_filter_averages_alike_pixels_and_keeps_edges():
    rng = np.random.default_rng(1)
    truth = np.zeros((48, 48))
    truth[:, 24:] = 12.0
    gain = np.where(truth > 0, 3.0, 1.0)
    one, two = pairs(truth, 0.8, rng, gain)
    filtered = filter_interferograms(one, two, search=15)
    assert np.median(filtered.looks) > 25
    assert np.median(np.abs(filtered.coherence)) == pytest.approx(0.8, abs=0.03)
    error = np.angle(filtered.coherence * np.exp(-1j * RATES[:, None, None] * truth))
    scaled = error / filtered.phase_standard_deviation
    assert 1.4826 * np.median(np.abs(scaled[:, 6:-6, 6:-6])) == pytest.approx(1.0, abs=0.35)
    assert np.sqrt(np.mean(error[:, :, [22, 25]] ** 2)) < 0.35  # two pixels beside the step
    again = filter_interferograms(one, two, search=15)
    np.testing.assert_array_equal(filtered.coherence, again.coherence)


def test_filter_leaves_missing_pixels_out():
    rng = np.random.default_rng(2)
    one, two = pairs(np.zeros((20, 20)), 0.8, rng)
    one[0, 5, 5], two[1, 8, 8] = np.nan, 0
    filtered = filter_interferograms(one, two, search=7, patch=3)
    assert not filtered.valid[5, 5]
    assert not filtered.valid[8, 8]
    assert np.isnan(filtered.coherence[:, 5, 5]).all()
    assert np.isfinite(filtered.coherence[:, 5, 6]).all()


@settings(max_examples=30, deadline=None)
@given(st.floats(-15, 90))
def test_exact_phases_give_exact_heights(height):
    coherence = 0.9 * np.exp(1j * RATES * height)[:, None]
    found = estimate_heights(coherence, np.array([50.0]), BASELINES, *RADAR, (-20, 100))
    assert found.height_m[0] == pytest.approx(height, abs=1e-4)
    assert not found.outlier[0]


def test_error_bars_are_those_of_the_heights():
    rng = np.random.default_rng(3)
    truth = rng.uniform(0, 80, 5000)
    weight = 2 * 40 * 0.7**2 / (1 - 0.7**2)
    phase = RATES[:, None] * truth + rng.standard_normal((4, 5000)) / np.sqrt(weight)
    found = estimate_heights(0.7 * np.exp(1j * phase), 40.0, BASELINES, *RADAR, (-20, 100))
    score = (found.height_m - truth) / found.standard_deviation_m
    assert score.std() == pytest.approx(1.0, abs=0.08)
    assert found.outlier.mean() < 0.02
    assert found.standard_deviation_m[0] == pytest.approx(1 / np.sqrt(weight * np.sum(RATES**2)))


def test_one_broken_interferogram_is_flagged_and_does_not_move_the_height():
    phase = RATES * 30.0
    phase[1] += np.pi
    found = estimate_heights(0.8 * np.exp(1j * phase)[:, None], 60.0, BASELINES, *RADAR, (0, 60))
    assert found.outlier[0]
    assert found.height_m[0] == pytest.approx(30.0, abs=0.5)


def test_buildings_are_better_than_two_metres():
    rng = np.random.default_rng(4)
    truth, labels, ground = np.zeros((60, 60)), np.zeros((60, 60), int), np.zeros((60, 60), int)
    for k, (row, height) in enumerate([(4, 18.0), (34, 52.0)]):
        ground[row - 4 : row + 26, 5:55] = k + 1
        truth[row : row + 20, 15:45] = height
        labels[row : row + 20, 15:45] = k + 1
    ground[labels > 0] = 0
    one, two = pairs(truth, 0.75, rng, np.where(labels > 0, 2.0, 1.0))
    filtered = filter_interferograms(one, two, search=15)
    found = estimate_heights(filtered.coherence.reshape(4, -1), filtered.looks.ravel(), BASELINES, *RADAR, (-20, 100))
    houses = building_heights(
        np.where(found.outlier, np.nan, found.height_m).reshape(60, 60),
        found.standard_deviation_m.reshape(60, 60),
        labels,
        ground=ground,
        correlated_pixels=float(np.median(filtered.looks)),
    )
    np.testing.assert_allclose(houses.height_m, [18.0, 52.0], atol=2.0)
    assert list(houses.label) == [1, 2]
    assert (houses.standard_deviation_m > 0).all()


def test_robust_mean_is_efficient_and_resists():
    rng = np.random.default_rng(5)
    draws = [robust_mean(rng.standard_normal(200) * 0.5 + 3, np.full(200, 0.5)) for _ in range(400)]
    place, error = np.array([d[0] for d in draws]), np.array([d[1] for d in draws])
    assert place.std() == pytest.approx(error.mean(), rel=0.12)
    assert place.std() < 1.1 * 0.5 / np.sqrt(200)
    values = np.concatenate([rng.standard_normal(80) * 0.5 + 3, np.full(20, 50.0)])
    middle, _, share = robust_mean(values, np.full(100, 0.5))
    assert middle == pytest.approx(3.0, abs=0.4)
    assert share >= 0.2


def test_bad_input_is_refused():
    good = np.full((4, 3), 0.5 + 0j)
    cases = [
        ((good, 10.0, np.full(4, 100.0), *RADAR, (0, 50)), "baselines are equal"),
        ((np.zeros((4, 3), complex), 10.0, BASELINES, *RADAR, (0, 50)), "zero or not finite"),
        ((np.full((4, 3), np.nan + 0j), 10.0, BASELINES, *RADAR, (0, 50)), "zero or not finite"),
        ((good, 10.0, BASELINES[:2], *RADAR, (0, 50)), "do not fit"),
        ((good, 10.0, BASELINES, *RADAR, (50, 0)), "range"),
    ]
    for arguments, sentence in cases:
        with pytest.raises(ConfigurationError, match=sentence):
            estimate_heights(*arguments)
    with pytest.raises(ConfigurationError, match="complex"):
        filter_interferograms(np.ones((5, 5)), np.ones((5, 5)))
    with pytest.raises(ConfigurationError, match="odd"):
        filter_interferograms(np.ones((5, 5), complex), np.ones((5, 5), complex), search=4)
    with pytest.raises(ConfigurationError, match="No pixel"):
        filter_interferograms(np.zeros((5, 5), complex), np.ones((5, 5), complex))
    with pytest.raises(ConfigurationError, match="one grid"):
        building_heights(np.ones(3), np.ones(3), np.ones(4, int))
    with pytest.raises(ConfigurationError, match="No building"):
        building_heights(np.full(3, np.nan), np.ones(3), np.ones(3, int))
