"""Distance to the nearest training features, against a compressed bank."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.trust.detector import Floats, OutlierDetector, reference_features, standard_scale

if TYPE_CHECKING:
    from torch import Tensor


class NeighbourDetector(OutlierDetector):
    """Mean squared distance, a feature, to the k nearest of a bank of k-means centres in whitened space.

    After Sun et al. 2022, "Out-of-distribution detection with deep nearest neighbors", with two differences: features
    are whitened with a ridge (see `CombinedDetector`) instead of normalised to unit length, and the bank is compressed
    to k-means centres, so that a map costs `bank * F` multiplications a pixel. It follows clouds of any shape, which a
    Gaussian does not; mapping needs `4 * bank` bytes a pixel of a window.

    Arrays: `center` `[F]`, `whitening` `[F, F]`, `bank` `[M, F]`.
    """

    name: ClassVar[str] = "neighbours"
    array_names: ClassVar[tuple[str, ...]] = ("center", "whitening", "bank")

    @classmethod
    def fit(
        cls,
        features: Floats,
        classes: NDArray[np.integer] | None = None,
        *,
        seed: int = 0,
        bank: int = 256,
        k: int = 1,
        ridge: float = 0.2,
    ) -> Self:
        """Fit the bank on training features `[N, F]`; `classes` are not used.

        Raises:
            ConfigurationError: If features are not usable or an option is out of range.
        """
        values, _ = reference_features(features, None, seed)
        if not 1 <= k <= bank or ridge <= 0.0:
            raise ConfigurationError(
                f"A neighbour detector needs 1 <= k <= bank and a positive ridge, got {k}, {bank}, {ridge}."
            )
        from sklearn.cluster import KMeans

        center, scale = values.mean(axis=0), standard_scale(values)
        z = (values - center) / scale
        variances, directions = np.linalg.eigh(z.T @ z / len(z))
        whitening = directions / np.sqrt(np.maximum(variances, 0.0) + ridge**2)
        white = z @ whitening
        size = min(bank, len(white))
        thinned = white
        if len(white) > 20_000:
            thinned = white[np.random.default_rng(seed).choice(len(white), 20_000, replace=False)]
        found = KMeans(n_clusters=size, n_init=1, max_iter=30, random_state=seed).fit(thinned)
        arrays = {"center": center, "whitening": whitening / scale[:, None], "bank": found.cluster_centers_}
        return cls(values.shape[1], arrays, {"k": min(k, size), "ridge": ridge})

    def _check_arrays(self) -> bool:
        number, parts = self.n_features, self._arrays
        bank, k = parts["bank"], self.options.get("k")
        return (
            parts["center"].shape == (number,)
            and parts["whitening"].shape == (number, number)
            and bank.ndim == 2
            and bank.shape[1] == number
            and isinstance(k, int)
            and 1 <= k <= bank.shape[0]
        )

    def _score(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        parts, k = self._arrays, int(self.options["k"])
        z = (features - parts["center"]) @ parts["whitening"]
        bank = parts["bank"].astype(np.float64)
        scores = np.empty(len(z))
        for start in range(0, len(z), 4096):
            part = z[start : start + 4096]
            squared = np.square(part).sum(axis=1)[:, None] + np.square(bank).sum(axis=1) - 2.0 * part @ bank.T
            nearest = np.partition(squared, k - 1, axis=1)[:, :k]
            scores[start : start + 4096] = np.maximum(nearest, 0.0).mean(axis=1)
        return scores / self.n_features

    def _score_map(self, features: Tensor) -> Tensor:
        import torch
        from torch.nn import functional

        parts, k = self.tensors(features), int(self.options["k"])
        centred = features - parts["center"][None, :, None, None]
        z = functional.conv2d(centred, parts["whitening"].T[:, :, None, None])
        bank = parts["bank"]
        product = functional.conv2d(z, bank[:, :, None, None])
        squared = bank.square().sum(dim=1)[None, :, None, None] - 2.0 * product
        few = squared.amin(dim=1, keepdim=True) if k == 1 else torch.topk(squared, k, dim=1, largest=False).values
        nearest = few.mean(dim=1)
        return (nearest + z.square().sum(dim=1)).clamp_min(0.0) / self.n_features
