"""Training data: cutting patches and pixels out of a stack of scenes, window by window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.core.progress import Progress, silent
from ecumene.core.window import Window
from ecumene.samples.contract import IGNORE, Part
from ecumene.samples.grids import grid_window
from ecumene.samples.labels import LabelRaster, read_part
from ecumene.samples.patch_set import PatchSet
from ecumene.samples.raster_labels import tiles
from ecumene.samples.samplers import grid_windows
from ecumene.samples.split import Split
from ecumene.samples.statistics import ChannelStatistics, channel_statistics
from ecumene.samples.targets import TargetRaster
from ecumene.scenes.contract import Block, Stack

__all__ = ["ChannelStatistics", "PatchSet", "channel_statistics", "collect_patches", "collect_pixels"]

Labels = LabelRaster | TargetRaster
_READ = 256


def collect_patches(
    stack: Stack,
    labels: Labels,
    split: Split,
    part: Part | Sequence[Part],
    *,
    patch_size: int,
    stride: int | None = None,
    max_patches: int | None = None,
    seed: int = 0,
    context: Literal["mask", "blank"] = "mask",
    progress: Progress = silent,
) -> PatchSet:
    """Cut patches that hold labels of a part of the split.

    The label of every pixel outside of the part is -1 (NaN), so labels never leak. What the image shows there is
    decided by `context`: `mask` (default) leaves it as unlabelled context, as a network sees it when it maps;
    `blank` sets labelled pixels of other parts to NaN, for a split without any shared image content.

    Args:
        stack: Scenes on the labels' grid.
        labels: Classes or numeric targets.
        split: Made from `labels` (or from their strata).
        part: Part, or parts.
        patch_size: Side in pixels.
        stride: Step of the regular grid of patches. By default `patch_size`: then every label appears
            in exactly one patch, also where the last patches are moved back into the scene.
        max_patches: Draw at most so many, those with rare classes more likely.
        seed: For the draw.
        context: See above.
        progress: Called with patches read.

    Returns:
        The patches; a scene smaller than a patch gives one that is NaN beyond the border. Patches in
        which no labelled pixel has a finite value are left out, so that the set may be empty (N = 0).

    Raises:
        ConfigurationError: If the grids differ or an argument is out of range.
    """
    parts = _checked(stack, labels, split, part)
    if max_patches is not None and max_patches < 1:
        raise ConfigurationError("max_patches must be at least 1.")
    windows = _windows_with_labels(stack, split, parts, patch_size, stride)
    if max_patches is not None and len(windows) > max_patches:
        windows = _draw(windows, labels, split, parts, max_patches, seed)
    image, valid = _allocate(stack, len(windows), patch_size)
    shape = (len(windows), patch_size, patch_size)
    mask: NDArray[Any] = np.empty(shape, _label_dtype(labels))
    group = np.empty(shape, np.int32)
    kept: list[Window] = []
    left = np.isin(split.parts, parts)  # labels to give away; each once where patches need not overlap
    for number, window in enumerate(windows):
        inside = read_part(left, split.window, window, False)
        if not inside.any():
            continue
        if stride in (None, patch_size):
            common = window.intersect(split.window)
            assert common is not None  # it holds labels
            left[common.shift(-split.window.row, -split.window.col).slices] = False
        block = stack.read(window)
        if context == "blank":
            block = _blank(block, (split.read(window) != Part.NONE) & ~inside)
        if np.isfinite(block.image[..., inside]).any():
            position = len(kept)
            kept.append(window)
            image[position], valid[position] = _frames(block)
            mask[position] = _mask_labels(labels, window, inside)
            group[position] = np.where(inside, split.read_blocks(window), np.int32(-1))
        progress(number + 1, len(windows), "patches")
    count = len(kept)
    dates = np.tile(_days(stack), (count, 1))
    return PatchSet(image[:count], mask[:count], valid[:count], dates, group[:count], stack.channels, tuple(kept))


def collect_pixels(
    stack: Stack,
    labels: Labels,
    split: Split,
    part: Part | Sequence[Part],
    *,
    limit_per_class: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> PatchSet:
    """Cut single labelled pixels of a part of the split: a `PatchSet` with P = 1.

    Args:
        stack: Scenes on the labels' grid.
        labels: Classes or numeric targets (one class for the limit).
        split: Made from `labels` (or from their strata).
        part: Part, or parts.
        limit_per_class: Draw at most so many pixels of each class.
        seed: For the draw.
        progress: Called with tiles read.

    Returns:
        Pixels in row-major order of tiles; pixels without any finite value are left out, so that the
        set may be empty (N = 0).

    Raises:
        ConfigurationError: If the grids differ or the limit is below 1.
    """
    parts = _checked(stack, labels, split, part)
    if limit_per_class is not None and limit_per_class < 1:
        raise ConfigurationError("limit_per_class must be at least 1.")
    chosen = _chosen_pixels(labels, split, parts, limit_per_class, seed)
    todo = []
    if chosen.any():
        region = _bounds(chosen, split.window)
        todo = [tile for tile in tiles(region, _READ) if _cut(chosen, split.window, tile).any()]
    image, valid = _allocate(stack, 0, 1)
    images, valids = [image[..., 0, 0]], [valid[..., 0, 0]]
    masks: list[NDArray[Any]] = [np.empty(0, _label_dtype(labels))]
    groups = [np.empty(0, np.int32)]
    for number, tile in enumerate(todo):
        tight = _bounds(_cut(chosen, split.window, tile), tile)
        here = _cut(chosen, split.window, tight)
        frames, finite = _frames(stack.read(tight))
        pixels = np.moveaxis(frames[..., here], -1, 0)
        seen = np.isfinite(pixels).reshape(len(pixels), -1).any(axis=1)
        images.append(pixels[seen])
        valids.append(np.moveaxis(finite[..., here], -1, 0)[seen])
        masks.append(labels.read(tight)[here][seen].astype(_label_dtype(labels)))
        groups.append(split.read_blocks(tight)[here][seen])
        progress(number + 1, len(todo), "tiles")
    mask = np.concatenate(masks)
    return PatchSet(
        np.concatenate(images)[..., None, None],
        mask[:, None, None],
        np.concatenate(valids)[..., None, None],
        np.tile(_days(stack), (len(mask), 1)),
        np.concatenate(groups)[:, None, None],
        stack.channels,
    )


def _checked(stack: Stack, labels: Labels, split: Split, part: Part | Sequence[Part]) -> tuple[Part, ...]:
    parts = (part,) if isinstance(part, Part) else tuple(part)
    if not parts or Part.NONE in parts:
        raise ConfigurationError("Choose one or more of the parts TRAIN, VALIDATION, CALIBRATION and TEST.")
    if not (stack.geobox == labels.geobox == split.geobox) or split.window != labels.window:
        raise ConfigurationError("Scenes, labels and split are on different grids; make all from the stack's grid.")
    return parts


def _windows_with_labels(
    stack: Stack, split: Split, parts: tuple[Part, ...], size: int, stride: int | None
) -> list[Window]:
    wanted = split.mask(*parts)
    if not wanted.any():
        return []
    candidates = grid_windows(_bounds(wanted, split.window), grid_window(stack.geobox), size, stride)
    return [window for window in candidates if np.isin(split.read(window), parts).any()]


def _label_dtype(labels: Labels) -> type[np.float32] | type[np.int64]:
    return np.float32 if isinstance(labels, TargetRaster) else np.int64


def _bounds(mask: NDArray[np.bool_], held: Window) -> Window:
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return Window(
        held.row + int(rows[0]), held.col + int(cols[0]), int(rows[-1] - rows[0] + 1), int(cols[-1] - cols[0] + 1)
    )


def _cut(mask: NDArray[np.bool_], held: Window, window: Window) -> NDArray[np.bool_]:
    return mask[window.shift(-held.row, -held.col).slices]


def _days(stack: Stack) -> NDArray[np.int64]:
    days = [0 if time is None else int(time.astype("datetime64[D]").astype(np.int64)) for time in stack.times]
    return np.array(days, dtype=np.int64)


def _allocate(stack: Stack, count: int, size: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    frames = (len(stack.times),) if len(stack.times) > 1 else ()
    image = np.empty((count, *frames, len(stack.channels), size, size), np.float32)
    return image, np.empty((count, *frames, size, size), bool)


def _frames(block: Block) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Drop the axis of dates where there is one date."""
    if len(block.image) == 1:
        return block.image[0], block.valid[0]
    return block.image, block.valid


def _blank(block: Block, where: NDArray[np.bool_]) -> Block:
    return Block(np.where(where, np.float32(np.nan), block.image), block.valid & ~where, block.dates)


def _mask_labels(labels: Labels, window: Window, inside: NDArray[np.bool_]) -> NDArray[np.int64] | NDArray[np.float32]:
    if isinstance(labels, TargetRaster):
        return np.where(inside, labels.read(window), np.float32(np.nan))
    return np.where(inside, labels.read(window), IGNORE).astype(np.int64)


def _draw(
    windows: list[Window], labels: Labels, split: Split, parts: tuple[Part, ...], count: int, seed: int
) -> list[Window]:
    """Draw windows with probability proportional to the rarity of the classes that they hold."""
    rng = np.random.default_rng(seed)
    weights = np.ones(len(windows))
    if isinstance(labels, LabelRaster):
        held = np.zeros((len(windows), len(labels.legend)), bool)
        for number, window in enumerate(windows):
            values = labels.read(window)[np.isin(split.read(window), parts)]
            held[number, np.unique(values)] = True
        weights = (held / np.maximum(held.sum(axis=0), 1)).sum(axis=1)
    drawn = rng.choice(len(windows), count, replace=False, p=weights / weights.sum())
    return [windows[number] for number in np.sort(drawn)]


def _chosen_pixels(
    labels: Labels, split: Split, parts: tuple[Part, ...], limit: int | None, seed: int
) -> NDArray[np.bool_]:
    wanted = split.mask(*parts)
    if limit is None:
        return wanted
    rng = np.random.default_rng(seed)
    flat = np.flatnonzero(wanted)
    classes = labels.classes.reshape(-1)[flat] if isinstance(labels, LabelRaster) else np.zeros(flat.size, np.int16)
    chosen = np.zeros(wanted.size, bool)
    for index in np.unique(classes):
        pixels = flat[classes == index]
        chosen[pixels if pixels.size <= limit else rng.choice(pixels, limit, replace=False)] = True
    return chosen.reshape(wanted.shape)
