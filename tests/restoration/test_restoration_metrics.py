"""Measures of restored images against theory, other implementations and hand-made cases."""

import math

import numpy as np
import pytest

from ecumene.core.errors import ConfigurationError
from ecumene.restoration.metrics import (
    discard_curve,
    error_bar_measures,
    image_measures,
    image_uncertainty_calibration,
    peak_signal_to_noise,
    restoration_report,
    similarity_map,
    spectral_angle,
)


def pair(seed=0, shape=(3, 48, 40)):
    rng = np.random.default_rng(seed)
    target = rng.uniform(0.05, 0.5, shape)
    return target + 0.03 * rng.normal(size=shape), target


def test_psnr_of_a_known_error():
    target = np.full((2, 8, 8), 0.3)
    assert peak_signal_to_noise(target + 0.01, target) == pytest.approx(40.0)
    assert math.isinf(peak_signal_to_noise(target, target))


def test_spectral_angle_of_known_spectra():
    x = np.array([[1.0, 1.0], [0.0, 0.0]])
    y = np.array([[1.0, 3.0], [1.0, 3.0]])
    assert spectral_angle(x, y) == pytest.approx(45.0)
    assert spectral_angle(y, 5.0 * y) == pytest.approx(0.0, abs=1e-6)
    assert spectral_angle(np.array([[1.0], [0.0]]), np.array([[1.0], [1e-9]])) == pytest.approx(math.degrees(1e-9))
    with pytest.raises(ConfigurationError, match="not zero"):
        spectral_angle(np.zeros((2, 3)), np.ones((2, 3)))


def test_similarity_is_that_of_scikit_image():
    metrics = pytest.importorskip("skimage.metrics")
    predicted, target = pair()
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0, "full": True}
    expected = np.mean(
        [metrics.structural_similarity(p, t, **options)[1] for p, t in zip(predicted, target, strict=True)], axis=0
    )
    assert similarity_map(predicted, target) == pytest.approx(expected, abs=1e-9)


def test_similarity_leaves_out_windows_with_unknown_pixels():
    predicted, target = pair()
    predicted[1, 20, 20] = np.nan
    similar = similarity_map(predicted, target)
    assert np.isnan(similar[15:26, 15:26]).all()
    assert np.isfinite(similar[14, 20])
    assert np.isnan(similar).sum() == 121


def test_cloudy_and_clear_pixels_apart():
    _, target = pair()
    cloudy = np.zeros(target.shape[1:], bool)
    cloudy[:, :20] = True
    predicted = target + np.where(cloudy, 0.1, 0.01)
    report = restoration_report(predicted, target, cloudy, np.full_like(target, 0.1))
    assert report["cloudy"]["mae"] == pytest.approx(0.1)
    assert report["clear"]["mae"] == pytest.approx(0.01)
    assert report["overall"]["rmse"] == pytest.approx(math.sqrt((0.01 + 0.0001) / 2))
    assert report["error_bars"]["uce"] == pytest.approx(0.0, abs=1e-9)
    assert report["error_bars"]["coverage_90"] == 1.0


def test_nothing_known_gives_no_numbers():
    _, target = pair()
    report = image_measures(np.full_like(target, np.nan), target)
    assert report["pixels"] == 0
    assert report["mae"] is None


def test_honest_error_bars_have_little_calibration_error():
    rng = np.random.default_rng(2)
    deviation = rng.uniform(0.01, 0.05, 60000)
    error = deviation * rng.normal(size=60000)
    honest = error_bar_measures(error, deviation, np.zeros(60000))
    assert honest["uce_over_rmse"] < 0.05
    assert honest["coverage_90"] == pytest.approx(0.9, abs=0.01)
    short = error_bar_measures(error, deviation / 2.0, np.zeros(60000))
    assert short["uce"] == pytest.approx(0.5 * short["rmse"], rel=0.1)
    assert short["coverage_90"] == pytest.approx(math.erf(1.6449 / 2 / math.sqrt(2)), abs=0.01)


def test_discarding_the_uncertain_lowers_the_error():
    rng = np.random.default_rng(3)
    deviation = rng.uniform(0.01, 0.05, 20000)
    curve = discard_curve((deviation * rng.normal(size=20000)) ** 2, deviation)
    assert len(curve["kept"]) == 20
    assert curve["kept"][-1] == 1.0
    assert np.all(np.diff(curve["rmse"]) > 0)
    assert curve["rmse"][-1] == pytest.approx(math.sqrt(np.mean(deviation**2)), rel=0.05)


def test_images_as_samples():
    rmse = np.array([0.01, 0.02, 0.03])
    assert image_uncertainty_calibration(rmse, rmse) == pytest.approx((0.0, 0.0), abs=1e-12)
    uce, auce = image_uncertainty_calibration(rmse, 2 * rmse)
    assert uce == pytest.approx(0.02)
    assert auce == pytest.approx(0.02)


def test_shapes_must_fit():
    with pytest.raises(ConfigurationError, match="different shapes"):
        peak_signal_to_noise(np.zeros((2, 3)), np.zeros((3, 2)))
    with pytest.raises(ConfigurationError, match="one shape"):
        similarity_map(np.zeros((2, 3, 3)), np.zeros((2, 3, 4)))
    with pytest.raises(ConfigurationError, match="no pixel"):
        peak_signal_to_noise(np.full(3, np.nan), np.zeros(3))
