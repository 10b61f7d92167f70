"""`explain`: layers, numbers and a page; and a sentence for whatever is not possible."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import rasterio
from end_to_end import copy_scene, done, read, refused, rewrite
from rio_cogeo.cogeo import cog_validate

from ecumene import map_scenes
from ecumene.mapping.product import open_product
from ecumene.workflows.explain import explain_scene

pytestmark = pytest.mark.slow  # together more than ten seconds; the oldest versions run without them

CONFIGURATION, SCENE, LABEL, PRODUCT, DEPENDENCY = 2, 3, 5, 7, 8


def point(scene, row, col):
    with rasterio.open(scene) as dataset:
        x, y = dataset.xy(row, col)
    return f"{x},{y}"


def rasters(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.tif"))}


def layer(folder, name):
    with rasterio.open(folder / f"{name}.tif") as dataset:
        return dataset.read(), dataset.transform, dataset.descriptions


def test_a_forest_is_explained_by_occlusion(forest, scene, tmp_path):
    out = tmp_path / "why"
    shown = done("explain", forest, scene, "--at", point(scene, 40, 30), "--out", out).out
    assert "By band" in shown
    assert "made of trees, which have neither gradients nor neurons" in shown
    stored = json.loads((out / "explanation.json").read_text())
    assert stored["sentence"] in " ".join(shown.split())
    product = open_product(out, verify=True)
    bands, transform, names = layer(out, "importance_band")
    assert cog_validate(product.path("importance_band"), quiet=True)[0]
    assert names == tuple(effect["name"] for effect in stored["effects"])
    assert names[0] == "sentinel-2/B01"
    with rasterio.open(scene) as dataset:
        x, y = dataset.xy(40, 30)
    row, col = (int(place) for place in rasterio.transform.rowcol(transform, x, y))
    np.testing.assert_allclose(bands[:, row, col], [effect["fall"] for effect in stored["effects"]], atol=1e-5)
    assert sum(effect["share"] for effect in stored["effects"]) == pytest.approx(1)
    assert "<img" in (out / "report.html").read_text()


def test_the_explained_score_is_the_mapped_probability(forest, scene, tmp_path):
    product = map_scenes(forest, scene, tmp_path / "product")
    found = explain_scene(forest, scene, tmp_path / "why", at=point(scene, 12, 50), method="occlusion")
    value = read(product.path("value"))[12, 50]
    assert found.target == next(item.name for item in product.legend.classes if item.value == value)
    with rasterio.open(product.path("probability")) as dataset:
        probability = dataset.read(product.legend.names.index(found.target) + 1)[12, 50] / 250
    assert found.score == pytest.approx(probability, abs=0.003)


def test_a_unet_is_explained_by_gradients_and_attention_too(unet, scene, tmp_path):
    # Near the corner: the window that the network needs reaches over the border.
    found = explain_scene(unet, scene, tmp_path / "why", at=point(scene, 3, 4), threads=1)
    assert found.methods == ["occlusion", "gradients", "gradcam"]
    assert not found.notes
    parts = found.figures["integrated_gradients"]
    total = sum(effect.gradient for effect in found.effects)
    assert total == pytest.approx(parts["score"] - parts["score_of_mean_image"], abs=0.02)
    assert parts["score"] == pytest.approx(found.score, abs=0.02)
    product = open_product(tmp_path / "why")
    assert {"importance_band", "attribution", "attention", "surroundings", "valid"} <= set(product.layers)
    attention, transform, _ = layer(tmp_path / "why", "attention")
    with rasterio.open(scene) as dataset:
        assert transform == dataset.transform
    assert 0 <= attention.min() <= attention.max() <= 1


def test_an_area_is_explained_with_neurons_and_the_same_twice(unet, scene, town, tmp_path):
    with rasterio.open(scene) as dataset:
        box = ",".join(str(number) for number in dataset.bounds)
    for name in ("a", "b"):
        found = explain_scene(unet, scene, tmp_path / name, box=box, class_name="industrial", threads=1)
    assert rasters(tmp_path / "a") == rasters(tmp_path / "b")
    assert found.methods == ["occlusion", "gradcam", "neurons"]
    assert all(0 <= effect.changed <= 1 for effect in found.effects)
    best = found.neurons[0]
    assert best["auroc"] > 0.8
    assert set(open_product(tmp_path / "a").layers) >= {"importance_band", "attention", "neurons"}


def test_two_sensors_interact(town, tmp_path):
    from ecumene import train_model

    scenes = [town.sentinel2[1], town.sentinel1]
    train_model(scenes, town.labels, tmp_path / "m", system="random-forest", split_by="feature", seed=3)
    found = explain_scene(tmp_path / "m", scenes, tmp_path / "why", at=point(scenes[0], 40, 30), baseline="noise")
    assert {effect.name for effect in found.effects if effect.kind == "sensor"} == {"sentinel-1", "sentinel-2"}
    assert len(found.interactions) == 1
    assert {"sentinel-1/VV", "sentinel-2/B08"} <= {effect.name for effect in found.effects}


def test_labels_tell_how_far_the_accuracy_falls(forest, scene, town, tmp_path):
    with rasterio.open(scene) as dataset:
        box = ",".join(str(number) for number in dataset.bounds)
    found = explain_scene(forest, scene, tmp_path / "why", box=box, labels=town.labels, method="occlusion", threads=1)
    assert found.figures["labels"]["overall_accuracy"] > 0.8, "most of these labels were learned from"
    assert max(effect.accuracy_drop for effect in found.effects) > 0.02
    for effect in found.effects:
        assert -0.2 < effect.accuracy_drop <= effect.changed + 0.2
    assert "accuracy falls" in (tmp_path / "why" / "report.html").read_text()


def test_whatever_is_wrong_is_one_sentence(forest, scene, town, tmp_path):
    def wrong(*options, code=CONFIGURATION, saying, model=forest, image=scene):
        refused("explain", model, image, "--out", tmp_path / "o", *options, code=code, saying=saying, folder=tmp_path)

    here = point(scene, 40, 30)
    wrong(saying="either a point with --at X,Y or an area with --box")
    wrong("--at", "12", saying=r"--at takes 2 numbers X,Y, not '12'")
    wrong("--at", "0,0", code=SCENE, saying=r"point 0,0 lies outside of the scene, which covers x 500000 to")
    wrong("--at", here, "--at-crs", "EPSG:9", saying="no coordinate system")
    wrong("--at", here, "--class", "roof", saying="no class 'roof'; it has: bare soil")
    wrong("--at", here, "--method", "gradients", saying="made of trees; use --method occlusion")
    wrong("--at", here, "--method", "neurons", saying="made of trees; use --method occlusion")
    wrong("--at", here, "--method", "magic", saying="method is one of auto, occlusion")
    wrong("--at", here, "--baseline", "median", saying="baseline is one of mean")
    wrong("--box", "5,5,1,1", saying="a minimum below its maximum")
    wrong("--box", "0,0,9,9", code=SCENE, saying="box 0,0,9,9 lies outside of the scene")
    (tmp_path / "s").mkdir()
    empty = rewrite(copy_scene(scene, tmp_path / "s"), lambda numbers: np.where(np.ones_like(numbers), 0, numbers))
    wrong("--at", here, code=SCENE, saying="has no data in all of the model's bands", image=empty)
    done("explain", forest, scene, "--at", here, "--method", "occlusion", "--out", tmp_path / "o")
    wrong("--at", here, code=PRODUCT, saying="already holds a product; use --overwrite")


def test_what_a_network_cannot_do_is_one_sentence(unet, scene, town, tmp_path, monkeypatch):
    def wrong(*options, code=CONFIGURATION, saying):
        refused("explain", unet, scene, "--out", tmp_path / "o", *options, code=code, saying=saying, folder=tmp_path)

    here = point(scene, 40, 30)
    with rasterio.open(scene) as dataset:
        left, top = dataset.bounds.left, dataset.bounds.top
    corner = f"{left},{top - 100},{left + 100},{top}"
    for name in [name for name in sys.modules if name.split(".")[0] == "captum"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "captum", None)
    wrong("--at", here, "--method", "gradients", code=DEPENDENCY, saying=r"pip install 'ecumene\[explain\]'")
    wrong("--box", corner, "--method", "gradients", saying="explains one pixel; give --at")
    wrong("--box", corner, "--method", "gradcam", saying="name it with --class")
    wrong("--at", here, "--method", "neurons", saying="give --box and --class")
    wrong("--at", here, "--method", "gradcam", "--layer", "roof", saying="no layer 'roof'")
    far = rewrite_labels(town.labels, tmp_path)
    wrong("--box", corner, "--class", "forest", "--labels", far, code=LABEL, saying="far.gpkg")


def rewrite_labels(path, folder):
    import geopandas

    table = geopandas.read_file(path)
    table["geometry"] = table.geometry.translate(100_000, 0)
    table.to_file(folder / "far.gpkg")
    return folder / "far.gpkg"
