"""Losses of networks that remove clouds, on elements that count. Imported late: it needs torch."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

VARIANCE_FLOOR = 1e-8
"""Smallest variance that a likelihood sees, in standardised units (Ebel et al. 2023)."""


def floored(variance: Tensor) -> Tensor:
    """Return variances of `VARIANCE_FLOOR` or more; gradients pass as if there were no floor."""
    return variance + (variance.clamp_min(VARIANCE_FLOOR) - variance).detach()


def cloud_adaptive_loss(
    predicted: Tensor, target: Tensor, observed: Tensor, cloudy: Tensor, weight: float = 1.0
) -> Tensor:
    """Return the cloud-adaptive regularised loss CARL (Meraner et al. 2020, eq. 4).

    mean[(1 - M) |P - I| + M |P - T|] + weight * mean |P - T|: clear pixels are to stay as observed, covered ones to
    become the target, and everything is drawn to the target.

    Args:
        predicted: P `[N, K]`.
        target: T `[N, K]`, the clear image.
        observed: I `[N, K]`, the cloudy image.
        cloudy: M `[N]`, 1 under clouds and shadows, else 0.
        weight: Of the regularisation.
    """
    covered = cloudy[:, None]
    to_target = (predicted - target).abs()
    kept = (1.0 - covered) * (predicted - observed).abs() + covered * to_target
    return kept.mean() + weight * to_target.mean()


def gaussian_pixel_loss(
    predicted: Tensor,
    variance: Tensor,
    target: Tensor,
    mode: Literal["diagonal", "isotropic", "univariate"],
    batch: int = 0,
) -> Tensor:
    """Return the negative log-likelihood of a pixel's spectrum (Ebel et al. 2023, eq. 1), mean over pixels.

    k/2 ln(2 pi) + 1/2 sum_i ln v_i + 1/2 sum_i (y_i - m_i)^2 / v_i with diagonal covariance; no matrix is inverted.
    `univariate` takes the mean over bands instead of the sum.

    Args:
        predicted: `[N, k]`.
        variance: `[N, k]`, or `[N, 1]` where all bands share it.
        target: `[N, k]`.
        mode: Kind of covariance.
        batch: 0: the likelihood. B > 0: the released code, which sums the log-determinant over the B images of a
            batch at each pixel, so that it weighs B times as much.
    """
    spread = floored(variance).expand_as(predicted)
    bands = predicted.shape[1]
    logarithm, scaled = spread.log().sum(dim=1), ((target - predicted).square() / spread).sum(dim=1)
    loss = 0.5 * (bands * math.log(2.0 * math.pi) + float(max(batch, 1)) * logarithm + scaled).mean()
    return loss / bands if mode == "univariate" else loss


def point_loss(predicted: Tensor, target: Tensor, power: int) -> Tensor:
    """Return the mean absolute (1) or squared (2) error."""
    difference = predicted - target
    return difference.abs().mean() if power == 1 else torch.mean(difference.square())
