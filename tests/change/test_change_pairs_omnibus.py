"""The omnibus test of SAR series: its level, its dates, its factors."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ecumene.change.omnibus import factor, omnibus, omnibus_test
from ecumene.core.errors import ConfigurationError, ContractError, SceneError


def series(
    rng: np.random.Generator, means: list[float], looks: float, size: int = 200, channels: int = 1
) -> np.ndarray:
    level = np.array(means)[:, None, None, None]
    return level * rng.gamma(looks, 1.0 / looks, (len(means), channels, size, size))


@pytest.mark.parametrize(("looks", "dates", "channels"), [(4.4, 2, 1), (4.4, 8, 1), (4.4, 6, 2), (12.0, 12, 2)])
def test_false_alarms_come_at_the_stated_level(looks: float, dates: int, channels: int) -> None:
    rng = np.random.default_rng(11)
    values = series(rng, [0.1] * dates, looks, channels=channels).reshape(dates, channels, -1)
    p_value = omnibus(values, looks)[1]
    for level in (0.01, 0.05, 0.2):
        spread = 4.0 * np.sqrt(level * (1.0 - level) / p_value.size)
        assert (p_value < level).mean() == pytest.approx(level, abs=spread + 0.03 * level)
    assert stats.kstest(p_value, "uniform").statistic < 0.015


def test_p_value_of_two_dates_is_that_of_the_f_test() -> None:
    """The ratio of two gamma intensities is F distributed; the likelihood ratio is a function of it."""
    looks, ratio = 5.0, np.array([1.2, 2.0, 3.0, 5.0])
    values = np.stack([np.ones_like(ratio), ratio])[:, None]
    exact = 2.0 * stats.f(2 * looks, 2 * looks).sf(ratio)
    np.testing.assert_allclose(omnibus(values, looks)[1], exact, rtol=0.02)


def test_factors_multiply_to_the_omnibus_statistic() -> None:
    rng = np.random.default_rng(2)
    values = rng.gamma(4.0, 0.25, (7, 2, 50))
    whole = omnibus(values, 4.0)[0]
    parts = sum(
        factor(values[: j - 1].sum(axis=0), values[j - 1], np.full(50, j), 4.0)[0] for j in range(2, len(values) + 1)
    )
    np.testing.assert_allclose(parts, whole, rtol=1e-10)


def test_changes_are_dated_with_their_direction() -> None:
    rng = np.random.default_rng(3)
    result = omnibus_test(series(rng, [0.1, 0.1, 0.1, 0.9, 0.9, 0.9, 0.05, 0.05], 10.0, 60)[:, 0], 10.0, level=0.001)
    right = np.zeros(7, bool)
    right[[2, 5]] = True
    assert (result.changes == right[:, None, None]).all(axis=0).mean() > 0.95
    assert (result.first == 3).mean() > 0.97
    assert (result.last == 6).mean() > 0.97
    assert (result.count == 2).mean() > 0.95
    assert (result.sign[2] == 1).mean() > 0.97
    assert (result.sign[5] == -1).mean() > 0.97
    assert result.sign.dtype == np.int8
    assert (result.p_value < 1e-6).all()


def test_unchanged_pixels_have_no_date() -> None:
    rng = np.random.default_rng(4)
    result = omnibus_test(series(rng, [0.2] * 10, 5.0, 100)[:, 0], 5.0, level=0.01)
    # A change is dated only where the omnibus test is significant, so dates are no commoner than its level.
    assert (result.count > 0).mean() < 0.013
    assert ((result.first == -1) == (result.count == 0)).all()


def test_missing_pixels_are_not_judged() -> None:
    rng = np.random.default_rng(5)
    values = series(rng, [0.2] * 4, 5.0, 20)
    values[2, 0, 3, 4] = np.nan
    values[1, 0, 5, 6] = 0.0
    result = omnibus_test(values, 5.0)
    assert not result.valid[3, 4]
    assert not result.valid[5, 6]
    assert np.isnan(result.p_value[3, 4])
    assert result.valid.sum() == 398


def test_looks_are_estimated_when_not_given() -> None:
    rng = np.random.default_rng(6)
    result = omnibus_test(series(rng, [0.2, 0.2, 0.3], 6.0, 150, channels=2))
    assert result.looks == pytest.approx(6.0, rel=0.1)


def test_bad_series_get_a_sentence() -> None:
    values = np.ones((3, 1, 5, 5))
    with pytest.raises(ConfigurationError, match="looks"):
        omnibus_test(values, 0.0)
    with pytest.raises(ConfigurationError, match="level"):
        omnibus_test(values, 4.0, level=0.0)
    with pytest.raises(ContractError, match="at least two dates"):
        omnibus_test(values[:1], 4.0)
    with pytest.raises(SceneError, match="No pixel"):
        omnibus_test(values * np.nan, 4.0)
