"""The neuron that finds a class is found, and chance is not taken for one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.explanation.neurons import area_under_curve, layer_activations, layer_names, rank_neurons


@given(st.integers(0, 10_000))
def test_areas_under_the_curve_are_those_of_scikit_learn(seed):
    generator = np.random.default_rng(seed)
    wanted = np.r_[True, False, generator.random(40) < 0.3]
    values = generator.integers(0, 6, (3, 42)).astype(float)
    expected = [roc_auc_score(wanted, row) for row in values]
    np.testing.assert_allclose(area_under_curve(values, wanted), expected)


def make(seed=0, channels=300):
    generator = np.random.default_rng(seed)
    wanted = generator.random(2000) < 0.2
    values = generator.standard_normal((channels, 2000))
    return values, wanted, np.arange(2000) % 2 == 1


def test_the_neuron_that_finds_the_class_comes_first_also_when_it_is_silent_there():
    values, wanted, halves = make()
    values[17] += 4 * wanted
    values[42] -= 3 * wanted
    first, second, *_ = rank_neurons({"noise": values[:100], "deep": values[10:200]}, wanted, halves)
    assert (first.channel, first.sign) == (17 if first.layer == "noise" else 7, 1)
    found = rank_neurons({"all": values}, wanted, halves, count=3)
    assert [(n.channel, n.sign) for n in found[:2]] == [(17, 1), (42, -1)]
    assert found[0].auroc > 0.99
    assert found[0].iou > 0.85
    assert second.auroc > 0.9


def test_the_best_of_many_random_channels_measures_as_chance():
    values, wanted, halves = make(1, channels=2000)
    found = rank_neurons({"noise": values}, wanted, halves, count=20)
    assert np.mean([neuron.auroc for neuron in found]) == pytest.approx(0.5, abs=0.02)


def test_too_few_pixels_are_refused():
    values, wanted, halves = make()
    with pytest.raises(LabelError, match="at least 20 pixels of the class and of the rest"):
        rank_neurons({"a": values}, wanted & (np.arange(2000) < 100), halves)


def test_activations_lie_on_the_grid(unet, series, forest, image):
    found = layer_activations(unet, image, None)
    assert set(found) <= set(layer_names(unet))
    assert not any(name.startswith("head") or "projection" in name for name in found)
    assert {values.shape[1:] for values in found.values()} == {(24, 32)}
    assert {"down.0", "up.2"} <= set(found)
    one = layer_activations(unet, image, None, ["down.0"])["down.0"]
    np.testing.assert_array_equal(one, found["down.0"])
    with pytest.raises(ConfigurationError, match=r"no layer 'up\.9'"):
        layer_activations(unet, image, None, ["up.9"])
    with pytest.raises(ConfigurationError, match="no maps whose channels could be viewed"):
        layer_activations(series, np.concatenate([image, image]), np.array([0, 9], np.float32), ["mlp"])
    with pytest.raises(ConfigurationError, match="made of trees"):
        layer_activations(forest, image, None)
