"""The verb `clear`: products of filled dates, and what is refused."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from clear_series import SIZE, disc, errors_of_filled, read, season, write_date, write_radar, write_raster

from ecumene.core.errors import ConfigurationError, ContractError, LabelError, ModelError, ProductError
from ecumene.core.window import Window
from ecumene.mapping.product import open_product
from ecumene.restoration.contract import BEYOND, FILLED, NO_KNOWLEDGE, OBSERVED
from ecumene.scenes.opening import describe_scene
from ecumene.workflows import clear as verb
from ecumene.workflows.clear import clear_scenes
from ecumene.workflows.clear_scenes import open_clear_input
from ecumene.workflows.restoration_places import series_of
from ecumene.workflows.restoration_scenes import train_on_scenes
from ecumene.workflows.stacks import open_stack

pytestmark = pytest.mark.slow  # the oldest versions run without them

DAYS = (10, 30, 50, 80)
CLOUD = disc(30, 40, 18)


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    folder = tmp_path_factory.mktemp("series")
    clouds = {30: CLOUD, 80: disc(60, 20, 15)}
    return [write_date(folder, day, clouds.get(day)) for day in DAYS]


@pytest.fixture(scope="module")
def products(series, tmp_path_factory):
    return clear_scenes(series, tmp_path_factory.mktemp("out"))


def test_every_date_is_a_product_with_all_layers(products):
    assert [product.folder.name for product in products] == ["2020-01-11", "2020-01-31", "2020-02-20", "2020-03-21"]
    for product in products:
        assert set(product.layers) == {"reflectance", "uncertainty", "state", "outlier", "valid"}
        assert product.layers["reflectance"].band_names == ("B02", "B03", "B04", "B08")
        assert (product.folder / "quicklook.png").stat().st_size > 1000
        open_product(product.folder, verify=True)
    assert (products[0].folder.parent / "series.json").is_file()
    assert products[1].properties["start_datetime"] == "2020-01-31T10:00:00Z"


def test_observed_pixels_keep_their_value_and_clouds_are_filled(products):
    product = products[1]
    error, spread = errors_of_filled(product, season(30), CLOUD)
    assert np.sqrt(np.mean(error**2)) < 0.01
    assert np.mean(np.abs(error) < 3 * spread[:, CLOUD]) > 0.95
    assert spread[:, ~CLOUD] == pytest.approx(0.01, abs=1e-6)  # the noise of the sensor's level
    assert (read(product, "valid") == 1).all()


def test_the_item_says_how_and_how_well(products):
    found = products[1].properties["ecumene:results"]
    assert found["shares"]["filled"] == pytest.approx(CLOUD.mean(), abs=1e-6)
    assert "hidden under simulated clouds" in found["reason"]
    assert set(found["calibration"]["bands"]) == {"B02", "B03", "B04", "B08"}
    chart = products[1].properties["ecumene:charts"][0]
    assert chart["kind"] == "bars"
    assert "linear" in chart["x"]["categories"]
    classes = products[1].item["assets"]["state"]["bands"][0]["classification:classes"]
    assert [entry["title"] for entry in classes[:3]] == ["observed", "filled", "beyond repair"]


def test_a_filled_date_is_a_scene_again(products):
    source = describe_scene(products[1].folder / "scene.yaml")
    assert (source.sensor, source.level, source.unit) == ("sentinel-2", "L2A", "1")
    assert str(source.time)[:10] == "2020-01-31"
    assert source.mask is None


def test_order_of_dates_tiles_and_runs_do_not_matter(series, products, tmp_path, monkeypatch):
    monkeypatch.setattr(verb, "tile_edge", lambda _: 32)
    again = clear_scenes(list(reversed(series)), tmp_path / "again", date="2020-01-31", method="auto")[0]
    for layer in ("reflectance", "uncertainty", "state"):
        assert np.array_equal(read(again, layer), read(products[1], layer), equal_nan=True)
    same = clear_scenes(series, tmp_path / "same", date="2020-01-31")[0]
    for layer in ("reflectance", "uncertainty"):
        assert same.layers[layer].path.read_bytes() == again.layers[layer].path.read_bytes()


def test_a_day_between_dates_is_filled_whole(series, tmp_path):
    product = clear_scenes(series, tmp_path / "out", date="2020-02-10", method="linear")[0]
    assert (read(product, "state") == FILLED).all()
    assert np.sqrt(np.mean((read(product, "reflectance") - season(40)) ** 2)) < 0.02
    assert product.properties["start_datetime"].startswith("2020-02-10")


def test_observed_pixels_can_be_estimated_too(series, tmp_path):
    product = clear_scenes(series, tmp_path / "out", date="2020-01-31", keep_observed=False)[0]
    assert (read(product, "state") == FILLED).all()
    assert not np.allclose(read(product, "reflectance")[:, 0, 0], season(30)[:, 0, 0], atol=1e-5)


def test_radar_on_another_grid_fills_what_no_date_shows(tmp_path):
    cloud = disc(40, 40, 20)
    scenes = [write_date(tmp_path, day, cloud) for day in (10, 30)]
    waves = [write_radar(tmp_path, 12)]
    product = clear_scenes(scenes, tmp_path / "out", radar=waves, date="2020-01-11")[0]
    assert (read(product, "state")[0][cloud] == FILLED).all()
    error = read(product, "reflectance")[:, cloud] - season(10)[:, cloud]
    assert np.sqrt(np.mean(error[3] ** 2)) < 0.5 * season(10)[3].std()
    assert product.properties["ecumene:results"]["notes"] == ["2020-01-31 has no radar within 12 days (nearest: 18)."]
    later = clear_scenes(scenes, tmp_path / "later", radar=waves, date="2020-01-31")[0]
    assert (read(later, "state")[0][cloud] == BEYOND).all()


def test_radar_in_power_becomes_decibels_and_a_polarisation_without_power_is_no_measurement(tmp_path):
    image = write_date(tmp_path, 10)
    power = np.full((2, SIZE, SIZE), 0.01, np.float32)
    power[:, 0, 0], power[0, 0, 1] = 0.0, 0.0
    write_raster(tmp_path / "radar.tif", power)
    said = {"sensor": "sentinel-1", "level": "GRD", "unit": "linear power", "bands": "VV,VH"}
    said["time"] = "2020-01-11T17:00:00"
    source = open_clear_input([image], [tmp_path / "radar.tif"], mask_clouds=True, radar_declaration=said)
    radar = source.read(Window(0, 0, 2, 3)).radar
    assert np.isnan(radar[0, :, :2]).all()
    assert radar[0, :, 2:] == pytest.approx(-20.0)


def test_nothing_clear_is_beyond_repair_with_a_wide_error(tmp_path):
    everything = np.ones((SIZE, SIZE), bool)
    scenes = [write_date(tmp_path, day, everything) for day in (10, 30)]
    for product in clear_scenes(scenes, tmp_path / "out"):
        assert (read(product, "state") == BEYOND).all()
        assert (read(product, "valid") == 0).all()
        assert np.isnan(read(product, "reflectance")).all()
        assert read(product, "uncertainty") == pytest.approx(NO_KNOWLEDGE, abs=1e-6)
        assert "No pixel could be filled" in product.properties["processing:lineage"]


def test_a_pixel_that_no_date_shows_stays_beyond_repair(tmp_path):
    cloud = disc(40, 40, 10)
    scenes = [write_date(tmp_path, day, cloud) for day in (10, 30, 50)]
    product = clear_scenes(scenes, tmp_path / "out", date="2020-01-31")[0]
    state, spread = read(product, "state")[0], read(product, "uncertainty")
    assert (state[cloud] == BEYOND).all()
    assert (state[~cloud] == OBSERVED).all()
    assert spread[3][cloud] == pytest.approx(season(30)[3].std(), rel=0.15)


def test_one_date_is_filled_from_its_surroundings_by_name_only(tmp_path):
    scene = write_date(tmp_path, 10, disc(40, 40, 6), dated=False)
    with pytest.raises(ConfigurationError, match="One date alone"):
        clear_scenes(scene, tmp_path / "out")
    product = clear_scenes(scene, tmp_path / "out", method="spatial")[0]
    filled = read(product, "state")[0] == FILLED
    assert np.array_equal(filled, disc(40, 40, 6))
    spread = read(product, "uncertainty")[3]
    assert spread[40, 40] > spread[40, 35]
    assert "start_datetime" not in product.properties


def test_spatial_filling_knows_no_tiles_and_a_wholly_clouded_date_is_beyond_repair(tmp_path, monkeypatch):
    clouds = {10: disc(30, 40, 30), 30: np.ones((SIZE, SIZE), bool), 50: None}
    scenes = [write_date(tmp_path, day, cloud) for day, cloud in clouds.items()]
    whole = clear_scenes(scenes, tmp_path / "whole", method="spatial")
    monkeypatch.setattr(verb, "tile_edge", lambda _: 32)
    tiled = clear_scenes(scenes, tmp_path / "tiled", method="spatial", date="2020-01-11")[0]
    for layer in ("reflectance", "uncertainty", "state"):
        assert np.array_equal(read(whole[0], layer), read(tiled, layer), equal_nan=True)
    assert (read(whole[0], "state")[0] == np.where(clouds[10], FILLED, OBSERVED)).all()
    assert (read(whole[1], "state") == BEYOND).all()
    found = whole[1].properties["ecumene:results"]
    assert (found["method"], found["dates"]) == ("nothing", ["2020-01-31"])
    assert "Too little of the date is clear" in found["reason"]


def test_a_single_clouded_scene_is_beyond_repair(tmp_path):
    scene = write_date(tmp_path, 10, np.ones((SIZE, SIZE), bool), dated=False)
    product = clear_scenes(scene, tmp_path / "out", method="spatial")[0]
    assert (read(product, "state") == BEYOND).all()


def test_a_day_without_a_scene_uses_radar_of_that_day_if_it_is_near(tmp_path):
    cloud = disc(40, 40, 20)
    scenes = [write_date(tmp_path, day, cloud) for day in (10, 70)]
    waves = [write_radar(tmp_path, day) for day in (12, 36, 69)]
    product = clear_scenes(scenes, tmp_path / "out", radar=waves, date="2020-02-10")[0]
    found = product.properties["ecumene:results"]
    assert found["radar"] == {
        "day": "2020-02-06",
        "dates": ["2020-01-13", "2020-03-10"],
        "most_days_apart": 12.0,
    }
    assert (read(product, "state") == FILLED).all()
    later = clear_scenes(scenes, tmp_path / "later", radar=waves, date="2020-02-22", method="sar-regression")[0]
    assert later.properties["ecumene:results"]["radar"]["day"] is None
    assert "2020-02-22 has no radar within 12 days (nearest: 16)." in later.properties["ecumene:results"]["notes"]
    assert (read(later, "state") == BEYOND).all()


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"method": "magic"}, ConfigurationError, "choose one of"),
        ({"date": "yesterday"}, ConfigurationError, "YYYY-MM-DD"),
        ({"method": "sar-regression"}, LabelError, "--radar"),
        ({"method": "spatial", "date": "2020-02-11"}, ConfigurationError, "measured date"),
    ],
)
def test_wrong_options_are_refused(series, tmp_path, options, error, sentence):
    with pytest.raises(error, match=sentence):
        clear_scenes(series, tmp_path / "out", **options)
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_scenes_that_do_not_belong_together_are_refused(series, tmp_path):
    mixed = write_date(tmp_path, 90, level="L1C")
    with pytest.raises(ContractError, match="different levels"):
        clear_scenes([*series, mixed], tmp_path / "out")
    radar = write_radar(tmp_path, 12)
    with pytest.raises(ContractError, match="give radar by --radar"):
        clear_scenes([*series, radar], tmp_path / "out")
    with pytest.raises(ContractError, match="give backscatter"):
        clear_scenes(series, tmp_path / "out", radar=series[0])
    empty = write_radar(tmp_path, 13, zero=True)
    with pytest.raises(LabelError, match="only zeros"):
        clear_scenes(series, tmp_path / "out", radar=empty)


def test_a_product_is_not_overwritten_unasked(series, products):
    with pytest.raises(ProductError, match="--overwrite"):
        clear_scenes(series, products[0].folder.parent, method="closest")


def test_a_model_of_something_else_is_refused(series, tmp_path, monkeypatch):
    spec = SimpleNamespace(name="trees", training={})
    monkeypatch.setattr("ecumene.workflows.clear_model.Model.of", lambda _: SimpleNamespace(spec=spec))
    with pytest.raises(ModelError, match="does not fill clouds"):
        clear_scenes(series, tmp_path / "out", model=tmp_path)
    spec.training["restoration"] = {"bands": ["B02", "B03"], "dates": 1}
    with pytest.raises(ContractError, match="does not restore B04, B08"):
        clear_scenes(series, tmp_path / "out", model=tmp_path)


def test_a_trained_model_fills_and_its_error_bars_are_recalibrated_here(series, tmp_path):
    place = series_of(open_stack(series), "here")
    train_on_scenes([place], samples=4, epochs=1, simulated=0).save(tmp_path / "model")
    product = clear_scenes(series, tmp_path / "out", model=tmp_path / "model", date="2020-01-31")[0]
    assert np.array_equal(read(product, "state")[0] == FILLED, CLOUD)
    error = read(product, "reflectance")[:, CLOUD] - season(30)[:, CLOUD]
    z = error / read(product, "uncertainty")[:, CLOUD]
    assert np.sqrt(np.mean(error**2)) < 0.01
    assert 0.7 < np.sqrt(np.mean(z**2)) < 1.4
    assert not (tmp_path / "out" / ".model").exists()
    assert product.properties["ecumene:results"]["dates_used"] == [
        "2020-01-11", "2020-01-31", "2020-02-20", "2020-03-21"
    ]  # fmt: skip
    assert "recalibrated on" in product.properties["processing:lineage"]
    with pytest.raises(ConfigurationError, match="was measured"):
        clear_scenes(series, tmp_path / "day", model=tmp_path / "model", date="2020-02-10")
