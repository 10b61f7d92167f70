"""Divides images with one answer each into training, validation, calibration and test parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.samples.contract import IGNORE, Part

SplitKind = Literal["official", "random", "spatial"]
HELD_BACK = 0.1
"""Share of the images that may be learned from which stops the training, and as much which calibrates."""
FEWEST_PLACES = {"official": 8, "random": 8, "spatial": 2}
"""Places from which on validation and calibration take whole places, by the kind of split.

With fewer they would be a place or two, which stands for nothing; a spatial split accepts that for its independence."""


def split_scenes(
    label: NDArray[np.integer] | NDArray[np.float32],
    group: NDArray[np.integer],
    kind: SplitKind,
    *,
    train_share: float = 0.8,
    official: Mapping[str, NDArray[np.int8]] | None = None,
    name: str = "",
    seed: int = 0,
) -> NDArray[np.int8]:
    """Return the part of each image.

    The test part is what an official split says; or what is left of each class after a share for training was drawn
    (`random`); or what is left of the places (`spatial`). Validation and calibration parts are always taken from the
    images that may be learned from, whole places where there are enough, unless an official split has them.

    Args:
        label: As in `SceneSet`.
        group: int `[N]`: place of an image.
        kind: See above.
        train_share: Share of the images that is not the test part.
        official: Official splits by name.
        name: Which of them; empty: the first.
        seed: Of the draws.

    Returns:
        int8 `[N]`, a `Part` each; unlabelled images are in none.

    Raises:
        ConfigurationError: If the split is not there, or the share is none.
        LabelError: If a part that learning needs would be empty.
    """
    if not 0.0 < train_share < 1.0:
        raise ConfigurationError(f"The share of images to learn from is between 0 and 1, not {train_share}.")
    generator = np.random.default_rng([seed, 20_261])
    strata = _strata(label)
    known = strata >= 0
    if kind == "official":
        parts = _official(official or {}, name, len(strata)).copy()
        parts[~known] = Part.NONE
    else:
        places = np.asarray(group) if kind == "spatial" else np.arange(len(strata))
        if kind == "spatial" and len(np.unique(places[known])) < 3:
            raise LabelError(
                "A spatial split needs images of three places or more; use --split random, or data that say where "
                "their images lie."
            )
        test = draw_groups(strata, places, 1.0 - train_share, known, generator)
        parts = np.where(known, np.where(test, Part.TEST, Part.TRAIN), Part.NONE).astype(np.int8)
    for part in (Part.VALIDATION, Part.CALIBRATION):
        if not (parts == part).any():
            _hold_back(parts, part, strata, np.asarray(group), FEWEST_PLACES[kind], generator)
    for part in (Part.TRAIN, Part.VALIDATION, Part.TEST):
        if not (parts == part).any():
            raise LabelError(
                f"No image is left for {part.name.lower()}; give more images or another share (--train-share)."
            )
    return parts


def _strata(label: NDArray[np.integer] | NDArray[np.float32]) -> NDArray[np.int64]:
    """Return by what draws are balanced: the class, the rarest label that an image has, or a number's quintile."""
    if label.dtype.kind == "f":
        finite = np.isfinite(label)
        edges = np.quantile(label[finite], [0.2, 0.4, 0.6, 0.8]) if finite.any() else np.zeros(4)
        return np.where(finite, np.searchsorted(edges, np.where(finite, label, 0.0)), -1).astype(np.int64)
    if label.ndim == 1:
        return np.where(label == IGNORE, -1, label).astype(np.int64)
    count = np.where((label == 1).any(axis=0), (label == 1).sum(axis=0), len(label) + 1)
    rarest = np.where(label == 1, count[None, :], len(label) + 2).argmin(axis=1)
    rarest = np.where((label == 1).any(axis=1), rarest, label.shape[1])
    return np.where((label == IGNORE).all(axis=1), -1, rarest).astype(np.int64)


def draw_groups(
    strata: NDArray[np.int64],
    group: NDArray[np.integer],
    share: float,
    among: NDArray[np.bool_],
    generator: np.random.Generator,
) -> NDArray[np.bool_]:
    """Draw whole groups until they hold about a share of the images, of each stratum alike.

    Groups are shuffled, ordered by the stratum that most of their images have, and passed through once: each adds its
    share to a running debt, and is drawn where that reaches half of its images (error diffusion, which keeps the share
    in images along the whole order). At least one group is drawn and one left.

    Args:
        strata: `[N]`.
        group: `[N]`.
        share: Of the images.
        among: Bool `[N]`: images that may be drawn.
        generator: Randomness.

    Returns:
        Bool `[N]`.
    """
    names, inverse = np.unique(group[among], return_inverse=True)
    if len(names) < 2:
        return np.zeros(len(strata), bool)
    table = np.zeros((len(names), int(strata[among].max()) + 1), np.int64)
    np.add.at(table, (inverse, strata[among]), 1)
    shuffled = generator.permutation(len(names))
    order = shuffled[np.argsort(table[shuffled].argmax(axis=1), kind="stable")]
    sizes = table[order].sum(axis=1)
    drawn = np.zeros(len(names), bool)
    debt = (generator.random() - 0.5) * float(np.median(sizes))
    for place, size in enumerate(sizes):
        debt += float(size) * share
        if debt >= 0.5 * size:
            drawn[place] = True
            debt -= float(size)
    if not drawn.any():
        drawn[int(np.argmin(np.abs(sizes - share * sizes.sum())))] = True
    if drawn.all():
        drawn[int(np.argmin(np.abs(sizes - (1.0 - share) * sizes.sum())))] = False
    chosen = np.zeros(len(names), bool)
    chosen[order] = drawn
    result = np.zeros(len(strata), bool)
    result[among] = chosen[inverse]
    return result


def _official(splits: Mapping[str, NDArray[np.int8]], name: str, count: int) -> NDArray[np.int8]:
    if not splits:
        raise ConfigurationError("This data set has no official split; use --split random or --split spatial.")
    chosen = name or next(iter(splits))
    if chosen not in splits:
        raise ConfigurationError(f"There is no official split {chosen!r}; there are: {', '.join(splits)}.")
    parts = np.asarray(splits[chosen], np.int8)
    assert parts.shape == (count,)
    if not (parts == Part.TEST).any() and (parts == Part.VALIDATION).any():
        # Some publishers keep the test labels: then the validation part is measured on, and another one stops.
        parts = np.where(parts == Part.VALIDATION, Part.TEST, parts).astype(np.int8)
    return parts


def _hold_back(
    parts: NDArray[np.int8],
    part: Part,
    strata: NDArray[np.int64],
    group: NDArray[np.integer],
    fewest: int,
    generator: np.random.Generator,
) -> None:
    """Move a share of the training part to another part, in place."""
    among = parts == Part.TRAIN
    if not among.any():
        return
    whole = len(np.unique(group[among])) >= fewest
    places = group if whole else np.arange(len(parts))
    parts[draw_groups(strata, places, HELD_BACK, among, generator)] = part
