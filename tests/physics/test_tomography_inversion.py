import numpy as np
import pytest

from ecumene.core.errors import ConfigurationError
from ecumene.physics.tomography import (
    TomographyOptions,
    cramer_rao,
    invert_stack,
    make_geometry,
    make_grid,
    simulate_stack,
    single_scatterer_bound,
)
from ecumene.physics.tomography.result import AT_BORDER, INVALID, POOR_FIT


@pytest.fixture(scope="module")
def grid():
    geometry = make_geometry(np.random.default_rng(0).uniform(-135, 135, 25), 0.0310666, 7e5, 35.0)
    return make_grid(geometry, (-100.0, 100.0))


def phases(rng, *shape):
    return np.exp(2j * np.pi * rng.random(shape))


@pytest.mark.parametrize("total_db", [20.0, 27.0])
def test_single_scatterers_reach_the_bound(grid, total_db):
    rng = np.random.default_rng(1)
    snr = 10 ** (total_db / 10) / 25
    truth = rng.uniform(-90, 90, (10000, 1, 1))
    found = invert_stack(
        grid, simulate_stack(grid.geometry, truth, phases(rng, 10000, 1), 1 / snr, rng), noise_variance=1 / snr
    )
    one = found.count == 1
    assert one.mean() > 0.98
    error = found.elevation_m[one, 0] - truth[one, 0, 0]
    bound = float(single_scatterer_bound(grid.geometry, snr))
    assert error.std() / bound == pytest.approx(1.0, abs=0.1)
    assert abs(error.mean()) < 0.1 * bound
    inside = np.mean(np.abs(error) <= found.standard_deviation[one, 0, 0])
    assert inside == pytest.approx(0.683, abs=0.02)


def test_amplitude_and_phase_are_debiased_with_error_bars(grid):
    rng = np.random.default_rng(2)
    truth, x = rng.uniform(-80, 80, (3000, 1, 1)), 3.0 * phases(rng, 3000, 1)
    found = invert_stack(grid, simulate_stack(grid.geometry, truth, x, 0.9, rng), noise_variance=0.9)
    size = np.sqrt(found.power[:, 0])
    assert size.mean() == pytest.approx(3.0, rel=0.005)
    score = (size - 3.0) / found.amplitude_standard_deviation[:, 0]
    assert score.std() == pytest.approx(1.0, abs=0.06)
    turned = np.angle(found.amplitude[:, 0, 0] / x[:, 0]) / found.phase_standard_deviation[:, 0, 0]
    assert turned.std() == pytest.approx(1.0, abs=0.06)
    np.testing.assert_allclose(np.median(found.signal_to_noise_db[:, 0]), 10.0, atol=0.3)


def test_two_scatterers_below_a_rayleigh_unit_beat_svd_wiener(grid):
    rng = np.random.default_rng(3)
    distance = 0.6 * grid.geometry.rayleigh_m
    first = rng.uniform(-70, 40, 800)
    truth = np.stack([first, first + distance], axis=1)[..., None]
    x = phases(rng, 800, 2)
    data = simulate_stack(grid.geometry, truth, x, 0.1, rng)
    bound = cramer_rao(grid.geometry, truth, x, np.full(800, 0.1))[..., 0]
    rates = {}
    for method in ("sl1mmer", "svd-wiener"):
        found = invert_stack(grid, data, noise_variance=0.1, options=TomographyOptions(method=method))
        order = np.sort(np.where(found.count[:, None] == 2, found.elevation_m, np.inf), axis=1)
        rates[method] = np.mean((np.abs(order - truth[..., 0]) <= 3 * bound).all(axis=1))
        if method == "sl1mmer":
            two = found.count == 2
            score = (np.sort(found.elevation_m[two], axis=1) - truth[two, :, 0]) / bound[two]
            assert 1.4826 * np.median(np.abs(score)) == pytest.approx(1.0, abs=0.15)
    assert rates["sl1mmer"] > 0.9
    assert rates["sl1mmer"] > rates["svd-wiener"] + 0.1


def test_noise_alone_and_single_points_stay_so(grid):
    rng = np.random.default_rng(4)
    none = simulate_stack(grid.geometry, np.zeros((3000, 1, 1)), np.zeros((3000, 1)), 1.0, rng)
    assert np.mean(invert_stack(grid, none).count > 0) < 0.02
    one = simulate_stack(grid.geometry, rng.uniform(-90, 90, (3000, 1, 1)), phases(rng, 3000, 1), 0.1, rng)
    found = invert_stack(grid, one)
    assert np.mean(found.count == 1) > 0.98
    assert found.outlier.mean() < 0.02
    assert found.noise_variance[0] == pytest.approx(0.1, rel=0.05)


def test_snapshots_sharpen_and_share_support(grid):
    rng = np.random.default_rng(5)
    truth = np.repeat(np.array([[[0.0], [15.0]]]), 200, axis=0)
    x = rng.standard_normal((200, 2, 9)) + 1j * rng.standard_normal((200, 2, 9))
    found = invert_stack(grid, simulate_stack(grid.geometry, truth, x, 0.3, rng), noise_variance=0.3)
    assert np.mean(found.count == 2) > 0.97
    two = found.count == 2
    order = np.argsort(found.elevation_m[two], axis=1)
    error = np.take_along_axis(found.elevation_m[two], order, 1) - [0.0, 15.0]
    score = error / np.take_along_axis(found.standard_deviation[two, :, 0], order, 1)
    assert 1.4826 * np.median(np.abs(score)) == pytest.approx(1.0, abs=0.15)
    assert found.amplitude.shape == (200, 2, 9)


def test_three_scatterers(grid):
    rng = np.random.default_rng(6)
    truth = np.repeat(np.array([[[-60.0], [0.0], [50.0]]]), 100, axis=0)
    data = simulate_stack(grid.geometry, truth, phases(rng, 100, 3), 0.05, rng)
    found = invert_stack(grid, data, noise_variance=0.05, options=TomographyOptions(max_scatterers=3))
    assert np.mean(found.count == 3) > 0.95
    three = np.sort(found.elevation_m[found.count == 3], axis=1)
    assert np.abs(three - [-60.0, 0.0, 50.0]).max() < 6.0


def test_motion_is_found_with_its_error():
    rng = np.random.default_rng(7)
    geometry = make_geometry(
        rng.uniform(-135, 135, 40),
        0.0310666,
        7e5,
        35.0,
        times_years=np.sort(rng.uniform(0, 4, 40)),
        motion=("linear", "seasonal"),
    )
    grid = make_grid(
        geometry, (-30, 70), motion_ranges=[(-8, 8), (-5, 5), (-5, 5)], oversampling=3, motion_oversampling=2.5
    )
    truth = rng.uniform([-20, -7, -4, -4], [60, 7, 4, 4], (60, 4))[:, None, :]
    found = invert_stack(grid, simulate_stack(geometry, truth, phases(rng, 60, 1), 0.2, rng), noise_variance=0.2)
    assert np.mean(found.count == 1) > 0.95
    one = found.count == 1
    score = (found.parameters[one, 0] - truth[one, 0]) / found.standard_deviation[one, 0]
    assert np.abs(score).max() < 5
    velocity, spread = found.parameter("velocity")
    assert np.nanmax(spread) < 0.5
    assert velocity.shape == (60, 2)
    with pytest.raises(KeyError):
        found.parameter("colour")


def test_flags_say_what_is_wrong(grid):
    rng = np.random.default_rng(8)
    data = simulate_stack(grid.geometry, np.full((5, 1, 1), 10.0), np.ones((5, 1)), 0.01, rng)
    data[0, 3] = np.nan
    data[1] = 0
    data[2] += 0.5 * (rng.standard_normal(25) + 1j * rng.standard_normal(25))
    data[3] = simulate_stack(grid.geometry, np.full((1, 1, 1), 102.0), np.ones((1, 1)), 0.01, rng)[0]
    found = invert_stack(grid, data, noise_variance=0.01, options=TomographyOptions(max_scatterers=1))
    assert found.flags[0] == INVALID
    assert found.flags[1] == INVALID
    assert found.flags[2] & POOR_FIT
    assert found.flags[3] & AT_BORDER
    assert found.flags[4] == 0
    assert np.isnan(found.elevation_m[:2]).all()
    assert list(found.valid) == [False, False, True, True, True]


def test_results_do_not_depend_on_threads_or_neighbours(grid):
    rng = np.random.default_rng(9)
    data = simulate_stack(grid.geometry, rng.uniform(-90, 90, (400, 2, 1)), phases(rng, 400, 2), 0.2, rng)
    runs = [invert_stack(grid, data, noise_variance=0.2, options=TomographyOptions(threads=n)) for n in (1, 3)]
    np.testing.assert_array_equal(runs[0].parameters, runs[1].parameters)
    alone = invert_stack(grid, data[7:8], noise_variance=0.2)
    np.testing.assert_allclose(alone.parameters[0], runs[0].parameters[7], rtol=1e-9)


def test_bad_input_is_refused(grid):
    good = np.ones((4, 25), complex)
    dead = good.copy()
    dead[:, 6] = np.nan
    cases = [
        ((np.ones((4, 25)),), {}, "complex"),
        ((np.ones((4, 9), complex),), {}, "do not fit"),
        ((dead,), {}, "Acquisition 7"),
        ((np.zeros((4, 25), complex),), {"noise_variance": 1.0}, "No pixel"),
        ((good,), {"noise_variance": -1.0}, "noise variance"),
        ((good,), {"options": TomographyOptions(method="magic")}, "method"),
        ((good,), {"options": TomographyOptions(max_scatterers=20)}, "unknowns"),
    ]
    for arguments, options, sentence in cases:
        with pytest.raises(ConfigurationError, match=sentence):
            invert_stack(grid, *arguments, **options)
