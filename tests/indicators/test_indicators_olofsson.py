import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.core.files import write_json
from ecumene.indicators.olofsson import olofsson_report

COUNTS = [[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]]
WEIGHTS = np.array([0.020, 0.015, 0.320, 0.645])


@pytest.fixture(scope="module")
def example():
    return olofsson_report(COUNTS, WEIGHTS * 900_000, ["loss", "gain", "forest", "other"], area_unit="ha")


def test_worked_example_of_the_paper(example):
    assert round(example.overall.value, 3) == 0.947
    assert round(example.overall.margin, 3) == 0.018
    assert [round(item.value) for item in example.areas] == [21158, 11686, 285770, 581386]
    assert [round(item.margin) for item in example.areas] == [6158, 3756, 15510, 16282]
    # Section 5.1 of the paper: user's 0.88 +- 0.07, 0.73 +- 0.10, 0.93 +- 0.04, 0.96 +- 0.02;
    # producer's 0.75 +- 0.21, 0.85 +- 0.23, 0.93 +- 0.03, 0.96 +- 0.01 to the digits that it prints.
    assert [round(item.value, 2) for item in example.users] == [0.88, 0.73, 0.93, 0.96]
    assert [round(item.margin, 2) for item in example.users] == [0.07, 0.10, 0.04, 0.02]
    assert [round(item.value, 2) for item in example.producers] == [0.75, 0.85, 0.93, 0.96]


def test_producers_variance_is_equation_7_written_out(example):
    counts, size = np.array(COUNTS, float), WEIGHTS * 10_000_000  # N_i., map pixels
    rows = counts.sum(axis=1)
    for j in range(4):
        reference = sum(size[i] * counts[i, j] / rows[i] for i in range(4))
        users, producers = counts[j, j] / rows[j], size[j] * counts[j, j] / rows[j] / reference
        first = size[j] ** 2 * (1 - producers) ** 2 * users * (1 - users) / (rows[j] - 1)
        second = producers**2 * sum(
            size[i] ** 2 * counts[i, j] / rows[i] * (1 - counts[i, j] / rows[i]) / (rows[i] - 1)
            for i in range(4)
            if i != j
        )
        assert example.producers[j].value == pytest.approx(producers, rel=1e-12)
        assert example.producers[j].standard_error == pytest.approx(np.sqrt((first + second) / reference**2), rel=1e-12)


def test_standard_errors_against_simulated_samples():
    rng = np.random.default_rng(0)
    within = np.array(COUNTS) / np.sum(COUNTS, axis=1, keepdims=True)
    drawn = np.stack([rng.multinomial(1500, row, 3000) for row in within], axis=1)
    reports = [olofsson_report(item, WEIGHTS) for item in drawn]
    for pick in (
        lambda r: r.overall,
        *(lambda r, j=j: r.areas[j] for j in range(4)),
        *(lambda r, j=j: r.producers[j] for j in range(4)),
        *(lambda r, j=j: r.users[j] for j in range(4)),
    ):
        values = np.array([pick(item).value for item in reports])
        errors = np.array([pick(item).standard_error for item in reports])
        assert np.sqrt((errors**2).mean()) == pytest.approx(values.std(), rel=0.08)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 40), min_size=3, max_size=3), min_size=3, max_size=3))
def test_weights_proportional_to_the_sample_give_the_plain_accuracy(counts):
    table = np.array(counts) + 1
    report = olofsson_report(table, table.sum(axis=1))
    assert report.overall.value == pytest.approx(np.trace(table) / table.sum())
    np.testing.assert_allclose([item.value for item in report.areas], table.sum(axis=0))
    np.testing.assert_allclose([item.value for item in report.producers], np.diag(table) / table.sum(axis=0))
    assert report.proportions.sum() == pytest.approx(1)


def test_class_that_is_not_mapped_gets_an_area():
    report = olofsson_report([[40, 2, 8], [0, 30, 0], [0, 0, 0]], [700, 300, 0], ["a", "b", "new"])
    assert report.areas[2].value == pytest.approx(0.7 * 8 / 50 * 1000)
    assert report.areas[2].standard_error > 0
    assert report.producers[2].value == 0
    assert np.isnan(report.users[2].value)
    assert np.isnan(report.users[2].low)
    assert report.warnings == ()


def test_stratum_without_samples_is_left_out_with_a_warning():
    report = olofsson_report([[40, 2, 0], [1, 30, 0], [0, 0, 0]], [600, 300, 100], ["a", "b", "c"])
    assert report.weights.tolist() == [pytest.approx(2 / 3), pytest.approx(1 / 3), 0]
    assert sum(item.value for item in report.areas) == pytest.approx(900)
    assert "map class c (10 % of the area)" in report.warnings[0]
    assert np.isfinite(report.overall.standard_error)


def test_stratum_with_one_sample_has_no_variance():
    report = olofsson_report([[40, 2], [0, 1]], [600, 300], ["a", "b"])
    assert np.isfinite(report.overall.value)
    assert np.isnan(report.overall.standard_error)
    assert np.isnan(report.areas[0].low)
    assert np.isfinite(report.users[0].standard_error)
    assert np.isnan(report.users[1].standard_error)
    assert "map class b has one reference sample" in report.warnings[0]
    stored = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert stored["overall_accuracy"]["standard_error"] is None


def test_reference_never_seen_has_no_producers_accuracy():
    report = olofsson_report([[40, 0], [10, 0]], [600, 300])
    assert np.isnan(report.producers[1].value)
    assert report.areas[1].value == 0


def test_intervals_stay_in_range_and_frame_has_all(example):
    frame = example.to_frame()
    assert list(frame.index) == ["loss", "gain", "forest", "other"]
    assert frame.loc["loss", "area_ha"] == pytest.approx(21157.76, abs=0.01)
    assert (frame["area_ha_high"] - frame["area_ha_low"]).iloc[0] == pytest.approx(2 * 6157.6, rel=1e-3)
    perfect = olofsson_report([[10, 0], [1, 9]], [0.5, 0.5])
    assert perfect.users[0].high == 1.0
    assert perfect.areas[1].low >= 0
    wide = olofsson_report(COUNTS, WEIGHTS, confidence=0.99)
    assert wide.overall.margin / example.overall.margin == pytest.approx(2.5758 / 1.96, rel=1e-4)


def test_impossible_input_is_a_sentence():
    with pytest.raises(LabelError, match="map class 1, whose mapped area is 0"):
        olofsson_report([[4, 1], [2, 3]], [5, 0])
    with pytest.raises(LabelError, match="nothing to estimate"):
        olofsson_report([[0, 0], [0, 0]], [5, 1])
    with pytest.raises(ConfigurationError, match="square"):
        olofsson_report([[1, 2, 3], [1, 2, 3]], [1, 2])
    with pytest.raises(ConfigurationError, match="whole numbers"):
        olofsson_report([[1.5, 2], [1, 2]], [1, 2])


def test_a_file_keeps_the_order_of_the_matrix(example, tmp_path):
    write_json(tmp_path / "report.json", example.to_dict())
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["class_names"] == ["loss", "gain", "forest", "other"]
    assert list(found["classes"]) == sorted(found["class_names"])  # which is another one
