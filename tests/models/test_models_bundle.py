"""A bundle survives its way through the disk, and runs alike wherever it is executed."""

from __future__ import annotations

import importlib
import json
import resource
import subprocess
import sys
import textwrap
from dataclasses import replace

import numpy as np
import pytest
import yaml

from ecumene.core.errors import ConfigurationError, ModelError, ProductError
from ecumene.models.bundle import Model
from ecumene.models.probe import probe_input


def equal(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("name", ["mlp", "unet-small", "ltae"])
def test_networks_come_back_equal(network_model, tmp_path, name):
    model = network_model(name)
    model.save(tmp_path / "m")
    loaded = Model.load(tmp_path / "m")
    image, dates = probe_input(model.spec, seed=4)
    results = model.executor().run(image, dates)
    assert equal(results, loaded.executor().run(image, dates))
    assert results[0].dtype == results[1].dtype == np.float32
    assert results[0].shape == (2, 3, 32, 32)
    assert results[1].shape == (2, 32, 32)
    assert np.isfinite(results[0]).all()
    assert loaded.spec == model.spec


@pytest.mark.parametrize("kind", ["forest", "boosting"])
@pytest.mark.parametrize("dates", [1, 3])
def test_trees_come_back_equal_and_know_their_classes(tree_model, pixels, tmp_path, kind, dates):
    model = tree_model(kind, dates)
    model.save(tmp_path / "m")
    loaded = Model.load(tmp_path / "m")
    x, y = pixels(400, dates, seed=8)
    image = x.T.reshape(1, *((dates, 4) if dates > 1 else (4,)), 20, 20)
    when = np.zeros((1, dates), np.float32)
    output, score = loaded.executor("onnx").run(image, when)
    assert equal((output, score), model.executor().run(image, when))
    assert (output[0].argmax(0).ravel() == y).mean() > 0.9
    assert np.abs(np.exp(output).sum(axis=1) - 1).max() < 1e-5


def test_tree_output_is_the_log_of_sklearns_probability(tree_model, pixels):
    from ecumene.models.tree_kernel import TreeWalker

    model = tree_model("forest")
    x, _ = pixels(400, seed=2)
    output, _ = model.executor().run(x.T.reshape(1, 4, 20, 20))
    probability = model.objective.moments(output)[0].reshape(3, -1).T
    assert np.abs(probability - TreeWalker(model.trees)(x)).max() < 1e-6


@pytest.mark.parametrize("make", ["mlp", "unet-small", "forest"])
def test_nodata_changes_nothing_where_there_are_data(network_model, tree_model, make):
    model = tree_model("forest") if make == "forest" else network_model(make)
    image, _ = probe_input(model.spec)
    image[:] = np.where(np.isfinite(image), image, 0.1)
    gap = image.copy()
    gap[0, 1, 3, 4] = np.nan
    gap[0, :, 3, 5] = np.inf
    whole, holed = model.executor().run(image)[0], model.executor().run(gap)[0]
    assert np.isfinite(holed).all()
    if model.spec.margin == 0:
        changed = np.abs(whole - holed).max(axis=1) > 0
        assert set(map(tuple, np.argwhere(changed))) <= {(0, 3, 4), (0, 3, 5)}
    else:
        assert np.array_equal(whole[1], holed[1])


def test_a_missing_date_is_no_missing_pixel(tree_model):
    model = tree_model("forest", 3)
    image, dates = probe_input(model.spec, n_dates=3)
    image[:, :, :, 0, 0] = 0.1
    image[:, 1, :, 0, 0] = np.nan
    output, _ = model.executor().run(image, dates)
    assert np.abs(np.exp(output[:, :, 0, 0]).sum(axis=1) - 1).max() < 1e-5


def test_bands_are_normalised_and_temperature_divides(network_model):
    import torch

    from ecumene.networks import build_network
    from ecumene.trust.calibration import Calibration
    from ecumene.trust.scaling import Temperature

    model = network_model("mlp")
    calibrated = model.with_trust(calibration=Calibration(scaling=Temperature(2.5)))
    image, _ = probe_input(model.spec)
    raw = model.raw_output(image)
    assert np.allclose(calibrated.executor().run(image)[0], raw / 2.5, rtol=1e-6)
    assert np.array_equal(calibrated.raw_output(image), raw)
    network = build_network("mlp", in_channels=4, n_outputs=3).eval()
    network.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in model.weights.items()})
    mean, std = (np.array([getattr(b, n) for b in model.spec.inputs], np.float32) for n in ("mean", "std"))
    x = (image - mean[:, None, None]) / std[:, None, None]
    with torch.inference_mode():
        expected = network(torch.from_numpy(np.nan_to_num(x))).numpy()
    valid = np.isfinite(image).all(axis=1)
    assert np.abs(np.moveaxis(raw - expected, 1, -1)[valid]).max() < 1e-5


def test_detector_features_hold_the_local_mean_of_valid_bands(network_model):
    model = network_model("unet-small")
    image, _ = probe_input(model.spec)
    features = model.detector_features(image)
    mean, std = (np.array([getattr(b, n) for b in model.spec.inputs]) for n in ("mean", "std"))
    x = (image.astype(np.float64) - mean[:, None, None]) / std[:, None, None]
    x[:, :, ~np.isfinite(image[0]).all(axis=0)] = np.nan
    for row, col in [(20, 20), (8, 11), (0, 31), (31, 31)]:
        part = x[:, :, max(0, row - 2) : row + 3, max(0, col - 2) : col + 3]
        assert np.allclose(features[:, :4, row, col], np.nanmean(part, axis=(2, 3)), atol=1e-4)
    assert np.isfinite(features).all()
    assert features.shape[1] > 4


def test_tree_and_torch_local_averages_agree():
    import torch

    from ecumene.models.deployed import local_average_tensor
    from ecumene.models.local_average import local_average

    generator = np.random.default_rng(0)
    for shape in ((2, 3, 17, 13), (2, 4, 3, 17, 13)):
        valid = generator.random((*shape[:-3], *shape[-2:])) < 0.6
        x = (generator.standard_normal(shape) * valid[..., None, :, :]).astype(np.float32)
        for radius in (0, 2):
            expected = local_average_tensor(torch.from_numpy(x), torch.from_numpy(valid), radius).numpy()
            assert np.abs(local_average(x, valid, radius) - expected).max() < 1e-4


def test_the_folder_is_a_valid_stac_item_with_mlm(saved):
    item = json.loads((saved / "model.json").read_text())
    assert item["stac_version"] == "1.1.0"
    properties = item["properties"]
    assert properties["mlm:name"] == "test-network"
    assert properties["mlm:input"][0]["bands"] == [f"sentinel-2/{b}" for b in ("B02", "B03", "B04", "B08")]
    assert [c["name"] for c in properties["mlm:output"][0]["classification:classes"]] == ["water", "forest", "built"]
    assert properties["mlm:input"][0]["value_scaling"][3] == {"type": "z-score", "mean": 0.25, "stddev": 0.08}
    weights = item["assets"]["weights"]
    assert weights["mlm:artifact_type"] == "safetensors"
    assert weights["bands"][0]["eo:center_wavelength"] == 0.49
    assert str(saved.parent) not in (saved / "model.json").read_text()
    assert sorted(p.name for p in saved.iterdir()) == ["card.md", "model.json", "weights.safetensors"]


def test_a_model_of_standardised_dates_says_so(network_model, tmp_path):
    """Its figures are no reflectances; who runs it elsewhere has to standardise first."""
    spec = network_model("unet-small").spec.model_copy(update={"standardised": True})
    model = replace(network_model("unet-small"), spec=spec)
    model.save(tmp_path / "model")
    item = json.loads((tmp_path / "model" / "model.json").read_text())
    done_before = item["properties"]["mlm:input"][0]["pre_processing_function"]
    assert done_before == {"format": "python", "expression": "ecumene.scenes.standardised:standardise_dates"}
    module, function = done_before["expression"].split(":")
    assert callable(getattr(importlib.import_module(module), function))
    assert "statistics" not in item["assets"]["weights"]["bands"][0]
    assert "in these standard deviations" in (tmp_path / "model" / "card.md").read_text()
    assert Model.load(tmp_path / "model").spec.standardised
    reference = pytest.importorskip("stac_model.schema")
    reference.MLModelProperties(**{key: value for key, value in item["properties"].items() if key.startswith("mlm:")})


def test_the_mlm_part_satisfies_the_reference_models(saved, tmp_path, tree_model):
    reference = pytest.importorskip("stac_model.schema")
    tree_model("forest", regression=True).save(tmp_path / "r")
    for folder in (saved, tmp_path / "r"):
        properties = json.loads((folder / "model.json").read_text())["properties"]
        stated = {key: value for key, value in properties.items() if key.startswith("mlm:")}
        assert reference.MLModelProperties(**stated).name == properties["mlm:name"]


def test_the_card_says_what_a_person_needs(network_model, tmp_path):
    model = network_model("mlp").with_training(
        accuracy={
            "overall_accuracy": 0.875,
            "confusion_matrix": {
                "rows": "reference",
                "columns": "prediction",
                "counts": [[5, 1, 0], [0, 7, 0], [1, 0, 2]],
            },
            "classes": ["water", "forest", "built"],
            "undefined": np.float64("nan"),
        },
        notes=["The threshold was set on few pixels."],
        scenes=[{"id": "S2A_x", "files": {"a.tif": "ab12"}}],
    )
    model.save(tmp_path / "m")
    text = (tmp_path / "m" / "card.md").read_text()
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["classes"] == ["water", "forest", "built"]
    assert front["resolution_m"] == 10.0
    for expected in ("0.875", "| water | 5 | 1 | 0 |", "The threshold was set on few pixels.", "ab12", "0.665"):
        assert expected in text
    assert Model.load(tmp_path / "m").spec.training["accuracy"]["undefined"] is None


def test_saving_replaces_a_model_and_nothing_else(network_model, tmp_path):
    network_model("mlp").save(tmp_path / "m")
    network_model("mlp", seed=1).save(tmp_path / "m")
    image, _ = probe_input(network_model("mlp").spec)
    loaded = Model.load(tmp_path / "m").raw_output(image)
    assert np.array_equal(loaded, network_model("mlp", seed=1).raw_output(image))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"x")
    with pytest.raises(ProductError, match="not a model"):
        network_model("mlp").save(tmp_path / "photos")
    assert sorted(p.name for p in tmp_path.rglob("*")) == [
        "card.md", "cat.jpg", "m", "model.json", "photos", "weights.safetensors",
    ]  # fmt: skip


def test_a_full_disk_leaves_the_old_model(network_model, tmp_path):
    network_model("mlp").save(tmp_path / "m")
    before = {p.name: p.read_bytes() for p in (tmp_path / "m").iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    import signal

    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))
    try:
        with pytest.raises(ProductError, match="cannot be written"):
            network_model("mlp", seed=1).save(tmp_path / "m")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert {p.name: p.read_bytes() for p in (tmp_path / "m").iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_a_model_that_gives_nan_is_not_saved(network_model, tmp_path):
    model = network_model("mlp")
    model.weights = {k: np.full_like(v, 1e38) if v.ndim > 1 else v for k, v in model.weights.items()}
    with pytest.raises(ModelError, match="not finite"):
        model.save(tmp_path / "m")
    assert not list(tmp_path.iterdir())


def test_wrong_arguments_are_named(network_model, tree_model):
    with pytest.raises(ConfigurationError, match="'onnx' or 'openvino'"):
        network_model("mlp").executor("tensorflow")
    with pytest.raises(ConfigurationError, match="bf16"):
        network_model("mlp").executor(precision="fp16")
    with pytest.raises(ModelError, match=r"no model\.onnx"):
        network_model("mlp").executor("onnx")
    with pytest.raises(ConfigurationError, match="fp32"):
        tree_model().executor(precision="bf16")


def test_bf16_agrees_on_nearly_all_classes(network_model):
    model = network_model("unet-small")
    image, _ = probe_input(model.spec, side=64)
    exact, fast = (model.executor(precision=p).run(image)[0] for p in ("fp32", "bf16"))
    assert fast.dtype == np.float32
    assert not np.array_equal(exact, fast)
    assert np.abs(exact - fast).max() < 0.1 * np.abs(exact).max()


def test_loading_and_running_trees_needs_neither_torch_nor_sklearn_nor_lightgbm(tree_model, tmp_path):
    tree_model("boosting").save(tmp_path / "m")
    code = f"""
        import sys, numpy as np
        from ecumene.models.bundle import Model
        output, score = Model.load({str(tmp_path / "m")!r}).executor().run(np.full((1, 4, 8, 8), 0.1, np.float32))
        assert output.shape == (1, 3, 8, 8)
        print([name for name in ("torch", "sklearn", "lightgbm", "lightning") if name in sys.modules])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_a_model_is_the_same_after_writing_and_reading(network_model, tmp_path):
    plain = network_model()
    model = plain.with_training(zeta=float("nan"), alpha={"b": np.float32(0.5), "a": (1, 2)})
    model.save(tmp_path / "m")
    assert Model.load(tmp_path / "m").checksum == model.checksum != plain.checksum
