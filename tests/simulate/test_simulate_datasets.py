"""Simulated data sets: readable by the official loaders, deterministic, whole or absent, true to their classes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio

from ecumene.core.errors import ConfigurationError, ProductError
from ecumene.core.files import sha256_of
from ecumene.samples.contract import Part
from ecumene.samples.datasets import open_data_set
from ecumene.samples.datasets.simulated import simulated_notice
from ecumene.simulate.cover import Material
from ecumene.simulate.datasets import simulate_data_set
from ecumene.simulate.datasets.aerial import LABELS
from ecumene.simulate.datasets.eurosat import COUNTS
from ecumene.simulate.datasets.files import apportion, whole_folder
from ecumene.simulate.datasets.sen12ms import land_cover_igbp
from ecumene.simulate.datasets.ucm import CLASSES, draw
from ecumene.simulate.land_use import Use
from ecumene.simulate.landscape import Line, draw_where, simulate_landscape
from ecumene.workflows.scene_fit import scene_provenance

SMALLEST = {"eurosat": 20, "sen12ms": 4, "so2sat-lcz42": 20, "ucm-multilabel": 21}


def _digest(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): sha256_of(path) for path in files}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("sets")
    for name, number in SMALLEST.items():
        simulate_data_set(name, root / name, number=number, seed=3)
    return {name: root / name for name in SMALLEST}


@pytest.mark.parametrize("name", list(SMALLEST))
def test_the_official_loader_reads_every_image(made, name):
    data = open_data_set(name, made[name])
    assert len(data) == SMALLEST[name]
    images = data.read(np.arange(len(data)))
    assert images.image.shape == (len(data), len(data.channels), data.patch_size, data.patch_size)
    assert np.isfinite(images.image).all()
    # Real images vary: none is constant, no two are equal.
    assert (images.image.std(axis=(1, 2, 3)) > 0).all()
    assert len({image.tobytes() for image in images.image}) == len(data)
    notice = json.loads((made[name] / "SIMULATED.json").read_text())
    assert "SIMULATED" in notice["notice"]
    assert notice["format"] == name
    assert notice["number"] == len(data)


def test_equal_seeds_give_equal_files_whatever_the_workers(made, tmp_path):
    name = "eurosat"
    simulate_data_set(name, tmp_path / "again", number=SMALLEST[name], seed=3, workers=2)
    assert _digest(tmp_path / "again") == _digest(made[name])


def test_another_seed_gives_other_images(made, tmp_path):
    simulate_data_set("so2sat-lcz42", tmp_path / "other", number=20, seed=4)
    assert _digest(tmp_path / "other")["training.h5"] != _digest(made["so2sat-lcz42"])["training.h5"]


def test_eurosat_files_are_as_published(made):
    path = made["eurosat"] / "EuroSAT_MS" / "SeaLake" / "SeaLake_1.tif"
    with rasterio.open(path) as image:
        assert (image.count, image.shape, image.dtypes[0]) == (13, (64, 64), "uint16")
        assert image.crs.to_epsg() // 100 == 326
        assert image.res == (10.0, 10.0)
        assert "SIMULATED" in image.tags()["SIMULATED"]
        numbers = image.read()
    # Water is dark in the near infrared; cirrus (B10, tenth) is nearly nothing below a clear sky.
    assert np.median(numbers[12]) < 600
    assert np.median(numbers[9]) < 60
    with rasterio.open(made["eurosat"] / "EuroSAT_RGB" / "SeaLake" / "SeaLake_1.jpg") as picture:
        colours = picture.read().astype(float)
    expected = 1 + 254 * np.clip(numbers[[3, 2, 1]] / 2750.0, 0, 1)
    assert np.abs(colours - expected).mean() < 3.0
    rows = (made["eurosat"] / "patches.csv").read_text().splitlines()
    assert len(rows) == 21
    assert len(set(rows)) == 21


def test_eurosat_keeps_the_published_proportions():
    assert apportion(27_000, list(COUNTS.values())) == list(COUNTS.values())
    small = apportion(100, list(COUNTS.values()))
    assert sum(small) == 100
    assert min(small) >= 7
    with pytest.raises(ConfigurationError, match="10 or more"):
        apportion(9, list(COUNTS.values()))


def test_so2sat_parts_come_from_different_cities(made):
    data = open_data_set("so2sat-lcz42", made["so2sat-lcz42"], bands=("VV-filtered", "B08"))
    part = data.splits()["official"]
    train = set(data.group[part == Part.TRAIN])
    assert not train & set(data.group[part == Part.TEST])
    assert (data.read(np.arange(5)).image[:, 0] > 0).all()  # a filtered intensity is positive


def test_igbp_labels_follow_what_covers_the_ground():
    pairs = {
        Use.WATER: 17,
        Use.CONIFER_FOREST: 1,
        Use.BROADLEAF_FOREST: 4,
        Use.ANNUAL_CROP: 12,
        Use.BARE_SOIL: 16,
        Use.COMPACT_MID_RISE: 13,
        Use.PASTURE: 10,
    }
    uses = np.array([list(pairs)])
    city = simulate_landscape(5, uses, 48, draw_where(0, 0))
    assert land_cover_igbp(city).ravel().tolist() == list(pairs.values())


@pytest.mark.parametrize("kind", ["airplane", "harbor", "tenniscourt", "storagetanks", "beach", "chaparral"])
def test_labels_of_drawn_images_name_what_the_class_is_about(kind):
    names = {
        "airplane": "airplane",
        "harbor": "ship",
        "tenniscourt": "court",
        "storagetanks": "tanks",
        "beach": "sea",
        "chaparral": "chaparral",
    }
    hits = [draw(kind, number, 0)[1][LABELS.index(names[kind])] for number in range(4)]
    assert np.mean(hits) >= 0.75
    forest = draw("forest", 0, 0)[1]
    assert forest[LABELS.index("trees")] == 1
    assert forest.sum() <= 2


def test_every_class_of_ucm_can_be_drawn():
    for kind in CLASSES:
        image, labels = draw(kind, 7, 9)
        assert image.dtype == np.uint8
        assert image.shape == (3, 256, 256)
        assert 1 <= labels.sum() <= 9


def test_a_landscape_has_the_use_that_its_zones_ask_for():
    uses = np.array([[Use.WATER, Use.CONIFER_FOREST], [Use.ANNUAL_CROP, Use.COMPACT_MID_RISE]])
    city = simulate_landscape(1, uses, 32, draw_where(2, 0), lines=(Line(1, 0, river=False),))
    ground = city.ground(2020)
    inside = slice(20, 108)
    assert (ground.material[inside, inside] == Material.WATER).mean() > 0.99
    assert (ground.material[inside, 148:236] == Material.CONIFER).mean() > 0.9
    assert ground.building[148:236, 148:236].mean() > 0.2
    assert (ground.material[128:, :128] == Material.ASPHALT).mean() > 0.02  # the motorway through the fields
    assert np.array_equal(city.ground(2016).material, ground.material)
    with pytest.raises(ConfigurationError, match="16 pixels"):
        simulate_landscape(1, uses, 8, draw_where(2, 0))


def test_landscapes_are_20_km_apart():
    places = [draw_where(number, 5) for number in range(600)]
    for zone in {place.epsg for place in places}:
        x = np.array([(p.east, p.north) for p in places if p.epsg == zone])
        gap = np.abs(x[:, None] - x[None]).max(axis=2) + 1e9 * np.eye(len(x))
        assert gap.min() >= 20_000


def test_what_cannot_be_made_is_said_in_a_sentence(tmp_path):
    with pytest.raises(ConfigurationError, match="there are: eurosat"):
        simulate_data_set("imagenet", tmp_path / "a")
    with pytest.raises(ConfigurationError, match="21"):
        simulate_data_set("ucm-multilabel", tmp_path / "a", number=20)
    with pytest.raises(ConfigurationError, match="10"):
        simulate_data_set("so2sat-lcz42", tmp_path / "a", number=9)
    with pytest.raises(ConfigurationError, match="workers"):
        simulate_data_set("eurosat", tmp_path / "a", workers=0)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep")
    with pytest.raises(ProductError, match="not an empty folder"):
        simulate_data_set("eurosat", tmp_path / "full", number=10)
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def _fail_half_way(target: Path) -> None:
    with whole_folder(target) as folder:
        (folder / "part").write_text("half")
        raise RuntimeError


def test_a_failed_run_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError):
        _fail_half_way(tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


def test_figures_of_simulated_images_are_marked(made, tmp_path):
    notice = simulated_notice(made["eurosat"])
    assert notice is not None
    assert "SIMULATED" in notice
    assert simulated_notice(made["eurosat"] / "EuroSAT_MS") == notice
    assert simulated_notice(tmp_path) is None
    data = scene_provenance(open_data_set("eurosat", made["eurosat"] / "EuroSAT_RGB"), 0)["data_set"]
    assert data["title"].startswith("SIMULATED")
    assert data["licence"] == "CC0-1.0"
    (tmp_path / "SIMULATED.json").write_text("not json")
    assert "SIMULATED" in str(simulated_notice(tmp_path))
