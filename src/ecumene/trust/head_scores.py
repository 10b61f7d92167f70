"""Scores of the last hidden activations together with the logits that a linear head makes of them.

Their feature vectors are `[logits (K), last hidden activations (D)]`, the choice `("logits", <layer>)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.trust.detector import Floats, OutlierDetector, reference_features
from ecumene.trust.logit_scores import log_sum_exp

if TYPE_CHECKING:
    from torch import Tensor


class _HeadDetector(OutlierDetector):
    """A score of logits beside hidden activations; option `n_logits` says where the logits end."""

    def _check_arrays(self) -> bool:
        n_logits = self.options.get("n_logits")
        return isinstance(n_logits, int) and 2 <= n_logits < self.n_features and self._check_own(n_logits)

    def _check_own(self, n_logits: int) -> bool:
        return True


class VimDetector(_HeadDetector):
    """Virtual-logit matching (Wang et al. 2022, "ViM: out-of-distribution with virtual-logit matching", eq. 5-7).

    score(x) = alpha |R^T (x - o)| - log sum_k exp(logit_k): what of the activations lies outside of their principal
    subspace, scaled to a logit of its own, against the energy of the real ones. R spans the complement of the leading
    eigenvectors of the uncentred second moments of x - o; o = -(W^T)^+ b is the point in which the head's bias
    vanishes; alpha = mean of the largest logit / mean of |R^T (x - o)| over the training data. The paper's score is
    the virtual logit's softmax probability, a monotone function of ours.

    Where no linear head is given, o is the mean of the activations. The subspace has half of the activations'
    dimensions (the paper: 1000 of 2048, 512 of 768, else half).

    Arrays: `origin` `[D]`, `residual` `[D, R]`, `alpha` `[1]`.
    """

    name: ClassVar[str] = "vim"
    array_names: ClassVar[tuple[str, ...]] = ("origin", "residual", "alpha")

    @classmethod
    def fit(  # type: ignore[override]  # needs to know where the logits end
        cls,
        features: Floats,
        classes: NDArray[np.integer] | None = None,
        *,
        seed: int = 0,
        n_logits: int = 0,
        weight: Floats | None = None,
        bias: Floats | None = None,
        dimension: int | None = None,
    ) -> Self:
        """Fit the subspace on `[logits, activations]` `[N, K + D]`.

        Args:
            features: Logits beside activations.
            classes: Not used.
            seed: Of the thinning.
            n_logits: K.
            weight: `[K, D]` of the linear head, or None.
            bias: `[K]` of the linear head, or None.
            dimension: Of the principal subspace, 1..D-1; None: half of D.

        Raises:
            ConfigurationError: If features are not usable, or an argument does not fit them.
        """
        values, _ = reference_features(features, None, seed)
        logits, hidden = _parts(values, n_logits)
        size = hidden.shape[1]
        kept = max(1, size // 2) if dimension is None else dimension
        if not 1 <= kept < size:
            raise ConfigurationError(
                f"ViM's subspace of {size} activations must have 1 to {size - 1} dimensions, but was asked for {kept}."
            )
        origin = hidden.mean(axis=0)
        if weight is not None and bias is not None:
            _check_head(weight, bias, n_logits, size)
            origin = -np.linalg.pinv(np.asarray(weight, np.float64)) @ np.asarray(bias, np.float64)
        shifted = hidden - origin
        _, directions = np.linalg.eigh(shifted.T @ shifted / len(shifted))
        residual = directions[:, : size - kept]  # eigh sorts ascending
        outside = float(np.linalg.norm(shifted @ residual, axis=1).mean())
        typical = float(logits.max(axis=1).mean())
        # Activations without any residual (dead units) give the virtual logit nothing to say.
        alpha = typical / outside if outside > 1e-9 and typical > 0.0 else 1.0
        arrays = {"origin": origin, "residual": residual, "alpha": np.array([alpha])}
        return cls(values.shape[1], arrays, {"n_logits": n_logits, "dimension": kept})

    def _check_own(self, n_logits: int) -> bool:
        size, parts = self.n_features - n_logits, self._arrays
        residual = parts["residual"]
        return (
            parts["origin"].shape == (size,)
            and residual.ndim == 2
            and residual.shape[0] == size
            and 1 <= residual.shape[1] < size
            and parts["alpha"].shape == (1,)
        )

    def _score(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        logits, hidden = _parts(features, int(self.options["n_logits"]))
        parts = self._arrays
        outside = np.linalg.norm((hidden - parts["origin"]) @ parts["residual"], axis=1)
        return np.asarray(float(parts["alpha"][0]) * outside - log_sum_exp(logits))

    def _score_map(self, features: Tensor) -> Tensor:
        import torch
        from torch.nn import functional

        number, parts = int(self.options["n_logits"]), self.tensors(features)
        hidden = features[:, number:] - parts["origin"][None, :, None, None]
        outside = functional.conv2d(hidden, parts["residual"].T[:, :, None, None]).square().sum(dim=1).sqrt()
        return parts["alpha"] * outside - torch.logsumexp(features[:, :number], dim=1)


class GradNormDetector(_HeadDetector):
    """The L1 norm of the head's gradient (Huang, Geng, Li 2021, "On the importance of gradients", eq. 3 and 6).

    The gradient of the Kullback-Leibler divergence between the uniform distribution and the softmax by the weights of a
    linear head factors into the activations' L1 norm and the L1 distance of the probabilities from uniform, so that
    no backward pass is needed: score(x) = -|x|_1 |1/K - p|_1. Usual elements have large gradients.
    """

    name: ClassVar[str] = "gradnorm"

    @classmethod
    def fit(  # type: ignore[override]  # needs to know where the logits end
        cls, features: Floats, classes: NDArray[np.integer] | None = None, *, seed: int = 0, n_logits: int = 0
    ) -> Self:
        """Note where the logits of `[logits, activations]` `[N, K + D]` end; nothing is learned.

        Raises:
            ConfigurationError: If features are not usable.
        """
        values, _ = reference_features(features, None, seed, least=1)
        _parts(values, n_logits)
        return cls(values.shape[1], {}, {"n_logits": n_logits})

    def _score(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        number = int(self.options["n_logits"])
        logits, hidden = _parts(features, number)
        probability = np.exp(logits - log_sum_exp(logits)[:, None])
        return np.asarray(-np.abs(hidden).sum(axis=1) * np.abs(probability - 1.0 / number).sum(axis=1))

    def _score_map(self, features: Tensor) -> Tensor:
        number = int(self.options["n_logits"])
        away = (features[:, :number].softmax(dim=1) - 1.0 / number).abs().sum(dim=1)
        return -features[:, number:].abs().sum(dim=1) * away


class ReactDetector(OutlierDetector):
    """The energy after clipping the last hidden activations (Sun, Guo, Li 2021, "ReAct", section 3).

    Units that fire more strongly than 90 % of all training activations did (the paper's percentile) are cut there
    before the linear head is applied again: score(x) = -log sum_k exp(W min(x, c) + b)_k. Its features are the
    activations alone.

    Arrays: `weight` `[K, D]`, `bias` `[K]`, `clip` `[1]`.
    """

    name: ClassVar[str] = "react"
    array_names: ClassVar[tuple[str, ...]] = ("weight", "bias", "clip")

    @classmethod
    def fit(  # type: ignore[override]  # needs the head
        cls,
        features: Floats,
        classes: NDArray[np.integer] | None = None,
        *,
        seed: int = 0,
        weight: Floats | None = None,
        bias: Floats | None = None,
        percentile: float = 90.0,
    ) -> Self:
        """Fit the clip on activations `[N, D]`.

        Args:
            features: Last hidden activations.
            classes: Not used.
            seed: Of the thinning.
            weight: `[K, D]` of the linear head.
            bias: `[K]` of the linear head.
            percentile: Of all activations together, 50..100.

        Raises:
            ConfigurationError: If features are not usable, or the head is absent or does not fit them.
        """
        values, _ = reference_features(features, None, seed)
        if weight is None or bias is None:
            raise ConfigurationError("ReAct needs the weight and bias of a linear head; take another outlier detector.")
        if not 50.0 <= percentile <= 100.0:
            raise ConfigurationError(f"ReAct's percentile must lie between 50 and 100, but is {percentile}.")
        _check_head(weight, bias, np.shape(weight)[0], values.shape[1])
        arrays: dict[str, NDArray[Any]] = {
            "weight": np.asarray(weight),
            "bias": np.asarray(bias),
            "clip": np.array([np.percentile(values, percentile)]),
        }
        return cls(values.shape[1], arrays, {"percentile": float(percentile)})

    def _check_arrays(self) -> bool:
        weight, bias = self._arrays["weight"], self._arrays["bias"]
        return (
            weight.ndim == 2
            and weight.shape[1] == self.n_features
            and bias.shape == (weight.shape[0],)
            and self._arrays["clip"].shape == (1,)
        )

    def _score(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        parts = self._arrays
        clipped = np.minimum(features, float(parts["clip"][0]))
        return -log_sum_exp(clipped @ parts["weight"].T.astype(np.float64) + parts["bias"])

    def _score_map(self, features: Tensor) -> Tensor:
        import torch
        from torch.nn import functional

        parts = self.tensors(features)
        clipped = torch.minimum(features, parts["clip"][None, :, None, None])
        logits = functional.conv2d(clipped, parts["weight"][:, :, None, None], parts["bias"])
        return -torch.logsumexp(logits, dim=1)


def _parts(values: NDArray[np.float64], n_logits: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Divide `[N, K + D]` into logits and activations."""
    if not 2 <= n_logits < values.shape[1]:
        raise ConfigurationError(
            f"Of {values.shape[1]} features, 2 to {values.shape[1] - 1} must be logits, but n_logits is {n_logits}."
        )
    return values[:, :n_logits], values[:, n_logits:]


def _check_head(weight: Floats, bias: Floats, n_logits: int, size: int) -> None:
    if np.shape(weight) != (n_logits, size) or np.shape(bias) != (n_logits,):
        raise ConfigurationError(
            f"The head has weights {np.shape(weight)} and biases {np.shape(bias)}, but {n_logits} logits of {size} "
            f"activations need {(n_logits, size)} and {(n_logits,)}."
        )
