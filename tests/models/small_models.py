"""Small models of every kind."""

from __future__ import annotations

from typing import Any

import numpy as np

from ecumene.legends import Legend
from ecumene.models.bundle import Model
from ecumene.models.contract import InputBand, ModelSpec
from ecumene.objectives import PixelRegression, Segmentation

LEGEND = Legend.from_names(["water", "forest", "built"])
INPUTS = tuple(
    InputBand(
        sensor="sentinel-2",
        level="L2A",
        band=band,
        unit="1",
        center_wavelength_um=wave,
        ground_sampling_m=10.0,
        mean=0.1 + 0.05 * i,
        std=0.05 + 0.01 * i,
        minimum=0.0,
        maximum=0.6,
    )
    for i, (band, wave) in enumerate([("B02", 0.49), ("B03", 0.56), ("B04", 0.665), ("B08", 0.842)])
)


def make_spec(kind: str, architecture: dict[str, Any], objective: Any, **entries: Any) -> ModelSpec:
    return ModelSpec(
        **{
            "name": f"test-{kind}",
            "created": "2026-01-02T03:04:05+00:00",
            "kind": kind,
            "architecture": architecture,
            "objective": objective.to_config(),
            "inputs": INPUTS,
            "temporal": False,
            "resolution_m": 10.0,
            **entries,
        }
    )


def make_network(
    name: str = "mlp", seed: int = 0, change: Any = None, own: dict[str, Any] | None = None, **entries: Any
) -> Model:
    """A network with random weights; `own` are its arguments, `change` is called with it, the rest goes to the spec."""
    import torch

    from ecumene.networks import build_network

    arguments = {"in_channels": len(INPUTS), "n_outputs": len(LEGEND), **(own or {})}
    torch.manual_seed(seed)
    network = build_network(name, **arguments).eval()
    if change is not None:
        change(network)
    spec = make_spec(
        "network",
        {"name": name, "arguments": arguments},
        Segmentation(LEGEND),
        temporal=network.temporal,
        stride=network.stride,
        margin=network.margin,
        **entries,
    )
    return Model(spec=spec, weights={key: value.numpy() for key, value in network.state_dict().items()})


def labelled_pixels(n: int = 600, dates: int = 1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    target = generator.integers(0, 3, n)
    mean = np.array([band.mean for band in INPUTS])
    shift = np.array([[-1.0, -1, -1, -2], [0, 0, -1, 2], [1, 1, 1, 0]]) * 0.05
    x = mean + shift[target] + 0.03 * generator.standard_normal((n, len(INPUTS)))
    return np.tile(x, (1, dates)).astype(np.float32), target


def make_trees(kind: str = "forest", dates: int = 1, regression: bool = False) -> Model:
    from ecumene.training.fit_trees import fit_boosting, fit_forest

    x, y = labelled_pixels(dates=dates)
    fit = fit_forest if kind == "forest" else fit_boosting
    if regression:
        objective: Any = PixelRegression(["height"], "m", target_mean=5.0, target_std=2.0)
        fitted = fit(x, 5.0 + 2.0 * y, n_classes=None, n_trees=8, n_jobs=1)
    else:
        objective = Segmentation(LEGEND)
        fitted = fit(x, y, n_classes=3, n_trees=8, n_jobs=1)
    architecture = {"name": kind, "arguments": {"n_features": x.shape[1], "n_dates": dates}}
    spec = make_spec(kind, architecture, objective, temporal=dates > 1)
    if isinstance(fitted, str):
        return Model(spec=spec, booster=fitted)
    return Model(spec=spec, weights=fitted)
