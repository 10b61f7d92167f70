"""A support vector machine as plain arrays, validated so that no array from a stranger can harm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ModelError
from ecumene.models.arrays import require_names

UNSEEN = -16.0
"""Score of classes that the machine has not learned; below any other, and about ln 1e-7."""

_BLOCK = 2048


@dataclass(frozen=True)
class SupportVectorMachine:
    """One machine with a Gaussian kernel for each pair of classes, all on common support vectors.

    The value of the pair (i, j), i < j, at a row x is `sum_s pairs[s, p] exp(-gamma |z - support_s|^2) + bias[p]` with
    `z = (x - mean) / std`; it speaks for i where it is positive. A class's score is the number of pairs that speak for
    it, and within a tie, the sum of their values squashed to less than half a vote. Scores times `scale` are logits.

    Attributes:
        support: float32 `[S, F]`, standardised.
        pairs: float32 `[S, P]`, weights of the support vectors, for the pairs (0, 1), (0, 2), ..., (1, 2), ...
        bias: float32 `[P]`.
        classes: int32 `[L]`, ascending class indices that the machine has learned; P = L (L - 1) / 2.
        mean: float32 `[F]`, physical units.
        std: float32 `[F]`, positive.
        gamma: Of the kernel, in standardised units.
        scale: Logit of one vote.
        n_classes: Classes of the legend.
    """

    support: NDArray[np.float32]
    pairs: NDArray[np.float32]
    bias: NDArray[np.float32]
    classes: NDArray[np.int32]
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    gamma: float
    scale: float
    n_classes: int

    @property
    def n_features(self) -> int:
        """Features of a row."""
        return int(self.support.shape[1])

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays for `svm.safetensors`."""
        arrays: dict[str, NDArray[Any]] = {name: getattr(self, name) for name in _ARRAYS}
        arrays["kernel"] = np.array([self.gamma, self.scale], np.float64)
        arrays["n_classes"] = np.array([self.n_classes], np.int32)
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], what: str = "svm.safetensors") -> SupportVectorMachine:
        """Rebuild from `to_arrays`, validated.

        Raises:
            ModelError: If names, types, shapes or values are wrong.
        """
        require_names(arrays, _TYPES, what)
        for name, (dtype, ndim) in _TYPES.items():
            if arrays[name].dtype != np.dtype(dtype) or arrays[name].ndim != ndim:
                raise ModelError(f"{what} holds {name!r} as {arrays[name].dtype} with {arrays[name].ndim} axes.")
        if arrays["kernel"].shape != (2,) or arrays["n_classes"].shape != (1,):
            raise ModelError(f"{what} does not state its kernel and its number of classes.")
        gamma, scale = (float(value) for value in arrays["kernel"])
        machine = cls(
            **{name: arrays[name] for name in _ARRAYS},
            gamma=gamma,
            scale=scale,
            n_classes=int(arrays["n_classes"][0]),
        )
        machine.validate(what)
        return machine

    def validate(self, what: str = "The support vector machine") -> None:
        """Check that all arrays belong together.

        Raises:
            ModelError: Saying which rule is broken.
        """
        count, features = self.support.shape
        learned = len(self.classes)
        shapes = (self.pairs.shape, self.bias.shape, self.mean.shape, self.std.shape)
        number = learned * (learned - 1) // 2
        if learned < 2 or shapes != ((count, number), (number,), (features,), (features,)) or not count:
            raise ModelError(f"{what} is damaged: its arrays do not belong together.")
        if self.classes.min() < 0 or self.classes.max() >= self.n_classes or (np.diff(self.classes) < 1).any():
            raise ModelError(f"{what} is damaged: it speaks of classes that the model does not have.")
        finite = all(np.isfinite(getattr(self, name)).all() for name in _ARRAYS)
        if not finite or not (self.std > 0).all() or not (0 < self.gamma < np.inf and 0 < self.scale < np.inf):
            raise ModelError(f"{what} is damaged: it holds numbers that are not finite or not positive.")

    def __call__(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return logits float64 `[N, n_classes]` of rows float32 `[N, F]` in physical units, all finite."""
        logits = np.full((len(rows), self.n_classes), UNSEEN)
        squares = np.einsum("sf,sf->s", self.support, self.support)
        for start in range(0, len(rows), _BLOCK):
            z = (rows[start : start + _BLOCK] - self.mean) / self.std
            distance = np.einsum("nf,nf->n", z, z)[:, None] + squares - 2.0 * (z @ self.support.T)
            kernel = np.exp(-self.gamma * np.maximum(distance, 0.0))
            scores = votes(kernel @ self.pairs + self.bias, len(self.classes))
            logits[start : start + _BLOCK, self.classes] = self.scale * scores
        return logits


_ARRAYS = ("support", "pairs", "bias", "classes", "mean", "std")
_TYPES: dict[str, tuple[str, int]] = {
    "support": ("float32", 2),
    "pairs": ("float32", 2),
    "bias": ("float32", 1),
    "classes": ("int32", 1),
    "mean": ("float32", 1),
    "std": ("float32", 1),
    "kernel": ("float64", 1),
    "n_classes": ("int32", 1),
}


def votes(values: NDArray[np.floating[Any]], learned: int) -> NDArray[np.float64]:
    """Return the scores of classes from the values of pairs.

    Args:
        values: `[N, P]`, pairs in the order of `SupportVectorMachine.pairs`.
        learned: Number of classes.

    Returns:
        float64 `[N, learned]`: votes, plus the sum of the pairs' values squashed to (-1/3, 1/3).
    """
    first, second = np.triu_indices(learned, 1)
    count = np.zeros((len(values), learned))
    total = np.zeros((len(values), learned))
    for pair, (i, j) in enumerate(zip(first, second, strict=True)):
        value = values[:, pair].astype(np.float64)
        count[:, i] += value > 0
        count[:, j] += value <= 0
        total[:, i] += value
        total[:, j] -= value
    return count + total / (3.0 * (np.abs(total) + 1.0))


def machine_from_sklearn(
    fitted: Any, mean: NDArray[np.floating[Any]], std: NDArray[np.floating[Any]], scale: float, n_classes: int
) -> SupportVectorMachine:
    """Turn a fitted `sklearn.svm.SVC` with a Gaussian kernel into arrays.

    Args:
        fitted: Fitted on standardised rows and class indices, with a numeric `gamma`.
        mean: `[F]` that rows are standardised with.
        std: `[F]`.
        scale: Logit of one vote.
        n_classes: Classes of the legend.
    """
    learned = len(fitted.classes_)
    ends = np.cumsum(fitted.n_support_)
    own = [slice(end - count, end) for end, count in zip(ends, fitted.n_support_, strict=True)]
    # The library turns the sign of a single pair round.
    sign = -1.0 if learned == 2 else 1.0
    pairs = np.zeros((int(ends[-1]), learned * (learned - 1) // 2), np.float32)
    for pair, (i, j) in enumerate(zip(*np.triu_indices(learned, 1), strict=True)):
        pairs[own[i], pair] = sign * fitted.dual_coef_[j - 1, own[i]]
        pairs[own[j], pair] = sign * fitted.dual_coef_[i, own[j]]
    return SupportVectorMachine(
        support=np.asarray(fitted.support_vectors_, np.float32),
        pairs=pairs,
        bias=(sign * np.asarray(fitted.intercept_)).astype(np.float32),
        classes=np.asarray(fitted.classes_, np.int32),
        mean=np.asarray(mean, np.float32),
        std=np.asarray(std, np.float32),
        gamma=float(fitted.gamma),
        scale=float(scale),
        n_classes=n_classes,
    )
