"""Systems that see statistics of an image instead of its pixels, fitted on published data sets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.core.progress import Progress
from ecumene.models.image_statistics import STATISTICS, image_statistics
from ecumene.samples.contract import IGNORE, Part
from ecumene.samples.datasets import DataSet
from ecumene.samples.scene_set import SceneSamples
from ecumene.systems import System
from ecumene.training.provenance import make_inputs
from ecumene.workflows.fit import Fitted, class_objective, fit_table
from ecumene.workflows.scene_data import scene_statistics
from ecumene.workflows.training_data import TrainingData

_BATCH = 512


def fit_image_rows(
    system: System, data: DataSet, sets: TrainingData, *, seed: int, initial: Any, progress: Progress
) -> Fitted:
    """Fit a forest or a support vector machine on the statistics of images with one class each.

    Training and validation part are learned from, because nothing has to stop what is fitted in one go.

    Args:
        system: What to fit.
        data: The opened data set.
        sets: Its parts.
        seed: Of everything random.
        initial: Weights to begin with; these learners have none.
        progress: Called with (parts read, parts, what).

    Raises:
        ConfigurationError: If the images have several labels each, or there are weights to begin with.
        LabelError: If no image with a class has data.
    """
    if initial is not None:
        raise ConfigurationError(f"{system.name} is no network and cannot go on from a model; leave out --from.")
    if np.asarray(data.label).ndim != 1 or np.asarray(data.label).dtype.kind == "f":
        raise ConfigurationError(f"{system.name} learns one class an image, but {data.info.name} has other answers.")
    parts = (Part.TRAIN, Part.VALIDATION)
    tables = []
    for number, part in enumerate(parts):
        progress(number, len(parts), "statistics of the images")
        tables.append(statistics_table(sets[part]))  # type: ignore[arg-type]  # whole images here
    rows, target = (np.concatenate(columns) for columns in zip(*tables, strict=True))
    if len(rows) == 0:
        raise LabelError("No image with a class has data; give more images or another share (--train-share).")
    inputs = make_inputs(data.channels, scene_statistics(sets[Part.TRAIN], seed))  # type: ignore[arg-type]
    fitted = fit_table(system, class_objective(system, data.legend), inputs, 1, (rows, target), seed)
    progress(len(parts), len(parts), "statistics of the images")
    return replace(fitted, patch_size=data.patch_size, summary={"images": len(target)})


def statistics_table(images: SceneSamples) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return (statistics `[N, F]`, classes `[N]`) of the images that have a class and a valid pixel."""
    known = np.flatnonzero(np.asarray(images.label) != IGNORE)
    batches = [known[start : start + _BATCH] for start in range(0, len(known), _BATCH)]
    found = [image_statistics(images.read(batch).image) for batch in batches]
    if not found:
        return np.empty((0, len(STATISTICS) * images.image_shape[0]), np.float32), np.empty(0, np.int64)
    rows = np.concatenate(found)
    seen = np.isfinite(rows).all(axis=1)
    return rows[seen], np.asarray(images.label, np.int64)[known][seen]
