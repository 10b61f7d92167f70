"""Small models and an image."""

from __future__ import annotations

import numpy as np
import pytest
from explanation_models import make_forest, make_network

from ecumene.objectives import PixelRegression


@pytest.fixture(scope="session")
def unet():
    return make_network("unet-small", width=8)


@pytest.fixture(scope="session")
def regressor():
    return make_network("mlp", objective=PixelRegression(["height"], "m", [10.0], [3.0]), hidden=[16, 16])


@pytest.fixture(scope="session")
def series():
    return make_network("ltae", d_model=16, n_heads=4, spectral=[8], mlp=16, decoder=[8])


@pytest.fixture(scope="session")
def forest():
    return make_forest()


@pytest.fixture
def image():
    """Physical units `[T, C, H, W]` of one date, 24 x 32 pixels."""
    generator = np.random.default_rng(1)
    coarse = generator.random((1, 4, 6, 8), np.float32)
    return 0.1 + 0.3 * np.kron(coarse, np.ones((1, 1, 4, 4), np.float32)).astype(np.float32)
