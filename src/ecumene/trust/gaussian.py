"""Mahalanobis distances: how far a feature vector lies outside of Gaussian clouds of training features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.trust.detector import Floats, OutlierDetector, reference_features, standard_scale

if TYPE_CHECKING:
    from torch import Tensor

LEAST_OF_A_CLASS = 10
"""Classes with fewer training pixels get no cloud of their own."""


class MahalanobisDetector(OutlierDetector):
    """Squared Mahalanobis distance to the nearest mean, a feature.

    score(x) = min_m |W (x - c) - mu_m|^2 / F with W from the Ledoit-Wolf shrunk covariance (2004) of standardised
    features. One mean of all training pixels, or with `conditional` one a class around a shared ("tied") covariance
    (Lee et al. 2018, "A simple unified framework for detecting out-of-distribution samples"). `relative` subtracts the
    distance to the cloud of all classes together (Ren et al. 2021, "A simple fix to Mahalanobis distance"), which
    cancels what all classes share.

    Arrays: `center` `[F]`, `whitening` `[F, F]`, `means` `[M, F]` in whitened space, `background` `[F, F]` (zeros
    unless relative).
    """

    name: ClassVar[str] = "mahalanobis"
    array_names: ClassVar[tuple[str, ...]] = ("center", "whitening", "means", "background")

    @classmethod
    def fit(
        cls,
        features: Floats,
        classes: NDArray[np.integer] | None = None,
        *,
        seed: int = 0,
        conditional: bool = False,
        relative: bool = False,
    ) -> Self:
        """Fit the cloud(s) on training features `[N, F]` and, if conditional or relative, classes `[N]`.

        Raises:
            ConfigurationError: If features are not usable, or classes are needed and absent.
        """
        values, labels = reference_features(features, classes, seed)
        center, scale = values.mean(axis=0), standard_scale(values)
        z = (values - center) / scale
        means = np.zeros((1, z.shape[1]))
        residual = z
        if conditional or relative:
            means, residual = _class_means(z, labels)
        whitening = _whiten(_ledoit_wolf(residual))
        background = _whiten(_ledoit_wolf(z)) if relative else np.zeros_like(whitening)
        arrays = {
            "center": center,
            "whitening": whitening / scale[:, None],
            "means": means @ whitening,
            "background": background / scale[:, None],
        }
        return cls(values.shape[1], arrays, {"conditional": conditional or relative, "relative": relative})

    def triangle(self) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """Return (c `[F]`, upper triangle R `[F, F]`) with score(x) = |R (x - c)|^2 / F, where there is one mean.

        R is the factor of W^T = Q R, which leaves lengths as they are. Its zeros save half of the products, and its
        last rows read the last features only.
        """
        parts = self._arrays
        if len(parts["means"]) != 1 or parts["means"].any() or self.options.get("relative"):
            return None
        upper = np.linalg.qr(parts["whitening"].astype(np.float64).T, mode="r")
        return parts["center"], np.ascontiguousarray(np.triu(upper), dtype=np.float32)

    def _check_arrays(self) -> bool:
        number, parts = self.n_features, self._arrays
        square = (number, number)
        return (
            parts["center"].shape == (number,)
            and parts["whitening"].shape == square
            and parts["background"].shape == square
            and parts["means"].ndim == 2
            and parts["means"].shape[0] >= 1
            and parts["means"].shape[1] == number
        )

    def _score(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        parts = self._arrays
        centred = features - parts["center"]
        z = centred @ parts["whitening"]
        nearest = np.min([np.square(z - mean).sum(axis=1) for mean in parts["means"]], axis=0)
        if self.options.get("relative"):
            nearest = nearest - np.square(centred @ parts["background"]).sum(axis=1)
        return np.asarray(nearest / self.n_features)

    def _score_map(self, features: Tensor) -> Tensor:
        import torch

        parts = self.tensors(features)
        centred = features - parts["center"][None, :, None, None]
        z = _project(centred, parts["whitening"])
        means = parts["means"]
        nearest = (z - means[0][None, :, None, None]).square().sum(dim=1)
        for position in range(1, means.shape[0]):
            nearest = torch.minimum(nearest, (z - means[position][None, :, None, None]).square().sum(dim=1))
        if self.options.get("relative"):
            nearest = nearest - _project(centred, parts["background"]).square().sum(dim=1)
        return nearest / self.n_features


class CombinedDetector(MahalanobisDetector):
    """The default: one ridge-regularised Mahalanobis distance over input bands and network features together.

    The features are what the deployed model hands over: locally averaged normalised bands (what the scene looks like;
    a model trained on one scene flags clouds, other regions and other sensors by them) beside network features (what
    the network made of it). Local averages shrink the cloud of usual values, which a detector on the pixels' own bands
    lacks. Every feature is standardised and `ridge`^2 is added to every direction's variance: differences below `ridge`
    standard deviations (radiometric uncertainty, haze, sun angle) are nothing strange, however thin the training
    cloud is in that direction. Without the ridge, thin directions of a single training scene flag every other date.

    It was chosen on real shifts (`benchmarks/trust_outliers.py`), and the ridge with it: other regions and clouds are
    found as surely as by the other distances on the same features, with fewer flags on clear dates of the training
    place. Classes that were never labelled are found more surely by `NeighbourDetector`, and a region that resembles
    the training place, with few labels, only by `TardisDetector`, which needs scenes of it.

    score(x) = (x - c)^T S (C + ridge^2 I)^-1 S (x - c) / F with S = diag(1/std), C the correlation matrix.
    """

    name: ClassVar[str] = "combined"

    @classmethod
    def fit(  # type: ignore[override]  # one option instead of two
        cls, features: Floats, classes: NDArray[np.integer] | None = None, *, seed: int = 0, ridge: float = 0.2
    ) -> Self:
        """Fit on training features `[N, F]`; `classes` are not used.

        Raises:
            ConfigurationError: If features are not usable, or the ridge is not positive.
        """
        if not 0.0 < ridge <= 10.0:
            raise ConfigurationError(f"The ridge of the outlier detector must be in (0, 10], but is {ridge}.")
        values, _ = reference_features(features, None, seed)
        center, scale = values.mean(axis=0), standard_scale(values)
        z = (values - center) / scale
        number = values.shape[1]
        whitening = _whiten(z.T @ z / len(z) + ridge**2 * np.eye(number))
        arrays: dict[str, NDArray[Any]] = {
            "center": center,
            "whitening": whitening / scale[:, None],
            "means": np.zeros((1, number)),
            "background": np.zeros((number, number)),
        }
        return cls(number, arrays, {"ridge": ridge})


def _project(features: Tensor, matrix: Tensor) -> Tensor:
    """Return `[B, R, H, W]` of `[B, F, H, W]` and `[F, R]`, as the 1x1 convolution that every runtime is fast at."""
    from torch.nn import functional

    return functional.conv2d(features, matrix.T[:, :, None, None])


def _ledoit_wolf(residual: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the shrunk covariance of centred rows."""
    from sklearn.covariance import ledoit_wolf

    covariance, _ = ledoit_wolf(residual, assume_centered=True)
    return np.asarray(covariance)


def _whiten(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return W `[F, F]` with W W^T the (numerically safe) inverse of a covariance."""
    variances, directions = np.linalg.eigh(covariance)
    safe = np.maximum(variances, 1e-6 * max(float(variances.max()), 1e-30))
    return np.asarray(directions / np.sqrt(safe))


def _class_means(
    z: NDArray[np.float64], labels: NDArray[np.int64] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (means of the classes `[M, F]`, residuals of their pixels)."""
    if labels is None:
        raise ConfigurationError("A class-conditional outlier detector needs the classes of its training pixels.")
    kept = [label for label in np.unique(labels) if label >= 0 and (labels == label).sum() >= LEAST_OF_A_CLASS]
    if not kept:
        raise ConfigurationError(
            f"A class-conditional outlier detector needs a class with at least {LEAST_OF_A_CLASS} training pixels."
        )
    means = np.stack([z[labels == label].mean(axis=0) for label in kept])
    residual = np.concatenate([z[labels == label] - mean for label, mean in zip(kept, means, strict=True)])
    return means, residual
