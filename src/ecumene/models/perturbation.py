"""Moves an image a little towards what the network is sure of; the half of ODIN that takes a gradient.

Not part of a deployed model: it needs torch and three passes instead of one.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecumene.core.errors import ConfigurationError
from ecumene.models.deployed import DeployedNetwork, normalise_tensor


def perturbed_output(
    module: DeployedNetwork,
    image: NDArray[np.float32],
    dates: NDArray[np.float32] | None = None,
    *,
    temperature: float = 1000.0,
    magnitude: float = 0.0014,
) -> NDArray[np.float32]:
    """Return raw output for an image moved towards its own most probable class (Liang et al. 2018, eq. 2).

    x' = x + magnitude sign(gradient of log max_k softmax_k(f(x) / T)) in standardised units, the sign as in the
    paper: the step raises the score, of usual inputs more than of strange ones. For maps the gradient is that of the
    sum over all pixels, so that a pixel's step also serves its neighbours; the paper classifies whole images.

    Args:
        module: The network as it is executed.
        image: float32 `[B, C, H, W]` or `[B, T, C, H, W]`, physical units, NaN for nodata (which is not moved).
        dates: float32 `[B, T]` for series.
        temperature: T.
        magnitude: Length of the step in standard deviations of the training data.

    Returns:
        float32 `[B, n, H, W]`, for `trust.logit_scores.OdinDetector`.

    Raises:
        ConfigurationError: If the magnitude is negative or the temperature not positive.
    """
    if magnitude < 0.0 or temperature <= 0.0:
        raise ConfigurationError(
            f"ODIN needs a positive temperature and a step of at least 0, but got {temperature} and {magnitude}."
        )
    module.eval()
    when = None if dates is None else torch.from_numpy(np.ascontiguousarray(dates, np.float32))
    with torch.inference_mode(False):
        x, valid = normalise_tensor(torch.from_numpy(np.ascontiguousarray(image, np.float32)), module.mean, module.std)
        moved = x.clone().requires_grad_(True)
        with torch.enable_grad():
            output: Tensor = module.network(moved, when if module.temporal else None, valid)
            certainty = (output / temperature).log_softmax(dim=1).amax(dim=1).sum()
            (gradient,) = torch.autograd.grad(certainty, moved)
        with torch.no_grad():
            step = magnitude * gradient.sign() * valid.unsqueeze(-3)
            result: Tensor = module.network(x + step, when if module.temporal else None, valid)
    return result.float().contiguous().numpy()
