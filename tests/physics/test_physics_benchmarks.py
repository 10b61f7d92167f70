"""The driver of the physics benchmarks, and what the committed results say of themselves."""

import json
import subprocess
import sys

import pytest
from support import RESULTS, ROOT, load_script


@pytest.fixture(scope="module")
def driver():
    return load_script(ROOT / "benchmarks" / "physics.py")


def test_every_part_is_there_and_no_other_is_taken(driver):
    files = {path.stem.removeprefix("physics_") for path in (ROOT / "benchmarks").glob("physics_*.py")}
    assert set(driver.PARTS) == files - {"tomography_peers"}
    assert driver.chosen(None) == list(driver.PARTS)
    assert driver.chosen("unmixing, speckle") == ["unmixing", "speckle"]
    with pytest.raises(SystemExit, match="--only takes"):
        driver.chosen("unmixing,astrology")


def test_real_parts_need_their_data():
    found = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "physics.py"), "--only", "unmixing"],
        capture_output=True, text=True, env={}, check=False,
    )  # fmt: skip
    assert found.returncode != 0
    assert "ECUMENE_DATA" in found.stderr


def _texts(value):
    if isinstance(value, dict):
        for key, entry in value.items():
            yield str(key)
            yield from _texts(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from _texts(entry)
    elif isinstance(value, str):
        yield value


def test_results_name_machine_and_data_but_no_path(driver):
    for part in driver.PARTS:
        found = json.loads((RESULTS / f"physics_{part}.json").read_text())
        assert found["machine"]["versions"]["ecumene"]
        data = found.get("data", found.get("data_sets"))
        if part in driver.REAL:
            assert all(len(entry["sha256"]) == 64 for entry in data)
        else:
            assert "simulated" in data
        assert not [text for text in _texts(found) if text.startswith(("/", "~"))]
