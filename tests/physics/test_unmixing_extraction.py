import numpy as np
import pytest

from ecumene.core.errors import ConfigurationError, ContractError, SceneError
from ecumene.physics.unmixing import (
    compare_with_reference,
    estimate_noise,
    estimate_snr_db,
    hysime,
    n_findr,
    ppi,
    resample_library,
    spectral_angle_deg,
    sunsal,
    sunsal_tv,
    total_variation,
    vca,
)


def scene(p=4, pixels=3000, bands=50, noise=1e-3, seed=0, pure=True):
    rng = np.random.default_rng(seed)
    e = 0.2 + np.abs(np.cumsum(rng.normal(size=(bands, p)), axis=0)) / 8
    a = rng.dirichlet(np.ones(p), pixels)
    if pure:
        a[rng.choice(pixels, p, replace=False)] = np.eye(p)
    return a @ e.T + noise * rng.normal(size=(pixels, bands)), e, a


@pytest.mark.parametrize("method", [vca, n_findr, lambda *a, **k: ppi(*a, **k)[0]])
def test_pure_pixels_are_found(method):
    y, e, a = scene()
    y[7] = np.nan
    found = method(y, 4, seed=3)
    accuracy = compare_with_reference(found.spectra, e)
    assert accuracy.angle_deg.max() < 0.5
    np.testing.assert_allclose(y[found.index].T, found.spectra)
    assert (a[found.index[accuracy.order], np.arange(4)] > 0.99).all()


def test_vca_bears_noise_and_does_not_depend_on_brightness():
    y, e, _ = scene(noise=0.05, seed=1)
    assert compare_with_reference(vca(y, 4).spectra, e).angle_deg.mean() < 8
    y, e, _ = scene(noise=0.0, seed=2)
    bright = y * np.random.default_rng(0).uniform(0.3, 1.0, (len(y), 1))
    assert compare_with_reference(vca(bright, 4).spectra, e).angle_deg.max() < 1e-3


def test_n_findr_volume_is_at_least_vcas():
    y, _, _ = scene(noise=0.02, pure=False, seed=4)

    def volume(spectra):
        edges = spectra[:, 1:] - spectra[:, :1]
        return np.sqrt(np.linalg.det(edges.T @ edges))

    assert volume(n_findr(y, 4, seed=0).spectra) >= 0.98 * volume(vca(y, 4, seed=0).spectra)
    assert n_findr(y, 4, seed=0).score.max() <= 1 + 1e-9


def test_hysime_counts_materials_and_measures_noise():
    for p, noise in ((3, 1e-3), (5, 1e-3), (5, 1e-2)):
        y, _, _ = scene(p=p, noise=noise, seed=p)
        found = hysime(y)
        assert found.dimension == p
        # Too large by what neighbouring bands cannot predict without their own noise.
        assert np.all((found.noise_deviation > 0.95 * noise) & (found.noise_deviation < 1.25 * noise))
        np.testing.assert_allclose(found.basis.T @ found.basis, np.eye(p), atol=1e-10)
    residual = estimate_noise(scene(noise=0.01)[0])
    np.testing.assert_allclose(residual.std(axis=0), 0.01, rtol=0.2)


def test_signal_to_noise_ratio():
    y, _, _ = scene(noise=0.01, pixels=20_000)
    clean = scene(noise=0.0, pixels=20_000)[0]
    assert abs(estimate_snr_db(y, 4) - 10 * np.log10(np.mean(clean**2) / 1e-4)) < 0.5
    assert estimate_snr_db(clean, 4) > 120


def test_angles_and_matching():
    a = np.eye(3)
    np.testing.assert_allclose(spectral_angle_deg(a, a), 90 * (1 - np.eye(3)), atol=1e-12)
    tiny = np.array([[1.0], [1e-9]])
    assert abs(spectral_angle_deg([[1.0], [0.0]], tiny)[0, 0] - np.degrees(1e-9)) < 1e-16
    rng = np.random.default_rng(0)
    e, shares = rng.uniform(0, 1, (20, 4)), rng.dirichlet(np.ones(4), 30)
    accuracy = compare_with_reference(e[:, [2, 0, 3, 1]] * 3, e, shares[:, [2, 0, 3, 1]], shares)
    assert accuracy.order.tolist() == [1, 3, 0, 2]
    assert accuracy.abundance_rmse == 0
    with pytest.raises(ContractError, match="shape"):
        compare_with_reference(e[:, :3], e)


def test_sunsal_optimality_and_recovery():
    rng = np.random.default_rng(5)
    library = np.abs(rng.normal(size=(80, 120)))
    truth = np.zeros((40, 120))
    for row in truth:
        row[rng.choice(120, 3, replace=False)] = rng.dirichlet(np.ones(3))
    y = truth @ library.T + 1e-3 * rng.normal(size=(40, 80))
    weight = 0.05
    found = sunsal(y, library, weight, tolerance=1e-8, max_iterations=20_000)
    assert found.converged
    gradient = (found.value @ library.T - y) @ library + weight
    assert gradient.min() > -1e-3  # optimality of the non-negative LASSO
    assert np.abs(gradient * found.value).max() < 1e-3
    assert np.mean((found.value > 0.02) == (truth > 0)) > 0.98
    with pytest.raises(ConfigurationError, match="sparsity"):
        sunsal(y, library, -1)
    with pytest.raises(ContractError, match="finite"):
        sunsal(y * np.nan, library, 0.1)


def test_collaborative_sparsity_shares_its_materials():
    rng = np.random.default_rng(6)
    library = np.abs(rng.normal(size=(60, 40)))
    truth = np.zeros((30, 40))
    truth[:, [3, 17, 25]] = rng.dirichlet(np.ones(3), 30)
    y = truth @ library.T + 0.02 * rng.normal(size=(30, 60))
    found = sunsal(y, library, 3.0, collaborative=True, tolerance=1e-7, max_iterations=10_000)
    used = np.flatnonzero(found.value.max(axis=0) > 0)
    assert set(used) >= {3, 17, 25}
    assert len(used) <= 6
    summed = sunsal(y, library, 0.0, sum_to_one=True, tolerance=1e-7, max_iterations=10_000)
    np.testing.assert_allclose(summed.value.sum(axis=1), 1.0, atol=1e-4)


def test_total_variation_smooths_and_reduces_the_error():
    rng = np.random.default_rng(7)
    e = 0.3 + np.abs(np.cumsum(rng.normal(size=(40, 3)), axis=0)) / 10
    a = np.zeros((24, 30, 3))
    a[:12, :, 0], a[12:, :, 1] = 1.0, 1.0
    a[6:18, 10:20] = [0.2, 0.3, 0.5]
    cube = a @ e.T + 0.1 * rng.normal(size=(24, 30, 40))
    plain = sunsal_tv(cube, e, 0.0, 0.0, tolerance=1e-6, max_iterations=3000)
    smooth = sunsal_tv(cube, e, 0.0, 0.05, tolerance=1e-6, max_iterations=3000)
    assert plain.converged
    assert smooth.converged
    expected = sunsal(cube.reshape(-1, 40), e, 0.0, tolerance=1e-8, max_iterations=10_000).value
    np.testing.assert_allclose(plain.value.reshape(-1, 3), expected, atol=1e-3)
    assert total_variation(smooth.value) < 0.5 * total_variation(plain.value)
    assert np.mean((smooth.value - a) ** 2) < 0.5 * np.mean((plain.value - a) ** 2)

    def objective(x):
        return 0.5 * np.sum((cube - x @ e.T) ** 2) + 0.05 * total_variation(x)

    for scale in (1e-3, 1e-2):
        trial = np.maximum(smooth.value + scale * rng.normal(size=a.shape), 0)
        assert objective(smooth.value) < objective(trial)


def test_library_resampling():
    waves = np.linspace(0.4, 2.5, 2101)
    line = np.column_stack([waves, 1 - 0.3 * waves])
    centers, widths = np.array([0.5, 0.8, 1.6]), np.array([0.05, 0.01, 0.1])
    np.testing.assert_allclose(resample_library(waves, line, centers, widths)[:, 0], centers, atol=1e-6)
    coarse = resample_library(waves[::50], line[::50], centers, widths)
    np.testing.assert_allclose(coarse, np.column_stack([centers, 1 - 0.3 * centers]), atol=1e-3)
    dip = 1 - 0.5 * np.exp(-0.5 * ((waves - 0.8) / 0.02) ** 2)
    sigma = 0.05 / 2.3548
    depth = 0.5 * 0.02 / np.hypot(0.02, sigma)  # of a Gaussian seen through a Gaussian
    found = resample_library(waves, dip[:, None], [0.8], [0.05])[0, 0]
    assert abs(found - (1 - depth)) < 1e-4
    with pytest.raises(ContractError, match="not covered"):
        resample_library(waves, line, [0.35], [0.02])
    with pytest.raises(ContractError, match="different"):
        resample_library(np.ones(5), np.ones((5, 1)), [1.0], [0.1])


def test_bad_input():
    y, _, _ = scene()
    with pytest.raises(ConfigurationError, match="from 2"):
        vca(y, 1)
    with pytest.raises(ConfigurationError, match="from 2"):
        vca(y, 51)
    with pytest.raises(SceneError, match="finite"):
        vca(y * np.nan, 4)
    with pytest.raises(SceneError, match="finite"):
        hysime(y[:20])
    with pytest.raises(ConfigurationError, match="fewer"):
        n_findr(np.outer(np.linspace(1, 2, 100), np.ones(5)), 4)
