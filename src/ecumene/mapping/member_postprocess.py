"""From the scores of several members to stored layers in two passes over memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from ecumene.mapping.postprocess import Float, Layers, Mask, SoftmaxPostprocessor
from ecumene.objectives import Members, Segmentation
from ecumene.objectives.contract import Objective
from ecumene.objectives.prediction import LayerSpec


class MemberPostprocessor(SoftmaxPostprocessor):
    """Classes of several members by softmax: value, parts of the entropy, probabilities; extras the generic way."""

    fast = frozenset({"value", "uncertainty", "aleatoric", "epistemic", "probability"})
    steps = ("uncertainty", "aleatoric", "epistemic", "probability")

    @classmethod
    def applies(cls, objective: Objective, specs: tuple[LayerSpec, ...]) -> bool:
        """Whether members, names, types and codes are those that the kernels write."""
        if not isinstance(objective, Members) or not isinstance(objective.base, Segmentation):
            return False
        return objective.by_argmax and cls._writes(specs, objective.base.n_outputs)

    def moments(self, output: Float) -> Float:
        """See `Postprocessor.moments`."""
        from ecumene.mapping.member_kernels import mean_of_members

        moments = np.empty((self.channels - 1, *output.shape[1:]), np.float32)
        mean_of_members(output, self.objective.members, moments)
        return moments

    def core(self, output: Float, score: Float, needed: Mask, layers: Layers) -> None:
        """See `Postprocessor.core`."""
        self.seam(self.moments(output), score, needed, layers)

    def seam(self, moments: Float, score: Float, needed: Mask, layers: Layers) -> None:
        """See `Postprocessor.seam`."""
        from ecumene.mapping import member_kernels

        self._flags(score, needed, layers)
        planes, probability, (limits, sets) = self._targets(layers)
        store: Any = member_kernels.store_members  # numba's own types know only fixed argument lists
        store(moments, needed, self._codes, self._scales, limits, *planes, probability, sets)
        if self._slow:
            self.fill(self.objective.from_moments(moments[None]), self._slow, needed, layers)
