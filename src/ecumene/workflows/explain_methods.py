"""Runs the methods of explanation on the pixels around a place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import LabelError, SceneError
from ecumene.core.progress import Progress
from ecumene.core.window import Window
from ecumene.explanation.class_attention import date_attention, grad_cam
from ecumene.explanation.gradients import integrated_gradients
from ecumene.explanation.neurons import layer_activations, rank_neurons
from ecumene.explanation.occlusion import Group, Occluder, occlusion_effects, place_effects, shares
from ecumene.explanation.scores import Scores
from ecumene.explanation.windows import context_window, tiles_of
from ecumene.mapping.checksums import time_text
from ecumene.objectives.prediction import LayerSpec
from ecumene.scenes.contract import Stack
from ecumene.workflows.explain_place import Place
from ecumene.workflows.explain_result import Effect, Explanation

Float = NDArray[np.float32]
Pairs = Sequence[tuple[int, int, Group]]
TILE = 128
MOST_NEURON_PIXELS = 40_000
NAN = float("nan")


@dataclass(frozen=True)
class Seen:
    """A window of the scene with what the model needs around it.

    Attributes:
        window: What was read, on the grid.
        image: `[T, C, H, W]`, physical units.
        dates: `[T]` of a series model, else None.
        valid: bool `[H, W]`, pixels that the model can decide.
    """

    window: Window
    image: Float
    dates: Float | None
    valid: NDArray[np.bool_]

    def inside(self, target: Window) -> tuple[slice, slice]:
        """Return the slices of a window of the grid in `image`."""
        return target.shift(-self.window.row, -self.window.col).slices


def see(scores: Scores, stack: Stack, target: Window) -> Seen:
    """Read the pixels that decide those of `target`."""
    spec = scores.model.spec
    window = context_window(target, spec.stride, spec.margin)
    block = stack.read(window)
    dates = block.dates.astype(np.float32) if spec.temporal else None
    return Seen(window, block.image, dates, np.asarray(block.valid.any(axis=0)))


def all_scores(scores: Scores, seen: Seen) -> Float:
    """Return the scores `[K, H, W]` of a window."""
    if seen.dates is None:
        return np.asarray(scores(seen.image[:1])[0])
    return np.asarray(scores(seen.image[None], seen.dates[None])[0])


def date_names(stack: Stack) -> list[str]:
    """Return a name for every date of a stack: its day, or its time where several are of one day; all differ."""
    times = [time_text(time) or f"frame {number + 1}" for number, time in enumerate(stack.times)]
    names = [name[:10] for name in times]
    if len(set(names)) < len(names):
        names = times
    return names if len(set(names)) == len(names) else [f"{name} ({k + 1})" for k, name in enumerate(names)]


def decided(scores: Scores, stack: Stack, place: Place, channel: int | None, advice: str) -> int:
    """Return the explained channel at a point: the named one, or the one of the largest score.

    Args:
        scores: What is explained.
        stack: The matched scenes.
        place: A point.
        channel: The named one, or None.
        advice: What to do about a point without data, as the end of the sentence.

    Raises:
        SceneError: If the point has no data.
    """
    assert place.pixel is not None
    seen = see(scores, stack, Window(*place.pixel, 1, 1))
    row, col = place.pixel[0] - seen.window.row, place.pixel[1] - seen.window.col
    if not seen.valid[row, col]:
        raise SceneError(
            f"The point {place.text} has no data in all of the model's bands (nodata, cloud or border); {advice}."
        )
    if channel is not None:
        return channel
    found = all_scores(scores, seen)[:, row, col]
    return int(scores.shown(found[None])[0]) if scores.layer.role == "probability" else 0


@dataclass(frozen=True)
class AreaEffects:
    """Effects of every group on every pixel of the view.

    Attributes:
        falls: `[G, h, w]` fall of the target's score.
        target: `[h, w]` channel that is explained.
        mapped: `[h, w]` channel of the largest score.
        score: `[h, w]` score of the target.
        hidden: `[G, h, w]` channel of the largest score when the group is hidden; None for numbers.
        valid: bool `[h, w]`.
    """

    falls: Float
    target: NDArray[np.int64]
    mapped: NDArray[np.int64]
    score: Float
    hidden: NDArray[np.int64] | None
    valid: NDArray[np.bool_]


def area_effects(
    scores: Scores,
    stack: Stack,
    view: Window,
    groups: Sequence[Group],
    occluder: Occluder,
    channel: int | None,
    progress: Progress,
) -> AreaEffects:
    """Hide every group over the whole view, tile by tile.

    Args:
        scores: What is explained.
        stack: The matched scenes.
        view: Pixels, inside of the grid.
        groups: What to hide.
        occluder: What replaces it.
        channel: Explained channel; None: the one of the largest score, pixel by pixel.
        progress: Called with tiles done.
    """
    shape = (view.height, view.width)
    ranked = scores.layer.role == "probability"
    falls = np.full((len(groups), *shape), NAN, np.float32)
    target, mapped, score = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.full(shape, NAN, np.float32)
    hidden, valid = np.zeros((len(groups), *shape), np.int64), np.zeros(shape, bool)
    tiles = tiles_of(view, TILE)
    for number, tile in enumerate(tiles):
        seen = see(scores, stack, tile)
        inner, outer = seen.inside(tile), tile.shift(-view.row, -view.col).slices
        whole = all_scores(scores, seen)
        effects = occlusion_effects(scores, seen.image, seen.dates, groups, occluder)[(..., *inner)]
        whole = whole[(slice(None), *inner)]
        mapped[outer], valid[outer] = scores.shown(whole[None])[0], seen.valid[inner]
        chosen = mapped[outer] if channel is None else np.full(whole.shape[1:], channel)
        target[outer] = chosen
        score[outer] = np.take_along_axis(whole, chosen[None], axis=0)[0]
        falls[(slice(None), *outer)] = np.take_along_axis(effects, chosen[None, None], axis=1)[:, 0]
        hidden[(slice(None), *outer)] = scores.shown(whole[None] - effects)
        progress(number + 1, len(tiles), "occlusion")
    falls[:, ~valid] = NAN
    score[~valid] = NAN
    return AreaEffects(falls, target, mapped, score, hidden if ranked and len(scores.names) > 1 else None, valid)


def score_of(area: AreaEffects, place: Place) -> float:
    """Return the score of the target: at the point, or its mean over the box."""
    return float(np.nanmean(area.score, dtype=np.float64) if place.pixel is None else area.score[place.in_view])


def add_occlusion(explanation: Explanation, groups: Sequence[Group], area: AreaEffects, place: Place) -> None:
    """Fill in effects and their layers."""
    if place.pixel is not None:
        falls = area.falls[(slice(None), *place.in_view)].astype(np.float64)
        sizes, changed = np.abs(falls), None
    else:
        inside = area.falls[:, area.valid]
        with np.errstate(invalid="ignore"):
            falls, sizes = np.nanmean(inside, axis=1, dtype=np.float64), np.nanmean(np.abs(inside), axis=1)
        moved = None if area.hidden is None else area.hidden != area.mapped[None]
        changed = None if moved is None else moved[:, area.valid].mean(axis=1)
    for kind in dict.fromkeys(group.kind for group in groups):
        members = [number for number, group in enumerate(groups) if group.kind == kind]
        for number, share in zip(members, shares(sizes[members]), strict=True):
            explanation.effects.append(
                Effect(
                    kind=kind,
                    name=groups[number].name,
                    fall=float(falls[number]),
                    size=float(sizes[number]),
                    share=float(share),
                    changed=None if changed is None else float(changed[number]),
                )
            )
        names = tuple(groups[number].name for number in members)
        spec = layer_of(f"importance_{kind}", f"fall of the score when the {kind} is hidden", names, explanation.unit)
        explanation.layers.append((spec, area.falls[members]))
    explanation.methods.append("occlusion")


def add_metric_drops(explanation: Explanation, area: AreaEffects, labels: NDArray[np.int64]) -> None:
    """Fill in how far accuracy and mean IoU at labels fall when each group is hidden: metric(x) - metric(x hidden).

    This is the importance of a modality of Ekim and Schmitt (2023), by the metrics of the segmentation.

    Args:
        explanation: With its effects, in the order of `area`.
        area: Of a model of classes.
        labels: Class index of the view `[h, w]`, -1 unlabelled.

    Raises:
        LabelError: If no label lies on valid data.
    """
    assert area.hidden is not None
    known = area.valid & (labels >= 0)
    if not known.any():
        raise LabelError("No label in the box lies on valid data; choose another --box or leave out --labels.")
    truth = labels[known]
    accuracy, iou = _metrics(truth, area.mapped[known])
    explanation.figures["labels"] = {"pixels": int(known.sum()), "overall_accuracy": accuracy, "mean_iou": iou}
    filled = []
    for effect, found in zip(explanation.effects, area.hidden, strict=False):
        after = _metrics(truth, found[known])
        drops = {"accuracy_drop": accuracy - after[0], "iou_drop": iou - after[1]}
        filled.append(Effect(**{**vars(effect), **drops}))
    explanation.effects = filled


def _metrics(truth: NDArray[np.int64], found: NDArray[np.int64]) -> tuple[float, float]:
    """Return (overall accuracy, mean IoU over the classes of the truth)."""
    ratios = [
        float(((truth == k) & (found == k)).sum() / ((truth == k) | (found == k)).sum()) for k in np.unique(truth)
    ]
    return float((truth == found).mean()), float(np.mean(ratios))


def layer_of(name: str, description: str, bands: tuple[str, ...], unit: str = "1", role: Any = "extra") -> LayerSpec:
    """Return the specification of a layer of an explanation; probabilities have no unit."""
    unit = "1" if unit == "probability" else unit
    return LayerSpec(name, "float32", NAN, unit, description=description, role=role, band_names=bands)


def add_interactions(
    explanation: Explanation, groups: Sequence[Group], pairs: Pairs, area: AreaEffects, place: Place
) -> None:
    """Fill in how pairs of sensors work together: at the point, or the mean over the box.

    Args:
        explanation: To fill.
        groups: Single groups, then the joint ones of `pairs`, in the order of `area.falls`.
        pairs: Of sensors.
        area: Effects of all groups.
        place: What is explained.
    """
    chosen = area.valid
    if place.pixel is not None:
        chosen = np.zeros_like(area.valid)
        chosen[place.in_view] = True
    first = len(groups) - len(pairs)
    for number, (a, b, _) in enumerate(pairs):
        values = area.falls[first + number] - area.falls[a] - area.falls[b]
        explanation.interactions.append((groups[a].name, groups[b].name, float(np.nanmean(values[chosen]))))


def add_gradients(explanation: Explanation, scores: Scores, seen: Seen, place: Place, threads: int | None) -> None:
    """Fill in integrated gradients of the point: a column of the table and a layer."""
    assert place.pixel is not None
    pixel = (place.pixel[0] - seen.window.row, place.pixel[1] - seen.window.col)
    found = integrated_gradients(
        scores.model, seen.image, seen.dates, pixel, scores.index(explanation.target), threads=threads
    )
    sums = {"band": found.values.sum(axis=(0, 2, 3)), "date": found.values.sum(axis=(1, 2, 3))}
    sensors = [band.sensor for band in scores.model.spec.inputs]
    sums["sensor"] = np.array(
        [sums["band"][[s == name for s in sensors]].sum() for name in dict.fromkeys(sensors)], np.float32
    )
    counts = dict.fromkeys(sums, 0)
    filled = []
    for effect in explanation.effects:
        value = float(sums[effect.kind][counts[effect.kind]])
        counts[effect.kind] += 1
        filled.append(Effect(**{**vars(effect), "gradient": value}))
    explanation.effects = filled
    explanation.figures["integrated_gradients"] = {
        "score": found.score,
        "score_of_mean_image": found.reference,
        "missed_by_the_integral": found.error,
    }
    names = tuple(band.key for band in scores.model.spec.inputs)
    inside = found.values.sum(axis=0)[(slice(None), *seen.inside(place.view))]
    text = "integrated gradient of the explained pixel's score, summed over dates"
    explanation.layers.append((layer_of("attribution", text, names, explanation.unit), inside))
    explanation.methods.append("gradients")


def add_attention(
    explanation: Explanation, scores: Scores, seen: Seen, place: Place, layer: str | None, threads: int | None
) -> None:
    """Fill in where the network looks: Grad-CAM, and for a point hidden patches."""
    channel = scores.index(explanation.target)
    where = np.zeros(seen.image.shape[-2:], bool)
    target = place.view if place.pixel is None else Window(*place.pixel, 1, 1)
    where[seen.inside(target)] = True
    heat, name = grad_cam(scores.model, seen.image, seen.dates, channel, where=where, layer=layer, threads=threads)
    explanation.figures["gradcam_layer"] = name
    inside = seen.inside(place.view)
    text = f"where the layer {name} finds evidence (Grad-CAM), 0 to 1"
    explanation.layers.append((layer_of("attention", text, ("attention",)), heat[inside][None]))
    if place.pixel is not None:
        pixel = (place.pixel[0] - seen.window.row, place.pixel[1] - seen.window.col)
        side = max(4, round(max(seen.image.shape[-2:]) / 12))
        occluder = Occluder.of(scores.model.spec.inputs)
        falls = place_effects(scores, seen.image, seen.dates, pixel, channel, occluder, patch=side)
        text = f"fall of the explained pixel's score when {side} x {side} pixels are hidden here"
        explanation.layers.append((layer_of("surroundings", text, ("fall",), explanation.unit), falls[inside][None]))
    explanation.methods.append("gradcam")


def add_date_attention(
    explanation: Explanation, scores: Scores, seen: Seen, place: Place, names: Sequence[str]
) -> None:
    """Fill in the attention to dates, where the network has it."""
    if place.pixel is None or seen.dates is None:
        return
    pixel = (place.pixel[0] - seen.window.row, place.pixel[1] - seen.window.col)
    found = date_attention(scores.model, seen.image, seen.dates, pixel)
    explanation.attention = [(name, float(share)) for name, share in zip(names, found, strict=True)]


def add_neurons(
    explanation: Explanation,
    scores: Scores,
    seen: Seen,
    place: Place,
    wanted: NDArray[np.bool_],
    known: NDArray[np.bool_],
    layers: Sequence[str] | None,
    threads: int | None,
) -> None:
    """Fill in which neurons find the class, and the maps of the best three.

    Args:
        explanation: To fill.
        scores: What is explained.
        seen: Pixels.
        place: The box.
        wanted: bool `[h, w]` of the view, pixels of the class.
        known: bool `[h, w]`, pixels that may be compared.
        layers: Names of layers; None: all.
        threads: Threads of torch.

    Raises:
        LabelError: If there are too few pixels of the class or of the rest.
    """
    inside = seen.inside(place.view)
    maps = {
        name: values[(slice(None), *inside)]
        for name, values in layer_activations(scores.model, seen.image, seen.dates, layers, threads=threads).items()
    }
    rows, cols = np.nonzero(known)
    if len(rows) > MOST_NEURON_PIXELS:
        keep = np.sort(np.random.default_rng(0).choice(len(rows), MOST_NEURON_PIXELS, replace=False))
        rows, cols = rows[keep], cols[keep]
    side = max(1, -(-max(known.shape) // 6))
    halves = (rows // side + cols // side) % 2 == 1
    values = {name: found[:, rows, cols] for name, found in maps.items()}
    best = rank_neurons(values, wanted[rows, cols], halves)
    explanation.neurons = [vars(neuron) for neuron in best]
    top = best[:3]
    bands = tuple(f"{neuron.layer}[{neuron.channel}]" for neuron in top)
    stacked = np.stack([neuron.sign * maps[neuron.layer][neuron.channel] for neuron in top])
    text = f"activation (times its sign) of the neurons that best find {explanation.target}"
    explanation.layers.append((layer_of("neurons", text, bands), stacked))
    explanation.methods.append("neurons")


def class_pixels(
    found: NDArray[np.int64], valid: NDArray[np.bool_], scores: Scores, target: str, source: str
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return (pixels of the class, pixels that may be compared).

    Args:
        found: Class index of each pixel `[h, w]`, -1 unknown.
        valid: bool `[h, w]`.
        scores: Knows the class.
        target: Its name.
        source: Where the classes are from, for the sentence.

    Raises:
        LabelError: If the class does not occur.
    """
    known = valid & (found >= 0)
    wanted = known & (found == scores.index(target))
    if not wanted.any():
        raise LabelError(f"The class {target!r} does not occur in {source}; choose another --box or --class.")
    return wanted, known
