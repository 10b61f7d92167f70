"""Outlier detectors on inner layers: found, overheard, stored, executed by torch and ONNX Runtime alike."""

import numpy as np
import pytest

from ecumene.core.errors import ConfigurationError, ModelError
from ecumene.models.bundle import Model
from ecumene.models.probe import probe_input, require_close
from ecumene.trust.feature_choice import FeatureChoice
from ecumene.trust.outlier import CombinedDetector, EnergyDetector, TardisDetector, VimDetector

torch = pytest.importorskip("torch")


def executor(model, choice):
    from ecumene.models.torch_execution import TorchExecutor

    return TorchExecutor(model.spec, model.weights, choice=choice, device="cpu")


def features(model, choice, seed=0, **shape):
    image, dates = probe_input(model.spec, seed=seed, **shape)
    found = executor(model, choice).raw(image, dates)[1]
    return np.moveaxis(found, 1, -1).reshape(-1, found.shape[1])


def test_layers_of_a_unet(network_factory):
    from ecumene.models.inner_layers import inner_layers
    from ecumene.models.torch_execution import build_with_weights

    model = network_factory("unet-small")
    layers = inner_layers(build_with_weights(model.spec, model.weights), 4)
    found = {name: (layer.channels, layer.factor) for name, layer in layers.items() if layer.block}
    assert found == {
        "down.0": (32, 1), "down.1": (48, 2), "down.2": (64, 4), "down.3": (96, 8),
        "up.0": (64, 4), "up.1": (48, 2), "up.2": (32, 1),
    }  # fmt: skip
    assert "pool" not in layers, "a layer that is run several times has no single output"


def test_activations_are_those_of_the_layer(network_factory):
    """Also where the next layer works in place, and where batch norms are folded."""
    from ecumene.models.torch_execution import build_with_weights

    model = network_factory("unet-small")
    image, _ = probe_input(model.spec)
    network = build_with_weights(model.spec, model.weights).eval()
    kept = {}
    for name in ("down.1.1", "down.1"):
        network.get_submodule(name).register_forward_hook(
            lambda _, __, out, name=name: kept.update({name: out.clone()})
        )
    runner = executor(model, FeatureChoice(("down.1.1", "down.1")))
    found = runner.raw(image)[1]
    mean = np.array([band.mean for band in model.spec.inputs])[:, None, None]
    std = np.array([band.std for band in model.spec.inputs])[:, None, None]
    scaled = np.where(np.isfinite(image).all(axis=1, keepdims=True), (image - mean) / std, 0.0)
    with torch.inference_mode():
        network(torch.from_numpy(scaled.astype(np.float32)))
    for position, name in enumerate(("down.1.1", "down.1")):
        wanted = kept[name].numpy().repeat(2, axis=2).repeat(2, axis=3)
        np.testing.assert_allclose(found[:, 48 * position : 48 * (position + 1)], wanted, rtol=1e-4, atol=1e-5)


def test_the_usual_choice_is_bands_and_features(network_factory):
    model = network_factory("unet-small")
    image, _ = probe_input(model.spec)
    plain = executor(model, None).raw(image)[1]
    np.testing.assert_array_equal(plain, executor(model, FeatureChoice()).raw(image)[1])
    together = executor(model, FeatureChoice(("logits", "features", "bands"))).raw(image)[1]
    np.testing.assert_array_equal(together[:, -4:], plain[:, :4])
    np.testing.assert_array_equal(together[:, 3:-4], plain[:, 4:])
    np.testing.assert_array_equal(together[:, :3], executor(model, None).raw(image)[0])


def test_pooling():
    from ecumene.models.inner_layers import grow, pool

    x = torch.arange(12.0).reshape(1, 1, 3, 4)
    assert pool(x, 1, "max")[0, 0, 0].tolist() == [5.0, 6.0, 7.0, 7.0]
    assert pool(x, 1, "mean")[0, 0, 0, 0] == pytest.approx((0 + 1 + 4 + 5) / 4)
    assert pool(x, 0, "max") is x
    assert grow(x, 2)[0, 0, :2, :4].tolist() == [[0, 0, 1, 1]] * 2


@pytest.mark.parametrize("name", ["mlp", "ltae"])
def test_other_networks(network_factory, name):
    from ecumene.workflows.feature_vectors import feature_layers

    model = network_factory(name)
    layers = feature_layers(model)
    if name == "mlp":
        assert layers["body"].factor == 1
        assert features(model, FeatureChoice(("body",))).shape[1] == 64
    detector = EnergyDetector.fit(features(model, FeatureChoice(("logits",))))
    image, dates = probe_input(model.spec)
    score = model.with_trust(detector=detector).executor(device="cpu").run(image, dates)[1]
    assert np.isfinite(score).all()
    assert np.ptp(score) > 0.0


def test_a_layer_survives_the_bundle_and_onnx(network_factory, tmp_path):
    """One export for an inner layer on its own coarse grid."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from ecumene.models.export import export_onnx

    model = network_factory("unet-small")
    choice = FeatureChoice(("down.2",), radius=1, pooling="max")
    known = features(model, choice, batch=4, side=64)
    wild = features(model, choice, seed=5, batch=4, side=64) + 3.0 * known.std()
    detector = TardisDetector.fit(known, wild=wild).with_choice(choice)
    detector = detector.with_threshold(detector.score(known), 0.02)
    exported = export_onnx(model.with_trust(detector=detector), tmp_path / "model")
    loaded = Model.load(tmp_path / "model")
    assert loaded.detector.choice == choice
    assert loaded.spec.outlier["reads"] == {"parts": ["down.2"], "radius": 1, "pooling": "max"}
    image, dates = probe_input(model.spec, batch=2, side=48, seed=9)
    expected = exported.executor("torch", device="cpu").run(image, dates)
    require_close(expected, loaded.executor("onnx"), image, dates)
    values = executor(model, choice).raw(image)[1]
    by_hand = detector.score(np.moveaxis(values, 1, -1).reshape(-1, values.shape[1])).reshape(expected[1].shape)
    np.testing.assert_allclose(expected[1], by_hand, rtol=1e-3, atol=1e-2)


def test_mixed_parts_are_scored_alike(network_factory):
    model = network_factory("unet-small")
    choice = FeatureChoice(("logits", "up.2"))
    values = features(model, choice, batch=4, side=64)
    detector = VimDetector.fit(values, n_logits=3).with_choice(choice)
    image, _ = probe_input(model.spec, seed=2)
    score = model.with_trust(detector=detector).executor(device="cpu").run(image)[1]
    np.testing.assert_allclose(score.ravel(), detector.score(features(model, choice, seed=2)), rtol=1e-3, atol=1e-3)


def test_refusals(network_factory):
    model = network_factory("unet-small")
    for name in ("down.9", "pool", "down.0.0.weight", "__class__", "decoder_projection.weight"):
        with pytest.raises(ConfigurationError, match=r"no layer .* choose one of down\.0, down\.1"):
            executor(model, FeatureChoice((name,)))
    wrong = CombinedDetector.fit(np.random.default_rng(0).normal(size=(50, 9)))
    for choice in (FeatureChoice(), FeatureChoice(("down.0",)), FeatureChoice(("logits",))):
        with pytest.raises(ModelError, match="reads 9 features"):
            model.with_trust(detector=wrong.with_choice(choice)).executor(device="cpu")


def test_odin_moves_towards_certainty(network_factory):
    from ecumene.models.perturbation import perturbed_output

    model = network_factory("mlp")
    image, _ = probe_input(model.spec)
    module = executor(model, None).module
    same = perturbed_output(module, image, magnitude=0.0)
    np.testing.assert_allclose(same, executor(model, None).raw(image)[0], rtol=1e-4, atol=1e-5)
    valid = np.isfinite(image).all(axis=1)

    def certainty(output):
        raised = np.exp(output - output.max(axis=1, keepdims=True))
        return (1.0 / raised.sum(axis=1))[valid]

    moved = perturbed_output(module, image, temperature=1.0, magnitude=0.01)
    assert np.mean(certainty(moved) >= certainty(same)) > 0.95
    with pytest.raises(ConfigurationError, match="at least 0"):
        perturbed_output(module, image, magnitude=-1.0)
