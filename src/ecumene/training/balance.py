"""Class weights from class counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecumene.training.options import ClassBalance

_BETA = 0.9999


def class_weights(counts: ArrayLike, method: ClassBalance) -> NDArray[np.float64]:
    """Return loss weights for classes, 1 on average over the training pixels.

    Methods: `inverse-sqrt`, n^-1/2; `inverse-fourth-root`, n^-1/4; `inverse`, n^-1;
    `median-frequency`, median(n) / n (Eigen and Fergus 2015, arXiv 1411.4734); `effective-number`,
    (1 - b) / (1 - b^n) with b = 0.9999 (Cui et al. 2019, arXiv 1901.05555). A class without
    training pixels gets weight 1.

    Args:
        counts: Training pixels of each class, `[K]`.
        method: See above; `none` gives ones.

    Returns:
        float64 `[K]`.
    """
    count = np.asarray(counts, np.float64)
    seen = count > 0
    if method == "none" or not seen.any():
        return np.ones_like(count)
    n = np.where(seen, count, 1.0)
    if method == "inverse-sqrt":
        weights = n**-0.5
    elif method == "inverse-fourth-root":
        weights = n**-0.25
    elif method == "inverse":
        weights = 1.0 / n
    elif method == "median-frequency":
        weights = float(np.median(count[seen])) / n
    else:
        weights = (1.0 - _BETA) / -np.expm1(n * np.log(_BETA))
    scale = count.sum() / (weights * count).sum()
    return np.where(seen, weights * scale, 1.0)
