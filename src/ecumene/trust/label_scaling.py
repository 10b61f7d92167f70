"""Chooses how to scale the logits of labels that an image may have at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.trust.likelihood import Array, Labels, by_member, fit_one_temperature, fit_platt, pooled_log_likelihood
from ecumene.trust.scaling import IDENTITY, Scaling, Temperature, VectorScaling
from ecumene.trust.scaling_fit import (
    CONFIDENCE,
    FEWEST_BLOCKS,
    MOST_ELEMENTS,
    MOST_FOLDS,
    PRIOR,
    ScalingChoice,
    block_weights,
    gain_of_blocks,
    surely_best,
)
from ecumene.trust.temperature import BOUNDS

FEWEST_OF_A_KIND = 5
"""A label gets parameters of its own where at least so many images have it and so many have it not."""


@dataclass(frozen=True)
class _Pairs:
    """Known labels of images: one row a pair of image and label."""

    z: Array  # [P, M, 2]: logits of absence (0) and presence
    t: Labels  # [P]
    label: Labels  # [P]
    block: NDArray[np.intp]  # [P]

    def take(self, chosen: NDArray[np.bool_]) -> _Pairs:
        return _Pairs(self.z[chosen], self.t[chosen], self.label[chosen], self.block[chosen])

    def weights(self) -> Array:
        return block_weights(np.unique(self.block, return_inverse=True)[1])

    @property
    def prior(self) -> float:
        return PRIOR / len(np.unique(self.block))

    def of_labels(self, number: int) -> Iterator[tuple[int, _Pairs]]:
        """Yield the labels that are present often enough and absent often enough, with their pairs."""
        for label in range(number):
            own = self.take(self.label == label)
            present = int(own.t.sum())
            if min(present, len(own.t) - present) >= FEWEST_OF_A_KIND:
                yield label, own


_Fit = Callable[[_Pairs, int], Scaling]


def _one_temperature(pairs: _Pairs, labels: int) -> Scaling:
    return fit_one_temperature(pairs.z, pairs.t, pairs.weights(), pairs.prior, BOUNDS)


def _temperatures(pairs: _Pairs, labels: int) -> Scaling:
    weight = np.ones(labels)
    for label, own in pairs.of_labels(labels):
        weight[label] = 1.0 / fit_one_temperature(own.z, own.t, own.weights(), own.prior, BOUNDS).temperature
    return VectorScaling(tuple(weight.tolist()), (0.0,) * labels)


def _platt(pairs: _Pairs, labels: int) -> Scaling:
    weight, bias = np.ones(labels), np.zeros(labels)
    for label, own in pairs.of_labels(labels):
        weight[label], bias[label] = fit_platt(own.z[..., 1], own.t, own.weights(), own.prior)
    return VectorScaling(tuple(weight.tolist()), tuple(bias.tolist()))


_CANDIDATES: dict[str, _Fit] = {"temperature": _one_temperature, "temperatures": _temperatures, "platt": _platt}
_NAMES = {
    "temperature": "One temperature",
    "temperatures": "A temperature of each label",
    "platt": "A factor and an offset of each label",
}


def choose_label_scaling(
    logits: NDArray[np.floating],
    target: NDArray[np.integer],
    groups: NDArray[np.generic] | None = None,
    members: int = 1,
) -> ScalingChoice:
    """Choose among identity, one temperature, one for each label, and Platt scaling, by cross-validation over blocks.

    A label's probability is a logistic function of its logit z; the candidates replace z by z / T (Guo et al. 2017),
    z / T_k, or w_k z + b_k (Platt 1999, "Probabilistic outputs for support vector machines"). A candidate replaces the
    identity under the conditions of `scaling_fit.choose_scaling`, with the log-likelihood of a label averaged over the
    known labels of a block. Labels that are too rare for parameters of their own keep their logits. Members are all
    scaled alike, for the best likelihood of their pooled probabilities.

    Args:
        logits: `[N, M * K]`, of images that the network has not learned from.
        target: `[N, K]` of 0, 1, and -1 where a label is not known.
        groups: `[N]` place of each image; None: images are independent.
        members: M.

    Returns:
        The choice; its `missing` are the labels without parameters of their own, whatever was chosen.

    Raises:
        ConfigurationError: If shapes do not fit or logits are not finite.
        LabelError: If no label is known, or a target is none.
    """
    pairs, labels = _pairs(logits, target, groups, members)
    count = len(np.unique(pairs.block))
    enough = {label for label, _ in pairs.of_labels(labels)}
    missing = tuple(label for label in range(labels) if label not in enough)
    if count < FEWEST_BLOCKS or not enough:
        what = f"{count} block{'s' * (count > 1)}" if enough else "too few images"
        note = f"The probabilities are the model's own: calibration labels of {what} cannot show which change helps."
        return ScalingChoice(IDENTITY, count, note=note, missing=missing)
    fitted, gains = {}, {}
    for name, fit in _CANDIDATES.items():
        if name != "temperature" and labels < 2:
            continue
        fitted[name] = fit(pairs, labels)
        gains[name] = gain_of_blocks(_held_out_gains(pairs, labels, fit), CONFIDENCE)
    best = surely_best(gains)
    if best is None:
        note = f"The probabilities are the model's own: on {count} calibration blocks no scaling was surely better."
        return ScalingChoice(IDENTITY, count, gains, note, missing)
    note = f"{_NAMES[best]} gained {gains[best][0]:.3f} nat a label on left-out blocks ({count})."
    return ScalingChoice(fitted[best], count, gains, note, missing)


def _pairs(
    logits: NDArray[np.floating], target: NDArray[np.integer], groups: NDArray[np.generic] | None, members: int
) -> tuple[_Pairs, int]:
    """Return (the known labels of at most `MOST_ELEMENTS` images, number of labels)."""
    values, truth = np.asarray(logits, np.float64), np.asarray(target)
    labels = truth.shape[1] if truth.ndim == 2 else 0
    if labels == 0 or values.shape != (len(truth), members * labels):
        raise ConfigurationError(
            f"Scaling labels needs logits [N, M K] and targets [N, K], but got {values.shape} and {truth.shape}."
        )
    if not np.isfinite(values).all():
        raise ConfigurationError("Some logits are not finite; the training has diverged, lower its learning rate.")
    if truth.dtype.kind not in "iu" or (len(truth) and (truth.min() < -1 or truth.max() > 1)):
        raise LabelError("The targets of labels must be 0, 1, or -1 where a label is not known.")
    blocks = np.arange(len(truth)) if groups is None else np.asarray(groups)
    if blocks.shape != (len(truth),):
        raise ConfigurationError(f"There are {len(truth)} images, but {blocks.size} group labels.")
    step = max(1, -(-len(truth) // MOST_ELEMENTS))
    values, truth, blocks = values[::step], truth[::step], blocks[::step]
    image, label = np.nonzero(truth >= 0)
    if len(image) == 0:
        raise LabelError("No image has a known label to calibrate with; give more labels.")
    present = by_member(values, labels)[image, :, label]
    z = np.stack([np.zeros_like(present), present], axis=-1)
    block = np.unique(blocks[image], return_inverse=True)[1]
    return _Pairs(z, truth[image, label].astype(np.int64), label.astype(np.int64), block), labels


def _scaled(scaling: Scaling, pairs: _Pairs) -> Array:
    """Return the logits of pairs after a scaling."""
    if isinstance(scaling, VectorScaling):
        weight, bias = np.asarray(scaling.weight)[pairs.label], np.asarray(scaling.bias)[pairs.label]
        present = pairs.z[..., 1] * weight[:, None] + bias[:, None]
        return np.stack([np.zeros_like(present), present], axis=-1)
    return pairs.z / scaling.temperature if isinstance(scaling, Temperature) else pairs.z


def _held_out_gains(pairs: _Pairs, labels: int, fit: _Fit) -> Array:
    """Return for each block the mean gain in log-likelihood over the identity of a fit without that block."""
    fold = pairs.block % min(int(pairs.block.max()) + 1, MOST_FOLDS)
    gained = np.empty(len(pairs.t))
    for this in range(int(fold.max()) + 1):
        inside = fold == this
        scaling, own = fit(pairs.take(~inside), labels), pairs.take(inside)
        gained[inside] = pooled_log_likelihood(_scaled(scaling, own), own.t) - pooled_log_likelihood(own.z, own.t)
    return np.asarray(np.bincount(pairs.block, weights=gained) / np.bincount(pairs.block))
