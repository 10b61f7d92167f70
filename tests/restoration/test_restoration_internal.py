"""Internal learning: a network fitted to one series, and the error bars that hidden pixels give it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecumene.core.errors import ConfigurationError
from ecumene.restoration.internal_learning import Frames, InternalOptions, date_codes, restore
from ecumene.restoration.internal_trust import InternalError, Tried, hide_and_restore, learn_trust
from ecumene.simulate.noise import fractal_field

pytest.importorskip("torch")
pytestmark = pytest.mark.slow  # the oldest versions run without them
SIDE, DAYS = 32, np.array([100.0, 110.0, 130.0])
QUICK = InternalOptions(steps=45, width=8, levels=2, noise=4, looks=4)


def square(low=8, high=22):
    mask = np.zeros((SIDE, SIDE), bool)
    mask[low:high, low:high] = True
    return mask


def truth_and_radar(dates=3):
    """Ground that changes from date to date wherever it likes, and radar that tells of it without speckle."""
    fields = np.stack(
        [fractal_field(np.random.default_rng(date), (SIDE, SIDE), longest=9.0, exponent=3.0) for date in range(dates)]
    )
    image = np.stack([0.2 + 0.05 * fields, 0.3 - 0.04 * fields], axis=1).astype(np.float32)
    radar = np.stack([-12.0 + 3.0 * fields, -18.0 - 2.0 * fields], axis=1).astype(np.float32)
    return image, radar


def clouded(image, radar=None, *, covers):
    clear = np.ones((len(image), SIDE, SIDE), bool)
    for date, cover in covers.items():
        clear[date] &= ~cover
    shown = np.where(clear[:, None], image, np.float32(np.nan))
    return Frames(shown, clear, DAYS[: len(image)], radar)


def rmse(restored, image, date, where):
    return float(np.sqrt(np.mean((restored.of(date)[0] - image[date])[:, where] ** 2)))


@pytest.fixture(scope="module")
def told_by_radar():
    image, radar = truth_and_radar()
    covers = {0: square(), 1: square(), 2: square()}
    with_radar = restore(clouded(image, radar, covers=covers), QUICK)
    return image, radar, covers, with_radar


def test_radar_that_tells_the_truth_beats_a_constant_and_noise(told_by_radar):
    image, _, covers, with_radar = told_by_radar
    assert with_radar is not None
    # Noise alone knows nothing of pixels that no date shows; where one date shows them it knows that date's ground.
    two = {0: covers[0], 1: covers[1]}
    noise = restore(clouded(image, covers=two), QUICK)
    assert noise is not None
    constant = float(image[0][:, square()].std())
    assert rmse(with_radar, image, 0, square()) < 0.5 * constant
    assert rmse(with_radar, image, 0, square()) < 0.6 * rmse(noise, image, 0, square())


def test_the_same_series_gives_the_same_bytes_and_leaves_randomness_alone(told_by_radar):
    import torch

    image, radar, covers, with_radar = told_by_radar
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    again = restore(clouded(image, radar, covers=covers), QUICK)
    assert torch.equal(before, torch.random.get_rng_state())
    assert again is not None
    assert again.mean.tobytes() == with_radar.mean.tobytes()
    assert again.wander.tobytes() == with_radar.wander.tobytes()


def test_what_is_under_clouds_does_not_count(told_by_radar):
    """Values of pixels that are not clear, NaN or bright, change nothing."""
    image, radar, covers, with_radar = told_by_radar
    frames = clouded(image, radar, covers=covers)
    bright = np.where(frames.clear[:, None], frames.image, np.float32(0.9))
    again = restore(Frames(bright, frames.clear, frames.days, radar), QUICK)
    assert again is not None
    assert again.mean.tobytes() == with_radar.mean.tobytes()


def test_noise_that_dates_share_carries_the_ground_from_date_to_date():
    """The same ground under another light: the covered square of a date is known from the others."""
    field = fractal_field(np.random.default_rng(7), (SIDE, SIDE), longest=9.0, exponent=3.0)
    ground = np.stack([0.2 + 0.05 * field, 0.3 - 0.04 * field])
    image = np.stack([ground, 0.8 * ground + 0.05, 1.1 * ground]).astype(np.float32)
    found = restore(clouded(image, covers={1: square()}), InternalOptions(steps=90, width=8, levels=2, noise=8))
    assert found is not None
    assert rmse(found, image, 1, square()) < 0.5 * float(image[1][:, square()].std())


def test_a_pixel_that_no_date_and_no_radar_shows_stays_unknown():
    image, radar = truth_and_radar()
    covers = {0: square(), 1: square(), 2: square()}
    short = InternalOptions(steps=3, width=4, levels=1, noise=2, looks=1)
    alone = restore(clouded(image, covers=covers), short)
    assert alone is not None
    assert np.array_equal(np.isnan(alone.mean[0, 0]), square())
    gap = radar.copy()
    gap[1] = np.nan  # one date without radar
    partly = restore(clouded(image, gap, covers=covers), short)
    assert partly is not None
    assert np.isfinite(partly.mean[[0, 2]]).all()
    assert np.array_equal(np.isnan(partly.mean[1, 0]), square())


def test_steps_grow_with_the_dates_unless_they_are_given():
    assert [InternalOptions().steps_for(dates) for dates in (1, 10, 30)] == [400, 400, 1200]
    assert InternalOptions(steps=7).steps_for(30) == 7
    image, radar = truth_and_radar()
    one = restore(clouded(image, radar, covers={}), InternalOptions(steps=1, width=4, levels=1, noise=2, looks=4))
    assert one is not None
    assert not one.wander.any()  # a single step has a single snapshot


def test_nothing_is_invented_without_a_clear_pixel():
    image, radar = truth_and_radar()
    everything = np.ones((SIDE, SIDE), bool)
    assert restore(clouded(image, radar, covers=dict.fromkeys(range(3), everything)), QUICK) is None


def test_one_date_with_radar_is_filled_and_its_bars_come_from_hidden_pixels():
    image, radar = truth_and_radar(dates=1)
    frames = clouded(image, radar, covers={0: square(10, 18)})
    hidden = hide_and_restore(frames, QUICK, whole=False)
    assert [part.lone.all() for part in hidden] == [True]
    trust = learn_trust(hidden, np.array([0.05, 0.04]))
    found = restore(frames, QUICK)
    assert found is not None
    deviation, surprise = trust.of_date(frames, found, 0)
    covered = square(10, 18)
    z = (found.mean[0] - image[0])[:, covered] / deviation[:, covered]
    assert float(np.sqrt(np.mean(z**2))) < 2.0
    assert (deviation[:, covered].mean(axis=1) < image[0].std(axis=(1, 2))).all()  # narrower than knowing nothing
    assert np.isfinite(surprise).all()
    # No second date: hidden whole, nothing is left to learn from, and the bars are those of any pixel of the scene.
    unknown = learn_trust(hide_and_restore(frames, QUICK, whole=True), np.array([0.05, 0.04]))
    assert unknown.error is None
    assert unknown.of_date(frames, found, 0)[0][:, 0, 0] == pytest.approx([0.05, 0.04])


def test_too_small_images_and_wrong_options_are_refused():
    tiny = Frames(np.zeros((2, 1, 5, 30), np.float32), np.ones((2, 5, 30), bool), np.array([0.0, 9.0]))
    with pytest.raises(ConfigurationError, match="6 rows and columns or more"):
        restore(tiny, QUICK)
    with pytest.raises(ConfigurationError, match="channels of noise"):
        restore(Frames(np.zeros((2, 1, 20, 20), np.float32), np.ones((2, 20, 20), bool), np.arange(2.0)),
                InternalOptions(steps=1, noise=0))  # fmt: skip
    with pytest.raises(ConfigurationError, match="steps"):
        InternalOptions(steps=0)
    with pytest.raises(ConfigurationError, match="clear"):
        Frames(np.zeros((2, 1, 5, 5), np.float32), np.ones((1, 5, 5), bool), np.arange(2.0))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(0.0, 1000.0), min_size=1, max_size=8),
    st.integers(0, 2**8 - 1),
)
def test_codes_of_dates_are_weights(days, mask):
    learned = np.array([bool(mask >> i & 1) for i in range(len(days))])
    if not learned.any():
        learned[0] = True
    codes = date_codes(np.array(days), learned)
    assert codes.shape == (len(days), int(learned.sum()))
    assert (codes >= 0.0).all()
    assert codes.sum(axis=1) == pytest.approx(np.ones(len(days)), abs=1e-6)
    assert np.array_equal(np.sort(codes[learned].argmax(axis=1)), np.arange(int(learned.sum())))
    assert (codes[learned].max(axis=1) == 1.0).all()


def test_a_clouded_date_lies_between_its_neighbours():
    codes = date_codes(np.array([0.0, 10.0, 40.0, 90.0]), np.array([True, False, True, False]))
    assert codes[1] == pytest.approx([0.75, 0.25])
    assert codes[3] == pytest.approx([0.0, 1.0])


def test_errors_grow_with_wander_and_without_a_clear_date():
    rng = np.random.default_rng(0)
    wander = rng.gamma(2.0, 1e-4, (1, 6000))
    lone = rng.random(6000) < 0.3
    variance = 1e-4 + 2.0 * wander[0] + 5e-4 * lone
    fitted = InternalError.fit(variance[None] * rng.normal(size=(1, 6000)) ** 2, wander, lone, np.array([0.1]))
    assert fitted.deviation(wander, lone)[0] ** 2 == pytest.approx(variance, rel=0.25)
    untested = InternalError.fit(1e-4 * np.ones((1, 500)), wander[:, :500], np.zeros(500, bool), np.array([0.1]))
    assert untested.deviation(np.zeros((1, 1)), np.array([True]))[0, 0] == pytest.approx(0.1, rel=0.02)


def test_a_clouded_date_far_from_others_is_trusted_less_than_those_that_were_tried():
    rng = np.random.default_rng(3)
    steps = 0.03 * rng.normal(size=(4, 2, SIDE, SIDE)).cumsum(axis=0)
    image = (0.3 + steps).astype(np.float32)
    clear = np.ones((4, SIDE, SIDE), bool)
    clear[3] = False
    series = Frames(image, clear, np.array([0.0, 10.0, 20.0, 15.0]))
    tried = Tried.of(hide_and_restore(series, replace(QUICK, steps=3, looks=1), whole=True))
    assert tried is not None
    days = np.array([0.0, 10.0, 20.0])
    assert (tried.growth(days, 120.0) > 1.5).all()
    assert (tried.growth(days, 15.0) == 1.0).all()
    sparse = np.array([0.0, 60.0])  # another part of the scene, with fewer clear dates than the one that was tried
    assert (tried.growth(sparse, 30.0) > tried.growth(days, 5.0)).all()
    assert Tried.of([]) is None


def test_radar_that_lies_over_no_clear_pixel_tells_nothing():
    """What it says cannot be learned: the weights that read it would stay as random as they began."""
    image, radar = truth_and_radar()
    covers = {0: square(), 1: square(), 2: np.ones((SIDE, SIDE), bool)}
    elsewhere = radar.copy()
    elsewhere[:2] = np.nan
    quick = replace(QUICK, steps=6, looks=2)
    with_radar, without = clouded(image, elsewhere, covers=covers), clouded(image, covers=covers)
    assert not with_radar.radar_learned
    assert clouded(image, radar, covers=covers).radar_learned
    np.testing.assert_array_equal(with_radar.told, without.told)
    one, other = restore(with_radar, quick, [2]), restore(without, quick)
    assert one is not None
    assert other is not None
    assert one.dates == (2,)
    np.testing.assert_array_equal(one.of(2)[0], other.of(2)[0])
    assert np.isnan(one.of(2)[0][:, square()]).all()
