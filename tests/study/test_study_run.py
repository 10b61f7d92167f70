"""A study runs from one file, keeps finished stages, and says what it will cost."""

import json
import shutil
import subprocess
import sys

import pytest

from ecumene.cli.main import app
from ecumene.core.errors import ConfigurationError, exit_codes
from ecumene.mapping.product import open_product
from ecumene.simulate.demo import write_demo
from ecumene.workflows.study import STATE, run_study
from ecumene.workflows.study_estimate import estimate_study

STUDY = """
name: a small town
inputs:
  scenes: {scene}
model:
  train: {{labels: labels.gpkg, system: random-forest, split: feature, seed: 1}}
map: {{probability: false}}
indicators: {{reference: reference.gpkg}}
out: result
"""


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    data = write_demo(folder, 5, shape=(96, 96), n_polygons_per_class=12, n_reference=120)
    (folder / "study.yaml").write_text(STUDY.format(scene=data.sentinel2[-1].relative_to(folder)))
    return folder


@pytest.fixture(scope="module")
def finished(town):
    before = estimate_study(town / "study.yaml")
    paths = run_study(town / "study.yaml")
    return before, paths


def stamps(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.name != STATE}


def test_a_dry_run_before_training_says_what_it_cannot_know(finished, town):
    before, _ = finished
    assert before.stages == ("train", "map", "assess", "report")
    assert before.pixels == 96 * 96
    assert before.tiles is None
    assert before.bytes_to_read % (96 * 96 * 2) == 0
    assert any("not trained yet" in line for line in before.lines())


def test_the_study_leaves_model_map_assessment_and_report(finished):
    _, paths = finished
    assert open_product(paths.product).legend is not None
    assert json.loads((paths.out / "assessment.json").read_text())["sample_size"] > 50
    assert "a small town" in (paths.out / "report.html").read_text()


def test_a_second_run_does_nothing_and_a_changed_one_does_the_rest(finished, town):
    _, paths = finished
    before = stamps(paths.out)
    run_study(town / "study.yaml")
    assert stamps(paths.out) == before
    text = (town / "study.yaml").read_text()
    (town / "study.yaml").write_text(
        text.replace("reference: reference.gpkg", "reference: reference.gpkg, confidence: 0.9")
    )
    run_study(town / "study.yaml")
    (town / "study.yaml").write_text(text)
    changed = {path.name for path, stamp in stamps(paths.out).items() if before.get(path) != stamp}
    assert changed == {"assessment.json", "report.html"}


def test_a_dry_run_with_a_model_knows_tiles_time_and_memory(finished, town):
    estimate = estimate_study(town / "study.yaml")
    assert estimate.tiles == 1
    assert 0 < estimate.seconds < 60
    assert 1e7 < estimate.memory_bytes < 1e11


def test_a_lost_result_is_made_again(finished, town):
    _, paths = finished
    shutil.rmtree(paths.product)
    run_study(town / "study.yaml")
    open_product(paths.product)


def test_a_damaged_state_is_named(finished, town, tmp_path):
    _, paths = finished
    state = paths.out / STATE
    kept = state.read_text()
    state.write_text("{")
    with pytest.raises(Exception, match="is damaged; delete it"):
        run_study(town / "study.yaml")
    state.write_text(kept)


def test_wrong_map_option_is_one_sentence(town, tmp_path):
    (town / "wrong.yaml").write_text((town / "study.yaml").read_text().replace("probability: false", "tile: 3"))
    with pytest.raises(ConfigurationError, match="map option tile"):
        run_study(town / "wrong.yaml")


def test_events_are_json_lines_that_end_with_the_exit_code(town):
    command = [sys.executable, "-m", "ecumene", "--log-json", "run", str(town / "absent.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert [event["event"] for event in events] == ["started", "failed", "finished"]
    assert events[-1]["exit_code"] == done.returncode == 2
    assert all(event["time"].endswith("Z") for event in events)


def test_every_exit_code_has_a_meaning():
    codes = exit_codes()
    assert {0, 1, 2, 3, 4, 5, 6, 7, 8, 130, 143} <= set(codes)
    assert app.info is not None
