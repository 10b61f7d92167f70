"""Small networks of four bands."""

from __future__ import annotations

import numpy as np

from ecumene.legends import Legend
from ecumene.models.bundle import Model
from ecumene.models.contract import InputBand, ModelSpec
from ecumene.objectives import Segmentation

LEGEND = Legend.from_names(["water", "forest", "built"])
INPUTS = tuple(
    InputBand(sensor=sensor, level="L2A", band=band, unit="1", mean=0.1 + 0.05 * i, std=0.05 + 0.01 * i)
    for i, (sensor, band) in enumerate(
        [("sentinel-2", "B02"), ("sentinel-2", "B08"), ("sentinel-1", "VV"), ("sentinel-1", "VH")]
    )
)


def make_network(name="unet-small", seed=0, objective=None, **arguments):
    import torch

    from ecumene.networks import build_network

    objective = objective or Segmentation(LEGEND)
    arguments = {"in_channels": len(INPUTS), "n_outputs": objective.n_outputs, **arguments}
    torch.manual_seed(seed)
    network = build_network(name, **arguments).eval()
    spec = ModelSpec(
        name=f"test-{name}",
        created="2026-01-02T03:04:05+00:00",
        kind="network",
        architecture={"name": name, "arguments": arguments},
        objective=objective.to_config(),
        inputs=INPUTS,
        temporal=network.temporal,
        resolution_m=10.0,
        stride=network.stride,
        margin=network.margin,
    )
    return Model(spec=spec, weights={key: value.numpy() for key, value in network.state_dict().items()})


def make_forest():
    from ecumene.training.fit_trees import fit_forest

    generator = np.random.default_rng(0)
    target = generator.integers(0, 3, 300)
    features = (0.2 + 0.1 * target[:, None] + 0.03 * generator.standard_normal((300, 4))).astype(np.float32)
    spec = ModelSpec(
        name="test-forest",
        created="2026-01-02T03:04:05+00:00",
        kind="forest",
        architecture={"name": "random-forest", "arguments": {"n_features": 4, "n_dates": 1}},
        objective=Segmentation(LEGEND).to_config(),
        inputs=INPUTS,
        temporal=False,
        resolution_m=10.0,
    )
    return Model(spec=spec, weights=fit_forest(features, target, n_classes=3, n_trees=10, seed=0, n_jobs=1))
