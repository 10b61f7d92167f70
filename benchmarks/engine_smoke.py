"""How much longer a whole map takes than the network alone: one run, one ratio a precision.

Generates a 4096 x 4096 scene of four uint16 bands (deflate, 512-pixel blocks), builds a U-Net with a
ResNet-18 encoder and random weights (so the classes mean nothing), maps the scene, and compares with the
pure forward passes over as many pixels, interleaved, the better of two arrangements of windows. On a
machine that others use at the same time only the ratio of processor times means something.

    python benchmarks/engine_smoke.py [--edge 4096] [--precision fp32 bf16] [--rounds 2]
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np


def write_scene(path, edge, bands=4):
    """Write a smooth scene with noise, block row by block row."""
    import rasterio
    from affine import Affine
    from rasterio.windows import Window

    generator = np.random.default_rng(0)
    profile = {
        "driver": "GTiff",
        "dtype": "uint16",
        "count": bands,
        "height": edge,
        "width": edge,
        "crs": "EPSG:32633",
        "transform": Affine(10, 0, 500_000, 0, -10, 5_000_000),
        "tiled": True,
        "blockxsize": 512,
        "blockysize": 512,
        "compress": "deflate",
        "predictor": 2,
        "nodata": 0,
        "num_threads": 2,
    }
    names = ("B02", "B03", "B04", "B08")[:bands]
    with rasterio.open(path, "w", **profile) as target:
        for row in range(0, edge, 512):
            height = min(512, edge - row)
            y, x = np.mgrid[row : row + height, 0:edge].astype(np.float32)
            for band in range(bands):
                wave = 2000 + 900 * np.sin(x / (90 + 31 * band)) * np.cos(y / (70 + 17 * band))
                noisy = wave + generator.normal(0, 60, wave.shape)
                target.write(np.clip(noisy, 1, 10000).astype(np.uint16), band + 1, window=Window(0, row, edge, height))
        target.descriptions = names
    return names


def build_model(names):
    """Return a bundle of a U-Net with random weights and a detector threshold."""
    import torch

    from ecumene.legends import Legend
    from ecumene.models.bundle import Model
    from ecumene.models.contract import InputBand, ModelSpec
    from ecumene.networks import build_network
    from ecumene.objectives import Segmentation

    torch.manual_seed(0)
    arguments = {"in_channels": len(names), "n_outputs": 10}
    network = build_network("unet", **arguments).eval()
    objective = Segmentation(Legend.from_names([f"class {k}" for k in range(10)]))
    spec = ModelSpec(
        name="random-unet",
        created="2024-01-01T00:00:00Z",
        kind="network",
        architecture={"name": "unet", "arguments": arguments},
        objective=objective.to_config(),
        inputs=tuple(
            InputBand(sensor="sentinel-2", level="L2A", band=name, unit="1", mean=0.2, std=0.06) for name in names
        ),
        temporal=False,
        resolution_m=10.0,
        stride=int(network.stride),
        margin=int(network.margin),
    )
    weights = {key: value.detach().numpy().copy() for key, value in network.state_dict().items()}
    return Model(spec, objective, weights=weights)


def forward_seconds(model, precision, threads, edge, shape, batch):
    """Return wall and processor seconds of pure forward passes over the scene's pixels, from a few windows."""
    executor = model.executor("torch", precision, threads)
    image = np.random.default_rng(1).normal(0.2, 0.06, (batch, len(model.spec.inputs), *shape)).astype(np.float32)
    executor.run(image)
    count = max(3, round(3_000_000 / (batch * shape[0] * shape[1])))
    start = time.perf_counter(), time.process_time()
    for _ in range(count):
        executor.run(image)
    scale = edge * edge / (count * batch * shape[0] * shape[1])
    return (time.perf_counter() - start[0]) * scale, (time.process_time() - start[1]) * scale


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edge", type=int, default=4096)
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()

    from ecumene.mapping import MapOptions, map_stack
    from ecumene.mapping.plan import available_threads, choose_window
    from ecumene.scenes.opening import describe_scene
    from ecumene.scenes.stack import align_scenes

    threads = available_threads()
    with tempfile.TemporaryDirectory() as folder:
        scene = Path(folder) / "scene.tif"
        names = write_scene(scene, arguments.edge)
        model = build_model(names)
        source = describe_scene(scene, sensor="sentinel-2", level="L2A", scale=1e-4, offset=0.0, time="2024-06-01")
        stack = align_scenes([source], mask_clouds=False)
        window, overlap = choose_window(model.spec, (arguments.edge, arguments.edge), MapOptions(), 1)
        for precision in arguments.precision:
            maps, limits = [], []
            for number in range(arguments.rounds):
                ways = ((window, 1), ((256, 256), 8))
                limits.append(min(forward_seconds(model, precision, threads, arguments.edge, *way) for way in ways))
                out, options = Path(folder) / f"{precision}-{number}", MapOptions(precision=precision)
                start = time.perf_counter(), time.process_time()
                product = map_stack(stack, model, out, options=options)
                maps.append((time.perf_counter() - start[0], time.process_time() - start[1]))
            wall, processor = (
                statistics.median(m[k] for m in maps) / statistics.median(f[k] for f in limits) for k in (0, 1)
            )
            result = {
                "precision": precision,
                "window": window,
                "overlap": overlap,
                "executed_over_mapped": product.properties["ecumene:execution"]["executed_over_mapped_pixels"],
                "map_s": [round(m[0], 2) for m in maps],
                "forward_s": [round(f[0], 2) for f in limits],
                "wall_ratio": round(wall, 3),
                "processor_ratio": round(processor, 3),
                "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            }
            print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
