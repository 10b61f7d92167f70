import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecumene.core.errors import ConfigurationError, ContractError
from ecumene.physics.sharpening import ScalePair, assess, ergas, q2n
from ecumene.physics.sharpening.quality import cayley_dickson_signs
from ecumene.physics.spectral_angles import spectral_angles_deg


def multiply(a, b):
    signs = cayley_dickson_signs(len(a))
    result = np.zeros(len(a))
    for i in range(len(a)):
        for j in range(len(a)):
            result[i ^ j] += signs[i, j] * a[i] * b[j]
    return result


def test_quaternions_follow_hamilton():
    i, j, k = np.eye(4)[1:]
    np.testing.assert_array_equal(multiply(i, i), [-1, 0, 0, 0])
    np.testing.assert_array_equal(multiply(i, j), k)
    np.testing.assert_array_equal(multiply(j, i), -k)
    np.testing.assert_array_equal(multiply(j, k), i)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), power=st.integers(0, 3))
def test_norms_multiply_up_to_octonions(seed, power):
    a, b = np.random.default_rng(seed).normal(size=(2, 2**power))
    assert abs(np.linalg.norm(multiply(a, b)) - np.linalg.norm(a) * np.linalg.norm(b)) < 1e-10


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), bands=st.integers(1, 8), noise=st.floats(0.01, 3))
def test_q2n_is_at_most_one(seed, bands, noise):
    rng = np.random.default_rng(seed)
    x = rng.normal(2, 1, (bands, 40, 40))
    assert abs(q2n(x, x) - 1) < 1e-12
    y = x + noise * rng.normal(size=x.shape)
    assert q2n(y, x) < 1
    assert abs(q2n(y, x) - q2n(x, y)) < 1e-12


def test_q2n_of_one_band_is_the_universal_index():
    rng = np.random.default_rng(0)
    x = rng.normal(3, 1, (1, 32, 32))
    y = 0.8 * x + 0.3 * rng.normal(size=x.shape) + 0.5
    covariance = np.mean((x - x.mean()) * (y - y.mean()))
    expected = 4 * covariance * x.mean() * y.mean() / ((x.var() + y.var()) * (x.mean() ** 2 + y.mean() ** 2))
    assert abs(q2n(x, y) - expected) < 1e-12


def test_errors_by_hand():
    reference = np.full((2, 8, 8), 2.0)
    reference[1] = 4.0
    image = reference + np.array([0.2, 0.4])[:, None, None]
    assert abs(ergas(image, reference, 4) - 100 / 4 * 0.1) < 1e-12
    quality = assess(image, reference, 4)
    np.testing.assert_allclose(quality.band_rmse, [0.2, 0.4])
    assert quality.sam_deg < 1e-6
    assert spectral_angles_deg([[1.0], [0.0]], [[1.0], [1.0]])[0] == pytest.approx(45.0)
    valid = np.zeros((8, 8), bool)
    valid[:4] = True
    image[:, 4:] = np.nan
    assert assess(image, reference, 4, valid=valid).ergas == pytest.approx(2.5)
    with pytest.raises(ContractError, match="shape"):
        assess(image, reference[:1], 4)
    with pytest.raises(ContractError, match="nothing"):
        assess(image * np.nan, reference, 4)


@settings(max_examples=25, deadline=None)
@given(ratio=st.integers(2, 6), gain=st.floats(0.05, 0.8), rows=st.integers(2, 30), cols=st.integers(2, 30))
def test_degrading_and_interpolating_keep_constants(ratio, gain, rows, cols):
    pair = ScalePair((rows, cols), ratio, gain)
    np.testing.assert_allclose(pair.degrade(np.full(pair.fine_shape, 3.5)), 3.5, rtol=1e-12)
    np.testing.assert_allclose(pair.interpolate(np.full((rows, cols), -2.0)), -2.0, rtol=1e-12)


@pytest.mark.parametrize("ratio", [2, 3, 4])
def test_transfer_function_at_the_nyquist_frequency(ratio):
    pair = ScalePair((40, 40), ratio, 0.3)
    x = (np.arange(40 * ratio) + 0.5) / ratio  # coarse pixels
    for frequency in (0.1, 0.25, 0.5):
        # Crests at the centres of coarse pixels, so that sampling keeps the amplitude.
        wave = np.cos(2 * np.pi * frequency * (x - 0.5))
        seen = pair.degrade(np.broadcast_to(wave, pair.fine_shape))[20, 10:30]
        expected = 0.3 ** ((frequency / 0.5) ** 2)
        np.testing.assert_allclose(np.abs(seen).max(), expected, rtol=0.02)


def test_scales_are_aligned_at_pixel_centres():
    for ratio in (2, 3, 5):
        pair = ScalePair((20, 24), ratio)
        rows, cols = np.mgrid[: 20 * ratio, : 24 * ratio] + 0.5
        ramp = 2 * rows / ratio + 3 * cols / ratio
        coarse = 2 * (np.mgrid[:20, :24][0] + 0.5) + 3 * (np.mgrid[:20, :24][1] + 0.5)
        np.testing.assert_allclose(pair.degrade(ramp)[4:-4, 4:-4], coarse[4:-4, 4:-4], atol=1e-9)
        inside = slice(4 * ratio, -4 * ratio)
        np.testing.assert_allclose(pair.interpolate(coarse)[inside, inside], ramp[inside, inside], atol=1e-9)


@pytest.mark.parametrize(
    ("shape", "ratio", "gain", "words"),
    [((9, 9), 1, 0.3, "ratio"), ((9, 9), 2, 1.0, "Nyquist"), ((9, 9), 2, 0.0, "Nyquist"), ((1, 9), 2, 0.3, "small")],
)
def test_bad_scales(shape, ratio, gain, words):
    with pytest.raises(ConfigurationError, match=words):
        ScalePair(shape, ratio, gain)


def test_the_stated_shortfall_of_error_bars_is_the_measured_one():
    import json
    from pathlib import Path

    from ecumene.physics.sharpening.sharpen import MEASURED_SHORTFALL

    path = Path(__file__).parents[2] / "benchmarks" / "results" / "physics_sharpening.json"
    bars = json.loads(path.read_text())["error_bars"]
    for method, stated in MEASURED_SHORTFALL.items():
        measured = max(bars[f"{band}_{method}"]["rms_of_error_over_sigma"] for band in ("red", "near_infrared"))
        assert stated == round(measured, 2)
