"""The verb `trust` for models of whole images: judged by the images of a data set that they have not learned from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.core.files import ensure_writable_folder, write_json
from ecumene.core.progress import Progress, silent
from ecumene.models.bundle import Model, plain
from ecumene.samples.contract import Part
from ecumene.samples.datasets import DataSet, open_data_set
from ecumene.samples.datasets.loading import LazyScenes, checksum_of
from ecumene.systems import BenchProtocol
from ecumene.trust.scaling import IDENTITY
from ecumene.viewer.report import Report, Table, write_report
from ecumene.workflows import trust_figures as figures
from ecumene.workflows.calibrate import LabelledPixels, probabilities_of, results_of_scenes
from ecumene.workflows.scene_data import split_data_set
from ecumene.workflows.scene_fit import has_classes, scene_metrics
from ecumene.workflows.scene_legend import restate_as
from ecumene.workflows.trust_page import trust_diagrams, trust_tables
from ecumene.workflows.trust_pixels import PixelResults

TRUST_NAME = "trust.json"
REPORT_NAME = "report.html"


@dataclass(frozen=True)
class SceneTrustReport:
    """What is known about the honesty of a model of whole images.

    Attributes:
        folder: Where it was written.
        figures: JSON values: `images`, `metrics`, `calibration`, `class_sets`, `sparsification`, `outliers`, `notes`.
    """

    folder: Path
    figures: dict[str, Any]

    @property
    def report(self) -> Path:
        """The page."""
        return self.folder / REPORT_NAME

    @property
    def tables(self) -> list[Table]:
        """The tables of the page."""
        return scene_tables(self.figures)


def trust_scenes(
    model: str | Path | Model,
    folder: str | Path,
    out: str | Path,
    *,
    data_set: str | None = None,
    data_options: Mapping[str, Any] | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> SceneTrustReport:
    """Judge a scene classifier by images that it has not learned from.

    Args:
        model: A bundle's folder, or a loaded model, of one class an image.
        folder: With a data set's official files. Of the data that the model was trained on only its test part is used.
        out: Folder for `report.html` and `trust.json`.
        data_set: Name from `ecumene datasets`; None: that of the training.
        data_options: Of the data set, such as `bands`.
        seed: Of subsampling.
        progress: Called with (done, total, what).

    Returns:
        The report.

    Raises:
        ConfigurationError: If the model is of another kind, or the images have other bands, size or classes.
        LabelError: If no image is left that the model has not learned from.
    """
    bundle = Model.of(model)
    data = _open(bundle, folder, data_set, data_options)
    chosen, sentence = unseen_images(bundle, data)
    progress(0, 1, "images")
    found = results_of_scenes(bundle, LazyScenes(data, chosen), seed=seed)
    if len(found) == 0:
        raise LabelError("No image that the model has not learned from has a label and data; give other images.")
    progress(1, 1, "images")
    about = {"data_set": data.info.name, "sha256": checksum_of(data), "sentence": sentence, "number": len(found)}
    report = SceneTrustReport(ensure_writable_folder(out), plain(_judge(bundle, found, about)))
    write_json(report.folder / TRUST_NAME, report.figures)
    page = Report(
        title=f"How far to trust {bundle.spec.name}",
        subtitle=sentence,
        pictures=[],
        diagrams=trust_diagrams(report.figures),
        tables=report.tables,
        provenance=[("model", bundle.spec.name), ("images", f"{data.info.name} sha256 {about['sha256']}")],
    )
    write_report(page, report.report)
    return report


def _open(model: Model, folder: str | Path, name: str | None, options: Mapping[str, Any] | None) -> DataSet:
    """Open the images that a model is judged by, or refuse model or images."""
    if model.spec.patch_size is None:
        raise ConfigurationError(f"The model {model.spec.name} answers for pixels; give scenes and --labels.")
    if not has_classes(model):
        raise ConfigurationError(
            f"The model {model.spec.name} does not put one class on an image; its card says how good it was on the "
            "test images."
        )
    chosen = name or model.spec.training.get("data_set", {}).get("name")
    if not chosen:
        raise ConfigurationError("The model does not say what it was trained on; name the data set: --data-set NAME.")
    stated = model.spec.training.get("data_set", {})
    own = stated.get("options", {}) if stated.get("name") == chosen else {}
    data = restate_as(open_data_set(str(chosen), folder, **{**own, **(options or {})}), model)
    check_images(model, data)
    return data


def _judge(model: Model, found: LabelledPixels, about: dict[str, Any]) -> dict[str, Any]:
    """Return all figures."""
    results = _as_pixels(model, found)
    return {
        "model": model.spec.name,
        "images": about,
        "metrics": scene_metrics(model, found),
        "calibration": figures.calibration_figures(results),
        "class_sets": figures.set_figures(model, results),
        "sparsification": figures.sparsification_figures(results),
        "outliers": figures.outlier_figures(model, results, {}),
        "notes": [],
    }


def check_images(model: Model, data: DataSet) -> None:
    """Refuse images that a model was not made for.

    Raises:
        ConfigurationError: If bands, size or classes differ.
    """
    wanted, there = [band.key for band in model.spec.inputs], [channel.key for channel in data.channels]
    if wanted != there:
        raise ConfigurationError(
            f"The model reads {', '.join(wanted)}, but the images have {', '.join(there)}; open the data set with "
            "other bands: --data-option bands=..."
        )
    if data.patch_size != model.spec.patch_size:
        raise ConfigurationError(
            f"The model reads images of {model.spec.patch_size} pixels on a side, but these have {data.patch_size}."
        )
    legend = model.objective.legend
    assert legend is not None
    if legend.names != data.legend.names:
        raise ConfigurationError(
            f"The classes of the images ({', '.join(data.legend.names)}) are not those of the model "
            f"({', '.join(legend.names)})."
        )


def unseen_images(model: Model, data: DataSet) -> tuple[NDArray[np.intp], str]:
    """Return the images that a model has not learned from, and a sentence that says which these are."""
    training = model.spec.training
    split = training.get("split")
    stated = training.get("data_set", {})
    if stated.get("name") != data.info.name:
        return np.arange(len(data)), "All images of a data set that the model was not trained on."
    if stated.get("sha256") != checksum_of(data) or not isinstance(split, Mapping):
        return np.arange(len(data)), (
            "All images; they are not the files, classes and options of the training, so that some of them may have "
            "been learned from."
        )
    again = BenchProtocol(
        name="again",
        split=split["kind"],
        official=split.get("official") or "",
        train_share=split.get("train_share") or BenchProtocol.model_fields["train_share"].default,
    )
    parts = split_data_set(data, again, int(split["seed"]))
    return np.flatnonzero(parts == Part.TEST), "The test images of the training, which nothing was fitted on."


def _as_pixels(model: Model, found: LabelledPixels) -> PixelResults:
    """Return what a model says of images in the form in which pixels are judged."""
    before, after = probabilities_of(model, found.output, IDENTITY), probabilities_of(model, found.output)
    clipped = np.maximum(after, 1e-30)
    doubt = -(clipped * np.log(clipped)).sum(axis=1) / np.log(after.shape[1])
    score = np.zeros(len(found)) if model.detector is None else np.asarray(model.detector.score(found.features))
    decided = np.asarray(model.objective.decide(after), np.int64)
    return PixelResults(before, after, np.clip(doubt, 0.0, 1.0), score, found.target, found.group, decided)


def scene_tables(found: Mapping[str, Any]) -> list[Table]:
    """Return the tables of a report, which speak of images and places where others speak of pixels and blocks."""
    rows = [
        [name.replace("_", " "), f"{value:.3f}"]
        for name, value in found["metrics"].items()
        if isinstance(value, int | float)
    ]
    tables = [Table("Accuracy", ("", ""), rows, f"{found['images']['number']} images.")]
    for table in trust_tables(found):
        said = [[_of_images(cell) for cell in row] for row in table.rows]
        columns = [_of_images(name) for name in table.columns]
        tables.append(replace(table, rows=said, columns=columns, caption=_of_images(table.caption)))
    return tables


def _of_images(text: str) -> str:
    for one, other in (("pixels", "images"), ("pixel", "image"), ("blocks", "places"), ("block", "place")):
        text = text.replace(one, other)
    return text
