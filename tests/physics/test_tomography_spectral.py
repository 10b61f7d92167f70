import numpy as np
import pytest

from ecumene.core.errors import ConfigurationError
from ecumene.physics.tomography import (
    beamforming,
    beamforming_power,
    capon,
    estimate_noise,
    make_geometry,
    make_grid,
    music,
    sample_covariance,
    simulate_stack,
    steering,
    svd_wiener,
)
from ecumene.physics.tomography.noise import noise_subspace
from ecumene.physics.tomography.spectral import profile_candidates


@pytest.fixture(scope="module")
def grid():
    geometry = make_geometry(np.random.default_rng(0).uniform(-135, 135, 24), 0.031, 7e5, 35.0)
    return make_grid(geometry, (-80.0, 80.0))


def exact_covariance(grid, elevations, powers, noise):
    a = steering(grid.geometry, np.array(elevations)[:, None])
    return ((a * powers) @ a.conj().T + noise * np.eye(grid.geometry.count))[None]


def test_beamforming_is_one_at_the_scatterer(grid):
    profile = beamforming(grid, grid.dictionary[:, [17]].T)
    assert profile[0, 17] == pytest.approx(1.0)
    assert np.argmax(np.abs(profile[0])) == 17
    power = beamforming_power(grid, exact_covariance(grid, [grid.points[17, 0]], [2.0], 0.5))
    assert power[0, 17] == pytest.approx(2.0 + 0.5 / 24)


def test_capon_gives_power_plus_noise_over_n(grid):
    power = capon(grid, exact_covariance(grid, [grid.points[17, 0]], [2.0], 0.5), loading=0.0)
    assert power[0, 17] == pytest.approx(2.0 + 0.5 / 24)
    assert np.argmax(power[0]) == 17
    assert (
        power[0] <= beamforming_power(grid, exact_covariance(grid, [grid.points[17, 0]], [2.0], 0.5))[0] + 1e-12
    ).all()


def test_music_resolves_two_below_a_rayleigh_unit(grid):
    near, far = grid.points[20, 0], grid.points[26, 0]
    assert far - near < grid.geometry.rayleigh_m
    covariance = exact_covariance(grid, [near, far], [1.0, 1.0], 0.01)
    assert set(profile_candidates(grid, music(grid, covariance, 2), 2)[0]) == {20, 26}
    assert profile_candidates(grid, beamforming_power(grid, covariance), 2)[0, 0] not in {20, 26}


def test_capon_and_music_work_on_samples(grid):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((3, 1, 200)) + 1j * rng.standard_normal((3, 1, 200))
    truth = grid.points[[10, 20, 30]][:, None, :]
    covariance = sample_covariance(simulate_stack(grid.geometry, truth, x, 0.2, rng))
    for power in (capon(grid, covariance), music(grid, covariance, 1)):
        assert np.abs(np.argmax(power, axis=1) - [10, 20, 30]).max() <= 1


def test_svd_wiener_is_the_posterior_mean(grid):
    rng = np.random.default_rng(2)
    y = rng.standard_normal((2, 24)) + 1j * rng.standard_normal((2, 24))
    a, noise, prior = grid.dictionary, 0.3, 0.05
    expected = a.conj().T @ np.linalg.solve(a @ a.conj().T + noise / prior * np.eye(24), y.T)
    np.testing.assert_allclose(svd_wiener(grid, y, noise_variance=noise, signal_variance=prior), expected.T, atol=1e-9)


def test_noise_is_found_beside_scatterers(grid):
    rng = np.random.default_rng(3)
    truth = rng.uniform(-75, 75, (4000, 2, 1))
    data = simulate_stack(grid.geometry, truth, 5 * np.exp(2j * np.pi * rng.random((4000, 2))), 0.7, rng)
    pooled = estimate_noise(grid, data)
    assert pooled.variance[0] == pytest.approx(0.7, rel=0.03)
    single = estimate_noise(grid, data, pooled=False)
    ratio = np.std(single.variance) / np.mean(single.standard_deviation)
    assert ratio == pytest.approx(1.0, abs=0.1)
    basis = noise_subspace(grid)
    np.testing.assert_allclose(basis.conj().T @ basis, np.eye(basis.shape[1]), atol=1e-10)


def test_noise_needs_room(grid):
    geometry = make_geometry([0.0, 30.0, 100.0, 180.0], 0.031, 7e5, 35.0)
    with pytest.raises(ConfigurationError, match="noise"):
        estimate_noise(make_grid(geometry, (-150, 150)), np.ones((5, 4), complex))


def test_bad_input_is_refused(grid):
    with pytest.raises(ConfigurationError, match="snapshots"):
        sample_covariance(np.ones((3, 24), complex))
    with pytest.raises(ConfigurationError, match="MUSIC"):
        music(grid, np.eye(24)[None].astype(complex), 24)
    with pytest.raises(ConfigurationError, match="do not fit"):
        beamforming(grid, np.ones((2, 5), complex))
    with pytest.raises(ConfigurationError, match="singular"):
        capon(grid, np.zeros((1, 24, 24), complex))
