"""Where to label next: what each strategy promises."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecumene.core.errors import ConfigurationError
from ecumene.trust.acquisition import (
    STRATEGIES,
    Candidates,
    choose_places,
    combined_choice,
    entropy_doubt,
    k_centre,
    margin_doubt,
    mutual_information,
)


def simplex(generator, *shape):
    return generator.dirichlet(np.ones(shape[-1]), shape[:-1])


@given(st.integers(0, 10_000), st.integers(2, 6))
def test_doubts_are_between_0_and_1_and_largest_for_equal_probabilities(seed, classes):
    p = simplex(np.random.default_rng(seed), 20, classes)
    for doubt in (margin_doubt, entropy_doubt):
        found = doubt(p)
        assert (found >= 0).all()
        assert (found <= 1 + 1e-9).all()
        assert doubt(np.full((1, classes), 1 / classes))[0] == pytest.approx(1)
        assert doubt(np.eye(classes)[:1])[0] == pytest.approx(0, abs=1e-9)


@given(st.integers(0, 10_000))
def test_mutual_information_is_disagreement(seed):
    members = simplex(np.random.default_rng(seed), 5, 10, 4)
    found = mutual_information(members)
    assert (found >= 0).all()
    assert (found <= entropy_doubt(members.mean(axis=0)) + 1e-9).all()
    np.testing.assert_allclose(mutual_information(np.repeat(members[:1], 5, axis=0)), 0, atol=1e-9)
    assert mutual_information(np.eye(2)[:, None])[0] == pytest.approx(1), "two sure members that contradict each other"


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 3), st.booleans())
def test_k_centre_is_at_most_twice_the_best_radius(seed, count, with_known):
    generator = np.random.default_rng(seed)
    points = generator.random((8, 2))
    known = generator.random((2, 2)) if with_known else np.empty((0, 2))

    def radius(chosen):
        centres = np.concatenate([points[list(chosen)], known])
        return np.sqrt(((points[:, None] - centres[None]) ** 2).sum(axis=2)).min(axis=1).max()

    chosen = k_centre(points, count, known if with_known else None)
    assert len(set(chosen.tolist())) == count
    assert radius(chosen) <= 2 * min(radius(c) for c in combinations(range(8), count)) + 1e-9


def make(n=200, seed=0, classes=3):
    generator = np.random.default_rng(seed)
    return Candidates(
        xy=generator.random((n, 2)) * 100,
        doubt=generator.random(n),
        predicted=generator.integers(0, classes, n),
        features=generator.standard_normal((n, 4)),
    )


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_gives_different_places_and_the_same_ones_twice(strategy):
    places = make()
    first, again = (choose_places(places, 15, strategy=strategy, seed=4) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert len(set(first.tolist())) == 15
    assert sorted(choose_places(make(7), 50, strategy=strategy).tolist()) == list(range(7)), "all there are"


def test_doubt_strategies_take_the_most_doubtful_first():
    places = make()
    found = choose_places(places, 10, strategy="margin")
    np.testing.assert_allclose(places.doubt[found], np.sort(places.doubt)[::-1][:10])


def test_the_combined_choice_keeps_away_from_labels_and_from_itself():
    generator = np.random.default_rng(2)
    cluster = generator.normal(20, 1, (100, 2))
    elsewhere = generator.random((100, 2)) * 100
    xy = np.concatenate([cluster, elsewhere])
    doubt = np.r_[np.full(100, 0.9), np.full(100, 0.6)]
    places = Candidates(xy, doubt, np.zeros(200, int), np.zeros((200, 1)))
    plain = choose_places(places, 10, strategy="margin")
    assert (plain < 100).all(), "a batch of the most doubtful is one spot"
    spread = combined_choice(places, 10, None, length=10.0)
    assert (spread < 100).sum() <= 3
    labelled = combined_choice(places, 10, np.array([[20.0, 20.0]]), length=10.0)
    assert (labelled < 100).sum() == 0
    distances = [np.linalg.norm(xy[a] - xy[b]) for a, b in combinations(spread, 2)]
    assert min(distances) > 5


def test_the_combined_choice_does_not_forget_rare_classes():
    generator = np.random.default_rng(3)
    predicted = np.r_[np.zeros(190, int), np.ones(10, int)]
    doubt = np.r_[np.full(190, 0.8), np.full(10, 0.5)]
    places = Candidates(generator.random((200, 2)) * 100, doubt, predicted, np.zeros((200, 1)))
    assert (choose_places(places, 10, strategy="margin") < 190).all()
    assert 1 <= (combined_choice(places, 10, None, length=1.0) >= 190).sum() <= 5


def test_the_mixed_choice_also_goes_where_the_model_is_sure_of_what_it_never_saw():
    generator = np.random.default_rng(5)
    features = generator.standard_normal((100, 2)) * 0.1
    features[90:] += 10
    doubt = np.r_[generator.random(90), np.zeros(10)]
    places = Candidates(generator.random((100, 2)) * 100, doubt, np.zeros(100, int), features)
    known = np.zeros((1, 2))
    assert not (choose_places(places, 4, strategy="combined", known_xy=known) >= 90).any()
    found = choose_places(places, 4, strategy="mixed", known_xy=known, known_features=known)
    assert (found >= 90).any()
    assert doubt[found[0]] > 0.9, "doubt takes the first turn"


def test_wrong_arguments_are_named():
    places = make(5)
    with pytest.raises(ConfigurationError, match="strategy is one of random, spread"):
        choose_places(places, 1, strategy="psychic")
    with pytest.raises(ConfigurationError, match="must be at least 1"):
        choose_places(places, 0)
    with pytest.raises(ConfigurationError, match="no unlabelled place with data"):
        choose_places(make(0), 1)
    with pytest.raises(ConfigurationError, match="finite"):
        Candidates(np.zeros((1, 2)), np.array([np.nan]), np.zeros(1, int), np.zeros((1, 1)))
    with pytest.raises(ConfigurationError, match="a position, a doubt, a class and features each"):
        Candidates(np.zeros((2, 2)), np.zeros(1), np.zeros(1, int), np.zeros((1, 1)))
