"""Crosswalks between legends: complete, consistent, and refused where they would guess."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.legends import Legend
from ecumene.legends.crosswalk import Crosswalk, get_crosswalk, list_crosswalks, read_crosswalk
from ecumene.legends.library import get_legend, list_legends

WORLD = {"eurosat", "lcz", "igbp", "igbp_simplified", "corine_level3", "urban_atlas", "dynamic_world"}


@pytest.mark.parametrize("pair", list_crosswalks())
def test_every_file_is_whole(pair):
    walk = get_crosswalk(*pair)
    assert walk.source.names == get_legend(pair[0]).names
    sums = walk.shares.sum(axis=1)
    assert np.all((np.abs(sums - 1) < 1e-9) | (sums == 0))
    assert len(walk.origin) > 20


def test_every_global_legend_leads_to_worldcover():
    for name in WORLD:
        walk = get_crosswalk(name, "worldcover")
        assert walk.target.name == "worldcover"
        assert not walk.without


def test_known_correspondences():
    assert get_crosswalk("eurosat", "worldcover").codes(np.array([0, 1, 7, 8, 255])).tolist() == [40, 10, 50, 80, 255]
    # SEN12MS sums IGBP classes 12 and 14 to croplands (6), 13 to urban (7).
    codes = get_crosswalk("igbp", "igbp_simplified").codes(np.arange(18, dtype=np.uint8))
    assert codes.tolist() == [255, 1, 1, 1, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 6, 8, 9, 10]
    # CORINE levels are digits of one code: 312 coniferous forest -> 31 -> 3.
    assert get_crosswalk("corine_level3", "corine_level1").codes(np.array([24])).tolist() == [3]


def test_chains_are_products_of_their_parts():
    chained = get_crosswalk("igbp", "worldcover")
    first, then = get_crosswalk("igbp", "igbp_simplified"), get_crosswalk("igbp_simplified", "worldcover")
    assert np.allclose(chained.shares, first.shares @ then.shares)
    assert first.origin in chained.origin


def test_a_legend_leads_to_itself():
    for name in list_legends():
        walk = get_crosswalk(name, name)
        values = np.array(walk.source.values, np.uint8)
        assert np.array_equal(walk.codes(values), values)


@given(st.integers(0, 2**31), st.sampled_from(list(list_crosswalks())))
def test_probabilities_stay_probabilities(seed, pair):
    walk = get_crosswalk(*pair)
    p = np.random.default_rng(seed).dirichlet(np.full(len(walk.source), 0.3), 5).T
    target, lost = walk.probabilities(p)
    kept = lost < 1 - 1e-5
    assert np.all(target >= 0)
    assert np.allclose(target.sum(axis=0)[kept], 1.0, atol=1e-5)
    assert np.all((lost >= 0) & (lost <= 1))
    # Merging classes adds no entropy, where each goes to one class.
    if not walk.split and not walk.without:
        fine = -np.sum(np.where(p > 0, p * np.log(np.maximum(p, 1e-30)), 0), axis=0)
        coarse = -np.sum(np.where(target > 0, target * np.log(np.maximum(target, 1e-30)), 0), axis=0)
        assert np.all(coarse <= fine + 1e-5)


@given(st.integers(0, 9), st.integers(0, 2**10 - 1))
def test_sets_keep_the_truth(truth, bits):
    walk = get_crosswalk("eurosat", "worldcover")
    given_set = np.array([bits | (1 << truth)], np.uint32)
    target = int(walk.targets()[truth])
    assert (int(walk.sets(given_set)[0]) >> target) & 1 == 1
    assert np.bitwise_count(walk.sets(given_set))[0] <= np.bitwise_count(given_set)[0]


def test_a_split_class_is_refused_for_codes_and_shared_for_probabilities():
    walk = get_crosswalk("lcz", "worldcover")
    with pytest.raises(LabelError, match=r"'sparsely built' of lcz is more than one class of worldcover: .*20%"):
        walk.codes(np.array([1]))
    p = np.zeros((17, 1))
    p[8] = 1.0
    target, lost = walk.probabilities(p)
    assert target[walk.target.index_of("Built-up"), 0] == pytest.approx(0.2)
    assert lost[0] == pytest.approx(0.0, abs=1e-6)


def test_a_class_without_counterpart_becomes_no_data():
    walk = get_crosswalk("worldcover", "dynamic_world")
    assert walk.without == ("Moss and lichen",)
    assert walk.codes(np.array([100, 10])).tolist() == [255, 1]
    p = np.zeros((11, 1))
    p[10], p[0] = 0.25, 0.75
    target, lost = walk.probabilities(p)
    assert lost[0] == pytest.approx(0.25)
    assert target[walk.target.index_of("Trees"), 0] == pytest.approx(1.0)


def test_the_classes_of_a_map_may_be_some_of_the_legend_in_another_order():
    own = Legend.from_names(["SeaLake", "Forest"])
    walk = get_crosswalk("eurosat", "worldcover").of(own)
    assert walk.codes(np.array([1, 2])).tolist() == [80, 10]
    with pytest.raises(LabelError, match="has no class 'Moon'"):
        get_crosswalk("eurosat", "worldcover").of(Legend.from_names(["Forest", "Moon"]))


def test_no_way_is_a_sentence():
    with pytest.raises(ConfigurationError, match=r"no crosswalk from worldcover to lcz; .*dynamic_world"):
        get_crosswalk("worldcover", "lcz")
    with pytest.raises(ConfigurationError, match="no legend 'moon'"):
        get_crosswalk("moon", "lcz")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("target_legend: worldcover\nclasses: {town: Moon}", "'Moon', which is not in worldcover"),
        ("target_legend: moon\nclasses: {town: Built-up}", "no legend 'moon'"),
        ("target_legend: worldcover\nclasses: {town: {Built-up: 0.5}}", "sum to 0.5, not to 1"),
        ("target_legend: worldcover\nclasses: {town: {Built-up: 1.5, Grassland: -0.5}}", "0 or more"),
        ("target_legend: worldcover\nclasses: {town: [Built-up]}", "needs a class, shares of classes, or null"),
        ("source_legend: eurosat\ntarget_legend: worldcover\nclasses: {Forest: Tree cover}", "no target for the class"),
        ("classes: {town: Built-up}", "needs target_legend and classes"),
        ("target_legend: [", "no YAML"),
        ("target_legend: worldcover\nclases: {}\nclasses: {town: Built-up}", "unknown entry 'clases'"),
    ],
)
def test_bad_files_are_refused_in_a_sentence(tmp_path, text, words):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises((LabelError, ConfigurationError), match=words):
        read_crosswalk(path)


def test_a_crosswalk_of_ones_own(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "target_legend: worldcover\nsource: me\nclasses:\n  town: Built-up\n  lake: Permanent water bodies\n"
    )
    walk = read_crosswalk(path)
    assert walk.source.names == ("town", "lake")
    assert walk.codes(np.array([1, 2])).tolist() == [50, 80]
    with pytest.raises(LabelError, match="cannot be read"):
        read_crosswalk(tmp_path / "absent.yaml")


def test_shares_must_fit_the_legends():
    two, three = Legend.from_names(["a", "b"]), Legend.from_names(["x", "y", "z"])
    with pytest.raises(LabelError, match="2 to 3 classes"):
        Crosswalk(two, three, np.eye(2))
    with pytest.raises(LabelError, match="class 'b' must be 0 or more and sum to 1"):
        Crosswalk(two, three, np.array([[1.0, 0, 0], [0.9, 0.9, 0]]))
