"""From the scores of several members to stored layers in two passes over memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from ecumene.core.errors import ModelError
from ecumene.mapping.contract import MapCalibration
from ecumene.mapping.postprocess import (
    SET_LAYER,
    Float,
    GenericPostprocessor,
    Layers,
    Mask,
    set_limits,
)
from ecumene.objectives import Members, Segmentation
from ecumene.objectives.contract import Objective
from ecumene.objectives.prediction import LayerSpec

_STEPS = ("uncertainty", "aleatoric", "epistemic", "probability")


class MemberPostprocessor(GenericPostprocessor):
    """Classes of several members by softmax: value, parts of the entropy, probabilities; extras the generic way."""

    _FAST = frozenset({"value", *_STEPS})

    def __init__(
        self,
        objective: Members,
        calibration: MapCalibration | None,
        specs: tuple[LayerSpec, ...],
        threshold: float | None,
    ) -> None:
        """Keep the legend's codes and the scales; see `Postprocessor`."""
        super().__init__(objective, calibration, specs, threshold)
        legend = objective.legend
        if legend is None:
            raise ModelError("A class map needs a legend.")
        self._members = objective.members
        self._codes = np.asarray(legend.values, dtype=np.uint8)
        scales = {spec.name: spec.scale for spec in specs}
        self._scales = np.array([scales.get(name, 1.0) for name in _STEPS], np.float32)
        self._limits = set_limits(calibration, len(legend))
        self._slow = {spec.name for spec in specs} - self._FAST - {"valid", "outlier"}
        if self._limits is not None:
            self._slow -= {SET_LAYER}

    @staticmethod
    def applies(objective: Objective, specs: tuple[LayerSpec, ...]) -> bool:
        """Whether members, names, types and codes are those that the kernels write."""
        if not isinstance(objective, Members) or not isinstance(objective.base, Segmentation):
            return False
        fast = [spec for spec in specs if spec.name in MemberPostprocessor._FAST]
        sets = [spec for spec in specs if spec.name == SET_LAYER]
        plain = all(spec.dtype == "uint32" and spec.nodata == 0 and spec.count == 1 for spec in sets)
        plain &= all(spec.dtype == "uint8" and spec.offset == 0 and spec.nodata == 255 for spec in fast)
        bands = {"probability": objective.base.n_outputs}
        return plain and all(spec.count == bands.get(spec.name, 1) for spec in fast)

    def moments(self, output: Float) -> Float:
        """See `Postprocessor.moments`."""
        from ecumene.mapping.member_kernels import mean_of_members

        moments = np.empty((self.channels - 1, *output.shape[1:]), np.float32)
        mean_of_members(output, self._members, moments)
        return moments

    def core(self, output: Float, score: Float, needed: Mask, layers: Layers) -> None:
        """See `Postprocessor.core`."""
        self.seam(self.moments(output), score, needed, layers)

    def seam(self, moments: Float, score: Float, needed: Mask, layers: Layers) -> None:
        """See `Postprocessor.seam`."""
        from ecumene.mapping import member_kernels

        self._flags(score, needed, layers)
        flat = np.empty((0, 0), np.uint8)
        planes = [layers[name][0] if name in layers else flat for name in ("value", *_STEPS[:3])]
        limits, sets = np.empty(0), np.empty((0, 0), np.uint32)
        if self._limits is not None and SET_LAYER in layers:
            limits, sets = self._limits, layers[SET_LAYER][0]
        probability = layers.get("probability", np.empty((0, 0, 0), np.uint8))
        store: Any = member_kernels.store_members  # numba's own types know only fixed argument lists
        store(moments, needed, self._codes, self._scales, limits, *planes, probability, sets)
        if self._slow:
            self.fill(self.objective.from_moments(moments[None]), self._slow, needed, layers)
