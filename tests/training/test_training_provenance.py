"""Provenance: what was learned from, with which versions; no path of this machine."""

from __future__ import annotations

import json

import numpy as np
import pytest
from odc.geo.geobox import GeoBox

from ecumene.core.errors import ContractError, LabelError
from ecumene.core.files import sha256_of
from ecumene.scenes.contract import BandSource, Channel, SceneSource
from ecumene.training.fit_trees import fit_boosting, fit_forest
from ecumene.training.provenance import git_revision, make_inputs, training_provenance


def test_files_are_named_and_hashed_without_their_folders(tmp_path):
    image, labels = tmp_path / "scene.tif", tmp_path / "labels.gpkg"
    image.write_bytes(b"pixels")
    labels.write_bytes(b"polygons")
    geobox = GeoBox.from_bbox((0, 0, 100, 100), "EPSG:32633", resolution=10)
    band = BandSource("B02", str(image), 1, geobox, "uint16", 1e-4, 0.0, 0.0, "1")
    source = SceneSource(
        "S2A_1", "sentinel-2", "L2A", "reflectance", "1", np.datetime64("2020-07-01T10:00:00"), (band,), geobox,
        files=(str(image),), properties={"licence": "CC-BY-4.0"},
    )  # fmt: skip
    record = training_provenance([source], labels=labels, seed=7, system="unet-small")
    text = json.dumps(record)
    assert str(tmp_path) not in text
    assert record["scenes"][0]["files"] == {"scene.tif": sha256_of(image)}
    assert record["scenes"][0]["time"] == "2020-07-01T10:00:00Z"
    assert record["scenes"][0]["licence"] == "CC-BY-4.0"
    assert record["labels"] == {"file": "labels.gpkg", "sha256": sha256_of(labels)}
    assert record["seed"] == 7
    assert record["system"] == "unet-small"
    assert {"ecumene", "python", "numpy"} <= set(record["versions"])


def test_the_revision_is_read_from_the_working_tree(tmp_path):
    commit = "0123456789abcdef0123456789abcdef01234567"
    git = tmp_path / ".git"
    (git / "refs" / "heads").mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    (tmp_path / "src" / "deep").mkdir(parents=True)
    assert git_revision(tmp_path / "src" / "deep") is None
    (git / "packed-refs").write_text(f"# pack-refs\n{commit} refs/heads/main\n")
    assert git_revision(tmp_path / "src" / "deep") == commit
    (git / "refs" / "heads" / "main").write_text("f" * 40 + "\n")
    assert git_revision(tmp_path / "src" / "deep") == "f" * 40
    (git / "HEAD").write_text(commit + "\n")
    assert git_revision(tmp_path) == commit


def channel(band="B02"):
    return Channel("sentinel-2", "L2A", band, "1", 0.49, 10.0)


def test_inputs_join_channels_and_statistics():
    statistics = {"mean": [0.1, 0.2], "std": [0.05, 0.0], "low": [0.0, 0.2], "high": [0.4, np.nan]}
    first, constant = make_inputs([channel(), channel("B03")], statistics)
    assert (first.key, first.mean, first.std, first.minimum, first.maximum) == ("sentinel-2/B02", 0.1, 0.05, 0.0, 0.4)
    assert (constant.std, constant.maximum) == (1.0, None)
    with pytest.raises(ContractError, match="no valid pixel of sentinel-2/B02"):
        make_inputs([channel()], {"mean": [np.nan], "std": [np.nan]})


@pytest.mark.parametrize("fit", [fit_forest, fit_boosting])
def test_unusable_training_pixels_are_sentences(fit):
    with pytest.raises(LabelError, match="no labelled pixel"):
        fit(np.empty((0, 3), np.float32), np.empty(0, int), n_classes=2)
    with pytest.raises(LabelError, match="infinite"):
        fit(np.full((4, 3), np.inf, np.float32), np.zeros(4, int), n_classes=2)
    with pytest.raises(LabelError, match="not finite"):
        fit(np.zeros((4, 3), np.float32), np.full(4, np.nan))


def test_balanced_trees_find_the_rare_class():
    from ecumene.models.boosting import ensemble_from_text
    from ecumene.models.tree_kernel import TreeWalker
    from ecumene.models.trees import TreeEnsemble

    generator = np.random.default_rng(0)
    y = (generator.random(3000) < 0.04).astype(int)
    x = (y[:, None] * 1.2 + generator.standard_normal((3000, 3))).astype(np.float32)
    for fit in (fit_forest, fit_boosting):
        found = []
        for weight in ("none", "balanced"):
            fitted = fit(x, y, n_classes=2, n_trees=20, class_weight=weight, n_jobs=1, min_samples_leaf=20)
            trees = ensemble_from_text(fitted, 2) if isinstance(fitted, str) else TreeEnsemble.from_arrays(fitted)
            found.append((TreeWalker(trees)(x).argmax(axis=1) == 1).mean())
        assert found[1] > 2 * found[0]
