"""The sections on classes of images and hyperspectral pixels, their picture, and the figures packaged with systems."""

import json
from xml.etree import ElementTree

import pytest
from support import ROOT, load_script

from ecumene.systems import list_systems

MACHINE = {"processor": "some processor", "cores": 2, "system": "Linux", "python": "3.11", "versions": {"torch": "2.0"}}
STAMP = {"run": "2026-01-02T03:04:05+00:00", "machine": MACHINE}
DATA = {"name": "a data set", "kind": "real", "sha256": "0123456789abcdef" * 4}


@pytest.fixture(scope="module")
def maker():
    return load_script(ROOT / "docs" / "make_results.py")


@pytest.fixture(scope="module")
def measured():
    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(str(ROOT / "benchmarks"))
    try:
        return load_script(ROOT / "benchmarks" / "measured.py")
    finally:
        patch.undo()


def spread(*values):
    deviation = max(values) - min(values) if len(values) > 1 else None
    return {"mean": sum(values) / len(values), "standard_deviation": deviation, "values": list(values)}


def rsscn7():
    rows = []
    for share, machine, network in ((0.2, 0.61, 0.52), (0.35, 0.65, 0.66), (0.5, 0.6789, 0.7543)):
        against = {"draws": 2, "mean": network - machine, "better_in": 2, "low": 0.01, "high": 0.14}
        rows += [
            {"share": share, "method": "svm", "overall_accuracy": spread(machine, machine), "seconds": spread(1.0)},
            {
                "share": share, "method": "googlenet", "epochs": 30, "input_size": 112,
                "overall_accuracy": spread(network, network), "seconds": spread(300.0), "against_svm": against,
            },
        ]  # fmt: skip
    runs = {"googlenet 0.5 0": {"start": "The network began with random weights."}}
    return {**STAMP, "data": DATA, "protocol": "Title.\n\nHow it was done.", "rows": rows, "runs": runs}


def hyperspectral():
    entry = {"draws": 3, "mean": 0.9731, "standard_deviation": 0.0042}
    gain = {"mean": -0.0024, "standard_error": 0.0011, "better": 1, "of": 3}
    table = {
        "50": {"GRU-PRetanh": {**entry, "gain over SVM, C = 100": gain}, "SVM, C = 100": {**entry, "mean": 0.9755}},
        "5": {"SVM, C = 100": {**entry, "mean": 0.9123}},
    }
    variants = {
        "GRU-PRetanh": {"draws": [100, 101], "mean": 0.97},
        "GRU-PRetanh, 8 bands a step": {"draws": [100], "mean": 0.95, "gain over GRU-PRetanh": -0.02},
    }
    return {
        **STAMP,
        "data": [DATA],
        "protocol": "Few labels.",
        "reference_random": {"5": 0.918, "50": 0.976},
        "overall_accuracy": {
            "salinas, random": table,
            "indian-pines spectra, cross-validation": {"all": {"CNN": entry}},
        },
        "ablations": variants,
    }


def lcz(kind="simulated"):
    found = {name: spread(0.5, 0.7) for name in ("overall_accuracy", "average_accuracy", "kappa")}
    found |= {"oa_built": spread(0.4), "oa_natural": spread(0.9), "training_seconds": spread(100.0)}
    return {
        **STAMP,
        "data": {**DATA, "kind": kind, "images": 4000},
        "split": {"name": "culture-10", "images": {"train": 3000, "test": 1000}},
        "epochs": 40,
        "learners": {"sen2lcz-net": found, "so2sat-rf": found},
        "paired": {"sen2lcz-net": spread(0.0123)},
    }


def simulated():
    figure = {
        "data_set": "EuroSAT", "metric": "overall_accuracy", "value": 0.9857, "protocol": "RGB", "verified": True,
        "bench": "random-80",
    }  # fmt: skip
    return {
        **STAMP,
        "data": {**DATA, "kind": "simulated", "images": 27000},
        "system": "eurosat-resnet50",
        "protocol": "random-80",
        "input_size": 64,
        "epochs_allowed": 2,
        "simulation": {"gigabytes": 2.98, "seconds": 900.0},
        "split": {"train": 17280, "test": 5400},
        "metrics": {"overall_accuracy": spread(0.8765), "kappa": {}},
        "published": [figure],
        "parameters": 23_528_522,
        "seconds": {"whole_bench": 1200.0},
        "gigabytes_of_memory": 2.5,
    }


def speed():
    images = {"in memory": [40.0, 44.0, 42.0], "in memory, augmented": [41.0] * 3, "from files, augmented": [40.0] * 3}
    return {
        **STAMP,
        "data": {"name": "random patches", "kind": "simulated", "images": 1000},
        "cache": {"share": 0.25},
        "network": "resnet50",
        "precision": "bf16",
        "batch_size": 32,
        "steps": 12,
        "images_per_second": images,
        "images_per_processor_second": images,
        "files_over_memory": {"median": 0.964},
        "files_over_memory_augmented": {"median": 0.978},
        "delivered_per_second": {"ours": 1100.0},
        "trained_per_second": {"ours": 40.0, "plain": 33.3},
    }


FILES = {
    "scenes_rsscn7": rsscn7(),
    "hyperspectral": hyperspectral(),
    "lcz": lcz(),
    "scenes_simulated": simulated(),
    "scene_training": speed(),
}


@pytest.fixture
def folder(tmp_path):
    for name, results in FILES.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(results))
    return tmp_path


def test_figures_come_from_the_files(maker, folder):
    page = maker.make_page(folder)
    for expected in (
        "| 50% | googlenet, 30 epochs of 112 pixels | 2 | 0.754 ± 0.000 | +0.075 (+0.010 to +0.140), better in 2 of 2",
        "surely better: googlenet, 30 epochs of 112 pixels",
        "| support vector machine on colour and texture | 0.610 | 0.650 | 0.679 |",
        "| GRU-PRetanh | - | 0.973 ± 0.004 (3) |",
        "| SVM, C = 100, as stated with the data | 0.918 | 0.976 |",
        "GRU-PRetanh against SVM, C = 100 -0.0024, standard error 0.0011, better in 1 of 3 draws.",
        "| GRU-PRetanh, 8 bands a step | 100 | 0.9500 | -0.0200 |",
        "0.8499 on Pavia University",
        "| sen2lcz-net | 2 | 0.600 ± 0.200 |",
        "| overall accuracy | 0.8765 | 0.9857 |",
        "27,000 patches in 2.98 GB, written in 900 s",
        "trains at 96.4 % of the rate of images that lie in memory",
        "limited to 25 % of them",
    ):
        assert expected in page, expected


def test_simulated_data_are_called_so(maker, folder):
    page = maker.make_page(folder)
    for title in ("Local climate zones", "EuroSAT, simulated at full size", "Training from official files"):
        part = page.split(f"## {title}")[1].split("\n## ")[0]
        assert "**SIMULATED data.**" in part
        assert "**Real data.**" not in part
    (folder / "lcz.json").write_text(json.dumps(lcz("real")))
    assert "**Real data.**" in maker.make_page(folder).split("## Local climate zones")[1].split("\n## ")[0]


def test_half_finished_runs_make_a_section(maker, tmp_path):
    part = rsscn7()
    part["rows"] = part["rows"][:1]
    (tmp_path / "scenes_rsscn7.json").write_text(json.dumps(part))
    some = hyperspectral()
    del some["ablations"]
    (tmp_path / "hyperspectral.json").write_text(json.dumps(some))
    page = maker.make_page(tmp_path)
    assert "Learning curves" not in page
    assert "Variants of" not in page


def test_the_picture_is_well_formed_and_holds_every_curve(maker):
    source, draw = maker.PICTURES["rsscn7_learning_curves.svg"]
    assert source == "scenes_rsscn7"
    tree = ElementTree.fromstring(draw(rsscn7()))
    texts = [element.text for element in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert "googlenet, 30 epochs of 112 pixels" in texts
    assert "support vector machine on colour and texture" in texts
    assert len(list(tree.iter("{http://www.w3.org/2000/svg}circle"))) == 6


def test_measured_figures_are_those_of_the_files(measured, folder):
    found = {(entry["system"], entry["kind"]): entry for entry in measured.collect(folder)}
    assert found["eurosat-googlenet", "real"]["mean"] == 0.7543
    assert found["eurosat-googlenet", "real"]["source"] == "scenes_rsscn7.json"
    assert "30 epochs of 112 pixels" in found["eurosat-googlenet", "real"]["protocol"]
    assert found["hsi-gru-pretanh", "real"]["mean"] == 0.9731
    assert found["sen2lcz-net", "simulated"]["draws"] == 2
    assert found["eurosat-resnet50", "simulated"]["standard_deviation"] is None
    assert found["so2sat-rf", "simulated"]["data_set"] == "a data set"
    assert {system for system, _ in found} <= {system.name for system in list_systems()}


def test_packaged_figures_are_up_to_date(measured):
    assert json.loads(measured.TARGET.read_text()) == measured.collect(), "run `python benchmarks/measured.py`"
