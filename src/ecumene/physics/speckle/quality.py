"""How good a despeckled image is, without and with the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ecumene.core.errors import ConfigurationError
from ecumene.physics.speckle.checks import check_looks


@dataclass(frozen=True)
class RatioStatistics:
    """Observation over estimate: 1 with a variance of 1/L where a filter removes speckle and nothing else.

    Attributes:
        mean: Of the ratio; its distance from 1 is radiometric bias.
        mean_error: Standard error of `mean`, assuming independent pixels.
        looks: mean^2 / variance of the ratio; above L: speckle is left in the estimate; below: structure was removed.
        structure: Largest lag-one correlation of the ratio's neighbours; structure that the filter took out.
    """

    mean: float
    mean_error: float
    looks: float
    structure: float


def ratio_statistics(intensity: NDArray[Any], estimate: NDArray[Any]) -> RatioStatistics:
    """Judge a filter by the ratio image (Oliver and Quegan 2004, "Understanding SAR Images", section 6.7).

    Args:
        intensity: Observation `[H, W]`, linear.
        estimate: Filtered `[H, W]`, linear.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.asarray(intensity, np.float64) / np.asarray(estimate, np.float64)
    usable = np.isfinite(ratio) & (ratio > 0.0)
    values = ratio[usable]
    mean, variance = float(values.mean()), float(values.var())
    centred = np.where(usable, ratio - mean, 0.0)
    lags = [
        float((centred[1:] * centred[:-1]).sum() / max(1, int((usable[1:] & usable[:-1]).sum()))),
        float((centred[:, 1:] * centred[:, :-1]).sum() / max(1, int((usable[:, 1:] & usable[:, :-1]).sum()))),
    ]
    return RatioStatistics(mean, float(np.sqrt(variance / values.size)), mean**2 / variance, max(lags) / variance)


def edge_preservation_ratio(intensity: NDArray[Any], estimate: NDArray[Any], axis: int) -> float:
    """Return the edge preservation degree by ratio of averages, EPD-ROA, along an axis.

    Feng et al. (2011, doi 10.1109/LGRS.2010.2061832): the sum of ratios of neighbours after over before filtering,
    each taken as at least 1. Needs no truth; 1 keeps all contrast (and all speckle), so it is read
    beside the number of looks.
    """
    result = []
    for image in (np.asarray(estimate, np.float64), np.asarray(intensity, np.float64)):
        moved = np.moveaxis(image, axis, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            steps = np.abs(np.log(moved[1:] / moved[:-1]))
        result.append(float(np.exp(steps[np.isfinite(steps)]).sum()))
    return result[0] / result[1]


def edge_preservation_index(truth: NDArray[Any], estimate: NDArray[Any]) -> float:
    """Return the correlation of the Laplacians of truth and estimate (Sattar et al. 1997, doi 10.1109/83.585239)."""
    first = ndimage.laplace(np.asarray(truth, np.float64))
    second = ndimage.laplace(np.asarray(estimate, np.float64))
    first, second = first - first.mean(), second - second.mean()
    return float((first * second).sum() / np.sqrt((first**2).sum() * (second**2).sum()))


def held_out_deviance(estimate: NDArray[Any], intensity: NDArray[Any], looks: float) -> NDArray[np.float64]:
    """Return the gamma deviance a pixel of independent data of the same scene under an estimate.

    `2 L (r - 1 - ln r)`, r = I / estimate: 0 at best, its mean over data grows both with speckle left in the
    estimate and with structure lost, so that one number weighs noise against edges. Give it a
    sublook or a date that the filter has not seen.

    Args:
        estimate: From other data, linear `[H, W]`.
        intensity: Held-out intensity, linear `[H, W]`.
        looks: Looks of the held-out data.
    """
    looks = check_looks(looks)
    if np.shape(estimate) != np.shape(intensity):
        raise ConfigurationError(
            f"Estimate and held-out data must share a grid, but are {np.shape(estimate)} and {np.shape(intensity)}."
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.asarray(intensity, np.float64) / np.asarray(estimate, np.float64)
        return np.asarray(2.0 * looks * (ratio - 1.0 - np.log(ratio)))
