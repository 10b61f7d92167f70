"""Fixtures of the end-to-end tests; a `conftest.py` imports them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecumene.simulate.demo import DemoData
from main_path import SEED, UNET_EPOCHS, done, write_town

_MADE: dict[str, object] = {}


def _once(name: str, make):
    # Two test folders share what is made here, which a session fixture of each would make twice.
    if name not in _MADE:
        _MADE[name] = make()
    return _MADE[name]


@pytest.fixture(scope="session")
def town(tmp_path_factory: pytest.TempPathFactory) -> DemoData:
    """A small town as files; tests leave it as it is."""
    return _once("town", lambda: write_town(tmp_path_factory.mktemp("town")))


@pytest.fixture(scope="session")
def scene(town: DemoData) -> Path:
    """The clear summer scene."""
    return town.sentinel2[1]


@pytest.fixture(scope="session")
def forest(town: DemoData, scene: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random forest of the clear scene, trained by the command; `holdout.gpkg` is beside it."""

    def train() -> Path:
        out = tmp_path_factory.mktemp("forest") / "model"
        done(
            "train", scene, "--labels", town.labels, "--out", out, "--system", "random-forest", "--split", "feature",
            "--seed", SEED, "--holdout", out.with_name("holdout.gpkg"),
        )  # fmt: skip
        return out

    return _once("forest", train)


@pytest.fixture(scope="session")
def unet(town: DemoData, scene: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small U-Net of the clear scene, trained by the command."""

    def train() -> Path:
        out = tmp_path_factory.mktemp("unet") / "model"
        done(
            "train", scene, "--labels", town.labels, "--out", out, "--system", "unet-small", "--split", "feature",
            "--seed", SEED, "--epochs", UNET_EPOCHS,
        )  # fmt: skip
        return out

    return _once("unet", train)


@pytest.fixture(scope="session")
def product(forest: Path, scene: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The forest's map of the clear scene, made by the command with polygons."""

    def make() -> Path:
        out = tmp_path_factory.mktemp("product") / "product"
        done("map", forest, scene, "--out", out, "--polygons")
        return out

    return _once("product", make)
