"""Hyperspectral systems from official files and from scenes to bundles that map, and features without labels."""

import numpy as np
import pytest
from scipy.io import savemat

torch = pytest.importorskip("torch")

from ecumene.core.errors import ConfigurationError, LabelError  # noqa: E402
from ecumene.models.bundle import Model  # noqa: E402
from ecumene.networks import build_network  # noqa: E402
from ecumene.networks.residual_deconv import ResidualConvDeconv  # noqa: E402
from ecumene.systems import get_system  # noqa: E402
from ecumene.training.reconstruction import find_object, learn_reconstruction, neuron_maps  # noqa: E402
from ecumene.workflows.bench import bench_system  # noqa: E402
from ecumene.workflows.scene_train import train_scene_model  # noqa: E402

torch.set_num_threads(1)
ROWS, COLS, BANDS = 40, 24, 103


@pytest.fixture(scope="module")
def spectra():
    """Spectra of three materials, as numbers stored by an instrument."""
    x = np.linspace(0, 1, BANDS)
    return 1000 * np.stack([1 + x, 1.2 + 0.8 * np.sin(6 * x), 2 - x + 0.5 * np.exp(-40 * (x - 0.5) ** 2)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory, spectra):
    """Pavia University in its official files, small: three classes in blocks, with the fixed maps."""
    place = tmp_path_factory.mktemp("pavia")
    rng = np.random.default_rng(0)
    truth = rng.integers(1, 4, (ROWS // 4, COLS // 4)).repeat(4, 0).repeat(4, 1)
    cube = spectra[truth - 1] * rng.uniform(0.9, 1.1, (ROWS, COLS, 1)) + rng.normal(0, 60, (ROWS, COLS, BANDS))
    train = np.where(np.arange(ROWS)[:, None] < 28, truth, 0)
    savemat(place / "PaviaU.mat", {"paviaU": np.clip(cube, 0, 8000).astype(np.uint16)})
    savemat(place / "PaviaU_gt.mat", {"paviaU_gt": truth.astype(np.uint8)})
    savemat(place / "TRpaviaU.mat", {"TRpaviaU": train.astype(np.uint8)})
    savemat(place / "TSpaviaU.mat", {"TSpaviaU": np.where(train == 0, truth, 0).astype(np.uint8)})
    return place


@pytest.mark.parametrize(("system", "epochs"), [("hsi-svm", None), ("hsi-rf", None), ("hsi-gru-pretanh", 8)])
def test_a_bundle_from_official_files(folder, tmp_path, system, epochs):
    model = train_scene_model(folder, system, tmp_path / "model", epochs=epochs)
    figures = model.spec.training["accuracy"]
    assert figures["metrics"]["overall_accuracy"] > 0.9
    assert model.spec.patch_size is None
    assert model.calibration is not None
    assert model.detector is not None
    assert model.spec.training["split"]["official"] is None or model.spec.training["split"]["kind"] == "official"
    loaded = Model.load(tmp_path / "model")
    image = np.random.default_rng(1).uniform(500, 3000, (1, BANDS, 5, 6)).astype(np.float32)
    image[0, 3, 2, 2] = np.nan
    one, other = model.executor().run(image), loaded.executor().run(image)
    assert one[0].shape == (1, 9, 5, 6)
    assert np.array_equal(one[0], other[0])
    assert np.isfinite(one[0]).all()


def test_a_machine_maps_a_scene_of_the_same_bands_and_is_explained(folder, tmp_path):
    import rasterio
    from rasterio.transform import from_origin
    from scipy.io import loadmat

    from ecumene.workflows.explain import explain_scene
    from ecumene.workflows.map import map_scenes

    train_scene_model(folder, "hsi-svm", tmp_path / "model")
    cube = np.moveaxis(loadmat(folder / "PaviaU.mat")["paviaU"], -1, 0)
    place = {"crs": "EPSG:32632", "transform": from_origin(510_000, 5_005_000, 1.3, 1.3)}
    profile = {"driver": "GTiff", "width": COLS, "height": ROWS, "count": BANDS, "dtype": "uint16", **place}
    with rasterio.open(tmp_path / "pavia.tif", "w", **profile) as target:
        target.write(cube)
    said = {"sensor": "rosis", "level": "DN", "bands": [f"B{number:03d}" for number in range(1, BANDS + 1)]}
    map_scenes(tmp_path / "model", tmp_path / "pavia.tif", tmp_path / "product", **said)
    with rasterio.open(tmp_path / "product" / "value.tif") as source:
        classes = source.read(1)
    truth = loadmat(folder / "PaviaU_gt.mat")["paviaU_gt"]
    assert (classes == truth).mean() > 0.9
    result = explain_scene(tmp_path / "model", tmp_path / "pavia.tif", tmp_path / "why", at="510020,5004980", **said)
    assert result is not None


def test_the_bench_runs_both_fixed_protocols(folder):
    for protocol in ("fixed", "fixed-overlapping"):
        result = bench_system("hsi-svm", folder, protocol=protocol, seeds=1)
        rows = {row.metric: row for row in result.rows}
        assert rows["overall_accuracy"].ours["mean"] > 0.9
        assert [figure.value for figure in rows["overall_accuracy"].published] == (
            [0.7882] if protocol == "fixed-overlapping" else []
        )


def test_patches_first_learned_without_labels(folder, tmp_path):
    system = get_system("hsi-res-conv")
    small = system.model_copy(
        update={
            "network_arguments": {"widths": [8, 16], "patch": 5, "hidden": 32, "dropout": 0.0},
            "pretraining": {"widths": [8, 16], "steps": 10, "batch": 8},
            "training": {"epochs": 40, "batch_size": 16, "learning_rate": 3e-3, "patience": 40},
            "data_options": {"patch": 5},
        }
    )
    result = bench_system(small, folder, protocol="random-10", data_options={"patch": 5}, seeds=1)
    rows = {row.metric: row.ours["mean"] for row in result.rows}
    assert rows["overall_accuracy"] > 0.8  # chance is a third


def test_patches_are_refused_by_systems_of_single_pixels(folder, tmp_path):
    with pytest.raises(ConfigurationError, match="patch 1"):
        train_scene_model(folder, "hsi-svm", tmp_path / "model", data_options={"patch": 3})


def test_what_is_fitted_in_one_go_begins_with_nothing(folder, tmp_path):
    with pytest.raises(ConfigurationError, match="leave out --from"):
        train_scene_model(folder, "hsi-rf", tmp_path / "model", initial={})


@pytest.fixture(scope="module")
def learned(spectra):
    """An image of one material with objects of another, and a network that has seen it without labels."""
    rng = np.random.default_rng(3)
    wanted = np.zeros((36, 36), bool)
    wanted[4:12, 5:14] = wanted[22:30, 18:30] = True
    image = spectra[np.where(wanted, 2, 0)] + rng.normal(0, 40, (36, 36, BANDS))
    image = np.moveaxis(image, -1, 0)[::4]
    image[:, 0, :3] = np.nan
    return (
        image,
        wanted,
        learn_reconstruction(image, patch=8, widths=(8, 12), steps=150, batch=16, learning_rate=3e-3, seed=0),
    )


def test_rebuilding_beats_the_mean(learned):
    losses = learned[2].losses
    assert losses[-1] < 0.5
    assert losses[-1] < losses[0]


def test_the_same_seed_learns_the_same(learned, spectra):
    image = learned[0]
    one, other = (learn_reconstruction(image, patch=8, widths=(4,), steps=3, batch=4, seed=5) for _ in range(2))
    assert all(np.array_equal(one.weights()[name], other.weights()[name]) for name in one.weights())


def test_a_neuron_finds_an_object_that_nobody_told_it_of(learned):
    image, wanted, network = learned
    maps = neuron_maps(network, image)
    assert maps.shape == (8, 36, 36)
    assert np.isnan(maps[:, 0, :3]).all()
    neuron, where = find_object(maps, wanted)
    assert neuron.auroc > 0.95
    assert not where[0, :3].any()
    lower = slice(18, None)
    both, either = (where & wanted)[lower].sum(), (where | wanted)[lower].sum()
    assert both / either > 0.6
    with pytest.raises(LabelError, match="20 pixels"):
        find_object(maps, np.zeros_like(wanted))


def test_sizes_of_the_residual_network():
    def block(a, b):
        return 9 * a * b + 9 * b * b + 4 * b + (a * b + 2 * b if a != b else 0)

    half = block(103, 64) + block(64, 128) + block(128, 256)
    mirror = block(256, 128) + block(128, 64) + block(64, 64)
    with torch.device("meta"):
        whole = ResidualConvDeconv(103)
        assert whole(torch.empty(2, 103, 15, 15)).shape == (2, 103, 15, 15)
        classifier = build_network("residual-conv", in_channels=103, n_outputs=9)
        assert classifier(torch.empty(2, 103, 15, 15)).shape == (2, 9)
    assert sum(p.numel() for p in whole.parameters()) == half + mirror + 9 * 64 * 103 + 103 == 1_980_839
    assert sum(p.numel() for p in classifier.parameters()) == half + 257 * 256 + 257 * 9 == 1_320_457
    shared = {name: p.shape for name, p in whole.state_dict().items() if name.startswith("encoder.")}
    assert shared == {name: p.shape for name, p in classifier.state_dict().items() if name.startswith("encoder.")}


def test_impossible_patches_get_a_sentence():
    with pytest.raises(ConfigurationError, match="patches of at least 8"):
        build_network("residual-conv", in_channels=3, n_outputs=2, patch=7)
