"""What a model says at labels that it has not learned from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.core.files import sha256_of
from ecumene.core.progress import Progress
from ecumene.core.window import Window
from ecumene.explanation.windows import context_window, tiles_of
from ecumene.models.bundle import Model
from ecumene.objectives import Members, NumericObjective
from ecumene.samples.contract import Part
from ecumene.samples.grids import pixel_size_m
from ecumene.samples.labels import LabelRaster, read_labels
from ecumene.samples.split import choose_block_size, split_blocks
from ecumene.samples.targets import TargetRaster
from ecumene.scenes.contract import Stack
from ecumene.workflows.regression import read_number

Float = NDArray[np.float32]
Origin = Literal["held out", "other file", "training"]
TILE = 128


@dataclass(frozen=True)
class HonestLabels:
    """Labels to judge a model by.

    Attributes:
        raster: All labels of the file on the grid.
        use: bool, shape of `raster.classes`: pixels to judge by.
        block: int32, same shape: pixels of one block are not independent; -1 where not used.
        origin: `held out`: the test part of the training's own split; `other file`: labels that the training did not
            read; `training`: the split could not be repeated, so that the model may have learned from them.
        sentence: What that means.
        numbers: The numbers, for a model of a number; `raster` then has quantile classes of them.
    """

    raster: LabelRaster
    use: NDArray[np.bool_]
    block: NDArray[np.int32]
    origin: Origin
    sentence: str
    numbers: TargetRaster | None = None


def honest_labels(model: Model, path: str | Path, field: str | None, stack: Stack) -> HonestLabels:
    """Read labels and leave out those that the model has learned from, was stopped or calibrated by.

    The training's file is recognised by its checksum; its split is repeated from what the model states, and proven by
    the number of pixels of each part. The file of held-out labels that the training wrote is recognised likewise, and
    all of it is used.

    Args:
        model: A model of classes or of one number.
        path: Vector file or raster.
        field: Column; None: `class`, or the name of the model's number.
        stack: The matched scenes.

    Raises:
        ConfigurationError: If the model predicts neither.
        LabelError: If the labels overlap nothing, have unknown classes, or none is left.
    """
    raster, numbers = _read_known(model, path, field, stack)
    labelled = raster.classes >= 0
    training = model.spec.training
    digest = sha256_of(path) if Path(path).is_file() else None
    if digest is not None and digest == (training.get("holdout") or {}).get("sha256"):
        text = (
            f"Judged on the {int(labelled.sum())} labelled pixels of {Path(path).name}, which the training held out "
            "for testing and wrote there."
        )
        return HonestLabels(raster, labelled, _stated_blocks(path, raster, stack), "held out", text, numbers)
    if digest is None or (training.get("labels") or {}).get("sha256") != digest:
        text = (
            f"{Path(path).name} is not the file that the model was trained from; if the model has learned from any of "
            "these labels, the figures are too good."
        )
        return HonestLabels(raster, labelled, _blocks(raster), "other file", text, numbers)
    test = _test_part(raster, training.get("split") or {})
    if test is None:
        text = (
            "The model was trained from these labels, and its split cannot be repeated on these scenes: the figures "
            "are too good; give labels that the training did not read."
        )
        return HonestLabels(raster, labelled, _blocks(raster), "training", text, numbers)
    if not (test >= 0).any():
        raise LabelError(
            f"The model has learned from all labels of {Path(path).name} in these scenes, so that none is left to "
            "judge it by; give other --labels."
        )
    excluded = int(labelled.sum() - (test >= 0).sum())
    text = (
        f"Judged on the {int((test >= 0).sum())} labelled pixels that the training held out for testing; {excluded} "
        "others of the same file were left out, because the model has learned from them or was calibrated by them."
    )
    return HonestLabels(raster, test >= 0, test, "held out", text, numbers)


def number_of(model: Model) -> NumericObjective | None:
    """Return the objective of a model of numbers (that of a member, where it has members), else None."""
    base = model.objective.base if isinstance(model.objective, Members) else model.objective
    return base if isinstance(base, NumericObjective) else None


def _read_known(
    model: Model, path: str | Path, field: str | None, stack: Stack
) -> tuple[LabelRaster, TargetRaster | None]:
    """Return labels of classes, or quantile classes of numbers with the numbers."""
    legend, number = model.objective.legend, number_of(model)
    if legend is not None and model.objective.unit_of_work == "pixel":
        return read_labels(path, field or "class", stack.geobox, legend=legend), None
    if number is None or len(number.targets) != 1:
        raise ConfigurationError(
            f"The model {model.spec.name} maps neither classes nor one number; the trust report judges maps of those."
        )
    target = read_number(path, field or number.targets[0], stack.geobox)
    return target.strata(), target


def _stated_blocks(path: str | Path, raster: LabelRaster, stack: Stack) -> NDArray[np.int32]:
    """Return the blocks that a file of held-out points states in its column `block`."""
    try:
        stated = read_number(path, "block", stack.geobox).read(raster.window)
    except LabelError:
        return _blocks(raster)
    known = np.isfinite(stated) & (raster.classes >= 0)
    if not known[raster.classes >= 0].all():
        return _blocks(raster)
    return np.where(known, np.nan_to_num(stated), -1).astype(np.int32)


def _test_part(raster: LabelRaster, stated: dict[str, Any]) -> NDArray[np.int32] | None:
    """Return the block of each test pixel of the training's split, -1 elsewhere; None if it cannot be repeated."""
    group = stated.get("group")
    if group not in ("block", "feature") or stated.get("seed") is None:
        return None
    try:
        split = split_blocks(
            raster,
            block_size_m=stated.get("block_size_m"),
            buffer_m=float(stated.get("buffer_m") or 0.0),
            seed=int(stated["seed"]),
            group="block" if group == "block" else "feature",
        )
    except (LabelError, ConfigurationError):
        return None
    if split.summary()["pixels"] != stated.get("pixels"):
        return None
    return np.where(split.mask(Part.TEST), split.block_id, np.int32(-1)).astype(np.int32)


def _blocks(raster: LabelRaster) -> NDArray[np.int32]:
    height, width = pixel_size_m(raster.geobox)
    side = choose_block_size(raster)
    down, across = max(1, round(side / height)), max(1, round(side / width))
    rows, cols = np.mgrid[: raster.classes.shape[0], : raster.classes.shape[1]]
    numbers = (rows + raster.window.row) // down * 100_003 + (cols + raster.window.col) // across
    return np.where(raster.classes >= 0, numbers, -1).astype(np.int32)


@dataclass(frozen=True)
class PixelResults:
    """What a model says at pixels.

    Attributes:
        before: Class probabilities before calibration `[N, K]`.
        after: After it.
        uncertainty: As the map writes it `[N]`.
        score: Outlier score `[N]`, larger is stranger.
        target: True class `[N]`, -1 where nobody knows.
        block: Block `[N]`.
        decided: Class that the map shows `[N]`.
    """

    before: NDArray[np.float64]
    after: NDArray[np.float64]
    uncertainty: NDArray[np.float64]
    score: NDArray[np.float64]
    target: NDArray[np.int64]
    block: NDArray[np.int64]
    decided: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.target)


class Asker:
    """Runs a model on windows of a stack, with the context that it needs.

    Args:
        model: The model.
        stack: The matched scenes.
        threads: Threads of one run.
    """

    def __init__(self, model: Model, stack: Stack, threads: int | None = None) -> None:
        self.model, self.stack = model, stack
        self.executor = model.executor("torch", "fp32", threads)
        self.bare = model.with_trust().executor("torch", "fp32", threads)

    def read(self, window: Window) -> tuple[Float, Float | None, NDArray[np.bool_], tuple[slice, slice]]:
        """Return (image batch, dates batch, valid `[h, w]` of the window, slices of the window in the image)."""
        spec = self.model.spec
        wide = context_window(window, spec.stride, spec.margin)
        block = self.stack.read(wide)
        inner = window.shift(-wide.row, -wide.col).slices
        valid: NDArray[np.bool_] = np.asarray(block.valid.any(axis=0))[inner]
        if spec.temporal:
            return block.image[None], block.dates[None].astype(np.float32), valid, inner
        return block.image[:1], None, valid, inner

    def predict(self, window: Window) -> tuple[dict[str, Float], Float, NDArray[np.bool_], Float]:
        """Return (layers `[bands, h, w]` by name, score `[h, w]`, valid `[h, w]`, image `[T, C, h, w]`)."""
        image, dates, valid, inner = self.read(window)
        output, score = self.executor.run(image, dates)
        prediction = self.model.objective.predict(output)
        layers = {name: np.asarray(found)[0][(slice(None), *inner)] for name, found in prediction.layers.items()}
        pixels = image[0] if dates is not None else image
        return layers, score[0][inner], valid, pixels[(..., *inner)]

    def uncalibrated(self, window: Window) -> Float:
        """Return the class probabilities before calibration, `[K, h, w]`."""
        image, dates, _, inner = self.read(window)
        output, _ = self.bare.run(image, dates)
        found: Float = np.asarray(self.model.objective.predict(output).layers["probability"], np.float32)
        return np.asarray(found[0][(slice(None), *inner)])


def labelled_tiles(labels: HonestLabels) -> list[tuple[Window, tuple[slice, slice]]]:
    """Return tiles with labels to judge by, each with its place in the arrays of `labels`."""
    held = labels.raster.window
    places = [(tile, tile.shift(-held.row, -held.col).slices) for tile in tiles_of(held, TILE)]
    return [(tile, place) for tile, place in places if labels.use[place].any()]


def results_at(asker: Asker, labels: HonestLabels, progress: Progress, *, limit: int = 200_000) -> PixelResults:
    """Run the model where there are labels to judge by.

    Args:
        asker: Model and scenes.
        labels: The labels.
        progress: Called with tiles done.
        limit: Most pixels, drawn at random.

    Raises:
        LabelError: If no label lies on valid data.
    """
    tiles = labelled_tiles(labels)
    found: list[tuple[NDArray[Any], ...]] = []
    for number, (tile, place) in enumerate(tiles):
        layers, score, valid, _ = asker.predict(tile)
        use = labels.use[place] & valid
        before = asker.uncalibrated(tile)
        columns = (before, layers["probability"], layers["uncertainty"])
        found.append(
            (
                *(np.moveaxis(column, 0, -1)[use].astype(np.float64) for column in columns),
                score[use].astype(np.float64),
                labels.raster.classes[place][use].astype(np.int64),
                labels.block[place][use].astype(np.int64),
            )
        )
        progress(number + 1, len(tiles), "labels")
    joined: list[NDArray[Any]] = [np.concatenate(parts) for parts in zip(*found, strict=True)]
    if not joined or len(joined[0]) == 0:
        raise LabelError("No label to judge by lies on valid data of the scenes (nodata or cloud); give other labels.")
    if len(joined[0]) > limit:
        keep = np.sort(np.random.default_rng(0).choice(len(joined[0]), limit, replace=False))
        joined = [part[keep] for part in joined]
    numbers = [part.astype(np.float64) for part in joined[:4]]
    target, block = (part.astype(np.int64) for part in joined[4:])
    decided = np.asarray(asker.model.objective.decide(numbers[1]), np.int64)
    return PixelResults(numbers[0], numbers[1], numbers[2][:, 0], numbers[3], target, block, decided)


def spread_tiles(stack: Stack, side: int, most: int) -> tuple[list[Window], bool]:
    """Return tiles of a scene, at most `most` evenly spread ones, and whether they are all."""
    height, width = stack.geobox.shape
    tiles = tiles_of(Window(0, 0, int(height), int(width)), side)
    if len(tiles) <= most:
        return tiles, True
    chosen = np.unique(np.linspace(0, len(tiles) - 1, most).round().astype(int))
    return [tiles[number] for number in chosen], False
