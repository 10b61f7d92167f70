"""Small models of every kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_models import labelled_pixels, make_network, make_trees

from ecumene.models.bundle import Model


@pytest.fixture(scope="session")
def network_factory() -> Callable[..., Model]:
    return make_network


@pytest.fixture
def network_model(network_factory: Callable[..., Model]) -> Callable[..., Model]:
    return network_factory


@pytest.fixture
def tree_model() -> Callable[..., Model]:
    return make_trees


@pytest.fixture
def pixels() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    return labelled_pixels


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A saved per-pixel network."""
    make_network("mlp").save(tmp_path / "model")
    return tmp_path / "model"
