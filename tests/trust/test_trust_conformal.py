import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecumene.core.errors import ConfigurationError, LabelError, ModelError
from ecumene.trust.conformal import ConformalSets
from ecumene.trust.intervals import ConformalIntervals
from ecumene.trust.measures import interval_coverage, set_coverage
from ecumene.trust.quantile import best_coverage, conformal_quantile


def draw(generator, n, classes=4, skew=1.0):
    """Probabilities of a mediocre, badly calibrated classifier, and targets."""
    target = generator.choice(classes, n, p=np.arange(1, classes + 1) / np.arange(1, classes + 1).sum())
    logits = generator.normal(size=(n, classes)) * 1.5
    logits[np.arange(n), target] += 1.5 * skew
    raised = np.exp(2 * logits)
    return raised / raised.sum(axis=1, keepdims=True), target


@settings(deadline=None, max_examples=60)
@given(
    scores=st.lists(st.floats(-5, 5), min_size=1, max_size=60),
    coverage=st.floats(0.05, 0.99),
)
def test_quantile_against_its_definition(scores, coverage):
    """The smallest score t with #{s <= t} >= (n + 1) coverage."""
    found = conformal_quantile(np.array(scores), coverage)
    enough = [t for t in sorted(scores) if sum(s <= t for s in scores) >= (len(scores) + 1) * coverage - 1e-9]
    assert found == (enough[0] if enough else math.inf)


@settings(deadline=None, max_examples=40)
@given(
    groups=st.lists(st.integers(0, 12), min_size=1, max_size=60),
    coverage=st.floats(0.05, 0.95),
    seed=st.integers(0, 99),
)
def test_grouped_quantile_against_its_definition(groups, coverage, seed):
    groups = np.array(groups)
    scores = np.random.default_rng(seed).normal(size=len(groups))
    found = conformal_quantile(scores, coverage, groups)
    names = np.unique(groups)

    def mass(t):
        return sum(np.mean(scores[groups == name] <= t) for name in names) / (len(names) + 1)

    enough = [t for t in np.sort(scores) if mass(t) >= coverage - 1e-9]
    assert found == (enough[0] if enough else math.inf)


def test_groups_of_one_are_plain():
    scores = np.random.default_rng(0).normal(size=50)
    assert conformal_quantile(scores, 0.9, np.arange(50)) == conformal_quantile(scores, 0.9)


@pytest.mark.parametrize("method", ["lac", "aps", "aps-randomised"])
@pytest.mark.parametrize("coverage", [0.7, 0.9])
def test_coverage_holds_over_many_draws(method, coverage):
    """Mean coverage over calibration draws lies in [coverage, coverage + 1/(n+1)] up to noise (lac: tight)."""
    generator, found = np.random.default_rng(5), []
    for _ in range(150):
        probabilities, target = draw(generator, 60 + 300)
        sets = ConformalSets.fit(probabilities[:60], target[:60], coverage, method)
        found.append(set_coverage(sets.sets(probabilities[60:]), target[60:]))
    standard_error = np.std(found) / math.sqrt(len(found))
    assert np.mean(found) >= coverage - 3 * standard_error
    # The top class is always inside: a classifier that is right more often than asked covers more.
    assert np.mean(found) <= coverage + 1 / 61 + 3 * standard_error


def test_coverage_holds_within_every_class():
    generator = np.random.default_rng(6)
    marginal, within = np.zeros(4), np.zeros(4)
    for _ in range(60):
        probabilities, target = draw(generator, 400 + 1500)
        for store, per_class in ((marginal, False), (within, True)):
            sets = ConformalSets.fit(probabilities[:400], target[:400], 0.85, per_class=per_class)
            inside = sets.sets(probabilities[400:])[np.arange(1500), target[400:]]
            store += np.array([inside[target[400:] == k].mean() for k in range(4)]) / 60
    assert (within > 0.84).all()
    assert np.ptp(within) < 0.05


def test_block_calibration_covers_new_blocks_where_pixel_calibration_does_not():
    """Pixels of a block share their difficulty; few blocks look like many pixels."""
    generator = np.random.default_rng(7)
    plain, blocked = [], []
    for _ in range(150):
        groups = np.repeat(np.arange(24), generator.permutation([2] * 12 + [100] * 12))
        skew = generator.normal(0.5, 1.0, 24)
        skew[np.bincount(groups) == 100] += 1.0  # large blocks are easy
        probabilities, target = draw(generator, len(groups), skew=skew[groups])
        new = generator.normal(0.5, 1.0, 40) + (np.arange(40) % 2)
        fresh, truth = draw(generator, 40 * 20, skew=np.repeat(new, 20))
        for store, labels in ((plain, None), (blocked, groups)):
            sets = ConformalSets.fit(probabilities, target, 0.9, groups=labels)
            store.append(set_coverage(sets.sets(fresh), truth))
    assert np.mean(blocked) >= 0.895
    assert np.mean(plain) < 0.88


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), method=st.sampled_from(["lac", "aps"]), per_class=st.booleans())
def test_sets_against_brute_force(seed, method, per_class):
    generator = np.random.default_rng(seed)
    probabilities, target = draw(generator, 300)
    sets = ConformalSets.fit(probabilities, target, 0.8, method, per_class=per_class)
    maps = probabilities[:24].reshape(2, 3, 4, 4).transpose(0, 3, 1, 2)
    found, bits = sets.sets(maps), sets.encode(maps)
    for b, y, x in np.ndindex(2, 3, 4):
        p = maps[b, :, y, x]
        wanted = []
        for k in range(4):
            score = 1 - p[k] if method == "lac" else sum(q for q in p if q > p[k])
            wanted.append(score <= sets.thresholds[k if per_class else 0] + 1e-7)
        wanted[int(p.argmax())] = True
        assert found[b, :, y, x].tolist() == wanted
        assert int(bits[b, y, x]) == sum(2**k for k in range(4) if wanted[k])
    np.testing.assert_array_equal(ConformalSets.decode(bits, 4), found)
    rebuilt = ConformalSets.from_config(json.loads(json.dumps(sets.to_config(), allow_nan=False)))
    assert rebuilt == sets


def test_calibration_elements_keep_their_coverage_in_float32():
    """A score that made the threshold must stay inside after a round trip through float32."""
    probabilities, target = draw(np.random.default_rng(0), 500)
    for method in ("lac", "aps", "aps-randomised"):
        sets = ConformalSets.fit(probabilities, target, 0.9, method)
        assert set_coverage(sets.sets(probabilities.astype(np.float32)), target) >= 0.9


def test_32_classes_fit_and_33_do_not():
    generator = np.random.default_rng(0)
    probabilities = np.full((200, 32), 1 / 32)
    sets = ConformalSets.fit(probabilities, generator.integers(0, 32, 200), 0.9)
    assert sets.encode(probabilities[:1]).tolist() == [2**32 - 1]
    with pytest.raises(ConfigurationError, match="2 to 32"):
        ConformalSets.fit(np.full((200, 33), 1 / 33), generator.integers(0, 33, 200))


def test_too_few_samples_say_what_can_be_promised():
    probabilities, target = draw(np.random.default_rng(0), 5)
    assert best_coverage(5) == pytest.approx(5 / 6)
    with pytest.raises(ConfigurationError, match=r"5 calibration pixels.*at most 0\.833"):
        ConformalSets.fit(probabilities, target, 0.9)
    ConformalSets.fit(probabilities, target, 0.833)
    probabilities, target = draw(np.random.default_rng(0), 500)
    with pytest.raises(ConfigurationError, match=r"4 calibration blocks.*at most 0\.8"):
        ConformalSets.fit(probabilities, target, 0.9, groups=np.arange(500) % 4)
    rare = np.where(target == 0, 1, target)
    with pytest.raises(LabelError, match=r"Class channel 0 has 0"):
        ConformalSets.fit(probabilities, rare, 0.9, per_class=True)
    included = ConformalSets.fit(probabilities, rare, 0.9, per_class=True, rare="include")
    assert included.sets(probabilities)[:, 0].all()
    assert ConformalSets.from_config(json.loads(json.dumps(included.to_config(), allow_nan=False))) == included


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"coverage": 1.0}, "between 0 and 1"),
        ({"method": "magic"}, "lac, aps"),
        ({"probabilities": np.full((50, 4), 0.3)}, "add up to one"),
        ({"probabilities": np.full((50, 4), np.nan)}, "finite"),
        ({"target": np.full(50, 4)}, "0 to 3"),
        ({"groups": np.zeros(3)}, "group labels"),
        ({"rare": "drop"}, "refused or included"),
        ({"aim": "guess"}, "promise or at the average"),
    ],
)
def test_refusals(change, sentence):
    probabilities, target = draw(np.random.default_rng(0), 50)
    with pytest.raises((ConfigurationError, LabelError), match=sentence):
        ConformalSets.fit(**{"probabilities": probabilities, "target": target, **change})


@pytest.mark.parametrize("damage", [{"method": "x"}, {"thresholds": [1, 2]}, {"thresholds": "a"}, {"n_classes": None}])
def test_damaged_configurations_are_refused(damage):
    config = ConformalSets("lac", 0.9, (0.5,), 4).to_config()
    with pytest.raises(ModelError, match="damaged"):
        ConformalSets.from_config({**config, **damage})
    with pytest.raises(ConfigurationError, match="4 classes"):
        ConformalSets("lac", 0.9, (0.5,), 4).sets(np.zeros((2, 3)))


def test_few_blocks_hit_the_coverage_on_average_and_say_what_they_promise():
    """Three blocks: 0.9 cannot be promised for a fourth, but the mean over many such calibrations is near it."""
    generator, found, sizes = np.random.default_rng(11), [], []
    for _ in range(200):
        groups = np.repeat(np.arange(3), 150)
        probabilities, target = draw(generator, 450, skew=generator.normal(0.7, 0.25, 3)[groups])
        sets = ConformalSets.fit(probabilities, target, 0.9, groups=groups, aim="average")
        fresh, truth = draw(generator, 150, skew=generator.normal(0.7, 0.25))
        found.append(set_coverage(sets.sets(fresh), truth))
        sizes.append(sets.sets(fresh).sum(axis=1).mean())
    assert sets.promised == pytest.approx(0.9 * 0.75)
    assert np.mean(found) == pytest.approx(0.9, abs=0.02)
    assert np.mean(sizes) < 3.5
    many = ConformalSets.fit(probabilities, target, 0.9, groups=np.arange(450) // 10, aim="average")
    assert many.promised == pytest.approx(0.9 * 45 / 46)
    assert many.thresholds < ConformalSets.fit(probabilities, target, 0.9, groups=np.arange(450) // 10).thresholds


def test_the_fixed_fraction_is_even_and_repeats():
    from ecumene.trust.conformal import _fixed_fraction

    probabilities, _ = draw(np.random.default_rng(3), 20_000)
    u = _fixed_fraction(probabilities)
    assert np.array_equal(u, _fixed_fraction(probabilities))
    assert 0.0 <= u.min() <= u.max() < 1.0
    unsure = u[probabilities.max(axis=1) < 0.9]
    assert np.abs(np.quantile(unsure, [0.1, 0.5, 0.9]) - [0.1, 0.5, 0.9]).max() < 0.03


def heteroscedastic(generator, n):
    deviation = generator.uniform(0.5, 3.0, n)
    return generator.normal(size=n) * 10, deviation, deviation * 2 * generator.standard_t(4, n)


@pytest.mark.parametrize("method", ["normalised", "cqr"])
def test_interval_coverage_holds_though_the_model_is_overconfident(method):
    generator, found = np.random.default_rng(8), []
    for _ in range(150):
        mean, deviation, error = heteroscedastic(generator, 80 + 400)
        target = mean + error
        fitted = ConformalIntervals.fit(mean[:80], deviation[:80], target[:80], 0.9, method)
        lower, upper = fitted.interval(mean[80:], deviation[80:])
        found.append(interval_coverage(lower, upper, target[80:]))
        assert (lower <= upper).all()
    standard_error = np.std(found) / math.sqrt(len(found))
    assert 0.9 - 3 * standard_error <= np.mean(found) <= 0.9 + 1 / 81 + 3 * standard_error


def test_intervals_of_several_targets_and_maps():
    generator = np.random.default_rng(9)
    mean = generator.normal(size=(200, 2))
    deviation = np.ones((200, 2)) * [1.0, 5.0]
    target = mean + generator.normal(size=(200, 2)) * [3.0, 5.0]
    target[::7, 0] = np.nan
    fitted = ConformalIntervals.fit(mean, deviation, target, 0.9, groups=np.arange(200) // 4)
    assert fitted.quantiles[0] > 2 * fitted.quantiles[1]
    assert fitted.n_samples == 200 - 29
    assert ConformalIntervals.from_config(json.loads(json.dumps(fitted.to_config()))) == fitted
    lower, upper = fitted.interval(np.zeros((1, 2, 3, 4), np.float32), np.ones((1, 2, 3, 4), np.float32))
    assert lower.shape == (1, 2, 3, 4)
    assert lower.dtype == np.float32
    np.testing.assert_allclose(upper[0, :, 0, 0], fitted.quantiles, rtol=1e-6)
    with pytest.raises(ConfigurationError, match="2 targets"):
        fitted.interval(np.zeros((1, 3)), np.ones((1, 3)))


def test_cautious_cqr_never_turns_inside_out():
    mean, deviation = np.zeros(100), np.full(100, 10.0)
    target = np.random.default_rng(0).normal(size=100)
    fitted = ConformalIntervals.fit(mean, deviation, target, 0.9, "cqr")
    assert fitted.quantiles[0] < 0
    lower, upper = fitted.interval(np.zeros(2), np.array([1e-3, 10.0]))
    assert (lower <= upper).all()


def test_interval_refusals():
    with pytest.raises(ConfigurationError, match="one shape"):
        ConformalIntervals.fit(np.zeros(3), np.ones(3), np.zeros(4))
    with pytest.raises(ConfigurationError, match="positive standard"):
        ConformalIntervals.fit(np.zeros(30), np.zeros(30), np.zeros(30))
    with pytest.raises(LabelError, match="no labelled"):
        ConformalIntervals.fit(np.zeros(3), np.ones(3), np.full(3, np.nan))
    with pytest.raises(ConfigurationError, match=r"3 calibration pixels.*0\.75"):
        ConformalIntervals.fit(np.zeros(3), np.ones(3), np.zeros(3), 0.9)
    with pytest.raises(ModelError, match="damaged"):
        ConformalIntervals.from_config({"method": "normalised", "coverage": 2, "quantiles": [1]})
