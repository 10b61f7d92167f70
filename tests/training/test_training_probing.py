"""Frozen features: neighbours and probes as theory and scikit-learn have them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.training.probing import Standard, draw_shots, linear_probe, nearest_mean, nearest_neighbours


def _clouds(n=90, classes=3, features=5, seed=0, apart=1.5):
    generator = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    centres = apart * generator.standard_normal((classes, features))
    return centres[labels] + generator.standard_normal((n, features)), labels


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12), st.sampled_from(["euclidean", "cosine"]))
def test_neighbours_are_those_of_scikit_learn(seed, k, metric):
    from sklearn.neighbors import KNeighborsClassifier

    train, labels = _clouds(seed=seed)
    queries, _ = _clouds(40, seed=seed + 1)
    standard = Standard.fit(train)
    other = KNeighborsClassifier(k, metric=metric, algorithm="brute").fit(standard(train), labels)
    ours = nearest_neighbours((train, labels), queries, 3, k=k, metric=metric)
    assert np.allclose(ours, other.predict_proba(standard(queries)))
    assert np.allclose(ours.sum(axis=1), 1.0)


def test_blocks_of_queries_change_nothing(monkeypatch):
    train, labels = _clouds(300)
    queries, _ = _clouds(200, seed=4)
    whole = nearest_neighbours((train, labels), queries, 3)
    rows = np.concatenate([nearest_neighbours((train, labels), queries[i : i + 7], 3) for i in range(0, 200, 7)])
    assert np.allclose(whole, rows)


def test_one_neighbour_of_a_training_sample_is_itself():
    train, labels = _clouds()
    assert np.array_equal(nearest_neighbours((train, labels), train, 3, k=1).argmax(axis=1), labels)


def test_a_probe_comes_near_the_bayes_rule():
    """Two Gaussians of equal covariance, d apart: the best error is Phi(-d / 2), and a linear rule attains it."""
    from scipy.stats import norm

    generator = np.random.default_rng(1)
    labels = np.arange(6000) % 2
    features = generator.standard_normal((6000, 4))
    features[:, 0] += 2.0 * labels
    p = linear_probe((features[:3000], labels[:3000]), features[3000:], 2)
    error = (p.argmax(axis=1) != labels[3000:]).mean()
    best = norm.cdf(-1.0)
    assert abs(error - best) < 3 * np.sqrt(best * (1 - best) / 3000) + 0.005
    prototypes = nearest_mean((features[:3000], labels[:3000]), features[3000:], 2).argmax(axis=1)
    assert (prototypes != labels[3000:]).mean() < error + 0.01


def test_a_probe_does_not_depend_on_the_scale_of_features():
    train, labels = _clouds()
    queries, _ = _clouds(30, seed=2)
    scale, shift = np.array([1e-3, 1.0, 50.0, 1e4, 1e-6]), np.array([5.0, 0, -3, 1e5, 0])
    plain = linear_probe((train, labels), queries, 3)
    moved = linear_probe((train * scale + shift, labels), queries * scale + shift, 3)
    assert np.allclose(plain, moved, atol=1e-4)


def test_the_validation_part_chooses_the_penalty():
    generator = np.random.default_rng(0)
    labels = np.arange(40) % 2
    features = generator.standard_normal((40, 60))
    features[:, 0] += 1.5 * labels
    far, truth = generator.standard_normal((600, 60)), np.arange(600) % 2
    far[:, 0] += 1.5 * truth
    chosen = linear_probe((features, labels), far[300:], 2, validation=(far[:300], truth[:300]))
    loose = linear_probe((features, labels), far[300:], 2, strength=100.0)
    hits = [(p.argmax(axis=1) == truth[300:]).mean() for p in (chosen, loose)]
    assert hits[0] >= hits[1]


def test_classes_without_a_sample_are_never_chosen():
    train, labels = _clouds()
    labels = np.where(labels == 1, 3, labels)
    for p in (
        linear_probe((train, labels), train, 5),
        nearest_neighbours((train, labels), train, 5),
        nearest_mean((train, labels), train, 5),
    ):
        assert p.shape == (90, 5)
        assert (p[:, [1, 4]] == 0).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 10))
def test_shots_are_so_many_of_each_class_and_nested(seed, shots):
    labels = np.random.default_rng(seed).integers(-1, 4, 200)
    drawn = draw_shots(labels, shots, seed)
    assert np.array_equal(np.bincount(labels[drawn], minlength=4), np.full(4, shots))
    assert len(set(drawn)) == len(drawn)
    assert set(drawn) <= set(draw_shots(labels, shots + 1, seed))
    assert np.array_equal(drawn, draw_shots(labels, shots, seed))


def test_what_cannot_be_probed_is_said():
    train, labels = _clouds(6)
    with pytest.raises(LabelError, match="class 'b' has 2 training samples, fewer than the 5"):
        draw_shots(labels[1:3].repeat(2) - 1 + np.array([0, 0, 0, 0]), 5, 0, ("b", "c"))
    with pytest.raises(ConfigurationError, match="1 or more"):
        draw_shots(labels, 0, 0)
    with pytest.raises(LabelError, match="two classes"):
        linear_probe((train, np.zeros(6, int)), train, 3)
    with pytest.raises(LabelError, match="finite"):
        nearest_neighbours((np.full((3, 2), np.nan), np.arange(3)), train[:, :2], 3)
    with pytest.raises(ConfigurationError, match="euclidean or cosine"):
        nearest_neighbours((train, labels), train, 3, metric="manhattan")
