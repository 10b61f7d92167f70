"""Bundles of networks with members: written, read back, exported, and refused where they are hostile."""

from __future__ import annotations

import json

import numpy as np
import pytest
from small_models import INPUTS, LEGEND, make_spec

from ecumene import networks
from ecumene.core.errors import ModelError
from ecumene.models.bundle import Model
from ecumene.models.export import export_onnx
from ecumene.models.probe import probe_input
from ecumene.networks import build_network
from ecumene.objectives import Members, Segmentation

torch = pytest.importorskip("torch")

WRAPPED = {"network": "unet-small", "arguments": {"width": 4}}
CASES = {
    "augmentation": WRAPPED,
    "mc-dropout": WRAPPED,
    "ensemble": {"network": "ltae", "arguments": {"d_model": 32, "n_heads": 4}},
    "mimo-unet": {"width": 2},
}


def make(name, members=3, **own):
    objective = Members(Segmentation(LEGEND), members)
    arguments = {"in_channels": len(INPUTS), "n_outputs": objective.n_outputs, "members": members, **CASES[name], **own}
    torch.manual_seed(0)
    network = build_network(name, **arguments).eval()
    spec = make_spec(
        "network",
        {"name": name, "arguments": arguments},
        objective,
        temporal=network.temporal,
        stride=network.stride,
        margin=network.margin,
    )
    return Model(spec=spec, weights={key: value.numpy() for key, value in network.state_dict().items()})


@pytest.mark.parametrize("name", CASES)
def test_a_bundle_of_members_survives(name, tmp_path):
    model = make(name)
    model.save(tmp_path / "model")
    loaded = Model.load(tmp_path / "model")
    assert loaded.objective.members == 3
    image, dates = probe_input(model.spec)
    for before, after in zip(model.executor().run(image, dates), loaded.executor().run(image, dates), strict=True):
        np.testing.assert_array_equal(before, after)


class OneLevel(torch.nn.Module):
    """One step down and up again: all that symmetries of windows of any size meet, and quick to export."""

    temporal, stride, margin, feature_channels = False, 2, 2, 4

    def __init__(self, in_channels, n_outputs):
        super().__init__()
        self.down = torch.nn.Conv2d(in_channels, 4, 3, stride=2, padding=1)
        self.head = torch.nn.Conv2d(4 + in_channels, n_outputs, 3, padding=1)

    def forward(self, x, dates=None, valid=None):
        return self.forward_features(x, dates, valid)[0]

    def forward_features(self, x, dates=None, valid=None):
        features = torch.nn.functional.interpolate(torch.relu(self.down(x)), size=x.shape[-2:])
        return self.head(torch.cat([features, x], dim=1)), features


@pytest.fixture
def one_level(monkeypatch):
    info = networks.NetworkInfo("one-level", __name__, "OneLevel", False, "pixel", "for this test")
    monkeypatch.setitem(networks._NETWORKS, info.name, info)


@pytest.mark.parametrize(
    ("name", "own"),
    [("augmentation", {"network": "one-level", "arguments": {}}), ("mimo-unet", {})],
    ids=["augmentation", "mimo-unet"],
)
@pytest.mark.usefixtures("one_level")
def test_members_are_exported_for_windows_of_any_size(name, own):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    members = 5 if name == "augmentation" else 2  # five symmetries: with flips and a transposition
    model = make(name, members, **own)
    image = np.random.default_rng(0).random((1, len(INPUTS), 32, 64), np.float32) * np.float32(0.3)
    wanted, _ = model.executor(threads=1).run(image)
    exported = export_onnx(model)  # compares with torch on another size than it traced
    output, _ = exported.executor("onnx", threads=1).run(image)
    assert output.shape == (1, 3 * members, 32, 64)
    np.testing.assert_allclose(output, wanted, atol=1e-4)


@pytest.mark.parametrize(
    "change",
    [
        {"arguments": {"encoder": "hf-hub:someone/something"}, "network": "unet"},
        {"network": "ensemble", "arguments": {}},
        {"arguments": {"width": 4, "in_channels": 3}, "members": 10**7},
        {"arguments": ["width", 4]},
    ],
)
def test_a_stranger_cannot_hide_a_download_or_a_flood_inside(change, tmp_path):
    make("ensemble", network="unet-small", arguments={"width": 4}).save(tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    item = json.loads(path.read_text())
    item["properties"]["ecumene:model"]["architecture"]["arguments"] |= change
    path.write_text(json.dumps(item))
    with pytest.raises(ModelError):
        Model.load(tmp_path / "model").executor()
