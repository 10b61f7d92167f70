"""The physics sections of the page of results: built from the files, with real and simulated data told apart."""

import json
import re

import pytest
from support import RESULTS, ROOT, load_script


@pytest.fixture(scope="module")
def maker():
    return load_script(ROOT / "docs" / "physics_results.py")


def load(name):
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def test_sections_say_what_their_data_are(maker):
    for name, build in maker.SECTIONS.items():
        text = build(load(name))
        assert text.startswith("## Physics: ")
        simulated_only = name in {"physics_tomography", "physics_retrieval"}
        assert ("**Real data.**" in text) is not simulated_only
        assert "SIMULATED" in text or name == "physics_sharpening"
        assert not re.search(r"\bnan\b", text)
        for picture in re.findall(r"\]\((images/[^)]+)\)", text):
            assert (ROOT / "docs" / picture).stat().st_size < 100_000


def test_figures_follow_the_file(maker):
    found = load("physics_unmixing")
    before = maker.unmixing(found)
    found["jasper_ridge"]["given_endmembers"]["fcls"]["abundance_rmse"] = 0.4321
    after = maker.unmixing(found)
    assert "0.4321" in after
    assert "0.4321" not in before
    found = load("physics_tomography")
    curve = found["TerraSAR-X-like"]["double"][0]
    curve["against_svd_wiener_below_one"]["svd_wiener"]["worse_beyond_two_errors_at"] = [0.15]
    assert re.search(r"\| TerraSAR-X-like \| 3 \|.*\| 0\.15 \|", maker.tomography(found))


def test_no_figure_is_typed_by_hand():
    source = (ROOT / "docs" / "physics_results.py").read_text(encoding="utf-8")
    assert not re.findall(r"\b0\.\d{2,}", source.replace("coherence 0.75", ""))
