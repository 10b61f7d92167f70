"""Forests and support vector machines on statistics of images: the statistics, bundles, the baselines of So2Sat."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
from so2sat_files import write_version_2

from ecumene.core.errors import ConfigurationError, ModelError
from ecumene.models.bundle import Model
from ecumene.models.image_statistics import STATISTICS, image_statistics
from ecumene.systems import get_system
from ecumene.workflows import scene_rows
from ecumene.workflows.bench import bench_system
from ecumene.workflows.scene_train import train_scene_model

pytest.importorskip("h5py", reason="h5py is not installed")
BASELINES = ("so2sat-rf", "so2sat-svm")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_version_2(tmp_path_factory.mktemp("so2sat"), counts=(170, 60, 60), geo=True)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 4), st.integers(2, 6))
def test_statistics_are_those_of_the_valid_pixels_in_any_order(seed, bands, side):
    rng = np.random.default_rng(seed)
    image = rng.normal(0.2, 0.1, (3, bands, side, side)).astype(np.float32)
    image[0, 0, 0, 0] = np.nan
    image[1] = np.nan
    found = image_statistics(image).reshape(3, len(STATISTICS), bands)
    known = image[0].reshape(bands, -1)[:, 1:].astype(np.float64)
    np.testing.assert_allclose(found[0, 0], known.mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(found[0, 1], known.std(axis=1), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found[0, 2:], np.quantile(known, (0.25, 0.5, 0.75), axis=1), rtol=1e-5)
    assert np.isnan(found[1]).all()
    turned = image_statistics(np.ascontiguousarray(np.rot90(image, axes=(2, 3)))).reshape(found.shape)
    np.testing.assert_allclose(turned[2], found[2], rtol=1e-6)


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_becomes_a_bundle_that_answers_for_images(folder, tmp_path, name):
    model = train_scene_model(folder, name, tmp_path / "m")
    again = Model.load(tmp_path / "m")
    assert again.spec.patch_size == 32
    rng = np.random.default_rng(0)
    image = rng.uniform(0.02, 0.3, (3, 10, 32, 32)).astype(np.float32)
    image[1] = np.nan
    image[2, :, :5] = np.nan
    output, score = again.executor().run(image)
    assert output.shape == (3, 17, 1, 1)
    assert score.shape == (3, 1, 1)
    assert np.isfinite(output).all()
    np.testing.assert_array_equal(output, model.executor().run(image)[0])
    accuracy = model.spec.training["accuracy"]
    assert accuracy["images"] == 60
    assert accuracy["metrics"]["overall_accuracy"] > 0.25
    assert model.spec.training["history"]["images"] > 170


def test_a_machine_reads_only_what_it_learns_from(folder, tmp_path, monkeypatch):
    small = get_system("so2sat-svm").model_copy(update={"training": {"limit": 40}})
    monkeypatch.setattr("ecumene.workflows.scene_train.get_system", lambda _: small)
    seen = []
    real = scene_rows.image_statistics
    monkeypatch.setattr(scene_rows, "image_statistics", lambda image: seen.append(len(image)) or real(image))
    model = train_scene_model(folder, "so2sat-svm", tmp_path / "m")
    assert sum(seen) == 40
    assert model.spec.training["history"]["images"] == 40
    assert model.spec.training["accuracy"]["images"] == 60


def test_a_bench_of_a_baseline_has_the_protocol_of_the_networks(folder):
    result = bench_system("so2sat-rf", folder, seeds=1)
    assert result.protocol == get_system("sen2lcz-net").protocols[0]
    assert {row.metric for row in result.rows} >= {"overall_accuracy", "average_accuracy", "kappa"}
    assert result.rows[0].ours["mean"] > 0.4


def test_what_baselines_cannot_do_is_said(folder, tmp_path):
    with pytest.raises(ConfigurationError, match="needs a network"):
        train_scene_model(folder, "so2sat-rf", tmp_path / "m", uncertainty="ensemble:3")
    with pytest.raises(ConfigurationError, match="leave out --from"):
        train_scene_model(folder, "so2sat-svm", tmp_path / "m", initial={})
    assert not (tmp_path / "m").exists()


def test_a_stranger_cannot_change_what_the_rows_are(folder, tmp_path):
    model = train_scene_model(folder, "so2sat-rf", tmp_path / "m")
    pixels = model.spec.model_copy(update={"patch_size": None})
    with pytest.raises(ModelError, match="features"):
        Model(spec=pixels, weights=model.weights).executor()
