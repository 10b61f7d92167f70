"""Merging of instrument series and trends against theory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from ecumene.core.errors import ConfigurationError, ContractError, SceneError
from ecumene.physics.series.merge import INCONSISTENT, SINGLE, InstrumentSeries, merge_series
from ecumene.physics.series.trend import NOT_SIGNIFICANT, fit_trend


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads that wait for each other make small matrices many times slower on busy cores."""
    with threadpool_limits(1):
        yield


def _part(name, first, last, truth, bias, error, rng):
    steps = np.arange(first, last)
    return InstrumentSeries(
        name, steps, truth[first:last] + bias + error * rng.standard_normal(steps.size), np.full(steps.size, error)
    )


def test_two_instruments_give_the_mean_difference():
    rng = np.random.default_rng(0)
    truth = rng.standard_normal(60)
    first, second = _part("a", 0, 40, truth, 0.0, 0.1, rng), _part("b", 20, 60, truth, 0.5, 0.3, rng)
    merged = merge_series([first, second], reference="a")
    difference = (second.value[:20] - first.value[20:]).mean()
    assert merged.bias[1] == pytest.approx(difference)
    assert merged.bias_deviation[1] == pytest.approx(np.sqrt((0.01 + 0.09) / 20))
    assert merged.bias[0] == merged.bias_deviation[0] == 0.0
    np.testing.assert_array_equal(merged.step, np.arange(60))
    assert merged.flags[0] == SINGLE
    # beyond the overlap the bias error stays, and is common to all values
    assert merged.covariance[50, 55] == pytest.approx(merged.bias_deviation[1] ** 2)


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**31), offset=st.floats(-1e3, 1e3))
def test_merging_does_not_depend_on_order_or_constant(seed, offset):
    rng = np.random.default_rng(seed)
    truth = rng.standard_normal(50)
    parts = [_part("abc"[k], 12 * k, 12 * k + 25, truth, k, 0.2, rng) for k in range(3)]
    merged = merge_series(parts, reference="b")
    turned = merge_series(parts[::-1], reference="b")
    np.testing.assert_allclose(turned.value, merged.value, atol=1e-9)
    np.testing.assert_allclose(turned.standard_deviation, merged.standard_deviation, atol=1e-9)
    lifted = [InstrumentSeries(p.name, p.step, p.value + offset, p.deviation) for p in parts]
    np.testing.assert_allclose(merge_series(lifted, reference="b").value, merged.value + offset, atol=1e-7)
    assert np.all(np.linalg.eigvalsh(merged.covariance) > 0)


def test_stated_errors_are_true():
    rng = np.random.default_rng(1)
    ratios = []
    for _ in range(150):
        truth = np.sin(np.arange(60.0))
        parts = [_part("abc"[k], 18 * k, 18 * k + 24, truth, [0, 1, -2][k], 0.2, rng) for k in range(3)]
        merged = merge_series(parts, reference="a")
        ratios.append((merged.value - truth) / merged.standard_deviation)
    assert np.std(ratios) == pytest.approx(1.0, abs=0.08)


def test_a_jump_of_one_instrument_is_flagged():
    rng = np.random.default_rng(2)
    truth = np.zeros(60)
    first, second = _part("a", 0, 60, truth, 0.0, 0.1, rng), _part("b", 0, 60, truth, 0.3, 0.1, rng)
    second.value[40:50] += 1.5
    merged = merge_series([first, second])
    assert merged.reduced_chi_square > 3
    assert (merged.flags[40:50] & INCONSISTENT > 0).mean() > 0.8


def test_bad_series_are_one_sentence():
    one = InstrumentSeries("a", np.arange(5), np.ones(5), np.ones(5))
    for series, error, words in (
        ([], ConfigurationError, "no series"),
        ([one, one], ConfigurationError, "one name"),
        ([one, InstrumentSeries("b", np.arange(7, 9), np.ones(2), np.ones(2))], ConfigurationError, "overlap"),
        ([InstrumentSeries("a", np.arange(5), np.ones(5), np.zeros(5))], ContractError, "positive"),
        ([InstrumentSeries("a", np.arange(5), np.ones(4), np.ones(5))], ContractError, "needs"),
        ([InstrumentSeries("a", np.zeros(5, int), np.ones(5), np.ones(5))], ContractError, "two values"),
        ([InstrumentSeries("a", np.arange(5), np.full(5, np.nan), np.ones(5))], ContractError, "finite"),
    ):
        with pytest.raises(error, match=words):
            merge_series(series)
    with pytest.raises(ConfigurationError, match="no instrument"):
        merge_series([one], reference="z")


def test_trend_of_a_noise_free_series_is_exact():
    step = np.delete(np.arange(120), [5, 6, 40])
    value = 3.0 + 0.02 * step + np.cos(2 * np.pi * step / 12) - 0.3 * np.sin(4 * np.pi * step / 12)
    found = fit_trend(step, value)
    assert found.value == pytest.approx(0.02, abs=1e-9)
    np.testing.assert_allclose(found.harmonics, [[1, 0], [0, -0.3]], atol=1e-7)
    np.testing.assert_allclose(found.fitted, value, atol=1e-7)


def test_memory_widens_the_error_and_the_error_is_true():
    rng = np.random.default_rng(3)
    ratios, errors = [], []
    step = np.arange(150)
    for _ in range(16):
        memory = np.zeros(150)
        for k in range(1, 150):
            memory[k] = 0.6 * memory[k - 1] + 0.3 * rng.standard_normal()
        found = fit_trend(step, 0.005 * step + memory, period=None)
        ratios.append((found.value - 0.005) / found.standard_deviation)
        errors.append(found.standard_deviation)
    assert 0.55 < np.sqrt(np.mean(np.square(ratios))) < 1.6
    white = 0.3 / 0.8 / np.sqrt(((step - step.mean()) ** 2).sum())  # without memory, same variance
    assert np.median(errors) > 1.5 * white


def test_calibration_errors_count():
    rng = np.random.default_rng(4)
    step = np.arange(80)
    value = 0.1 * rng.standard_normal(80)
    jump = np.where(step < 40, 0.0, 1.0)
    free = fit_trend(step, value, np.full(80, 0.01), period=None)
    bound = fit_trend(step, value, np.diag(np.full(80, 0.01)) + 0.25 * np.outer(jump, jump), period=None)
    assert bound.standard_deviation > 1.7 * free.standard_deviation
    assert bound.flags & NOT_SIGNIFICANT


def test_bad_trends_are_one_sentence():
    step = np.arange(30)
    with pytest.raises(SceneError, match="too short"):
        fit_trend(step[:6], np.ones(6))
    with pytest.raises(ConfigurationError, match="ascending"):
        fit_trend(step[::-1], np.ones(30))
    with pytest.raises(ConfigurationError, match="ascending"):
        fit_trend(step, np.full(30, np.nan))
    with pytest.raises(ConfigurationError, match="period"):
        fit_trend(step, np.ones(30), period=1.0)
    with pytest.raises(ConfigurationError, match="long"):
        fit_trend(step, np.ones(30), np.ones(4))
