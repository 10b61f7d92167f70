"""Merging overlapping instrument series into one, with the bias of each instrument from the overlaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, ContractError

Float = NDArray[np.float64]

INCONSISTENT = 1
"""The instruments that saw this step differ by more than their error bars allow (chi-square, 1e-3)."""
SINGLE = 2
"""One instrument only: no check was possible."""


@dataclass(frozen=True)
class InstrumentSeries:
    """What one instrument measured.

    Attributes:
        name: Of the instrument.
        step: Integer time steps (months, days; the same clock for all), `[N]`, each at most once.
        value: `[N]`, NaN allowed (left out).
        deviation: Random error of each value, one standard deviation, `[N]`, > 0.
    """

    name: str
    step: NDArray[np.int64]
    value: Float
    deviation: Float


@dataclass(frozen=True)
class MergedSeries:
    """One series, in the scale of the reference instrument.

    Attributes:
        step: Ascending time steps, `[T]`.
        value: Merged values, `[T]`.
        standard_deviation: Random error and that of the bias corrections, `[T]`.
        covariance: Of all values: bias errors correlate over years, `[T, T]`.
        instruments: Names, in the order given.
        bias: What each instrument measures too much (0 for the reference), `[I]`.
        bias_deviation: Its standard deviation, `[I]`.
        reduced_chi_square: Disagreement in overlaps per degree of freedom; well above 1: error bars are too small, or
            the biases are not constant. NaN without overlap.
        flags: Bits of this module, `[T]`.
    """

    step: NDArray[np.int64]
    value: Float
    standard_deviation: Float
    covariance: Float
    instruments: tuple[str, ...]
    bias: Float
    bias_deviation: Float
    reduced_chi_square: float
    flags: NDArray[np.uint8]


def merge_series(series: Sequence[InstrumentSeries], *, reference: str | None = None) -> MergedSeries:
    """Merge series of several instruments by weighted least squares.

    Model: y_it = s_t + b_i + e_it with the true state s_t, one constant bias an instrument (0 for the reference) and
    independent errors of the stated deviations. The normal equations are reduced to the biases (Schur complement);
    the s_t follow with their full covariance, in which bias errors stay correlated. For two instruments
    the bias is the weighted mean difference in the overlap; the model is the one that merged ozone and temperature
    records rest on (Loyola et al. 2009, doi 10.1080/01431160902825016, adjust by mean overlap ratios; here additive,
    all instruments at once and with error propagation).

    Args:
        series: At least one instrument.
        reference: Its scale is kept; None: the one with the most values.

    Raises:
        ContractError: If lengths differ, deviations are not positive, or an instrument measures a step twice.
        ConfigurationError: If there is no such reference, or overlaps do not connect all instruments.
    """
    if not series:
        raise ConfigurationError("There is no series to merge; give at least one instrument.")
    names = tuple(item.name for item in series)
    if len(set(names)) != len(names):
        raise ConfigurationError("Two instruments have one name; name them differently.")
    cleaned = [_checked(item) for item in series]
    anchor = _reference(names, cleaned, reference)
    steps = np.unique(np.concatenate([step for step, _, _ in cleaned]))
    value = np.full((len(series), steps.size), np.nan)
    weight = np.zeros((len(series), steps.size))
    for number, (step, measured, deviation) in enumerate(cleaned):
        place = np.searchsorted(steps, step)
        value[number, place], weight[number, place] = measured, deviation**-2.0
    _check_connected(weight > 0.0, names, anchor)
    free = [number for number in range(len(series)) if number != anchor]
    return _solve(names, steps, np.where(weight > 0.0, value, 0.0), weight, free)


def _checked(item: InstrumentSeries) -> tuple[NDArray[np.int64], Float, Float]:
    step = np.asarray(item.step)
    value, deviation = np.asarray(item.value, np.float64), np.asarray(item.deviation, np.float64)
    if step.ndim != 1 or step.shape != value.shape or step.shape != deviation.shape:
        raise ContractError(f"The series of {item.name} needs a step, a value and a deviation for each measurement.")
    used = np.isfinite(value)
    if not used.any():
        raise ContractError(f"The series of {item.name} has no finite value.")
    step, value, deviation = step[used].astype(np.int64), value[used], deviation[used]
    if not (np.isfinite(deviation) & (deviation > 0.0)).all():
        raise ContractError(f"The series of {item.name} has deviations that are not positive; state its random error.")
    if np.unique(step).size != step.size:
        raise ContractError(f"The series of {item.name} has two values for one time step; average them first.")
    return step, value, deviation


def _reference(
    names: tuple[str, ...], cleaned: list[tuple[NDArray[np.int64], Float, Float]], wanted: str | None
) -> int:
    if wanted is None:
        return int(np.argmax([step.size for step, _, _ in cleaned]))
    if wanted not in names:
        raise ConfigurationError(f"There is no instrument {wanted!r}; there are: {', '.join(names)}.")
    return names.index(wanted)


def _check_connected(seen: NDArray[np.bool_], names: tuple[str, ...], anchor: int) -> None:
    reached = np.zeros(len(names), np.bool_)
    reached[anchor] = True
    for _ in names:
        common = seen[reached].any(axis=0)
        reached |= (seen & common).any(axis=1)
    if not reached.all():
        lost = names[int(np.flatnonzero(~reached)[0])]
        raise ConfigurationError(
            f"The series of {lost} does not overlap with the others, so its bias is unknown; add an instrument between."
        )


def _solve(
    names: tuple[str, ...], steps: NDArray[np.int64], value: Float, weight: Float, free: list[int]
) -> MergedSeries:
    total = weight.sum(axis=0)
    mean = (weight * value).sum(axis=0) / total
    share = weight / total
    bias, of_bias = np.zeros(len(names)), np.zeros((len(names), len(names)))
    if free:
        # s_t eliminated: S = diag(sum_t w) - W diag(1/w_t) W^T on the free instruments
        w = weight[free]
        normal = np.diag(w.sum(axis=1)) - (w / total) @ w.T
        right = (w * value[free]).sum(axis=1) - w @ mean
        of_free = np.linalg.inv(normal)
        bias[free] = of_free @ right
        of_bias[np.ix_(free, free)] = of_free
    merged = mean - share.T @ bias
    covariance = np.diag(1.0 / total) + share.T @ of_bias @ share
    residual = np.where(weight > 0.0, value - merged - bias[:, None], 0.0)
    chi = weight * residual**2
    degrees = int((weight > 0.0).sum()) - steps.size - len(free)
    count = (weight > 0.0).sum(axis=0)
    from scipy.stats import chi2

    odd = (count > 1) & (chi2.sf(chi.sum(axis=0), np.maximum(count - 1, 1)) < 1e-3)
    flags = np.where(odd, INCONSISTENT, 0) | np.where(count == 1, SINGLE, 0)
    return MergedSeries(
        steps,
        merged,
        np.sqrt(np.diag(covariance)),
        covariance,
        names,
        bias,
        np.sqrt(np.diag(of_bias)),
        float(chi.sum() / degrees) if degrees > 0 else float("nan"),
        flags.astype(np.uint8),
    )
