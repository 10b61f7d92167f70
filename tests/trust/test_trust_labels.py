"""Calibration of labels that an image may have at the same time: theory, rare labels, members, bad input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.trust.label_measures import label_calibration
from ecumene.trust.label_scaling import choose_label_scaling
from ecumene.trust.scaling import IDENTITY, Temperature, VectorScaling, scaling_from_config


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def images(number, slope, offset, seed=0, places=100):
    """Return (logits, labels, places) whose labels are drawn with the probability of slope * logit + offset."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (number, len(slope)))
    labels = (rng.random(logits.shape) < sigmoid(logits * slope + offset)).astype(np.int64)
    return logits, labels, rng.integers(0, places, number)


def test_honest_logits_stay_as_they_are():
    logits, labels, places = images(3000, [1.0, 1.0, 1.0], [0.0, 0.0, 0.0])
    choice = choose_label_scaling(logits, labels, places)
    assert choice.scaling is IDENTITY
    assert "model's own" in choice.note


def test_one_temperature_for_labels_that_are_all_too_sure():
    logits, labels, places = images(3000, [0.4, 0.4, 0.4], [0.0, 0.0, 0.0])
    choice = choose_label_scaling(logits, labels, places)
    assert isinstance(choice.scaling, Temperature)
    assert choice.scaling.temperature == pytest.approx(2.5, rel=0.1)


def test_each_label_gets_the_factor_and_offset_that_it_was_made_with():
    slope, offset = [0.4, 1.0, 2.0], [1.0, 0.0, -1.5]
    logits, labels, places = images(6000, slope, offset)
    choice = choose_label_scaling(logits, labels, places)
    assert isinstance(choice.scaling, VectorScaling)
    np.testing.assert_allclose(choice.scaling.weight, slope, rtol=0.15, atol=0.05)
    np.testing.assert_allclose(choice.scaling.bias, offset, atol=0.2)
    assert scaling_from_config(choice.scaling.to_config()) == choice.scaling
    fresh, truth, _ = images(6000, slope, offset, seed=1)
    before = label_calibration(sigmoid(fresh), truth)
    after = label_calibration(sigmoid(choice.scaling.apply(fresh)), truth)
    assert after["expected_calibration_error"] < 0.25 * before["expected_calibration_error"]
    assert after["brier_score"] < before["brier_score"]


def test_a_label_that_is_too_rare_keeps_its_logit_and_is_named():
    logits, labels, places = images(4000, [0.4, 2.0, 1.0], [1.0, -1.0, -12.0])
    logits[:, 2] -= 12.0
    assert labels[:, 2].sum() < 5
    choice = choose_label_scaling(logits, labels, places)
    assert choice.missing == (2,)
    assert isinstance(choice.scaling, VectorScaling)
    assert (choice.scaling.weight[2], choice.scaling.bias[2]) == (1.0, 0.0)


def test_unknown_labels_do_not_count():
    logits, labels, places = images(3000, [0.4, 2.0], [1.0, -1.0])
    hidden = np.random.default_rng(5).random(labels.shape) < 0.3
    masked = np.where(hidden, -1, labels)
    other = logits.copy()
    other[hidden] = 1e3
    first, second = choose_label_scaling(logits, masked, places), choose_label_scaling(other, masked, places)
    assert first.scaling.to_config() == second.scaling.to_config()
    found = label_calibration(sigmoid(logits), masked)
    assert found["per_label"]["images"] == (~hidden).sum(axis=0).tolist()


def test_members_are_scaled_for_their_pooled_probability():
    logits, labels, places = images(3000, [0.4, 0.4], [0.0, 0.0])
    twice = np.concatenate([logits, logits], axis=1)
    one, two = choose_label_scaling(logits, labels, places), choose_label_scaling(twice, labels, places, members=2)
    assert two.scaling.to_config()["temperature"] == pytest.approx(one.scaling.to_config()["temperature"], rel=1e-4)


def test_few_places_choose_nothing():
    logits, labels, _ = images(200, [0.2, 0.2], [0.0, 0.0])
    choice = choose_label_scaling(logits, labels, np.arange(200) % 3)
    assert choice.scaling is IDENTITY
    assert "3 blocks" in choice.note


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 40))
def test_errors_of_labels_are_bounded_and_right_forecasts_have_none(seed, bins):
    rng = np.random.default_rng(seed)
    truth = rng.integers(-1, 2, (30, 3))
    found = label_calibration(rng.random((30, 3)), truth, bins)
    for error in found["per_label"]["expected_calibration_error"]:
        assert error is None or 0.0 <= error <= 1.0
    perfect = label_calibration((truth == 1).astype(float), truth, bins)
    assert perfect["expected_calibration_error"] == 0.0
    assert perfect["brier_score"] == 0.0


@pytest.mark.parametrize(
    ("logits", "target", "error", "sentence"),
    [
        (np.zeros((4, 3)), np.zeros((4, 2), int), ConfigurationError, r"\[N, M K\]"),
        (np.full((4, 2), np.nan), np.zeros((4, 2), int), ConfigurationError, "not finite"),
        (np.zeros((4, 2)), np.full((4, 2), 2), LabelError, "0, 1, or -1"),
        (np.zeros((4, 2)), np.full((4, 2), -1), LabelError, "No image has a known label"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(logits, target, error, sentence):
    with pytest.raises(error, match=sentence):
        choose_label_scaling(logits, target)
