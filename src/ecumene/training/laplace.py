"""Laplace approximation of the last layer: a Gaussian posterior over its weights, from features and outputs.

Arrays in, arrays out; `training.last_layer` joins it to networks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, LabelError

Float = NDArray[np.float64]
Hessian = Literal["full", "kronecker", "diagonal"]
PRECISIONS = np.logspace(-4, 6, 61)
"""Prior precisions that are tried."""
MOST_WEIGHTS = 4096
"""A full Hessian has this number of rows at most; above it takes 128 MiB and minutes."""


@dataclass(frozen=True)
class Posterior:
    """Gaussian N(mode, (H + precision I)^-1) over the weights of a linear layer with bias.

    The curvature H is kept by eigenvalues and eigenvectors, so that another prior precision costs nothing: with a
    full Hessian one basis of all weights, with a Kronecker-factored one a basis on the side of features and one on
    the side of outputs, with a diagonal one none.

    Attributes:
        mode: Weights with the bias as last column, `[K, F + 1]`.
        curvature: Eigenvalues of H, `[K, F + 1]` (full: in ascending order, reshaped).
        feature_basis: `[F + 1, F + 1]`, Kronecker only.
        output_basis: `[K, K]`, Kronecker only.
        basis: `[K (F + 1), K (F + 1)]`, full only.
        precision: Of the prior, N(0, I / precision).
    """

    mode: Float
    curvature: Float
    precision: float
    feature_basis: Float | None = None
    output_basis: Float | None = None
    basis: Float | None = None

    def under(self, precision: float, share: float = 1.0) -> Posterior:
        """Return the posterior under another prior precision, the likelihood counted by a share of it."""
        return replace(self, precision=precision, curvature=self.curvature * share)

    def spread(self, noise: Float) -> Float:
        """Turn white noise `[M, K, F + 1]` into deviations from the mode of the same shape."""
        scaled = noise / np.sqrt(self.curvature + self.precision)
        if self.basis is not None:
            turned: Float = (scaled.reshape(len(scaled), -1) @ self.basis.T).reshape(scaled.shape)
            return turned
        if self.feature_basis is not None and self.output_basis is not None:
            return np.asarray(np.einsum("ij,mjf,gf->mig", self.output_basis, scaled, self.feature_basis))
        return np.asarray(scaled)

    def samples(self, members: int, seed: int) -> Float:
        """Draw weights `[members, K, F + 1]`.

        Noise is drawn in pairs of opposite sign, so that the mean of an even number of samples is the mode: the
        mean output of the members is then the network's own.
        """
        half = np.random.default_rng(seed).standard_normal((-(-members // 2), *self.mode.shape))
        noise = np.stack([half, -half], axis=1).reshape(-1, *self.mode.shape)[:members]
        if members % 2:
            noise[-1] = 0.0
        return np.asarray(self.mode + self.spread(noise))

    def log_evidence(self, log_likelihood: float) -> float:
        """Return the Laplace approximation of the log marginal likelihood, up to a constant.

        MacKay 1992, "The evidence framework applied to classification networks", eq. 9; Immer et al. 2021, arXiv
        2104.04975, eq. 5.

        Args:
            log_likelihood: Of the data at the mode.
        """
        prior = 0.5 * self.mode.size * math.log(self.precision) - 0.5 * self.precision * float((self.mode**2).sum())
        return log_likelihood + prior - 0.5 * float(np.log(self.curvature + self.precision).sum())


def laplace_posterior(
    features: NDArray[np.floating],
    information: Float,
    mode: Float,
    *,
    hessian: Hessian = "full",
    precision: float = 1.0,
) -> Posterior:
    """Fit the posterior of the last layer.

    The Hessian is the generalised Gauss-Newton matrix sum_n L_n (x) phi_n phi_n^T with L_n the Fisher information of
    pixel n in its outputs (Daxberger et al. 2021, "Laplace redux", arXiv 2106.14806, section 2; last layer: Kristiadi
    et al. 2020, arXiv 2002.10118). `kronecker` replaces it by (sum L_n) (x) (mean phi phi^T) (Ritter et al. 2018);
    `diagonal` keeps its diagonal.

    Args:
        features: phi without the constant, `[N, F]`.
        information: L, `[N, K, K]`, positive semi-definite.
        mode: Trained weights with the bias as last column, `[K, F + 1]`.
        hessian: Its form.
        precision: Of the prior.

    Raises:
        LabelError: If there is no pixel.
        ConfigurationError: If something is not finite, or a full Hessian would be too large.
    """
    if len(features) == 0:
        raise LabelError("There is no labelled pixel for the Laplace approximation; label more places.")
    phi = np.concatenate([np.asarray(features, np.float64), np.ones((len(features), 1))], axis=1)
    if not (np.isfinite(phi).all() and np.isfinite(information).all()):
        raise ConfigurationError("Some features of the network are not finite; train it with a lower learning rate.")
    outputs, width = mode.shape
    if hessian == "full" and mode.size > MOST_WEIGHTS:
        raise ConfigurationError(
            f"The last layer has {mode.size} weights, and a full Hessian is kept for at most {MOST_WEIGHTS}; "
            "use the Kronecker-factored one."
        )
    if hessian == "diagonal":
        diagonal = np.einsum("nk,nf->kf", np.diagonal(information, axis1=1, axis2=2), phi**2)
        return Posterior(mode, diagonal, precision)
    if hessian == "kronecker":
        output_values, output_basis = np.linalg.eigh(information.sum(axis=0))
        feature_values, feature_basis = np.linalg.eigh(phi.T @ phi / len(phi))
        values = np.outer(output_values.clip(0.0), feature_values.clip(0.0))
        return Posterior(mode, values, precision, feature_basis, output_basis)
    matrix = np.empty((outputs, width, outputs, width))
    for i in range(outputs):
        for j in range(i + 1):
            matrix[i, :, j] = phi.T @ (phi * information[:, i, j, None])
            matrix[j, :, i] = matrix[i, :, j].T
    values, basis = np.linalg.eigh(matrix.reshape(mode.size, mode.size))
    return Posterior(mode, values.clip(0.0).reshape(mode.shape), precision, basis=basis)


def class_information(probability: Float) -> Float:
    """Return the Fisher information of a categorical distribution in its logits, diag(p) - p p^T, `[N, K, K]`."""
    p = np.asarray(probability, np.float64)
    return np.asarray(np.einsum("nk,kj->nkj", p, np.eye(p.shape[1])) - p[:, :, None] * p[:, None, :])


def best_precision(posterior: Posterior, log_likelihood: float) -> float:
    """Return the prior precision of the largest marginal likelihood."""
    evidence = [posterior.under(float(p)).log_evidence(log_likelihood) for p in PRECISIONS]
    return float(PRECISIONS[int(np.argmax(evidence))])
