"""Networks for Deepness, the QGIS plugin: its metadata keys, and a graph that keeps its conventions.

Deepness (PUTvision, "Deepness: Deep Neural Remote Sensing Plugin for QGIS", pages "Model classes and requirements"
and "Adding metadata to ONNX model" of its documentation; releases 0.6 to 0.7 were read) reads metadata values as JSON,
feeds one image `[B, C, S, S]` of 8-bit pixels divided by 255 and then standardised by `standardization_mean` and
`standardization_std`, pads with zeros, and takes each output as one layer: class probabilities `[B, K, S, S]` of a
segmentation, numbers of a regression. It has no input for dates and none for floating-point pixels.

So a bundle's own `model.onnx` (physical units, two outputs) carries the keys, but does not run there. `deepness_graph`
makes the graph that does: pixels in 0..1 are stretched to physical values, and moments (probabilities, or numbers)
come out. The raster in QGIS must hold the bands in the model's order as 8-bit numbers, value = 255 (x - low) /
(high - low), with the limits that are in the file's metadata.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError

if TYPE_CHECKING:
    from ecumene.models.bundle import Model

TILE = 512
"""Wanted edge of a tile, raised to a multiple of the network's stride."""


def deepness_metadata(model: Model) -> dict[str, str]:
    """Return the metadata keys that Deepness reads, with its kind of values.

    Args:
        model: A network's bundle.

    Returns:
        JSON texts by key: `model_type`, `class_names` (by channel, from 0), `resolution` (centimetres a pixel),
        `tile_size` (which the plugin reads) and `tiles_size` (which its documentation names), `tiles_overlap` (per
        cent), `standardization_mean` and `standardization_std` (the identity).
    """
    edge, overlap = tile_geometry(model)
    channels = len(model.spec.inputs)
    entries: dict[str, Any] = {
        "model_type": "Segmentor" if model.objective.legend is not None else "Regressor",
        "resolution": 100.0 * model.spec.resolution_m,
        "tile_size": edge,
        "tiles_size": edge,
        "tiles_overlap": overlap,
        "standardization_mean": [0.0] * channels,
        "standardization_std": [1.0] * channels,
    }
    if model.objective.legend is not None:
        entries["class_names"] = {str(position): name for position, name in enumerate(model.objective.legend.names)}
    return {key: json.dumps(value, ensure_ascii=False) for key, value in entries.items()}


def tile_geometry(model: Model) -> tuple[int, int]:
    """Return (edge of a tile in pixels, overlap in per cent, so that every pixel has the network's margin)."""
    stride = model.spec.stride
    edge = -(-TILE // stride) * stride
    return edge, min(50, round(100 * 2 * model.spec.margin / edge + 0.499))


def stretch_limits(model: Model) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the physical values `[C]` of the 8-bit numbers 0 and 255.

    They are the 0.1 % and 99.9 % quantiles of the training data where the bundle states them, else mean -/+ three
    standard deviations.
    """
    inputs = model.spec.inputs
    low = np.array([band.mean - 3 * band.std if band.minimum is None else band.minimum for band in inputs])
    high = np.array([band.mean + 3 * band.std if band.maximum is None else band.maximum for band in inputs])
    return low, np.where(high > low, high, low + 6 * np.array([band.std for band in inputs]))


def deepness_graph(model: Model) -> bytes:
    """Return an ONNX file that Deepness can run.

    Raises:
        ConfigurationError: If the model reads a series, or gives something that is no class and no number of a pixel.
        ModelError: If the network cannot be exported.
    """
    from ecumene.models.export import trace_module
    from ecumene.objectives import PixelRegression

    if model.spec.temporal:
        raise ConfigurationError("Deepness feeds one image and no dates, so a series model cannot run there.")
    numbers = isinstance(model.objective, PixelRegression)
    if model.objective.unit_of_work != "pixel" or not (numbers or model.objective.legend is not None):
        raise ConfigurationError("Deepness maps classes or numbers of pixels; this model gives something else.")
    import torch

    from ecumene.models.torch_execution import TorchExecutor

    executor = model.executor("torch", device="cpu")
    assert isinstance(executor, TorchExecutor)
    deployed, objective = executor.module, model.objective
    low, high = (torch.tensor(limit, dtype=torch.float32)[:, None, None] for limit in stretch_limits(model))

    class Stretched(torch.nn.Module):
        """8-bit numbers over 255 in, probabilities or numbers out."""

        low: torch.Tensor
        width: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.deployed = deployed
            self.register_buffer("low", low)
            self.register_buffer("width", high - low)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            output, _ = self.deployed(self.low + image * self.width)
            moments = objective.moments(output)
            result: torch.Tensor = objective.from_moments(moments).layers["value"] if numbers else moments
            return result

    edge, _ = tile_geometry(model)
    image = torch.rand(2, len(model.spec.inputs), edge, edge)
    shapes = {"image": {0: torch.export.Dim("batch", min=1, max=4096)}}
    proto = trace_module(Stretched().eval(), (image,), shapes, ["probability" if not numbers else "value"])
    limits = {"ecumene:low": low.flatten().tolist(), "ecumene:high": high.flatten().tolist()}
    stated = deepness_metadata(model) | {key: json.dumps(value) for key, value in limits.items()}
    stated["ecumene:bands"] = ",".join(band.key for band in model.spec.inputs)
    for key, value in stated.items():
        proto.metadata_props.add(key=key, value=value)
    data: bytes = proto.SerializeToString(deterministic=True)
    return data
