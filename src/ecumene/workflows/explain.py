"""The verb `explain`: why a model says what it says at a place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, LabelError, MissingDependencyError, SceneError
from ecumene.core.progress import Progress, silent
from ecumene.explanation.occlusion import BASELINES, Occluder, input_groups, sensor_pairs
from ecumene.explanation.scores import Scores
from ecumene.mapping.product import ITEM_NAME
from ecumene.models.bundle import Model
from ecumene.scenes.contract import Stack
from ecumene.workflows import explain_methods as run
from ecumene.workflows.array_product import check_free
from ecumene.workflows.explain_image import explain_image, image_around
from ecumene.workflows.explain_output import write_explanation
from ecumene.workflows.explain_place import Place, locate_box, locate_point
from ecumene.workflows.explain_result import Explanation
from ecumene.workflows.stacks import Declaration, Paths, open_stack

METHODS = ("auto", "occlusion", "gradients", "gradcam", "neurons")
MAPPED = "the mapped class"
WITHOUT_DATA = "choose another --at, or read clouds as data with --no-cloud-mask"
MOST_AT_ONCE = 512 * 512
"""Pixels of a box at most for methods that look into a network."""


def explain_scene(
    model: str | Path | Model,
    scenes: Paths,
    out: str | Path,
    *,
    at: str | None = None,
    box: str | None = None,
    at_crs: str | None = None,
    class_name: str | None = None,
    method: str = "auto",
    baseline: str = "mean",
    layers: Sequence[str] | None = None,
    labels: str | Path | None = None,
    label_field: str = "class",
    overwrite: bool = False,
    mask_clouds: bool | None = None,
    threads: int | None = None,
    progress: Progress = silent,
    **declaration: Unpack[Declaration],
) -> Explanation:
    """Explain a model at a point or over a box, and write the explanation as layers, numbers and a page.

    Args:
        model: A bundle's folder, or a loaded model.
        scenes: One path an acquisition.
        out: Folder to write: COGs with their Item, `explanation.json`, `report.html`.
        at: `X,Y` of a point.
        box: `XMIN,YMIN,XMAX,YMAX` of an area, instead of a point.
        at_crs: Coordinate system of `at` or `box`; None: the scene's.
        class_name: What to explain; None: what the model says there.
        method: `occlusion` (any model), `gradients` (networks, points), `gradcam` (networks that see surroundings),
            `neurons` (networks, boxes with a class); `auto`: all that the model and the place allow.
        baseline: What hidden sensors and bands become: `mean`, `zero` or `noise`.
        layers: Layers of the network for `gradcam` (the first) and `neurons`.
        labels: True classes in a box: by how much accuracy and mean IoU fall, and where the class really is for
            `neurons`; None: where the model says it is.
        label_field: Column of the class in `labels`.
        overwrite: Replace an explanation in `out`.
        mask_clouds: Treat clouds as nodata; None: as in the training.
        threads: Threads of the model; None: all cores.
        progress: Called with (done, total, what).
        **declaration: `sensor`, `level`, ... where the files do not say it.

    Returns:
        The explanation.

    Raises:
        ConfigurationError: If an option is wrong, or the model does not allow the method.
        SceneError: If the place lies outside of the scene or on pixels without data.
        MissingDependencyError: If the method needs a library that is not installed.
        ProductError: If the folder cannot be written to or holds a product.
    """
    _check(at, box, method, baseline)
    bundle = Model.of(model)
    whole_images = bundle.spec.patch_size
    if whole_images is not None and labels is not None:
        raise ConfigurationError("Labels of pixels cannot judge a model of whole images; leave --labels out.")
    masked = bool(bundle.spec.training.get("mask_clouds", True)) if mask_clouds is None else mask_clouds
    stack = bundle.match(open_stack(scenes, mask_clouds=masked, **declaration))
    place = locate_point(stack.geobox, at, at_crs) if at is not None else locate_box(stack.geobox, str(box), at_crs)
    scores = Scores(bundle, threads)
    channel = None if class_name is None else scores.index(class_name)
    truth = None if labels is None else _labels(labels, label_field, stack, place, scores)
    if (Path(out) / ITEM_NAME).exists():
        check_free(Path(out), overwrite)
    if whole_images is not None:
        place = image_around(stack, place, whole_images)
        explanation = explain_image(scores, stack, place, channel, method, baseline, layers, threads, progress)
    else:
        explanation = _explain(scores, stack, place, channel, method, baseline, layers, truth, threads, progress)
    write_explanation(check_free(Path(out), overwrite), explanation, stack, place, scores)
    return explanation


def _check(at: str | None, box: str | None, method: str, baseline: str) -> None:
    if (at is None) == (box is None):
        raise ConfigurationError("Say what to explain: either a point with --at X,Y or an area with --box.")
    if method not in METHODS:
        raise ConfigurationError(f"The method is one of {', '.join(METHODS)}, not {method!r}.")
    if baseline not in BASELINES:
        raise ConfigurationError(f"The baseline is one of {', '.join(BASELINES)}, not {baseline!r}.")


def _labels(path: str | Path, field: str, stack: Stack, place: Place, scores: Scores) -> NDArray[np.int64]:
    """Return class indices of the view, -1 where unlabelled."""
    from ecumene.samples.labels import read_labels

    legend = scores.model.objective.legend
    if legend is None:
        raise ConfigurationError("Labels of classes need a model of classes; this one predicts a number.")
    raster = read_labels(path, field, stack.geobox, legend=legend)
    found = raster.read(place.view)
    if not (found >= 0).any():
        raise LabelError(f"No label of {Path(path).name} lies in the box; choose another --box.")
    return found.astype(np.int64)


def _explain(
    scores: Scores,
    stack: Stack,
    place: Place,
    channel: int | None,
    method: str,
    baseline: Any,
    layers: Sequence[str] | None,
    labels: NDArray[np.int64] | None,
    threads: int | None,
    progress: Progress,
) -> Explanation:
    model = scores.model
    names = run.date_names(stack)
    groups = input_groups(model.spec.inputs, names)
    occluder = Occluder.of(model.spec.inputs, baseline)
    if place.pixel is not None:
        channel = run.decided(scores, stack, place, channel, WITHOUT_DATA)
    pairs = sensor_pairs(groups)
    hidden = [*groups, *(joint for _, _, joint in pairs)]
    area = run.area_effects(scores, stack, place.view, hidden, occluder, channel, progress)
    if not area.valid.any():
        raise SceneError("The box holds no pixel with data in all of the model's bands; choose another --box.")
    explanation = Explanation(
        target=MAPPED if channel is None else scores.names[channel],
        unit=scores.unit,
        score=run.score_of(area, place),
        place=place.text,
        model=model.spec.name,
        baseline=baseline,
        is_point=place.pixel is not None,
    )
    run.add_occlusion(explanation, groups, area, place)
    if labels is not None and place.pixel is None:
        run.add_metric_drops(explanation, area, labels)
    run.add_interactions(explanation, hidden, pairs, area, place)
    if method != "occlusion":
        _add_others(explanation, scores, stack, place, channel, method, area, names, layers, labels, threads)
    return explanation


def _add_others(
    explanation: Explanation,
    scores: Scores,
    stack: Stack,
    place: Place,
    channel: int | None,
    method: str,
    area: run.AreaEffects,
    names: Sequence[str],
    layers: Sequence[str] | None,
    labels: NDArray[np.int64] | None,
    threads: int | None,
) -> None:
    """Run the methods that need a network: the named one, or all that are possible."""
    model = scores.model
    if method == "auto" and model.spec.kind != "network":
        explanation.notes.append(
            "The model is made of trees, which have neither gradients nor neurons: it was explained by occlusion."
        )
        return
    if place.view.height * place.view.width > MOST_AT_ONCE:
        raise ConfigurationError(
            f"Networks are looked into on at most {MOST_AT_ONCE} pixels at once; choose a smaller --box or --method "
            "occlusion."
        )
    seen = run.see(scores, stack, place.view)
    steps = {
        "gradients": lambda: _gradients(explanation, scores, seen, place, threads),
        "gradcam": lambda: _gradcam(explanation, scores, seen, place, channel, layers, threads),
        "neurons": lambda: _neurons(explanation, scores, seen, place, channel, area, labels, layers, threads),
    }
    if method != "auto":
        steps[method]()
        return
    for name in _possible(scores, place, channel):
        try:
            steps[name]()
        except (ConfigurationError, LabelError, MissingDependencyError) as error:
            explanation.notes.append(str(error))
    if _attends_dates(scores):
        run.add_date_attention(explanation, scores, seen, place, names)


def _possible(scores: Scores, place: Place, channel: int | None) -> list[str]:
    """Return the methods beside occlusion that fit a network, a point or a box, and a class."""
    looks = ["gradcam"] if scores.model.spec.margin > 0 and channel is not None else []
    if place.pixel is not None:
        return ["gradients", *looks]
    return looks + (["neurons"] if channel is not None and scores.model.objective.legend is not None else [])


def _attends_dates(scores: Scores) -> bool:
    """Whether the model's network weighs dates itself."""
    from ecumene.networks import network_class
    from ecumene.networks.contract import DateAttention

    return issubclass(network_class(str(scores.model.spec.architecture["name"])), DateAttention)


def _gradients(explanation: Explanation, scores: Scores, seen: run.Seen, place: Place, threads: int | None) -> None:
    if place.pixel is None:
        raise ConfigurationError("The method gradients explains one pixel; give --at X,Y instead of --box.")
    run.add_gradients(explanation, scores, seen, place, threads)


def _gradcam(
    explanation: Explanation,
    scores: Scores,
    seen: run.Seen,
    place: Place,
    channel: int | None,
    layers: Sequence[str] | None,
    threads: int | None,
) -> None:
    if channel is None:
        raise ConfigurationError("The method gradcam explains one class of a box; name it with --class.")
    run.add_attention(explanation, scores, seen, place, layers[0] if layers else None, threads)


def _neurons(
    explanation: Explanation,
    scores: Scores,
    seen: run.Seen,
    place: Place,
    channel: int | None,
    area: run.AreaEffects,
    labels: NDArray[np.int64] | None,
    layers: Sequence[str] | None,
    threads: int | None,
) -> None:
    if scores.model.spec.kind != "network":
        raise ConfigurationError(
            f"The method neurons needs a network, but the model {scores.model.spec.name} is made of trees; use "
            "--method occlusion."
        )
    if place.pixel is not None or channel is None or scores.model.objective.legend is None:
        raise ConfigurationError("The method neurons finds one class in an area; give --box and --class.")
    found, source = (area.mapped, "the model's map of the box") if labels is None else (labels, "the labels in the box")
    wanted, known = run.class_pixels(found, area.valid, scores, explanation.target, source)
    run.add_neurons(explanation, scores, seen, place, wanted, known, layers, threads)
