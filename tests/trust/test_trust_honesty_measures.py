"""Measures of calibration on data whose calibration is known."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from ecumene.core.errors import ConfigurationError, LabelError, ModelError
from ecumene.trust import measures
from ecumene.trust import regression_measures as numbers
from ecumene.trust.recalibration import IsotonicVariance, QuantileRecalibration
from ecumene.trust.reliability import (
    adaptive_calibration_error,
    brier_parts,
    equal_mass_diagram,
    maximum_calibration_error,
)
from ecumene.trust.set_measures import set_report, size_knowing_shares


def honest(generator, n=40_000, classes=4):
    """Probabilities, and targets drawn from them."""
    p = generator.dirichlet(np.full(classes, 0.5), n)
    return p, (p.cumsum(axis=1) > generator.random((n, 1))).argmax(axis=1)


def predictions(generator, n=40_000, factor=1.0):
    """Means, deviations that are `factor` times the true ones, and targets."""
    mean, true = generator.normal(size=n) * 5, generator.uniform(0.5, 3.0, n)
    return mean, factor * true, mean + true * generator.normal(size=n)


def test_honest_probabilities_have_no_calibration_error():
    p, target = honest(np.random.default_rng(0))
    for error in (
        measures.expected_calibration_error(p, target),
        measures.classwise_calibration_error(p, target),
        adaptive_calibration_error(p, target),
    ):
        assert error < 0.01
    assert maximum_calibration_error(p, target, fewest=200) < 0.04
    assert brier_parts(p, target).reliability < 0.001


def test_a_known_overconfidence_is_measured_by_every_ece():
    """Confidence 0.9 with 7 of 10 right: every error is 0.2."""
    p = np.tile([0.9, 0.1], (1000, 1))
    target = (np.arange(1000) % 10 >= 7).astype(int)
    assert measures.expected_calibration_error(p, target) == pytest.approx(0.2)
    assert adaptive_calibration_error(p, target) == pytest.approx(0.2)
    assert maximum_calibration_error(p, target) == pytest.approx(0.2)
    assert measures.classwise_calibration_error(p, target) == pytest.approx(0.2)
    assert brier_parts(p, target).reliability == pytest.approx(2 * 0.2**2)


def test_the_worst_bin_may_be_one_pixel():
    p = np.concatenate([np.tile([0.5, 0.5], (100, 1)), [[0.99, 0.01]]])
    target = np.concatenate([np.arange(100) % 2, [1]])
    assert maximum_calibration_error(p, target) == pytest.approx(0.99)
    assert maximum_calibration_error(p, target, fewest=2) == pytest.approx(0.0)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 1000), bins=st.integers(1, 30), levels=st.integers(2, 200))
def test_equal_mass_bins_hold_everything_once_in_any_order(seed, bins, levels):
    generator = np.random.default_rng(seed)
    confidence = 0.5 + 0.5 * generator.integers(0, levels, 300) / levels
    p = np.stack([confidence, 1 - confidence], axis=1)
    target = generator.integers(0, 2, 300)
    diagram = equal_mass_diagram(p, target, bins)
    assert sum(diagram.count) == 300
    assert min(diagram.count) > 0
    assert len(diagram.count) <= bins
    assert len(diagram.edges) == len(diagram.count) + 1
    assert np.average(diagram.confidence, weights=diagram.count) == pytest.approx(p.max(axis=1).mean())
    order = generator.permutation(300)
    assert equal_mass_diagram(p[order], target[order], bins).count == diagram.count
    assert adaptive_calibration_error(p[order], target[order], bins) == pytest.approx(diagram.error)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), bins=st.integers(1, 20))
def test_the_parts_of_the_brier_score_add_up(seed, bins):
    p, target = honest(np.random.default_rng(seed), 300, 3)
    parts = brier_parts(p, target, bins)
    assert parts.score == pytest.approx(measures.brier_score(p, target))
    assert parts.reliability - parts.resolution + parts.uncertainty + parts.within_bins == pytest.approx(parts.score)
    assert min(parts.reliability, parts.resolution, parts.uncertainty) >= 0


def test_forecasts_of_few_values_have_no_part_within_bins():
    generator = np.random.default_rng(1)
    first = generator.choice([0.1, 0.5, 0.9], 500)
    p = np.stack([first, 1 - first], axis=1)
    assert brier_parts(p, generator.integers(0, 2, 500), 10).within_bins == pytest.approx(0.0, abs=1e-12)


def test_honest_error_bars_have_no_calibration_error():
    mean, deviation, target = predictions(np.random.default_rng(2))
    diagram = numbers.variance_diagram(mean, deviation, target)
    assert len(diagram.count) == 20
    assert diagram.uce < 0.03
    assert diagram.auce < 0.05
    assert numbers.variance_diagram(mean, deviation, target, equal_mass=True).ence < 0.02
    assert numbers.coverage_curve(mean, deviation, target).area < 0.006
    assert np.abs(np.array(numbers.pit_histogram(mean, deviation, target)) - 0.1).max() < 0.006


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_wrong_length_is_measured(factor):
    mean, deviation, target = predictions(np.random.default_rng(3), factor=factor)
    diagram = numbers.variance_diagram(mean, deviation, target, equal_mass=True)
    assert diagram.ence == pytest.approx(abs(1 - factor) / factor, abs=0.03)
    assert diagram.uce == pytest.approx(abs(1 - factor) * np.mean(deviation / factor), rel=0.05)
    share = numbers.pit_histogram(mean, deviation, target)
    ends = share[0] + share[-1]
    assert (ends > 0.3) if factor < 1 else (ends < 0.05)
    # The central q interval of N(0, f) covers 2 Phi(f z) - 1 of N(0, 1).
    gap = integrate.quad(lambda q: abs(2 * stats.norm.cdf(factor * stats.norm.ppf(0.5 + q / 2)) - 1 - q), 0, 1)[0]
    assert numbers.coverage_curve(mean, deviation, target).area == pytest.approx(gap, abs=0.006)


def test_uce_and_auce_weigh_bins_as_they_say():
    """Two levels of variance: 90 elements off by 1, 10 off by 3."""
    deviation = np.array([1.0] * 90 + [5.0] * 10)
    error = np.array([2.0] * 90 + [2.0] * 10)
    diagram = numbers.variance_diagram(np.zeros(100), deviation, error)
    assert diagram.count == (90, 10)
    assert diagram.uce == pytest.approx(0.9 * 1 + 0.1 * 3)
    assert diagram.auce == pytest.approx((1 + 3) / 2)
    assert diagram.ence == pytest.approx((1 / 1 + 3 / 5) / 2)
    alike = numbers.variance_diagram(np.zeros(100), np.full(100, 0.1), error)
    assert alike.count == (100,)


def test_crps_and_interval_score_against_their_integrals():
    mean, deviation, y = 0.7, 1.8, 2.0

    def squared(x):
        return (stats.norm.cdf(x, mean, deviation) - (x >= y)) ** 2

    wanted = integrate.quad(squared, -20, y)[0] + integrate.quad(squared, y, 20)[0]
    found = numbers.crps_gaussian(np.array([mean]), np.array([deviation]), np.array([y]))
    assert found == pytest.approx(wanted, rel=1e-6)
    low, high = np.array([0.0, 0.0, 0.0]), np.array([2.0, 2.0, 2.0])
    score = numbers.interval_score(low, high, np.array([1.0, 3.0, -0.5]), 0.9)
    assert score == pytest.approx(np.mean([2.0, 2.0 + 20 * 1.0, 2.0 + 20 * 0.5]))
    assert numbers.interval_width(low, high) == 2.0


def test_the_true_quantiles_have_the_best_interval_score():
    generator = np.random.default_rng(4)
    y = generator.normal(size=50_000)
    z = stats.norm.ppf(0.95)
    best = numbers.interval_score(np.full_like(y, -z), np.full_like(y, z), y, 0.9)
    for factor in (0.7, 0.9, 1.1, 1.4):
        assert numbers.interval_score(np.full_like(y, -factor * z), np.full_like(y, factor * z), y, 0.9) > best


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000))
def test_sparsification_between_oracle_and_chance(seed):
    generator = np.random.default_rng(seed)
    error = generator.exponential(size=400)
    perfect = numbers.sparsification(error, error)
    assert perfect.ause == pytest.approx(0.0, abs=1e-12)
    assert perfect.aurg > 0.3
    constant = numbers.sparsification(error, np.ones(400))
    assert constant.aurg == pytest.approx(0.0, abs=1e-9)
    assert constant.ause == pytest.approx(perfect.aurg)
    some = numbers.sparsification(error, error + generator.exponential(size=400))
    assert 0 < some.ause < constant.ause
    assert some.error[0] == some.oracle[0] == pytest.approx(1.0)
    assert numbers.sparsification(error**2, error, root=True).aurg < numbers.sparsification(error**2, error).aurg


def test_set_report_counts_blocks_alike():
    sets = np.array([[True, False], [True, False], [True, True], [False, True]])
    target = np.array([0, 1, 1, 0])
    report = set_report(sets, target, np.array([5, 5, 5, 9]))
    assert report.coverage == pytest.approx(0.5)
    assert report.block_coverage == pytest.approx((2 / 3 + 0) / 2)
    assert report.worst_block == 0.0
    assert report.n_blocks == 2
    assert report.class_coverage == (0.5, 0.5)
    assert report.mean_size == 1.25
    assert report.single_share == 0.75
    assert set_report(np.eye(3, dtype=bool)[[0, 0]], np.array([0, 0])).class_coverage == (1.0, None, None)


def test_sets_of_shares_alone():
    assert size_knowing_shares(np.array([0.6, 0.3, 0.1]), 0.6) == pytest.approx(1.0)
    assert size_knowing_shares(np.array([0.1, 0.6, 0.3]), 0.75) == pytest.approx(1.5)
    assert size_knowing_shares(np.array([0.5, 0.5, 0.0]), 1.0) == pytest.approx(2.0)


@pytest.mark.parametrize("groups", [False, True])
def test_isotonic_variance_mends_what_one_factor_cannot(groups):
    generator = np.random.default_rng(5)

    def world(n):
        mean, true = generator.normal(size=n), generator.uniform(0.5, 3.0, n)
        return mean, true**0.4, mean + true * generator.normal(size=n)  # small ones too long, large ones too short

    mean, deviation, target = world(8000)
    labels = np.arange(8000) // 50 if groups else None
    fitted = IsotonicVariance.fit(mean, deviation, target, labels)
    m, s, y = world(20_000)
    better = fitted.apply(s.astype(np.float32))
    assert better.dtype == np.float32
    assert (np.diff(better[np.argsort(s)]) >= 0).all()
    one = s * np.sqrt(np.mean(((target - mean) / deviation) ** 2))
    errors = [numbers.variance_diagram(m, d, y, equal_mass=True).ence for d in (s, one, better)]
    assert errors[2] < 0.07
    assert errors[2] < min(errors[:2]) / 3
    assert IsotonicVariance.from_config(fitted.to_config()) == fitted


def test_isotonic_variance_does_not_depend_on_the_order():
    mean, deviation, target = predictions(np.random.default_rng(6), 500)
    deviation = np.round(deviation, 1)
    order = np.random.default_rng(7).permutation(500)
    one = IsotonicVariance.fit(mean, deviation, target)
    two = IsotonicVariance.fit(mean[order], deviation[order], target[order])
    np.testing.assert_allclose(one.observed, two.observed)
    np.testing.assert_allclose(one.predicted, two.predicted)


def test_recalibrated_quantiles_hold_what_they_say_for_skewed_errors():
    generator = np.random.default_rng(8)

    def world(n):
        mean, deviation = generator.normal(size=n), generator.uniform(0.5, 2.0, n)
        return mean, deviation, mean + deviation * (generator.exponential(size=n) * 2 - 1)

    fitted = QuantileRecalibration.fit(*world(4000))
    mean, deviation, target = world(20_000)
    for p in (0.05, 0.25, 0.5, 0.9, 0.95):
        assert np.mean(target <= fitted.quantile(mean, deviation, p)) == pytest.approx(p, abs=0.02)
    lower, upper = fitted.interval(mean, deviation, 0.9)
    assert measures.interval_coverage(lower, upper, target) == pytest.approx(0.9, abs=0.02)
    plain = stats.norm.ppf(0.05) * deviation
    assert measures.interval_coverage(mean + plain, mean - plain, target) < 0.87
    assert QuantileRecalibration.from_config(fitted.to_config()) == fitted


@pytest.mark.parametrize("kind", [IsotonicVariance, QuantileRecalibration])
def test_recalibration_refusals(kind):
    m, s, y = predictions(np.random.default_rng(9), 100)
    with pytest.raises(LabelError, match="at least 10"):
        kind.fit(m, s, np.full(100, np.nan))
    with pytest.raises(ConfigurationError, match="positive standard deviations"):
        kind.fit(m, 0 * s, y)
    with pytest.raises(ConfigurationError, match="one shape"):
        kind.fit(m, s, y[:3])
    good = kind.fit(m, s, y).to_config()
    first, second = good
    for damage in ({first: [3, 2, 1]}, {second: [math.nan]}, {first: "x"}, {second: good[second][::-1]}):
        with pytest.raises(ModelError, match="damaged"):
            kind.from_config({**good, **damage})


def test_predictions_without_error_leave_nothing_to_fit():
    m, s, _ = predictions(np.random.default_rng(9), 100)
    with pytest.raises(LabelError, match="equal their targets"):
        IsotonicVariance.fit(m, s, m)
    with pytest.raises(ConfigurationError, match="between 0 and 1"):
        QuantileRecalibration.fit(m, s, m + s).quantile(m, s, 1.0)


@pytest.mark.parametrize(
    "call",
    [
        lambda: numbers.variance_diagram(np.zeros(3), np.zeros(3), np.zeros(3)),
        lambda: numbers.crps_gaussian(np.zeros(3), np.ones(3), np.full(3, np.nan)),
        lambda: numbers.pit_values(np.zeros(3), np.ones(2), np.zeros(3)),
        lambda: numbers.interval_score(np.zeros(3), np.ones(3), np.zeros(3), 1.0),
        lambda: numbers.sparsification(np.zeros(3), np.ones(3)),
        lambda: set_report(np.zeros((0, 2), bool), np.zeros(0, int)),
        lambda: brier_parts(np.full((2, 2), 0.5), np.zeros(2, int), 0),
    ],
)
def test_measures_refuse_what_they_cannot_measure(call):
    with pytest.raises(ConfigurationError):
        call()
