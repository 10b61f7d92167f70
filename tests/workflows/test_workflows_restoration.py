"""Systems that remove clouds, from official files to a bundle: trained, calibrated, measured, and mapped."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ecumene.core.errors import ConfigurationError, LabelError  # noqa: E402
from ecumene.models.bundle import Model  # noqa: E402
from ecumene.samples.contract import Part  # noqa: E402
from ecumene.samples.datasets import open_data_set  # noqa: E402
from ecumene.samples.datasets.class_folders import sensor_channels  # noqa: E402
from ecumene.samples.datasets.restoration import S2_BANDS  # noqa: E402
from ecumene.samples.hidden_clouds import ClearSeries  # noqa: E402
from ecumene.samples.restoration_set import RestorationSet  # noqa: E402
from ecumene.simulate.datasets.sen12ms_cr import write_sen12ms_cr  # noqa: E402
from ecumene.simulate.datasets.sen12ms_cr_ts import write_sen12ms_cr_ts  # noqa: E402
from ecumene.systems import get_system, list_systems  # noqa: E402
from ecumene.training.adversarial import fit_adversarial  # noqa: E402
from ecumene.training.options import TrainingOptions  # noqa: E402
from ecumene.training.provenance import make_inputs  # noqa: E402
from ecumene.training.restoration_batches import RestorationBatches  # noqa: E402
from ecumene.workflows.bench import bench_system  # noqa: E402
from ecumene.workflows.restoration_data import LazyPairs  # noqa: E402
from ecumene.workflows.restoration_fit import restoration_objective  # noqa: E402
from ecumene.workflows.restoration_scenes import train_on_scenes  # noqa: E402
from ecumene.workflows.restoration_train import train_restoration  # noqa: E402
from ecumene.workflows.restoration_trust import fit_restoration_trust, restored_pixels  # noqa: E402

torch.set_num_threads(1)
pytestmark = pytest.mark.slow  # the oldest versions run without them

SMALL = {
    "dsen2-cr": {"width": 4, "blocks": 1},
    "uncrtaints": {"width": 8, "blocks": 1, "heads": 4, "d_model": 8, "context": "local"},
    "cgan-cloud-removal": {"width": 4, "depth": 3},
}
PLACES = ("ROIs1158", "ROIs1868", "ROIs1970")


def small(name, **training):
    system = get_system(name)
    options = {key: value for key, value in system.data_options.items() if key != "crop"}
    updates = {
        "network_arguments": {**system.network_arguments, **SMALL[name]},
        "training": {**system.training, "batch_size": 2, "learning_rate": 2e-3, "epochs": 2, **training},
        "data_options": {**options},
    }
    return system.model_copy(update=updates)


@pytest.fixture(scope="module")
def cr(tmp_path_factory):
    return write_sen12ms_cr(tmp_path_factory.mktemp("cr") / "set", 9, side=32).folder


@pytest.fixture(scope="module")
def ts(tmp_path_factory):
    return write_sen12ms_cr_ts(tmp_path_factory.mktemp("ts") / "set", 5, side=32, dates=4).folder


@pytest.fixture(scope="module")
def trained(cr, tmp_path_factory):
    out = tmp_path_factory.mktemp("models") / "model"
    return train_restoration(cr, small("dsen2-cr"), out, seed=0), out


def test_simulated_files_are_read_by_the_official_loaders(cr, ts):
    pairs = open_data_set("sen12ms-cr", cr).read_pairs(range(9))
    assert pairs.image.shape == (9, 15, 32, 32)
    assert np.isfinite(pairs.image).all()
    covered = np.array([mask.mean() for mask in pairs.cloudy])
    assert (covered > 0.05).any()
    change = np.abs(pairs.image[:, 1] - pairs.target[:, 1])
    assert change[pairs.cloudy].mean() > 2 * change[~pairs.cloudy].mean()
    data = open_data_set("sen12ms-cr-ts", ts)
    assert (data.read_pairs([0]).target > 0).all()
    assert data.coverage(0).min() < 0.05
    with pytest.raises(ConfigurationError, match="1 to 5000"):
        write_sen12ms_cr("nowhere", 0)
    with pytest.raises(ConfigurationError, match="dates 3 to 30"):
        write_sen12ms_cr_ts("nowhere", 4, dates=2)


def test_trained_model_states_what_it_needs_and_says_how_sure_it_is(trained, cr):
    _, out = trained
    loaded = Model.load(out)
    stated = loaded.spec.training["restoration"]
    assert stated["bands"] == list(S2_BANDS)
    assert (stated["target_date"], stated["dates"], stated["clouds"]) == ("same-date", 1, "as measured")
    assert stated["radar"] == ["sentinel-1/VV", "sentinel-1/VH"]
    accuracy = loaded.spec.training["accuracy"]
    assert set(accuracy["metrics"]) >= {"mae", "rmse", "psnr", "ssim", "sam", "uce", "auce"}
    assert {"cloudy", "clear", "input", "error_bars"} <= set(accuracy)
    assert any("SIMULATED" in note for note in loaded.spec.training["notes"])
    sample = open_data_set("sen12ms-cr", cr).read_pairs([0])
    prediction = loaded.objective.predict(loaded.executor(device="cpu").run(sample.image)[0])
    assert prediction.layers["value"].shape == (1, 13, 32, 32)
    assert (np.asarray(prediction.layers["uncertainty"]) > 0).all()
    assert (loaded.spec.margin, loaded.spec.temporal) == (6, False)


def test_calibrated_error_bars_have_the_size_of_the_errors(trained, cr):
    """On the calibration part itself one factor a band makes the mean squared error the mean variance."""
    model, _ = trained
    data = open_data_set("sen12ms-cr", cr)
    part = data.splits()["official"]
    assert set(part) >= {Part.TRAIN, Part.TEST}
    pixels = restored_pixels(model, data.read_pairs(range(9)))
    ratio = ((pixels.mean - pixels.truth) ** 2).mean() / (pixels.deviation**2).mean()
    assert 0.2 < ratio < 5.0


def test_a_band_that_cannot_be_recalibrated_says_why(trained, cr):
    model, _ = trained
    pairs = open_data_set("sen12ms-cr", cr).read_pairs(range(2))
    few = pairs.take([1])
    few.target[:, :, 2:] = np.nan
    few.target[:, :, :, 4:] = np.nan  # eight pixels
    _, notes = fit_restoration_trust(model, pairs.take([0]), few)
    assert any("13 of 13 bands: Error bars need at least 10 labelled pixels" in note for note in notes)


def test_only_the_cloud_adaptive_loss_gets_the_bands_as_observed():
    samples = memory()
    for name, channels in (("dsen2-cr", 5), ("dsen2-cr-l1", 2)):
        objective = restoration_objective(get_system(name), ("B01", "B02"))
        batches = RestorationBatches(samples, 4, observed=objective.reads_observed)
        assert next(iter(batches))["target"].shape[1] == channels


def test_the_digest_of_samples_knows_their_options(cr):
    found = {
        LazyPairs(open_data_set("sen12ms-cr", cr, **options)).digest()
        for options in ({}, {"crop": 16}, {"crop": 8}, {"inputs": "s2"})
    }
    assert len(found) == 4


def test_series_are_learned_and_the_published_table_is_beside_ours(ts):
    result = bench_system(small("uncrtaints"), ts, protocol="spatial-80", seeds=1, quick=True)
    rows = {row.metric: row for row in result.rows}
    assert rows["psnr"].ours["mean"] > 0.0
    assert "psnr (cloudy)" in rows or "psnr (clear)" in rows
    assert result.to_dict()["quick"]
    official = {figure.metric: figure.value for figure in get_system("uncrtaints").figures if figure.bench}
    assert official == {"rmse": 0.051, "psnr": 27.84, "ssim": 0.866, "sam": 10.160}
    assert len(result.elsewhere) == len(get_system("uncrtaints").figures)


def test_wrong_data_are_a_sentence(cr, ts, tmp_path):
    with pytest.raises(ConfigurationError, match="has one date a sample, but uncrtaints reads series"):
        train_restoration(cr, small("uncrtaints"), tmp_path / "a", data_set="sen12ms-cr", data_options={})
    with pytest.raises(ConfigurationError, match="no cloudy images"):
        train_restoration(cr, small("dsen2-cr"), tmp_path / "b", data_set="image-folders")
    with pytest.raises(ConfigurationError, match="does not remove clouds"):
        train_restoration(cr, "unet-small", tmp_path / "c")
    with pytest.raises(LabelError, match="places; give the scenes"):
        train_on_scenes([])


def memory(number=6, side=32, seed=0):
    rng = np.random.default_rng(seed)
    channels = (*sensor_channels("sentinel-2", "L1C", S2_BANDS[:2]), *sensor_channels("sentinel-1", "GRD", ("VV",)))
    clear = rng.uniform(0.05, 0.3, (number, 2, side, side)).astype(np.float32)
    cloudy = rng.uniform(size=(number, side, side)) < 0.4
    seen = np.where(cloudy[:, None], np.float32(0.8), clear)
    radar = (-10.0 + 20.0 * clear[:, :1]).astype(np.float32)
    image = np.concatenate((seen, radar), axis=1)
    dates = np.full((number, 1), 17_000)
    return RestorationSet(image, clear, cloudy, dates, np.arange(number, dtype=np.int32), channels)


def test_batches_turn_image_and_target_alike_and_repeat():
    samples = memory()
    batches = RestorationBatches(samples, 4, seed=3, turned=True, shuffle=True, crop=8)
    first, again = (next(iter(batches)) for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert first["image"].shape == (4, 3, 8, 8)
    assert first["target"].shape == (4, 5, 8, 8)
    # The observed bands in the target are those of the image, wherever it was turned to.
    assert torch.equal(first["image"][:, :2], first["target"][:, 2:4])
    plain = next(iter(RestorationBatches(samples, 6)))
    np.testing.assert_array_equal(plain["image"].numpy(), samples.image)


@pytest.mark.parametrize("game", ["pix2pix", "cycle"])
def test_a_killed_game_goes_on_where_it_stopped(game, tmp_path):
    samples = memory()
    system = get_system("cgan-cloud-removal")
    objective = restoration_objective(system, ("B01", "B02"))
    inputs = make_inputs(samples.channels, {"mean": [0.5, 0.5, -12.5], "std": [0.5, 0.5, 12.5]})
    arguments = {"in_channels": 3, "n_outputs": 4, "targets": 2, "width": 2, "depth": 2, "scaling": "symmetric"}

    def play(folder, epochs, **more):
        options = TrainingOptions(epochs=epochs, batch_size=3, learning_rate=1e-3, **more)
        return fit_adversarial(
            "pix2pix-unet", arguments, objective, samples, samples, inputs,
            options=options, folder=folder, game=game, weight=10.0, judge_width=2,
        )  # fmt: skip

    whole = play(tmp_path / "whole", 3)
    calls = []

    def stop(done, total, what):
        calls.append(done)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_adversarial(
            "pix2pix-unet", arguments, objective, samples, samples, inputs,
            options=TrainingOptions(epochs=3, batch_size=3, learning_rate=1e-3), folder=tmp_path / "cut", game=game,
            weight=10.0, judge_width=2, progress=stop,
        )  # fmt: skip
    assert calls == [1]
    resumed = play(tmp_path / "cut", 3)
    assert [row["epoch"] for row in resumed.history] == [0, 1, 2]
    for name, array in whole.state.items():
        np.testing.assert_array_equal(array, resumed.state[name])
    assert all(np.isfinite(row["discriminator_loss"]) for row in whole.history)


def test_the_paired_game_learns_the_clear_image(tmp_path):
    samples = memory()
    objective = restoration_objective(get_system("cgan-cloud-removal"), ("B01", "B02"))
    inputs = make_inputs(samples.channels, {"mean": [0.5, 0.5, -12.5], "std": [0.5, 0.5, 12.5]})
    arguments = {"in_channels": 3, "n_outputs": 4, "targets": 2, "width": 8, "depth": 2, "scaling": "symmetric"}
    options = TrainingOptions(epochs=12, batch_size=2, learning_rate=5e-3)
    result = fit_adversarial(
        "pix2pix-unet", arguments, objective, samples, samples, inputs,
        options=options, folder=tmp_path, weight=100.0, judge_width=4,
    )  # fmt: skip
    assert result.history[-1]["mae"] < 0.5 * result.history[0]["mae"]
    with pytest.raises(ConfigurationError, match="pix2pix or cycle"):
        fit_adversarial(
            "pix2pix-unet", arguments, objective, samples, samples, inputs, options=options, folder=tmp_path, game="go"
        )


def test_scenes_teach_to_fill_from_other_dates():
    """A place whose dates differ by a factor of their light is filled better than by the other date as it is."""
    rng = np.random.default_rng(0)
    channels = sensor_channels("sentinel-2", "L1C", ("B02", "B03", "B04"))
    ground = rng.uniform(0.05, 0.25, (3, 120, 110)).astype(np.float32)
    light = np.array([1.0, 1.3, 0.8], np.float32)
    image = light[:, None, None, None] * ground[None]
    days = np.array([17_000.0, 17_010, 17_030])
    place = ClearSeries("here", image, np.ones((3, 120, 110), bool), days, channels, 45.0)
    system = get_system("date-blend")
    system = system.model_copy(update={"network_arguments": {**system.network_arguments, "width": 8, "radii": [2, 8]}})
    model = train_on_scenes([place], system, simulated=0, samples=8, epochs=2)
    stated = model.spec.training["restoration"]
    assert (stated["target_date"], stated["clouds"]) == ("first-date", "masked")
    hidden = image[:, :, :48, :48].copy()
    hidden[0, :, 16:32, 16:32] = np.nan
    output = model.raw_output(hidden[None], np.array([[17_000.0, 17_010.0, 17_030.0]], np.float32))
    filled = np.asarray(model.objective.predict(output).value)[0][:, 16:32, 16:32]
    truth = image[0][:, 16:32, 16:32]
    other = np.abs(image[1][:, 16:32, 16:32] - truth).mean()
    assert np.abs(filled - truth).mean() < 0.5 * other


def test_every_system_of_this_kind_builds_its_network_and_names_its_paper():
    found = [system for system in list_systems() if system.task == "restoration"]
    assert len(found) >= 10
    for system in found:
        assert system.paper or "own method" in system.deviations
        assert system.network_arguments["scaling"] in ("resnet", "times-ten", "symmetric")
        bands = tuple(S2_BANDS)
        objective = restoration_objective(system, bands)
        from ecumene.networks import build_network

        with torch.device("meta"):
            network = build_network(
                system.network, in_channels=15, n_outputs=objective.n_outputs, targets=13, **system.network_arguments
            )
        assert network.temporal == (system.reads == "series")
