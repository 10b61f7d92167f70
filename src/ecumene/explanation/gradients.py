"""Integrated gradients: how much every input of every pixel adds to one score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.optional import require
from ecumene.explanation.tensors import DifferentiableModel
from ecumene.models.bundle import Model

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Attribution:
    """What each input adds to a score, compared with inputs at their training means.

    Attributes:
        values: float32 `[T, C, H, W]`, in the score's unit; their sum is `score - reference` but for `error`.
        score: Score of the window at the explained pixel.
        reference: Score of the mean image.
        error: score - reference - sum of values: what the numerical integral misses.
    """

    values: Float
    score: float
    reference: float
    error: float


def integrated_gradients(
    model: Model,
    image: Float,
    dates: Float | None,
    pixel: tuple[int, int],
    channel: int,
    *,
    steps: int = 64,
    tolerance: float = 0.01,
    threads: int | None = None,
) -> Attribution:
    """Attribute the score of one pixel to the inputs of its window.

    Sundararajan, Taly, Yan, "Axiomatic Attribution for Deep Networks" (2017): the gradient is integrated on the
    straight line from the training means (0 in standardised units) to the window, by Gauss-Legendre quadrature. The
    explained pixel of a segmentation is one scalar output, which is what captum integrates.

    Args:
        model: A network.
        image: One window `[T, C, H, W]`, physical units, NaN without data.
        dates: `[T]` of a series, else None.
        pixel: Row and column in the window.
        channel: Explained channel of the scores.
        steps: Points of the quadrature; doubled, up to eight times as many, until the tolerance is kept.
        tolerance: What the integral may miss, as a share of the difference that it explains.
        threads: Threads of torch.

    Returns:
        The attribution; 0 where there are no data.

    Raises:
        ConfigurationError: If the model is made of trees.
        MissingDependencyError: If captum is not installed.
    """
    explained = DifferentiableModel(model, "The method gradients", threads)
    captum = require("captum.attr")
    import torch

    x, when = explained.tensors(image, dates)
    mean = torch.tensor([band.mean for band in model.spec.inputs], dtype=torch.float32)[:, None, None]
    # Pixels without data stay without: what is integrated is the path of the others.
    reference = torch.where(torch.isfinite(x), mean.expand_as(x), x)

    def scalar(batch: torch.Tensor, days: torch.Tensor | None = None) -> torch.Tensor:
        return explained.scores(batch, days)[:, channel, pixel[0], pixel[1]]

    with torch.no_grad():
        score, start = float(scalar(x, when)), float(scalar(reference, when))
    method = captum.IntegratedGradients(scalar, multiply_by_inputs=True)
    allowed = tolerance * max(abs(score - start), 1e-3)
    settings: dict[str, Any] = {"method": "gausslegendre", "internal_batch_size": 8}
    for points in (steps, 2 * steps, 4 * steps, 8 * steps):
        with torch.enable_grad():
            found = method.attribute(x, reference, additional_forward_args=when, n_steps=points, **settings)
        values = np.nan_to_num(found[0].detach().numpy().astype(np.float32), nan=0.0)
        error = score - start - float(values.sum(dtype=np.float64))
        if abs(error) <= allowed:
            break
    if values.ndim == 3:
        values = values[None]
    return Attribution(values, score, start, error)
