"""Systems that see statistics of an image instead of its pixels, fitted on published data sets."""

from __future__ import annotations

from collections.abc import Sequence
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
from ecumene.training.fit_svm import LIMIT, draw_evenly
from ecumene.training.provenance import make_inputs
from ecumene.workflows.fit import Fitted, class_objective, fit_table
from ecumene.workflows.scene_data import scene_statistics
from ecumene.workflows.training_data import TrainingData

_BATCH = 512
_DRAW = 25  # a stream of its own beside those of the fit


def fit_image_rows(
    system: System, data: DataSet, sets: TrainingData, *, seed: int, initial: Any, progress: Progress
) -> Fitted:
    """Fit a forest or a support vector machine on the statistics of images with one class each.

    Training and validation part are learned from, because nothing has to stop what is fitted in one go. Of a machine
    only the images are read that it learns from, drawn evenly from the classes.

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
    sources: list[SceneSamples] = [sets[part] for part in parts]  # type: ignore[misc]  # whole images here
    tables = []
    for number, (source, wanted) in enumerate(zip(sources, _learned_from(system, sources, seed), strict=True)):
        progress(number, len(parts), "statistics of the images")
        tables.append(statistics_table(source, wanted))
    rows, target = (np.concatenate(columns) for columns in zip(*tables, strict=True))
    if len(rows) == 0:
        raise LabelError("No image with a class has data; give more images or another share (--train-share).")
    inputs = make_inputs(data.channels, scene_statistics(sets[Part.TRAIN], seed))  # type: ignore[arg-type]
    fitted = fit_table(system, class_objective(system, data.legend), inputs, 1, (rows, target), seed)
    progress(len(parts), len(parts), "statistics of the images")
    return replace(fitted, patch_size=data.patch_size, summary={"images": len(target)})


def _learned_from(system: System, sources: Sequence[SceneSamples], seed: int) -> list[NDArray[np.intp]]:
    """Return which images of each source are read: all with a class, or no more than a machine learns from."""
    labels = [np.asarray(source.label, np.int64) for source in sources]
    known = [np.flatnonzero(label != IGNORE) for label in labels]
    if system.kind != "svm":
        return known
    target = np.concatenate([label[here] for label, here in zip(labels, known, strict=True)])
    drawn = draw_evenly(target, int(system.training.get("limit", LIMIT)), np.random.default_rng([seed, _DRAW]))
    chosen = np.zeros(len(target), bool)
    chosen[drawn] = True
    ends = np.cumsum([len(here) for here in known])[:-1]
    return [here[kept] for here, kept in zip(known, np.split(chosen, ends), strict=True)]


def statistics_table(images: SceneSamples, known: NDArray[np.intp]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return (statistics `[N, F]`, classes `[N]`) of those of the images `known`, which have a class, with data."""
    batches = [known[start : start + _BATCH] for start in range(0, len(known), _BATCH)]
    found = [image_statistics(images.read(batch).image) for batch in batches]
    if not found:
        return np.empty((0, len(STATISTICS) * images.image_shape[0]), np.float32), np.empty(0, np.int64)
    rows = np.concatenate(found)
    seen = np.isfinite(rows).all(axis=1)
    return rows[seen], np.asarray(images.label, np.int64)[known][seen]
