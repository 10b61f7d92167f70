"""Change between two dates learned, mapped and refused: from two scenes with labels, and from a data set of pairs."""

from dataclasses import replace

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

torch = pytest.importorskip("torch")

from end_to_end import run_cli  # noqa: E402
from oscd_files import write_city  # noqa: E402

import ecumene.systems as systems  # noqa: E402
from ecumene import map_scenes, train_model  # noqa: E402
from ecumene.core.errors import ConfigurationError, ContractError  # noqa: E402
from ecumene.models.bundle import Model  # noqa: E402
from ecumene.systems import System, get_system  # noqa: E402
from ecumene.workflows.beginning import begin_with  # noqa: E402
from ecumene.workflows.pair_train import choose_test, train_pairs  # noqa: E402

pytestmark = pytest.mark.slow  # the oldest versions run without them

SIDE, BANDS = 64, ("B1", "B2", "B3")
SAID = {"sensor": "landsat-7", "level": "DN", "bands": list(BANDS)}
DATES = ["2000-03-17", "2003-02-06"]
DAMAGED = (slice(0, 3), slice(5, 9))


def write(path, values, nodata):
    with rasterio.open(
        path, "w", driver="GTiff", height=values.shape[1], width=values.shape[2], count=len(values),
        dtype=values.dtype, crs="EPSG:32651", transform=from_origin(203325, 3604935, 30, 30), nodata=nodata,
    ) as file:  # fmt: skip
        file.write(values)
    return path


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two dates of a plain on which squares have become bright; a few pixels of the second date are missing."""
    folder = tmp_path_factory.mktemp("pair")
    rng = np.random.default_rng(0)
    before = rng.normal(60, 4, (3, SIDE, SIDE))
    after = before + rng.normal(0, 4, before.shape)
    changed = np.zeros((SIDE, SIDE), bool)
    for row in range(4, SIDE - 10, 24):
        for col in range(4, SIDE - 10, 24):
            changed[row : row + 10, col : col + 10] = True
    after[:, changed] += 60
    later = after.round().clip(1, 255).astype(np.uint8)
    later[:, *DAMAGED] = 0
    return {
        "scenes": [
            write(folder / "before.tif", before.round().clip(1, 255).astype(np.uint8), 0),
            write(folder / "after.tif", later, 0),
        ],
        "labels": write(folder / "labels.tif", np.where(changed, 2, 1).astype(np.uint8)[None], 0),
        "changed": changed,
    }


def smaller(monkeypatch, name, training, **changes):
    """Make a system small enough for a second."""
    system = get_system(name)
    arguments = {**system.network_arguments, "widths": [4, 4, 4, 4]}
    training = {**system.training, **training}
    small = system.model_copy(update={"network_arguments": arguments, "training": training, **changes})
    monkeypatch.setattr(systems, "list_systems", lambda: (small,))


@pytest.fixture(scope="module")
def recnn(pair, tmp_path_factory):
    out = tmp_path_factory.mktemp("recnn") / "model"
    return train_model(pair["scenes"], pair["labels"], out, system="recnn-gru", epochs=12, seed=1, time=DATES, **SAID)


def read(product, name):
    with rasterio.open(product.path(name)) as file:
        return file.read()


@pytest.fixture(scope="module")
def product(pair, recnn, tmp_path_factory):
    return map_scenes(recnn, pair["scenes"], tmp_path_factory.mktemp("map") / "product", time=DATES, **SAID)


def test_a_pair_is_learned_and_mapped(pair, recnn, product):
    assert recnn.spec.temporal
    assert recnn.spec.training["accuracy"]["overall"]["overall_accuracy"]["value"] > 0.9
    value, valid = read(product, "value")[0], read(product, "valid")[0] == 1
    missing = np.zeros((SIDE, SIDE), bool)
    missing[DAMAGED] = True
    np.testing.assert_array_equal(~valid, missing)
    assert (value[~valid] == 255).all()
    assert ((value == 2) == pair["changed"])[valid].mean() > 0.9
    assert {"uncertainty", "outlier", "probability"} <= set(product.layers)


def test_neither_windows_nor_the_order_of_the_scenes_decide_the_map(pair, recnn, product, tmp_path):
    """The network sees five pixels around a pixel, windows overlap by more, and dates are put in order."""
    scenes, times = pair["scenes"][::-1], DATES[::-1]
    other = map_scenes(recnn, scenes, tmp_path / "other", time=times, window=(32, 32), **SAID)
    np.testing.assert_array_equal(read(product, "value"), read(other, "value"))


@pytest.mark.parametrize(
    ("count", "sentence"), [(1, "reads exactly 2 dates, but the scenes have 1"), (3, "but the scenes have 3")]
)
def test_other_numbers_of_dates_are_refused_with_a_sentence(pair, recnn, tmp_path, count, sentence):
    scenes = [*pair["scenes"], pair["scenes"][0]][:count]
    times = [*DATES, "2005-01-01"][:count]
    with pytest.raises(ContractError, match=sentence):
        map_scenes(recnn, scenes, tmp_path / "product", time=times, **SAID)
    with pytest.raises(ConfigurationError, match=rf"between two dates, but the scenes have {count}"):
        train_model(scenes, pair["labels"], tmp_path / "m", system="fc-siam-diff", time=times, **SAID)


def test_dates_that_repeat_are_no_pair(pair, tmp_path):
    with pytest.raises(ConfigurationError, match="between two dates, but the scenes have 1"):
        train_model(pair["scenes"], pair["labels"], tmp_path / "m", system="recnn-fc", time=DATES[:1] * 2, **SAID)


@pytest.mark.parametrize(("system", "uncertainty"), [("ds-unet", "single"), ("fc-siam-diff", "mc-dropout:2")])
def test_a_threshold_is_chosen_said_and_used(pair, tmp_path, monkeypatch, system, uncertainty):
    smaller(monkeypatch, system, {"epochs": 2, "batch_size": 8, "learning_rate": 3e-3})
    model = train_model(
        pair["scenes"], pair["labels"], tmp_path / "model", system=system, uncertainty=uncertainty, time=DATES, **SAID
    )
    said = model.spec.training["threshold"]
    assert (said["class"], said["chosen_on"]) == ("2", "validation labels")
    base = model.objective if uncertainty == "single" else model.objective.base
    assert said["value"] == base.threshold
    if system == "ds-unet":
        assert model.spec.architecture["arguments"]["streams"] == [[0, 1, 2]]
    # Another threshold in the same weights gives another map, whose classes and sets are those of its probabilities.
    again = Model.load(tmp_path / "model")
    assert again.objective.to_config() == model.objective.to_config()
    for threshold in (0.02, 0.98):
        config = again.objective.looking_for("2", threshold).to_config()
        moved = Model(**{**vars(again), "spec": again.spec.model_copy(update={"objective": config}), "objective": None})
        product = map_scenes(moved, pair["scenes"], tmp_path / f"p{threshold}", time=DATES, **SAID)
        probability, value = read(product, "probability")[1] / 250, read(product, "value")[0]
        sure = (value != 255) & (abs(probability - threshold) > 0.005)
        np.testing.assert_array_equal(value[sure] == 2, probability[sure] > threshold)
        if "prediction_set" in product.layers:
            bits, shown = read(product, "prediction_set")[0][value != 255], value[value != 255]
            assert ((bits >> (shown - 1).astype(np.uint32)) & 1).all()
    if system == "ds-unet":
        beginning = begin_with(tmp_path / "model", adapt_bands=True)
        with pytest.raises(ContractError, match="streams of bands by position, which cannot be adapted"):
            train_model(
                pair["scenes"], pair["labels"], tmp_path / "more", system=system, initial=beginning, time=DATES,
                use_bands=["B1", "B2"], **SAID,
            )  # fmt: skip


def test_figures_and_sets_judge_what_the_map_shows():
    """A class of a low threshold is shown where another one is more probable; nothing may count it as the other."""
    from ecumene.trust.conformal import ConformalSets
    from ecumene.workflows.trust_figures import calibration_figures, sparsification_figures
    from ecumene.workflows.trust_pixels import PixelResults

    rng = np.random.default_rng(0)
    chance = rng.uniform(0.0, 0.4, 400)
    probability = np.stack([1 - chance, chance], axis=1)
    decided = (chance > 0.3).astype(np.int64)
    found = PixelResults(probability, probability, chance, chance, decided, np.arange(400) // 40, decided)
    assert calibration_figures(found)["overall_accuracy"] == 1.0
    assert sparsification_figures(found)["error_rate"] == 0.0
    by_most_probable = ConformalSets.fit(probability, decided, 0.8)
    by_shown = ConformalSets.fit(probability, decided, 0.8, decided=decided)
    assert by_shown.thresholds == (0.0,)
    assert by_most_probable.thresholds[0] > 0.5
    assert by_shown.sets(probability, decided)[np.arange(400), decided].all()
    assert by_shown.sets(probability, decided).sum(axis=1).tolist() == [1] * 400


def test_several_kinds_of_change_are_no_matter_of_a_threshold(pair, tmp_path):
    with rasterio.open(pair["labels"]) as file:
        values = file.read()
    values[:, 40:][values[:, 40:] == 2] = 3
    labels = write(tmp_path / "kinds.tif", values, 0)
    model = train_model(
        pair["scenes"], labels, tmp_path / "m", system="recnn-fc", epochs=1, time=DATES, block_size_m=360, **SAID
    )
    assert model.objective.n_outputs == 3
    assert model.objective.by_argmax
    assert "threshold" not in model.spec.training


@pytest.fixture(scope="module")
def cities(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cities")
    for number, name in enumerate(("paris", "rennes", "dubai")):
        write_city(folder, name, seed=number, side=144)
    return folder


def test_a_data_set_of_pairs_is_learned(cities, tmp_path, monkeypatch):
    crops = {"per_region": 4, "candidates": 2}
    smaller(monkeypatch, "fc-siam-diff", {"epochs": 1, "batch_size": 4}, crops=crops, patch_size=32)
    out = tmp_path / "model"
    outcome = run_cli(
        "train", "--data", cities, "--system", "fc-siam-diff", "--data-option", "bands=10m", "--seed", 2, "--out", out
    )
    assert outcome.code == 0, outcome
    assert "fc-siam-diff trained" in outcome.out
    model = Model.load(out)
    said = model.spec.training
    assert said["split"]["test"] == ["dubai"]
    assert said["split"]["pixels"]["test"] == 144 * 144
    assert said["accuracy"]["pixels"] == 144 * 144
    assert said["threshold"]["chosen_on"] == "validation labels"
    assert said["threshold"]["value"] == model.objective.threshold
    assert [band.band for band in model.spec.inputs] == ["B02", "B03", "B04", "B08"]
    assert model.spec.resolution_m == 10.0
    assert (model.spec.temporal, model.spec.stride, model.spec.margin) == (True, 16, 32)


def test_neither_brightness_nor_contrast_of_a_date_decides_a_standardised_map(pair, recnn, tmp_path, monkeypatch):
    """A year later under another sun: the same numbers times three, and seventeen more."""
    smaller(monkeypatch, "fc-siam-diff", {"epochs": 2, "batch_size": 4}, patch_size=32)
    options = {"system": "fc-siam-diff", "time": DATES, "seed": 1, **SAID}
    model = train_model(pair["scenes"], pair["labels"], tmp_path / "model", **options)
    assert Model.load(tmp_path / "model").spec.standardised
    assert "brought to mean 0" in (tmp_path / "model" / "card.md").read_text()
    assert not recnn.spec.standardised
    with rasterio.open(pair["scenes"][1]) as file:
        values = file.read().astype(np.uint16)
    other = write(tmp_path / "other.tif", np.where(values == 0, 0, 3 * values + 17).astype(np.uint16), 0)
    maps = [
        map_scenes(model, [pair["scenes"][0], after], tmp_path / name, time=DATES, **SAID)
        for name, after in (("as-it-is", pair["scenes"][1]), ("brighter", other))
    ]
    said = [read(one, "probability")[:, read(one, "valid")[0] == 1] for one in maps]
    np.testing.assert_allclose(*said, atol=2)
    assert np.ptp(said[0], axis=1).max() > 5
    plain = begin_with(replace(model, spec=model.spec.model_copy(update={"standardised": False})))
    with pytest.raises(ConfigurationError, match="reads each date standardised by its own scene"):
        train_model(pair["scenes"], pair["labels"], tmp_path / "n", initial=plain, **options)


def test_a_network_of_a_stream_a_sensor_says_that_there_is_one_sensor(cities, tmp_path, monkeypatch):
    crops = {"per_region": 2, "candidates": 2}
    smaller(monkeypatch, "ds-unet", {"epochs": 1, "batch_size": 4}, crops=crops, patch_size=32)
    model = train_pairs(cities, "ds-unet", tmp_path / "model", data_options={"bands": "10m"})
    assert any("All bands are of sentinel-2, so that ds-unet has one stream" in n for n in model.spec.training["notes"])


def test_places_that_test_are_chosen_or_official_or_the_last(cities):
    from ecumene.samples.datasets.oscd import Oscd

    data = Oscd.open(cities)
    assert choose_test(data, "paris") == (("paris",), [])
    assert choose_test(data, ["paris", "rennes"])[0] == ("paris", "rennes")
    assert choose_test(data, None) == (("dubai",), [])
    data.names = ("paris", "rennes")
    names, notes = choose_test(data, None)
    assert names == ("rennes",)
    assert "measured on rennes alone" in notes[0]
    with pytest.raises(ConfigurationError, match="no place 'rome' here"):
        choose_test(data, "rome")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--system", "fc-ef", "--legend", "eurosat"], "--legend is for images with one answer each"),
        (["--system", "fc-ef", "--data-option", "test=rome"], "no place 'rome' here"),
        (["--system", "fc-ef", "--uncertainty", "laplace:4"], "cannot sample its last layer"),
    ],
)
def test_options_that_do_not_belong_to_pairs_are_refused_with_a_sentence(cities, tmp_path, arguments, sentence):
    outcome = run_cli("train", "--data", cities, "--out", tmp_path / "m", *arguments)
    assert outcome.code != 0
    assert sentence in outcome.sentence


def test_only_pairs_can_be_standardised_by_their_own_pixels():
    with pytest.raises(ValueError, match="only networks that read pairs"):
        System.model_validate(get_system("unet-small").model_dump() | {"standardised": True})


def test_streams_are_the_sensors():
    from ecumene.models.contract import InputBand
    from ecumene.workflows.fit import sensor_streams

    keys = ["sentinel-2/B02", "sentinel-1/VV", "sentinel-2/B03"]
    bands = [
        InputBand(sensor=key.split("/")[0], level="L", band=key.split("/")[1], unit="1", mean=0.0, std=1.0)
        for key in keys
    ]
    assert sensor_streams(bands) == [[0, 2], [1]]
