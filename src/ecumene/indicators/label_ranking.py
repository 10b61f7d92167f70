"""How well scores rank the labels of an image: one-error, coverage, ranking loss, ranking precision."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import LabelError

RANKING_METRICS = ("one_error", "coverage", "ranking_loss", "ranking_average_precision")


def ranking_metrics(reference: NDArray[np.integer], score: NDArray[np.floating]) -> dict[str, float]:
    """Return the measures of a ranking of labels (Tsoumakas, Katakis, Vlahavas 2010, Mining multi-label data).

    - `one_error`: share of images whose label of the largest score is not theirs.
    - `coverage`: how far down the ranking one must go to have all of an image's labels, mean over images (the number of
      ranks, from 1; 0 for an image without labels).
    - `ranking_loss`: share of pairs of a label that an image has and one that it has not which are in the wrong order,
      ties included, mean over images (0 for an image with all or none).
    - `ranking_average_precision`: for each label of an image the share of its labels among those ranked at or above
      it, mean over labels, then over images (1 for an image with all or none).

    Args:
        reference: 0 or 1, `[N, K]`; images with an unknown label (-1) are left out.
        score: Probabilities or logits `[N, K]`, larger is more likely.

    Raises:
        LabelError: If the shapes differ, or no image has all labels known.
    """
    if reference.shape != score.shape or reference.ndim != 2:
        raise LabelError("Reference labels and scores must have the same shape, images by labels.")
    known = (reference >= 0).all(axis=1)
    if not known.any():
        raise LabelError("No image has all its labels known, so that no ranking can be measured.")
    truth, values = reference[known] == 1, np.asarray(score, np.float64)[known]
    # rank[n, k]: labels of image n with a score at or above that of k, as ties count against the ranking.
    above = values[:, None, :] >= values[:, :, None]
    rank = above.sum(axis=2)
    wanted, others = truth.sum(axis=1), (~truth).sum(axis=1)
    wrong = (above & truth[:, :, None] & ~truth[:, None, :]).sum(axis=(1, 2))
    pairs = wanted * others
    shares = np.where(truth, (above & truth[:, None, :]).sum(axis=2) / rank, 0.0).sum(axis=1)
    top = truth[np.arange(len(truth)), values.argmax(axis=1)]
    return {
        "one_error": float((~top).mean()),
        "coverage": float(np.where(truth, rank, 0).max(axis=1).mean()),
        "ranking_loss": float(np.where(pairs > 0, wrong / np.maximum(pairs, 1), 0.0).mean()),
        "ranking_average_precision": float(np.where(pairs > 0, shares / np.maximum(wanted, 1), 1.0).mean()),
    }
