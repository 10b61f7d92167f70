"""Polarimetry: canonical scatterers, bounds, invariance, and error bars against Wishart samples."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecumene.core.errors import ConfigurationError, SceneError
from ecumene.physics.polarimetry.decomposition import (
    DEGENERATE,
    FEW_LOOKS,
    INVALID,
    feasible_alpha_deg,
    h_a_alpha,
    zones,
)
from ecumene.physics.polarimetry.matrices import (
    boxcar,
    coherency_to_covariance,
    covariance_to_coherency,
    estimate_matrix_looks,
    pack,
    sample_wishart,
    unpack,
    usable_matrices,
)
from ecumene.physics.polarimetry.wishart import UNLIKE_ALL, wishart_clusters, wishart_distance


def _random(rng, count, size=3, looks=5):
    vectors = rng.standard_normal((count, looks, size, 2)) @ np.array([1.0, 1j])
    return np.einsum("nli,nlj->nij", vectors, vectors.conj()) / looks


@pytest.mark.parametrize("size", [2, 3])
def test_pack_and_unpack_are_inverse(size):
    matrices = _random(np.random.default_rng(0), 7, size)
    np.testing.assert_allclose(unpack(pack(matrices)), matrices)
    with pytest.raises(SceneError, match="4 or 9"):
        unpack(np.ones((5, 2, 2)))


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**31))
def test_change_of_basis_conserves_power_and_eigenvalues(seed):
    covariance = _random(np.random.default_rng(seed), 3)
    coherency = covariance_to_coherency(covariance)
    np.testing.assert_allclose(np.linalg.eigvalsh(coherency), np.linalg.eigvalsh(covariance), atol=1e-10)
    np.testing.assert_allclose(coherency_to_covariance(coherency), covariance, atol=1e-12)


def _pauli(hh, hv, vv):
    k = np.array([hh + vv, hh - vv, 2 * hv], complex) / np.sqrt(2)
    return np.outer(k, k.conj())


def test_canonical_scatterers():
    sphere, dihedral, dipole = _pauli(1, 0, 1), _pauli(1, 0, -1), _pauli(1, 0, 0)
    found = h_a_alpha(np.stack([sphere, dihedral, dipole, np.eye(3)]), 100)
    np.testing.assert_allclose(found.alpha_deg[:3], [0, 90, 45], atol=1e-4)
    np.testing.assert_allclose(found.entropy, [0, 0, 0, 1], atol=1e-6)
    assert found.flags[3] & DEGENERATE
    np.testing.assert_array_equal(zones(found.entropy, found.alpha_deg)[:3], [9, 7, 8])


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**31), looks=st.integers(1, 30), scale=st.floats(1e-6, 1e6))
def test_bounds_and_invariance(seed, looks, scale):
    matrices = _random(np.random.default_rng(seed), 50, looks=looks)
    found, scaled = h_a_alpha(matrices, looks), h_a_alpha(matrices * scale, looks)
    for values, top in ((found.entropy, 1.0), (found.anisotropy, 1.0), (found.alpha_deg, 90.0)):
        assert values.min() >= -1e-9
        assert values.max() <= top + 1e-9
    np.testing.assert_allclose(found.eigenvalues.sum(axis=-1), found.span, rtol=1e-9)
    np.testing.assert_allclose(scaled.entropy, found.entropy, atol=1e-9)
    np.testing.assert_allclose(scaled.alpha_deg, found.alpha_deg, atol=1e-6)
    low, high = feasible_alpha_deg(found.entropy)
    assert np.all(found.alpha_deg >= low - 0.05)
    assert np.all(found.alpha_deg <= high + 0.05)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31), angle=st.floats(-np.pi, np.pi))
def test_entropy_does_not_depend_on_orientation(seed, angle):
    c, s = np.cos(2 * angle), np.sin(2 * angle)
    turn = np.array([[1, 0, 0], [0, c, s], [0, -s, c]])
    matrices = _random(np.random.default_rng(seed), 10, looks=9)
    first, second = h_a_alpha(matrices, 9), h_a_alpha(turn @ matrices @ turn.T, 9)
    np.testing.assert_allclose(first.entropy, second.entropy, atol=1e-9)
    np.testing.assert_allclose(first.alpha_deg, second.alpha_deg, atol=1e-6)


@pytest.mark.parametrize("looks", [40, 200])
def test_error_bars_against_wishart_samples(looks):
    rng = np.random.default_rng(0)
    root = rng.standard_normal((3, 3)) + 1j * rng.standard_normal((3, 3))
    sigma = root @ root.conj().T + 0.2 * np.eye(3)
    found = h_a_alpha(sample_wishart(rng, sigma, looks, 4000), looks)
    truth = h_a_alpha(sigma[None], looks)
    for value, error in (
        ("entropy", "entropy_deviation"),
        ("anisotropy", "anisotropy_deviation"),
        ("alpha_deg", "alpha_deviation_deg"),
        ("span", "span_deviation"),
    ):
        assert getattr(found, value).std() == pytest.approx(float(getattr(truth, error)[0]), rel=0.12), value


def test_few_looks_are_flagged_and_bias_entropy_down():
    sigma = np.diag([1.0, 0.6, 0.4]).astype(complex)
    rng = np.random.default_rng(2)
    few, many = (h_a_alpha(sample_wishart(rng, sigma, looks, 2000), looks) for looks in (4, 60))
    assert (few.flags & FEW_LOOKS).all()
    assert not (many.flags & FEW_LOOKS).any()
    assert few.entropy.mean() < many.entropy.mean() < h_a_alpha(sigma[None], 60).entropy[0] + 0.01


def test_bad_matrices_are_flagged_not_mapped():
    good = _random(np.random.default_rng(3), 4)
    bad = good.copy()
    bad[0, 0, 0] = np.nan
    bad[1] = np.diag([1.0, -1.0, 0.5])
    bad[2, 0, 1] += 5.0
    found = h_a_alpha(bad, 20)
    np.testing.assert_array_equal(found.flags == INVALID, [True, True, True, False])
    assert np.isnan(found.entropy[:3]).all()
    with pytest.raises(SceneError, match="No matrix"):
        h_a_alpha(np.full((2, 3, 3), np.nan), 20)
    with pytest.raises(SceneError, match="2 x 2 or 3 x 3"):
        h_a_alpha(np.ones((4, 4)), 20)
    with pytest.raises(ConfigurationError):
        h_a_alpha(good, -1)


def test_dual_polarisation():
    found = h_a_alpha(np.stack([np.diag([1.0, 0.0]), np.eye(2)]).astype(complex), 50)
    np.testing.assert_allclose(found.entropy, [0.0, 1.0], atol=1e-6)
    assert found.alpha_deg[0] == pytest.approx(0.0, abs=1e-4)


def test_matrix_looks():
    rng = np.random.default_rng(4)
    sigma = np.diag([1.0, 0.3, 0.1]).astype(complex)
    value, error = estimate_matrix_looks(sample_wishart(rng, sigma, 12, 4000))
    assert abs(value - 12.0) < 4 * error
    assert error < 1.0
    with pytest.raises(SceneError, match="equal"):
        estimate_matrix_looks(np.tile(sigma, (60, 1, 1)))


def test_boxcar_averages_and_skips_nodata():
    rng = np.random.default_rng(5)
    image = sample_wishart(rng, np.eye(3, dtype=complex), 4, 400).reshape(20, 20, 3, 3)
    image[3, 3] = np.nan
    smooth = boxcar(image, 5)
    assert np.isfinite(smooth).all()
    np.testing.assert_allclose(smooth[10, 10], image[8:13, 8:13].mean(axis=(0, 1)), atol=1e-10)
    with pytest.raises(ConfigurationError):
        boxcar(image, 2)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31))
def test_wishart_distance_is_smallest_at_the_matrix(seed):
    rng = np.random.default_rng(seed)
    matrices = _random(rng, 2, looks=8)
    others = _random(rng, 20, looks=8)
    at_itself = np.diag(wishart_distance(matrices, matrices))
    np.testing.assert_allclose(at_itself, np.linalg.slogdet(matrices)[1] + 3.0, rtol=1e-8)
    assert np.all(wishart_distance(matrices, others) >= at_itself[:, None] - 1e-9)


def test_clusters_recover_regions_and_flag_strangers():
    rng = np.random.default_rng(6)
    kinds = [np.diag([1.0, 0.2, 0.1]), np.diag([0.1, 1.0, 0.1]), np.diag([0.05, 0.03, 0.04])]
    image = np.concatenate([sample_wishart(rng, k.astype(complex), 12, 400) for k in kinds]).reshape(60, 20, 3, 3)
    truth = np.repeat([0, 1, 2], 400).reshape(60, 20)
    strange = image.copy()
    strange[0, 0] = 500.0 * np.eye(3)
    strange[0, 1] = np.nan
    decomposed = h_a_alpha(image, 12)
    found = wishart_clusters(strange, zones(decomposed.entropy, decomposed.alpha_deg), 12)
    assert found.converged
    agreement = [np.bincount(found.label[truth == k] + 1).max() / 400 for k in range(3)]
    assert min(agreement) > 0.95
    assert found.flags[0, 0] & UNLIKE_ALL
    assert found.label[0, 1] == -1
    assert np.mean(found.flags[1:] & UNLIKE_ALL > 0) < 0.01
    powers = np.trace(found.means, axis1=-2, axis2=-1).real
    assert np.all(np.diff(powers) <= 0)
    with pytest.raises(ConfigurationError, match="shape"):
        wishart_clusters(image, np.zeros(3, int), 12)
    with pytest.raises(SceneError, match="start class"):
        wishart_clusters(image, np.full((60, 20), -1), 12)


@pytest.mark.data
def test_real_scene_is_physical():
    root = os.environ.get("ECUMENE_DATA")
    if not root:
        pytest.skip("ECUMENE_DATA is not set")
    import rasterio

    folder = Path(root) / "polsar_manitoba"
    with rasterio.open(folder / "T3.tif") as source:
        coherency = unpack(source.read())
    with rasterio.open(folder / "C3.tif") as source:
        covariance = unpack(source.read())
    assert usable_matrices(coherency).all()
    np.testing.assert_allclose(covariance_to_coherency(covariance), coherency, atol=1e-6 * np.abs(coherency).max())
    found = h_a_alpha(coherency, 16)
    low, high = feasible_alpha_deg(found.entropy)
    assert np.all((found.alpha_deg >= low - 0.05) & (found.alpha_deg <= high + 0.05))
