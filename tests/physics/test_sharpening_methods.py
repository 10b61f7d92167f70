import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ecumene.core.errors import ConfigurationError, ContractError, SceneError
from ecumene.physics.sharpening import (
    INCONSISTENT,
    INVALID,
    METHODS,
    NEAR_GAP,
    ScalePair,
    assess,
    estimate_geometry,
    joint_matching_pursuit,
    joint_sparse_code,
    prepare,
    sharpen,
    shifted,
    wald_protocol,
)
from ecumene.physics.sharpening.jsparsefi import band_groups, joint_sparsity
from ecumene.physics.unmixing.sparse import group_threshold


def landscape(size=96, bands=5, fine=1, ratio=2, seed=0, gain=0.3, noise=0.0):
    """Fields of four materials with texture: `truth [bands]`, its coarse image, and `fine` bands at full resolution."""
    rng = np.random.default_rng(seed)
    spectra = rng.uniform(0.05, 0.5, (bands + fine, 4))
    fields = gaussian_filter(rng.normal(size=(4, size, size)), (0, 3, 3))
    shares = np.eye(4)[fields.argmax(axis=0)].transpose(2, 0, 1)
    texture = 1 + 0.15 * gaussian_filter(rng.normal(size=(size, size)), 0.7)
    image = np.tensordot(spectra, shares, axes=1) * texture
    pair = ScalePair((size // ratio, size // ratio), ratio, gain)
    low = pair.degrade(image[:bands])
    return image[:bands], low + noise * rng.normal(size=low.shape), image[bands:]


def pan_scene(size=96, seed=0):
    truth, low, _ = landscape(size, 4, 0, seed=seed)
    return truth, low, truth.mean(axis=0, keepdims=True)


@pytest.mark.parametrize("method", [name for name in METHODS if name not in ("interpolation", "cnmf")])
def test_every_method_beats_interpolation_with_a_pan_band(method):
    truth, low, pan = pan_scene()
    data = prepare(low, pan, 2)
    base = assess(METHODS["interpolation"](data), truth, 2)
    result = assess(METHODS[method](data), truth, 2)
    assert result.ergas < 0.9 * base.ergas
    assert result.q2n > base.q2n


def test_cnmf_with_many_bands():
    truth, low, fine = landscape(64, 40, 4, ratio=4, seed=3)
    data = prepare(low, fine, 4)
    base, result = (assess(METHODS[name](data), truth, 4) for name in ("interpolation", "cnmf"))
    assert result.ergas < 0.5 * base.ergas
    assert result.sam_deg < base.sam_deg


@pytest.mark.parametrize("method", list(METHODS))
def test_constant_images_stay_constant(method):
    low, high = np.full((3, 20, 24), 0.4), np.full((1, 40, 48), 7.0)
    low[1] = 0.2
    np.testing.assert_allclose(METHODS[method](prepare(low, high, 2))[0], 0.4, rtol=1e-6)


def test_brovey_and_gram_schmidt_by_their_formulas():
    _, low, pan = pan_scene(48, seed=4)
    data = prepare(low, pan, 2)
    smooth = data.pair.interpolate(low)
    intensity = low.mean(axis=0)
    seen = data.pair.degrade(pan)[0]
    matched = (pan[0] - seen.mean()) * intensity.std() / seen.std() + intensity.mean()
    np.testing.assert_allclose(METHODS["brovey"](data), smooth * matched / smooth.mean(axis=0), rtol=1e-9)
    gains = [np.cov(band.ravel(), intensity.ravel())[0, 1] / np.var(intensity, ddof=1) for band in low]
    expected = smooth + np.array(gains)[:, None, None] * (matched - smooth.mean(axis=0))
    np.testing.assert_allclose(METHODS["gram-schmidt"](data), expected, rtol=1e-9)
    assert abs(np.mean(gains) - 1) < 1e-9  # the gains of a mean component average to one


def test_a_guide_with_the_bands_themselves_is_nearly_perfect():
    truth, low, _ = landscape(64, 3, 1, seed=5)
    result = METHODS["mtf-glp"](prepare(low, truth, 2))
    assert np.sqrt(np.mean((result - truth) ** 2)) < 0.002


def test_joint_sparsity_is_consistent_and_independent_of_threads():
    _, low, pan = pan_scene(64, seed=6)
    data = prepare(low, pan, 2)
    one, two = joint_sparsity(data, threads=1), joint_sparsity(data, threads=3)
    np.testing.assert_array_equal(one, two)
    raw = joint_sparsity(data, back_projections=0)
    error = [np.sqrt(np.mean((data.pair.degrade(x) - low) ** 2)) for x in (raw, one)]
    assert error[1] < 0.5 * error[0]


def test_band_groups():
    rng = np.random.default_rng(0)
    base = rng.normal(size=(2, 30, 30))
    low = np.stack([base[0], base[1], 3 * base[0] + 0.05 * base[1], -base[1]])
    assert sorted(band_groups(low, np.ones((30, 30), bool), 0.9)) == [[0, 2], [1, 3]]


def test_wald_protocol_and_error_bars():
    truth, low, fine = landscape(192, 4, 2, seed=7, noise=0.002)
    for method in ("mtf-glp", "gram-schmidt", "joint-sparsity"):
        quality, image, reference = wald_protocol(low, fine, 2, method)
        assert image.shape == reference.shape == low.shape
        assert quality.ergas > 0
        result = sharpen(low, fine, 2, method=method)
        z = (result.value - truth) / result.standard_deviation
        assert 0.5 < np.sqrt(np.mean(z**2)) < 1.6
        assert np.mean(np.abs(z) < 2) > 0.85
        assert result.valid.all()


def test_error_bars_tell_hard_places_from_easy_ones():
    truth, low, fine = landscape(192, 4, 2, seed=8, noise=0.001)
    result = sharpen(low, fine, 2, method="gram-schmidt")
    error = np.abs(result.value - truth).ravel()
    order = np.argsort(result.standard_deviation.ravel())
    tenth = len(order) // 10
    assert error[order[-tenth:]].mean() > 3 * error[order[:tenth]].mean()


def test_gaps_and_contradictions_are_flagged():
    _, low, pan = pan_scene(96, seed=9)
    low[:, 10:14, 20:25] = np.nan
    pan[:, 70, 5] = np.nan
    pan[:, 40:46, 60:66] += 3.0  # something that the coarse image does not show
    result = sharpen(low, pan, 2, method="brovey")
    assert (result.flags[20:28, 40:50] == INVALID).all()
    assert result.flags[70, 5] == INVALID
    assert np.isnan(result.value[:, 70, 5]).all()
    assert result.valid[70, 6]
    assert result.flags[19, 45] & NEAR_GAP
    assert (result.flags[41:45, 61:65] & INCONSISTENT).all()
    assert np.isfinite(result.value[:, result.valid]).all()
    assert np.mean((result.flags & INCONSISTENT) > 0) < 0.02


@pytest.mark.parametrize("shift", [(1.0, -1.0), (0.5, 1.25), (0.0, 0.0)])
def test_shift_and_blur_are_recovered(shift):
    truth, low, _ = landscape(128, 4, 0, seed=10, gain=0.15)
    whole = truth.mean(axis=0, keepdims=True)
    moved = shifted(prepare(low, whole, 2), (-shift[0], -shift[1])).high
    found = estimate_geometry(prepare(low, moved, 2))
    np.testing.assert_allclose(found.shift, shift, atol=0.26)
    assert 0.1 <= found.nyquist_gain <= 0.2
    assert not found.at_border
    assert found.explained > 0.99
    assert found.explained >= found.explained_before


def test_registration_pays():
    truth, low, pan = pan_scene(96, seed=11)
    moved = np.roll(pan, (1, 1), axis=(1, 2))
    found = estimate_geometry(prepare(low, moved, 2), fit_gain=False)
    inner = (slice(None), slice(6, -6), slice(6, -6))
    errors = [
        np.mean((sharpen(low, moved, 2, shift=shift).value - truth)[inner] ** 2) for shift in ((0.0, 0.0), found.shift)
    ]
    assert found.shift == (-1.0, -1.0)
    assert errors[1] < 0.6 * errors[0]


def test_joint_sparse_code_is_optimal():
    rng = np.random.default_rng(12)
    d = rng.normal(size=(30, 60))
    d /= np.linalg.norm(d, axis=0)
    truth = np.zeros((60, 4))
    truth[[5, 20, 41]] = rng.normal(size=(3, 4)) + 2
    y = d @ truth + 0.01 * rng.normal(size=(30, 4))
    code = joint_sparse_code(y, d, 0.1, max_iterations=20_000)
    assert code.converged
    correlation = d.T @ (y - d @ code.coefficients)
    sizes = np.linalg.norm(correlation, axis=1)
    assert sizes.max() < 0.1 * (1 + 1e-3)  # subgradient condition of the L2,1 norm
    rows = code.coefficients[code.support]
    np.testing.assert_allclose(
        correlation[code.support], 0.1 * rows / np.linalg.norm(rows, axis=1, keepdims=True), atol=2e-3
    )
    assert set(code.support) >= {5, 20, 41}
    greedy = joint_matching_pursuit(y, d, 3)
    assert greedy.support.tolist() == [5, 20, 41]
    np.testing.assert_allclose(greedy.coefficients[[5, 20, 41]], truth[[5, 20, 41]], atol=0.05)
    large = joint_sparse_code(y, d, 1e3)
    assert large.support.size == 0
    positive = joint_sparse_code(y, d, 0.1, nonnegative=True, max_iterations=20_000)
    assert positive.coefficients.min() >= 0


def test_group_threshold_is_a_proximal_map():
    rng = np.random.default_rng(13)
    x = rng.normal(size=(5, 3))
    p = group_threshold(x, 0.7, axis=1)

    def cost(z):
        return 0.5 * np.sum((z - x) ** 2) + 0.7 * np.linalg.norm(z, axis=1).sum()

    for _ in range(50):
        assert cost(p) <= cost(p + 0.05 * rng.normal(size=p.shape)) + 1e-12


@pytest.mark.parametrize(
    ("low", "high", "options", "error", "words"),
    [
        (np.ones((2, 20, 20)), np.ones((1, 40, 40)), {"method": "magic"}, ConfigurationError, "magic"),
        (np.ones((2, 20, 20)), np.ones((1, 41, 40)), {}, ContractError, "40 x 40"),
        (np.ones((2, 20)), np.ones((1, 40, 40)), {}, ContractError, "bands"),
        (np.full((2, 20, 20), np.nan), np.ones((1, 40, 40)), {}, SceneError, "No pixel"),
        (np.ones((2, 10, 20)), np.ones((1, 20, 40)), {}, ConfigurationError, "too small"),
        (np.ones((2, 20, 20)), np.ones((1, 40, 40)), {"nyquist_gain": 2.0}, ConfigurationError, "Nyquist"),
    ],
)
def test_bad_input_is_one_sentence(low, high, options, error, words):
    with pytest.raises(error, match=words) as caught:
        sharpen(low, high, 2, **options)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigurationError):
        joint_sparse_code(np.ones((3, 2)), np.ones((4, 2)), 0.1)
