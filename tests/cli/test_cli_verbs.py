"""What the verbs print and leave when all is well, and what happens when the power goes off."""

from __future__ import annotations

import json
import re
import shutil
import signal
import time

import pytest
import yaml
from end_to_end import copy_scene, done, raster_bytes, read, run_cli, start_cli

from ecumene.mapping.product import open_product


def test_info_describes_every_scene(town):
    shown = done("info", *town.sentinel2, town.cloudy, town.sentinel1).out
    for name in ("sentinel2_2023-04-22", "sentinel2_2023-07-06", "sentinel2_2023-08-25", "sentinel1_2023-07-07"):
        assert name in shown
    assert shown.count("sentinel-2 L2A") == 3
    assert "sentinel-1 " in shown
    assert "2023-07-06T09:30:00" in shown
    assert "80 x 96 pixels of 10.00 m" in shown
    assert "EPSG:32633" in shown
    assert "dB" in shown
    assert "B8A" in shown
    clouds = [float(text) for text in re.findall(r"cloud and shadow\s*│\s*([\d.]+)%", shown)]
    scl = read(town.cloudy.with_name(f"{town.cloudy.stem}_SCL.tif"))
    expected = 100 * float((scl == 3).mean() + (scl == 8).mean() + (scl == 9).mean())
    assert clouds[:2] == [0.0, 0.0]
    assert clouds[2] == pytest.approx(expected, abs=0.06)
    assert "valid" in shown


def test_a_scene_is_named_by_its_declaration_too(scene, forest, product, tmp_path):
    """A `scene.yaml`, its folder, and a STAC item name the same pixels as the file."""
    declared = yaml.safe_load(scene.with_name(f"{scene.stem}.scene.yaml").read_text())
    (tmp_path / "s").mkdir()
    shutil.copy(scene, tmp_path / "s" / "image.tif")
    shutil.copy(scene.with_name(declared["mask"]["file"]), tmp_path / "s")
    (tmp_path / "s" / "scene.yaml").write_text(yaml.safe_dump(declared | {"files": ["image.tif"]}))
    for number, named in enumerate((tmp_path / "s", tmp_path / "s" / "scene.yaml", tmp_path / "s" / "image.tif")):
        done("map", forest, named, "--out", tmp_path / f"p{number}")
        assert raster_bytes(tmp_path / f"p{number}") == raster_bytes(product)


def stac_item(scene, folder, href):
    """Write a STAC item of the scene: STAC 1.1, one asset with all bands."""
    declared = yaml.safe_load(scene.with_name(f"{scene.stem}.scene.yaml").read_text())
    folder.mkdir(parents=True, exist_ok=True)
    bands = [
        {"name": name, "data_type": "uint16", "nodata": 0, "raster:scale": 1e-4, "raster:offset": -0.1}
        for name in declared["bands"]
    ]
    corners = [[15.0, 45.1], [15.01, 45.1], [15.01, 45.11], [15.0, 45.11], [15.0, 45.1]]
    image = {"href": href, "type": "image/tiff; application=geotiff", "roles": ["data"], "bands": bands}
    item = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": ["https://stac-extensions.github.io/raster/v2.0.0/schema.json"],
        "id": scene.stem,
        "geometry": {"type": "Polygon", "coordinates": [corners]},
        "bbox": [15.0, 45.1, 15.01, 45.11],
        "properties": {
            "datetime": declared["time"],
            "platform": "sentinel-2a",
            "constellation": "sentinel-2",
            "instruments": ["msi"],
            "processing:level": "L2",
        },
        "collection": "sentinel-2-l2a",
        "links": [],
        "assets": {"image": image},
    }
    (folder / "item.json").write_text(json.dumps(item))
    return folder / "item.json"


def test_a_stac_item_is_a_scene(scene, forest, product, tmp_path):
    shutil.copy(scene, tmp_path / "image.tif")
    item = stac_item(scene, tmp_path, "./image.tif")
    said = ("--sensor", "sentinel-2", "--level", "L2A")
    assert "2023-07-06T09:30:00" in done("info", item, *said).out
    done("map", forest, item, *said, "--out", tmp_path / "p")
    assert (tmp_path / "p" / "value.tif").read_bytes() == (product / "value.tif").read_bytes()


def test_a_stac_item_cannot_lead_outside(scene, forest, tmp_path):
    copy_scene(scene, tmp_path / "outside", "secret")
    said = ("--sensor", "sentinel-2", "--level", "L2A")
    for number, href in enumerate(("../outside/secret.tif", str(tmp_path / "outside" / "secret.tif"))):
        item = stac_item(scene, tmp_path / f"i{number}", href)
        outcome = run_cli("map", forest, item, *said, "--out", tmp_path / "p")
        assert outcome.code == 3, outcome
        assert re.search("outside of the (allowed roots|catalogue)", outcome.sentence)
        assert not (tmp_path / "p").exists()


def test_lists_name_what_there_is():
    from ecumene.sensors import list_sensors
    from ecumene.systems import list_systems

    sensors, systems = done("sensors").out, done("systems").out
    for sensor in list_sensors():
        assert sensor.id in sensors
    for system in list_systems():
        assert system.name in systems


def test_train_prints_what_the_card_says(town, scene, tmp_path):
    shown = done(
        "train", scene, "--labels", town.labels, "--out", tmp_path / "m", "--system", "random-forest",
        "--split", "feature", "--use-bands", "B04,B08", "--use-bands", "B11",
    ).out  # fmt: skip
    item = json.loads((tmp_path / "m" / "model.json").read_text())
    text = json.dumps(item)
    assert "random-forest trained" in shown
    assert "overall accuracy" in shown
    assert "expected calibration error" in shown
    card = (tmp_path / "m" / "card.md").read_text()
    assert "B11" in card
    assert str(tmp_path) not in text + card  # a bundle that is given away does not tell where it was made
    assert {path.name for path in tmp_path.iterdir()} == {"m"}


def test_assess_prints_intervals(town, product, tmp_path):
    out = tmp_path / "a.json"
    shown = done("assess", product, "--reference", town.reference, "--out", out, "--confidence", 0.9).out
    for text in ("Accuracy", "Areas", "Confusion matrix", "90% intervals", "±", "cropland"):
        assert text in shown
    stored = json.loads(out.read_text())
    assert stored["sample_size"] == 200
    assert stored["reference"]["name"] == town.reference.name


def test_version_and_help_and_unknown_words():
    from ecumene import __version__

    assert done("--version").out.strip() == __version__
    for verb in ("info", "train", "map", "assess", "demo", "sensors", "systems"):
        assert "Usage: ecumene" in done(verb, "--help").out
    assert run_cli("paint").code == 2
    assert run_cli("map").code == 2


def test_exit_codes_reach_the_shell(forest, tmp_path):
    child = start_cli("map", forest, tmp_path / "none.tif", "--out", tmp_path / "p")
    out, err = child.communicate(timeout=240)
    assert child.returncode == 3
    assert err.strip().startswith("ecumene: There is no file or folder")
    assert "Traceback" not in err
    assert not out.strip()
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize("moment", [".work/plan.json", "[!.]*.tif"])
def test_killed_the_same_command_ends_with_the_same_bytes(scene, forest, product, tmp_path, moment):
    """Killed as soon as the plan is there, and as soon as the first layer has its name."""
    out = tmp_path / "p"
    command = ("map", forest, scene, "--out", out, "--polygons")
    child = start_cli(*command)
    deadline = time.monotonic() + 240
    while not list(out.glob(moment)) and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.0005)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    assert not (out / "item.json").exists()
    for path in out.glob("[!.]*.tif"):  # what has its final name is whole
        assert path.read_bytes() == (product / path.name).read_bytes()
    done(*command)
    assert raster_bytes(out) == raster_bytes(product)
    assert not list(tmp_path.rglob(".part-*"))
    open_product(out, verify=True)
