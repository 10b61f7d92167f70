"""Growth from a series of interferometric heights, as of rice seen by TanDEM-X.

Every date has its own single-pass interferogram, so that no time passes within a pair. Heights of fields are
taken against ground that does not grow, averaged, and followed through the season.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecumene.core.errors import ConfigurationError, ContractError
from ecumene.physics.interferometry.checks import coherence_stack, phase_stack
from ecumene.physics.interferometry.geometry import RadarGeometry
from ecumene.physics.interferometry.phase_statistics import phase_deviation

INVALID = 1
"""Field or reference without data at this date."""
AMBIGUOUS = 2
"""The height changed by more than 0.4 heights of ambiguity since the date before: a cycle may be missing."""


@dataclass(frozen=True)
class HeightSeries:
    """Heights of fields through time, over the reference ground and relative to the first date.

    Attributes:
        dates: datetime64[D], `[N]`.
        fields: Labels, `[K]`.
        height_m: Height of the phase centre over that of the first date, metres, `[N, K]`.
        standard_deviation_m: Metres, `[N, K]`: noise of field and reference at both dates.
        rate_m_per_day: Weighted mean growth, metres a day, `[K]`.
        rate_deviation_m_per_day: Its standard deviation, `[K]`.
        flags: Bits of this module, uint8 `[N, K]`.
    """

    dates: NDArray[np.datetime64]
    fields: NDArray[np.int64]
    height_m: NDArray[np.float64]
    standard_deviation_m: NDArray[np.float64]
    rate_m_per_day: NDArray[np.float64]
    rate_deviation_m_per_day: NDArray[np.float64]
    flags: NDArray[np.uint8]


def follow_heights(
    phase: ArrayLike,
    coherence: ArrayLike,
    dates: ArrayLike,
    baselines_m: ArrayLike,
    geometry: RadarGeometry,
    looks: float,
    fields: NDArray[np.integer],
    reference: NDArray[np.bool_],
    *,
    correlated_pixels: float = 1.0,
) -> HeightSeries:
    """Follow the heights of fields through a series of single-pass interferograms.

    Rossi and Erten, "Paddy-rice monitoring using TanDEM-X", IEEE TGRS 53(2), 2015: the interferometric phase
    of a field against that of its bare surroundings gives the height of its phase centre, which lies below the
    canopy's top by what the wave penetrates. What differs: means over fields are those of unit phasors weighted by
    inverse phase variance, whose errors follow from coherence and looks, and the first date is the zero.

    Args:
        phase: Phases without flat Earth and terrain, radians, `[N, H, W]`, wrapped or not; NaN means no data.
        coherence: Coherence `[N, H, W]`, 0..1.
        dates: One a phase, datetime64 or text, `[N]`.
        baselines_m: Perpendicular baselines, metres, `[N]`.
        geometry: Wavelength, range, incidence; `passes` is 1 for a bistatic pair.
        looks: Independent looks of every pixel.
        fields: Labels `[H, W]`; 0 is no field.
        reference: Ground that does not grow, `[H, W]`.
        correlated_pixels: Pixels that share their noise (oversampling, filters); widens the errors.

    Returns:
        The series.

    Raises:
        ConfigurationError: If a baseline is zero, dates repeat, or fewer than two are given.
        ContractError: If shapes do not fit, there is no field or no reference, or no coherence.
    """
    when = np.asarray(dates, "datetime64[D]")
    stack = phase_stack(phase, when.size)
    quality = coherence_stack(coherence, stack.shape)
    baselines = np.asarray(baselines_m, np.float64)
    if when.size < 2 or np.unique(when).size != when.size:
        raise ConfigurationError("Growth needs at least two interferograms of different dates.")
    if baselines.shape != when.shape or not np.isfinite(baselines).all() or (baselines == 0).any():
        raise ConfigurationError("Give one perpendicular baseline other than zero, in metres, for every date.")
    labels = np.asarray(fields)
    if labels.shape != stack.shape[1:] or np.shape(reference) != stack.shape[1:]:
        raise ContractError("Fields and reference must lie on the grid of the phases.")
    numbers = np.unique(labels[labels > 0]).astype(np.int64)
    if numbers.size == 0 or not np.any(reference):
        raise ContractError("There is no field, or no reference ground; label at least one of each.")
    order = np.argsort(when)
    stack, quality, when, baselines = stack[order], quality[order], when[order], baselines[order]
    rate = np.array([float(np.mean(geometry.height_rate(b))) for b in baselines])
    sigma = phase_deviation(np.clip(quality, 0.0, 0.999), looks)
    angle, error = _means(stack, sigma, [labels == k for k in numbers], correlated_pixels)
    ground, ground_error = _means(stack, sigma, [np.asarray(reference, bool)], correlated_pixels)
    difference = angle - ground
    difference -= 2.0 * np.pi * np.round(difference / (2.0 * np.pi))
    height, flags = _unfold(difference, rate)
    variance = (np.square(error) + np.square(ground_error)) / np.square(rate)[:, None]
    relative = height - height[0]
    deviation = np.sqrt(variance + variance[0] * (np.arange(when.size) > 0)[:, None])
    deviation[0] = np.where(np.isfinite(deviation[0]), 0.0, np.nan)
    flags[~np.isfinite(relative)] |= INVALID
    days = (when - when[0]).astype(np.float64)
    growth, growth_error = _growth(days, height, variance)
    return HeightSeries(when, numbers, relative, deviation, growth, growth_error, flags)


def _means(
    stack: NDArray[np.float64], sigma: NDArray[np.float64], masks: list[NDArray[np.bool_]], correlated: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weighted circular mean phases and their errors, `[N, K]`."""
    mean = np.full((stack.shape[0], len(masks)), np.nan)
    error = np.full(mean.shape, np.nan)
    for n, (phase, spread) in enumerate(zip(stack, sigma, strict=True)):
        for k, mask in enumerate(masks):
            usable = mask & np.isfinite(phase) & np.isfinite(spread) & (spread > 0)
            if not usable.any():
                continue
            weight = 1.0 / np.square(spread[usable])
            mean[n, k] = np.angle(np.sum(weight * np.exp(1j * phase[usable])))
            error[n, k] = np.sqrt(max(correlated, 1.0) / weight.sum())
    return mean, error


def _unfold(
    difference: NDArray[np.float64], rate: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Heights from phases, each taken as near as its height of ambiguity allows to the date before."""
    height = difference / rate[:, None]
    flags = np.zeros(height.shape, np.uint8)
    cycle = 2.0 * np.pi / np.abs(rate)
    last = height[0].copy()
    for n in range(1, len(rate)):
        step = height[n] - last
        turns = np.where(np.isfinite(step), np.round(step / cycle[n]), 0.0)
        height[n] -= turns * cycle[n]
        near = np.abs(np.nan_to_num(height[n] - last)) > 0.4 * cycle[n]
        flags[n, near] |= AMBIGUOUS
        last = np.where(np.isfinite(height[n]), height[n], last)
    return height, flags


def _growth(
    days: NDArray[np.float64], height: NDArray[np.float64], variance: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weighted regression on time, `[K]`; errors enlarged where the scatter is larger than the noise."""
    weight = np.where(np.isfinite(height) & (variance > 0), 1.0 / np.where(variance > 0, variance, 1.0), 0.0)
    values = np.nan_to_num(height)
    total = weight.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        centre = (weight * days[:, None]).sum(axis=0) / total
        offset = days[:, None] - centre
        lever = (weight * offset**2).sum(axis=0)
        slope = (weight * offset * values).sum(axis=0) / lever
        mean = (weight * values).sum(axis=0) / total
        misfit = (weight * np.square(values - mean - slope * offset)).sum(axis=0)
        freedom = (weight > 0).sum(axis=0) - 2
        scale = np.where(freedom > 0, np.maximum(misfit / np.maximum(freedom, 1), 1.0), 1.0)
        return np.where(lever > 0, slope, np.nan), np.where(lever > 0, np.sqrt(scale / lever), np.nan)
