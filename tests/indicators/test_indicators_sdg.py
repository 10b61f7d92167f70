"""SDG 11.3.1 and 11.7.1: formulas, table of signs, intervals by closed form and by sampling."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.indicators.ratio_interval import delta_error, fieller_set
from ecumene.indicators.sdg_land_use import (
    Quantity,
    built_up_per_person,
    land_use_efficiency,
    total_change,
)
from ecumene.indicators.sdg_open_space import open_space_share
from ecumene.indicators.sdg_published import BEIJING_TIANJIN_HEBEI
from ecumene.indicators.sdg_sampling import sample_efficiency
from ecumene.indicators.sdg_signs import SIGN_TABLE, read_signs, sign_of

YEARS = (2010, 2020)


def pair(past, present, error=None):
    """Two amounts with one relative error."""
    return tuple(Quantity(value, None if error is None else error * value) for value in (past, present))


def test_both_published_forms_by_hand():
    area, people = pair(100.0, 150.0), pair(1000.0, 1200.0)
    old = land_use_efficiency(area, people, YEARS)
    assert old.land_rate.value == pytest.approx(math.log(1.5) / 10)
    assert old.population_rate.value == pytest.approx(math.log(1.2) / 10)
    assert old.ratio == pytest.approx(math.log(1.5) / math.log(1.2))
    new = land_use_efficiency(area, people, YEARS, form="metadata-2021")
    assert new.land_rate.value == pytest.approx(0.05)
    assert new.ratio == pytest.approx(0.05 / (math.log(1.2) / 10))
    assert new.ratio > old.ratio  # (x - 1) > ln x
    assert built_up_per_person(area[1], people[1]).value == pytest.approx(0.125)
    assert total_change(*area).value == pytest.approx(0.5)


def test_without_errors_intervals_are_points():
    found = land_use_efficiency(pair(100.0, 150.0), pair(1000.0, 1200.0), YEARS)
    assert found.ratios.low == pytest.approx(found.ratio)
    assert found.ratios.high == pytest.approx(found.ratio)
    assert found.ratio_error == pytest.approx(0)
    assert found.reading.text.endswith("land grows faster than people")


@given(
    st.floats(1, 1e6), st.floats(1, 1e6), st.floats(1, 1e6), st.floats(1, 1e6), st.integers(1, 40), st.floats(0.01, 100)
)
def test_the_ratio_depends_on_neither_units_nor_the_length_of_the_period(v1, v2, p1, p2, span, factor):
    one = land_use_efficiency(pair(v1, v2), pair(p1, p2), (2000, 2000 + span), negligible=0.0)
    two = land_use_efficiency(pair(v1 * factor, v2 * factor), pair(p1, p2), (2000, 2000 + 2 * span), negligible=0.0)
    if one.ratio is not None and two.ratio is not None:
        assert two.ratio == pytest.approx(one.ratio, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("form", ["logarithmic", "metadata-2021"])
@pytest.mark.parametrize("correlation", [0.0, 0.7])
def test_closed_form_and_sampling_agree_where_the_theory_holds(form, correlation):
    area, people = pair(100.0, 160.0, 0.02), pair(1000.0, 1300.0, 0.01)
    given_ = {"form": form, "area_correlation": correlation, "confidence": 0.9}
    closed = land_use_efficiency(area, people, YEARS, **given_)
    draws = 100_000
    sampled = sample_efficiency(area, people, YEARS, **given_, draws=draws, seed=3)
    # A 5 % quantile of n draws of a nearly normal number has the standard error 2.1 sigma / sqrt(n).
    for rate, ends in ((closed.land_rate, sampled.land_rate), (closed.population_rate, sampled.population_rate)):
        tolerance = 5 * 2.1 * rate.standard_error / math.sqrt(draws)
        assert ends == pytest.approx((rate.low, rate.high), abs=tolerance)
    slack = 5 * 2.1 * closed.ratio_error / math.sqrt(draws)
    if form == "logarithmic":  # rates are exactly normal: Fieller's set is the quantiles' up to the far denominator
        assert sampled.ratio == pytest.approx((closed.ratios.low, closed.ratios.high), abs=slack)
    else:  # the delta method leaves the skewness of exp: second order in the relative error
        assert sampled.ratio == pytest.approx((closed.ratios.low, closed.ratios.high), abs=slack + 0.02)
    assert sampled.undefined_share == 0


def test_faster_share_is_the_normal_probability():
    area, people = pair(100.0, 125.0, 0.03), pair(1000.0, 1200.0, 0.02)
    closed = land_use_efficiency(area, people, YEARS)
    gap = closed.land_rate.value - closed.population_rate.value
    spread = math.hypot(closed.land_rate.standard_error, closed.population_rate.standard_error)
    expected = 0.5 * (1 + math.erf(gap / spread / math.sqrt(2)))
    found = sample_efficiency(area, people, YEARS, draws=40_000, seed=1)
    assert found.faster_share == pytest.approx(expected, abs=4 * 0.5 / math.sqrt(40_000))
    assert sum(found.meanings.values()) == pytest.approx(1)
    again = sample_efficiency(area, people, YEARS, draws=40_000, seed=1)
    assert again == found


@pytest.mark.parametrize("true_growth", [0.03, 0.004, 0.0])
def test_fieller_covers_however_small_the_denominator_is(true_growth):
    """Over simulated estimates the 90 % set holds the true ratio in 90 %, where the delta method does not."""
    generator = np.random.default_rng(5)
    number, land, error = 4000, 0.02, 0.003
    estimates = generator.normal([land, true_growth], error, (number, 2))
    # At a true denominator of 0 the ratio is infinite; the set of its reciprocal holds 0 as often.
    if true_growth == 0.0:
        held = [0.0 in fieller_set(d, n, error**2, error**2, 0.0, 0.9) for n, d in estimates]
    else:
        held = [land / true_growth in fieller_set(n, d, error**2, error**2, 0.0, 0.9) for n, d in estimates]
    assert np.mean(held) == pytest.approx(0.9, abs=4 * math.sqrt(0.09 / number))


def test_fieller_approaches_the_delta_method():
    found = fieller_set(2.0, 1.0, 1e-6, 1e-6, 0.0, 0.95)
    assert (found.high - found.low) / 2 == pytest.approx(1.95996 * delta_error(2.0, 1.0, 1e-6, 1e-6), rel=1e-4)


def test_fieller_kinds():
    assert fieller_set(1.0, 1.0, 0.01, 0.01).kind == "interval"
    outside = fieller_set(1.0, 0.1, 0.01, 0.01)
    assert outside.kind == "outside"
    assert 10.0 in outside
    assert 0.5 * (outside.low + outside.high) not in outside
    everything = fieller_set(0.1, 0.1, 0.01, 0.01)
    assert everything.kind == "all"
    assert 123.0 in everything


def test_near_zero_population_growth_is_said_and_not_divided():
    still = land_use_efficiency(pair(100.0, 150.0), pair(1000.0, 1001.0), YEARS)
    assert still.ratio is None
    assert "would say nothing" in still.undefined
    assert still.reading.text == SIGN_TABLE[1, 0]
    unsure = land_use_efficiency(pair(100.0, 150.0, 0.01), pair(1000.0, 1050.0, 0.05), YEARS)
    assert unsure.ratio is None
    assert "cannot be told from 0" in unsure.undefined
    assert unsure.ratios.kind != "interval"


@pytest.mark.parametrize(
    ("areas", "people", "signs"),
    [
        ((100, 150), (1000, 1200), (1, 1)),
        ((100, 150), (1200, 1000), (1, -1)),
        ((150, 100), (1000, 1200), (-1, 1)),
        ((150, 100), (1200, 1000), (-1, -1)),
        ((100, 100), (1000, 1200), (0, 1)),
        ((100, 100), (1200, 1000), (0, -1)),
        ((100, 150), (1000, 1000), (1, 0)),
        ((150, 100), (1000, 1000), (-1, 0)),
        ((100, 100), (1000, 1000), (0, 0)),
    ],
)
def test_table_of_signs(areas, people, signs):
    found = land_use_efficiency(pair(*areas), pair(*people), YEARS)
    assert (found.reading.land, found.reading.population) == signs
    assert found.reading.text.startswith(SIGN_TABLE[signs])
    assert (found.ratio is None) == (signs[1] == 0)
    assert (found.reading.ratio_to_one is not None) == (signs in {(1, 1), (-1, -1)})
    if found.ratio is not None and 0 not in signs:
        assert (found.ratio > 0) == (signs[0] == signs[1])


def test_readings_with_one_sign():
    grows = land_use_efficiency(pair(100.0, 110.0), pair(1000.0, 1500.0), YEARS)
    assert "densification" in grows.reading.text
    shrinks = land_use_efficiency(pair(110.0, 100.0), pair(1500.0, 1000.0), YEARS)
    assert "thinning out" in shrinks.reading.text
    same = land_use_efficiency(pair(100.0, 120.0, 0.02), pair(1000.0, 1200.0, 0.02), YEARS)
    assert same.reading.text.endswith("cannot be told apart")
    assert read_signs(1, 1, None).ratio_to_one is None
    assert sign_of(0.01, -0.01, 0.03, 0.0) == 0


def test_wider_errors_give_wider_sets_and_the_json_is_plain():
    narrow = land_use_efficiency(pair(100.0, 150.0, 0.01), pair(1000.0, 1300.0, 0.01), YEARS)
    wide = land_use_efficiency(pair(100.0, 150.0, 0.03), pair(1000.0, 1300.0, 0.01), YEARS)
    assert wide.ratios.low < narrow.ratios.low < narrow.ratio < narrow.ratios.high < wide.ratios.high
    shared = land_use_efficiency(pair(100.0, 150.0, 0.03), pair(1000.0, 1300.0, 0.01), YEARS, area_correlation=0.99)
    assert shared.ratio_error < wide.ratio_error
    found = narrow.to_dict()
    assert found["ratio"] == narrow.ratio
    assert found["years"] == [2010, 2020]


def test_log_normal_intervals_cover():
    """Areas drawn with log-normal errors: the 95 % interval of the change holds the truth in 95 %."""
    generator = np.random.default_rng(2)
    cv, number = 0.1, 3000
    noise = np.exp(generator.normal(0, math.sqrt(math.log1p(cv**2)), (number, 2)))
    held = 0
    for one, two in noise:
        change = total_change(Quantity(100 * one, 100 * one * cv), Quantity(150 * two, 150 * two * cv))
        held += change.low <= 0.5 <= change.high
    assert held / number == pytest.approx(0.95, abs=4 * math.sqrt(0.0475 / number))


@pytest.mark.parametrize("value", [0.0, -5.0, math.nan, math.inf])
def test_amounts_must_be_positive(value):
    with pytest.raises(ConfigurationError, match="must be positive"):
        Quantity(value)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"years": (2015, 2015)}, "two different years"),
        ({"years": (2020, 2015)}, "run backwards"),
        ({"form": "2019"}, "no form"),
        ({"confidence": 1.5}, "confidence"),
        ({"area_correlation": 2.0}, "correlation"),
    ],
)
def test_bad_arguments_give_a_sentence(changed, said):
    usual = {"area": pair(1, 2), "population": pair(1, 2), "years": YEARS}
    with pytest.raises(ConfigurationError, match=said):
        land_use_efficiency(**(usual | changed))
    if "confidence" not in changed:
        with pytest.raises(ConfigurationError, match=said):
            sample_efficiency(**(usual | changed))


def test_other_bad_arguments():
    with pytest.raises(ConfigurationError, match="standard error"):
        Quantity(1.0, -1.0)
    with pytest.raises(ConfigurationError, match="100 draws"):
        sample_efficiency(pair(1, 2), pair(1, 2), YEARS, draws=5)
    with pytest.raises(ConfigurationError, match="variance"):
        fieller_set(1.0, 1.0, -1.0, 1.0)
    with pytest.raises(ConfigurationError, match="denominator 0"):
        delta_error(1.0, 0.0, 1.0, 1.0)


def test_published_ratios_are_positive_and_in_order():
    assert [entry.years[0] for entry in BEIJING_TIANJIN_HEBEI] == [2000, 2005, 2010, 2015]
    assert all(entry.ratio > 0 for entry in BEIJING_TIANJIN_HEBEI)


def test_open_space_by_hand():
    areas = {1: 500.0, 2: 200.0, 3: 300.0, 9: 1000.0}  # houses, streets, parks, fields
    found = open_space_share(areas, [3], [2], city_codes=[1])
    assert found.share.value == pytest.approx(0.5)
    assert (found.open_m2, found.streets_m2, found.city_m2) == (300.0, 200.0, 1000.0)
    assert math.isnan(found.share.low)
    assert open_space_share(areas, [3], [2]).share.value == pytest.approx(0.25)


def test_open_space_error_agrees_with_sampling():
    areas, errors = {1: 500.0, 2: 200.0, 3: 300.0}, {1: 25.0, 2: 12.0, 3: 9.0}
    found = open_space_share(areas, [3], [2], standard_errors_m2=errors)
    generator = np.random.default_rng(0)
    draws = {code: generator.normal(areas[code], errors[code], 200_000) for code in areas}
    shares = (draws[2] + draws[3]) / (draws[1] + draws[2] + draws[3])
    assert found.share.standard_error == pytest.approx(shares.std(), rel=0.02)
    assert found.share.low < 0.5 < found.share.high


def test_open_space_bad_input():
    with pytest.raises(ConfigurationError, match="at least one"):
        open_space_share({1: 1.0}, [])
    with pytest.raises(ConfigurationError, match="both open space and street"):
        open_space_share({1: 1.0}, [1], [1])
    with pytest.raises(LabelError, match="no area"):
        open_space_share({1: 1.0}, [2], city_codes=[3])


def test_results_are_plain_data():
    found = land_use_efficiency(pair(100.0, 150.0), pair(1000.0, 1200.0), YEARS)
    assert replace(found, confidence=0.9).confidence == 0.9
    sampled = sample_efficiency(pair(100.0, 150.0, 0.1), pair(1000.0, 1200.0, 0.1), YEARS, draws=500)
    assert set(sampled.to_dict()["meanings"]) <= set(SIGN_TABLE.values())
