"""Phase noise and coherence against their densities and against simulated speckle."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecumene.core.errors import ConfigurationError, ContractError
from ecumene.physics.interferometry.coherence import form_interferogram, multilook
from ecumene.physics.interferometry.goldstein import goldstein_filter
from ecumene.physics.interferometry.persistent import persistent_scatterer_candidates
from ecumene.physics.interferometry.phase_statistics import (
    expected_coherence,
    phase_density,
    phase_deviation,
    phase_deviation_bound,
    unbiased_coherence,
)


def speckle(rng, shape, coherence, phase=0.0):
    """Two circular Gaussian images with a coherence and a phase difference."""
    one, other = (rng.normal(size=shape) + 1j * rng.normal(size=shape) for _ in range(2))
    return one * np.exp(1j * phase), coherence * one + np.sqrt(1 - coherence**2) * other


@settings(max_examples=40, deadline=None)
@given(st.floats(0.0, 0.98), st.floats(1.0, 60.0))
def test_density_is_one(coherence, looks):
    phase = np.linspace(-np.pi, np.pi, 20001)
    density = phase_density(phase, coherence, looks)
    assert np.trapezoid(density, phase) == pytest.approx(1.0, abs=1e-5)
    moment = np.sqrt(np.trapezoid(density * phase**2, phase))
    assert phase_deviation(coherence, looks) == pytest.approx(moment, rel=2e-3)


@settings(max_examples=40, deadline=None)
@given(st.floats(0.0, 0.999), st.floats(0.0, 0.999), st.floats(1.0, 80.0))
def test_noise_falls_with_coherence_and_looks(first, second, looks):
    low, high = sorted([first, second])
    assert phase_deviation(high, looks) <= phase_deviation(low, looks) + 1e-12
    assert phase_deviation(low, looks + 5.0) <= phase_deviation(low, looks) + 1e-6


def test_cramer_rao_bound_is_met_by_many_looks_and_never_beaten_at_high_coherence():
    assert phase_deviation(0.8, 90) == pytest.approx(float(phase_deviation_bound(0.8, 90)), rel=1e-2)
    assert phase_deviation(0.8, 400) == pytest.approx(float(phase_deviation_bound(0.8, 400)), rel=1e-2)
    for looks in (1, 2, 8, 32):
        assert phase_deviation(0.95, looks) > phase_deviation_bound(0.95, looks)
    assert phase_deviation(0.0, 4) == pytest.approx(np.pi / np.sqrt(3), rel=1e-4)
    assert phase_deviation(1.0, 4) == pytest.approx(0.0, abs=1e-6)
    assert np.isnan(phase_deviation(np.nan, 4))


@pytest.mark.parametrize(("coherence", "looks"), [(0.3, 4), (0.6, 9), (0.9, 2)])
def test_simulated_speckle_has_the_stated_noise_and_coherence(coherence, looks):
    rng = np.random.default_rng(1)
    one, two = speckle(rng, (60_000, looks), coherence)
    cross = np.sum(one * np.conj(two), axis=1)
    sample = np.abs(cross) / np.sqrt(np.sum(np.abs(one) ** 2, 1) * np.sum(np.abs(two) ** 2, 1))
    assert np.sqrt(np.mean(np.angle(cross) ** 2)) == pytest.approx(float(phase_deviation(coherence, looks)), rel=0.015)
    assert sample.mean() == pytest.approx(float(expected_coherence(coherence, looks)), abs=3e-3)
    assert unbiased_coherence(sample.mean(), looks) == pytest.approx(coherence, abs=0.012)


def test_interferogram_has_phase_coherence_and_error_of_the_scene():
    rng = np.random.default_rng(2)
    one, two = speckle(rng, (60, 80), 0.7, phase=0.8)
    made = form_interferogram(one, two, (4, 4), decimate=True)
    assert made.phase.shape == (15, 20)
    assert made.looks == 16
    assert np.mean(made.phase) == pytest.approx(0.8, abs=0.05)
    assert np.std(made.phase) == pytest.approx(float(phase_deviation(0.7, 16)), rel=0.15)
    assert np.mean(made.coherence) == pytest.approx(float(expected_coherence(0.7, 16)), abs=0.02)
    moving = form_interferogram(one, two, (5, 5), reference_phase=np.full((60, 80), 0.8))
    assert moving.phase.shape == (60, 80)
    assert np.mean(moving.phase) == pytest.approx(0.0, abs=0.05)


def test_missing_pixels_do_not_leak_into_an_interferogram():
    rng = np.random.default_rng(3)
    one, two = speckle(rng, (40, 40), 0.9)
    one[:20] = np.nan
    made = form_interferogram(one, two, (5, 5))
    assert not made.valid[:16].any()
    assert np.isnan(made.phase[:16]).all()
    assert np.isfinite(made.phase[25:]).all()


def test_multilook_averages_cells_and_leaves_out_nan():
    values = np.arange(24, dtype=float).reshape(4, 6)
    values[0, 0] = np.nan
    mean = multilook(values, 2, 3)
    assert mean.shape == (2, 2)
    assert mean[0, 0] == pytest.approx(np.mean([1, 2, 6, 7, 8]))
    assert mean[1, 1] == pytest.approx(values[2:, 3:].mean())


def test_goldstein_with_alpha_zero_is_the_identity():
    rng = np.random.default_rng(4)
    field = np.exp(1j * rng.uniform(-3, 3, (70, 45)))
    field[3, 4] = np.nan
    filtered = goldstein_filter(field, 0.0)
    assert np.isnan(filtered[3, 4])
    usable = np.isfinite(field)
    assert np.allclose(filtered[usable], field[usable], atol=1e-10)


def test_goldstein_lowers_noise_and_keeps_fringes():
    rng = np.random.default_rng(5)
    cols = np.arange(128)
    fringe = np.broadcast_to(2 * np.pi * cols / 16, (128, 128))
    one, two = speckle(rng, (4, 128, 128), 0.5, phase=fringe)
    noisy = np.sum(one * np.conj(two), axis=0)
    before = np.angle(noisy * np.exp(-1j * fringe))
    inner = np.s_[8:-8, 8:-8]
    after = np.angle(goldstein_filter(noisy, 0.8) * np.exp(-1j * fringe))
    adaptive = np.angle(goldstein_filter(noisy, coherence=np.full((128, 128), 0.5)) * np.exp(-1j * fringe))
    assert np.std(after[inner]) < 0.35 * np.std(before[inner])
    assert np.std(after[inner]) < np.std(adaptive[inner]) < 0.8 * np.std(before[inner])


def test_persistent_scatterers_stand_out_of_clutter():
    rng = np.random.default_rng(6)
    gain = rng.uniform(0.5, 2.0, (60, 1, 1))  # calibration differs from image to image
    stack = (rng.normal(size=(60, 40, 40)) + 1j * rng.normal(size=(60, 40, 40))) / np.sqrt(2)
    points = np.zeros((40, 40), bool)
    points[5::10, 5::10] = True
    stack[:, points] += 10.0
    found = persistent_scatterer_candidates(stack * gain)
    assert found.candidate[points].all()
    assert found.candidate[~points].mean() < 0.01
    assert np.median(found.dispersion[~points]) == pytest.approx(0.5227, abs=0.02)  # Rayleigh
    # phase noise of the points: 1 / sqrt(2 SNR)
    assert np.median(found.phase_deviation[points]) == pytest.approx(np.std(np.angle(stack[:, points])), rel=0.25)


def test_bad_images_are_refused_in_a_sentence():
    good = np.ones((8, 8), complex)
    with pytest.raises(ContractError, match="complex"):
        form_interferogram(np.ones((8, 8)), np.ones((8, 8)))
    with pytest.raises(ContractError, match="coregister"):
        form_interferogram(good, np.ones((8, 9), complex))
    with pytest.raises(ContractError, match="no common pixel"):
        form_interferogram(good, np.zeros((8, 8), complex))
    with pytest.raises(ConfigurationError, match="window"):
        form_interferogram(good, good, (9, 9))
    with pytest.raises(ConfigurationError, match="oversampling"):
        form_interferogram(good, good, (3, 3), oversampling=0.5)
    with pytest.raises(ConfigurationError, match="alpha"):
        goldstein_filter(good)
    with pytest.raises(ConfigurationError, match="alpha"):
        goldstein_filter(good, 1.5)
    with pytest.raises(ConfigurationError, match="even patch"):
        goldstein_filter(good, 0.5, patch=7)
    with pytest.raises(ContractError, match="coherence has the shape"):
        goldstein_filter(good, coherence=np.ones((3, 3)))
    with pytest.raises(ConfigurationError, match="looks"):
        phase_deviation(0.5, 0.0)
    with pytest.raises(ConfigurationError, match="do not fit"):
        multilook(np.ones((4, 4)), 5, 1)
    with pytest.raises(ContractError, match="at least 3"):
        persistent_scatterer_candidates(np.ones((2, 4, 4)))
    with pytest.raises(ContractError, match="every image"):
        persistent_scatterer_candidates(np.zeros((4, 4, 4)))
    with pytest.raises(ConfigurationError, match="threshold"):
        persistent_scatterer_candidates(np.ones((4, 4, 4)), 0.0)
