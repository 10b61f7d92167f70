"""Small stacks and models for the mapping tests: exact, fast, with real context around each pixel."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from ecumene.core.errors import SceneError
from ecumene.core.window import Window
from ecumene.legends import Legend
from ecumene.models.checksum import content_checksum
from ecumene.models.contract import InputBand, ModelSpec
from ecumene.objectives import PixelRegression, Segmentation
from ecumene.scenes.contract import Block, Channel, SceneSource
from ecumene.scenes.damage import read_around_damage

UTM = "EPSG:32633"
NAMES = ("water", "forest", "built & paved", "bare soil")


def grid(height, width, crs=UTM, resolution=10.0, origin=(500_000.0, 5_000_000.0)):
    return GeoBox((height, width), Affine(resolution, 0, origin[0], 0, -resolution, origin[1]), crs)


@dataclass(frozen=True)
class ArrayStack:
    """A stack in memory."""

    pixels: np.ndarray  # [T, C, H, W], NaN: no data
    geobox: GeoBox
    times: tuple = (np.datetime64("2024-06-01T10:00:00", "ns"),)
    files: tuple[str, ...] = ()
    broken_from_row: int | None = None
    properties: dict = field(default_factory=dict)

    @property
    def channels(self):
        return tuple(Channel("test-camera", "L1", f"B{k}", "1") for k in range(self.pixels.shape[1]))

    @property
    def sources(self):
        return tuple(
            SceneSource(
                id=f"scene-{k}",
                sensor="test-camera",
                level="L1",
                quantity="reflectance",
                unit="1",
                time=time,
                bands=(),
                geobox=self.geobox,
                files=self.files,
                properties=self.properties,
            )
            for k, time in enumerate(self.times)
        )

    def read(self, window: Window) -> Block:
        if self.broken_from_row is not None and window.row_stop > self.broken_from_row:
            raise SceneError("The file scene.tif is damaged; get it again.")
        frames, channels = self.pixels.shape[:2]
        image = np.full((frames, channels, window.height, window.width), np.nan, dtype=np.float32)
        height, width = self.pixels.shape[2:]
        inside = window.intersect(Window(0, 0, height, width))
        if inside is not None:
            rows, cols = inside.shift(-window.row, -window.col).slices
            image[..., rows, cols] = self.pixels[..., inside.slices[0], inside.slices[1]]
        days = [0 if time is None else int(time.astype("datetime64[D]").astype(int)) for time in self.times]
        return Block(image, np.isfinite(image).all(axis=1), np.array(days, dtype=np.int32))

    def read_intact(self, window: Window):
        return read_around_damage(self, window)

    def select(self, channels):
        return self


def make_stack(height, width, channels=3, seed=0, frames=1, **keywords):
    generator = np.random.default_rng(seed)
    coarse = generator.random((frames, channels, height // 7 + 2, width // 7 + 2))
    smooth = np.repeat(np.repeat(coarse, 7, axis=2), 7, axis=3)[..., :height, :width]
    pixels = (smooth + 0.1 * generator.standard_normal(smooth.shape)).astype(np.float32)
    days = np.datetime64("2024-06-01T10:00:00", "ns") + np.arange(frames) * np.timedelta64(10, "D")
    return ArrayStack(pixels, keywords.pop("geobox", grid(height, width)), tuple(days), **keywords)


def blur(image, radius):
    """Mean over a square around each pixel of the last two axes, zero outside: what a network's context is."""
    total = np.zeros_like(image)
    padded = np.pad(image, [(0, 0)] * (image.ndim - 2) + [(radius, radius)] * 2)
    size = 2 * radius + 1
    for dy in range(size):
        for dx in range(size):
            total += padded[..., dy : dy + image.shape[-2], dx : dx + image.shape[-1]]
    return total / np.float32(size * size)


class FakeExecutor:
    """Linear scores of each pixel and of its surroundings."""

    def __init__(self, model, backend, precision, threads):
        self.model, self.threads = model, threads
        self.backend = backend
        self.precision = "fp32" if precision == "auto" else precision

    def run(self, image, dates=None):
        self.model.calls.append(image.shape)
        clean = np.nan_to_num(image.astype(np.float32), nan=0.0, posinf=0.0)
        if self.model.spec.temporal:
            clean = clean.mean(axis=1)
        radius = self.model.radius
        around = blur(clean, radius) if radius else clean
        weights = self.model.weights["weights"]
        output = np.zeros((clean.shape[0], weights.shape[0], *clean.shape[-2:]), dtype=np.float32)
        for k in range(weights.shape[0]):
            for c in range(clean.shape[1]):
                output[:, k] += weights[k, c, 0] * clean[:, c] + weights[k, c, 1] * around[:, c]
        if self.model.constant:
            output[:] = np.arange(weights.shape[0], dtype=np.float32)[None, :, None, None] * np.float32(0.37)
        return output, around[:, 0] * np.float32(0 if self.model.constant else 1)


@dataclass(frozen=True)
class FakeDetector:
    threshold: float | None = 0.75


@dataclass
class FakeModel:
    spec: ModelSpec
    objective: object
    radius: int
    weights: dict
    calibration: object = None
    detector: object = field(default_factory=FakeDetector)
    constant: bool = False
    calls: list = field(default_factory=list)
    cells: None = None

    @property
    def card(self):
        return f"# {self.spec.name}"

    @property
    def checksum(self):
        threshold = None if self.detector is None else self.detector.threshold
        return content_checksum(self.spec, self.weights, str(threshold))

    def match(self, stack):
        return stack

    def executor(self, backend, precision, threads):
        return FakeExecutor(self, backend, precision, threads)


def make_model(channels=3, classes=4, stride=4, margin=4, temporal=False, objective=None, seed=1, **keywords):
    generator = np.random.default_rng(seed)
    objective = objective or Segmentation(Legend.from_names(NAMES[:classes]))
    weights = generator.normal(0, 6.0, (objective.n_outputs, channels, 2)).astype(np.float32)
    inputs = tuple(
        InputBand(sensor="test-camera", level="L1", band=f"B{k}", unit="1", mean=0.5, std=0.3) for k in range(channels)
    )
    spec = ModelSpec(
        name="fake-net",
        created="2024-01-01T00:00:00Z",
        kind="network",
        architecture={"name": "fake"},
        objective=objective.to_config(),
        inputs=inputs,
        temporal=temporal,
        resolution_m=10.0,
        stride=stride,
        margin=margin,
    )
    return FakeModel(spec, objective, min(margin, 4), {"weights": weights}, **keywords)


def make_regression(**keywords):
    return make_model(objective=PixelRegression(), **keywords)


def raster_bytes(folder):
    """Content of every raster of a product."""
    return {path.name: path.read_bytes() for path in sorted(Path(folder).glob("*.tif"))}


def with_pixels(stack, pixels):
    return replace(stack, pixels=pixels)
