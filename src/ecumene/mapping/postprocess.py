"""From raw output to stored layers: the generic way for any objective, a one-pass way for classes.

The engine asks for two things: layers of a window's *core*, straight from its raw output, and for its
*seams* the moments, which it blends and hands back. Both ways answer alike; the one-pass way is taken
only after it has agreed with the objective's own functions on a probe.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ModelError
from ecumene.core.memory import zeros_apart
from ecumene.mapping.contract import MapCalibration, MapModel
from ecumene.mapping.layers import outlier_threshold
from ecumene.objectives import Members
from ecumene.objectives.contract import Objective
from ecumene.objectives.prediction import LayerSpec, Prediction
from ecumene.trust.calibration import Calibration

Layers = Mapping[str, NDArray[Any]]
"""Stored layers by name, views `[bands, H, W]` that are filled in place."""

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]
Limits = tuple[NDArray[np.float64], NDArray[np.uint32]]
"""Largest score of each class in a set, and the layer of sets."""


SET_LAYER = "prediction_set"
_TIE = 1e-7  # a float32 probability that ties with the threshold is inside, as `ConformalSets.sets` has it


class Postprocessor(ABC):
    """Fills stored layers from raw output or from blended moments."""

    def __init__(self, specs: tuple[LayerSpec, ...], threshold: float | None, n_moments: int) -> None:
        """Keep what to fill.

        Args:
            specs: Layers to write, `valid` and `outlier` among them.
            threshold: Outlier scores above it are flagged.
            n_moments: Channels of `moments`.
        """
        self.specs = specs
        self.threshold = threshold
        self.channels = n_moments + 1

    @abstractmethod
    def moments(self, output: Float) -> Float:
        """Return the averageable moments `[n_moments, H, W]` of raw output `[n_outputs, H, W]`."""

    @abstractmethod
    def core(self, output: Float, score: Float, needed: Mask, layers: Layers) -> None:
        """Fill `layers` from raw output `[n_outputs, H, W]` and score `[H, W]` where `needed`."""

    @abstractmethod
    def seam(self, moments: Float, score: Float, needed: Mask, layers: Layers) -> None:
        """Fill `layers` from blended moments `[n_moments, H, W]` and score `[H, W]` where `needed`."""

    def _flags(self, score: Float, needed: Mask, layers: Layers) -> None:
        layers["valid"][0] = needed
        if "outlier" in layers and self.threshold is not None:
            layers["outlier"][0] = np.where(needed, score > self.threshold, np.uint8(255))


class GenericPostprocessor(Postprocessor):
    """Any objective: `moments`, `from_moments`, the calibration's layers, `LayerSpec.encode`."""

    def __init__(
        self,
        objective: Objective,
        calibration: MapCalibration | None,
        specs: tuple[LayerSpec, ...],
        threshold: float | None,
    ) -> None:
        """Keep the functions; see `Postprocessor`."""
        super().__init__(specs, threshold, objective.n_moments)
        self.objective = objective
        self.calibration = calibration
        extra = () if calibration is None else calibration.extra_layer_specs(objective)
        self._extra = {spec.name for spec in extra} & {spec.name for spec in specs}

    def moments(self, output: Float) -> Float:
        """See `Postprocessor.moments`."""
        return np.asarray(self.objective.moments(output[None])[0], dtype=np.float32)

    def core(self, output: Float, score: Float, needed: Mask, layers: Layers) -> None:
        """See `Postprocessor.core`."""
        self.seam(self.moments(output), score, needed, layers)

    def seam(self, moments: Float, score: Float, needed: Mask, layers: Layers) -> None:
        """See `Postprocessor.seam`."""
        self._flags(score, needed, layers)
        prediction = self.objective.from_moments(moments[None])
        self.fill(prediction, {spec.name for spec in self.specs}, needed, layers)

    def fill(self, prediction: Prediction, names: set[str], needed: Mask, layers: Layers) -> None:
        """Encode the named layers of a prediction, the calibration's among them."""
        extra = self.calibration.extra_layers(prediction) if self.calibration and self._extra & names else {}
        for spec in self.specs:
            if spec.name not in names or spec.role in {"valid", "outlier"}:
                continue
            physical = extra[spec.name] if spec.name in extra else prediction.layers.get(spec.name)
            if physical is None:
                raise ModelError(f"The model promises the layer {spec.name!r} but does not give it; train it again.")
            layers[spec.name][:] = spec.encode(np.asarray(physical)[0], needed)


class SoftmaxPostprocessor(GenericPostprocessor):
    """What the one-pass ways for classes share: codes, scales, limits of the class sets, and what is left to `fill`."""

    fast: ClassVar[frozenset[str]]
    """Layers of uint8 that the kernels write, apart from the class sets."""

    steps: ClassVar[tuple[str, ...]]
    """Those of them that have a scale, in the kernels' order."""

    def __init__(
        self,
        objective: Objective,
        calibration: MapCalibration | None,
        specs: tuple[LayerSpec, ...],
        threshold: float | None,
    ) -> None:
        """Keep the legend's codes and the scales; see `Postprocessor`."""
        super().__init__(objective, calibration, specs, threshold)
        legend = objective.legend
        if legend is None:
            raise ModelError("A class map needs a legend.")
        self._codes = np.asarray(legend.values, dtype=np.uint8)
        scales = {spec.name: spec.scale for spec in specs}
        self._scales = np.array([scales.get(name, 1.0) for name in self.steps], np.float32)
        self._limits = set_limits(calibration, len(legend))
        self._slow = {spec.name for spec in specs} - self.fast - {"valid", "outlier"}
        if self._limits is not None:
            self._slow -= {SET_LAYER}

    @classmethod
    def _writes(cls, specs: tuple[LayerSpec, ...], classes: int) -> bool:
        """Whether types and codes of the layers are those that the kernels write."""
        fast = [spec for spec in specs if spec.name in cls.fast]
        sets = [spec for spec in specs if spec.name == SET_LAYER]
        plain = all(spec.dtype == "uint32" and spec.nodata == 0 and spec.count == 1 for spec in sets)
        plain &= all(spec.dtype == "uint8" and spec.offset == 0 and spec.nodata == 255 for spec in fast)
        return plain and all(spec.count == (classes if spec.name == "probability" else 1) for spec in fast)

    def _targets(self, layers: Layers) -> tuple[list[NDArray[np.uint8]], NDArray[np.uint8], Limits]:
        """Return planes of value and the other steps, probabilities, (limits, sets); empty where unasked."""
        flat = np.empty((0, 0), np.uint8)
        names = ("value", *(name for name in self.steps if name != "probability"))
        planes = [layers[name][0] if name in layers else flat for name in names]
        probability = layers.get("probability", np.empty((0, 0, 0), np.uint8))
        if self._limits is None or SET_LAYER not in layers:
            return planes, probability, (np.empty(0), np.empty((0, 0), np.uint32))
        return planes, probability, (self._limits, layers[SET_LAYER][0])


class ClassPostprocessor(SoftmaxPostprocessor):
    """Classes by softmax: value, entropy and probabilities in one pass; extras the generic way."""

    fast = frozenset({"value", "uncertainty", "probability"})
    steps = ("uncertainty", "probability")

    @classmethod
    def applies(cls, objective: Objective, specs: tuple[LayerSpec, ...]) -> bool:
        """Whether names, types and codes are those that the kernels write."""
        legend = objective.legend
        if legend is None or not 2 <= len(legend) == objective.n_outputs == objective.n_moments:
            return False
        return objective.by_argmax and cls._writes(specs, len(legend))

    def _arguments(self, needed: Mask, layers: Layers) -> tuple[Any, ...]:
        """Return what both kernels take after the scores, up to the sets."""
        planes, probability, (limits, sets) = self._targets(layers)
        return (needed, self._codes, *self._scales, limits, *planes, probability, sets)

    def moments(self, output: Float) -> Float:
        """See `Postprocessor.moments`."""
        probability = np.empty(output.shape, np.float32)
        self._from_logits(output, np.zeros(output.shape[1:], np.bool_), {}, probability)
        return probability

    def _from_logits(self, output: Float, needed: Mask, layers: Layers, probability: Float) -> None:
        from ecumene.mapping import kernels

        classify_logits: Any = kernels.classify_logits  # numba's own types know only fixed argument lists
        classify_logits(output, *self._arguments(needed, layers), probability)

    def core(self, output: Float, score: Float, needed: Mask, layers: Layers) -> None:
        """See `Postprocessor.core`."""
        self._flags(score, needed, layers)
        probability = np.empty(output.shape if self._slow else (0, 0, 0), np.float32)
        self._from_logits(output, needed, layers, probability)
        if self._slow:
            self.fill(self.objective.from_moments(probability[None]), self._slow, needed, layers)

    def seam(self, moments: Float, score: Float, needed: Mask, layers: Layers) -> None:
        """See `Postprocessor.seam`."""
        from ecumene.mapping.kernels import classify_probabilities

        self._flags(score, needed, layers)
        classify_probabilities(moments, *self._arguments(needed, layers))
        if self._slow:
            self.fill(self.objective.from_moments(moments[None]), self._slow, needed, layers)


def set_limits(calibration: MapCalibration | None, classes: int) -> NDArray[np.float64] | None:
    """Return the largest score 1 - p of each class in a conformal set, where the sets are of that kind."""
    sets = calibration.sets if isinstance(calibration, Calibration) else None
    if sets is None or sets.method != "lac" or sets.n_classes != classes or classes > 32:
        return None
    limits = np.broadcast_to(np.asarray(sets.thresholds, dtype=np.float64), (classes,))
    return np.ascontiguousarray(limits + _TIE)


def empty_layers(specs: tuple[LayerSpec, ...], shape: tuple[int, int]) -> dict[str, NDArray[Any]]:
    """Return layers that hold nodata everywhere (`valid`: 0)."""
    layers = {spec.name: zeros_apart((spec.count, *shape), spec.dtype) for spec in specs}
    for spec in specs:
        if spec.role != "valid" and spec.nodata != 0:
            layers[spec.name].fill(spec.nodata)
    return layers


def _agree(first: Postprocessor, second: Postprocessor, channels: int) -> bool:
    generator = np.random.default_rng(20160623)
    output = (6.0 * generator.standard_normal((channels, 16, 33))).astype(np.float32)
    needed = generator.random((16, 33)) > 0.1
    score = generator.standard_normal((16, 33)).astype(np.float32)
    results = []
    for way in (first, second):
        layers = empty_layers(way.specs, needed.shape)
        way.core(output, score, needed, layers)
        results.append(layers)
    for spec in first.specs:
        one, other = (result[spec.name].astype(np.float64) for result in results)
        if np.abs(one - other).max() > (0 if spec.categorical or spec.role == "set" else 1):
            return False
    return bool(np.allclose(first.moments(output), second.moments(output), atol=2e-6))


def build_postprocessor(model: MapModel, specs: tuple[LayerSpec, ...]) -> Postprocessor:
    """Return the fastest postprocessor that agrees with the model's objective."""
    threshold = outlier_threshold(model)
    generic = GenericPostprocessor(model.objective, model.calibration, specs, threshold)
    if ClassPostprocessor.applies(model.objective, specs):
        fast = ClassPostprocessor(model.objective, model.calibration, specs, threshold)
        if _agree(fast, generic, model.objective.n_outputs):
            return fast
    from ecumene.mapping.member_postprocess import MemberPostprocessor

    if isinstance(model.objective, Members) and MemberPostprocessor.applies(model.objective, specs):
        members = MemberPostprocessor(model.objective, model.calibration, specs, threshold)
        if _agree(members, generic, model.objective.n_outputs):
            return members
    return generic
