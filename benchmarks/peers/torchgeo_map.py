"""A whole-scene class map the TorchGeo way: RasterDataset, GridGeoSampler, DataLoader, a network, stitching.

TorchGeo has no writer: each chip's inner part is put into one array by its geographic bounds, and the array is
written at the end. The network is segmentation-models-pytorch's in eager fp32, as the documentation's tutorials
have it. `SETTINGS` were not tuned; the benchmark's `--tune` tries others, channels last and bf16 among them.
"""

from __future__ import annotations

from typing import Any

from shared import Clock, arguments, guard_torchvision, load_network

guard_torchvision()

import numpy as np  # noqa: E402
import rasterio  # noqa: E402
import torch  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402
from torchgeo.datasets import RasterDataset, stack_samples  # noqa: E402
from torchgeo.samplers import GridGeoSampler, Units  # noqa: E402

SETTINGS: dict[str, Any] = {
    "chip": 512,
    "overlap": 32,
    "batch": 4,
    "workers": 0,
    "precision": "fp32",
    "channels_last": False,
}
"""Eager fp32 in the default memory layout and no loader processes are what a user gets who asks for nothing else.

Chip, overlap and batch have no documented value for a whole scene: 512 is the stored block, 32 the network's stride,
and 4 such chips are about a megapixel a batch.
"""


class Scene(RasterDataset):
    """Any GeoTIFF of the folder with this name."""

    is_image = True
    separate_files = False


def main() -> None:
    """Map and report."""
    given = arguments(__doc__)
    settings = SETTINGS | given.settings
    torch.set_num_threads(given.threads)
    network, about = load_network(given.network)
    if settings["channels_last"]:
        network = network.to(memory_format=torch.channels_last)
    mean = torch.tensor(about["mean"])[:, None, None]
    std = torch.tensor(about["std"])[:, None, None]
    codes = np.array(about["codes"], np.uint8)

    clock = Clock()
    Scene.filename_glob = given.scene.name
    data = Scene(str(given.scene.parent))
    chip, overlap = settings["chip"], settings["overlap"]
    sampler = GridGeoSampler(data, size=chip, stride=chip - overlap, units=Units.PIXELS)
    loader = DataLoader(
        data,
        batch_size=settings["batch"],
        sampler=sampler,
        num_workers=settings["workers"],
        collate_fn=stack_samples,
    )
    with rasterio.open(given.scene) as source:
        profile, transform = source.profile, source.transform
        height, width = source.shape
    result = np.zeros((height, width), np.uint8)
    bf16 = settings["precision"] == "bf16"
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        for batch in loader:
            image = (batch["image"] - mean) / std
            if settings["channels_last"]:
                image = image.to(memory_format=torch.channels_last)
            classes = network(image).argmax(dim=1).numpy()
            for chip_classes, bounds in zip(classes, batch["bounds"], strict=True):
                place(result, codes[chip_classes], bounds, transform, overlap // 2)
    profile.update(count=1, dtype="uint8", nodata=255, driver="GTiff", compress="deflate", tiled=True)
    profile.update(blockxsize=512, blockysize=512, interleave="band", num_threads=given.threads)
    profile.pop("predictor", None)
    with rasterio.open(given.out, "w", **profile) as target:
        target.write(result, 1)
    clock.report(settings)


def place(result: np.ndarray, classes: np.ndarray, bounds: Any, transform: Any, margin: int) -> None:
    """Put a chip without its margin (but at the scene's border) into the result."""
    left, top = corner(bounds)
    col, row = (round(value) for value in ~transform * (left, top))
    inner = []
    # The grid of chips begins in the lower left corner and reaches over the scene's upper and right border.
    for start, size, length in ((row, classes.shape[0], result.shape[0]), (col, classes.shape[1], result.shape[1])):
        first = start + margin if start > 0 else 0
        last = start + size - margin if start + size < length else length
        inner.append((slice(first, last), slice(first - start, last - start)))
    (rows, chip_rows), (cols, chip_cols) = inner
    result[rows, cols] = classes[chip_rows, chip_cols]


def corner(bounds: Any) -> tuple[float, float]:
    """Return (left, top) of a chip's bounds, which are a box or a tuple of slices, by version."""
    if hasattr(bounds, "minx"):
        return float(bounds.minx), float(bounds.maxy)
    x, y = bounds[0], bounds[1]
    return float(x.start), float(y.stop)


if __name__ == "__main__":
    main()
