"""Which recalibration of error bars is chosen, and that a choice is safe."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecumene.core.errors import ConfigurationError, LabelError, ModelError
from ecumene.objectives import Members, MultivariateRegression, PixelRegression
from ecumene.trust.calibration import Calibration
from ecumene.trust.intervals import ConformalIntervals
from ecumene.trust.recalibration import IsotonicVariance
from ecumene.trust.regression_measures import interval_report
from ecumene.trust.variance_choice import BLOCKS_FOR_A_MAP, FEWEST_BLOCKS, choose_variance

MAP = IsotonicVariance((1.0, 4.0, 9.0), (2.0, 2.0, 27.0))


def world(blocks, spread, seed=0, each=60):
    """Errors whose true deviation is `spread(predicted)`."""
    generator = np.random.default_rng(seed)
    number = blocks * each
    predicted = generator.uniform(0.5, 3.0, number)
    mean = generator.normal(size=number)
    group = np.repeat(np.arange(blocks), each)
    return mean, predicted, mean + spread(predicted) * generator.normal(size=number), group


def nll(mean, deviation, target):
    return float((np.log(deviation) + 0.5 * ((target - mean) / deviation) ** 2).mean())


@pytest.mark.parametrize("seed", range(5))
def test_honest_error_bars_stay(seed):
    choice = choose_variance(*world(40, lambda s: s, seed))
    assert choice.name in ("none", "factor")
    assert choice.scale == pytest.approx(1.0, abs=0.1)
    assert choice.isotonic is None


def test_one_factor_is_chosen_where_one_factor_is_wrong():
    choice = choose_variance(*world(40, lambda s: 2.0 * s))
    assert choice.name == "factor"
    assert choice.scale == pytest.approx(4.0, rel=0.1)
    assert choice.gains["factor"][1] > 0.0
    assert "40" in choice.note


def test_a_map_is_chosen_where_small_and_large_ones_are_wrong_differently():
    choice = choose_variance(*world(60, lambda s: s**3 / 4))
    assert choice.name == "isotonic"
    m, s, y, _ = world(60, lambda s: s**3 / 4, seed=1)
    assert nll(m, choice.apply(s), y) < min(nll(m, s, y), nll(m, s * np.sqrt(np.mean(((y - m) / s) ** 2)), y)) - 0.1
    assert choice.to_dict()["chosen"] == "isotonic"


@pytest.mark.parametrize(("blocks", "names"), [(FEWEST_BLOCKS - 1, set()), (BLOCKS_FOR_A_MAP - 1, {"factor"})])
def test_few_blocks_change_little(blocks, names):
    choice = choose_variance(*world(blocks, lambda s: 3.0 * s**2))
    assert set(choice.gains) == names
    assert choice.isotonic is None
    if not names:
        assert choice.name == "none"
        assert f"{blocks} blocks" in choice.note


def test_one_block_gone_astray_changes_nothing():
    """The mean squared error alone would double every error bar because of one block of forty."""
    mean, deviation, target, group = world(40, lambda s: s)
    target = np.where(group == 7, mean + 15.0 * (target - mean), target)
    assert np.mean(((target - mean) / deviation) ** 2) > 4.0
    choice = choose_variance(mean, deviation, target, group)
    assert choice.name == "none"
    assert "no change" in choice.note


def test_the_choice_does_not_depend_on_the_order_of_blocks_numbers():
    m, s, y, g = world(30, lambda s: 1.5 * s)
    one, two = choose_variance(m, s, y, g), choose_variance(m, s, y, g * 17 + 3)
    assert one == two


def test_refusals():
    m, s, y, g = world(10, lambda s: s)
    with pytest.raises(LabelError, match="at least 10"):
        choose_variance(m, s, np.full_like(y, np.nan), g)
    with pytest.raises(LabelError, match="equal their targets"):
        choose_variance(m, s, m, g)
    with pytest.raises(ConfigurationError, match="finite means"):
        choose_variance(np.where(g == 1, np.nan, m), s, y, g)
    with pytest.raises(ConfigurationError, match="positive"):
        choose_variance(m, 0 * s, y, g)
    with pytest.raises(ConfigurationError, match="one shape"):
        choose_variance(m, s, y, g[1:])


# -- in the calibration and the objective ------------------------------------------------------------------------------


def test_a_calibration_keeps_its_maps_and_gives_them_to_the_objective():
    intervals = ConformalIntervals("normalised", 0.9, (1.5,))
    calibration = Calibration(intervals=intervals, variances=(MAP,))
    assert Calibration.from_config(calibration.to_config()) == calibration
    objective = PixelRegression(("height",), "m", 10.0, 3.0)
    mapped = calibration.calibrated(objective)
    assert calibration.calibrated(mapped).to_config() == mapped.to_config()
    assert Calibration().calibrated(mapped).to_config() == objective.to_config()
    assert PixelRegression.from_config(mapped.to_config()).variance_maps[0].to_config() == MAP.to_config()
    output = np.random.default_rng(0).normal(size=(2, 2, 5, 6)).astype(np.float32)
    plain, changed = objective.predict(output), mapped.predict(output)
    np.testing.assert_array_equal(plain.value, changed.value)
    np.testing.assert_allclose(changed.total, MAP.apply(plain.total), rtol=1e-5)
    np.testing.assert_array_equal(changed.layers["uncertainty"], changed.total)
    layers = calibration.extra_layers(changed)
    np.testing.assert_allclose(layers["upper"] - changed.value, 1.5 * changed.total, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", [PixelRegression, MultivariateRegression])
def test_parts_of_members_add_up_after_a_map(kind):
    base = kind(("a", "b"), "m", (0.0, 5.0), (2.0, 0.5))
    mixture = Members(base, 3).rescaled(1.0, (MAP, IsotonicVariance((0.2,), (0.1,))))
    output = np.random.default_rng(1).normal(size=(2, mixture.n_outputs, 4, 4))
    plain, changed = Members(base, 3).predict(output), mixture.predict(output)
    np.testing.assert_allclose(changed.total**2, changed.aleatoric**2 + changed.epistemic**2, rtol=1e-6)
    np.testing.assert_allclose(changed.epistemic / changed.total, plain.epistemic / plain.total, rtol=1e-6)
    np.testing.assert_allclose(changed.total[:, 0], MAP.apply(plain.total[:, 0]), rtol=1e-6)
    if "correlation" in plain.layers:
        np.testing.assert_allclose(changed.layers["correlation"], plain.layers["correlation"], rtol=1e-9)
        np.testing.assert_allclose(changed.details["covariance"][:, 0], changed.total[:, 0] ** 2 / 4.0, rtol=1e-6)


def test_arrays_and_tensors_agree():
    torch = pytest.importorskip("torch")
    variance = np.concatenate([np.geomspace(0.01, 1000.0, 200), MAP.predicted]).reshape(1, -1)
    for dtype, tolerance in ((np.float32, 1e-6), (np.float64, 1e-14)):
        ratio = MAP.ratio(variance.astype(dtype))
        assert ratio.dtype == dtype
        np.testing.assert_allclose(MAP.ratio(torch.tensor(variance.astype(dtype))).numpy(), ratio, rtol=tolerance)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(1e-3, 10), st.floats(0, 5)), min_size=1, max_size=12),
    st.floats(1e-6, 1e6),
    st.floats(1.0, 10.0),
)
def test_a_map_never_falls_and_hits_its_knots(steps, variance, more):
    x, y = np.cumsum([step for step, _ in steps]), 0.5 + np.cumsum([rise for _, rise in steps])
    found = IsotonicVariance(tuple(x.tolist()), tuple(y.tolist()))
    low, high = (float(v * found.ratio(np.array([v]))[0]) for v in (variance, variance * more))
    assert 0.0 < low <= high * (1 + 1e-9)
    np.testing.assert_allclose(x * found.ratio(x), y, rtol=1e-9)
    beyond = 10.0 * x[-1]
    assert beyond * found.ratio(np.array([beyond]))[0] == pytest.approx(10.0 * y[-1])


@pytest.mark.parametrize(
    "damage",
    [
        {"variances": "x"},
        {"variances": []},
        {"variances": [{"predicted": [1.0]}]},
        {"variances": [{"predicted": [1.0, 1.0], "observed": [1.0, 2.0]}]},
        {"variances": [{"predicted": [1.0, 2.0], "observed": [2.0, 1.0]}]},
        {"variances": [{"predicted": [0.0, 2.0], "observed": [1.0, 1.0]}]},
        {"variances": [{"predicted": [1.0], "observed": [float("inf")]}]},
        {"variances": [{"predicted": list(range(1, 100)), "observed": list(range(1, 100))}]},
        {"variances": [MAP.to_config()], "variance_scale": 2.0},
    ],
)
def test_damaged_maps_are_refused(damage):
    with pytest.raises(ModelError, match="damaged"):
        Calibration.from_config(damage)


def test_an_objective_refuses_maps_that_do_not_fit():
    for maps, scale in (([MAP, MAP], 1.0), ("x", 1.0), ([MAP], 2.0), ([{"predicted": [1]}], 1.0), ({}, 1.0)):
        with pytest.raises(ConfigurationError):
            PixelRegression(("height",), variance_scale=scale, variance_maps=maps)


def test_an_interval_report_counts_blocks_alike_and_names_the_worst_large_one():
    target = np.zeros(26)
    lower, upper = np.full(26, -1.0), np.full(26, 1.0)
    group = np.array([0] * 20 + [1] * 5 + [2])
    target[[20, 21, 25]] = 9.0
    report = interval_report(lower, upper, target, 0.9, group)
    assert report.coverage == pytest.approx(23 / 26)
    assert report.block_coverage == pytest.approx((1 + 0.6 + 0) / 3)
    assert report.worst_block == pytest.approx(0.6)
    assert report.score == pytest.approx(2 + 20 * 8 * 3 / 26)
    assert interval_report(lower[:3], upper[:3], target[:3], 0.9).worst_block is None
    with pytest.raises(ConfigurationError, match="equally many"):
        interval_report(lower, upper[1:], target, 0.9)
