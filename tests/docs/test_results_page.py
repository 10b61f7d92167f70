"""The page of results says what the benchmarks' files say, and nothing else."""

import json
import re

import pytest
from support import ROOT, load_script

MACHINE = {"processor": "some processor", "cores": 2, "system": "Linux", "python": "3.11", "versions": {"torch": "2.0"}}


@pytest.fixture(scope="module")
def maker():
    return load_script(ROOT / "docs" / "make_results.py")


def spread(mean, deviation=None):
    return {"mean": mean, "standard_deviation": deviation, "values": [mean]}


def main_path():
    run = {"seed": 0, "class_sets": {"coverage": 0.8765}}
    summary = {
        "overall_accuracy": spread(0.4321, 0.0123),
        "macro_f1": spread(0.3456),
        "kappa": spread(0.2345),
        "calibration": spread(0.0567),
        "flagged_share_in_distribution": spread(0.0321),
        "train_seconds": spread(61.4),
    }
    data = {"name": "a data set", "kind": "real", "sha256": "0123456789abcdef" * 4}
    shift = {"auroc": spread(0.991), "auroc_band_means": spread(0.876), "fpr95": spread(0.1)}
    shift |= {"auroc_band_means_without_covariance": spread(0.5), "flagged_share": spread(0.9)}
    outliers = {"summary": {"flagged_share_in_distribution": spread(0.017), "clouded": shift}, "runs": [{}]}
    opened = {"data": data, "shape": [264, 300], "times": ["2020-02-23", None], "channels": ["a", "b"]}
    opened["valid_fraction"] = 0.5
    return {
        "run": "2026-01-02T03:04:05+00:00",
        "machine": MACHINE,
        "parts": {
            "slovenia": {"data": data, "protocol": "blocks", "cases": {"unet": {"summary": summary, "runs": [run]}}},
            "outliers": {"data": data, "protocol": "AUROC", "systems": {"unet-small": outliers}},
            "openings": {"majortom": opened},
        },
    }


def test_figures_come_from_the_file(maker, tmp_path):
    (tmp_path / "main_path.json").write_text(json.dumps(main_path()))
    page = maker.make_page(tmp_path)
    for expected in (
        "| unet | 0.432 ± 0.012 | 0.346 | 0.234 | 0.057 | 0.876 | 0.032 | 61 |",
        "| clouded | 0.9910 | 0.8760 | 0.5000 | 0.100 | 0.900 |",
        "| a data set | 300 x 264 | 2020-02-23, undated | 2 | 50.0% |",
        "(real, SHA-256 `0123456789abcdef…`)",
        "some processor",
    ):
        assert expected in page
    assert "simulated city" not in page.lower()


def test_networks_are_compared_with_the_forest_of_the_same_seed(maker):
    def case(*values):
        return {"runs": [{"seed": seed, "overall_accuracy": value} for seed, value in enumerate(values)]}

    cases = {"unet, one date": case(0.8, 0.7, 0.9), "random forest, one date": case(0.7, 0.75, 0.8), "other": case(0.1)}
    text = maker.against_forest(cases)
    assert "unet, one date: overall accuracy +0.050 ± 0.087 against" in text
    assert "better in 2 of 3" in text
    assert "other" not in text


def test_nothing_without_files(maker, tmp_path):
    assert maker.make_page(tmp_path) == maker.HEAD


def test_page_is_up_to_date(maker):
    assert maker.PAGE.read_text(encoding="utf-8") == maker.make_page(), "run `python docs/make_results.py`"


def test_no_figure_is_typed_by_hand(maker):
    assert not re.search(r"\b0\.\d{3}\b", maker.HEAD.replace("`0.812 ± 0.015`", ""))
