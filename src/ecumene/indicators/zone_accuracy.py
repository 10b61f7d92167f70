"""Accuracy of local climate zones: built and natural zones apart, and errors weighted by how alike zones are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.indicators.accuracy import confusion_matrix

ZONES = 17
BUILT = 10
"""The first ten zones are built, the other seven (A to G) natural."""

ZONE_METRICS = ("oa_built", "oa_natural", "oa_built_or_natural")


def zone_metrics(
    reference: NDArray[np.integer], prediction: NDArray[np.integer], similarity: ArrayLike | None = None
) -> dict[str, Any]:
    """Return the figures that are usual for local climate zones beside those of any classification.

    Args:
        reference: Class indices `[N]` 0..16 (zones 1..10, A..G), -1 unlabelled.
        prediction: Class indices `[N]`.
        similarity: `[17, 17]` in 0..1 with ones on the diagonal, row = reference: what an error counts. Published
            matrices weigh openness, height, cover and thermal inertia (Bechtel et al. 2017); none is built in.

    Returns:
        `oa_built` and `oa_natural`: share of right zones among samples whose reference zone is built or natural;
        `oa_built_or_natural`: share of samples whose zone is rightly built or natural, whichever it is;
        `weighted_accuracy`: mean similarity of predicted and reference zone, where `similarity` is given. None where
        there is no such sample.

    Raises:
        ConfigurationError: If the matrix is not of that kind.
    """
    counts = confusion_matrix(reference, prediction, ZONES).astype(np.float64)
    hits, rows, total = np.diagonal(counts), counts.sum(axis=1), counts.sum()
    kinds = counts[:BUILT, :BUILT].sum() + counts[BUILT:, BUILT:].sum()
    figures = {
        "oa_built": _share(hits[:BUILT].sum(), rows[:BUILT].sum()),
        "oa_natural": _share(hits[BUILT:].sum(), rows[BUILT:].sum()),
        "oa_built_or_natural": _share(kinds, total),
    }
    if similarity is not None:
        weights = np.asarray(similarity, np.float64)
        fits = weights.shape == (ZONES, ZONES) and bool((weights >= 0).all() and (weights <= 1).all())
        if not fits or not (np.diagonal(weights) == 1).all():
            raise ConfigurationError("A similarity of zones is 17 x 17 numbers in 0..1 with ones on the diagonal.")
        figures["weighted_accuracy"] = _share((weights * counts).sum(), total)
    return figures


def _share(part: float, whole: float) -> float | None:
    return float(part / whole) if whole > 0 else None
