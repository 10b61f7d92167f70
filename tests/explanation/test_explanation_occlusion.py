"""Occlusion: exact on scores whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from explanation_models import INPUTS
from hypothesis import given
from hypothesis import strategies as st

from ecumene.core.errors import ConfigurationError
from ecumene.core.window import Window
from ecumene.explanation.occlusion import (
    Occluder,
    input_groups,
    occlusion_effects,
    place_effects,
    sensor_pairs,
    shares,
)
from ecumene.explanation.scores import Scores
from ecumene.explanation.windows import context_window, tiles_of

WEIGHTS = np.array([2.0, -1.0, 0.5, 0.0], np.float32)


def linear(image, dates=None):
    """One score: a weighted sum of the bands (and the mean over the dates that are there)."""
    values = np.tensordot(image, WEIGHTS, axes=([-3], [0]))
    if dates is not None:
        there = np.isfinite(values)
        values = np.where(there, values, 0).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    return values[:, None].astype(np.float32)


def test_hiding_a_band_of_a_linear_score_costs_weight_times_distance_from_the_mean(image):
    groups = input_groups(INPUTS, ["only"])
    assert [group.name for group in groups] == [
        "sentinel-2", "sentinel-1", "sentinel-2/B02", "sentinel-2/B08", "sentinel-1/VV", "sentinel-1/VH",
    ]  # fmt: skip
    occluder = Occluder.of(INPUTS)
    effects = occlusion_effects(linear, image, None, groups, occluder)
    expected = WEIGHTS[:, None, None] * (image[0] - occluder.mean[:, None, None])
    np.testing.assert_allclose(effects[2:, 0], expected, atol=1e-5)
    np.testing.assert_allclose(effects[0, 0], expected[:2].sum(axis=0), atol=1e-5)
    zero = occlusion_effects(linear, image, None, groups[2:], Occluder.of(INPUTS, "zero"))
    np.testing.assert_allclose(zero[:, 0], WEIGHTS[:, None, None] * image[0], atol=1e-5)


def test_noise_is_repeatable_and_centred_on_the_mean(image):
    groups = input_groups(INPUTS, ["only"])[2:]
    first, again = (occlusion_effects(linear, image, None, groups, Occluder.of(INPUTS, "noise")) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    mean = occlusion_effects(linear, image, None, groups, Occluder.of(INPUTS))
    assert np.abs((first - mean).mean(axis=(1, 2, 3))).max() < 0.01
    assert np.abs(first - mean).max() > 0.01


def interactions(score, image, occluder):
    groups = list(input_groups(INPUTS, ["only"]))
    pairs = sensor_pairs(groups)
    assert len(pairs) == 1
    falls = occlusion_effects(score, image, None, [*groups, pairs[0][2]], occluder)
    a, b, _ = pairs[0]
    return falls[-1] - falls[a] - falls[b]


def test_sensors_that_add_up_do_not_interact_and_a_product_does(image):
    occluder = Occluder.of(INPUTS)
    np.testing.assert_allclose(interactions(linear, image, occluder), 0, atol=1e-5)
    product = interactions(lambda x, _: x[:, :1] * x[:, 2:3], image, occluder)
    distance = image[0] - occluder.mean[:, None, None]
    np.testing.assert_allclose(product[0], -distance[0] * distance[2], atol=1e-5)


def test_a_hidden_date_is_a_missing_one(image):
    later = image + 0.2
    series = np.concatenate([image, later, np.full_like(image, np.nan)])
    groups = [g for g in input_groups(INPUTS, ["a", "b", "c"]) if g.kind == "date"]
    effects = occlusion_effects(linear, series, np.zeros(3, np.float32), groups, Occluder.of(INPUTS))
    whole = linear(np.stack([image[0], later[0]])[None], np.zeros(2))[0]
    np.testing.assert_allclose(effects[0], whole - linear(later)[0], atol=1e-5, err_msg="first")
    np.testing.assert_allclose(effects[2], 0, atol=1e-6)
    alone = np.concatenate([image, np.full_like(image, np.nan)])
    only = occlusion_effects(linear, alone, np.zeros(2, np.float32), groups_of(2), Occluder.of(INPUTS))
    assert np.isnan(only[0]).all(), "nothing is left to decide from"
    assert np.isfinite(only[1]).all()


def groups_of(count):
    return [g for g in input_groups(INPUTS, [str(k) for k in range(count)]) if g.kind == "date"]


def test_nodata_stays_nodata(image):
    image[0, 1, 3, 4] = np.nan
    hidden = Occluder.of(INPUTS).hide(image, np.ones((1, 4), bool))
    assert np.isnan(hidden[0, 1, 3, 4])
    assert np.isfinite(hidden).sum() == image.size - 1


def test_only_the_patch_that_decides_matters(image):
    def far(x, _):
        return np.broadcast_to(x[:, :1, 5:6, 9:10], (len(x), 1, *x.shape[-2:])).copy()

    falls = place_effects(far, image, None, (20, 20), 0, Occluder.of(INPUTS), patch=4)
    expected = np.zeros((24, 32), bool)
    expected[4:8, 8:12] = True
    np.testing.assert_array_equal(falls != 0, expected)
    radar = np.array([[False, False, True, True]])
    assert not place_effects(far, image, None, (20, 20), 0, Occluder.of(INPUTS), patch=4, inputs=radar).any()


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=8))
def test_shares_add_up(values):
    found = shares(np.array(values))
    assert (found >= 0).all()
    assert found.sum() == pytest.approx(1.0) or not any(values)


def test_one_sensor_is_no_modality():
    assert {group.kind for group in input_groups(INPUTS[:2], ["only"])} == {"band"}


def test_scores_are_what_is_mapped(unet, forest, regressor, image):
    for model in (unet, forest):
        found = Scores(model)(image)
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
        assert Scores(model).unit == "probability"
    scores = Scores(regressor)
    assert scores.names == ("height",)
    assert scores.unit == "m"
    with pytest.raises(ConfigurationError, match=r"no class 'roof'; it has: water, forest, built\."):
        Scores(unet).index("roof")
    with pytest.raises(ConfigurationError, match="baseline is one of mean, zero, noise"):
        Occluder.of(INPUTS, "median")


@given(
    st.integers(-50, 200), st.integers(-50, 200), st.integers(1, 70), st.sampled_from([1, 8, 32]), st.integers(0, 40)
)
def test_context_windows_lie_on_the_stride_and_hold_the_margin(row, col, side, stride, margin):
    window = context_window(Window(row, col, side, side), stride, margin)
    assert all(value % stride == 0 for value in (window.row, window.col, window.height, window.width))
    assert window.row <= row - margin < window.row + stride
    assert window.row_stop - stride < row + side + margin <= window.row_stop


def test_tiles_cover_once():
    count = np.zeros((30, 40), int)
    for tile in tiles_of(Window(0, 0, 30, 40), 16):
        count[tile.slices] += 1
    assert (count == 1).all()


def test_a_window_network_says_the_same_in_its_context(unet):
    """The explained probability is that of the map: what lies beyond the margin hardly matters."""
    generator = np.random.default_rng(3)
    scene = (0.2 + 0.1 * generator.random((1, 4, 96, 96))).astype(np.float32)
    whole = Scores(unet)(scene)[0, :, 40, 48]
    window = context_window(Window(40, 48, 1, 1), unet.spec.stride, unet.spec.margin)
    cut = scene[..., window.row : window.row_stop, window.col : window.col_stop]
    np.testing.assert_allclose(Scores(unet)(cut)[0, :, 40 - window.row, 48 - window.col], whole, atol=0.01)
