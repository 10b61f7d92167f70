"""Baselines that look at nothing but the logits."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ecumene.trust.detector import Floats, OutlierDetector, reference_features

if TYPE_CHECKING:
    from torch import Tensor


class _LogitDetector(OutlierDetector):
    """A score of logits that needs no fitting; its "features" are the logits `[N, K]`."""

    @classmethod
    def fit(cls, features: Floats, classes: NDArray[np.integer] | None = None, *, seed: int = 0) -> Self:
        """Take the number of classes from logits `[N, K]`; nothing is learned.

        Raises:
            ConfigurationError: If the logits are not usable.
        """
        values, _ = reference_features(features, None, seed, least=1)
        return cls(values.shape[1], {})

    def _check_arrays(self) -> bool:
        return True


class EnergyDetector(_LogitDetector):
    """The free energy -log sum_k exp(logit_k) (Liu et al. 2020, "Energy-based out-of-distribution detection", eq. 4).

    A baseline: networks trained on few classes of one scene are often more certain far away than at home.
    """

    name: ClassVar[str] = "energy"

    def _score(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        top = features.max(axis=1, keepdims=True)
        return np.asarray(-(np.log(np.exp(features - top).sum(axis=1)) + top[:, 0]))

    def _score_map(self, features: Tensor) -> Tensor:
        import torch

        return -torch.logsumexp(features, dim=1)


class MaxSoftmaxDetector(_LogitDetector):
    """One minus the largest class probability (Hendrycks and Gimpel 2017), a baseline."""

    name: ClassVar[str] = "max-softmax"

    def _score(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        raised = np.exp(features - features.max(axis=1, keepdims=True))
        return np.asarray(1.0 - 1.0 / raised.sum(axis=1))

    def _score_map(self, features: Tensor) -> Tensor:
        return 1.0 - features.softmax(dim=1).amax(dim=1)
