"""Baselines that look at nothing but the logits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.trust.detector import Floats, OutlierDetector, reference_features
from ecumene.trust.feature_choice import LOGITS, FeatureChoice

if TYPE_CHECKING:
    from torch import Tensor


class _LogitDetector(OutlierDetector):
    """A score of logits that needs no fitting; its "features" are the logits `[N, K]`."""

    usual_choice: ClassVar[FeatureChoice] = FeatureChoice((LOGITS,))

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
        return -log_sum_exp(features)

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


class OdinDetector(_LogitDetector):
    """The largest class probability at a high temperature (Liang et al. 2018, "Enhancing the reliability of
    out-of-distribution image detection", eq. 1), without the paper's second half.

    score(logits) = -T (log max_k softmax_k(logits / T) + log K): the paper's score on a logarithmic scale that keeps
    its digits in float32 where all probabilities approach 1 / K; the order of elements is the same.

    The paper also moves the input by a small step that raises its largest probability. That takes the gradient of the
    whole network, so that it cannot be part of an exported graph and costs a map three times as much.
    `models.perturbation` has it for experiments with torch.
    """  # noqa: D205

    name: ClassVar[str] = "odin"

    @classmethod
    def fit(
        cls,
        features: Floats,
        classes: NDArray[np.integer] | None = None,
        *,
        seed: int = 0,
        temperature: float = 1000.0,
    ) -> Self:
        """Take the number of classes from logits `[N, K]`; nothing is learned.

        Args:
            features: Logits.
            classes: Not used.
            seed: Not used.
            temperature: T, the paper's value by default.

        Raises:
            ConfigurationError: If the logits are not usable or the temperature is out of range.
        """
        if not 1.0 <= temperature <= 1e5:
            raise ConfigurationError(f"ODIN's temperature must lie between 1 and 100000, but is {temperature}.")
        values, _ = reference_features(features, None, seed, least=1)
        return cls(values.shape[1], {}, {"temperature": float(temperature)})

    def _check_arrays(self) -> bool:
        temperature = self.options.get("temperature")
        return isinstance(temperature, int | float) and 1.0 <= temperature <= 1e5

    def _score(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        temperature = float(self.options["temperature"])
        scaled = features / temperature
        return np.asarray(temperature * (log_sum_exp(scaled) - scaled.max(axis=1) - math.log(self.n_features)))

    def _score_map(self, features: Tensor) -> Tensor:
        temperature = float(self.options["temperature"])
        below = (features - features.amax(dim=1, keepdim=True)) / temperature
        # log(mean(exp(b))) = log1p(mean(exp(b) - 1)); the latter keeps the digits of small b.
        return temperature * below.expm1().mean(dim=1).log1p()


def log_sum_exp(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return log sum exp over the last axis of `[N, K]`, without overflow."""
    top = values.max(axis=1, keepdims=True)
    return np.asarray(np.log(np.exp(values - top).sum(axis=1)) + top[:, 0])
