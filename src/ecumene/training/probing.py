"""What frozen features are worth: a linear probe, k nearest neighbours, nearest means, and few examples a class.

Arrays in, numbers out. Features are standardised by the training features' mean and standard deviation.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, LabelError

Features = NDArray[np.floating]
Labels = NDArray[np.integer]
STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0)
"""Inverse strengths of the ridge that a probe chooses from."""


@dataclass(frozen=True)
class Standard:
    """Centres features and scales them to unit variance; constant features become 0.

    Attributes:
        mean: `[F]`.
        scale: `[F]`, positive.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def fit(cls, features: Features) -> Standard:
        """Take mean and standard deviation of features `[N, F]`.

        Raises:
            LabelError: If there is no sample, or a feature is not finite.
        """
        values = np.asarray(features, np.float64)
        if len(values) == 0 or not np.isfinite(values).all():
            raise LabelError("Probing needs at least one sample, and features that are finite.")
        spread = values.std(axis=0)
        return cls(values.mean(axis=0), np.where(spread > 1e-12, spread, 1.0))

    def __call__(self, features: Features) -> NDArray[np.float64]:
        """Return standardised features."""
        return np.asarray((np.asarray(features, np.float64) - self.mean) / self.scale)


def linear_probe(
    train: tuple[Features, Labels],
    queries: Features,
    n_classes: int,
    *,
    validation: tuple[Features, Labels] | None = None,
    strength: float = 1.0,
) -> NDArray[np.float64]:
    """Return class probabilities of a linear classifier on frozen features (Alain and Bengio 2016).

    Multinomial logistic regression with a ridge penalty. Classes without a training sample have probability 0.

    Args:
        train: Features `[N, F]` and class indices `[N]`.
        queries: Features `[M, F]`.
        n_classes: Number of classes.
        validation: Samples that choose the strength from `STRENGTHS` by accuracy; None: `strength`.
        strength: Inverse strength of the penalty.

    Returns:
        float64 `[M, n_classes]`.

    Raises:
        LabelError: If there are fewer than two classes, or features are not finite.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    features, labels = np.asarray(train[0]), np.asarray(train[1])
    if len(np.unique(labels)) < 2:
        raise LabelError("A probe needs training samples of two classes or more.")
    standard = Standard.fit(features)
    known = standard(features)

    def fit(inverse: float) -> LogisticRegression:
        with warnings.catch_warnings():
            # Almost without a penalty, separable classes have no finite optimum; the validation part judges the result.
            warnings.simplefilter("ignore", ConvergenceWarning)
            return LogisticRegression(C=inverse, max_iter=500).fit(known, labels)

    if validation is None or len(validation[1]) == 0:
        chosen = fit(strength)
    else:
        checked = standard(validation[0])
        fitted = [fit(inverse) for inverse in STRENGTHS]
        scores = [float((model.predict(checked) == validation[1]).mean()) for model in fitted]
        chosen = fitted[int(np.argmax(scores))]  # the strongest penalty of the best
    result = np.zeros((len(queries), n_classes))
    if len(queries):
        result[:, chosen.classes_.astype(np.intp)] = chosen.predict_proba(standard(queries))
    return result


def nearest_neighbours(
    train: tuple[Features, Labels], queries: Features, n_classes: int, *, k: int = 5, metric: str = "euclidean"
) -> NDArray[np.float64]:
    """Return the share of each class among the k nearest training samples (Cover and Hart 1967).

    Args:
        train: Features `[N, F]` and class indices `[N]`.
        queries: Features `[M, F]`.
        n_classes: Number of classes.
        k: Neighbours; all, where there are fewer training samples.
        metric: `euclidean`, or `cosine`: features of unit length after centring.

    Returns:
        float64 `[M, n_classes]`; equally distant neighbours count in the order of the samples.

    Raises:
        ConfigurationError: If k or the metric is none.
        LabelError: If there is no training sample.
    """
    if k < 1 or metric not in ("euclidean", "cosine"):
        raise ConfigurationError(f"Neighbours need k of 1 or more and euclidean or cosine, not {k} and {metric!r}.")
    standard = Standard.fit(train[0])
    bank, asked = standard(train[0]), standard(queries)
    if metric == "cosine":
        bank, asked = (v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12) for v in (bank, asked))
    labels, number = np.asarray(train[1], np.intp), min(k, len(bank))
    squared, result = np.square(bank).sum(axis=1), np.zeros((len(asked), n_classes))
    step = max(1, (1 << 24) // max(len(bank), 1))
    for start in range(0, len(asked), step):
        part = asked[start : start + step]
        distance = squared - 2.0 * part @ bank.T  # but for the query's own length, which orders nothing
        nearest = np.argsort(distance, axis=1, kind="stable")[:, :number]
        rows = np.arange(start, start + len(part))[:, None]
        np.add.at(result, (np.broadcast_to(rows, nearest.shape), labels[nearest]), 1.0 / number)
    return result


def nearest_mean(train: tuple[Features, Labels], queries: Features, n_classes: int) -> NDArray[np.float64]:
    """Return 1 for the class whose mean is nearest, 0 for the others (prototypes; Snell et al. 2017).

    Args:
        train: Features `[N, F]` and class indices `[N]`.
        queries: Features `[M, F]`.
        n_classes: Number of classes; one without a training sample is never nearest.
    """
    standard = Standard.fit(train[0])
    known, labels, asked = standard(train[0]), np.asarray(train[1]), standard(queries)
    distance = np.full((len(asked), n_classes), np.inf)
    for index in np.unique(labels):
        distance[:, index] = np.square(asked - known[labels == index].mean(axis=0)).sum(axis=1)
    return np.asarray(np.eye(n_classes)[distance.argmin(axis=1)], np.float64)


def draw_shots(labels: Labels, shots: int, seed: int, names: Sequence[str] = ()) -> NDArray[np.intp]:
    """Return the numbers of `shots` samples of each class that occurs, drawn without replacement, in order.

    Another seed is another draw. With the same seed the samples of fewer shots are among those of more.

    Args:
        labels: Class indices `[N]`, -1 unlabelled.
        shots: Samples a class.
        seed: Of the draw.
        names: Of the classes, for the error.

    Raises:
        ConfigurationError: If the number is not positive.
        LabelError: If a class has fewer samples.
    """
    if shots < 1:
        raise ConfigurationError(f"The number of samples a class must be 1 or more, not {shots}.")
    known = np.asarray(labels)
    drawn = []
    for index in np.unique(known[known >= 0]):
        here = np.flatnonzero(known == index)
        if len(here) < shots:
            name = names[index] if index < len(names) else str(index)
            raise LabelError(f"The class {name!r} has {len(here)} training samples, fewer than the {shots} asked for.")
        drawn.append(np.random.default_rng([seed, int(index)]).permutation(here)[:shots])
    return np.sort(np.concatenate(drawn)) if drawn else np.zeros(0, np.intp)
