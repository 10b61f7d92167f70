"""Scenes, labels and trained models of the engine's benchmark, all made on the spot from a seed.

Ten classes in patches of some 500 m. Classes 2k and 2k + 1 have one mean spectrum and differ by a ripple of
eight pixels, so that a network needs context; noise lets neighbouring spectra overlap. In a series the
odd one of a pair is late in the season instead.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CLASSES = 10
PATCH = 48  # pixels between the nodes of the class fields
BLOCK = 512
BANDS = {
    4: ("B02", "B03", "B04", "B08"),
    13: ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12"),
}
DATES = tuple(f"2024-{month:02d}-15" for month in range(1, 13))
SCALE = 1e-4
SENSOR, LEVEL = "sentinel-2", "L1C"


def _spectra(bands: int) -> NDArray[np.float32]:
    """Return stored mean values `[CLASSES, bands]`; pairs of classes share theirs."""
    generator = np.random.default_rng(7)
    pairs = 1200 + 1800 * generator.random((CLASSES // 2, bands))
    return np.repeat(pairs, 2, axis=0).astype(np.float32)


class Landscape:
    """Class fields of an area; any block row can be made by itself, and rows do not depend on the height."""

    def __init__(self, height: int, width: int, seed: int) -> None:
        self.width, self.seed = width, seed
        shape = (height // PATCH + 3, CLASSES, width // PATCH + 3)
        self.nodes = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)

    def classes(self, top: int, height: int) -> NDArray[np.uint8]:
        """Return the class of each pixel of some rows `[height, width]`."""
        rows = np.arange(top, top + height, dtype=np.float32) / PATCH
        cols = np.arange(self.width, dtype=np.float32) / PATCH
        i, j = rows.astype(int), cols.astype(int)
        v, u = (rows - i)[:, None], (cols - j)[None]
        best = np.zeros((height, self.width), np.uint8)
        largest = np.full((height, self.width), -np.inf, np.float32)
        for k in range(CLASSES):
            lines = self.nodes[i, k] * (1 - v) + self.nodes[i + 1, k] * v
            field = lines[:, j] * (1 - u) + lines[:, j + 1] * u
            better = field > largest
            best[better] = k
            np.maximum(largest, field, out=largest)
        return best

    def image(self, classes: NDArray[np.uint8], top: int, bands: int, month: int | None = None) -> NDArray[np.uint16]:
        """Return stored values `[bands, height, width]` of rows from `top` with the given classes."""
        generator = np.random.default_rng([self.seed, top, bands, 0 if month is None else month + 1])
        spectra = _spectra(bands)
        ripple = 160 * np.sin(np.arange(self.width, dtype=np.float32) * np.float32(2 * np.pi / 8))[None]
        odd = (classes & 1).astype(np.float32)
        season = np.ones(CLASSES, np.float32)
        if month is not None:
            late = np.where(np.arange(CLASSES) % 2, 7.5, 5.5)
            season = (0.8 + 0.4 * np.exp(-((month - late) ** 2) / 6)).astype(np.float32)
        image = np.empty((bands, *classes.shape), np.uint16)
        for band in range(bands):
            values = (spectra[:, band] * season)[classes]
            if month is None:
                values += ripple * odd
            values += 150 * generator.standard_normal(classes.shape, dtype=np.float32)
            image[band] = np.clip(values, 1, 10000)
        return image


def write_scene(path: Path, height: int, width: int, bands: int, *, seed: int = 1, month: int | None = None) -> None:
    """Write a scene as a COG (uint16, deflate with predictor, 512-pixel blocks), block row by block row."""
    import rasterio
    import rasterio.shutil
    from affine import Affine
    from rasterio.windows import Window

    profile = {
        "driver": "GTiff",
        "dtype": "uint16",
        "count": bands,
        "height": height,
        "width": width,
        "crs": "EPSG:32633",
        "transform": Affine(10, 0, 500_000, 0, -10, 5_000_000),
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "nodata": 0,
    }
    land = Landscape(height, width, seed)
    plain = path.with_suffix(".plain.tif")
    with rasterio.open(plain, "w", **profile, BIGTIFF="IF_SAFER") as target:
        for top in range(0, height, BLOCK):
            rows = min(BLOCK, height - top)
            image = land.image(land.classes(top, rows), top, bands, month)
            target.write(image, window=Window(0, top, width, rows))
        target.descriptions = BANDS[bands]
    options = {"COMPRESS": "DEFLATE", "LEVEL": 1, "PREDICTOR": "YES", "BLOCKSIZE": BLOCK, "NUM_THREADS": "ALL_CPUS"}
    rasterio.shutil.copy(str(plain), str(path), driver="COG", OVERVIEWS="NONE", BIGTIFF="IF_SAFER", **options)
    plain.unlink()


def _patches(bands: int, count: int, side: int, seed: int, series: bool) -> Any:
    """Return a labelled `PatchSet` of a landscape that the mapped scene does not show."""
    from ecumene.samples.patch_set import PatchSet

    images, masks = [], []
    months = range(12) if series else (None,)
    for number in range(count):
        land = Landscape(side, side, seed * 10_000 + number)
        classes = land.classes(0, side)
        images.append(np.stack([land.image(classes, 0, bands, month) for month in months]) * np.float32(SCALE))
        masks.append(classes.astype(np.int64))
    image = np.stack(images).astype(np.float32)
    days = [(np.datetime64(date) - np.datetime64("1970-01-01")).astype(int) for date in DATES]
    dates = np.tile(np.array(days if series else [0], np.int64), (count, 1))
    valid = np.ones((count, *((12,) if series else ()), side, side), bool)
    group = np.repeat(np.arange(count, dtype=np.int32), side * side).reshape(count, side, side)
    return PatchSet(image if series else image[:, 0], np.stack(masks), valid, dates, group)


def train_model(bands: int, *, series: bool, steps: float = 1.0) -> Any:
    """Train briefly: U-Net with a ResNet-18 encoder, or L-TAE on a series; with temperature and outlier detector."""
    from ecumene.legends import Legend
    from ecumene.models.bundle import Model
    from ecumene.models.contract import InputBand, ModelSpec
    from ecumene.networks import build_network
    from ecumene.objectives import Segmentation
    from ecumene.training.fit_network import fit_network
    from ecumene.training.options import TrainingOptions
    from ecumene.workflows.calibrate import fit_trust

    name, side, count, epochs = ("ltae", 32, 48, 6) if series else ("unet", 128, 64, 8)
    train, held_out = (_patches(bands, max(4, round(n * steps)), side, s, series) for n, s in ((count, 2), (16, 3)))
    mean = train.image.mean(axis=tuple(a for a in range(train.image.ndim) if a != train.image.ndim - 3))
    std = train.image.std(axis=tuple(a for a in range(train.image.ndim) if a != train.image.ndim - 3))
    inputs = tuple(
        InputBand(sensor=SENSOR, level=LEVEL, band=band, unit="1", mean=float(m), std=float(s))
        for band, m, s in zip(BANDS[bands], mean, std, strict=True)
    )
    objective = Segmentation(Legend.from_names([f"class {k}" for k in range(CLASSES)]))
    arguments = {"in_channels": bands, "n_outputs": CLASSES}
    with tempfile.TemporaryDirectory() as folder:
        fitted = fit_network(
            name, arguments, objective, train, held_out, inputs, options=TrainingOptions(epochs=epochs), folder=folder
        )
    network = build_network(name, **arguments)
    spec = ModelSpec(
        name=f"benchmark-{name}",
        created="2024-01-01T00:00:00Z",
        kind="network",
        architecture={"name": name, "arguments": arguments},
        objective=objective.to_config(),
        inputs=inputs,
        temporal=series,
        resolution_m=10.0,
        stride=int(network.stride),
        margin=int(network.margin),
    )
    model = Model(spec, objective, weights=fitted.state)
    return fit_trust(model, train, held_out)[0]


def model_for(cache: Path, bands: int, *, series: bool) -> Any:
    """Return a trained model, from the cache folder where it is there."""
    from ecumene.models.bundle import Model

    folder = cache / f"model-{'series' if series else 'image'}-{bands}"
    if not (folder / "model.json").is_file():
        model = train_model(bands, series=series)
        (model if series else _with_graphs(model, cache, bands)).save(folder)
    return Model.load(folder)


def _with_graphs(model: Any, cache: Path, bands: int) -> Any:
    """Return the model with its ONNX graph and the 8-bit one, scaled by a scene that is not the mapped one."""
    from ecumene.workflows.export import add_graphs

    cache.mkdir(parents=True, exist_ok=True)
    path = cache / f"calibration-{bands}.tif"
    if not path.is_file():
        write_scene(path, 1024, 1024, bands, seed=2)
    model = add_graphs(model, open_scenes([path]), int8=True)
    print(*model.spec.training.get("notes", []), sep="\n")
    return model


def scenes_for(cache: Path, edge: int, bands: int, *, series: bool, height: int | None = None) -> list[Path]:
    """Return the scene files, from the cache folder where they are there."""
    cache.mkdir(parents=True, exist_ok=True)
    months = list(range(12)) if series else [None]
    paths = []
    for month in months:
        path = cache / f"scene-{height or edge}x{edge}-{bands}{'' if month is None else f'-{month:02d}'}.tif"
        if not path.is_file():
            partial = path.with_name(f"part-{path.name}")
            write_scene(partial, height or edge, edge, bands, month=month)
            partial.replace(path)
        paths.append(path)
    return paths


def open_scenes(paths: list[Path]) -> Any:
    """Return the scenes as a stack."""
    from ecumene.scenes.opening import describe_scene
    from ecumene.scenes.stack import align_scenes

    dates = DATES if len(paths) == len(DATES) else (DATES[5],)
    sources = [
        describe_scene(path, sensor=SENSOR, level=LEVEL, scale=SCALE, offset=0.0, time=date)
        for path, date in zip(paths, dates, strict=True)
    ]
    return align_scenes(sources, mask_clouds=False)


def export_weights(model: Any, folder: Path) -> Path:
    """Write the U-Net's weights under the names of segmentation-models-pytorch, for the peers.

    Returns:
        A JSON file that states bands, normalisation in stored values, and the name of the weights file.
    """
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    names = {"encoder.": "encoder.", "decoder.": "decoder.", "head.": "segmentation_head."}
    state = {
        theirs + key[len(ours) :]: np.ascontiguousarray(value)
        for key, value in model.weights.items()
        for ours, theirs in names.items()
        if key.startswith(ours)
    }
    save_file(state, folder / "weights.safetensors")
    described = {
        "weights": "weights.safetensors",
        "in_channels": len(model.spec.inputs),
        "classes": CLASSES,
        "codes": list(model.objective.legend.values),
        "mean": [band.mean / SCALE for band in model.spec.inputs],
        "std": [band.std / SCALE for band in model.spec.inputs],
    }
    path = folder / "network.json"
    path.write_text(json.dumps(described))
    return path
