"""Methods between two dates: theory, blocks against the whole image, bad input."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ecumene.change.contract import ImagePair
from ecumene.change.cva import ChangeVectorAnalysis
from ecumene.change.irmad import IterativelyReweightedMad
from ecumene.change.methods import build_change_method, change_method_info, detect_change, list_change_methods
from ecumene.change.normalisation import normalise_radiometry
from ecumene.change.sfa import SlowFeatureAnalysis
from ecumene.core.errors import ConfigurationError, ContractError, SceneError
from ecumene.core.window import Window


def optical(seed: int = 0, size: int = 96, bands: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two dates of a scene with correlated bands, another illumination and a square that changed."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(bands, size, size)) * (0.5 ** np.arange(bands))[:, None, None]
    mixing = np.linalg.qr(rng.normal(size=(bands, bands)))[0]
    scene = np.tensordot(mixing, latent, 1) + rng.normal(size=(bands, 1, 1))
    before = scene + 0.1 * rng.normal(size=scene.shape)
    after = 1.3 * scene - 0.4 + 0.1 * rng.normal(size=scene.shape)
    truth = np.zeros((size, size), bool)
    truth[20:36, 30:46] = True
    after[:, truth] += np.where(np.arange(bands) % 2, 2.5, -2.5)[:, None]
    return before, after, truth


def radar(seed: int = 0, size: int = 96, looks: float = 4.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    base = np.where(np.arange(size) < size // 2, 0.1, 0.4)[None, :] * np.ones((size, 1))
    truth = np.zeros((size, size), bool)
    truth[20:50, 30:60] = True
    second = np.where(truth, 6.0 * base, base)
    noise = rng.gamma(looks, 1.0 / looks, (2, size, size))
    return (base * noise[0])[None], (second * noise[1])[None], truth


@pytest.mark.parametrize("info", list_change_methods(), ids=lambda info: info.name)
def test_every_method_finds_the_square_and_says_so_in_probabilities(info) -> None:
    before, after, truth = radar() if info.intensities else optical()
    if info.name == "pca-kmeans":
        after[:, truth] += 2.0
    result = detect_change(ImagePair.from_arrays(before, after), info.name)
    # The plain MAD and SFA mix the change into the deviations that they measure it by.
    assert (result.changed == truth).mean() > (0.6 if info.name in ("mad", "sfa") else 0.95)
    assert result.valid.all()
    assert result.kind.shape == (len(result.kind_names), *truth.shape)
    assert ((result.probability >= 0) & (result.probability <= 1)).all()
    assert result.probability[truth].mean() > result.probability[~truth].mean() + 0.4
    assert (result.magnitude >= 0).all()
    assert ((result.error >= 0) & (result.error <= 1)).all()
    # A larger magnitude is never less probably a change.
    order = np.argsort(result.magnitude.ravel())
    assert (np.diff(result.probability.ravel()[order]) >= -1e-6).all()


@pytest.mark.parametrize("info", list_change_methods(), ids=lambda info: info.name)
def test_blocks_give_what_the_whole_image_gives(info) -> None:
    before, after, _ = radar(3, 150) if info.intensities else optical(3, 150)
    after[:, 70:80, 100:120] = np.nan
    whole = detect_change(ImagePair.from_arrays(before, after, block=1024), info.name)
    parts = detect_change(ImagePair.from_arrays(before, after, block=64), info.name)
    assert np.array_equal(whole.valid, parts.valid)
    # The variation's blocks see 48 pixels beyond themselves; all other methods are exact up to rounding.
    tolerance = 2e-3 if info.name == "ratio-variation" else 2e-4
    assert parts.threshold.value == pytest.approx(whole.threshold.value, rel=2e-3)
    np.testing.assert_allclose(parts.magnitude, whole.magnitude, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(parts.probability, whole.probability, atol=0.02)
    assert (parts.changed != whole.changed).mean() < 1e-3


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**31 - 1))
def test_irmad_does_not_see_affine_mixtures_of_bands(seed: int) -> None:
    rng = np.random.default_rng(seed)
    before, after, _ = optical(1, 48, 3)
    left, right = rng.normal(size=(2, 3, 3)) + 2.0 * np.eye(3)
    shifts = rng.normal(size=(2, 3, 1, 1)) * 5.0
    method = IterativelyReweightedMad(ridge=0.0, rounds=8)
    plain = detect_change(ImagePair.from_arrays(before, after), method)
    mixed = detect_change(
        ImagePair.from_arrays(
            np.tensordot(left, before, 1) + shifts[0], 0.01 * np.tensordot(right, after, 1) + shifts[1]
        ),
        method,
    )
    np.testing.assert_allclose(mixed.loadings["correlations"], plain.loadings["correlations"], atol=1e-5)
    np.testing.assert_allclose(mixed.magnitude, plain.magnitude, rtol=2e-3, atol=2e-3)


def test_irmad_sum_is_chi_square_where_nothing_changed() -> None:
    rng = np.random.default_rng(5)
    scene = rng.normal(size=(3, 200, 200))
    before, after = (scene + 0.3 * rng.normal(size=scene.shape) for _ in range(2))
    result = detect_change(ImagePair.from_arrays(before, after), "mad")
    assert stats.kstest(result.magnitude.ravel() ** 2, stats.chi2(3).cdf).statistic < 0.01
    # Signal variance 1 and noise 0.09 give canonical correlations of 1 / 1.09.
    np.testing.assert_allclose(result.loadings["correlations"], 1.0 / 1.09, atol=0.02)


def test_irmad_deviations_are_those_of_the_unchanged_pixels() -> None:
    """Iterating takes the changed pixels out of the deviations, which the plain transformation does not."""
    before, after, truth = optical(2, 128)
    known = detect_change(ImagePair.from_arrays(before, after, after_valid=~truth), "mad").magnitude[~truth]
    again = detect_change(ImagePair.from_arrays(before, after), "irmad").magnitude[~truth]
    plain = detect_change(ImagePair.from_arrays(before, after), "mad").magnitude[~truth]
    assert np.abs(again - known).mean() < 0.1 < np.abs(plain - known).mean()
    for method in ("irmad", "isfa"):
        squares = detect_change(ImagePair.from_arrays(before, after), method).magnitude[~truth] ** 2
        assert stats.kstest(squares, stats.chi2(4).cdf).statistic < 0.05


def test_sfa_distance_is_the_mahalanobis_distance_of_the_standardised_difference() -> None:
    before, after, _ = optical(4, 40, 3)
    pair = ImagePair.from_arrays(before, after)
    result = detect_change(pair, SlowFeatureAnalysis(ridge=0.0))
    x, y = (image.reshape(3, -1) for image in (before, after))
    apart = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    apart = apart - (y - y.mean(1, keepdims=True)) / y.std(1, keepdims=True)
    expected = np.sqrt(np.einsum("in,ij,jn->n", apart, np.linalg.inv(np.cov(apart, bias=True)), apart))
    np.testing.assert_allclose(result.magnitude.ravel(), expected, rtol=1e-4)
    assert (np.diff(result.loadings["eigenvalues"]) >= 0).all()


def test_cva_direction_and_length_in_units_of_noise() -> None:
    before = np.zeros((2, 40, 40))
    before += np.random.default_rng(0).normal(0, 1e-3, before.shape)
    after = before.copy()
    after[:, 10:20] += np.array([0.03, -0.04])[:, None, None]
    method = ChangeVectorAnalysis("noise", noise=(0.01, 0.01))
    result = detect_change(ImagePair.from_arrays(before, after, bands=("red", "nir")), method)
    np.testing.assert_allclose(result.magnitude[10:20], 5.0 / np.sqrt(2.0), rtol=1e-5)
    np.testing.assert_allclose(result.kind[0, 10:20], 0.6, atol=1e-5)
    np.testing.assert_allclose(result.kind[1, 10:20], -0.8, atol=1e-5)
    assert result.kind_names == ("cosine red", "cosine nir")
    assert np.array_equal(result.changed.any(axis=1), (np.arange(40) >= 10) & (np.arange(40) < 20))


def test_ratio_kinds_carry_the_sign_in_decibels() -> None:
    before, after, truth = radar(looks=50.0)
    for name in ("log-ratio", "mean-ratio", "likelihood-ratio", "ratio-variation"):
        result = detect_change(ImagePair.from_arrays(before, after), name)
        inner = np.median(result.kind[0][truth])
        assert inner == pytest.approx(10.0 * np.log10(6.0), abs=0.5)


def test_likelihood_ratio_keeps_its_false_alarm_rate() -> None:
    rng = np.random.default_rng(8)
    for looks, level in ((1.0, 0.05), (4.0, 0.01), (20.0, 0.1)):
        before, after = rng.gamma(looks, 1.0 / looks, (2, 1, 300, 300)) * 0.2
        result = detect_change(
            ImagePair.from_arrays(before, after), "likelihood-ratio", looks=looks, window=1, level=level
        )
        # The Box approximation to order 1 / looks^2 is off by some percent of the level at one look.
        spread = 4.0 * np.sqrt(level * (1.0 - level) / result.valid.sum())
        assert result.changed.mean() == pytest.approx(level, abs=spread + 0.08 * level / looks)


def test_ratio_variation_is_quiet_where_nothing_changed() -> None:
    """One false alarm in the image is expected of its noise limit; smoothness leaves few."""
    rng = np.random.default_rng(1)
    before, after = rng.gamma(3.0, 1.0 / 3.0, (2, 1, 200, 200))
    result = detect_change(ImagePair.from_arrays(before, after), "ratio-variation")
    assert result.changed.sum() < 60
    assert result.threshold.value == result.threshold.details["noise_limit"]


def test_ratio_variation_does_not_take_a_calibration_difference_for_change() -> None:
    before, after, _ = radar()
    plain = detect_change(ImagePair.from_arrays(before, after), "ratio-variation")
    scaled = detect_change(ImagePair.from_arrays(before, 3.0 * after), "ratio-variation")
    assert (plain.changed != scaled.changed).mean() < 1e-3


def test_normalisation_returns_the_known_gain_in_spite_of_change() -> None:
    gains, checks = [], []
    for seed in range(12):
        before, after, _ = optical(seed, 128, 4)
        fitted = normalise_radiometry(ImagePair.from_arrays(before, after))
        gains.append(fitted.gain)
        checks.append(fitted.held_out_difference)
        # The noise of both dates after normalisation, 0.13, and not more.
        assert np.abs(fitted.apply(after)[:, 60:] - before[:, 60:]).mean() < 0.2
    assert np.abs(np.array(gains) - 1.0 / 1.3).max() < 0.06
    np.testing.assert_allclose(np.mean(gains, axis=0), 1.0 / 1.3, atol=0.02)
    # Standard normal if the fit is good, a little wider since the fit has an error too.
    assert 0.5 < np.std(checks) < 2.0


@pytest.mark.parametrize("name", ["cva", "irmad", "pca-kmeans"])
def test_memory_depends_on_the_block_not_on_the_scene(name: str) -> None:
    before, after, _ = (part[..., :64, :64] for part in optical(0, 64))
    edge = 1024

    def read(window: Window) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rows = np.arange(window.row, window.row_stop) % 64
        cols = np.arange(window.col, window.col_stop) % 64
        place = np.ix_(range(len(before)), rows, cols)
        return before[place], after[place], np.ones((window.height, window.width), bool)

    pair = ImagePair((edge, edge), ("a", "b", "c", "d"), read, block=128)
    options = {"rounds": 2} if name != "cva" else {}
    tracemalloc.start()
    fitted = build_change_method(name, **options).fit(pair)
    changed = sum(int(fitted.apply(block).changed.sum()) for block in pair.blocks(fitted.margin))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert changed > 0
    # Both dates as float64 would take 64 MiB.
    assert peak < 16 * 2**20


def test_normalisation_does_not_depend_on_blocks() -> None:
    before, after, _ = optical(0, 100)
    one, two = (normalise_radiometry(ImagePair.from_arrays(before, after, block=block)) for block in (1024, 32))
    np.testing.assert_allclose(one.gain, two.gain, rtol=1e-9)
    assert one.pixels == two.pixels


def test_one_setting_is_enough_for_several_polarisations() -> None:
    one = radar(0)
    two = radar(1)
    before, after = (np.concatenate([one[index], two[index]]) for index in (0, 1))
    for name in ("log-ratio", "likelihood-ratio", "ratio-variation"):
        result = detect_change(ImagePair.from_arrays(before, after, bands=("VV", "VH")), name)
        assert (result.changed == one[2]).mean() > 0.95
        assert len(result.kind) == 2


def test_bad_input_gets_a_sentence_each() -> None:
    before, after, _ = optical(size=40)
    with pytest.raises(ContractError, match="different grids, 40 x 40 and 40 x 39 pixels"):
        ImagePair.from_arrays(before, after[:, :, :-1])
    with pytest.raises(ContractError, match="only before: B2; only after: B8"):
        ImagePair.from_arrays(before[:2], after[:2], bands=("B1", "B2"), after_bands=("B1", "B8"))
    with pytest.raises(ContractError, match="another order"):
        ImagePair.from_arrays(before[:2], after[:2], bands=("B1", "B2"), after_bands=("B2", "B1"))
    with pytest.raises(ContractError, match="mask of 40 x 39"):
        ImagePair.from_arrays(before, after, after_valid=np.ones((40, 39), bool))
    cloudy = ImagePair.from_arrays(before, after, after_valid=np.zeros((40, 40), bool))
    flat = before.copy()
    flat[1] = 0.3
    for name in ("cva", "irmad", "isfa", "pca-kmeans"):
        with pytest.raises(SceneError, match="No pixel is valid at both dates"):
            detect_change(cloudy, name)
        with pytest.raises(SceneError, match="Band band 2 of the first date has the value"):
            detect_change(ImagePair.from_arrays(flat, after), name)
    with pytest.raises(SceneError, match="convert decibels"):
        detect_change(ImagePair.from_arrays(before[0], after[0]), "log-ratio")
    dark, bright, _ = radar(size=40)
    dark[0, 3, 4] = 0.0
    for name in ("mean-ratio", "ratio-variation", "likelihood-ratio"):
        with pytest.raises(SceneError, match="state a noise floor"):
            detect_change(ImagePair.from_arrays(dark, bright), name)
    with pytest.raises(SceneError, match="same in all pixels"):
        detect_change(ImagePair.from_arrays(before, before), "cva")


def test_unknown_names_and_options_get_a_sentence() -> None:
    with pytest.raises(ConfigurationError, match="did you mean irmad"):
        change_method_info("irmd")
    with pytest.raises(ConfigurationError, match="no option 'looks'"):
        build_change_method("cva", looks=3)
    before, after, _ = optical(size=40)
    pair = ImagePair.from_arrays(before, after)
    for name, options in (
        ("cva", {"threshold": "none such"}),
        ("cva", {"normalise": "noise"}),
        ("irmad", {"rounds": 0}),
        ("sfa", {"tolerance": 0.0}),
        ("pca-kmeans", {"size": 4}),
        ("log-ratio", {"window": 2}),
        ("log-ratio", {"floor": -1.0}),
        ("likelihood-ratio", {"level": 2.0}),
        ("ratio-variation", {"coupling": 0.0}),
    ):
        with pytest.raises(ConfigurationError):
            detect_change(pair, name, **options)


@pytest.mark.parametrize("calibration", [1.0, 1.6])
def test_the_looks_of_the_likelihood_ratio_come_from_the_ratio_whatever_the_scene(calibration: float) -> None:
    """Edges and texture everywhere, a tenth changed, dates of different calibration: looks and changes are found."""
    rng = np.random.default_rng(11)
    scene = np.exp(rng.normal(0.0, 1.5, (120, 120)).repeat(2, 0).repeat(2, 1))
    before, after = (scene * rng.gamma(6.0, 1.0 / 6.0, scene.shape) for _ in range(2))
    after[:80, :72] *= 40.0
    result = detect_change(ImagePair.from_arrays(before, after * calibration), "likelihood-ratio", window=1, level=0.01)
    assert 4.5 < result.loadings["looks"][0] < 6.5
    assert result.changed[:80, :72].mean() > 0.95
    assert result.changed[100:].mean() < 0.03


def test_looks_that_cannot_be_estimated_are_refused_with_a_sentence() -> None:
    image = np.random.default_rng(0).gamma(4.0, 1.0, (40, 40))
    other = image.copy()
    other[:10] *= 3.0
    with pytest.raises(
        SceneError, match="more than half of the pixels have one ratio between the dates; state the looks"
    ):
        detect_change(ImagePair.from_arrays(image, other), "likelihood-ratio", window=1)
