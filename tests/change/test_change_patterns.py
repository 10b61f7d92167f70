"""Patterns of radar series: families, dates and sizes with their errors, neighbours, and following a series on."""

import numpy as np
import pytest

from ecumene.change.patterns import CONSTANT, PATTERNS, PULSE, RAMP, STEP_UP, UNKNOWN, PatternModel, find_patterns
from ecumene.change.patterns_space import change_objects, couple_families, couple_patterns
from ecumene.change.patterns_update import CumulativeSums
from ecumene.core.errors import ConfigurationError, SceneError

DAYS = np.arange(48) * 12 + 17000
LOOKS = 18.0  # of a filtered series


def radar(rng, shape, days=DAYS, looks=LOOKS):
    """Gamma speckle in decibels about -11 and -17 dB, `[2, T, *shape]`."""
    speckle = rng.gamma(looks, 1.0 / looks, (2, days.size, *shape))
    return 10.0 * np.log10(speckle) + np.array([-11.0, -17.0]).reshape(2, 1, *[1] * len(shape))


def course(name, begin, length):
    t = DAYS[:, None]
    return {
        "constant": 0.0 * t * begin,
        "step up": (t >= begin) * 1.0,
        "step down": (t >= begin) * -1.0,
        "ramp": np.clip((t - begin) / length, 0.0, 1.0),
        "pulse": (t >= begin) * 1.0 - (t >= begin + length) * 1.0,
    }[name]


@pytest.fixture(scope="module")
def simulated():
    """Patterns of 150 pixels of each family, with the truth."""
    rng = np.random.default_rng(1)
    found = {}
    for name in PATTERNS:
        begin, length = rng.uniform(DAYS[10], DAYS[25], 150), rng.uniform(130, 220, 150)
        values = radar(rng, (150,)) + np.array([4.0, 3.0])[:, None, None] * course(name, begin, length)
        values[:, rng.random(values.shape[1:]) < 0.1] = np.nan
        found[name] = find_patterns(values, DAYS, threads=1), begin, length
    return found


def test_the_confusion_of_families_is_small(simulated):
    table = np.array([np.bincount(simulated[name][0].pattern, minlength=5) for name in PATTERNS]) / 150
    assert np.diag(table).min() > 0.85
    assert table[CONSTANT, 1:].sum() < 0.06  # false alarms
    assert table[1:, CONSTANT].max() == 0.0


@pytest.mark.parametrize(("name", "days"), [("step up", 7), ("step down", 7), ("ramp", 35), ("pulse", 7)])
def test_dates_are_found_with_errors_that_hold(simulated, name, days):
    found, begin, length = simulated[name]
    right = found.pattern == PATTERNS.index(name)
    away = np.abs(found.date - begin)[right]
    assert np.median(away) < days
    low, high = found.interval(0.9)
    assert 0.82 <= ((low <= begin) & (begin <= high))[right].mean() <= 0.995
    if name in ("ramp", "pulse"):
        off = np.abs(found.duration - length)[right]
        assert 0.8 <= (off < 1.645 * found.duration_deviation[right]).mean() <= 0.995
    else:
        assert (found.duration[right] == 0.0).all()


@pytest.mark.parametrize("name", ["step up", "pulse"])
def test_amplitudes_have_the_error_that_is_stated(simulated, name):
    found, *_ = simulated[name]
    right = found.pattern == PATTERNS.index(name)
    for band, size in enumerate((4.0, 3.0)):
        pull = (found.amplitude[band] - size)[right] / found.amplitude_deviation[band][right]
        assert abs(pull.mean()) < 0.4
        assert 0.8 < pull.std() < 1.3
    level = found.level[0][right].mean()
    assert level == pytest.approx(-11.0 + (4.0 if name == "step up" else 0.0), abs=0.25)


def test_probabilities_sum_to_one_and_say_how_often_a_family_is_right(simulated):
    found = simulated["ramp"][0]
    np.testing.assert_allclose(found.probability.sum(axis=0), 1.0, rtol=1e-5)
    assert (found.pattern == found.probability.argmax(axis=0)).all()
    assert found.probability[RAMP].mean() == pytest.approx((found.pattern == RAMP).mean(), abs=0.1)


def test_noise_free_steps_constant_series_and_short_ones():
    values = np.full((1, DAYS.size, 3), -10.0)
    values[0, 20:, 1] = -6.0
    values[0, 4:, 2] = np.nan
    found = find_patterns(values, DAYS)
    assert found.pattern.tolist() == [CONSTANT, STEP_UP, UNKNOWN]
    assert found.date[1] == pytest.approx(0.5 * (DAYS[19] + DAYS[20]), abs=0.01)
    assert found.amplitude[0, 1] == pytest.approx(4.0)
    assert np.isnan(found.date[[0, 2]]).all()
    assert np.isnan(found.probability[:, 2]).all()


def test_results_depend_neither_on_threads_nor_on_the_mask_s_form():
    rng = np.random.default_rng(2)
    values = radar(rng, (300,))
    values[:, 30:, :150] += 4.0
    gone = rng.random((DAYS.size, 300)) < 0.2
    holes = np.where(gone, np.nan, values)
    one, two = find_patterns(holes, DAYS, threads=1), find_patterns(values, DAYS, ~gone, threads=2)
    for name in ("pattern", "date", "amplitude", "probability"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_neighbours_correct_single_pixels_and_objects_have_one_date():
    rng = np.random.default_rng(4)
    values = radar(rng, (24, 24), looks=4.0)  # unfiltered: single pixels err
    values[:, 20:, 4:12, 4:14] += 4.0
    values[:, 34:, 15:22, 3:20] -= 5.0
    truth = np.zeros((24, 24), np.uint8)
    truth[4:12, 4:14], truth[15:22, 3:20] = 1, 2
    alone = find_patterns(values, DAYS)
    both = couple_patterns(alone, values, coupling=1.5)
    assert (both.pattern != truth).mean() < 0.6 * (alone.pattern != truth).mean()
    moved = (both.pattern != alone.pattern) & both.changed
    assert np.isfinite(both.date[moved]).all()
    labels, objects = change_objects(both, tolerance=72.0, fewest=20)
    assert [entry.pattern for entry in objects] == [1, 2]
    for entry, place, day in zip(objects, (truth == 1, truth == 2), (19.5, 33.5), strict=True):
        assert (labels[place] == entry.number).mean() > 0.8
        assert abs(entry.date - np.interp(day, range(48), DAYS)) < 12
        assert entry.date_deviation > 0
    assert objects[0].amplitude[0] == pytest.approx(4.0, abs=0.5)


def test_coupling_is_the_prior_s_and_leaves_certain_pixels_alone():
    shares = np.full((2, 5, 5), 0.4)
    shares[0] = 0.6
    shares[:, 2, 2] = 0.45, 0.55
    assert couple_families(shares, coupling=0.0)[2, 2] == 1
    assert couple_families(shares, coupling=0.5)[2, 2] == 0
    shares[:, 2, 2] = 1e-9, 1.0 - 1e-9
    assert couple_families(shares, coupling=0.5)[2, 2] == 1
    shares[:, 0, 0] = np.nan
    assert couple_families(shares)[0, 0] == UNKNOWN


def test_objects_are_split_by_their_dates():
    values = np.full((1, DAYS.size, 1, 10), -10.0)
    values[0, 10:, 0, :5] += 5.0
    values[0, 30:, 0, 5:] += 5.0
    found = find_patterns(values, DAYS)
    assert len(change_objects(found, tolerance=30.0, fewest=2)[1]) == 2
    assert len(change_objects(found, tolerance=400.0, fewest=2)[1]) == 1
    assert change_objects(found, tolerance=30.0, fewest=6)[1] == []


def test_new_dates_are_followed_with_few_false_alarms_and_a_date():
    rng = np.random.default_rng(6)
    values = radar(rng, (400,))
    following = CumulativeSums.after(find_patterns(values, DAYS))
    later = radar(rng, (400,))
    later[:, 12:, :200] += 4.0
    raised = np.zeros(400, bool)
    for t in range(24):
        raised |= following.add(later[:, t], int(DAYS[-1]) + 12 * (t + 1))
    assert raised[:200].mean() > 0.99
    assert raised[200:].mean() < 0.05
    true = DAYS[-1] + 12 * 12.5
    hit = raised[:200] & (following.direction[:200] == 1)
    assert np.median(np.abs(following.began[:200][hit] - true)) <= 24
    assert (following.alarm[:200][hit] >= following.began[:200][hit]).all()


def test_bad_input_gets_a_sentence():
    values = np.zeros((1, DAYS.size, 2, 2))
    for call in (
        lambda: PatternModel(least=1),
        lambda: PatternModel(prior=0.0),
        lambda: find_patterns(values, DAYS, family=np.zeros(3, np.uint8)),
        lambda: couple_families(np.zeros((5, 4))),
        lambda: change_objects(find_patterns(values, DAYS), tolerance=-1.0),
        lambda: CumulativeSums.start(np.zeros((1, 2)), np.ones((1, 3)), 17000),
        lambda: find_patterns(values, DAYS).interval(1.0),
    ):
        with pytest.raises(ConfigurationError, match=r"\.$"):
            call()
    following = CumulativeSums.start(np.zeros((1, 2)), np.ones((1, 2)), "2020-01-10")
    with pytest.raises(SceneError, match="not after the last one, 2020-01-10; add dates in their order"):
        following.add(np.zeros((1, 2)), "2020-01-10")
    with pytest.raises(ConfigurationError, match="A date must be"):
        following.add(np.zeros((2, 2)), "2020-01-12")
    with pytest.raises(SceneError, match="5 dates are too few for patterns"):
        find_patterns(values[:, :5], DAYS[:5])
    assert PULSE == 4
