"""Error bars of numbers all the way: recalibrated, stored, mapped, reported, assessed."""

from __future__ import annotations

import json

import geopandas
import numpy as np
import pytest
import rasterio
from end_to_end import done, refused

from ecumene import map_scenes, train_model
from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.models.bundle import Model
from ecumene.samples.patch_set import PatchSet
from ecumene.trust.calibration import Calibration
from ecumene.trust.recalibration import IsotonicVariance
from ecumene.workflows.assess import assess_product
from ecumene.workflows.regression import evaluate_numbers, fit_error_bars, numbers_at_labels
from ecumene.workflows.trust import trust_report
from ecumene.workflows.trust_number_places import NumberCells

MAP = IsotonicVariance((4.0, 40.0, 100.0), (1.0, 9.0, 225.0))


def physical(folder, name):
    with rasterio.open(folder / f"{name}.tif") as dataset:
        return dataset.read(1, masked=True) * dataset.scales[0] + dataset.offsets[0]


@pytest.fixture(scope="module")
def heights(town, tmp_path_factory):
    """Polygons with a number that the bands tell."""
    frame = geopandas.read_file(town.labels)
    rng = np.random.default_rng(0)
    usual = {name: 5.0 * rank for rank, name in enumerate(sorted(frame["class"].unique()))}
    frame["height"] = frame["class"].map(usual) + rng.normal(0, 1, len(frame))
    path = tmp_path_factory.mktemp("heights") / "heights.gpkg"
    frame.to_file(path, driver="GPKG")
    return path


@pytest.fixture(scope="module")
def trained(scene, heights):
    """A small model of heights with two members; its held-out points lie beside it."""
    folder = heights.parent
    return train_model(
        scene, heights, folder / "model", target="height", target_unit="m", system="mlp-pixel", split_by="feature",
        epochs=6, seed=2, uncertainty="ensemble:2", holdout=folder / "held.gpkg",
    )  # fmt: skip


@pytest.fixture(scope="module")
def mapped(trained, heights, scene):
    """The model with an isotonic map of its variances, and the map that it makes."""
    folder = heights.parent
    calibration = Calibration(intervals=trained.calibration.intervals, variances=(MAP,))
    changed = trained.with_trust(calibration=calibration, detector=trained.detector)
    changed.save(folder / "mapped")
    return changed, map_scenes(folder / "mapped", scene, folder / "product").folder


def test_a_map_of_variances_reaches_every_layer_through_the_bundle(trained, mapped, heights, scene, tmp_path):
    changed, product = mapped
    loaded = Model.load(heights.parent / "mapped")
    assert loaded.calibration == changed.calibration
    assert loaded.objective.to_config() == changed.objective.to_config()
    bare = trained.with_trust(calibration=Calibration(), detector=trained.detector)
    bare.save(tmp_path / "bare")
    plain = map_scenes(tmp_path / "bare", scene, tmp_path / "plain").folder
    np.testing.assert_array_equal(physical(plain, "value"), physical(product, "value"))
    total = physical(product, "uncertainty")
    np.testing.assert_allclose(total, MAP.apply(physical(plain, "uncertainty").filled(np.nan)), rtol=2e-4)
    parts = [physical(product, name) for name in ("aleatoric", "epistemic")]
    np.testing.assert_allclose(total**2, parts[0] ** 2 + parts[1] ** 2, rtol=1e-3)
    q = changed.calibration.intervals.quantiles[0]
    np.testing.assert_allclose(physical(product, "upper") - physical(product, "value"), q * total, rtol=1e-3, atol=1e-3)


def block_world(model, blocks, wrong, seed):
    """Single pixels in blocks, whose errors are `wrong` of what the model says of itself."""
    rng = np.random.default_rng(seed)
    channels = model.spec.inputs
    number = blocks * 40
    spread = np.array([band.std for band in channels], np.float32)[:, None, None]
    middle = np.array([band.mean for band in channels], np.float32)[:, None, None]
    image = (middle + 2.0 * spread * rng.normal(size=(number, len(channels), 1, 1))).astype(np.float32)
    said = model.objective.predict(model.raw_output(image, None))
    target = said.value[:, 0] + wrong(said.total[:, 0]) * rng.normal(size=(number, 1, 1))
    return image, target.astype(np.float32), np.repeat(np.arange(blocks), 40)


@pytest.fixture(scope="module")
def as_patches():
    def build(model, image, target, group):
        from ecumene.scenes.contract import Channel

        names = [Channel(band.sensor, band.level, band.band, band.unit) for band in model.spec.inputs]
        shape = target.shape
        return PatchSet(
            image=image,
            mask=target,
            valid=np.ones(shape, bool),
            dates=np.zeros((len(image), 0), np.int32),
            group=np.broadcast_to(group[:, None, None], shape).astype(np.int32).copy(),
            channels=tuple(names),
        )

    return build


def test_what_is_chosen_is_what_is_evaluated(trained, as_patches):
    """Wrong error bars are mended by what suits them, the same way in map and evaluation; intervals come after it."""
    bare = trained.with_trust(calibration=Calibration())
    typical = float(np.median(bare.objective.predict(bare.raw_output(*_probe(bare))).total))
    for name, wrong in (("factor", lambda s: 3.0 * s), ("isotonic", lambda s: np.where(s < typical, 0.3 * s, 3.0 * s))):
        fresh = as_patches(bare, *block_world(bare, 40, wrong, 0))
        test = as_patches(bare, *block_world(bare, 40, wrong, 1))
        fitted, notes = fit_error_bars(trained, fresh, fresh, seed=0)
        assert fitted.spec.training["error_bar_choice"]["chosen"] == name
        assert any("gained" in note for note in notes)
        figures = evaluate_numbers(fitted, test)
        before, after = figures["error_bars_before"], figures["error_bars"]
        assert after["recalibration"] == name
        assert after["normalised_calibration_error"] < 0.6 * before["normalised_calibration_error"]
        assert after["negative_log_likelihood"] < before["negative_log_likelihood"] - 0.05
        assert figures["intervals"]["coverage_mean_of_blocks"] == pytest.approx(0.9, abs=0.03)
        # Fitting again starts from the model's own error bars.
        again, _ = fit_error_bars(fitted, fresh, fresh, seed=0)
        assert again.calibration == fitted.calibration
        assert again.objective.to_config() == fitted.objective.to_config()
        said = numbers_at_labels(fitted, test)
        assert float(said.deviation.mean()) == pytest.approx(after["mean_standard_deviation"])


def _probe(model):
    image, _, _ = block_world(model, 5, lambda s: s, 3)
    return image, None


def test_the_card_and_the_report_have_the_measures_of_numbers(trained, mapped, heights, tmp_path):
    accuracy = trained.spec.training["accuracy"]
    for name in (
        "uncertainty_calibration_error", "normalised_calibration_error", "area_under_calibration_error", "crps",
        "pit_histogram", "sparsification",
    ):  # fmt: skip
        assert name in accuracy["error_bars"]
    assert sum(accuracy["error_bars"]["pit_histogram"]) == pytest.approx(1.0)
    assert 0 <= accuracy["intervals"]["coverage_mean_of_blocks"] <= 1
    assert len(accuracy["intervals"]["coverage_per_block"]) == accuracy["blocks"]
    from ecumene.mapping.product import open_product
    from ecumene.workflows.report import make_report

    product = open_product(mapped[1])
    assessment = assess_product(product, heights.parent / "held.gpkg")
    page = make_report(product, tmp_path / "r.html", title="t", model=trained, assessment=assessment).read_text()
    charts = ("Are the error bars of the right length?", "Does the uncertainty know the errors?")
    for text in (*charts, "Intervals", "Error bars", "Errors of height, m"):
        assert text in page


@pytest.fixture(scope="module")
def judged(trained, heights, scene, town):
    out = heights.parent / "trust"
    model = heights.parent / "model"
    shown = done("trust", model, scene, "--labels", heights, "--wild", town.cloudy, "--out", out, "--places", 8).out
    return out, shown, json.loads((out / "trust.json").read_text())


def test_a_trust_report_of_a_number_has_the_figures_of_the_card(trained, judged):
    out, shown, found = judged
    card = trained.spec.training["accuracy"]
    assert found["labels"]["origin"] == "held out"
    assert found["errors"]["pixels"] == card["pixels"]
    assert found["errors"]["rmse"] == pytest.approx(card["errors"]["rmse"], rel=1e-3)
    after, before = found["error_bars"]["after"], found["error_bars"]["before"]
    assert after["crps"] == pytest.approx(card["error_bars"]["crps"], rel=1e-3)
    assert before["crps"] == pytest.approx(card["error_bars_before"]["crps"], rel=1e-3)
    assert found["intervals"]["coverage"] == pytest.approx(card["intervals"]["coverage"], abs=1e-3)
    scenes = found["outliers"]["scenes"]
    assert next(iter(scenes.values()))["flagged_share"] > found["outliers"]["false_alarm_rate"]
    assert len(found["shift"]) == 2
    assert found["cost"]["ratio"] > 0.3
    assert not found["notes"]
    page = (out / "report.html").read_text()
    for text in ("Errors of height, m", "Error bars", "Intervals", "Outliers", "Where to label next", "integral"):
        assert text in page
    assert "Where to label next" in shown


def test_places_to_measure_next_can_be_filled_in(judged, scene, heights):
    out, _, found = judged
    places = geopandas.read_file(out / "label_next.gpkg")
    assert list(places["rank"]) == list(range(1, 9))
    assert places["height"].isna().all()
    assert (places["deviation"] > 0).all()
    assert (places["epistemic"] >= 0).all()
    assert places["reason"].str.len().min() > 10
    assert not places.sjoin(geopandas.read_file(heights).to_crs(places.crs)).shape[0] > 8
    assert found["label_next"]["candidates"] > 8


def test_the_held_out_file_is_recognised(trained, heights, scene, tmp_path):
    held = heights.parent / "held.gpkg"
    stated = trained.spec.training["holdout"]
    assert stated["name"] == "held.gpkg"
    assert stated["points"] == len(geopandas.read_file(held))
    report = trust_report(trained, scene, held, tmp_path / "t", n_places=2, threads=1)
    assert report.figures["labels"]["origin"] == "held out"
    assert "wrote there" in report.figures["labels"]["sentence"]
    assert not report.figures["notes"]
    assert report.figures["errors"]["blocks"] == geopandas.read_file(held)["block"].nunique()
    # Any other file with the same points is new to the model.
    geopandas.read_file(held).to_file(tmp_path / "copy.gpkg")
    other = trust_report(trained, scene, tmp_path / "copy.gpkg", tmp_path / "u", n_places=2, threads=1)
    assert other.figures["labels"]["origin"] == "other file"
    assert any("figures are too good" in note for note in other.figures["notes"])
    assert other.figures["errors"]["rmse"] == pytest.approx(report.figures["errors"]["rmse"])


def test_the_held_out_file_of_classes_is_recognised(forest, scene, tmp_path):
    held = forest.with_name("holdout.gpkg")
    report = trust_report(forest, scene, held, tmp_path / "t", n_places=2, threads=1)
    assert report.figures["labels"]["origin"] == "held out"
    assert report.figures["calibration"]["pixels"] == Model.load(forest).spec.training["holdout"]["points"]
    assert not report.figures["notes"]


def test_a_map_of_numbers_is_assessed_at_reference_points(trained, mapped, heights, tmp_path):
    _, product = mapped
    held = heights.parent / "held.gpkg"
    shown = done("assess", product, "--reference", held, "--out", tmp_path / "a.json").out
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["errors"]["rmse"] == pytest.approx(trained.spec.training["accuracy"]["errors"]["rmse"], rel=1e-3)
    assert found["errors"]["intervals"]["bias"][0] <= found["errors"]["bias"] <= found["errors"]["intervals"]["bias"][1]
    assert found["blocks"] == geopandas.read_file(held)["block"].nunique()
    assert found["sample_size"] == len(geopandas.read_file(held))
    assert "root mean squared error" in shown
    assert "wanted coverage" in shown
    # By hand, at the points.
    points = geopandas.read_file(held)
    with rasterio.open(product / "lower.tif") as low, rasterio.open(product / "upper.tif") as high:
        places = [(point.x, point.y) for point in points.to_crs(low.crs).geometry]
        ends = [np.array([value[0] for value in layer.sample(places)]) for layer in (low, high)]
    inside = (ends[0] <= points["height"]) & (points["height"] <= ends[1])
    assert found["intervals"]["coverage"] == pytest.approx(inside.mean())
    assert found["intervals"]["wanted_coverage"] == 0.9
    shares = inside.groupby(points["block"]).mean()
    assert found["intervals"]["coverage_mean_of_blocks"] == pytest.approx(shares.mean())


def test_polygons_are_references_too(mapped, heights):
    found = assess_product(mapped[1], heights, field="height")
    assert found.sample_size > len(geopandas.read_file(heights))
    assert found.blocks <= len(geopandas.read_file(heights))


@pytest.mark.parametrize(
    ("field", "saying"), [("class", "not numeric"), ("nothing", "nothing"), (None, "meets the map|no.*place")]
)
def test_references_that_cannot_be_used_are_refused(mapped, heights, tmp_path, field, saying):
    frame = geopandas.read_file(heights)
    if field is None:
        frame["geometry"] = frame.translate(1e6, 0)
    frame.to_file(tmp_path / "reference.gpkg")
    with pytest.raises(LabelError, match=saying):
        assess_product(mapped[1], tmp_path / "reference.gpkg", field=field)


def test_what_cannot_be_reported_is_refused(trained, heights, scene, town, tmp_path):
    model = heights.parent / "model"
    refused(
        "trust", model, scene, "--labels", heights, "--out", tmp_path / "t", "--strategy", "margin",
        code=2, saying="compares classes", folder=tmp_path,
    )  # fmt: skip
    refused(
        "trust", model, scene, "--labels", town.labels, "--out", tmp_path / "t", code=5, saying="height",
        folder=tmp_path,
    )  # fmt: skip


def test_a_single_network_has_no_epistemic_places():
    none = np.zeros(1)
    cells = NumberCells(
        row=none, col=none, side=3, epistemic=None, strange=none, features=none[:, None], known=none[:, None],
        complete=True, value=none, deviation=none + 1,
    )  # fmt: skip
    with pytest.raises(ConfigurationError, match="--uncertainty"):
        cells.doubt("epistemic")
