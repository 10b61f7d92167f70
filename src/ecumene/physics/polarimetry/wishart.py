"""Clustering of polarimetric matrices by the complex Wishart law."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, SceneError
from ecumene.physics.polarimetry.matrices import Matrix, usable_matrices
from ecumene.physics.speckle.checks import check_looks

INVALID = 1
"""No usable matrix."""
UNLIKE_ALL = 2
"""Farther from its own cluster than 99.9 % of Wishart samples of that cluster's mean would be."""
AMBIGUOUS = 4
"""The cluster's probability is below one half."""


@dataclass(frozen=True)
class Clusters:
    """Clustered matrices of leading shape S, K clusters.

    Attributes:
        label: Cluster 0..K-1, -1 where invalid, S.
        probability: Of the label among the clusters, given the Wishart law and their shares, S.
        distance: Wishart distance to the label's mean less its smallest possible value (0 at the mean itself), S.
        means: Mean matrices `[K, d, d]`, by falling power.
        shares: Share of pixels, `[K]`.
        flags: Bits of this module, S.
        iterations: Done.
        converged: True if fewer than the tolerated share of pixels moved at last.
    """

    label: NDArray[np.int64]
    probability: NDArray[np.float64]
    distance: NDArray[np.float64]
    means: Matrix
    shares: NDArray[np.float64]
    flags: NDArray[np.uint8]
    iterations: int
    converged: bool


def wishart_distance(matrix: NDArray[Any], means: NDArray[Any]) -> NDArray[np.float64]:
    """Return `ln |V| + tr(V^-1 T)` of matrices to cluster means.

    Lee, Grunes and Kwok (1994, doi 10.1080/01431169408954244), eq. 9: -ln of the Wishart likelihood over L, up to
    a term of T alone. It is smallest, `ln |T| + d`, at V = T.

    Args:
        matrix: `[P, d, d]`.
        means: `[K, d, d]`, positive definite.

    Returns:
        `[P, K]`.
    """
    sign, logarithm = np.linalg.slogdet(means)
    if not np.all(sign.real > 0.0):
        raise SceneError("A cluster's mean matrix is singular; average the matrices over more pixels first.")
    inverse = np.linalg.inv(means)
    traces = np.einsum("kij,pji->pk", inverse, matrix, optimize=True).real
    return np.asarray(logarithm[None, :] + traces)


def wishart_clusters(
    coherency: NDArray[Any],
    start: NDArray[np.int64],
    looks: float,
    *,
    iterations: int = 30,
    tolerance: float = 1e-3,
) -> Clusters:
    """Cluster matrices by k-means with the Wishart distance, from a given start.

    Lee et al. (1999, doi 10.1109/36.789621) start from the H/alpha zones. Differences: labels take
    the clusters' shares into account (maximum a posteriori instead of maximum likelihood), each label has its
    probability, and pixels unlike every cluster are flagged by the Wishart law itself: under it
    `2 L tr(V^-1 T)` is chi-square with `2 L d` degrees of freedom.

    Args:
        coherency: `[..., d, d]`.
        start: First labels, 0..K-1 or any codes; negative or 0-sized classes are dropped, same leading shape.
        looks: Equivalent number of looks.
        iterations: Most iterations.
        tolerance: Stop when a smaller share of pixels moves.

    Raises:
        ConfigurationError: If looks or iterations are out of range, or shapes differ.
        SceneError: If no matrix is usable or no start class has enough of them.
    """
    looks = check_looks(looks)
    matrix = np.asarray(coherency, np.complex128)
    size = matrix.shape[-1]
    if start.shape != matrix.shape[:-2] or iterations < 1:
        raise ConfigurationError(
            "The start labels must have the shape of the image, and at least one iteration is needed."
        )
    usable = usable_matrices(matrix)
    pixels = matrix[usable]
    label = np.asarray(start, np.int64)[usable]
    codes = [code for code in np.unique(label[label >= 0]) if (label == code).sum() > size]
    if not codes:
        raise SceneError("No start class has enough usable matrices; give other start labels.")
    means = np.stack([pixels[label == code].mean(axis=0) for code in codes])
    shares = np.array([(label == code).sum() for code in codes], np.float64)
    current = np.full(label.size, -1, np.int64)
    done, moved = 0, 1.0
    for done in range(1, iterations + 1):  # noqa: B007
        score = -looks * wishart_distance(pixels, means) + np.log(shares / shares.sum())
        assigned = score.argmax(axis=1)
        moved = float((assigned != current).mean())
        current = assigned
        kept = [k for k in range(len(means)) if (current == k).sum() > size]
        means = np.stack([pixels[current == k].mean(axis=0) for k in kept])
        shares = np.array([(current == k).sum() for k in kept], np.float64)
        if moved < tolerance and len(kept) == score.shape[1]:
            break
    order = np.argsort(-np.trace(means, axis1=-2, axis2=-1).real, kind="stable")
    return _finish(matrix, usable, pixels, means[order], shares[order], looks, done, moved < tolerance)


def _finish(
    matrix: Matrix,
    usable: NDArray[np.bool_],
    pixels: Matrix,
    means: Matrix,
    shares: NDArray[np.float64],
    looks: float,
    done: int,
    converged: bool,
) -> Clusters:
    """Label all pixels with the final means."""
    from scipy.special import logsumexp
    from scipy.stats import chi2

    size = matrix.shape[-1]
    distance = wishart_distance(pixels, means)
    score = -looks * distance + np.log(shares / shares.sum())
    best = score.argmax(axis=1)
    rows = np.arange(len(best))
    chance = np.exp(score[rows, best] - logsumexp(score, axis=1))
    trace = np.einsum("pij,pji->p", np.linalg.inv(means)[best], pixels, optimize=True).real
    far = chi2.sf(2.0 * looks * trace, 2.0 * looks * size) < 1e-3
    determinant = np.linalg.slogdet(pixels)[1]
    smallest = np.where(np.isfinite(determinant), determinant, -np.inf) + size
    shape = matrix.shape[:-2]
    label, flags = np.full(shape, -1, np.int64), np.full(shape, INVALID, np.uint8)
    probability, excess = np.full(shape, np.nan), np.full(shape, np.nan)
    label[usable], probability[usable] = best, chance
    excess[usable] = distance[rows, best] - smallest
    flags[usable] = np.where(far, UNLIKE_ALL, 0) | np.where(chance < 0.5, AMBIGUOUS, 0)
    return Clusters(label, probability, excess, means, shares / shares.sum(), flags, done, converged)
