"""Fits outlier detectors on what a model makes of scenes: which layer, which reference, which threshold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.models.bundle import Model
from ecumene.trust.feature_choice import BANDS, LOGITS, FeatureChoice
from ecumene.trust.measures import auroc
from ecumene.trust.outlier import (
    DETECTORS,
    GradNormDetector,
    OutlierDetector,
    ReactDetector,
    TardisDetector,
    VimDetector,
)
from ecumene.workflows.feature_vectors import Source, Vectors, feature_layers, feature_vectors

CANDIDATES = 8
"""Most layers that the automatic choice compares."""
ALIKE = 0.005
"""Layers whose AUROC differs by no more are equally good."""


@dataclass(frozen=True)
class LayerTrial:
    """How well TARDIS did on one layer.

    Attributes:
        layer: Name in the network, or `bands`.
        auroc: Held-out usual pixels against wild pixels of outlier clusters.
        separation: Difference of their mean scores in standard deviations.
    """

    layer: str
    auroc: float
    separation: float


@dataclass(frozen=True)
class TardisFit:
    """What a fit of TARDIS found.

    Attributes:
        detector: With its threshold and its choice of features.
        layer: The chosen layer.
        trials: Every layer that was compared.
        known: Pixels of the training data.
        wild: Pixels of the wild data.
        wild_flagged: Share of the wild pixels above the threshold.
    """

    detector: TardisDetector
    layer: str
    trials: tuple[LayerTrial, ...]
    known: int
    wild: int
    wild_flagged: float


def fit_tardis(
    model: Model,
    known: Source,
    wild: Source,
    *,
    held_out: Source | None = None,
    layer: str = "auto",
    radius: int = 1,
    pooling: str = "max",
    clusters: int | None = None,
    share: float = 0.1,
    tune: bool = False,
    false_alarm_rate: float = 0.02,
    seed: int = 0,
) -> tuple[Model, TardisFit]:
    """Teach a model to flag what wild scenes have and its training data have not (see `TardisDetector`).

    Args:
        model: The model; its detector is replaced.
        known: Training data.
        wild: Scenes (or patches) of places and dates where the model may be used; no labels are needed.
        held_out: Usual data that the model has not learned from, for threshold and choice of the layer; None: a fifth
            of the blocks of `known`.
        layer: Name of an inner layer; `auto` chooses among up to eight (`compare_layers`). Trees read the bands.
        radius: Cells of the layer's grid on each side over which activations are pooled.
        pooling: `max` as published, or `mean`.
        clusters: k of the clustering; None: a tenth of the pixels.
        share: M: clusters with a smaller share of known pixels are strange.
        tune: Choose k by the clusters' entropy.
        false_alarm_rate: Share of usual pixels that may be flagged.
        seed: Of everything random.

    Returns:
        (the model with the detector, what was found).

    Raises:
        ConfigurationError: If there is nothing to learn from, or the layer is not there.
    """
    names = _candidates(model, layer)
    choice = FeatureChoice(tuple(names), 0 if names == [BANDS] else radius, pooling)
    inside, outside = (feature_vectors(model, source, choice, limit=6000, seed=seed) for source in (known, wild))
    if held_out is None:
        inside, fresh = _divided(inside, seed)
    else:
        fresh = feature_vectors(model, held_out, choice, limit=20_000, seed=seed)
    columns = _columns(model, names, inside.values.shape[1])
    fits, trials = compare_layers(
        {name: inside.values[:, part] for name, part in columns.items()},
        {name: outside.values[:, part] for name, part in columns.items()},
        {name: fresh.values[:, part] for name, part in columns.items()},
        clusters=clusters,
        share=share,
        tune=tune,
        seed=seed,
    )
    best = trials[0].layer
    detector = fits[best].with_choice(FeatureChoice((best,), choice.radius, pooling))
    scores = detector.score(fresh.values[:, columns[best]])
    detector = detector.with_threshold(scores, false_alarm_rate, groups=fresh.group)
    assert detector.threshold is not None
    flagged = detector.score(outside.values[:, columns[best]]) > detector.threshold
    found = TardisFit(detector, best, tuple(trials), len(inside), len(outside), float(flagged.mean()))
    return model.with_trust(calibration=model.calibration, detector=detector), found


def compare_layers(
    known: Mapping[str, NDArray[np.float32]],
    wild: Mapping[str, NDArray[np.float32]],
    fresh: Mapping[str, NDArray[np.float32]],
    *,
    clusters: int | None = None,
    share: float = 0.1,
    tune: bool = False,
    seed: int = 0,
) -> tuple[dict[str, TardisDetector], list[LayerTrial]]:
    """Fit TARDIS on every layer and choose one.

    The first layer, in the order of `known`, whose AUROC is within `ALIKE` of the best one: held-out usual pixels
    against the wild pixels that are strange on this layer. No label of the wild data is used, so that it compares
    layers and does not measure the detector. Give fine grids first: a cell of a coarse one repeats itself over many
    pixels, which flatters its AUROC.

    Args:
        known: Features `[N, F]` of training data by layer, in the order of preference.
        wild: Features `[M, F]` of wild data by layer.
        fresh: Features `[L, F]` of held-out usual data by layer.
        clusters: See `fit_tardis`; so are the following.
        share: M.
        tune: Choose k.
        seed: Of everything random.

    Returns:
        (detectors without threshold by layer, trials with the chosen one first). Layers on which nothing is strange
        are absent.

    Raises:
        ConfigurationError: If nothing is strange on any layer.
    """
    fits: dict[str, TardisDetector] = {}
    trials: list[LayerTrial] = []
    refusal = ConfigurationError("The model has no layer that TARDIS can read.")
    for name, values in known.items():
        try:
            fits[name] = TardisDetector.fit(
                values, wild=wild[name], clusters=clusters, share=share, tune=tune, seed=seed
            )
        except ConfigurationError as error:
            refusal = error
            continue
        trials.append(_trial(name, fits[name], fresh[name], wild[name]))
    if not trials:
        raise refusal
    top = max(trial.auroc for trial in trials)
    chosen = next(trial for trial in trials if trial.auroc >= top - ALIKE)
    return fits, [chosen, *(trial for trial in trials if trial is not chosen)]


def _candidates(model: Model, layer: str) -> list[str]:
    """Return the layers to compare."""
    if model.spec.kind != "network":
        if layer not in ("auto", BANDS):
            raise ConfigurationError("Forests and boosted trees have no layers; leave out --layer.")
        return [BANDS]
    if layer != "auto":
        return [layer]
    layers = feature_layers(model)
    names = list(layers)
    if not names:
        raise ConfigurationError("The network has no layer with an image output; TARDIS cannot read it.")
    if len(names) > CANDIDATES:
        names = [names[round(i * (len(names) - 1) / (CANDIDATES - 1))] for i in range(CANDIDATES)]
    return sorted(names, key=lambda name: layers[name].factor)


def _columns(model: Model, names: list[str], n_features: int) -> dict[str, slice]:
    """Return where each layer's channels are in a vector of all of them."""
    if len(names) == 1:
        return {names[0]: slice(0, n_features)}
    layers, start, columns = feature_layers(model), 0, {}
    for name in names:
        columns[name] = slice(start, start + layers[name].channels)
        start += layers[name].channels
    return columns


def _divided(vectors: Vectors, seed: int) -> tuple[Vectors, Vectors]:
    """Keep a fifth of the blocks apart; of a single block, a fifth of its pixels."""
    generator = np.random.default_rng(seed)
    names = np.unique(vectors.group)
    if len(names) >= 2:
        apart = np.isin(vectors.group, generator.permutation(names)[: max(1, len(names) // 5)])
    else:
        apart = generator.random(len(vectors)) < 0.2
    return Vectors(vectors.values[~apart], vectors.group[~apart]), Vectors(vectors.values[apart], vectors.group[apart])


def _trial(name: str, detector: TardisDetector, fresh: NDArray[np.float32], wild: NDArray[np.float32]) -> LayerTrial:
    """Measure held-out usual pixels against the wild pixels that the classifier calls strange."""
    inside, outside = detector.score(fresh), detector.score(wild)
    strange = outside[np.argsort(outside)[len(outside) - _strange(detector, len(outside)) :]]
    spread = float(np.sqrt(0.5 * (inside.var() + strange.var())))
    separation = float(strange.mean() - inside.mean()) / max(spread, 1e-12)
    return LayerTrial(name, float(auroc(inside, strange)), separation)


def _strange(detector: TardisDetector, count: int) -> int:
    """Return how many of the wild pixels the surrogate labels call strange."""
    return max(1, round(float(detector.options["wild_labelled_outlier"]) * count))


def linear_head(model: Model) -> tuple[str, NDArray[np.float64], NDArray[np.float64]]:
    """Return (layer before it, weight `[K, D]`, bias `[K]`) of a network's pixel-wise linear head.

    Raises:
        ConfigurationError: If the model has no such head.
    """
    weight, bias = model.weights.get("head.weight"), model.weights.get("head.bias")
    if weight is None or bias is None or weight.ndim != 4 or weight.shape[2:] != (1, 1):
        raise ConfigurationError("The model has no pixel-wise linear head; take another outlier detector.")
    before = [name for name, layer in feature_layers(model).items() if layer.channels == weight.shape[1]]
    before = [name for name in before if not name.startswith("head")]
    if not before:
        raise ConfigurationError("The layer before the model's head was not found; take another outlier detector.")
    return before[-1], weight[:, :, 0, 0].astype(np.float64), bias.astype(np.float64)


def fit_detector(
    model: Model,
    name: str,
    known: Source,
    held_out: Source,
    *,
    false_alarm_rate: float = 0.02,
    seed: int = 0,
) -> OutlierDetector:
    """Fit a detector by name on what it usually reads, with its threshold.

    Args:
        model: The model.
        name: Of `trust.outlier.DETECTORS`, but `tardis`, which `fit_tardis` fits.
        known: Training data.
        held_out: Usual data that the model has not learned from.
        false_alarm_rate: Share of usual pixels that may be flagged.
        seed: Of everything random.

    Raises:
        ConfigurationError: If the name is unknown, or the model lacks what the detector reads.
    """
    if name not in DETECTORS or name == TardisDetector.name:
        there = ", ".join(sorted(set(DETECTORS) - {TardisDetector.name}))
        raise ConfigurationError(f"There is no outlier detector {name!r} to fit; choose one of {there}.")
    kind = DETECTORS[name]
    options: dict[str, Any] = {}
    choice = kind.usual_choice
    if kind in (VimDetector, GradNormDetector, ReactDetector):
        layer, weight, bias = linear_head(model)
        choice = FeatureChoice((layer,) if kind is ReactDetector else (LOGITS, layer))
        options = {} if kind is GradNormDetector else {"weight": weight, "bias": bias}
        if kind is not ReactDetector:
            options["n_logits"] = len(bias)
    elif model.spec.kind != "network":
        choice = FeatureChoice((BANDS,))
    inside = feature_vectors(model, known, choice, seed=seed)
    fresh = feature_vectors(model, held_out, choice, seed=seed)
    detector = kind.fit(inside.values, seed=seed, **options).with_choice(choice)
    return detector.with_threshold(detector.score(fresh.values), false_alarm_rate, groups=fresh.group)


def false_alarms(detector: OutlierDetector, scores: NDArray[np.floating], group: NDArray[np.generic]) -> dict[str, Any]:
    """Return the realised false alarms of usual pixels: overall and block by block.

    Args:
        detector: With a threshold.
        scores: `[N]` of pixels in distribution on which nothing was fitted.
        group: `[N]`, block of each.

    Returns:
        `wanted` and `realised` share, `mean_block`, `worst_block`, and `blocks`: name, pixels and share of each.

    Raises:
        ConfigurationError: If the detector has no threshold, or there is no score.
    """
    if detector.threshold is None or scores.size == 0 or scores.shape != group.shape:
        raise ConfigurationError(
            "False alarms need a detector with a threshold and a score of each pixel with a block."
        )
    flagged = scores > detector.threshold
    blocks = [
        {
            "block": int(name),
            "pixels": int((group == name).sum()),
            "flagged_share": float(flagged[group == name].mean()),
        }
        for name in np.unique(group)
    ]
    shares = [block["flagged_share"] for block in blocks]
    return {
        "wanted": detector.false_alarm_rate,
        "realised": float(flagged.mean()),
        "mean_block": float(np.mean(shares)),
        "worst_block": float(np.max(shares)),
        "blocks": blocks,
    }
