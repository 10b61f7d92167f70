"""Every way in which a bundle can be damaged or hostile is refused in one sentence."""

from __future__ import annotations

import json
import pickle
import struct

import numpy as np
import pytest

from ecumene.core.errors import ModelError
from ecumene.models import folder as files
from ecumene.models.bundle import Model


def refused(folder, match):
    with pytest.raises(ModelError, match=match) as caught:
        Model.load(folder).executor()
    text = str(caught.value)
    assert text.endswith(".")
    assert "\n" not in text


def edit(folder, change):
    path = folder / "model.json"
    item = json.loads(path.read_text())
    change(item)
    path.write_text(json.dumps(item))


def replace_file(folder, name, data):
    """Change a file together with its checksum, as an attacker would."""
    (folder / name).write_bytes(data)

    def change(item):
        for asset in item["assets"].values():
            if asset["href"] == f"./{name}":
                asset["file:checksum"] = files.checksum(data)

    edit(folder, change)


def spec_of(item):
    return item["properties"]["ecumene:model"]


def test_a_folder_without_model_json(tmp_path):
    refused(tmp_path, "not a model")
    refused(tmp_path / "absent", "not a model")


@pytest.mark.parametrize("name", ["weights.safetensors", "card.md"])
def test_one_changed_byte(saved, name):
    data = bytearray((saved / name).read_bytes())
    data[-3] ^= 1
    (saved / name).write_bytes(data)
    refused(saved, "checksum differs")


@pytest.mark.parametrize(
    "name", ["weights.pkl", "model.pt", "x.PTH", "y.joblib", "pytorch_model.bin", "a.ckpt", "b.npy"]
)
def test_files_that_can_execute(saved, name):
    (saved / name).write_bytes(pickle.dumps({"a": 1}))
    refused(saved, "can run code")


def test_unknown_files_folders_and_links(saved, tmp_path):
    (saved / "readme.txt").write_text("hello")
    refused(saved, "unknown file readme.txt")
    (saved / "readme.txt").unlink()
    (saved / "logs").mkdir()
    refused(saved, "no sub-folders")
    (saved / "logs").rmdir()
    (saved / "weights.safetensors").rename(tmp_path / "elsewhere")
    (saved / "weights.safetensors").symlink_to(tmp_path / "elsewhere")
    refused(saved, "link")


def test_a_known_file_that_is_not_listed(saved):
    (saved / "booster.txt").write_text("tree\n")
    refused(saved, "does not list")


def test_a_missing_file(saved):
    (saved / "weights.safetensors").unlink()
    refused(saved, "lacks its file weights.safetensors")


def test_an_item_without_weights(saved):
    edit(saved, lambda item: item["assets"].pop("weights"))
    (saved / "weights.safetensors").unlink()
    refused(saved, "lacks its file weights.safetensors")


@pytest.mark.parametrize(
    "href",
    ["../weights.safetensors", "/etc/passwd", "file:///etc/passwd", "https://x.org/w", "sub/../card.md", None, 3],
)
def test_hrefs_outside_of_the_folder(saved, href):
    edit(saved, lambda item: item["assets"]["weights"].update(href=href))
    refused(saved, "not one of a model's own files")


def test_a_newer_schema_is_told_from_a_damaged_one(saved):
    edit(saved, lambda item: spec_of(item).update(schema_version=99, new_field=1))
    refused(saved, "update ecumene")
    edit(saved, lambda item: spec_of(item).update(schema_version="two"))
    refused(saved, "update ecumene")


def test_json_that_is_too_big_or_none_at_all(saved):
    good = (saved / "model.json").read_text()
    (saved / "model.json").write_text(good + " " * files.MAX_JSON_BYTES)
    refused(saved, "MiB")
    for bad in ("[1, 2", "[]", "\xff", '{"a": NaN}', "[" * 200_000, "{}", '{"assets": {}}', '{"assets": {"a": 3}}'):
        (saved / "model.json").write_text(bad)
        refused(saved, "model.json|own files")


@pytest.mark.parametrize(
    "change",
    [
        {"surprise": 1},
        {"kind": "virus"},
        {"resolution_m": -1},
        {"inputs": [{"band": "B02"}]},
        {"stride": "x"},
        {"objective": {"name": "unheard-of"}},
        {"objective": {"name": "segmentation"}},
        {"objective": {}},
        {"calibration": {"temperature": "hot"}},
        {"calibration": {"temperature": -1.0}},
        {"outlier": {"name": "combined"}},
        {"architecture": {}},
        {"architecture": {"name": "unheard-of", "arguments": {}}},
        {"architecture": {"name": "mlp", "arguments": []}},
        {"architecture": {"name": "mlp", "arguments": {"in_channels": 4}}},
        {"architecture": {"name": "mlp", "arguments": {"in_channels": "4", "n_outputs": 3}}},
    ],
)
def test_descriptions_that_make_no_sense(saved, change):
    edit(saved, lambda item: spec_of(item).update(change))
    refused(saved, r"\.$")


def test_weights_that_do_not_fit_the_architecture(saved, network_model):
    edit(saved, lambda item: spec_of(item)["architecture"]["arguments"].update(in_channels=5))
    refused(saved, "do not fit the model's architecture")
    network_model("mlp").save(saved)
    edit(
        saved,
        lambda item: spec_of(item).update(
            architecture={"name": "unet-small", "arguments": {"in_channels": 4, "n_outputs": 3}}
        ),
    )
    refused(saved, "do not fit the model's architecture")


def test_an_architecture_that_would_fill_the_memory_is_not_built(saved):
    huge = {"name": "unet-small", "arguments": {"in_channels": 4, "n_outputs": 3, "width": 1_000_000}}
    edit(saved, lambda item: spec_of(item).update(architecture=huge))
    refused(saved, "do not fit|cannot be built")


@pytest.mark.parametrize("encoder", ["hf-hub:someone/model", "tu-hf-hub:a/b", "/tmp/x", "..\\x"])
def test_an_architecture_that_fetches_something_is_refused(saved, encoder):
    arguments = {"in_channels": 4, "n_outputs": 3, "encoder": encoder}
    edit(saved, lambda item: spec_of(item).update(architecture={"name": "unet", "arguments": arguments}))
    refused(saved, "may not fetch")


def test_safetensors_that_lie(saved, network_model):
    good = (saved / "weights.safetensors").read_bytes()
    header = struct.unpack("<Q", good[:8])[0]
    for bad in (
        b"",
        b"\x80\x04K\x01.",
        struct.pack("<Q", 2**62) + good[8:],
        good[: 8 + header + 10],
        good[:8] + good[8 : 8 + header].replace(b'"F32"', b'"F64"') + good[8 + header :],
        struct.pack("<Q", 2) + b"{}" + b"junk",
    ):
        replace_file(saved, "weights.safetensors", bad)
        refused(saved, "weights.safetensors is not|do not fit")
    from safetensors.numpy import save

    weights = dict(network_model("mlp").weights)
    name = next(n for n, v in weights.items() if v.ndim > 1)
    replace_file(saved, "weights.safetensors", save({**weights, name: np.full_like(weights[name], np.nan)}))
    refused(saved, "not finite")
    replace_file(saved, "weights.safetensors", save({**weights, name: weights[name].astype(np.uint64)}))
    refused(saved, "uint64")


def test_forests_that_lie(tree_model, tmp_path):
    from safetensors.numpy import save

    tree_model("forest").save(tmp_path / "m")
    arrays = dict(tree_model("forest").weights)
    right = arrays["right"].copy()
    right[0] = 0
    replace_file(tmp_path / "m", "forest.safetensors", save({**arrays, "right": right}))
    refused(tmp_path / "m", "leads back")
    replace_file(tmp_path / "m", "forest.safetensors", save({**arrays, "n_features": np.array([7], np.int32)}))
    refused(tmp_path / "m", "7 features")
    replace_file(tmp_path / "m", "forest.safetensors", save(arrays))
    edit(tmp_path / "m", lambda item: spec_of(item)["architecture"]["arguments"].update(n_dates=10**9))
    refused(tmp_path / "m", "how many dates")


def test_boosters_that_lie(tree_model, tmp_path):
    tree_model("boosting").save(tmp_path / "m")
    for bad in (b"\x80\x04\xff", b"tree\nversion=v4\n", b"not a model", b"tree\n" + b"\0" * 50):
        replace_file(tmp_path / "m", "booster.txt", bad)
        refused(tmp_path / "m", "booster.txt")


def test_onnx_with_data_outside_of_its_folder(saved):
    onnx = pytest.importorskip("onnx")
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[4], data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../../../etc/passwd")
    graph = onnx.helper.make_graph([], "g", [], [], [tensor])
    data = onnx.helper.make_model(graph).SerializeToString()
    (saved / "model.onnx").write_bytes(data)
    entry = {"href": "./model.onnx", "file:checksum": files.checksum(data)}
    edit(saved, lambda item: item["assets"].update(onnx=entry))
    refused(saved, "another file")
