"""Trouble on the way to a collection: damaged blocks, full disks, and another run that is at work."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time

import numpy as np
import pytest
import rasterio
from catalogue_data import grid, make_model, write_list, write_scene
from end_to_end import refused, run_cli, start_cli
from support import damage_block
from test_catalogue_run import OPTIONS, rasters, read

from ecumene.catalogue.claims import FolderShelf, held, take_claim
from ecumene.catalogue.store import FolderStore
from ecumene.core.errors import ProductError
from ecumene.mapping import open_product
from ecumene.workflows.map_collection import map_collection

GRID = "EPSG:32633:2560"
BLOCK = 128


@pytest.fixture
def scenes(tmp_path):
    """A list of one small scene."""
    return write_list(tmp_path / "list.txt", [write_scene(tmp_path / "s.tif", grid(192, 192))])


@pytest.fixture
def blocks(tmp_path):
    """A list of one scene in many blocks."""
    path = write_scene(tmp_path / "s.tif", grid(512, 512))
    with rasterio.open(path) as source:
        pixels, profile, names = source.read(), source.profile, source.descriptions
    profile.update(tiled=True, blockxsize=BLOCK, blockysize=BLOCK, interleave="pixel", compress="deflate")
    path.unlink()
    with rasterio.open(path, "w", **profile) as target:
        target.write(pixels)
        target.descriptions = names
    return write_list(tmp_path / "list.txt", [path])


def command_for(model, scenes, out, *more):
    return ("map", model, "--scenes", scenes, "--grid", GRID, "--backend", "torch", *more, "--out", out)


# -- damaged pixels --------------------------------------------------------------------------------


def test_a_damaged_block_costs_its_pixels_and_the_code_says_so(mlp_folder, blocks, tmp_path):
    coarse = ("--grid", "EPSG:32633:5120")
    assert run_cli(*command_for(mlp_folder, blocks, tmp_path / "whole", *coarse)).code == 0
    damage_block(tmp_path / "s.tif", 1, 0)
    command = command_for(mlp_folder, blocks, tmp_path / "store", *coarse)
    outcome = run_cli(*command)
    assert outcome.code == 9, outcome.err
    lines = [line for line in outcome.err.splitlines() if line.strip()]
    assert lines[-1].startswith("ecumene: ")
    assert "have parts that cannot be decoded" in lines[-1]
    assert any("fetch the files again and use --overwrite" in line for line in lines[:-1])
    assert (tmp_path / "store" / "collection.json").is_file()
    lost = []
    for folder in sorted((tmp_path / "store" / "tiles").iterdir()):
        product = open_product(folder, verify=True)
        before = tmp_path / "whole" / "tiles" / folder.name
        valid, seen = read(product.path("valid"))[0], read(before / "valid.tif")[0]
        lost.append(int((seen != valid).sum()))
        assert bool(lost[-1]) == bool(product.damaged)
        same = valid == 1
        np.testing.assert_array_equal(read(product.path("value"))[0][same], read(before / "value.tif")[0][same])
    assert 0 in lost  # tiles without a damaged pixel are as they were
    assert BLOCK**2 <= sum(lost) <= 4 * BLOCK**2  # damage is looked for in cells of the tile, which cut the block
    again = run_cli(*command)
    assert again.code == 9  # the finished collection still says so


# -- full disks ------------------------------------------------------------------------------------


def test_a_full_disk_is_a_sentence_and_the_same_command_goes_on(mlp_folder, scenes, tmp_path):
    """Files cannot grow beyond a size, which fails like a full disk; nothing half-written is among the tiles."""
    assert run_cli(*command_for(mlp_folder, scenes, tmp_path / "whole")).code == 0
    out = tmp_path / "store"
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))  # noqa: E731
    child = start_cli(*command_for(mlp_folder, scenes, out), preexec_fn=limit)
    printed, err = child.communicate(timeout=240)
    assert child.returncode == ProductError.exit_code, err
    assert "Traceback" not in err
    assert err.strip().splitlines()[-1].startswith("ecumene: ")
    assert not printed.strip()
    assert not (out / "collection.json").exists()
    assert list((out / "tiles").iterdir()) == []
    assert FolderStore(out).claims.names() == []
    assert run_cli(*command_for(mlp_folder, scenes, out)).code == 0
    assert rasters(out) == rasters(tmp_path / "whole")


def test_a_disk_that_fills_up_between_tiles_keeps_what_is_finished(mlp, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("this user may not mount a file system")
    try:
        path = write_scene(tmp_path / "s.tif", grid(256, 256))
        source = {"scenes": [path], "grid": "EPSG:32633:1280", "options": OPTIONS}
        whole = map_collection(mlp, tmp_path / "whole", **source)
        filler = small / "filler"

        def fill(done, total, what):
            if what == "tiles" and done == 1:
                room = os.statvfs(small).f_bavail * os.statvfs(small).f_frsize
                filler.write_bytes(bytes(room - 24 * 1024))

        try:
            told = [
                outcome.message for outcome in map_collection(mlp, small / "store", progress=fill, **source).failures
            ]
        except ProductError as error:  # there was not even room for the collection's own files
            told = [str(error)]
        assert told
        assert all("No space left on device" in sentence for sentence in told)
        finished = sorted(folder.name for folder in (small / "store" / "tiles").iterdir())
        assert 1 <= len(finished) < len(whole.plan.units)
        for name in finished:
            open_product(small / "store" / "tiles" / name, verify=True)
        filler.unlink()
        again = map_collection(mlp, small / "store", **source)
        assert not again.failures
        assert again.summary.count("kept") == len(finished)
        assert rasters(small / "store") == rasters(tmp_path / "whole")
    finally:
        os.sync()
        subprocess.run(["umount", str(small)], check=True)


# -- overwriting -----------------------------------------------------------------------------------


def test_a_store_that_another_run_works_on_is_not_overwritten(mlp_folder, scenes, tmp_path):
    out = tmp_path / "store"
    assert run_cli(*command_for(mlp_folder, scenes, out)).code == 0
    other = command_for(mlp_folder, scenes, out, "--composite", "medoid", "--overwrite")
    code = (
        "import sys, time; from pathlib import Path; from ecumene.catalogue.claims import *;"
        "take_claim(FolderShelf(Path(sys.argv[1])), 'tile-7'); print('held', flush=True); time.sleep(600)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(out / ".work/claims")], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline().strip() == "held"
        refused(*other, code=ProductError.exit_code, saying=r"Another run works on .*tile tile-7.*stop", folder=out)
    finally:
        child.kill()
        child.wait()
    assert run_cli(*other).code == 0  # the holder is gone, and with it its claim
    assert json.loads((out / ".work" / "plan.json").read_text())["composite"] == "medoid"


def test_claims_are_held_until_they_are_released_abandoned_or_superseded(tmp_path):
    shelf = FolderShelf(tmp_path / "claims")
    assert held(shelf) == []
    first, second = take_claim(shelf, "33TWM"), take_claim(shelf, "33TWM_2024-06-01")
    assert held(shelf) == ["33TWM", "33TWM_2024-06-01"]
    second.release()
    assert held(shelf) == ["33TWM"]
    path = shelf.folder / first.name
    path.write_text(path.read_text().replace('"host": "', '"host": "another-'))  # of a machine one cannot look into
    assert held(shelf) == ["33TWM"]
    os.utime(path, (time.time() - 1000, time.time() - 1000))
    assert held(shelf) == []
    assert take_claim(shelf, "33TWM").generation == 1
    assert held(shelf) == ["33TWM"]


def test_a_new_run_with_overwrite_in_one_process_is_not_its_own_obstacle(tmp_path):
    model = make_model("mlp", seed=1)
    source = {"scenes": [write_scene(tmp_path / "s.tif", grid(64, 64))], "grid": GRID}
    overwrite = OPTIONS.model_copy(update={"overwrite": True})
    for composite in ("median", "medoid"):
        result = map_collection(model, tmp_path / "store", composite=composite, options=overwrite, **source)
        assert not result.failures
        assert result.summary.count("mapped") == len(result.plan.units)
