"""Does int8 keep the classes of a trained network, and what does every backend gain: one network, interleaved runs.

Trains a U-Net with a ResNet-18 encoder on simulated cities (12 bands, 9 classes), exports it, quantises it with
windows of the training cities, and compares every way of executing it on cities that neither training nor
quantisation has seen. Agreement is with eager float32; speeds are ratios of medians of interleaved runs with one
thread, of wall time and of processor time (which a machine that others use disturbs less).

    python benchmarks/engine_int8.py [--steps 240] [--rounds 5] [--model FOLDER]

`--model` keeps the trained bundle there, or uses the one that is there. Results go to
benchmarks/results/engine_int8.json. The cities are made up: the figures say what rounding does to a trained network's
classes, not how good a map of a real place is.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from common import store

TRAIN, TEST, FIRST_SEED = 8, 4, 1000
DATE, YEAR = "2023-07-06", 2023
WAYS = (
    ("torch", "fp32"),
    ("torch", "bf16"),
    ("onnx", "fp32"),
    ("onnx", "int8"),
    ("openvino", "fp32"),
    ("openvino", "bf16"),
    ("openvino", "int8"),
)


def make_cities():
    """Return (images `[N, bands, H, W]`, class indices `[N, H, W]`, band names)."""
    from ecumene.simulate import LEGEND, observe_sentinel2, simulate_city

    images, targets = [], []
    for seed in range(FIRST_SEED, FIRST_SEED + TRAIN + TEST):
        city = simulate_city(seed)
        observed = observe_sentinel2(city, DATE, seed=seed)
        images.append(observed.image)
        targets.append(np.searchsorted(np.array(LEGEND.values), city.land_cover(YEAR)))
    return np.stack(images).astype(np.float32), np.stack(targets).astype(np.int64), observed.bands


def train(images, targets, bands, steps):
    """Return a bundle of a U-Net that was trained on the first cities, with an outlier detector."""
    import torch

    from ecumene.models.bundle import Model
    from ecumene.models.contract import InputBand, ModelSpec
    from ecumene.networks import build_network
    from ecumene.objectives import Segmentation
    from ecumene.simulate import LEGEND
    from ecumene.trust.outlier import CombinedDetector

    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    mean, std = images[:TRAIN].mean(axis=(0, 2, 3)), images[:TRAIN].std(axis=(0, 2, 3))
    scaled = (images - mean[:, None, None]) / std[:, None, None]
    arguments = {"in_channels": images.shape[1], "n_outputs": len(LEGEND)}
    network = build_network("unet", **arguments).to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    for _ in range(steps):
        inputs, wanted = [], []
        for _ in range(8):
            city, turns = rng.integers(TRAIN), int(rng.integers(4))
            row, col = rng.integers(0, np.array(images.shape[2:]) - 127)
            window = (slice(row, row + 128), slice(col, col + 128))
            inputs.append(np.rot90(scaled[city][(slice(None), *window)], turns, (1, 2)))
            wanted.append(np.rot90(targets[city][window], turns))
        x = torch.from_numpy(np.stack(inputs)).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            output = network(x)
        loss = torch.nn.functional.cross_entropy(output.float(), torch.from_numpy(np.stack(wanted)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    network.eval()
    objective = Segmentation(LEGEND)
    spec = ModelSpec(
        name="simulated-city-unet",
        created="2024-01-01T00:00:00Z",
        kind="network",
        architecture={"name": "unet", "arguments": arguments},
        objective=objective.to_config(),
        inputs=tuple(
            InputBand(sensor="sentinel-2", level="L2A", band=band, unit="1", mean=float(m), std=float(s))
            for band, m, s in zip(bands, mean, std, strict=True)
        ),
        temporal=False,
        resolution_m=10.0,
        stride=int(network.stride),
        margin=int(network.margin),
    )
    weights = {key: value.detach().numpy().copy() for key, value in network.state_dict().items()}
    model = Model(spec, objective, weights=weights)
    features = np.moveaxis(model.detector_features(images[: TRAIN // 2]), 1, -1)
    features = features.reshape(-1, features.shape[-1])
    detector = CombinedDetector.fit(features[::7], seed=0)
    return model.with_trust(detector=detector.with_threshold(detector.score(features[3::11]), 0.02))


def speeds(model, images, rounds):
    """Return for each way the medians of wall and processor seconds, interleaved, one thread."""
    executors = {way: model.executor(*way, 1) for way in WAYS}
    for executor in executors.values():
        executor.run(images)
    wall, processor = ({way: [] for way in WAYS} for _ in range(2))
    for _ in range(rounds):
        for way, executor in executors.items():
            start = time.perf_counter(), time.process_time()
            executor.run(images)
            wall[way].append(time.perf_counter() - start[0])
            processor[way].append(time.process_time() - start[1])
    return {way: (statistics.median(wall[way]), statistics.median(processor[way])) for way in WAYS}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", type=Path)
    arguments = parser.parse_args()

    from ecumene.models.agreement import compare
    from ecumene.models.bundle import Model
    from ecumene.models.export import export_onnx
    from ecumene.models.quantisation import quantise

    images, targets, bands = make_cities()
    with tempfile.TemporaryDirectory() as folder:
        kept = arguments.model or Path(folder) / "model"
        if not (kept / "model.json").exists():
            train(images, targets, bands, arguments.steps).save(kept)
        model = export_onnx(Model.load(kept))
    start = time.perf_counter()
    windows = list(images[:TRAIN, None])
    result = quantise(model, windows[0::2], windows[1::2], threads=1)
    seconds = time.perf_counter() - start
    if not result.succeeded:
        raise SystemExit(f"int8 was given up: {result.steps[-1].failure}")
    model, test, truth = result.model, images[TRAIN:], targets[TRAIN:]
    timed = speeds(model, test, arguments.rounds)
    expected = model.executor("torch", "fp32", 1).run(test)
    everywhere = np.ones(test[:, 0].shape, np.bool_)
    base = timed["torch", "fp32"]
    table = {}
    for backend, precision in WAYS:
        found = model.executor(backend, precision, 1).run(test)
        agreement = compare(model.objective, expected, found, everywhere, model.detector.threshold)
        wall, processor = timed[backend, precision]
        table[f"{backend} {precision}"] = {
            "agreement": agreement.model_dump(),
            "qualifies": agreement.failure(precision) is None,
            "overall_accuracy": round(float((found[0].argmax(axis=1) == truth).mean()), 4),
            "times_eager_fp32_wall": round(base[0] / wall, 2),
            "times_eager_fp32_processor": round(base[1] / processor, 2),
        }
        print(backend, precision, table[f"{backend} {precision}"], flush=True)
    path = store(
        "engine_int8",
        {
            "what": "agreement with eager float32, and speed, of every backend; U-Net ResNet-18, simulated cities",
            "protocol": {
                "bands": images.shape[1],
                "classes": int(truth.max()) + 1,
                "training_steps": arguments.steps,
                "training_cities": TRAIN,
                "test_cities": TEST,
                "city_pixels": list(images.shape[2:]),
                "reference": "torch fp32, channels last, batch normalisation folded",
                "timing": f"one thread, batch of {len(test)} cities, medians of {arguments.rounds} interleaved rounds",
            },
            "libraries": {name: importlib.metadata.version(name) for name in ("torch", "onnxruntime", "openvino")},
            "quantisation": {
                "seconds": round(seconds, 1),
                "convolutions": result.convolutions,
                "steps": [step.model_dump() for step in result.steps],
            },
            "ways": table,
        },
    )
    print(path.name)


if __name__ == "__main__":
    main()
