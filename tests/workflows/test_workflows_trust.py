"""`trust`: the figures are those of labels that the model has not learned from; places to label next are usable."""

from __future__ import annotations

import json
from dataclasses import replace

import geopandas
import numpy as np
import pytest
import rasterio
from end_to_end import done, refused
from rasterio.features import rasterize

from ecumene import train_model
from ecumene.core.errors import LabelError
from ecumene.models.bundle import Model
from ecumene.workflows.trust import trust_report

pytestmark = pytest.mark.slow  # together more than ten seconds; the oldest versions run without them

CONFIGURATION, CONTRACT, LABEL = 2, 4, 5


@pytest.fixture(scope="module")
def judged(forest, scene, town, tmp_path_factory):
    out = tmp_path_factory.mktemp("trust") / "trust"
    shown = done(
        "trust", forest, scene, "--labels", town.labels, "--wild", town.cloudy, "--out", out, "--places", 12
    ).out
    return out, shown, json.loads((out / "trust.json").read_text())


def test_the_figures_are_those_of_the_test_part(forest, judged):
    """The training's own split is repeated: the same pixels, the same figures as in the card."""
    _, shown, found = judged
    card = Model.load(forest).spec.training
    assert found["labels"]["origin"] == "held out"
    assert found["calibration"]["pixels"] == card["split"]["pixels"]["test"] == card["accuracy"]["pixels"]
    assert found["calibration"]["overall_accuracy"] == pytest.approx(
        card["accuracy"]["overall"]["overall_accuracy"]["value"]
    )
    for name in ("expected_calibration_error", "negative_log_likelihood", "brier_score"):
        assert found["calibration"]["after"][name] == pytest.approx(card["accuracy"]["calibration"][name], abs=1e-4)
    assert found["class_sets"]["coverage"] == pytest.approx(card["accuracy"]["class_sets"]["coverage"])
    assert "pixels that the training held out for testing" in shown
    assert not found["notes"]


def test_sets_sparsification_outliers_and_cost_are_whole(judged):
    out, shown, found = judged
    sets = found["class_sets"]
    assert sets["worst_block"] <= sets["mean_coverage_over_blocks"] <= 1
    assert 1 <= sets["mean_size"] <= 9
    assert 1 <= sets["size_from_shares_alone"] <= 9
    curve = found["sparsification"]
    assert curve["error"][-1] == pytest.approx(curve["error_rate"])
    assert (np.array(curve["oracle"]) <= np.array(curve["error"]) + 1e-9).all()
    clouds = found["outliers"]["scenes"]["sentinel2_2023-08-25.tif"]
    assert clouds["flagged_share"] > found["outliers"]["false_alarm_rate"]
    assert clouds["auroc"] > 0.6
    assert found["cost"]["ratio"] > 0.5
    assert set(found["shift"]) == {"these scenes", "sentinel2_2023-08-25.tif"}
    page = (out / "report.html").read_text()
    for title in (
        "Calibration",
        "Class sets",
        "Outliers",
        "What trust costs",
        "Where to label next",
        "Is what is strange noticed?",
    ):
        assert title in page
    assert "Where to label next" in shown


def test_places_are_polygons_without_labels_that_can_be_filled_in(judged, scene, town, tmp_path):
    out, _, found = judged
    places = geopandas.read_file(out / "label_next.gpkg")
    labels = geopandas.read_file(town.labels)
    assert len(places) == 12
    assert list(places["rank"]) == list(range(1, 13))
    assert (places["class"].fillna("") == "").all()
    assert places["reason"].str.len().min() > 10
    with rasterio.open(scene) as dataset:
        assert places.crs == dataset.crs
        covered = rasterize(places.geometry, dataset.shape, transform=dataset.transform)
        labelled = rasterize(labels.geometry, dataset.shape, transform=dataset.transform)
    assert covered.sum() == 12 * 9
    assert not (covered & labelled).any()
    assert len({place["suggested"] for place in found["label_next"]["places"]}) >= 3
    # Filled in, they are labels like others.
    places["class"] = places["suggested"]
    joined = geopandas.GeoDataFrame(
        geopandas.pd.concat([labels[["class", "geometry"]], places[["class", "geometry"]]]), crs=labels.crs
    )
    joined.to_file(tmp_path / "more.gpkg")
    more = train_model(
        scene, tmp_path / "more.gpkg", tmp_path / "m", system="random-forest", split_by="feature", seed=3
    )
    assert sum(more.spec.training["split"]["pixels"].values()) > 0


def test_other_labels_are_judged_with_a_warning(forest, scene, town, tmp_path):
    held_out = tmp_path / "others.gpkg"  # the training's own file of held-out labels would be recognised
    geopandas.read_file(forest.with_name("holdout.gpkg")).to_file(held_out)
    report = trust_report(forest, scene, held_out, tmp_path / "t", n_places=3, strategy="diversity", threads=1)
    assert report.figures["labels"]["origin"] == "other file"
    assert any("figures are too good" in note for note in report.figures["notes"])
    assert report.figures["calibration"]["pixels"] == len(geopandas.read_file(held_out))
    again = trust_report(forest, scene, held_out, tmp_path / "u", n_places=3, strategy="diversity", threads=1)
    assert again.figures["label_next"] == report.figures["label_next"]


def test_a_split_that_cannot_be_repeated_is_said(forest, scene, town, tmp_path):
    model = Model.load(forest)
    split = {**model.spec.training["split"], "seed": 99}
    report = trust_report(model.with_training(split=split), scene, town.labels, tmp_path / "t", n_places=1, threads=1)
    assert report.figures["labels"]["origin"] == "training"
    assert "its split cannot be repeated" in report.figures["notes"][0]


def test_no_held_out_label_is_said(forest, scene, town, tmp_path, monkeypatch):
    from ecumene.workflows import trust_pixels

    monkeypatch.setattr(trust_pixels, "_test_part", lambda raster, _: np.full(raster.classes.shape, -1, np.int32))
    with pytest.raises(LabelError, match=r"has learned from all labels of labels\.gpkg in these scenes"):
        trust_report(forest, scene, town.labels, tmp_path / "t")
    assert not (tmp_path / "t").exists()


def test_a_model_without_sets_and_detector_is_judged_too(forest, scene, town, tmp_path):
    bare = Model.load(forest).with_trust()
    report = trust_report(replace(bare), scene, town.labels, tmp_path / "t", n_places=1, threads=1)
    assert report.figures["class_sets"] is None
    assert report.figures["outliers"] is None
    assert report.figures["calibration"]["before"] == report.figures["calibration"]["after"]


def test_a_unet_is_judged_as_it_maps(unet, scene, town, tmp_path):
    report = trust_report(unet, scene, town.labels, tmp_path / "t", n_places=5, threads=1)
    card = Model.load(unet).spec.training["accuracy"]
    assert report.figures["labels"]["origin"] == "held out"
    assert report.figures["calibration"]["pixels"] == card["pixels"]
    expected = card["overall"]["overall_accuracy"]["value"]
    assert report.figures["calibration"]["overall_accuracy"] == pytest.approx(expected, abs=0.06)


def test_a_detector_learns_what_is_strange(forest, scene, town, tmp_path):
    options = {"wild": town.cloudy, "teach": tmp_path / "m", "n_places": 1, "threads": 1}
    report = trust_report(forest, scene, town.labels, tmp_path / "t", **options)
    before = report.figures["outliers"]["scenes"]["sentinel2_2023-08-25.tif"]
    after = report.figures["taught"]["outliers"]["scenes"]["sentinel2_2023-08-25.tif"]
    assert after["auroc"] >= before["auroc"] - 0.05
    assert any("has learned these wild scenes" in note for note in report.figures["notes"])
    assert Model.load(tmp_path / "m").detector.threshold is not None
    assert "Outliers after teaching" in report.report.read_text()


def test_whatever_is_wrong_is_one_sentence(forest, scene, town, tmp_path):
    def wrong(*options, code, saying, labels=town.labels):
        command = ("trust", forest, scene, "--labels", labels, "--out", tmp_path / "o", *options)
        refused(*command, code=code, saying=saying, folder=tmp_path)

    wrong("--strategy", "psychic", code=CONFIGURATION, saying="strategy is one of random, spread")
    wrong("--places", "0", code=CONFIGURATION, saying="at least 1")
    wrong("--teach", tmp_path / "m", code=CONFIGURATION, saying="name scenes with --wild")
    wrong("--wild", town.sentinel1, code=CONTRACT, saying="wild scenes do not fit: The model needs sentinel-2/B01")
    table = geopandas.read_file(town.labels)
    strange = table.assign(**{"class": "spaceport"})
    strange.to_file(tmp_path / "strange.gpkg")
    wrong(code=LABEL, saying="spaceport", labels=tmp_path / "strange.gpkg")
    table["geometry"] = table.geometry.translate(100_000, 0)
    table.to_file(tmp_path / "far.gpkg")
    wrong(code=LABEL, saying="far.gpkg", labels=tmp_path / "far.gpkg")
