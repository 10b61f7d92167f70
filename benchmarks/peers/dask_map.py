"""A whole-scene class map by hand: Dask's `map_overlap` over a chunked rioxarray array, bf16, channels last.

Each chunk is read without rioxarray's lock, extended by its neighbours' borders, classified, trimmed, and
written into the GeoTIFF as soon as it is done. One thread of torch a worker, one worker a core. `SETTINGS` were not
tuned; the benchmark's `--tune` tries others.
"""

from __future__ import annotations

import threading
from typing import Any

from shared import Clock, arguments, guard_torchvision, load_network

guard_torchvision()

import dask  # noqa: E402
import numpy as np  # noqa: E402
import rasterio  # noqa: E402
import rioxarray  # noqa: E402
import torch  # noqa: E402
from rasterio.windows import Window  # noqa: E402

SETTINGS: dict[str, Any] = {"chunk": 512, "depth": 32, "workers": None, "threads_a_worker": 1, "precision": "bf16"}
"""Chunks of one stored block, so that none is decoded for two reads but at borders; depth of one network stride.

These are the usual advice for chunked rasters, and bf16 with channels last is this script's own choice for processors
that have it; none of it was measured against alternatives.
"""


class Writer:
    """Takes finished chunks; one at a time goes into the file."""

    def __init__(self, target: Any) -> None:
        self.target, self.lock = target, threading.Lock()

    def __setitem__(self, place: tuple[slice, slice], block: np.ndarray) -> None:
        rows, cols = place
        window = Window(cols.start, rows.start, cols.stop - cols.start, rows.stop - rows.start)
        with self.lock:
            self.target.write(block, 1, window=window)


def main() -> None:
    """Map and report."""
    given = arguments(__doc__)
    settings = SETTINGS | given.settings
    workers = settings["workers"] or given.threads
    network, about = load_network(given.network)
    network = network.to(memory_format=torch.channels_last)
    if settings["precision"] == "bf16":
        network = network.to(torch.bfloat16)
    kind = torch.bfloat16 if settings["precision"] == "bf16" else torch.float32
    mean = torch.tensor(about["mean"])[:, None, None]
    std = torch.tensor(about["std"])[:, None, None]
    codes = np.array(about["codes"], np.uint8)

    def classify(block: np.ndarray) -> np.ndarray:
        """Return the codes `[1, h, w]` of a chunk `[bands, h, w]`."""
        torch.set_num_threads(settings["threads_a_worker"])
        height, width = block.shape[-2:]
        fill = ((0, 0), (0, -height % 32), (0, -width % 32))
        padded = np.pad(block.astype(np.float32), fill, mode="edge")
        image = ((torch.from_numpy(padded) - mean) / std).to(kind)[None].to(memory_format=torch.channels_last)
        with torch.inference_mode():
            classes = network(image)[0].argmax(dim=0).numpy()
        return codes[classes[:height, :width]][None]

    clock = Clock()
    chunk, depth = settings["chunk"], settings["depth"]
    array = rioxarray.open_rasterio(given.scene, chunks={"band": -1, "y": chunk, "x": chunk}, lock=False).data
    result = array.map_overlap(
        classify,
        depth={0: 0, 1: depth, 2: depth},
        boundary="none",
        trim=False,
        dtype=np.uint8,
        meta=np.empty((0, 0, 0), np.uint8),
        chunks=tuple((1,) if axis == 0 else sizes for axis, sizes in enumerate(extended(array.chunks, depth))),
    )
    trimmed = dask.array.overlap.trim_overlap(result, depth={0: 0, 1: depth, 2: depth}, boundary="none")[0]
    with rasterio.open(given.scene) as source:
        profile = source.profile
    profile.update(count=1, dtype="uint8", nodata=255, driver="GTiff", compress="deflate", tiled=True)
    profile.update(blockxsize=min(chunk, 512), blockysize=min(chunk, 512), interleave="band")
    profile.pop("predictor", None)
    with rasterio.open(given.out, "w", **profile) as target:
        trimmed.store(Writer(target), lock=False, compute=True, scheduler="threads", num_workers=workers)
    clock.report(settings | {"workers": workers})


def extended(chunks: tuple[tuple[int, ...], ...], depth: int) -> list[tuple[int, ...]]:
    """Return the sizes of chunks with their neighbours' borders."""
    result = [chunks[0]]
    for sizes in chunks[1:]:
        last = len(sizes) - 1
        result.append(tuple(size + depth * ((k > 0) + (k < last)) for k, size in enumerate(sizes)))
    return result


if __name__ == "__main__":
    main()
