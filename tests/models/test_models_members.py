"""Bundles of networks with members: written, read back, exported, and refused where they are hostile."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import INPUTS, LEGEND, make_spec

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


@pytest.mark.parametrize("name", ["augmentation", "mimo-unet"])
def test_members_are_exported_for_windows_of_any_size(name):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    exported = export_onnx(make(name))  # compares with torch on another size than it traced
    image = np.full((1, len(INPUTS), 32, 64), 0.1, np.float32)
    output, _ = exported.executor("onnx").run(image)
    assert output.shape == (1, 9, 32, 64)


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
