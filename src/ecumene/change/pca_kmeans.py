"""Principal components of neighbourhoods of a difference image, and two clusters of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ecumene.change.contract import FittedChange, ImagePair, PairBlock, Threshold
from ecumene.change.cva import ChangeVectorAnalysis
from ecumene.change.moments import Moments
from ecumene.change.scoring import FittedScore, Score, finish
from ecumene.core.errors import ConfigurationError, SceneError
from ecumene.core.window import Window

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class _Neighbourhoods:
    """Components of the neighbourhoods of a difference image."""

    difference: Score
    fill: float
    size: int
    mean: Matrix
    axes: Matrix

    @property
    def margin(self) -> int:
        return self.size // 2

    def image(self, block: PairBlock) -> Matrix:
        """Return the difference image of a block, margin included; the scene's mean where not valid."""
        whole = replace(block, core=(slice(None), slice(None)))
        return np.where(block.valid, self.difference(whole)[0], self.fill)

    def components(self, block: PairBlock) -> Matrix:
        """Return the components `[k, rows, cols]` of the core's neighbourhoods."""
        image = self.image(block) - self.fill
        kernels = self.axes.T.reshape(-1, self.size, self.size)
        offset = (self.mean - self.fill) @ self.axes
        planes = [
            ndimage.correlate(image, kernel, mode="nearest")[block.core] - shift
            for kernel, shift in zip(kernels, offset, strict=True)
        ]
        return np.stack(planes)


@dataclass(frozen=True)
class _ClusterScore:
    """Position of a neighbourhood on the line through both cluster centres."""

    features: _Neighbourhoods
    centres: Matrix
    shift: float
    kind_names: tuple[str, ...]

    @property
    def margin(self) -> int:
        return self.features.margin

    def __call__(self, block: PairBlock) -> tuple[Matrix, Matrix]:
        parts = self.features.components(block)
        line = self.centres[1] - self.centres[0]
        along = np.tensordot(line / np.linalg.norm(line), parts, 1)
        return np.maximum(along + self.shift, 0.0), parts


@dataclass(frozen=True)
class PcaKMeans:
    """PCA and k-means of neighbourhoods (Celik 2009, doi 10.1109/LGRS.2009.2025059).

    Neighbourhoods of the difference image are projected on the leading principal components of its non-overlapping
    blocks, and divided into two clusters; that of the larger difference is change. The difference image is the
    length of the change vector in standardised bands (Celik: the absolute difference of grey values). Differences:
    neighbourhoods have an odd edge, so that they have a centre; k-means begins with the clusters that k-means of
    the difference image gives, so that the result does not depend on chance.

    Magnitude: position along the line through the cluster centres; the threshold lies in their middle, so it divides
    as k-means does. Kind: the components. Loadings: `axes` and `centres`.

    Attributes:
        size: Edge of a neighbourhood in pixels, odd.
        energy: Share of the variance that the components must explain.
        rounds: Of k-means at most, each one pass over the blocks.
    """

    size: int = 5
    energy: float = 0.9
    rounds: int = 50

    def fit(self, pair: ImagePair) -> FittedChange:
        """Learn components (one pass), clusters (one pass a round), and mixture.

        Args:
            pair: The two dates.

        Raises:
            ConfigurationError: If an option is out of range.
            SceneError: If no pixel is valid at both dates, a band is constant, or the image is too small.
        """
        if self.size < 3 or self.size % 2 == 0 or not 0.0 < self.energy <= 1.0 or self.rounds < 1:
            raise ConfigurationError(
                "PCA-k-means needs an odd neighbourhood of 3 pixels or more, a share of variance up to 1, and a round."
            )
        start = ChangeVectorAnalysis().fit(pair)
        assert isinstance(start, FittedScore)
        features = self._components(pair, start.score)
        centres = self._clusters(pair, features, start)
        line = (centres[1] - centres[0]) / np.linalg.norm(centres[1] - centres[0])
        # An image of no difference at all has the position 0, so that the magnitude is not negative.
        shift = float((features.mean @ features.axes) @ line)
        names = tuple(f"component {index + 1}" for index in range(centres.shape[1]))
        fitted = finish(pair, _ClusterScore(features, centres, shift, names), "kmeans")
        middle = float((centres.mean(axis=0)) @ line) + shift
        details = {"low_mean": float(centres[0] @ line) + shift, "high_mean": float(centres[1] @ line) + shift}
        return replace(
            fitted,
            threshold=Threshold(middle, "kmeans of components", details),
            loadings={"axes": features.axes, "centres": centres},
        )

    def _components(self, pair: ImagePair, difference: Score) -> _Neighbourhoods:
        mean = Moments(1)
        for block in pair.blocks():
            mean.add(difference(block)[0][block.core_valid][None])
        raw = _Neighbourhoods(difference, float(mean.mean[0]), self.size, np.zeros(0), np.zeros((0, 0)))
        moments = Moments(self.size**2)
        height, width = pair.shape[0] // self.size * self.size, pair.shape[1] // self.size * self.size
        if not height or not width:
            raise SceneError(f"The image is smaller than a neighbourhood of {self.size} pixels; use another method.")
        # Windows whose borders are those of the neighbourhoods, so that the result does not depend on the blocks.
        edge = max(self.size, pair.block // self.size * self.size)
        for row in range(0, height, edge):
            for col in range(0, width, edge):
                window = Window(row, col, min(edge, height - row), min(edge, width - col))
                moments.add(_cut(raw.image(pair.read(window)), self.size))
        values, vectors = np.linalg.eigh(moments.covariance)
        values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
        count = int(np.searchsorted(np.cumsum(values) / max(values.sum(), 1e-300), self.energy - 1e-12)) + 1
        axes = vectors[:, :count] * np.where(vectors[:, :count].sum(axis=0) < 0.0, -1.0, 1.0)
        return replace(raw, mean=moments.mean, axes=axes)

    def _clusters(self, pair: ImagePair, features: _Neighbourhoods, start: FittedScore) -> Matrix:
        centres: Matrix | None = None
        for _ in range(self.rounds + 1):
            sums, counts = np.zeros((2, features.axes.shape[1])), np.zeros(2)
            for block in pair.blocks(features.margin):
                parts = features.components(block)[:, block.core_valid]
                if centres is None:
                    inside = features.image(block)[block.core][block.core_valid] > start.threshold.value
                else:
                    apart = ((parts[None] - centres[:, :, None]) ** 2).sum(axis=1)
                    inside = apart[1] < apart[0]
                for cluster, members in enumerate((~inside, inside)):
                    sums[cluster] += parts[:, members].sum(axis=1)
                    counts[cluster] += members.sum()
            if not counts.all():
                raise SceneError("The neighbourhoods do not fall into two clusters; are both dates the same image?")
            moved = sums / counts[:, None]
            still = centres is not None and np.abs(moved - centres).max() < 1e-6 * np.abs(moved).max()
            centres = moved
            if still:
                break
        assert centres is not None
        return centres


def _cut(image: Matrix, size: int) -> Matrix:
    """Cut an image into non-overlapping neighbourhoods `[size^2, n]`."""
    rows, cols = image.shape[0] // size, image.shape[1] // size
    return np.asarray(image.reshape(rows, size, cols, size).transpose(1, 3, 0, 2).reshape(size * size, rows * cols))
