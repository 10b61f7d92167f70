"""Why a model of whole images says what it says of one: the patch of a scene around a point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ecumene.core.errors import ConfigurationError, SceneError
from ecumene.core.progress import Progress
from ecumene.core.window import Window
from ecumene.explanation.class_attention import grad_cam
from ecumene.explanation.occlusion import Occluder, input_groups, occlusion_effects, place_effects, sensor_pairs
from ecumene.explanation.scores import Scores
from ecumene.scenes.contract import Stack
from ecumene.workflows import explain_methods as run
from ecumene.workflows.explain_place import Place
from ecumene.workflows.explain_result import Explanation

METHODS = ("auto", "occlusion", "gradcam")
"""What looks into a model of whole images."""
HIDDEN_SQUARES = 8
"""Squares on a side of the image that are hidden one by one."""


def image_around(stack: Stack, place: Place, patch: int) -> Place:
    """Return the patch of a scene whose middle is nearest to a point.

    Args:
        stack: The matched scenes.
        place: A point.
        patch: Rows and columns of the patch.

    Raises:
        ConfigurationError: If the place is no point.
        SceneError: If the scene is smaller than a patch.
    """
    if place.pixel is None:
        raise ConfigurationError("A model of whole images is explained one image at a time; give --at X,Y, not --box.")
    height, width = (int(size) for size in stack.geobox.shape)
    if min(height, width) < patch:
        raise SceneError(f"The scene has {height} x {width} pixels, less than the model's images of {patch} x {patch}.")
    top = min(max(place.pixel[0] - patch // 2, 0), height - patch)
    left = min(max(place.pixel[1] - patch // 2, 0), width - patch)
    return Place(Window(top, left, patch, patch), place.pixel, f"the image around {place.text}")


def explain_image(
    scores: Scores,
    stack: Stack,
    place: Place,
    channel: int | None,
    method: str,
    baseline: Any,
    layers: Sequence[str] | None,
    threads: int | None,
    progress: Progress,
) -> Explanation:
    """Hide sensors, bands and squares of an image, and see where its network looks.

    Args:
        scores: What is explained.
        stack: The matched scenes.
        place: See `image_around`.
        channel: Explained class; None: the one of the largest score.
        method: `occlusion` (sensors, bands, squares), `gradcam` (networks), `auto`: both.
        baseline: What hidden inputs become.
        layers: Layer of the network for `gradcam`; None: the deepest with maps.
        threads: Threads of the model.
        progress: Called with (done, total, what).

    Returns:
        The explanation; every pixel of the image has the effect of a sensor or band on the one answer.

    Raises:
        ConfigurationError: If the method is none of these, or the network has no such layer.
        SceneError: If the image has no data.
    """
    model = scores.model
    if method not in METHODS:
        raise ConfigurationError(
            f"The method {method} explains pixels, but {model.spec.name} labels whole images; use "
            f"{' or '.join(METHODS[1:])}."
        )
    block = stack.read(place.view)
    if not block.valid.any():
        raise SceneError(
            f"The image around the point has no data (nodata or cloud): {place.text}; choose another --at."
        )
    image = block.image[:1]
    found = scores(image)[0, :, 0, 0]
    chosen = channel if channel is not None else (int(found.argmax()) if scores.layer.role == "probability" else 0)
    groups = input_groups(model.spec.inputs, ["image"])
    pairs = sensor_pairs(groups)
    hidden = [*groups, *(joint for _, _, joint in pairs)]
    occluder = Occluder.of(model.spec.inputs, baseline)
    effects = occlusion_effects(scores, image, None, hidden, occluder)[:, chosen, 0, 0]
    progress(1, 2, "occlusion")
    explanation = Explanation(
        target=scores.names[chosen],
        unit=scores.unit,
        score=float(found[chosen]),
        place=place.text,
        model=model.spec.name,
        baseline=baseline,
    )
    area = _spread(effects, int(found.argmax()), chosen, float(found[chosen]), (place.view.height, place.view.width))
    run.add_occlusion(explanation, groups, area, place)
    run.add_interactions(explanation, hidden, pairs, area, place)
    side = max(1, -(-place.view.height // HIDDEN_SQUARES))
    falls = place_effects(scores, image, None, (0, 0), chosen, occluder, patch=side)
    text = f"fall of the image's score when {side} x {side} pixels are hidden here"
    explanation.layers.append((run.layer_of("surroundings", text, ("fall",), explanation.unit), falls[None]))
    if method != "occlusion":
        _add_heat(explanation, scores, image, chosen, method, layers, threads)
    progress(2, 2, "occlusion")
    return explanation


def _add_heat(
    explanation: Explanation,
    scores: Scores,
    image: Any,
    channel: int,
    method: str,
    layers: Sequence[str] | None,
    threads: int | None,
) -> None:
    """Fill in where the network looks; a note where it cannot be said and was not asked for by name."""
    try:
        heat, name = grad_cam(scores.model, image, None, channel, layer=layers[0] if layers else None, threads=threads)
    except ConfigurationError as error:
        if method == "gradcam":
            raise
        explanation.notes.append(str(error))
        return
    explanation.figures["gradcam_layer"] = name
    text = f"where the layer {name} finds evidence (Grad-CAM), 0 to 1"
    explanation.layers.append((run.layer_of("attention", text, ("attention",)), heat[None]))
    explanation.methods.append("gradcam")


def _spread(effects: Any, mapped: int, target: int, score: float, shape: tuple[int, int]) -> run.AreaEffects:
    """Return the effects on the one answer as those on every pixel of the image."""
    falls = np.broadcast_to(np.asarray(effects, np.float32)[:, None, None], (len(effects), *shape))
    whole = np.full(shape, score, np.float32)
    return run.AreaEffects(falls, np.full(shape, target), np.full(shape, mapped), whole, None, np.ones(shape, bool))
