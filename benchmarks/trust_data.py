"""Real data sets of the trust benchmark, divided into training, validation, calibration and test by blocks.

Each case is a list of `Fold`s: patch sets whose groups (blocks, images, tiles) never stand in two parts. Blocks that
touch have no buffer here, because the blocks are far larger than a pixel's context; the docstrings name the sizes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray

from common import data_root
from ecumene.legends import Legend
from ecumene.samples.patch_set import PatchSet
from ecumene.scenes.contract import Channel

PARTS = ("train", "validation", "calibration", "test")
SHARES = (0.5, 0.1, 0.2, 0.2)
IGNORE = -1
HALF = "50 % training, 10 % validation, 20 % calibration, 20 % test"
OTHERS = "60 % training, 10 % validation, 30 % calibration"


@dataclass(frozen=True)
class Fold:
    """One division of one data set."""

    name: str
    parts: dict[str, PatchSet]
    legend: Legend | None
    unit: str


@dataclass(frozen=True)
class Case:
    """One data set: its files, its protocol, and its folds by seed."""

    name: str
    kind: str
    files: tuple[Path, ...]
    protocol: str
    network: str
    training: dict[str, object]

    def folds(self, seed: int) -> Iterator[Fold]:
        """Yield the folds of a seed."""
        yield from _FOLDS[self.name](seed)


def channels_of(names: Sequence[str], sensor: str, unit: str) -> tuple[Channel, ...]:
    return tuple(Channel(sensor=sensor, level="as distributed", band=name, unit=unit) for name in names)


def table(
    features: NDArray[np.floating],
    target: NDArray[np.generic],
    group: NDArray[np.integer],
    channels: tuple[Channel, ...],
) -> PatchSet:
    """Return single-pixel patches of a table `[N, F]`."""
    count = len(features)
    image = np.asarray(features, np.float32)[:, :, None, None]
    kind = np.int64 if np.issubdtype(target.dtype, np.integer) else np.float32
    return PatchSet(
        image,
        target.astype(kind)[:, None, None],
        np.isfinite(image).all(axis=1),
        np.zeros((count, 1), np.int64),
        group.astype(np.int32)[:, None, None],
        channels,
    )


def windows(
    image: NDArray[np.floating],
    target: NDArray[np.generic],
    group: NDArray[np.integer],
    chosen: NDArray[np.bool_],
    channels: tuple[Channel, ...],
    side: int = 32,
    stride: int = 32,
) -> PatchSet | None:
    """Cut windows of `[C, H, W]` that hold a chosen pixel; labels elsewhere are hidden."""
    numeric = np.issubdtype(target.dtype, np.floating)
    hidden = np.where(chosen, target, np.nan if numeric else IGNORE)
    images, masks, groups = [], [], []
    for row in range(0, image.shape[1] - side + 1, stride):
        for col in range(0, image.shape[2] - side + 1, stride):
            cut = (slice(row, row + side), slice(col, col + side))
            if chosen[cut].any():
                images.append(image[(slice(None), *cut)])
                masks.append(hidden[cut])
                groups.append(np.where(chosen[cut], group[cut], -1))
    if not images:
        return None
    stacked = np.stack(images).astype(np.float32)
    return PatchSet(
        stacked,
        np.stack(masks).astype(np.float32 if numeric else np.int64),
        np.isfinite(stacked).all(axis=1),
        np.zeros((len(images), 1), np.int64),
        np.stack(groups).astype(np.int32),
        channels,
    )


def divide(group: NDArray[np.integer], strata: NDArray[np.integer], seed: int) -> NDArray[np.int64]:
    """Return the part 0..3 of each element; whole groups, dealt within each stratum (its most frequent value)."""
    generator = np.random.default_rng(seed)
    part = np.zeros(int(group.max()) + 1, np.int64)
    names = np.unique(group)
    main = np.array([np.bincount(strata[group == name]).argmax() for name in names])
    for stratum in np.unique(main):
        members = generator.permutation(names[main == stratum])
        ends = np.round(np.cumsum(SHARES) * len(members)).astype(int)
        for number, (start, end) in enumerate(zip((0, *ends[:-1]), ends, strict=True)):
            part[members[start:end]] = number
    return part[group]


def block_numbers(rows: NDArray[np.integer], cols: NDArray[np.integer], edge: int) -> NDArray[np.int64]:
    """Return the number of the square block that each position lies in, from 0."""
    key = rows // edge * 1_000_003 + cols // edge
    return np.unique(key, return_inverse=True)[1].reshape(key.shape)


# -- Salinas: hyperspectral pixels, blocks of 15 x 15 pixels (56 m) -------------------------------------------------


def _salinas(seed: int) -> Iterator[Fold]:
    data = np.load(data_root() / "hsi_salinas_150" / "salinas_150.npz")
    spectra, labels = data["spectra"].astype(np.float32), data["labels"].astype(np.int64) - 1
    rows, cols = data["linear_index"] % 150, data["linear_index"] // 150
    group = block_numbers(rows, cols, 15)
    part = divide(group, labels, seed)
    names = [f"band {number}" for number in range(spectra.shape[1])]
    channels = channels_of(names, "aviris", "1")
    legend = Legend.from_names([f"class {number}" for number in range(1, 9)], name="Salinas")
    parts = {
        name: table(spectra[part == number], labels[part == number], group[part == number], channels)
        for number, name in enumerate(PARTS)
    }
    yield Fold("blocks", parts, legend, "1")


# -- RSSCN7: scenes by colour and texture, whole images ---------------------------------------------------------------


def texture_features(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return colour and texture of an RGB image `[H, W, 3]`: quantiles, gradients at four scales, spectrum."""
    values: list[float] = []
    image = picture.astype(np.float32) / 255.0
    for band in range(3):
        values += [*np.quantile(image[..., band], (0.05, 0.25, 0.5, 0.75, 0.95)), float(image[..., band].std())]
    grey = image.mean(axis=2)
    for step in (1, 2, 4, 8):
        down, across = np.abs(grey[step:] - grey[:-step]), np.abs(grey[:, step:] - grey[:, :-step])
        values += [float(down.mean()), float(across.mean()), float(down.std()), float(across.std())]
    power = np.abs(np.fft.rfft2(grey - grey.mean())) ** 2
    radius = np.hypot(np.fft.fftfreq(grey.shape[0])[:, None], np.fft.rfftfreq(grey.shape[1])[None])
    for low, high in ((0, 0.02), (0.02, 0.05), (0.05, 0.1), (0.1, 0.2), (0.2, 0.35), (0.35, 0.5)):
        values.append(float(np.log(power[(radius >= low) & (radius < high)].mean() + 1e-9)))
    spread = image.reshape(-1, 3)
    values += [*np.corrcoef(spread.T)[np.triu_indices(3, 1)]]
    return np.nan_to_num(np.asarray(values, np.float32))


def _rsscn7_files() -> list[Path]:
    return sorted((data_root() / "rsscn7_subset").rglob("*.jpg"))


def _rsscn7(seed: int) -> Iterator[Fold]:
    from matplotlib.image import imread

    files = _rsscn7_files()
    folders = sorted({path.parent.name for path in files})
    features = np.stack([texture_features(imread(path)) for path in files])
    labels = np.array([folders.index(path.parent.name) for path in files])
    group = np.arange(len(files))
    part = divide(group, labels, seed)
    channels = channels_of([f"feature {number}" for number in range(features.shape[1])], "google-earth", "1")
    legend = Legend.from_names([folder[1:] for folder in folders], name="RSSCN7")
    parts = {
        name: table(features[part == number], labels[part == number], group[part == number], channels)
        for number, name in enumerate(PARTS)
    }
    yield Fold("images", parts, legend, "1")


# -- OSCD: change between two dates, one city held out, blocks of 64 pixels of the others ------------------------------

CITIES = ("aguasclaras", "bercy", "bordeaux", "nantes", "paris", "rennes", "saclay_e")
TEN_METRES = ("B02", "B03", "B04", "B08")


def _city(name: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return both dates' four 10 m bands `[8, H, W]` (reflectance) and 0/1 change `[H, W]`."""
    folder = data_root() / "oscd" / name
    with rasterio.open(folder / "cm.tif") as file:
        change = file.read(1).astype(np.int64) - 1
    layers = []
    for date in ("imgs_1", "imgs_2"):
        for band in TEN_METRES:
            with rasterio.open(folder / date / f"{band}.tif") as file:
                values = file.read(1, out_shape=change.shape, resampling=rasterio.enums.Resampling.bilinear)
            layers.append(values.astype(np.float32) * 1e-4)
    return np.stack(layers), change


def _oscd(seed: int) -> Iterator[Fold]:
    channels = channels_of([f"{band} {date}" for date in ("before", "after") for band in TEN_METRES], "sentinel-2", "1")
    legend = Legend.from_names(["no change", "change"], name="OSCD")
    cities = {name: _city(name) for name in CITIES}
    test = CITIES[seed % len(CITIES)]
    gathered: dict[str, list[PatchSet]] = {part: [] for part in PARTS}
    for name, (image, change) in cities.items():
        rows, cols = np.indices(change.shape)
        group = block_numbers(rows, cols, 64)
        if name == test:
            part = np.full(change.shape, PARTS.index("test"))
        else:
            usable = np.array([0, 1, 2])
            generator = np.random.default_rng([seed, CITIES.index(name)])
            dealt = generator.choice(usable, size=int(group.max()) + 1, p=(0.6, 0.1, 0.3))
            part = dealt[group]
        for number, label in enumerate(PARTS):
            cut = windows(image, change, group, part == number, channels, stride=32)
            if cut is not None:
                gathered[label].append(cut)
    yield Fold(test, {part: PatchSet.concatenate(sets) for part, sets in gathered.items()}, legend, "1")


# -- Potsdam: building height from Sentinel-1/2 features, blocks of 1 km -----------------------------------------------


def _potsdam(seed: int) -> Iterator[Fold]:
    data = np.load(data_root() / "building_height_germany_s1s2" / "samples_potsdam_berlin_nrw.npz")
    height, features = data["height_po"].astype(np.float32), data["features_po"].astype(np.float32)
    metres = np.rint(data["xy_po"] - data["xy_po"].min(axis=0)).astype(np.int64)
    group = block_numbers(metres[:, 1], metres[:, 0], 1000)
    part = divide(group, np.zeros(len(height), np.int64), seed)
    names = [f"{file} {band}" for file, band in zip(data["feature_file"], data["feature_band"], strict=True)]
    channels = channels_of(names, "sentinel-1-2", "1")
    parts = {
        name: table(features[part == number], height[part == number], group[part == number], channels)
        for number, name in enumerate(PARTS)
    }
    yield Fold("blocks", parts, None, "m")


# -- Beijing: building height from ZY-3, one tile held out, blocks of 50 pixels (125 m) of the others ------------------

TILES = ("bj0216", "bj0217", "bj0219", "bj0317", "bj0322")


def _beijing(seed: int) -> Iterator[Fold]:
    folder = data_root() / "building_height_zy3_beijing"
    test = TILES[seed % len(TILES)]
    channels = channels_of(["blue", "green", "red", "nir", "nadir", "forward", "backward"], "zy-3", "1")
    gathered: dict[str, list[PatchSet]] = {part: [] for part in PARTS}
    for tile in TILES:
        with rasterio.open(folder / f"{tile}_img.tif") as image, rasterio.open(folder / f"{tile}_tlc.tif") as views:
            stacked = np.concatenate([image.read(), views.read()]).astype(np.float32)
        with rasterio.open(folder / f"{tile}_height.tif") as file:
            height = file.read(1).astype(np.float32)
        rows, cols = np.indices(height.shape)
        group = block_numbers(rows, cols, 50)
        generator = np.random.default_rng([seed, TILES.index(tile)])
        dealt = generator.choice(3, size=int(group.max()) + 1, p=(0.6, 0.1, 0.3))
        part = np.full(height.shape, 3) if tile == test else dealt[group]
        for number, label in enumerate(PARTS):
            cut = windows(stacked, height, group, part == number, channels)
            if cut is not None:
                gathered[label].append(cut)
    yield Fold(test, {part: PatchSet.concatenate(sets) for part, sets in gathered.items()}, None, "m")


_FOLDS = {"salinas": _salinas, "rsscn7": _rsscn7, "oscd": _oscd, "potsdam": _potsdam, "beijing": _beijing}


def cases() -> dict[str, Case]:
    """Return the cases by name; files are looked up, so `ECUMENE_DATA` must be set."""
    root = data_root()
    pixels = {"epochs": 60, "batch_size": 256, "learning_rate": 2e-3, "augment": False}
    patches = {"epochs": 12, "batch_size": 16, "learning_rate": 2e-3, "class_balance": "none"}
    return {
        "salinas": Case(
            "salinas",
            "class",
            (root / "hsi_salinas_150" / "salinas_150.npz",),
            "blocks of 15 x 15 pixels dealt by their main class; " + HALF,
            "mlp",
            pixels,
        ),
        "rsscn7": Case(
            "rsscn7",
            "class",
            tuple(_rsscn7_files()),
            "whole images, colour and texture features; " + HALF,
            "mlp",
            pixels,
        ),
        "oscd": Case(
            "oscd",
            "class",
            tuple(sorted((root / "oscd").rglob("*.tif"))),
            "four 10 m bands of both dates; one city held out for testing; 64-pixel blocks of the others: " + OTHERS,
            "unet-small",
            patches,
        ),
        "potsdam": Case(
            "potsdam",
            "number",
            (root / "building_height_germany_s1s2" / "samples_potsdam_berlin_nrw.npz",),
            "blocks of 1 km; " + HALF,
            "mlp",
            pixels,
        ),
        "beijing": Case(
            "beijing",
            "number",
            tuple(sorted((root / "building_height_zy3_beijing").glob("*.tif"))),
            "one tile held out for testing; 50-pixel blocks of the others: " + OTHERS,
            "unet-small",
            patches | {"epochs": 20},
        ),
    }
