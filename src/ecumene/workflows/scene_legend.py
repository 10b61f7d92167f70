"""A data set's images with classes of another legend than their publisher's."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import LabelError
from ecumene.legends import Legend
from ecumene.models.bundle import Model
from ecumene.samples.contract import IGNORE
from ecumene.samples.datasets import DataSet
from ecumene.workflows.crosswalk_choice import find_crosswalk


@dataclass(frozen=True)
class Restated:
    """A data set in another legend.

    Attributes:
        data: With the classes that its own ones become; images whose class becomes none have no label.
        classes: Class in the other legend of each own class, None where it has no counterpart.
        origin: Where the correspondence comes from.
        left_out: Images without a counterpart, by own class.
    """

    data: DataSet
    classes: dict[str, str | None]
    origin: str
    left_out: dict[str, int]

    @property
    def note(self) -> str:
        """One sentence about what was left out, empty where nothing was."""
        if not self.left_out:
            return ""
        listed = ", ".join(f"{name}: {count}" for name, count in self.left_out.items())
        what = "labels of images" if np.asarray(self.data.label).ndim == 2 else "images"
        return (
            f"{sum(self.left_out.values())} {what} were left out, because their class has no counterpart in "
            f"{self.data.legend.name} ({listed})."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return what the model card says of it."""
        return {
            "name": self.data.legend.name,
            "classes": self.classes,
            "origin": self.origin,
            "left_out": self.left_out,
        }


def restate(
    data: DataSet, legend: str | None, crosswalk: str | Path | None = None, source: str | None = None
) -> Restated:
    """Return a data set in another legend.

    Args:
        data: One class or several labels an image.
        legend: Name of a published legend; not needed with a crosswalk of one's own.
        crosswalk: A file of one's own instead of the published crosswalk; see `legends.crosswalk.read_crosswalk`.
        source: Published legend whose class names the data set uses, where its own legend is no published one.

    Raises:
        ConfigurationError: If there is no such legend or no way to it.
        LabelError: If nothing says which published legend the classes are of, a class of the images is more than one
            class there, or fewer than two classes are left.
    """
    walk = find_crosswalk(data.legend, legend, crosswalk, source, "--source-legend")
    images = _images_of(data)
    for name in walk.split:
        row = walk.shares[walk.source.index_of(name)]
        if images[name]:
            several = ", ".join(other for other, share in zip(walk.target.names, row, strict=True) if share > 0)
            raise LabelError(
                f"{images[name]} images are {name!r}, which is not one class of {walk.target.name} ({several}); decide "
                "with a --crosswalk of your own."
            )
    classes: dict[str, str | None] = {}
    for name, row in zip(walk.source.names, walk.shares, strict=True):
        single = bool(row.max() > 0.5) and name not in walk.split
        classes[name] = walk.target.names[int(row.argmax())] if single else None
    return _restated(data, walk.target, classes, walk.origin)


def restate_as(data: DataSet, model: Model) -> DataSet:
    """Return a data set in the legend in which a model has learned, if it was restated for that; else as it is."""
    stated = model.spec.training.get("legend")
    classes = stated.get("classes") if isinstance(stated, Mapping) else None
    legend = model.objective.legend
    if legend is None or not isinstance(classes, Mapping) or set(classes) != set(data.legend.names):
        return data
    if not all(target is None or target in legend.names for target in classes.values()):
        return data
    return _restated(data, legend, dict(classes), "").data


def _images_of(data: DataSet) -> dict[str, int]:
    """Return how many images have each class or label."""
    label = np.asarray(data.label)
    return {name: int((label[:, i] == 1 if label.ndim == 2 else label == i).sum()) for i, name in _numbered(data)}


def _numbered(data: DataSet) -> list[tuple[int, str]]:
    return list(enumerate(data.legend.names))


def _restated(data: DataSet, target: Legend, classes: dict[str, str | None], origin: str) -> Restated:
    """Return the data set with the classes of the target that some of its own become, in the target's order."""
    reached = {name for name in classes.values() if name is not None}
    kept = Legend(name=target.name, source=target.source, classes=tuple(c for c in target.classes if c.name in reached))
    images = _images_of(data)
    left_out = {name: images[name] for name, goal in classes.items() if goal is None and images[name]}
    goals = [classes[name] for name in data.legend.names]
    index = np.array([IGNORE if goal is None else kept.index_of(goal) for goal in goals], np.int64)
    found = copy.copy(data)
    found.legend = kept
    found.label = _labels(np.asarray(data.label, np.int64), index, len(kept))
    needed = 1 if found.label.ndim == 2 else 2
    there = [n for n, count in _images_of(found).items() if count]
    if len(there) < needed:
        raise LabelError(
            f"In {target.name} the images of {data.info.name} have {len(there)} class{'es' * (len(there) != 1)} "
            f"({', '.join(there) or 'none'}), which leaves nothing to tell apart; choose another --legend."
        )
    return Restated(found, classes, origin, left_out)


def _labels(label: NDArray[np.int64], index: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return labels `[N]` or `[N, count]` after class i became class `index[i]`, `IGNORE` for none.

    A label of several that became one is there if one of them is, absent if all are, and else unknown.
    """
    if label.ndim == 1:
        return np.where(label == IGNORE, IGNORE, index[np.maximum(label, 0)])
    result = np.empty((len(label), count), np.int64)
    for target in range(count):
        own = label[:, index == target]
        result[:, target] = np.where((own == 1).any(axis=1), 1, np.where((own == 0).all(axis=1), 0, IGNORE))
    return result
