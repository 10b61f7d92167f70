"""Parts of a data set of images: shares, balance, places that stay together, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.samples.contract import Part
from ecumene.samples.scene_split import HELD_BACK, draw_groups, split_scenes

LABEL = np.repeat(np.arange(5), 200)
ALONE = np.arange(1000, dtype=np.int32)


def share(parts, *wanted):
    return np.isin(parts, wanted).mean()


@pytest.mark.parametrize("train_share", [0.1, 0.5, 0.8, 0.9])
def test_a_random_split_has_its_share_of_every_class(train_share):
    parts = split_scenes(LABEL, ALONE, "random", train_share=train_share, seed=3)
    for label in range(5):
        assert share(parts[label == LABEL], Part.TEST) == pytest.approx(1 - train_share, abs=0.01)
    learning = share(parts, Part.TRAIN, Part.VALIDATION, Part.CALIBRATION)
    assert share(parts, Part.VALIDATION) == pytest.approx(HELD_BACK * learning, rel=0.2)
    assert share(parts, Part.CALIBRATION) == pytest.approx(HELD_BACK * learning, rel=0.3)


def test_the_same_seed_gives_the_same_parts_and_another_others():
    first, again, other = (split_scenes(LABEL, ALONE, "random", seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@given(st.lists(st.integers(5, 30), min_size=16, max_size=60), st.integers(0, 9), st.sampled_from([0.5, 0.7, 0.8]))
def test_places_stay_together_in_a_spatial_split(sizes, seed, train_share):
    group = np.repeat(np.arange(len(sizes)), sizes).astype(np.int32)
    label = np.random.default_rng(seed).integers(0, 3, len(group))
    parts = split_scenes(label, group, "spatial", train_share=train_share, seed=seed)
    for place in range(len(sizes)):
        assert len(set(parts[group == place])) == 1
    # Error diffusion keeps the share within about one place.
    assert abs(share(parts, Part.TEST) - (1 - train_share)) <= 1.5 * max(sizes) / len(group)


def test_validation_and_calibration_come_from_the_training_share_by_places():
    group = np.repeat(np.arange(100), 10).astype(np.int32)
    official = np.where(np.arange(1000) < 700, Part.TRAIN, Part.TEST).astype(np.int8)
    parts = split_scenes(LABEL, group, "official", official={"a": official})
    assert (parts[700:] == Part.TEST).all()
    assert {Part.TRAIN, Part.VALIDATION, Part.CALIBRATION} == set(parts[:700])
    for place in range(100):
        assert len(set(parts[group == place])) == 1


def test_an_official_split_keeps_its_own_validation_part():
    official = np.tile([Part.TRAIN, Part.TRAIN, Part.TRAIN, Part.VALIDATION, Part.TEST], 200).astype(np.int8)
    parts = split_scenes(LABEL, ALONE, "official", official={"a": official})
    np.testing.assert_array_equal(parts == Part.VALIDATION, official == Part.VALIDATION)
    hidden = np.tile([Part.TRAIN, Part.VALIDATION], 500).astype(np.int8)  # the test labels are kept by the publisher
    parts = split_scenes(LABEL, ALONE, "official", official={"a": hidden})
    np.testing.assert_array_equal(parts == Part.TEST, hidden == Part.VALIDATION)


def test_images_without_an_answer_are_in_no_part():
    label = np.where(np.arange(1000) % 7 == 0, -1, LABEL)
    parts = split_scenes(label, ALONE, "random")
    np.testing.assert_array_equal(parts == Part.NONE, label == -1)
    numbers = np.where(label < 0, np.nan, label).astype(np.float32)
    np.testing.assert_array_equal(split_scenes(numbers, ALONE, "random") == Part.NONE, label == -1)


def test_several_labels_are_balanced_by_the_rarest():
    generator = np.random.default_rng(0)
    label = (generator.random((1000, 4)) < [0.9, 0.5, 0.2, 0.03]).astype(np.int64)
    parts = split_scenes(label, ALONE, "random", train_share=0.5)
    rare = label[:, 3] == 1
    assert share(parts[rare], Part.TEST) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("kind", "options", "error", "sentence"),
    [
        ("official", {}, ConfigurationError, "no official split"),
        ("official", {"official": {"a": np.ones(1000, np.int8)}, "name": "b"}, ConfigurationError, "there are: a"),
        ("official", {"official": {"a": np.ones(1000, np.int8)}}, LabelError, "left for test"),
        ("random", {"train_share": 1.0}, ConfigurationError, "between 0 and 1"),
    ],
)
def test_splits_that_cannot_be_are_a_sentence(kind, options, error, sentence):
    with pytest.raises(error, match=sentence):
        split_scenes(LABEL, ALONE, kind, **options)


def test_a_spatial_split_needs_places():
    with pytest.raises(LabelError, match="three places"):
        split_scenes(LABEL, np.zeros(1000, np.int32), "spatial")


@given(st.integers(2, 40), st.floats(0.01, 0.99), st.integers(0, 5))
def test_a_draw_takes_something_and_leaves_something(count, wanted, seed):
    strata = np.zeros(count, np.int64)
    drawn = draw_groups(strata, np.arange(count), wanted, np.ones(count, bool), np.random.default_rng(seed))
    assert 0 < drawn.sum() < count
