"""Leakage-safe splits: whole blocks or whole polygons go to one part, with a buffer between parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.core.window import Window
from ecumene.samples.assignment import best_assignments
from ecumene.samples.buffers import separate
from ecumene.samples.contract import Part
from ecumene.samples.grids import crs_of, pixel_size_m
from ecumene.samples.labels import LabelRaster, read_part

if TYPE_CHECKING:
    import geopandas

_PARTS = (Part.TRAIN, Part.VALIDATION, Part.CALIBRATION, Part.TEST)
# Who gets a class that has too few blocks for all parts.
_CLASS_ORDER = np.array([0, 3, 2, 1])
# Who keeps its pixels at a border: training has the most to give.
_KEEP_ORDER = (Part.TEST, Part.CALIBRATION, Part.VALIDATION, Part.TRAIN)
_SMALLEST_BLOCK_PIXELS = 8
_WORK_PIXELS = 2_000_000

Group = Literal["block", "feature", "given"]


@dataclass(frozen=True)
class Split:
    """Which part each labelled pixel belongs to.

    Attributes:
        window: As the labels' window.
        parts: uint8 `[h, w]` of `Part`; NONE where unlabelled or in the buffer.
        block_id: int32 `[h, w]`: block or feature of a labelled pixel, -1 elsewhere. Use it as the
            group of pixels that are not independent.
        geobox: The whole grid.
        group: What was kept together.
        block_size_m: Side of a block, None for features and given splits.
        buffer_m: Smallest distance between labelled pixels of different parts.
        seed: Seed of the assignment, None for a given split.
        counts: int64 `[5, classes]`: pixels of each part (row = `Part` value) and class; row 0 counts
            the pixels lost to the buffer.
        missing: Names of classes that occur in the labels but not in a part.
    """

    window: Window
    parts: NDArray[np.uint8]
    block_id: NDArray[np.int32]
    geobox: GeoBox
    group: Group
    block_size_m: float | None
    buffer_m: float
    seed: int | None
    counts: NDArray[np.int64]
    missing: dict[Part, tuple[str, ...]]

    def mask(self, *parts: Part) -> NDArray[np.bool_]:
        """Return bool `[h, w]`, True in any of the parts."""
        return np.isin(self.parts, [int(part) for part in parts])

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Return the parts of any window of the grid; NONE outside."""
        return read_part(self.parts, self.window, window, int(Part.NONE))

    def read_blocks(self, window: Window) -> NDArray[np.int32]:
        """Return the block ids of any window of the grid; -1 outside."""
        return read_part(self.block_id, self.window, window, -1)

    def summary(self) -> dict[str, Any]:
        """Return JSON-able facts for provenance."""
        return {
            "group": self.group,
            "block_size_m": self.block_size_m,
            "buffer_m": self.buffer_m,
            "seed": self.seed,
            "pixels": {part.name.lower(): int(self.counts[part].sum()) for part in _PARTS},
            "buffer_pixels": int(self.counts[Part.NONE].sum()),
            "missing": {part.name.lower(): list(names) for part, names in self.missing.items() if names},
        }

    def to_vector(self) -> geopandas.GeoDataFrame:
        """Return polygons of connected labelled pixels with the columns `part` and `block_id`."""
        import geopandas
        from rasterio.features import shapes
        from shapely.geometry import shape

        affine = self.geobox.affine * self.geobox.affine.translation(self.window.col, self.window.row)
        rows = []
        for part in _PARTS:
            here = self.parts == part
            for polygon, block in shapes(self.block_id, mask=here, transform=affine):
                rows.append({"part": part.name.lower(), "block_id": int(block), "geometry": shape(polygon)})
        return geopandas.GeoDataFrame(rows, columns=["part", "block_id", "geometry"], crs=crs_of(self.geobox))


def split_blocks(
    labels: LabelRaster,
    *,
    block_size_m: float | None = None,
    buffer_m: float = 0.0,
    fractions: Sequence[float] = (0.5, 0.15, 0.15, 0.2),
    seed: int = 0,
    group: Literal["block", "feature"] = "block",
) -> Split:
    """Split labels into training, validation, calibration and test.

    Blocks are squares of the grid counted from its origin; all labelled pixels of a block (or of a
    feature) go to one part. The assignment balances classes and is the best of several seeded tries.
    Parts are disjoint by construction; with `buffer_m` labelled pixels of different parts are at
    least so far apart (pixels that are closer are dropped, from the training part first unless it
    would lose a class).

    Without `block_size_m` the block is the largest of extent/4, extent/8, ... for which the classes
    are spread over nearly as many blocks as smaller blocks would reach (at most 8 a class count: two
    for each part), never below 8 pixels or four times the buffer.

    Args:
        labels: At least one labelled pixel.
        block_size_m: Side of a block in metres on the ground.
        buffer_m: Distance in metres, between pixel centres.
        fractions: Wanted shares of labelled pixels for TRAIN, VALIDATION, CALIBRATION, TEST.
        seed: The same seed gives the same split.
        group: `block`, or `feature` to keep whole polygons (few polygons, spread out).

    Returns:
        The split; `missing` names the classes that a part lacks.

    Raises:
        ConfigurationError: If an argument is out of range.
        LabelError: If there are fewer blocks (features) than parts asked for.
    """
    shares = _checked_shares(fractions, buffer_m, block_size_m)
    units, size_m = _units_of(labels, group, block_size_m, buffer_m, 2 * int((shares > 0).sum()))
    numbers, inverse = np.unique(units[units >= 0], return_inverse=True)
    if len(numbers) < (shares > 0).sum():
        kind = "blocks" if group == "block" else "features"
        advice = "choose a smaller block size, or keep whole features" if group == "block" else "use blocks"
        raise LabelError(
            f"The labels fall into {len(numbers)} {kind}, fewer than the {(shares > 0).sum()} parts to fill; {advice}, "
            "or label more places."
        )
    counts = _count(inverse, labels.classes[units >= 0], len(numbers), len(labels.legend))
    rng = np.random.default_rng(seed)
    options = best_assignments(counts, shares, _CLASS_ORDER, rng)
    pixel_m = pixel_size_m(labels.geobox)
    best: Split | None = None
    # With a buffer the pixels that remain decide; only small label windows can afford to compare many.
    for assigned in options[: int(np.clip(_WORK_PIXELS // labels.classes.size, 1, 8)) if buffer_m > 0 else 1]:
        parts = np.zeros(labels.classes.shape, np.uint8)
        parts[units >= 0] = (assigned + 1).astype(np.uint8)[inverse]
        for order in (_KEEP_ORDER, _KEEP_ORDER[::-1]):
            split = make_split(labels, parts, units, group, size_m, buffer_m, seed, pixel_m, shares, order)
            if best is None or _loss(split) < _loss(best):
                best = split
            if not split.missing[Part.TRAIN]:
                break  # only a class that training lost to the buffer makes it keep its pixels
    assert best is not None  # best_assignments gives at least one
    return best


def fold_blocks(
    labels: LabelRaster,
    n_folds: int,
    *,
    block_size_m: float | None = None,
    buffer_m: float = 0.0,
    seed: int = 0,
    group: Literal["block", "feature"] = "block",
) -> list[Split]:
    """Return the splits of a spatial cross-validation.

    In split i fold i is TEST, the next fold CALIBRATION, the one after VALIDATION, the others TRAIN;
    so each labelled pixel is in TEST once (but for the buffer).

    Args:
        labels: The labels.
        n_folds: At least 4.
        block_size_m: See `split_blocks`.
        buffer_m: See `split_blocks`.
        seed: See `split_blocks`.
        group: See `split_blocks`.

    Raises:
        ConfigurationError: If there are fewer than 4 folds.
        LabelError: If there are fewer blocks than folds.
    """
    if n_folds < 4:
        raise ConfigurationError(
            "Cross-validation needs at least 4 folds: one each to test, calibrate and validate, and one to train."
        )
    _checked_shares((1, 0, 0, 0), buffer_m, block_size_m)
    units, size_m = _units_of(labels, group, block_size_m, buffer_m, 2 * n_folds)
    numbers, inverse = np.unique(units[units >= 0], return_inverse=True)
    if len(numbers) < n_folds:
        raise LabelError(f"The labels fall into {len(numbers)} {group}s, fewer than the {n_folds} folds to fill.")
    counts = _count(inverse, labels.classes[units >= 0], len(numbers), len(labels.legend))
    shares = np.full(n_folds, 1 / n_folds)
    assigned = best_assignments(counts, shares, np.arange(n_folds), np.random.default_rng(seed))[0]
    pixel_m = pixel_size_m(labels.geobox)
    splits = []
    for fold in range(n_folds):
        role = np.full(n_folds, int(Part.TRAIN), np.uint8)
        for offset, part in ((0, Part.TEST), (1, Part.CALIBRATION), (2, Part.VALIDATION)):
            role[(fold + offset) % n_folds] = int(part)
        parts = np.zeros(labels.classes.shape, np.uint8)
        parts[units >= 0] = role[assigned][inverse]
        splits.append(make_split(labels, parts, units, group, size_m, buffer_m, seed, pixel_m, np.ones(4)))
    return splits


def split_given(
    labels: LabelRaster, path: Path | str, field: str, *, buffer_m: float = 0.0, layer: str | None = None
) -> Split:
    """Split labels by polygons (or the labels' own features) that name their part.

    Args:
        labels: The labels.
        path: Vector file, any coordinate system.
        field: Text column with `train`, `validation` (`val`), `calibration` (`cal`) or `test`; other
            rows with null are skipped.
        buffer_m: See `split_blocks`.
        layer: Layer of a file with several.

    Returns:
        The split; labelled pixels under no polygon, or under polygons of different parts, are NONE.

    Raises:
        LabelError: If a part's name is unknown or no label falls into any polygon.
    """
    from ecumene.legends import Legend
    from ecumene.samples.vector_labels import burn_features
    from ecumene.samples.vectors import read_features

    _checked_shares((1, 0, 0, 0), buffer_m, None)
    names = {"train": 0, "training": 0, "validation": 1, "val": 1, "calibration": 2, "cal": 2, "test": 3}
    frame = read_features(path, [field], labels.geobox, layer=layer, what="parts").frame
    written = [str(item).strip().lower() for item in frame[field]]
    if unknown := sorted(set(written) - set(names)):
        raise LabelError(
            f"The field {field!r} names parts that do not exist: {', '.join(unknown)}; use train, validation, "
            "calibration or test."
        )
    legend = Legend.from_names([part.name for part in _PARTS], name="parts")
    indices = np.array([names[item] for item in written], dtype=np.int64)
    burned = (
        burn_features(list(frame.geometry), indices, np.arange(len(frame)), labels.window, labels.geobox, legend)
        if len(frame)
        else None
    )
    labelled = labels.classes >= 0
    if burned is None or not (labelled & (burned.classes >= 0)).any():
        raise LabelError(f"No labelled pixel lies in a polygon of {Path(path).name}; check that they overlap.")
    parts = np.where(labelled, burned.classes + 1, 0).astype(np.uint8)
    units = np.where(parts > 0, burned.feature_id, np.int32(-1))
    return make_split(labels, parts, units, "given", None, buffer_m, None, pixel_size_m(labels.geobox), np.ones(4))


def make_split(
    labels: LabelRaster,
    parts: NDArray[np.uint8],
    units: NDArray[np.int32],
    group: Group,
    block_size_m: float | None,
    buffer_m: float,
    seed: int | None,
    pixel_m: tuple[float, float],
    shares: NDArray[np.floating],
    order: tuple[Part, ...] = _KEEP_ORDER,
) -> Split:
    """Apply the buffer to `parts`, later parts of `order` giving way, and count what is left."""
    kept = separate(parts, tuple(int(part) for part in order), buffer_m, pixel_m)
    n_classes = len(labels.legend)
    labelled = labels.classes >= 0
    code = kept[labelled].astype(np.int64) * n_classes + labels.classes[labelled]
    counts = np.bincount(code, minlength=5 * n_classes).reshape(5, n_classes)
    occurs = counts.sum(axis=0) > 0
    missing = {
        part: tuple(
            name
            for name, some, here in zip(labels.legend.names, occurs, counts[part] > 0, strict=True)
            if some and not here
        )
        for part, share in zip(_PARTS, shares, strict=True)
        if share > 0
    }
    blocks = np.where(kept > 0, units, np.int32(-1)).astype(np.int32)
    return Split(labels.window, kept, blocks, labels.geobox, group, block_size_m, buffer_m, seed, counts, missing)


def _loss(split: Split) -> tuple[int, int, int]:
    # A class that training never sees is worse than one that a held-out part cannot judge.
    missing = sum(len(names) for names in split.missing.values())
    return len(split.missing[Part.TRAIN]), missing, int(split.counts[Part.NONE].sum())


def _checked_shares(fractions: Sequence[float], buffer_m: float, block_size_m: float | None) -> NDArray[np.float64]:
    shares = np.asarray(fractions, dtype=np.float64)
    if shares.shape != (4,) or (shares < 0).any() or not np.isfinite(shares).all() or shares[0] <= 0:
        raise ConfigurationError(
            "The fractions of a split are four numbers for training, validation, calibration and test, none "
            "negative and the first positive."
        )
    if not (np.isfinite(buffer_m) and buffer_m >= 0):
        raise ConfigurationError("The buffer between the parts of a split must be 0 m or more.")
    if block_size_m is not None and not (np.isfinite(block_size_m) and block_size_m > 0):
        raise ConfigurationError("The block size of a split must be more than 0 m.")
    normalised: NDArray[np.float64] = shares / shares.sum()
    return normalised


def _units_of(
    labels: LabelRaster, group: str, block_size_m: float | None, buffer_m: float, wanted: int
) -> tuple[NDArray[np.int32], float | None]:
    """Return the unit of each labelled pixel (-1 elsewhere) and the block's side."""
    labelled = labels.classes >= 0
    if not labelled.any():
        raise LabelError("There are no labelled pixels to split.")
    if group == "feature":
        if (labels.feature_id[labelled] < 0).any():
            raise LabelError("These labels have no features to keep together; split them by blocks.")
        return np.where(labelled, labels.feature_id, np.int32(-1)), None
    if group != "block":
        raise ConfigurationError(f"A split groups pixels by 'block' or 'feature', not by {group!r}.")
    size = block_size_m if block_size_m is not None else choose_block_size(labels, buffer_m, wanted)
    return _block_ids(labels, size), size


def choose_block_size(labels: LabelRaster, buffer_m: float = 0.0, wanted: int = 8) -> float:
    """Return the block side in metres that `split_blocks` takes by itself; see there.

    Args:
        labels: The labels.
        buffer_m: Distance between parts.
        wanted: Blocks of a class beyond this number count for nothing.
    """
    height, width = pixel_size_m(labels.geobox)
    smallest = max(_SMALLEST_BLOCK_PIXELS * max(height, width), 4 * buffer_m)
    size = max(labels.window.height * height, labels.window.width * width) / 4
    sizes = [max(size, smallest)]
    while sizes[-1] / 2 >= smallest:
        sizes.append(sizes[-1] / 2)
    places = np.nonzero(labels.classes >= 0)
    scores = []
    for candidate in sizes:
        blocks = _blocks_at(labels, candidate, *places).astype(np.int64)
        pairs = np.unique(blocks * len(labels.legend) + labels.classes[places])
        spread = np.bincount(pairs % len(labels.legend), minlength=len(labels.legend))
        scores.append(int(np.minimum(spread, wanted).sum()))
    enough = [score >= 0.9 * max(scores) for score in scores]
    return float(sizes[enough.index(True)])


def _block_ids(labels: LabelRaster, size_m: float) -> NDArray[np.int32]:
    ids = np.full(labels.classes.shape, -1, np.int32)
    places = np.nonzero(labels.classes >= 0)
    ids[places] = _blocks_at(labels, size_m, *places)
    return ids


def _blocks_at(
    labels: LabelRaster, size_m: float, rows: NDArray[np.integer], cols: NDArray[np.integer]
) -> NDArray[np.int32]:
    """Return the block of pixels given by row and column of the labels' window."""
    height, width = pixel_size_m(labels.geobox)
    down, across = max(1, round(size_m / height)), max(1, round(size_m / width))
    per_row = int(labels.geobox.width) // across + 1
    blocks = (rows + labels.window.row) // down * per_row + (cols + labels.window.col) // across
    return blocks.astype(np.int32)


def _count(
    inverse: NDArray[np.integer], classes: NDArray[np.integer], n_units: int, n_classes: int
) -> NDArray[np.int64]:
    code = inverse.astype(np.int64) * n_classes + classes
    return np.bincount(code, minlength=n_units * n_classes).reshape(n_units, n_classes)
