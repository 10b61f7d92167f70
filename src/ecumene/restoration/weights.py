"""How much a filled pixel should count when something is learned from it."""

from __future__ import annotations

import numpy as np

from ecumene.core.errors import ConfigurationError
from ecumene.restoration.contract import Array, Floats


def reliability_weights(deviation: Floats, spread: Floats) -> Array:
    """Return weights of pixels with errors in their features, 1 without error.

    w = 1 / (1 + mean_k (s_k / d_k)^2), s_k the pixel's standard deviation in feature k and d_k the spread of that
    feature over the scene: the share of the features' variance that is signal. It is the reliability ratio of errors
    in variables (Fuller 1987, Measurement Error Models, section 1.1), taken as a weight.

    Args:
        deviation: `[K, ...]`, standard deviations; NaN (nothing known) gives weight 0.
        spread: `[K]`, positive.

    Returns:
        `[...]`, from 0 to 1.

    Raises:
        ConfigurationError: If shapes do not fit or a spread is not positive.
    """
    errors, scale = np.asarray(deviation, np.float64), np.asarray(spread, np.float64)
    if scale.shape != errors.shape[:1] or not (np.isfinite(scale).all() and scale.min() > 0.0):
        raise ConfigurationError("Weights need standard deviations [K, ...] and a positive spread of each of the K.")
    noise = np.mean((errors / scale.reshape(-1, *(1,) * (errors.ndim - 1))) ** 2, axis=0)
    return np.where(np.isfinite(noise), 1.0 / (1.0 + noise), 0.0)
