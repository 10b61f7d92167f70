"""Scenes and models that these tests share."""

from __future__ import annotations

import pytest
from catalogue_data import grid, make_model, write_scene


@pytest.fixture(scope="session")
def land_scene(tmp_path_factory):
    """One scene of 192 x 192 pixels."""
    return write_scene(tmp_path_factory.mktemp("land") / "s0.tif", grid(192, 192))


@pytest.fixture(scope="session")
def mlp():
    """A model of single pixels."""
    return make_model("mlp")


@pytest.fixture(scope="session")
def mlp_folder(mlp, tmp_path_factory):
    """The same as a bundle on disk."""
    folder = tmp_path_factory.mktemp("model") / "mlp"
    mlp.save(folder)
    return folder
