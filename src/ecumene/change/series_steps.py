"""The step function of continuous urban mapping: from which date on a state is there, by the smallest squared error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.change.series import days_of, mask_of
from ecumene.core.errors import ConfigurationError

Single = NDArray[np.float32]


@dataclass(frozen=True)
class StepFit:
    """The step function of every pixel; NaN and -1 where a pixel has no date.

    Attributes:
        first: int16 `[*space]`, index x0 of the first date with the state: 0 from the beginning, T never, -1 unknown.
        day: float32 `[*space]`, day since 1970-01-01 half way between the dates around the change; NaN without one.
        last_before: float32 `[*space]`, day of the last observation before it.
        first_after: float32 `[*space]`, day of the first observation after it.
        error: float32 `[*space]`, root mean square of probability minus step function.
        state: bool `[T, *space]`, the step function.
    """

    first: NDArray[np.int16]
    day: Single
    last_before: Single
    first_after: Single
    error: Single
    state: NDArray[np.bool_]


def fit_steps(probability: Any, dates: Any, valid: Any = None) -> StepFit:
    """Fit constant 0, constant 1 and a step from 0 to 1 at every date; the smallest mean squared error wins.

    This is the first stage of continuous urban change detection (Hafner, continuous_urban_change_detection, step
    function model): probabilities p_1 .. p_T of built-up, x0 the first date of the step, which lies between the dates
    x0 - 1 and x0; the model's error is the root of the mean squared error. Of equal errors constant 0 goes first, then
    constant 1, then the earliest step. `series_classes.first_lasting` takes the likelihood instead of the squared error
    and gives an interval.

    Args:
        probability: `[T, *space]`, of the state on each date, 0 to 1; NaN: missing.
        dates: `[T]`, ascending.
        valid: bool `[T, *space]`; None: NaN says what is missing.

    Returns:
        The step functions; missing dates are left out of sums.

    Raises:
        SceneError: If dates are not usable.
        ConfigurationError: If shapes are wrong, or values are no probabilities.
    """
    share = np.asarray(probability, np.float64)
    days = days_of(dates, least=2)
    if share.shape[:1] != days.shape:
        raise ConfigurationError(f"Probabilities must be [{days.size} dates, ...], not {list(share.shape)}.")
    there = np.isfinite(share)
    if valid is not None:
        there &= mask_of(valid, share.shape).reshape(share.shape)
    p = np.where(there, share, 0.0)
    if (p < 0.0).any() or (p > 1.0).any():
        raise ConfigurationError("Probabilities must lie between 0 and 1; bring percent or scores to that range first.")
    number = there.sum(axis=0)
    squares = p**2
    apart = np.where(there, (1.0 - p) ** 2, 0.0)
    zero = np.zeros_like(squares[:1])
    # Error of the step at date k: without the state before it, with it from there on; k = T is constant 0.
    before = np.concatenate([zero, np.cumsum(squares, axis=0)])
    after = np.concatenate([np.cumsum(apart[::-1], axis=0)[::-1], zero])
    total = before + after
    order = np.concatenate([[days.size], np.arange(days.size)])
    place = total[order].argmin(axis=0)
    first = order[place]
    best = np.take_along_axis(total, first[None], axis=0)[0]
    known = number > 0
    state = (np.arange(days.size).reshape(-1, *[1] * (share.ndim - 1)) >= first) & known
    last_before, first_after = _around(there, state, days)
    change = np.isfinite(last_before) & np.isfinite(first_after)
    return StepFit(
        first=np.where(known, first, -1).astype(np.int16),
        day=np.where(change, 0.5 * (last_before + first_after), np.nan).astype(np.float32),
        last_before=np.where(change, last_before, np.nan).astype(np.float32),
        first_after=np.where(change, first_after, np.nan).astype(np.float32),
        error=np.where(known, np.sqrt(best / np.maximum(number, 1)), np.nan).astype(np.float32),
        state=state,
    )


def _around(
    there: NDArray[np.bool_], state: NDArray[np.bool_], days: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the last observed day without and the first one with the state; NaN where there is none."""
    day = days.astype(np.float64).reshape(-1, *[1] * (there.ndim - 1))
    low = np.where(there & ~state, day, -np.inf).max(axis=0)
    high = np.where(there & state, day, np.inf).min(axis=0)
    return np.where(np.isfinite(low), low, np.nan), np.where(np.isfinite(high), high, np.nan)
