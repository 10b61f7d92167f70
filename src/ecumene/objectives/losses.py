"""Losses on tensors that look at nothing but valid, labelled elements. Imported late: it needs torch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ecumene.samples.contract import IGNORE


def spatial_valid(valid: Tensor, n_dimensions: int) -> Tensor:
    """Return validity with as many axes as a target: a series' element counts where any date is valid."""
    return valid.any(dim=1) if valid.ndim == n_dimensions + 1 else valid


def nothing(output: Tensor) -> Tensor:
    """Return zero that keeps the graph, even if the output holds values that are not finite."""
    return torch.nan_to_num(output, nan=0.0, posinf=0.0, neginf=0.0).sum() * 0.0


def select_classes(output: Tensor, target: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Return (logits `[N, K]`, class indices `[N]`) of valid, labelled elements.

    Args:
        output: `[B, K, ...]`.
        target: int `[B, ...]`, -1 unlabelled.
        valid: bool `[B, ...]`, or `[B, T, ...]` for a series.
    """
    usable = spatial_valid(valid, target.ndim) & (target != IGNORE)
    return output.movedim(1, -1)[usable], target[usable].long()


def class_loss(
    output: Tensor,
    target: Tensor,
    valid: Tensor,
    weights: Sequence[float] | None,
    label_smoothing: float,
    dice_weight: float,
) -> Tensor:
    """Return cross-entropy plus `dice_weight` times the soft Dice loss over valid, labelled elements.

    The cross-entropy is the weighted mean, sum w_y l / sum w_y. The Dice loss is one minus the mean of
    2 sum p t / (sum p + sum t) over the classes that occur (Milletari et al. 2016, "V-Net", eq. for D, with
    first powers in the denominator).
    """
    logits, truth = select_classes(output, target, valid)
    if truth.numel() == 0:
        return nothing(output)
    logits = logits.float()
    scale = None if weights is None else logits.new_tensor(list(weights))
    loss = F.cross_entropy(logits, truth, weight=scale, label_smoothing=label_smoothing)
    if dice_weight > 0.0:
        probability = logits.softmax(dim=1)
        hot = F.one_hot(truth, logits.shape[1]).to(probability.dtype)
        size = probability.sum(dim=0) + hot.sum(dim=0)
        dice = 2.0 * (probability * hot).sum(dim=0) / size.clamp_min(1e-12)
        loss = loss + dice_weight * (1.0 - dice[hot.sum(dim=0) > 0].mean())
    return loss


def label_loss(output: Tensor, target: Tensor, valid: Tensor, positive_weights: Sequence[float] | None) -> Tensor:
    """Return the binary cross-entropy over known labels of valid elements.

    Args:
        output: `[B, K, ...]`.
        target: `[B, K, ...]` of 0, 1, or -1 where a label is unknown.
        valid: bool `[B, ...]`.
        positive_weights: Weight of the positive term of each label.
    """
    usable = select_labels(target, valid)
    if not bool(usable.any()):
        return nothing(output)
    scale = None
    if positive_weights is not None:
        shape = (1, len(positive_weights)) + (1,) * (output.ndim - 2)
        scale = output.new_tensor(list(positive_weights)).float().reshape(shape).expand_as(output)[usable]
    return F.binary_cross_entropy_with_logits(output[usable].float(), target[usable].float(), pos_weight=scale)


def select_labels(target: Tensor, valid: Tensor) -> Tensor:
    """Return bool `[B, K, ...]`: known labels of valid elements (a scene counts if any pixel is valid)."""
    while valid.ndim > target.ndim - 1:
        valid = valid.any(dim=-1)
    return valid.unsqueeze(1).expand_as(target) & (target != IGNORE)


def gaussian_loss(mean: Tensor, log_variance: Tensor, target: Tensor, beta: float) -> Tensor:
    """Return the mean (beta-)negative log-likelihood of a Gaussian, without the constant ln(2 pi)/2.

    l = (s + (y - m)^2 exp(-s)) / 2 with s the log-variance (Kendall and Gal 2017, eq. 8); each element is weighted
    by the detached exp(s)^beta (Seitzer et al. 2022, "On the pitfalls of heteroscedastic uncertainty estimation",
    eq. 5), beta = 0 being the plain likelihood and 1 giving gradients of the mean like squared error.

    Args:
        mean: Standardised mean, `[N]`, usable elements only.
        log_variance: Log-variance, bounded already.
        target: Standardised target.
        beta: In [0, 1].
    """
    loss = 0.5 * (log_variance + (target - mean).square() * torch.exp(-log_variance))
    if beta > 0.0:
        loss = loss * torch.exp(log_variance.detach() * beta)
    return loss.mean()


def laplace_loss(mean: Tensor, log_variance: Tensor, target: Tensor) -> Tensor:
    """Return the mean negative log-likelihood of a Laplace distribution, without the constant ln 2.

    l = ln b + |y - m| / b with b = sqrt(v / 2), v the variance (Baumann et al. 2023, arXiv 2308.07477, eq. 3).

    Args:
        mean: Standardised mean, `[N]`, usable elements only.
        log_variance: Logarithm of the variance, bounded already.
        target: Standardised target.
    """
    log_scale = 0.5 * (log_variance - math.log(2.0))
    return (log_scale + (target - mean).abs() * torch.exp(-log_scale)).mean()


def multivariate_loss(residual: Tensor, log_deviation: Tensor, coupling: Tensor) -> Tensor:
    """Return the mean negative log-likelihood of Gaussians with full covariance, without k ln(2 pi) / 2.

    l = sum_i ln d_i + |z|^2 / 2 with covariance D U U^T D, D = diag(d), U unit lower triangular, and z from
    U z = D^-1 r by forward substitution: no matrix is inverted and no determinant formed.

    Args:
        residual: Target minus mean, `[N, k]`.
        log_deviation: ln d, `[N, k]`, bounded already.
        coupling: U, `[N, k, k]`.
    """
    scaled = (residual * torch.exp(-log_deviation)).unsqueeze(-1)
    whitened: Tensor = torch.linalg.solve_triangular(coupling, scaled, upper=False, unitriangular=True)
    loss: Tensor = (log_deviation.sum(dim=1) + 0.5 * whitened.square().sum(dim=(1, 2))).mean()
    return loss
