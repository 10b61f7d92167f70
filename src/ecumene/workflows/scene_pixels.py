"""Systems that read single pixels, fitted on published data sets whose samples are single pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.core.progress import Progress
from ecumene.samples.contract import Part
from ecumene.samples.datasets import DataSet
from ecumene.samples.patch_set import PatchSet
from ecumene.samples.scene_set import SceneSamples
from ecumene.samples.statistics import channel_statistics
from ecumene.systems import System
from ecumene.training.provenance import make_inputs
from ecumene.workflows.fit import Fitted, class_objective, fit_network_system, fit_rows, training_options
from ecumene.workflows.training_data import TrainingData
from ecumene.workflows.uncertainty import Uncertainty, check_uncertainty

if TYPE_CHECKING:
    from ecumene.training.from_bundle import Beginning


def as_pixels(samples: SceneSamples) -> PatchSet:
    """Return images of one pixel with a class each as labelled pixels.

    Raises:
        ConfigurationError: If the images are larger, or have several labels or a number each.
    """
    label = np.asarray(samples.label)
    if samples.image_shape[1:] != (1, 1) or label.ndim != 1 or label.dtype.kind == "f":
        raise ConfigurationError(
            "A system that reads single pixels learns from single pixels with one class each; open the data set with "
            "patch 1, or choose a system that reads scenes."
        )
    image = samples.read(np.arange(len(samples))).image
    count = len(label)
    return PatchSet(
        image,
        label.astype(np.int64).reshape(count, 1, 1),
        np.asarray(np.isfinite(image).all(axis=1)),
        np.zeros((count, 1), np.int64),
        np.asarray(samples.group, np.int32).reshape(count, 1, 1),
        samples.channels,
    )


def fit_pixels(
    system: System,
    data: DataSet,
    sets: TrainingData,
    *,
    seed: int,
    epochs: int | None,
    max_minutes: float | None,
    folder: Path,
    progress: Progress,
    uncertainty: Uncertainty,
    initial: Mapping[str, NDArray[Any]] | Beginning | None = None,
    frozen: Sequence[str] = (),
) -> Fitted:
    """Fit a system of single pixels; arguments as `fit_scene_model`.

    Raises:
        EcumeneError: If the samples are no single pixels, the system reads something else, or training cannot work.
    """
    if system.patch_size != 1 or system.reads not in ("pixel", "image") or system.task != "segmentation":
        raise ConfigurationError(
            f"{system.name} learns neither from whole images nor from single pixels with a class; `ecumene systems` "
            "says which systems do."
        )
    check_uncertainty(uncertainty, system)
    if initial is not None and system.kind != "network":
        raise ConfigurationError(f"{system.name} is no network and cannot go on from a model; leave out --from.")
    known = {part: as_pixels(sets[part]) for part in (Part.TRAIN, Part.VALIDATION)}  # type: ignore[arg-type]
    if system.kind != "network" and "runs" not in system.training and len(known[Part.VALIDATION]):
        # Nothing has to stop or be chosen where one model is fitted in one go, so that it learns from these pixels too.
        known[Part.TRAIN] = PatchSet.concatenate(list(known.values()))
    pixels = TrainingData(known)
    objective = class_objective(system, data.legend)
    inputs = make_inputs(data.channels, channel_statistics(pixels[Part.TRAIN], seed))
    if system.kind != "network":
        return fit_rows(system, objective, inputs, 1, pixels, seed)
    options = training_options(system, len(pixels[Part.TRAIN]), seed, epochs, max_minutes)
    return fit_network_system(
        system, objective, inputs, pixels, options, uncertainty, folder, progress, initial=initial, frozen=frozen
    )
