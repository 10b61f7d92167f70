"""The sections on engine and scale of the page of results: built from the files, every goal beside its figure."""

import copy
import json
import re

import pytest
from support import RESULTS, ROOT, load_script

CASE = {
    "ratios": {"map_over_deployed_wall": 1.1, "map_over_deployed_processor": 1.12, "map_over_network_wall": 1.2,
               "map_over_network_processor": 1.22},
    "map": {"wall_s": 10.0, "processor_s": 20.0, "peak_rss_mib": 1400.0, "executed_over_mapped": 1.06,
            "start_to_first_tile_s": 3.21},
    "stages_processor_s": {"read": 1.0, "forward": 17.0},
}  # fmt: skip
OURS = {"wall_s": 10.0, "processor_s": 20.0, "peak_rss_mib": 1400.0, "agreement": 1.0}
ENGINE = {
    "run": "2026-01-02T03:04:05+00:00",
    "machine": {"processor": "some", "cores": 2, "system": "Linux", "python": "3.11", "versions": {"torch": "2.0"}},
    "classes": 10,
    "dates": 12,
    "runs": {"image": {"edge": 10980, "rounds": 3}, "peers": {"edge": 5490, "rounds": 1}},
    "image": {"4 bands, torch bf16": CASE},
    "memory": {"4 bands, torch bf16": {"single_mib": 1400.0, "double_mib": 1430.0, "ratio": 1.0214}},
    "commands": {"help": 0.5, "small_map": 4.0},
    "peers": {
        "4 bands": {
            "ecumene torch bf16": OURS,
            "torchgeo_map": {**OURS, "agreement": 0.998, "wall_over": {"ecumene torch bf16": 7.5}},
            "dask_map": {**OURS, "wall_over": {"ecumene torch bf16": 1.65}},
        }
    },
}


@pytest.fixture(scope="module")
def maker():
    return load_script(ROOT / "docs" / "engine_results.py")


@pytest.fixture
def engine():
    return copy.deepcopy(ENGINE)


def load(name):
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def test_every_file_that_is_there_makes_a_section(maker):
    for name, build in maker.SECTIONS.items():
        if not (RESULTS / f"{name}.json").exists():
            continue
        text = build(load(name))
        assert text.startswith(("## Engine: ", "## Scale: "))
        assert "**SIMULATED data.**" in text
        assert not re.search(r"\bnan\b|None|[{}]", text)


def test_figures_of_maps_stand_beside_their_goals(maker, engine):
    text = maker.engine(engine)
    assert "| 4 bands, torch bf16 | 1.20 | 1.10 | 1.22 | 1.12 | 1.060 | 1,400 | 3.2 |" in text
    assert "| 4 bands, torch bf16 | 5.0 % | 85.0 % |" in text
    engine["image"]["4 bands, torch bf16"]["ratios"]["map_over_network_wall"] = 1.26
    engine["image"]["4 bands, torch bf16"]["map"]["peak_rss_mib"] = 1600.0
    assert "| 1.26, missed | 1.10 | 1.22 | 1.12 | 1.060 | 1,600, missed |" in maker.engine(engine)


def test_without_the_bare_network_the_goal_holds_for_the_deployed_one(maker, engine):
    ratios = engine["image"]["4 bands, torch bf16"]["ratios"]
    del ratios["map_over_network_wall"], ratios["map_over_network_processor"]
    ratios["map_over_deployed_wall"] = 1.3
    assert "| - | 1.30, missed | - | 1.12 |" in maker.engine(engine)


def test_peers_have_goals_by_precision(maker, engine):
    text = maker.engine(engine)
    assert "| 4 bands | torchgeo_map | 99.80 % | 10.0 | 7.50 | 1,400 |" in text
    assert "| 4 bands | dask_map | 100.00 % | 10.0 | 1.65, missed | 1,400 |" in text
    assert "torchgeo: 6 in bf16, 10 in int8" in text


def test_memory_and_commands(maker, engine):
    engine["memory"]["4 bands, torch bf16"]["ratio"] = 1.06
    engine["commands"]["help"] = 1.2
    text = maker.engine(engine)
    assert "| 1.060, missed |" in text
    assert "| help | 1.20, missed |" in text
    assert "| small map | 4.00 |" in text


def test_a_part_that_was_not_measured_is_left_out(maker, engine):
    del engine["peers"], engine["memory"]
    text = maker.engine(engine)
    assert "Other ways" not in text
    assert "Peak memory;" not in text


def test_int8_that_does_not_qualify_is_missed(maker):
    found = load("engine_int8")
    found["ways"]["onnx int8"]["qualifies"] = False
    found["ways"]["onnx int8"]["agreement"]["agreement"] = 0.97
    assert "| onnx int8 | 97.00 %, missed |" in maker.int8(found)


def test_goals_of_scale(maker):
    found = load("scale")
    found["empty_tile"]["dask_over_bare_ms"] = 4.9
    found["killed_workers"] |= {"tiles": 200, "workers_killed": 20, "same_bytes": True}
    assert "missed" not in maker.scale(found)
    found["killed_workers"]["same_bytes"] = False
    assert "the same bytes: no" in maker.scale(found)
    assert maker.scale(found).count("missed") == 1
    kills = load("scale_kills") | {"kills": 1000, "collections_different": 1}
    assert "| runs killed | 1,000 | 1,000 |" in maker.kills(kills)
    assert "0, missed" in maker.kills(kills)


def test_no_figure_is_typed_by_hand():
    source = (ROOT / "docs" / "engine_results.py").read_text(encoding="utf-8")
    assert sorted(re.findall(r"\b\d+\.\d{2,}", source)) == ["0.98", "1.05", "1.07", "1.25"]  # the goals
