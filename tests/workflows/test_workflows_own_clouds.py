"""Systems that remove clouds, trained on a user's own clear scenes: through the verb to a filled date."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from clear_series import disc, read, write_date, write_radar
from typer.testing import CliRunner

torch = pytest.importorskip("torch")

from ecumene.cli.main import app  # noqa: E402
from ecumene.core.errors import ContractError, LabelError, SceneError  # noqa: E402
from ecumene.restoration.contract import BEYOND, FILLED  # noqa: E402
from ecumene.samples.contract import Part  # noqa: E402
from ecumene.samples.hidden_clouds import ClearSeries  # noqa: E402
from ecumene.scenes.contract import Channel  # noqa: E402
from ecumene.systems import get_system  # noqa: E402
from ecumene.workflows.clear import clear_scenes  # noqa: E402
from ecumene.workflows.clear_model_trust import trust_on_series  # noqa: E402
from ecumene.workflows.restoration_places import open_places  # noqa: E402
from ecumene.workflows.restoration_scenes import (  # noqa: E402
    ground_of_parts,
    train_restoration_on_scenes,
    usable_for,
)
from ecumene.workflows.stacks import open_sources  # noqa: E402

torch.set_num_threads(1)
pytestmark = pytest.mark.slow  # the oldest versions run without them

SIZE = 160
CLOUD = disc(60, 60, 25, SIZE)


def small(name, dates=None, **arguments):
    system = get_system(name)
    return system.model_copy(
        update={
            "network_arguments": {**system.network_arguments, **arguments},
            "training": {**system.training, "batch_size": 4, "epochs": 1},
            "data_options": {"crop": 32} if dates is None else {"crop": 32, "dates": dates},
        }
    )


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    optical = [write_date(folder, day, CLOUD if day == 30 else None, size=SIZE) for day in (10, 30, 80)]
    return [*optical, *(write_radar(folder, day, size=SIZE) for day in (12, 28))]


@pytest.fixture(scope="module")
def with_radar(scenes, tmp_path_factory):
    out = tmp_path_factory.mktemp("model") / "model"
    return train_restoration_on_scenes(scenes, small("dsen2-cr", width=4, blocks=1), out, samples=4), out


def test_windows_of_a_place_are_as_measured_with_their_clear_pixels(scenes):
    found = open_places(open_sources(scenes), radar=True)
    assert found.bands == ("B02", "B03", "B04", "B08")
    assert found.notes == ("place-1: 2020-03-21 has no radar within 12 days (nearest: 52).",)
    assert [channel.key for channel in found.windows[0].channels][4:] == ["sentinel-1/VV", "sentinel-1/VH"]
    assert len(found.windows) == 4
    first = found.windows[0]
    assert np.array_equal(~first.clear[1], CLOUD[:96, :96])
    assert (first.image[1, :4][:, CLOUD[:96, :96]] > 0.7).all()  # the real cloud stays
    assert np.isnan(first.image[2, 4:]).all()  # no radar within 12 days
    assert first.latitude == pytest.approx(45.1, abs=0.2)


def test_a_model_of_one_date_and_radar_says_what_it_learned_from(with_radar):
    model, _ = with_radar
    training = model.spec.training
    assert training["restoration"]["radar"] == ["sentinel-1/VV", "sentinel-1/VH"]
    assert training["restoration"]["target_date"] == "same-date"
    assert len(training["places"]) == 3
    assert len(training["fresh_places"]) == 1
    assert training["accuracy"]["images"] > 0
    assert any("simulated" in note for note in training["notes"])
    assert any("One place calibrated and tested" in note for note in training["notes"])
    assert any("When to stop" in note for note in training["notes"])
    assert any("has no radar within 12 days" in note for note in training["notes"])
    assert len(training["scenes"]) == 5


def test_it_fills_where_radar_is_near_and_leaves_other_dates_beyond_repair(with_radar, scenes, tmp_path):
    _, out = with_radar
    cloud = disc(40, 40, 10, SIZE)
    far = write_date(tmp_path, 120, cloud, size=SIZE)
    products = clear_scenes([scenes[1], far], tmp_path / "out", radar=scenes[4], model=out)
    assert np.array_equal(read(products[0], "state")[0] == FILLED, CLOUD)
    assert np.array_equal(read(products[1], "state")[0] == BEYOND, cloud)
    assert "none has all channels" in products[1].properties["processing:lineage"]


def test_exact_zeros_of_radar_are_no_measurement_for_a_model_either(with_radar, scenes, tmp_path):
    _, out = with_radar
    wave = write_radar(tmp_path, 28, size=SIZE)
    with rasterio.open(wave / "image.tif", "r+") as file:
        values = file.read()
        values[:, :, :30] = 0.0  # 20 m, so that the left 60 columns of the scene have no radar
        file.write(values)
    state = read(clear_scenes([scenes[1]], tmp_path / "out", radar=wave, model=out)[0], "state")[0]
    columns = np.arange(SIZE)[None, :]
    assert (state[CLOUD & (columns < 58)] == BEYOND).all()
    assert (state[CLOUD & (columns > 62)] == FILLED).all()


def test_a_model_of_series_learns_a_date_from_others(scenes, tmp_path):
    system = small("uncrtaints", dates=2, width=8, blocks=1, heads=4, d_model=8, context="local")
    model = train_restoration_on_scenes(scenes[:3], system, tmp_path / "model", samples=4)
    assert model.spec.training["restoration"]["target_date"] == "clear-state"
    assert model.spec.training["restoration"]["dates"] == 2
    product = clear_scenes(scenes[:3], tmp_path / "out", model=tmp_path / "model", date="2020-01-31")[0]
    assert np.array_equal(read(product, "state")[0] == FILLED, CLOUD)


def empty(name, dates):
    image = np.full((dates, 1, 4, 4), 0.1, np.float32)
    days = 17_000.0 + 10.0 * np.arange(dates)
    return ClearSeries(
        name, image, np.ones((dates, 4, 4), bool), days, (Channel("sentinel-2", "L2A", "B02", "1"),), 45.0
    )


@pytest.mark.parametrize("held", [2, 3, 5])
def test_error_bars_are_tested_on_ground_that_did_not_calibrate_them(held):
    learned, fresh = [empty("a", 2)], [empty(f"fresh-{number}", 2) for number in range(held)]
    ground = {part: {place.name for place in places} for part, places in ground_of_parts(learned, fresh).items()}
    assert not ground[Part.TEST] & ground[Part.CALIBRATION]
    assert "a" not in ground[Part.TEST] | ground[Part.CALIBRATION]
    if held > 2:
        assert not ground[Part.VALIDATION] & (ground[Part.TEST] | ground[Part.CALIBRATION] | {"a"})
    assert set.union(*ground.values()) == {"a", *(place.name for place in fresh)}


def test_places_are_held_out_among_those_with_enough_dates_for_the_system():
    places = [empty("one", 1), empty("two", 2), empty("three", 3)]

    def usable(name, dates=None):
        return [place.name for place in usable_for(small(name, dates), places)]

    assert usable("dsen2-cr") == ["one", "two", "three"]
    assert usable("date-blend") == ["two", "three"]
    assert usable("uncrtaints", 2) == ["three"]


def test_radar_is_never_a_band_to_restore(scenes, tmp_path):
    found = open_places(open_sources(scenes), radar=True, use_bands=["VV", "B03", "B02"])
    assert found.bands == ("B03", "B02")
    assert [channel.band for channel in found.windows[0].channels] == ["B03", "B02", "VV"]
    with pytest.raises(LabelError, match="None of the bands of --use-bands"):
        open_places(open_sources(scenes), radar=True, use_bands=["VV"])


def test_radar_without_measurement_or_in_power_is_not_learned_from(scenes, tmp_path):
    nothing = write_radar(tmp_path, 11, zero=True, size=SIZE)
    found = open_places(open_sources([*scenes[:3], nothing]), radar=True)
    assert all(np.isnan(window.image[:, 4:]).all() for window in found.windows)
    sources = [*open_sources(scenes[:3]), *(replace(wave, unit="linear power") for wave in open_sources(scenes[3:]))]
    with pytest.raises(ContractError, match="is in linear power, and filling clouds is learned from dB"):
        open_places(sources, radar=True)
    assert open_places(sources, radar=False).bands == ("B02", "B03", "B04", "B08")


def test_a_model_that_fills_no_given_date_is_not_loaded_to_be_tried():
    model = SimpleNamespace(spec=SimpleNamespace(training={}))
    assert trust_on_series(model, None, [False, True]) == {False: None, True: None}


def test_training_goes_on_with_the_system_of_the_bundle(with_radar, scenes, tmp_path):
    _, out = with_radar
    base = ["train", *map(str, scenes), "--from", str(out), "--out", str(tmp_path / "model")]
    result = CliRunner().invoke(app, [*base, "--labels", "x.gpkg"])
    assert "--labels means nothing to dsen2-cr" in " ".join((result.output + str(result.exception)).split())


def test_the_verb_refuses_what_means_nothing_to_it(scenes, tmp_path):
    run = CliRunner().invoke
    base = ["train", *map(str, scenes[:3]), "--system", "date-blend", "--out", str(tmp_path / "model")]
    for more, sentence in (
        (["--labels", "x.gpkg"], "--labels means nothing to date-blend"),
        (["--holdout", "x.gpkg"], "--holdout means nothing to date-blend"),
        (["--label-field", "kind"], "--label-field means nothing to date-blend"),
        (["--target-unit", "m"], "--target-unit means nothing to date-blend"),
        (["--coverage", "0.8"], "--coverage means nothing to date-blend"),
    ):
        result = run(app, [*base, *more])
        assert result.exit_code != 0
        assert sentence in " ".join((result.output + str(result.exception)).split())
    result = run(app, ["train", "--system", "date-blend", "--out", str(tmp_path / "model")])
    assert "learns from scenes" in " ".join((result.output + str(result.exception)).split())


def test_scenes_that_teach_nothing_are_a_sentence(scenes, tmp_path):
    with pytest.raises(LabelError, match="optical scenes"):
        open_places(open_sources(scenes[3:]), radar=True)
    with pytest.raises(LabelError, match="two dates that are clear"):
        train_restoration_on_scenes(scenes[:1], "date-blend", tmp_path / "model")
    undated = write_date(tmp_path, 95, size=SIZE, dated=False)
    with pytest.raises(SceneError, match="has no date"):
        open_places(open_sources(undated), radar=True)
    mixed = write_date(tmp_path, 90, level="L1C", size=SIZE)
    with pytest.raises(ContractError, match="different levels"):
        open_places(open_sources([*scenes[:3], mixed]), radar=True)
