"""The verb `attention`: where a classifier of whole images looks for each class, as a page of pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, ContractError
from ecumene.core.files import ensure_writable_folder
from ecumene.explanation.class_maps import class_maps
from ecumene.models.bundle import Model
from ecumene.objectives import Members
from ecumene.samples.datasets import DataSet
from ecumene.systems import get_system
from ecumene.viewer.pictures import composite_picture, to_png
from ecumene.viewer.report import Picture, Report, write_report
from ecumene.workflows.calibrate import probabilities_of
from ecumene.workflows.scene_data import open_system_data

Float = NDArray[np.float32]
FEW = 3
"""Classes that are shown of an image where none is asked for: the most probable ones."""
_NATURAL = (("red", "green", "blue"), ("B04", "B03", "B02"))


def attention_page(
    model: str | Path | Model,
    folder: str | Path,
    out: str | Path,
    *,
    images: Sequence[str] = (),
    classes: Sequence[str] = (),
    data_set: str | None = None,
    data_options: Mapping[str, Any] | None = None,
    threads: int | None = None,
) -> Path:
    """Write a page with the maps of attention of some images of a data set.

    Args:
        model: A bundle's folder, or a loaded model, of a network for whole images.
        folder: The data set's official files.
        out: HTML file to write.
        images: Names of images, as the data set spells them; none: its first.
        classes: Classes to show; none: of each image the three most probable ones.
        data_set: Name of the data set; None: the one that the model's system names.
        data_options: Options of the data set instead of the system's.
        threads: Threads of the network.

    Returns:
        The page.

    Raises:
        EcumeneError: If there is no such image or class, or the data set has other bands than the model.
    """
    bundle = Model.of(model)
    data = open_system_data(get_system(str(bundle.spec.training.get("system"))), folder, data_set, data_options)
    _require_bands(bundle, data)
    ensure_writable_folder(Path(out).parent)
    legend = bundle.objective.legend
    if legend is None:
        raise ConfigurationError(f"The model {bundle.spec.name} has no classes, so that it looks for none.")
    asked = [legend.index_of(name) for name in classes]
    pictures: list[Picture] = []
    layer = ""
    for index in _positions(data, images):
        image = data.read([index]).image[0]
        score = _probabilities(bundle, image)
        shown = asked or [int(item) for item in np.argsort(-score)[:FEW]]
        maps, layer = class_maps(bundle, image, shown, threads)
        pictures += image_pictures(
            str(data.ids[index]),
            natural_colours(data, image),
            maps,
            [(legend.names[k], float(score[k])) for k in shown],
        )
    sentence = f"Maps of {layer}: bright is where the class is looked for, relative to the rest of the image."
    report = Report(
        title=f"Where {bundle.spec.name} looks",
        subtitle=sentence,
        pictures=pictures,
        tables=[],
        provenance=[("model", bundle.spec.name), ("data", data.info.title), ("layer", layer)],
    )
    write_report(report, Path(out))
    return Path(out)


def image_pictures(name: str, colours: Float, maps: Float, classes: Sequence[tuple[str, float]]) -> list[Picture]:
    """Return the image and one overlay a class.

    Args:
        name: Of the image.
        colours: `[3, P, P]`, any unit, NaN for no data.
        maps: `[K, h, w]`.
        classes: Name and probability of each.
    """
    pictures = [Picture(name, composite_picture(colours), "The image.")]
    for heat, (label, probability) in zip(maps, classes, strict=True):
        pictures.append(
            Picture(f"{name}: {label}", to_png(overlay(colours, heat)), f"Probability of {label}: {probability:.2f}.")
        )
    return pictures


def overlay(colours: Float, heat: Float) -> NDArray[np.uint8]:
    """Return a map over a grey image.

    Args:
        colours: `[3, P, P]`, NaN for no data.
        heat: `[h, w]`, stretched from its least to its largest value.

    Returns:
        uint8 `[P, P, 4]`.
    """
    import matplotlib
    from scipy import ndimage

    side = colours.shape[-2:]
    grown = ndimage.zoom(
        heat, (side[0] / heat.shape[0], side[1] / heat.shape[1]), order=1, grid_mode=True, mode="nearest"
    )
    span = float(grown.max() - grown.min())
    scaled = (grown - grown.min()) / span if span > 0 else np.zeros_like(grown)
    finite = np.isfinite(colours).all(axis=0)
    grey = np.nan_to_num(colours.mean(axis=0))
    low, high = np.percentile(grey[finite], (2, 98)) if finite.any() else (0.0, 1.0)
    grey = np.clip((grey - low) / max(float(high - low), 1e-9), 0, 1)
    tinted = matplotlib.colormaps["magma"](scaled)[..., :3]
    mixed = 0.45 * grey[..., None] + 0.55 * tinted
    rgba = np.zeros((*side, 4), np.uint8)
    rgba[..., :3] = np.clip(mixed * 255, 0, 255).astype(np.uint8)
    rgba[..., 3] = np.where(finite, 255, 0)
    return rgba


def natural_colours(data: DataSet, image: Float) -> Float:
    """Return red, green and blue of an image `[3, P, P]`, or its first band three times."""
    names = [channel.band for channel in data.channels]
    for wanted in _NATURAL:
        if set(wanted) <= set(names):
            return image[[names.index(name) for name in wanted]]
    return np.repeat(image[:1], 3, axis=0)


def _probabilities(model: Model, image: Float) -> NDArray[np.float64]:
    """Return the probability of each class or label `[K]` of one image."""
    output = model.raw_results(image[None])[0][:, :, 0, 0]
    base = model.objective.base if isinstance(model.objective, Members) else model.objective
    if base.name == "scene-classification":
        probabilities = probabilities_of(model, output)
    else:
        probabilities = np.asarray(model.objective.moments(output), np.float64)
    return np.asarray(probabilities[0], np.float64)


def _positions(data: DataSet, images: Sequence[str]) -> list[int]:
    known = {str(name): index for index, name in enumerate(data.ids)}
    missing = [name for name in images if name not in known]
    if missing:
        some = ", ".join(list(known)[:5])
        raise ConfigurationError(f"The data set has no image {missing[0]!r}; its images are named like {some}.")
    return [known[name] for name in images] or [0]


def _require_bands(model: Model, data: DataSet) -> None:
    wanted = [(band.sensor, band.band) for band in model.spec.inputs]
    there = [(channel.sensor, channel.band) for channel in data.channels]
    if wanted != there:
        raise ContractError(
            f"The model needs the bands {', '.join(name for _, name in wanted)}, but the data set gives "
            f"{', '.join(name for _, name in there)}; choose them with --data-option."
        )
