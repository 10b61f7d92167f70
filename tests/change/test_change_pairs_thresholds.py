"""Histograms, thresholds and posterior probabilities of magnitudes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ecumene.change.histogram import MagnitudeHistogram
from ecumene.change.moments import Moments
from ecumene.change.posterior import fit_mixture
from ecumene.change.thresholds import RULES, find_threshold
from ecumene.core.errors import SceneError


def counted(values: np.ndarray) -> MagnitudeHistogram:
    histogram = MagnitudeHistogram()
    histogram.add(values)
    return histogram


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 1e6, allow_subnormal=False), min_size=2, max_size=60), st.randoms())
def test_histogram_does_not_depend_on_order_and_parts(values: list[float], random) -> None:
    whole = counted(np.array(values))
    random.shuffle(values)
    cut = random.randrange(len(values))
    parts = MagnitudeHistogram()
    parts.add(np.array(values[:cut]))
    parts.add(np.array(values[cut:]))
    assert parts.width == whole.width
    assert np.array_equal(parts.counts, whole.counts)


def test_moments_of_parts_are_those_of_the_whole() -> None:
    rng = np.random.default_rng(0)
    vectors, weights = rng.normal(1e6, 1.0, (3, 500)), rng.uniform(size=500)
    moments = Moments(3)
    for part in np.split(np.arange(500), [100, 101, 400]):
        moments.add(vectors[:, part], weights[part])
    np.testing.assert_allclose(moments.mean, np.average(vectors, axis=1, weights=weights))
    np.testing.assert_allclose(moments.covariance, np.cov(vectors, aweights=weights, ddof=0), rtol=1e-6)


@pytest.mark.parametrize("rule", sorted(RULES))
def test_every_rule_divides_two_clear_classes(rule: str) -> None:
    rng = np.random.default_rng(1)
    values = np.concatenate([np.abs(rng.normal(0, 0.2, 9000)) + 0.05, rng.normal(3.0, 0.3, 1000)])
    threshold = find_threshold(counted(values), rule)
    assert 0.6 < threshold.value < 2.6
    assert threshold.rule == rule
    assert threshold.details


def test_kittler_illingworth_finds_the_bayes_threshold_of_its_family() -> None:
    rng = np.random.default_rng(2)
    one, two = stats.norm(10.0, 1.0), stats.norm(16.0, 2.0)
    values = np.concatenate([one.rvs(80000, random_state=rng), two.rvs(20000, random_state=rng)])
    grid = np.linspace(10.0, 16.0, 6001)
    best = grid[np.argmin(np.abs(0.8 * one.pdf(grid) - 0.2 * two.pdf(grid)))]
    assert find_threshold(counted(values), "ki-normal").value == pytest.approx(best, abs=0.2)
    logs = find_threshold(counted(np.exp(values / 8.0)), "ki-lognormal").value
    assert 8.0 * np.log(logs) == pytest.approx(best, abs=0.2)


def test_kittler_illingworth_of_nakagami_classes() -> None:
    rng = np.random.default_rng(3)
    one, two = stats.nakagami(4.0), stats.nakagami(6.0, scale=3.0)
    values = np.concatenate([one.rvs(60000, random_state=rng), two.rvs(40000, random_state=rng)])
    grid = np.linspace(0.5, 3.0, 5001)
    density = 0.6 * one.pdf(grid) - 0.4 * two.pdf(grid)
    best = grid[np.flatnonzero(np.diff(np.sign(density)))[-1]]
    for rule in ("ki-nakagami", "ki-generalised-gamma"):
        assert find_threshold(counted(values), rule).value == pytest.approx(best, rel=0.15)


def test_posterior_is_calibrated_when_the_classes_are_of_its_family() -> None:
    rng = np.random.default_rng(4)
    changed = rng.random(200_000) < 0.15
    values = np.where(changed, 3.0, 1.0) * np.sqrt(
        rng.gamma(np.where(changed, 2.0, 1.5), 1.0 / np.where(changed, 2.0, 1.5))
    )
    histogram = counted(values)
    mixture = fit_mixture(histogram, find_threshold(histogram, "kmeans").value)
    assert mixture.changed_share == pytest.approx(0.15, abs=0.03)
    probability = mixture.probability(values)
    for low in np.arange(0.0, 1.0, 0.1):
        inside = (probability >= low) & (probability < low + 0.1)
        if inside.sum() > 500:
            assert changed[inside].mean() == pytest.approx(probability[inside].mean(), abs=0.06)


def test_equal_magnitudes_have_no_threshold() -> None:
    with pytest.raises(SceneError, match="same in all pixels"):
        find_threshold(counted(np.full(10, 2.0)), "kmeans")
