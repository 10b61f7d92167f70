"""The trust sections of the page of results: built from the files, goals beside figures, real and simulated apart."""

import json
import re

import pytest
from support import RESULTS, ROOT, load_script

COST = {
    "run": "2026-01-02T03:04:05+00:00",
    "machine": {"processor": "some", "cores": 2, "system": "Linux", "python": "3.11", "versions": {"torch": "2.0"}},
    "data": "made-up landscapes",
    "settings": {"edge": 2048, "backend": "torch"},
    "ratio_to_class_only": {
        "class only": {"wall": 1.0, "processor": 1.0},
        "default": {"wall": 1.24, "processor": 1.3},
        "default with probabilities": {"wall": 1.9, "processor": 1.8},
    },
}


@pytest.fixture(scope="module")
def maker():
    return load_script(ROOT / "docs" / "trust_results.py")


def load(name):
    path = RESULTS / f"{name}.json"
    if name == "trust_cost" and not path.exists():
        return json.loads(json.dumps(COST))
    return json.loads(path.read_text(encoding="utf-8"))


def row(text, *starts):
    """Return the cells of the only row that begins with these cells."""
    lines = [line for line in text.splitlines() if line.startswith("| " + " | ".join(starts) + " |")]
    assert len(lines) == 1
    return [cell.strip() for cell in lines[0].strip("|").split("|")]


@pytest.mark.parametrize(
    "name", ["trust_blocks", "trust_calibration", "trust_outliers", "trust_members", "label_next", "trust_cost"]
)
def test_sections_say_what_their_data_are(maker, name):
    text = maker.SECTIONS[name](load(name))
    assert text.startswith("## Trust: ")
    assert "**Real data.**" in text or "**SIMULATED data.**" in text
    assert "oal" in text
    assert not re.search(r"\bnan\b|None|[{}]", text)
    heads = [len(line.split("|")) for line in text.splitlines() if line.startswith("| ---")]
    widths = {len(line.split("|")) for line in text.splitlines() if line.startswith("|")}
    assert heads
    assert widths == set(heads)


def test_real_and_simulated_cases_have_tables_of_their_own(maker):
    found = load("trust_blocks")
    found["cases"]["salinas"]["data"]["kind"] = "simulated"
    real, simulated = maker.blocks(found).split("**SIMULATED data.**")
    assert "| RSSCN7 |" in real
    assert "| RSSCN7 |" not in simulated
    assert "| Salinas |" in simulated
    assert "| Salinas |" not in real


def test_a_calibration_error_is_held_against_its_goal(maker):
    found = load("trust_blocks")
    summary = found["cases"]["salinas"]["learners"]["network"]["summary"]
    for value, shown in ((0.0204, "0.020 ± 0.001"), (0.0206, "0.021 ± 0.001, missed")):
        summary["calibration/expected_calibration_error"] |= {"mean": value, "standard_deviation": 0.001}
        assert row(maker.blocks(found), "Salinas", found["cases"]["salinas"]["network"])[4] == shown


@pytest.mark.parametrize(("value", "missed"), [(0.884, True), (0.89, False), (0.91, False), (0.9149, True)])
def test_a_coverage_is_held_against_its_goal(maker, value, missed):
    found = load("trust_blocks")
    found["cases"]["potsdam"]["learners"]["network"]["summary"]["interval_coverage_over_blocks"]["mean"] = value
    cell = row(maker.blocks(found), "Potsdam", found["cases"]["potsdam"]["network"])[6]
    assert cell.startswith(f"{value:.3f}")
    assert cell.endswith("missed") is missed


def test_single_images_have_no_worst_block(maker):
    assert row(maker.blocks(load("trust_blocks")), "RSSCN7", "random forest")[7] == "-"


def test_the_default_detector_is_held_against_its_goal(maker):
    found = load("trust_outliers")
    shifts = found["parts"]["slovenia"]["shifts"]
    shifts["region: Spain"]["combined"]["auroc"]["mean"] = 0.9432
    shifts["region: Spain"]["vim"]["auroc"]["mean"] = 0.9999
    shifts["region: Spain"]["neighbours, bands and features"]["auroc"]["mean"] = 0.98
    shifts["region: Spain"]["mahalanobis, bands and features"]["auroc"]["mean"] = 0.98
    shifts["region: Spain"]["combined, fitted on the training's patches"]["auroc"]["mean"] = 0.98
    cells = row(maker.outliers(found), "Slovenia: Spain")
    assert cells[1].startswith("0.943")
    assert cells[1].endswith("missed")
    assert cells[2] == "1.000 (vim)"


def test_mimo_has_to_be_as_fast_and_as_accurate(maker):
    found = load("trust_members")
    part = next(iter(found["data_sets"].values()))
    single, mimo = part["summary"]["single"], part["summary"]["mimo 2"]
    found["data_sets"] = {"simulated_city": part}
    mimo["time_ratio"] = {"mean": 1.1, "standard_deviation": None}
    mimo["overall_accuracy"] = dict(single["overall_accuracy"])
    assert "missed" not in " ".join(row(maker.members(found), "mimo 2"))
    mimo["overall_accuracy"]["mean"] -= 0.02
    assert row(maker.members(found), "mimo 2")[1].endswith("missed")
    mimo["time_ratio"]["mean"] = 1.16
    assert row(maker.members(found), "mimo 2")[9] == "1.16, missed"


def test_places_that_were_never_enough_are_a_dash(maker):
    found = load("label_next")
    field = found["fields"]["slovenia"]
    found["fields"] = {"slovenia": field}
    field["comparison"]["macro_f1"]["strategies"]["margin"]["places_needed_for_random_at_last"] = None
    assert row(maker.label_next(found), "margin")[7] == "-"


def test_only_the_default_map_has_a_goal(maker):
    found = json.loads(json.dumps(COST))
    assert "missed" not in maker.cost(found)
    found["ratio_to_class_only"]["default"]["wall"] = 1.26
    assert row(maker.cost(found), "default")[1] == "1.26, missed"


def test_no_figure_is_typed_by_hand():
    source = (ROOT / "docs" / "trust_results.py").read_text(encoding="utf-8")
    figures = re.findall(r"\b[01]\.\d{2,}", source)
    assert sorted(figures) == [
        "0.01",
        "0.02",
        "0.89",
        "0.91",
        "0.95",
        "1.15",
        "1.25",
    ]  # goals, and what counts as equal


def test_the_file_of_detectors_stays_small():
    assert (RESULTS / "trust_outliers.json").stat().st_size < 150_000
