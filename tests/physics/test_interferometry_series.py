"""Small-baseline series: exact without noise, honest error bars with it, flags where it cannot work."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from ecumene.core.errors import ConfigurationError, ContractError
from ecumene.physics.interferometry import sbas
from ecumene.physics.interferometry.atmosphere import (
    atmospheric_screens,
    fit_ramp,
    remove_screens,
    smooth_in_space,
)
from ecumene.physics.interferometry.geometry import RadarGeometry
from ecumene.physics.interferometry.network import closure_phases, make_network, parse_date
from ecumene.physics.interferometry.phase_statistics import phase_deviation
from ecumene.physics.interferometry.reference import apply_reference, choose_reference
from ecumene.physics.interferometry.sbas import invert_series

GEOMETRY = RadarGeometry(0.0554658, 8.2e5, 35.0)


def network(rng, acquisitions=14, reach=3, spread=70.0):
    """Every acquisition is paired with the next `reach` ones."""
    dates = np.datetime64("2019-01-05") + 12 * np.arange(acquisitions)
    baseline = rng.uniform(-spread, spread, acquisitions)
    pairs = [(i, j) for i in range(acquisitions) for j in range(i + 1, min(acquisitions, i + 1 + reach))]
    first, second = np.array(pairs).T
    return make_network(dates[first], dates[second], baseline[second] - baseline[first])


def phases(net, rate, dem_error, extra=0.0):
    """Noise-free phases of motion towards the satellite and of a DEM error, `[M, ...]`."""
    axes = (-1,) + (1,) * np.ndim(rate)
    towards = net.years.reshape(axes) * rate + extra
    height = GEOMETRY.height_rate(net.acquisition_baselines()).reshape(axes) * dem_error
    acquisition = -GEOMETRY.phase_per_metre * towards + height
    return acquisition[net.second_index] - acquisition[net.first_index]


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10**6), st.floats(-0.3, 0.3), st.floats(-40, 40), st.sampled_from([1, 2]), st.sampled_from([1, -1])
)
def test_noise_free_motion_is_recovered(seed, rate, dem_error, passes, sign):
    rng = np.random.default_rng(seed)
    net = network(rng, int(rng.integers(6, 12)), int(rng.integers(2, 5)))
    geometry = RadarGeometry(0.0554658, 8.2e5, 35.0, passes, sign)
    phase = phases(net, rate, dem_error) * (geometry.phase_per_metre / GEOMETRY.phase_per_metre)
    found = invert_series(phase[:, None], 0.9, net, geometry, 16)
    assert found.velocity_m_per_year[0] == pytest.approx(rate, abs=1e-8)
    assert found.parameter("dem_error")[0][0] == pytest.approx(dem_error, abs=1e-6)
    assert np.allclose(found.displacement_m[:, 0], rate * net.years, atol=1e-8)
    assert found.temporal_coherence[0] == pytest.approx(1.0)
    assert found.flags[0] == 0


def test_error_bars_hold_with_phase_noise_and_atmosphere():
    rng = np.random.default_rng(1)
    net = network(rng, 16, 4)
    pixels = 4000
    coherence, looks, air = 0.6, 12, 0.006
    rate, dem_error = rng.normal(0, 0.05, pixels), rng.normal(0, 10, pixels)
    phase = phases(net, rate, dem_error, extra=air * rng.normal(size=(16, pixels)))
    phase += float(phase_deviation(coherence, looks)) * rng.normal(size=phase.shape)
    found = invert_series(phase, coherence, net, GEOMETRY, looks)
    for name, truth in (("rate", rate), ("dem_error", dem_error)):
        value, deviation = found.parameter(name)
        score = (value - truth) / deviation
        assert abs(score.mean()) < 0.06
        # 13 degrees of freedom decide the noise of a pixel: Student's t has a deviation of 1.09
        assert score.std() == pytest.approx(1.09, abs=0.06)
    assert np.sqrt(np.mean(found.acquisition_deviation_m**2)) == pytest.approx(air, rel=0.05)
    assert np.median(found.unit_variance) < 1.1
    assert np.mean(found.outlier) < 0.01


def test_displacement_error_bars_hold_without_atmosphere():
    rng = np.random.default_rng(2)
    net = network(rng, 10, 3)
    truth = 0.02 * net.years[:, None] + np.zeros((10, 3000))
    phase = phases(net, np.full(3000, 0.02), np.zeros(3000))
    phase += float(phase_deviation(0.7, 20)) * rng.normal(size=phase.shape)
    found = invert_series(phase, 0.7, net, GEOMETRY, 20, dem_error=False)
    score = (found.displacement_m - truth)[1:] / found.displacement_deviation_m[1:]
    assert 0.85 < np.std(score) < 1.03  # variances that are never below the stated ones err to the safe side
    assert np.all(found.displacement_m[0] == 0)


def test_optimistic_coherence_is_noticed():
    rng = np.random.default_rng(3)
    net = network(rng, 12, 4)
    phase = phases(net, np.zeros(2000), np.zeros(2000))
    phase += 2.0 * float(phase_deviation(0.8, 20)) * rng.normal(size=phase.shape)
    found = invert_series(phase, 0.8, net, GEOMETRY, 20)
    assert np.median(found.unit_variance) == pytest.approx(4.0, rel=0.1)
    score = found.velocity_m_per_year / found.parameter("rate")[1]
    assert score.std() < 1.2
    assert np.mean((found.flags & sbas.POOR_FIT) != 0) > 0.95
    blind = invert_series(phase, 0.8, net, GEOMETRY, 20, rescale=False)
    assert np.all(blind.unit_variance == 1.0)


def test_seasonal_and_quadratic_motion():
    rng = np.random.default_rng(4)
    net = network(rng, 40, 3)
    years = net.years
    extra = (0.01 * np.sin(2 * np.pi * years) - 0.004 * np.cos(2 * np.pi * years) + 0.5 * 0.03 * years**2)[:, None]
    phase = phases(net, np.array([0.05]), np.array([7.0]), extra=extra)
    found = invert_series(phase, 0.9, net, GEOMETRY, 20, motion=("quadratic", "seasonal"))
    assert found.names == ("rate", "acceleration", "sine", "cosine", "dem_error")
    assert np.allclose(found.parameters[:, 0], [0.05, 0.03, 0.01, -0.004, 7.0], atol=1e-6)


def test_missing_interferograms_are_left_out_and_too_few_make_a_pixel_invalid():
    rng = np.random.default_rng(5)
    net = network(rng, 8, 3)
    phase = phases(net, np.full(3, 0.1), np.full(3, 5.0))
    phase[::3, 1] = np.nan
    phase[2:, 2] = np.nan
    found = invert_series(phase, 0.9, net, GEOMETRY, 16)
    assert np.allclose(found.velocity_m_per_year[:2], 0.1)
    assert list(found.valid) == [True, True, False]
    assert np.isnan(found.velocity_m_per_year[2])
    assert found.observations[1] == np.isfinite(phase[:, 1]).sum()


def test_subsets_without_a_common_pair_are_bridged_by_the_model_and_flagged():
    rng = np.random.default_rng(6)
    dates = np.datetime64("2020-01-01") + 12 * np.arange(12)
    pairs = [(i, j) for block in (range(6), range(6, 12)) for i in block for j in block if i < j]
    first, second = np.array(pairs).T
    baseline = rng.uniform(-80, 80, 12)
    net = make_network(dates[first], dates[second], baseline[second] - baseline[first])
    assert list(net.subsets()) == [0] * 6 + [1] * 6
    towards = 0.2 * net.years
    height = GEOMETRY.height_rate(baseline) * 6.0
    acquisition = -GEOMETRY.phase_per_metre * towards + height
    phase = (acquisition[second] - acquisition[first])[:, None]
    found = invert_series(phase, 0.9, net, GEOMETRY, 16)
    assert found.flags[0] == sbas.BRIDGED
    assert found.velocity_m_per_year[0] == pytest.approx(0.2, abs=1e-6)
    assert np.allclose(found.displacement_m[:, 0], towards, atol=1e-6)


def test_unwrapping_errors_show_in_closures_and_flags():
    rng = np.random.default_rng(7)
    net = network(rng, 8, 3)
    phase = phases(net, np.zeros(4), np.zeros(4))
    phase[5, 2] += 2 * np.pi
    closures = closure_phases(phase, net)
    assert len(closures.loops) == len(net.triangles()) > 0
    assert list(closures.suspect) == [False, False, True, False]
    assert np.abs(closures.residual).max() < 1e-9
    found = invert_series(phase, 0.9, net, GEOMETRY, 16)
    assert found.flags[2] & sbas.CLOSURE
    assert list(found.outlier) == [False, False, True, False]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_consistent_phases_close_whatever_the_order_of_dates(seed):
    rng = np.random.default_rng(seed)
    dates = np.datetime64("2020-01-01") + np.sort(rng.choice(300, 7, replace=False))
    pairs = [(i, j) if rng.random() < 0.5 else (j, i) for i in range(7) for j in range(i + 1, 7)]
    rng.shuffle(pairs)
    first, second = np.array(pairs).T
    net = make_network(dates[first], dates[second])
    acquisition = rng.normal(size=(7, 3)) * 10
    phase = acquisition[net.second_index] - acquisition[net.first_index]
    closures = closure_phases(phase, net)
    assert closures.phase.shape == (35, 3)
    assert np.abs(closures.phase).max() < 1e-9
    assert np.allclose(net.incidence @ acquisition, phase)


def test_atmosphere_is_filtered_and_the_rate_gets_better():
    rng = np.random.default_rng(8)
    net = network(rng, 24, 3)
    shape = (40, 40)
    air = np.array([ndimage.gaussian_filter(rng.normal(size=shape), 6) for _ in range(24)])
    air *= 0.008 / air.std()
    air -= air[:, 20:21, 20:21]
    rate = np.zeros(shape)
    rate[10:16, 10:16] = -0.08
    phase = phases(net, rate, np.zeros(shape), extra=air)
    phase += float(phase_deviation(0.7, 20)) * rng.normal(size=phase.shape)
    before = invert_series(phase, 0.7, net, GEOMETRY, 20)
    screens = atmospheric_screens(before, GEOMETRY, sigma_pixels=3.0, cutoff_days=30.0)
    seen = -screens / GEOMETRY.phase_per_metre
    residual = air - air.mean(axis=0)
    assert np.corrcoef(seen.ravel(), residual.ravel())[0, 1] > 0.9
    after = invert_series(remove_screens(phase, screens, net), 0.7, net, GEOMETRY, 20)
    assert np.median(after.acquisition_deviation_m) < 0.5 * np.median(before.acquisition_deviation_m)
    error = [np.nanstd(s.displacement_m - rate * net.years[:, None, None] - 0.0) for s in (before, after)]
    assert error[1] < 0.8 * error[0]


def test_ramp_and_stratified_delay_are_fitted_in_spite_of_a_subsiding_area():
    rng = np.random.default_rng(9)
    rows, cols = np.indices((50, 60))
    height = 300 * np.exp(-((rows - 20) ** 2 + (cols - 40) ** 2) / 200)
    air = 2.0 + 0.05 * rows - 0.03 * cols + 0.01 * height
    phase = air + 0.05 * rng.normal(size=air.shape)
    phase[30:40, 5:15] -= 15.0
    phase[0, 0] = np.nan
    stable = np.ones(phase.shape, bool)
    stable[30:40, 5:15] = False
    assert np.abs(fit_ramp(phase, height_m=height) - air).max() < 0.1
    assert np.abs(fit_ramp(phase, height_m=height, stable=stable) - air).max() < 0.05
    assert np.abs(fit_ramp(phase, height_m=height, degree=2, stable=stable) - air).max() < 0.1


def test_smoothing_leaves_gaps_out():
    values = np.ones((20, 20))
    values[5:8, 5:8] = np.nan
    assert np.allclose(smooth_in_space(values, 2.0), 1.0)


def test_reference_takes_the_best_pixel_and_zeroes_it():
    rng = np.random.default_rng(10)
    phase = rng.normal(size=(5, 12, 14))
    coherence = np.full(phase.shape, 0.4)
    coherence[:, 6:9, 7:10] = 0.9
    phase[2, 3, 3] = np.nan
    point = choose_reference(phase, coherence)
    assert point == (7, 8)
    referenced = apply_reference(phase, point, radius=0)
    assert np.allclose(referenced[:, 7, 8], 0)
    assert np.allclose(np.nanmedian(apply_reference(phase).reshape(5, -1), axis=1), 0)


@pytest.mark.parametrize("text", ["20180106", "2018-01-06"])
def test_dates_are_read(text):
    assert parse_date(text) == np.datetime64("2018-01-06")


def test_bad_stacks_are_refused_in_a_sentence():
    rng = np.random.default_rng(11)
    net = network(rng, 8, 3)
    phase = phases(net, np.zeros(4), np.zeros(4))

    def attempt(match, kind=ContractError, values=phase, quality=0.8, on=net, **options):
        with pytest.raises(kind, match=match):
            invert_series(values, quality, on, GEOMETRY, options.pop("looks", 16), **options)

    attempt("zero everywhere", quality=0.0)
    attempt("between 0 and 1", quality=200.0)
    attempt("infinite", values=np.where(phase == phase[0, 0], np.inf, phase))
    attempt("no finite phase", values=np.where(np.arange(len(phase))[:, None] == 3, np.nan, phase))
    attempt("interferograms for", values=phase[:-1])
    attempt("one grid", quality=np.ones((len(phase), 7)))
    attempt("looks", ConfigurationError, looks=0.5)
    attempt("motion", ConfigurationError, motion=("sideways",))
    equal = make_network(net.first, net.second, np.zeros(net.pairs))
    attempt("baselines are equal", ConfigurationError, on=equal)
    attempt("state no perpendicular", ConfigurationError, on=make_network(net.first, net.second))
    few = make_network(net.first[:2], net.second[:2], [10.0, 20.0])
    attempt("acquisitions cannot decide", ConfigurationError, values=phase[:2], on=few, motion=("seasonal",))
    attempt(
        "at least 4", ConfigurationError, values=phase[:3], on=make_network(net.first[:3], net.second[:3], [10, 20, 40])
    )
    proportional = make_network(net.first, net.second, 30 * (net.second - net.first).astype(float))
    attempt("linearly dependent", ConfigurationError, on=proportional)


def test_bad_networks_and_references_are_refused_in_a_sentence():
    with pytest.raises(ConfigurationError, match="with itself"):
        make_network(["20200101"], ["20200101"])
    with pytest.raises(ConfigurationError, match="not a date"):
        make_network(["2020010"], ["20200101"])
    with pytest.raises(ConfigurationError, match="baseline"):
        make_network(["20200101"], ["20200113"], [np.nan])
    with pytest.raises(ConfigurationError, match="at least one pair"):
        make_network([], [])
    with pytest.raises(ConfigurationError, match="outside"):
        apply_reference(np.zeros((2, 4, 4)), (9, 0))
    empty = np.zeros((2, 4, 4))
    empty[1] = np.nan
    with pytest.raises(ContractError, match="Interferogram 2"):
        apply_reference(empty)
    with pytest.raises(ContractError, match="none can be the reference"):
        choose_reference(empty, np.ones(empty.shape))
    with pytest.raises(ConfigurationError, match="degree"):
        fit_ramp(np.zeros((4, 4)), degree=5)
    with pytest.raises(ContractError, match="stable pixels"):
        fit_ramp(np.full((4, 4), np.nan))
