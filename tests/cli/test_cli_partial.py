"""A scene with a damaged block: the map is whole, the exit code is 9, and one sentence says where nothing is known."""

from __future__ import annotations

import json

import numpy as np
import pytest
from end_to_end import copy_scene, done, read, rewrite, run_cli
from support import damage_block

from ecumene.cli import collection, options
from ecumene.cli.main import exit_codes
from ecumene.mapping.product import open_product

BLOCK = 128


@pytest.fixture
def large(scene, tmp_path):
    """The clear scene, repeated until it has several blocks, without a mask of clouds."""
    path = copy_scene(scene, tmp_path / "scene")
    layout = {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "interleave": "pixel", "compress": "deflate"}
    rewrite(path, lambda numbers: np.tile(numbers, (1, 3, 4))[:, :256, :256], **layout)
    return path


def test_a_damaged_block_is_exit_code_9_and_a_whole_map(forest, large, tmp_path):
    command = ("map", forest, large, "--no-cloud-mask", "--out")
    done(*command, tmp_path / "whole")
    damage_block(large, 1, 0)
    outcome = run_cli(*command, tmp_path / "p")
    assert outcome.code == 9
    assert "valid" in exit_codes()[9]
    assert outcome.sentence.startswith("ecumene: ")
    assert "128 x 128 pixels from row 128, column 0" in outcome.sentence
    assert "--overwrite" in outcome.sentence
    assert str(tmp_path / "p") in outcome.out.replace("\n", "")  # what was made is printed all the same
    product = open_product(tmp_path / "p", verify=True)
    assert len(product.damaged) == 1
    valid = read(product.path("valid"))
    expected = np.ones((256, 256), np.uint8)
    expected[BLOCK:, :BLOCK] = 0
    np.testing.assert_array_equal(valid, expected)
    seen = valid == 1
    np.testing.assert_array_equal(read(product.path("value"))[seen], read(tmp_path / "whole" / "value.tif")[seen])
    again = run_cli(*command, tmp_path / "p")  # nothing is forgotten when there is nothing left to do
    assert (again.code, again.sentence) == (9, outcome.sentence)


def test_a_repaired_scene_is_mapped_anew_and_the_code_is_0(forest, large, tmp_path):
    intact = large.read_bytes()
    damage_block(large, 0, 1)
    command = ("map", forest, large, "--no-cloud-mask", "--out", tmp_path / "p")
    assert run_cli(*command).code == 9
    large.write_bytes(intact)
    done(*command, "--overwrite")
    assert (read(tmp_path / "p" / "valid.tif") == 1).all()
    item = json.loads((tmp_path / "p" / "item.json").read_text())
    assert not item["properties"].get("ecumene:damaged_windows")


# -- groups of options -----------------------------------------------------------------------------


def test_a_verb_gets_its_groups_as_dictionaries():
    got = {}

    @options.grouped(declaration=options.DECLARATION, tiles=collection.TILES)
    def verb(scene: str, quick: bool = False, *, declaration: options.Group, tiles: options.Group) -> None:
        """Do it."""
        got.update(scene=scene, quick=quick, declaration=declaration, tiles=tiles)

    import typer
    from typer.testing import CliRunner

    app = typer.Typer()
    app.command()(verb)
    done = CliRunner().invoke(app, ["s.tif", "--quick", "-b", "B02,B03", "-b", "B04", "--scale", "0.5", "--aoi", "a"])
    assert done.exit_code == 0, done.output
    assert (got["scene"], got["quick"]) == ("s.tif", True)
    assert list(got["declaration"]) == list(options.DECLARATION)
    said = {name: value for name, value in got["declaration"].items() if value is not None}
    assert said == {"bands": ["B02", "B03", "B04"], "scale": 0.5}
    assert {name: str(value) for name, value in got["tiles"].items() if value is not None} == {"aoi": "a"}
    assert CliRunner().invoke(app, ["s.tif", "--declaration", "x"]).exit_code == 2
    assert verb.__doc__ == "Do it."
