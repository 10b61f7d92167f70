"""Comparing maps, and looks of a series: against theory."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ecumene.change.class_pair import JointPrior, compare_classes, compare_codes, estimate_joint
from ecumene.change.number_pair import compare_numbers
from ecumene.change.sharpness import sharpened
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
    found = estimate_joint([(one[:, :20_000], two[:, :20_000]), (one[:, 20_000:], two[:, 20_000:])])
    assert found.stay == pytest.approx(stay, abs=0.015)
    assert found.sharpness == 1.0  # the probabilities are as sharp as they should be
    result = compare_classes(one, two, np.ones(before.size, bool), found)
    assert result.probability.mean() == pytest.approx(moved.mean(), abs=0.01)
    for low, high in ((0.1, 0.4), (0.4, 0.6), (0.6, 0.9)):
        here = (result.probability > low) & (result.probability <= high)
        if here.sum() > 500:
            assert moved[here].mean() == pytest.approx(result.probability[here].mean(), abs=0.06)
    assert result.error.mean() == pytest.approx((result.changed != moved).mean(), abs=0.01)


def test_maps_that_are_equally_sure_everywhere_are_taken_at_their_word():
    rng = np.random.default_rng(2)
    truth = [np.arange(30_000) // 100 % 2] * 2
    truth[1] = np.where(np.arange(30_000) % 11 == 0, 2, truth[0])
    maps = []
    for index in truth:
        wrong = rng.random(index.size) > 0.9
        chances = np.full((3, index.size), 0.05)
        np.put_along_axis(chances, np.where(wrong, (index + rng.integers(1, 3, index.size)) % 3, index)[None], 0.9, 0)
        maps.append(chances)
    found = estimate_joint([tuple(maps)])
    assert found.sharpness == 1.0
    assert found.stay == pytest.approx((truth[0] == truth[1]).mean(), abs=0.01)


def test_soft_probabilities_are_sharpened_and_the_pairs_that_occur_are_found():
    rng = np.random.default_rng(4)
    before = rng.integers(0, 4, 30_000)
    moved = (before == 0) & (rng.random(before.size) < 0.4)  # one class turns into another one, nothing else changes
    after = np.where(moved, 3, before)
    one, two = (drawn(rng, index, 4, 2.0) ** 0.4 for index in (before, after))
    one, two = one / one.sum(axis=0), two / two.sum(axis=0)
    found = estimate_joint([(one, two)])
    assert found.sharpness > 1.8  # 2.5 is what was taken away
    assert found.pairs[0, 3] == pytest.approx(moved.mean(), abs=0.01)
    others = found.pairs[~np.eye(4, dtype=bool)].sum() - found.pairs[0, 3]
    assert others < 0.02
    assert estimate_joint([(one, two)], stay=0.8).stay == pytest.approx(0.8, abs=1e-9)
    result = compare_classes(one, two, np.ones(before.size, bool), found)
    assert result.probability.mean() == pytest.approx(moved.mean(), abs=0.01)
    assert (result.changed == moved).mean() > 0.94
    assert result.error.mean() == pytest.approx((result.changed != moved).mean(), abs=0.01)


def test_ties_are_sharpened_to_a_sum_of_one():
    found = sharpened(np.array([[0.4], [0.4], [0.2]]), 3.0, 0.42)
    assert found.sum() == pytest.approx(1.0)
    assert found.max() == pytest.approx(0.42)


def test_maps_of_one_class_have_a_sentence_of_their_own():
    with pytest.raises(ConfigurationError, match="two classes or more"):
        estimate_joint([(np.ones((1, 4)), np.ones((1, 4)))])


@given(st.integers(2, 5), st.floats(0.5, 0.99), st.integers(0, 10_000))
def test_from_and_to_agree_with_what_is_said(classes, stay, seed):
    rng = np.random.default_rng(seed)
    one, two = (rng.dirichlet(np.full(classes, 0.4), 20).T for _ in range(2))
    valid = rng.random(20) > 0.2
    joint = JointPrior(rng.dirichlet(np.full(classes**2, 0.7)).reshape(classes, classes) * (1 - stay))
    joint = JointPrior(joint.pairs + np.eye(classes) * stay / classes)
    found = compare_classes(one, two, valid, joint)
    assert ((found.before != found.after)[valid] == found.changed[valid]).all()
    assert (found.before[~valid] == 255).all()
    assert np.isnan(found.probability[~valid]).all()
    # The pair that is named is the most probable of its kind.
    joint = joint.pairs[..., None] * np.einsum("in,jn->ijn", np.maximum(one, 1e-6), np.maximum(two, 1e-6))
    for n in np.flatnonzero(found.changed):
        table = joint[:, :, n] * (1 - np.eye(classes))
        assert table[found.before[n], found.after[n]] == pytest.approx(table.max(), rel=1e-3)


def test_swapping_the_dates_swaps_from_and_to():
    rng = np.random.default_rng(3)
    one, two = (rng.dirichlet(np.ones(3), 200).T for _ in range(2))
    valid, even = np.ones(200, bool), JointPrior.even(3, 0.8)
    there, back = compare_classes(one, two, valid, even), compare_classes(two, one, valid, even)
    np.testing.assert_allclose(there.probability, back.probability, rtol=1e-6)
    np.testing.assert_array_equal(there.before, back.after)
    codes = compare_codes(np.array([0, 1, 2]), np.array([0, 2, 2]), np.array([True, True, False]))
    assert codes.changed.tolist() == [False, True, False]
    with pytest.raises(ConfigurationError):
        JointPrior.even(3, 1.0)
    with pytest.raises(ConfigurationError, match="same classes"):
        compare_classes(one, two, valid, JointPrior.even(2, 0.8))
    with pytest.raises(ConfigurationError):
        estimate_joint([])


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
