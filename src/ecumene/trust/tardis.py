"""TARDIS: an outlier classifier that learns from unlabelled data of unknown places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.trust.detector import Floats, OutlierDetector, reference_features
from ecumene.trust.measures import auroc, fpr_at_tpr

if TYPE_CHECKING:
    from torch import Tensor

CLUSTER_SHARES = (0.1, 0.2, 0.3, 0.4)
"""Clusters, as a share of all elements, among which tuning chooses (the released range is 0.1 to 0.4)."""
FIT_SHARE = 0.8
MAX_ITERATIONS = 500


@dataclass(frozen=True)
class SurrogateLabels:
    """What the clustering made of known and wild elements.

    Attributes:
        labels: bool `[N]`, True for surrogate-outliers; known elements first, then wild ones.
        clusters: k.
        share: M: clusters with a smaller share of known elements are outliers.
        entropy: Mean over the clusters of the entropy (nat) of known against wild.
        known_flagged: Share of the known elements with an outlier label.
        wild_flagged: Share of the wild elements with an outlier label.
    """

    labels: NDArray[np.bool_]
    clusters: int
    share: float
    entropy: float
    known_flagged: float
    wild_flagged: float


def surrogate_labels(
    known: Floats, wild: Floats, *, clusters: int | None = None, share: float = 0.1, tune: bool = False, seed: int = 0
) -> SurrogateLabels:
    """Cluster known and wild elements together and label each by its cluster's share of known ones.

    An element is a surrogate-outlier if fewer than `share` of its k-means cluster are known.

    Args:
        known: `[N, F]` features of training data.
        wild: `[M, F]` features of data that may be usual or strange.
        clusters: k; None: a tenth of all elements.
        share: M of the paper, in (0, 1).
        tune: Choose k among `CLUSTER_SHARES` by the least mean cluster entropy (see `TardisDetector`).
        seed: Of k-means.

    Returns:
        The labels and how they came about.

    Raises:
        ConfigurationError: If an argument is out of range.
    """
    values = np.concatenate([known, wild]).astype(np.float64)
    is_known = np.arange(len(values)) < len(known)
    if not 0.0 < share < 1.0:
        raise ConfigurationError(f"TARDIS's in-distribution share must lie between 0 and 1, but is {share}.")
    if clusters is not None and not 2 <= clusters <= len(values):
        raise ConfigurationError(
            f"TARDIS needs 2 to {len(values)} clusters for {len(values)} elements, but was asked for {clusters}."
        )
    numbers = [clusters or max(2, len(values) // 10)]
    if tune:
        numbers = sorted({max(2, int(part * len(values))) for part in CLUSTER_SHARES})
    # Pixels of one cell of a coarse layer are equal: there can be no more clusters than different elements.
    different = len(np.unique(values, axis=0))
    numbers = sorted({min(number, different) for number in numbers})
    tried = [_cluster(values, is_known, number, share, seed) for number in numbers]
    return min(tried, key=lambda found: found.entropy)


def _cluster(
    values: NDArray[np.float64], is_known: NDArray[np.bool_], clusters: int, share: float, seed: int
) -> SurrogateLabels:
    from sklearn.cluster import KMeans

    found = KMeans(n_clusters=clusters, n_init=1, max_iter=100, random_state=seed).fit(values).labels_
    counts = np.bincount(found, minlength=clusters)
    fraction = np.bincount(found, weights=is_known, minlength=clusters) / np.maximum(counts, 1)
    inner = np.clip(fraction, 1e-12, 1 - 1e-12)
    entropies = -(inner * np.log(inner) + (1 - inner) * np.log1p(-inner))
    labels = (fraction < share)[found]
    return SurrogateLabels(
        labels=labels,
        clusters=clusters,
        share=share,
        entropy=float(entropies[counts > 0].mean()),
        known_flagged=float(labels[is_known].mean()),
        wild_flagged=float(labels[~is_known].mean()),
    )


class TardisDetector(OutlierDetector):
    """A binary classifier on inner activations, taught by surrogate labels (Ekim et al. 2025, "Distribution shifts at
    scale: out-of-distribution detection in Earth observation", CVPR EarthVision workshop, arXiv 2412.13394).

    The activations of training data and of unlabelled "wild" data are clustered together by k-means; clusters with less
    than a share M of training data make their members surrogate-outliers; a logistic regression with balanced classes
    (at most 500 iterations) on standardised activations learns the labels from a stratified 80 %, and the other 20 %
    measure it. It runs beside the model. M = 0.1 as released.

    As in the released code, all members of an outlier cluster are labelled so, training data among them. Differences:

    - One feature vector a pixel from a neighbourhood of a layer (`FeatureChoice`), not one a patch of 256 x 256 by an
      adaptive maximum: a map needs a score a pixel.
    - The score is the classifier's log-odds, not its probability, which reaches 1 in float32; their order is the same.
    - k, which the paper tunes, is a tenth of the elements unless given: the lower end of the released range. `tune`
      takes the k of least mean cluster entropy among four in that range and leaves M alone. The released tuning makes
      100 random trials of k and M, but the other two terms of its objective add up to a constant (wild elements are
      coded 2 where the term counts 1), so that entropy, which depends on k alone, decides there too.
    - As many known elements as wild ones are clustered, drawn at random, and at most `LIMIT` of each: M has its
      meaning where both are equally many.

    It knows the outliers that the wild data showed it: a linear classifier may call something else usual. The
    threshold comes from held-out usual data (`with_threshold`), not from a probability of one half.

    Arrays: `center` `[F]`, `scale` `[F]`, `weight` `[F]`, `bias` `[1]`.
    """  # noqa: D205

    name: ClassVar[str] = "tardis"
    array_names: ClassVar[tuple[str, ...]] = ("center", "scale", "weight", "bias")
    LIMIT: ClassVar[int] = 1000

    @classmethod
    def fit(  # type: ignore[override]  # needs wild features
        cls,
        features: Floats,
        classes: NDArray[np.integer] | None = None,
        *,
        seed: int = 0,
        wild: Floats | None = None,
        clusters: int | None = None,
        share: float = 0.1,
        tune: bool = False,
    ) -> Self:
        """Learn to tell training features `[N, F]` from the strange ones among `wild` `[M, F]`.

        Args:
            features: Of training data.
            classes: Not used.
            seed: Of draws, k-means and the split.
            wild: Of data whose distribution is unknown.
            clusters: k; None: a tenth of all elements.
            share: M.
            tune: Choose k, see the class.

        Raises:
            ConfigurationError: If features are not usable, there are no wild ones, or no cluster is strange (or all
                are).
        """
        if wild is None or np.size(wild) == 0:
            raise ConfigurationError(
                "TARDIS learns from scenes of unknown places, but got none; give some with --wild."
            )
        generator = np.random.default_rng(seed)
        values, other = reference_features(features, None, seed)[0], reference_features(wild, None, seed)[0]
        number = min(len(values), len(other), cls.LIMIT)
        values, other = _drawn(values, number, generator), _drawn(other, number, generator)
        if other.shape[1] != values.shape[1]:
            raise ConfigurationError(
                f"Known elements have {values.shape[1]} features, but wild ones {other.shape[1]}; take both from the "
                "same model and layer."
            )
        if not np.ptp(np.concatenate([values, other]), axis=0).any():
            raise ConfigurationError("All known and wild features are equal; TARDIS has nothing to learn from them.")
        found = surrogate_labels(values, other, clusters=clusters, share=share, tune=tune, seed=seed)
        arrays, figures = _classify(np.concatenate([values, other]), found.labels, seed)
        options = {
            "clusters": found.clusters,
            "share": found.share,
            "cluster_entropy": found.entropy,
            "known_labelled_outlier": found.known_flagged,
            "wild_labelled_outlier": found.wild_flagged,
            **figures,
        }
        return cls(values.shape[1], arrays, options)

    def _check_arrays(self) -> bool:
        parts, shape = self._arrays, (self.n_features,)
        fit = all(parts[name].shape == shape for name in ("center", "scale", "weight"))
        return fit and parts["bias"].shape == (1,) and bool((parts["scale"] > 0.0).all())

    def _score(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        parts = self._arrays
        weight = parts["weight"].astype(np.float64) / parts["scale"]
        return np.asarray((features - parts["center"]) @ weight + float(parts["bias"][0]))

    def _score_map(self, features: Tensor) -> Tensor:
        from torch.nn import functional

        parts = self.tensors(features)
        centred = features - parts["center"][None, :, None, None]
        weight = (parts["weight"] / parts["scale"])[None, :, None, None]
        return functional.conv2d(centred, weight, parts["bias"])[:, 0]


def _drawn(values: NDArray[np.float64], limit: int, generator: np.random.Generator) -> NDArray[np.float64]:
    if len(values) <= limit:
        return values
    return values[np.sort(generator.choice(len(values), limit, replace=False))]


def _classify(
    values: NDArray[np.float64], labels: NDArray[np.bool_], seed: int
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Fit the logistic regression on 80 % and measure it on 20 %."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split

    least = int(min(labels.sum(), (~labels).sum()))
    if least < 5:
        which = "strange" if labels.sum() < 5 else "usual"
        raise ConfigurationError(
            f"TARDIS found only {least} {which} elements among the known and wild ones, too few to learn from; "
            "give other wild scenes, or another number of clusters or share."
        )
    fitted, measured = train_test_split(
        np.arange(len(values)), train_size=FIT_SHARE, random_state=seed, stratify=labels
    )
    center, scale = values[fitted].mean(axis=0), values[fitted].std(axis=0)
    # Features that never change carry nothing; a scale of 1 keeps them harmless, as the field's scalers do.
    scale = np.where(scale > 1e-12 * np.maximum(1.0, np.abs(center)), scale, 1.0)
    z = (values - center) / scale
    found = LogisticRegression(class_weight="balanced", max_iter=MAX_ITERATIONS, random_state=seed)
    found.fit(z[fitted], labels[fitted])
    scores = found.decision_function(z[measured])
    inside, outside = scores[~labels[measured]], scores[labels[measured]]
    figures = {
        "surrogate_auroc": float(auroc(inside, outside)),
        "surrogate_fpr95": float(fpr_at_tpr(inside, outside)),
        "surrogate_accuracy": float(((scores > 0.0) == labels[measured]).mean()),
    }
    arrays = {"center": center, "scale": scale, "weight": found.coef_[0], "bias": found.intercept_}
    return arrays, figures
