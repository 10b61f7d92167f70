"""Smart sampling: quasi-random states from a prior, with which a neural inverse is trained."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import qmc

from ecumene.core.errors import ConfigurationError, ContractError

Float = NDArray[np.float64]


def sobol_states(prior: NDArray[Any], covariance: NDArray[Any], count: int, *, seed: int = 0) -> Float:
    """Return scrambled Sobol samples of a normal prior, `[count, n]`.

    Low discrepancy covers the state space more evenly than random draws (Loyola, Pedergnana and Gimeno Garcia 2016,
    doi 10.1016/j.neunet.2015.09.001, "smart sampling"); the inverse normal distribution maps the unit cube.

    Args:
        prior: Mean `[n]`.
        covariance: Variances `[n]` or covariance `[n, n]`.
        count: Samples; a power of two keeps the sequence balanced.
        seed: Of the scrambling.

    Raises:
        ConfigurationError: If count is not positive, or the covariance is not positive definite.
        ContractError: If shapes disagree.
    """
    mean = np.asarray(prior, np.float64)
    spread = np.asarray(covariance, np.float64)
    full = np.diag(spread) if spread.ndim == 1 else spread
    if full.shape != (mean.size, mean.size):
        raise ContractError(
            f"A prior of {mean.size} elements needs a covariance of that size, but it is {spread.shape}."
        )
    if count < 1:
        raise ConfigurationError(f"The number of samples must be positive, but is {count}.")
    try:
        root = np.linalg.cholesky(full)
    except np.linalg.LinAlgError as error:
        raise ConfigurationError("The covariance of the prior is not positive definite.") from error
    cube = qmc.Sobol(mean.size, scramble=True, seed=seed).random_base2(max(0, int(np.ceil(np.log2(count)))))[:count]
    return np.asarray(mean + ndtri(np.clip(cube, 1e-9, 1.0 - 1e-9)) @ root.T)
