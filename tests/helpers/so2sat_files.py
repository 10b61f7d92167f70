"""Tiny files in the official layout of So2Sat LCZ42."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike


def write_so2sat(
    path: Path,
    labels: ArrayLike,
    seed: int = 0,
    *,
    geo: bool = False,
    place: float = 0.0,
    chunked: bool = False,
    signal: bool = True,
    level: str | None = None,
) -> Path:
    """Write one file (`training.h5` or another) with these class indices, and its `_geo.h5`.

    With `signal` the reflectances tell the classes: two of the bands depend on the label.
    """
    import h5py

    path.parent.mkdir(parents=True, exist_ok=True)
    rng, labels = np.random.default_rng(seed), np.asarray(labels)
    count = len(labels)
    sen2 = rng.uniform(0.02, 0.3, (count, 32, 32, 10))
    if signal:
        sen2[..., 2] = 0.05 + 0.02 * labels[:, None, None] + rng.normal(0, 0.01, (count, 32, 32))
        sen2[..., 6] = 0.45 - 0.02 * labels[:, None, None] + rng.normal(0, 0.01, (count, 32, 32))
    options = {"chunks": (3, 32, 32, 10), "compression": "gzip"} if chunked else {}
    with h5py.File(path, "w") as file:
        file.create_dataset("sen1", data=rng.normal(0, 0.2, (count, 32, 32, 8)))
        file.create_dataset("sen2", data=sen2, **options)
        file.create_dataset("label", data=np.eye(17)[labels])
        if level is not None:
            file.attrs["sentinel2_level"] = level
    if geo:
        east = place + 700.0 * np.arange(count)
        with h5py.File(path.with_name(f"{path.stem}_geo.h5"), "w") as file:
            file["coord"] = np.column_stack([east, np.full(count, 5_000_000.0), *np.zeros((4, count))])
            file["epsg"] = np.full((count, 1), 32632)
            file["tfw"] = np.zeros((count, 6))
    return path


def write_version_2(folder: Path, seed: int = 0, *, counts: tuple[int, int, int] = (24, 10, 10), **options) -> Path:
    """Write the three files of version 2 (4 with `geo=True`)."""
    rng = np.random.default_rng(seed)
    for number, (name, count) in enumerate(zip(("training", "validation", "testing"), counts, strict=True)):
        labels = rng.integers(0, 17, count)
        write_so2sat(folder / f"{name}.h5", labels, seed + number, place=1e6 * number, **options)
    return folder
