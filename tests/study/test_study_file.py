"""The study file says what is wrong with it, in one sentence."""

from pathlib import Path

import pytest

from ecumene.core.errors import ConfigurationError
from ecumene.workflows.study import open_study
from ecumene.workflows.study_file import read_study

GOOD = """
name: a study
inputs: {scenes: [a.tif]}
model: {bundle: model}
out: result
"""


def refusal(folder: Path, text: str) -> str:
    path = folder / "study.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        read_study(path)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence


def test_a_study_with_one_scene_is_read(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(GOOD.replace("[a.tif]", "a.tif"))
    study = read_study(path)
    assert study.inputs.scenes == ("a.tif",)
    assert study.report


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("name:", "nmae:"), ("'nmae' is unknown", "'name'")),
        (("{scenes: [a.tif]}", "{scene: [a.tif]}"), ("'inputs.scene' is unknown", "'scenes'")),
        (("out: result", ""), ("'out' is missing",)),
        (("{bundle: model}", "{}"), ("model:", "either bundle or train")),
        (("{scenes: [a.tif]}", "{}"), ("either scenes or catalogue",)),
        (("out: result", "out: result\nreport: perhaps"), ("report",)),
        (("out: result", "out: result\ngrid: {}\nperiod: 2024-08/2024-06"), ("before it begins",)),
        (("out: result", "out: result\ngrid: {}\nperiod: summer"), ("is no period",)),
        (("{scenes: [a.tif]}", "{catalogue: c}"), ("a catalogue needs grid",)),
        (("out: result", "out: result\nperiod: 2024"), ("needs grid",)),
        (("out: result", "out: result\nindicators: {reference: holdout}"), ("holdout needs model.train",)),
    ],
)
def test_mistakes_are_named(tmp_path, change, words):
    sentence = refusal(tmp_path, GOOD.replace(*change))
    assert all(word in sentence for word in words), sentence


def test_text_that_is_no_study(tmp_path):
    assert "line 1" in refusal(tmp_path, "a: [1, 2")
    assert "not a study" in refusal(tmp_path, "- 1\n- 2\n")
    assert "aliases" in refusal(tmp_path, "a: &x [1]\nb: *x\n")
    assert "is not valid YAML" in refusal(tmp_path, "a: !!python/object/apply:os.system ['true']\n")
    assert "larger than 1 MB" in refusal(tmp_path, "#" * (1 << 21))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_study(tmp_path / "absent.yaml")


def test_files_that_are_absent_are_named(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(GOOD)
    with pytest.raises(ConfigurationError, match=r"model\.bundle names model"):
        open_study(path)
