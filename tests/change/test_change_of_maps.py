"""Comparing maps, and looks of a series: against theory."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ecumene.change.class_pair import compare_classes, compare_codes, estimate_stay
from ecumene.change.number_pair import compare_numbers
from ecumene.change.temporal_looks import looks_of_spread, temporal_looks
from ecumene.core.errors import ConfigurationError, SceneError


def drawn(rng, truth, classes, sharpness):
    """Posteriors of a classifier with Gaussian evidence and a uniform prior: calibrated by construction."""
    scores = rng.normal(size=(classes, truth.size)) + sharpness * (np.arange(classes)[:, None] == truth)
    weights = np.exp(sharpness * scores)
    return weights / weights.sum(axis=0)


@pytest.mark.parametrize("stay", [0.6, 0.9, 0.98])
def test_the_share_that_stays_is_found_and_probabilities_are_calibrated(stay):
    rng = np.random.default_rng(1)
    before = rng.integers(0, 4, 40_000)
    moved = rng.random(before.size) > stay
    after = np.where(moved, (before + rng.integers(1, 4, before.size)) % 4, before)
    one, two = (drawn(rng, index, 4, 2.0) for index in (before, after))
    found = estimate_stay([(one[:, :20_000], two[:, :20_000]), (one[:, 20_000:], two[:, 20_000:])])
    assert found == pytest.approx(stay, abs=0.015)
    result = compare_classes(one, two, np.ones(before.size, bool), found)
    assert result.probability.mean() == pytest.approx(moved.mean(), abs=0.01)
    for low, high in ((0.1, 0.4), (0.4, 0.6), (0.6, 0.9)):
        here = (result.probability > low) & (result.probability <= high)
        if here.sum() > 500:
            assert moved[here].mean() == pytest.approx(result.probability[here].mean(), abs=0.06)
    assert result.error.mean() == pytest.approx((result.changed != moved).mean(), abs=0.01)


@given(st.integers(2, 5), st.floats(0.5, 0.99), st.integers(0, 10_000))
def test_from_and_to_agree_with_what_is_said(classes, stay, seed):
    rng = np.random.default_rng(seed)
    one, two = (rng.dirichlet(np.full(classes, 0.4), 20).T for _ in range(2))
    valid = rng.random(20) > 0.2
    found = compare_classes(one, two, valid, stay)
    assert ((found.before != found.after)[valid] == found.changed[valid]).all()
    assert (found.before[~valid] == 255).all()
    assert np.isnan(found.probability[~valid]).all()
    # The pair that is named is the most probable of its kind.
    joint = np.einsum("in,jn->ijn", np.maximum(one, 1e-6), np.maximum(two, 1e-6))
    for n in np.flatnonzero(found.changed):
        table = joint[:, :, n] * (1 - np.eye(classes))
        assert table[found.before[n], found.after[n]] == pytest.approx(table.max(), rel=1e-3)


def test_swapping_the_dates_swaps_from_and_to():
    rng = np.random.default_rng(3)
    one, two = (rng.dirichlet(np.ones(3), 200).T for _ in range(2))
    valid = np.ones(200, bool)
    there, back = compare_classes(one, two, valid, 0.8), compare_classes(two, one, valid, 0.8)
    np.testing.assert_allclose(there.probability, back.probability, rtol=1e-6)
    np.testing.assert_array_equal(there.before, back.after)
    codes = compare_codes(np.array([0, 1, 2]), np.array([0, 2, 2]), np.array([True, True, False]))
    assert codes.changed.tolist() == [False, True, False]
    with pytest.raises(ConfigurationError):
        compare_classes(one, two, valid, 1.0)
    with pytest.raises(ConfigurationError):
        estimate_stay([])


def test_p_values_of_equal_numbers_are_uniform_and_tolerance_only_raises_them():
    rng = np.random.default_rng(0)
    bars = rng.uniform(0.5, 2.0, (2, 20_000))
    before, after = rng.normal(0.0, bars)
    found = compare_numbers(before, after, *bars)
    assert stats.kstest(found.p_value, "uniform").pvalue > 0.001
    wide = compare_numbers(before, after, *bars, tolerance=0.5)
    assert (wide.p_value >= found.p_value - 1e-6).all()
    assert (found.sign != 0).mean() == pytest.approx(0.05, abs=0.006)
    plain = compare_numbers(before, after, None, None, tolerance=1.0)
    assert np.isnan(plain.deviation).all()
    assert ((plain.sign != 0) == (np.abs(plain.value) > 1.0)).all()
    with pytest.raises(ConfigurationError):
        compare_numbers(before, after, None, None, tolerance=-1.0)


@pytest.mark.parametrize("looks", [1.0, 4.4, 50.0])
def test_looks_are_found_whatever_the_texture(looks):
    rng = np.random.default_rng(2)
    texture = rng.lognormal(0.0, 1.0, 4000)
    series = texture * rng.gamma(looks, 1.0 / looks, (6, 2, 4000))
    series[3] *= 1.7  # a wet day
    series[4:, :, :300] *= 20.0  # real change
    assert temporal_looks(series) == pytest.approx(looks, rel=0.12)
    spread = 2.0 * np.log(stats.f.ppf(0.75, 2 * looks, 2 * looks))
    assert looks_of_spread(spread) == pytest.approx(looks, rel=1e-4)


def test_looks_need_pixels():
    with pytest.raises(SceneError):
        temporal_looks(np.full((3, 1, 500), np.nan))
    with pytest.raises(ConfigurationError):
        temporal_looks(np.ones((1, 1, 500)))
