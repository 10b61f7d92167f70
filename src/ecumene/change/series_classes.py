"""Class series made consistent in time: most probable paths, lasting switches, and the date of first built-up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ecumene.change.series import days_of, mask_of, run_blocks
from ecumene.core.errors import ConfigurationError, SceneError

Single = NDArray[np.float32]
_OPTIONS: Any = {"cache": True, "nogil": True, "error_model": "numpy"}
_LEAST = 1e-6  # no classifier is more certain than this: one wrong date must not decide a whole series
NODATA = 255


@dataclass(frozen=True)
class ClassPaths:
    """Most probable class of every date, given all dates.

    Attributes:
        path: uint8 `[T, *space]`, index of the class; 255 where a pixel has no date at all.
        probability: float32 `[T, *space]`, of that class on that date, given the whole series.
    """

    path: NDArray[np.uint8]
    probability: Single


@dataclass(frozen=True)
class Onset:
    """When a lasting state began.

    Attributes:
        day: float32 `[*space]`, day since 1970-01-01 of the first date in the new state (median of its distribution);
            the first date where it was there from the beginning, NaN where it never came.
        low: float32 `[*space]`, lower end of its interval.
        high: float32 `[*space]`, upper end; the last date means that it may not have come within the series.
        probability: float32 `[*space]`, that the state was reached by the last date.
        from_beginning: float32 `[*space]`, probability that it was there on the first date already.
        state: bool `[T, *space]`, the consistent series: False, then True for good.
        reached_by: float32 `[T, *space]`, probability that the state was reached by each date.
        level: Of the interval.
    """

    day: Single
    low: Single
    high: Single
    probability: Single
    from_beginning: Single
    state: NDArray[np.bool_]
    reached_by: Single
    level: float


def stay_matrix(classes: int, stay: float = 0.95, lasting: tuple[int, ...] = ()) -> NDArray[np.float64]:
    """Return transition probabilities `[K, K]` (from, to) with equal chances of all other classes.

    Args:
        classes: Number K of classes.
        stay: Probability that a class stays from one date to the next.
        lasting: Classes that never turn into another (built-up).

    Raises:
        ConfigurationError: If an argument is out of range.
    """
    if classes < 2 or not 0.0 < stay < 1.0 or any(not 0 <= k < classes for k in lasting):
        raise ConfigurationError("Transitions need two classes, a probability to stay in (0, 1) and known classes.")
    matrix = np.full((classes, classes), (1.0 - stay) / (classes - 1))
    np.fill_diagonal(matrix, stay)
    for k in lasting:
        matrix[k] = 0.0
        matrix[k, k] = 1.0
    return matrix


def consistent_classes(
    probability: Any, dates: Any, valid: Any = None, *, transition: Any = None, threads: int | None = None
) -> ClassPaths:
    """Find the most probable sequence of classes (Viterbi) and how probable each of its classes is (forward-backward).

    A hidden Markov model: the classifier's probability of a date is taken as the likelihood of its class (a uniform
    prior of classes), the transition matrix as prior of changes; missing dates say nothing.

    Args:
        probability: `[K, T, *space]`, class probabilities of each date.
        dates: `[T]`, ascending.
        valid: bool `[T, *space]`; None: NaN says what is missing.
        transition: `[K, K]` from one date to the next, rows sum to one; None: `stay_matrix(K)`.
        threads: None: all; results do not depend on it.

    Returns:
        The paths.

    Raises:
        SceneError: If dates are not usable.
        ConfigurationError: If shapes or transitions are wrong.
    """
    shares = np.asarray(probability, np.float32)
    days = days_of(dates, least=2)
    if shares.ndim < 2 or shares.shape[1] != days.size or shares.shape[0] < 2:
        raise ConfigurationError(f"Class probabilities must be [classes, {days.size} dates, ...].")
    classes, space = shares.shape[0], shares.shape[2:]
    matrix = stay_matrix(classes) if transition is None else np.asarray(transition, np.float64)
    if matrix.shape != (classes, classes) or (matrix < 0).any() or not np.allclose(matrix.sum(axis=1), 1.0):
        raise ConfigurationError(f"Transitions must be {classes} x {classes} probabilities whose rows sum to one.")
    flat = np.ascontiguousarray(shares).reshape(classes, days.size, -1)
    mask = np.empty((0, 0), np.bool_) if valid is None else mask_of(valid, (days.size, *space))[0]
    path = np.empty(flat.shape[1:], np.uint8)
    sure = np.empty(flat.shape[1:], np.float32)
    run_blocks(lambda a, b: _decode(flat, mask, a, b, matrix, path, sure), flat.shape[2], threads)
    return ClassPaths(path.reshape(-1, *space), sure.reshape(-1, *space))


@njit(**_OPTIONS)
def _likelihood(shares: Any, valid: Any, pixel: int, out: Any) -> int:
    """Fill `out` `[T, K]` with likelihoods, ones where missing; return the number of dates that are there."""
    classes, dates, _ = shares.shape
    seen = 0
    for t in range(dates):
        there = valid.shape[0] == 0 or valid[t, pixel]
        for k in range(classes):
            there = there and shares[k, t, pixel] == shares[k, t, pixel]
        seen += 1 if there else 0
        for k in range(classes):
            out[t, k] = max(np.float64(shares[k, t, pixel]), _LEAST) if there else 1.0
    return seen


@njit(**_OPTIONS)
def _decode(shares: Any, valid: Any, start: int, stop: int, matrix: Any, path: Any, sure: Any) -> None:
    """Fill path and its probabilities `[T, P]` of pixels start..stop."""
    classes, dates, _ = shares.shape
    like, best, origin = np.empty((dates, classes)), np.empty((dates, classes)), np.empty((dates, classes), np.int64)
    ahead, behind = np.empty((dates, classes)), np.empty((dates, classes))
    for pixel in range(start, stop):
        if _likelihood(shares, valid, pixel, like) == 0:
            path[:, pixel] = NODATA
            sure[:, pixel] = np.nan
            continue
        best[0] = like[0]
        ahead[0] = like[0] / like[0].sum()
        behind[dates - 1] = 1.0
        for t in range(1, dates):
            for k in range(classes):
                ahead[t, k], best[t, k], origin[t, k] = 0.0, -1.0, 0
                for c in range(classes):
                    ahead[t, k] += ahead[t - 1, c] * matrix[c, k]
                    if best[t - 1, c] * matrix[c, k] > best[t, k]:
                        best[t, k], origin[t, k] = best[t - 1, c] * matrix[c, k], c
                ahead[t, k] *= like[t, k]
                best[t, k] *= like[t, k]
            ahead[t] /= ahead[t].sum()
            best[t] /= best[t].max()
        for t in range(dates - 2, -1, -1):
            for k in range(classes):
                behind[t, k] = 0.0
                for c in range(classes):
                    behind[t, k] += matrix[k, c] * like[t + 1, c] * behind[t + 1, c]
            behind[t] /= behind[t].max()
        now = np.argmax(best[dates - 1])
        for t in range(dates - 1, -1, -1):
            path[t, pixel] = now
            sure[t, pixel] = ahead[t, now] * behind[t, now] / (ahead[t] * behind[t]).sum()
            now = origin[t, now]


def first_lasting(
    probability: Any,
    dates: Any,
    valid: Any = None,
    *,
    prior_ever: float = 0.5,
    prior_beginning: float = 0.5,
    level: float = 0.9,
) -> Onset:
    """Find from when on a state that never ends (built-up) is there: growth by year of first built-up.

    A pixel is without the state up to a date and with it from then on, or never. Each possibility has the likelihood of
    all dates together, product of (1 - p) before and p after (with p cut off at 1e-6): the monotone path of the
    two-class Markov model. `series_steps.fit_steps` is the published step function, chosen by its squared error, which
    has no interval. Prior: `prior_ever` that the state is reached at all; `prior_beginning` of it on the first date,
    the rest evenly on the other days of the series.

    Args:
        probability: `[T, *space]`, of the state on each date; classes 0 and 1 work as well.
        dates: `[T]`, ascending.
        valid: bool `[T, *space]`; None: NaN says what is missing.
        prior_ever: In (0, 1).
        prior_beginning: In (0, 1).
        level: Of the interval of the date.

    Returns:
        The onsets; all NaN and False where a pixel has no date.

    Raises:
        SceneError: If dates are not usable.
        ConfigurationError: If shapes or priors are wrong.
    """
    share = np.asarray(probability, np.float64)
    days = days_of(dates, least=2)
    if share.shape[:1] != days.shape:
        raise ConfigurationError(f"Probabilities must be [{days.size} dates, ...], not {list(share.shape)}.")
    if not (0.0 < prior_ever < 1.0 and 0.0 < prior_beginning < 1.0 and 0.0 < level < 1.0):
        raise ConfigurationError("Priors and level must lie between 0 and 1.")
    there = np.isfinite(share)
    if valid is not None:
        there &= mask_of(valid, share.shape).reshape(share.shape)
    score = onset_scores(np.where(there, share, np.nan), days, prior_ever, prior_beginning)
    weight = np.exp(score - score.max(axis=0))
    weight /= weight.sum(axis=0)
    return _onset(weight, days, np.asarray(there.any(axis=0)), level)


def onset_scores(
    share: NDArray[np.float64], days: NDArray[np.int64], prior_ever: float, prior_beginning: float
) -> NDArray[np.float64]:
    """Return the log of prior times likelihood of each first date, and of never (last), `[T + 1, *space]`.

    Args:
        share: Probability of the state `[T, *space]`, NaN where missing.
        days: Checked dates.
        prior_ever: See `first_lasting`.
        prior_beginning: See there.
    """
    there = np.isfinite(share)
    cut = np.clip(np.where(there, share, 0.5), _LEAST, 1.0 - _LEAST)
    without = np.where(there, np.log1p(-cut), 0.0)
    with_it = np.where(there, np.log(cut), 0.0)
    before = np.concatenate([np.zeros_like(without[:1]), np.cumsum(without, axis=0)])
    after = np.concatenate([np.cumsum(with_it[::-1], axis=0)[::-1], np.zeros_like(with_it[:1])])
    gaps = np.diff(days) / (days[-1] - days[0])
    prior = np.concatenate([[prior_beginning], (1.0 - prior_beginning) * gaps]) * prior_ever
    return np.asarray(before + after + np.log(np.append(prior, 1.0 - prior_ever)).reshape(-1, *[1] * (share.ndim - 1)))


def _onset(weight: NDArray[np.float64], days: NDArray[np.int64], there: NDArray[np.bool_], level: float) -> Onset:
    """Turn the distribution over first dates (and never, last) into an onset."""
    dates = days.size
    ever = 1.0 - weight[-1]
    best = weight[:-1].argmax(axis=0)  # not over "never", which `reached` decides
    state = (np.arange(dates).reshape(-1, *[1] * (weight.ndim - 1)) >= best) & there
    done = np.cumsum(weight, axis=0)
    tail = 0.5 * (1.0 - level)

    def quantile(share: Any) -> Single:
        index = np.minimum((done < share - 1e-12).sum(axis=0), dates - 1)
        return np.where(there, days[index], np.nan).astype(np.float32)

    reached = there & (ever >= 0.5)
    middle = np.where(reached, quantile(0.5 * ever), np.nan).astype(np.float32)
    missing = np.where(there, 1.0, np.nan)
    return Onset(
        day=middle,
        low=np.where(reached, quantile(tail), np.nan).astype(np.float32),
        high=np.where(reached, quantile(1.0 - tail), np.nan).astype(np.float32),
        probability=(ever * missing).astype(np.float32),
        from_beginning=(weight[0] * missing).astype(np.float32),
        state=state & reached,
        reached_by=(done[:-1] * missing).astype(np.float32),
        level=level,
    )


def lasting_switches(
    probability: Any, dates: Any, *, last: int = 2, margin: float = 0.2
) -> list[tuple[int, int, int, int, float]]:
    """List the switches of one place's class series that last: from-class, to-class and date.

    Args:
        probability: `[K, T]`, class probabilities of one place; dates with NaN are left out.
        dates: `[T]`, ascending.
        last: Dates in a row on which the new class must be the most probable one.
        margin: By how much its mean probability over these dates exceeds that of the class before, at least.

    Returns:
        For each switch (from, to, day of the last date before, day of the first date after, margin).

    Raises:
        SceneError: If dates are not usable or none has probabilities.
        ConfigurationError: If shapes or limits are wrong.
    """
    shares = np.asarray(probability, np.float64)
    days = days_of(dates, least=2)
    if shares.ndim != 2 or shares.shape[1] != days.size or last < 1 or not 0.0 <= margin < 1.0:
        raise ConfigurationError(
            "Switches need [classes, dates], at least one date that lasts, and a margin in [0, 1)."
        )
    there = np.isfinite(shares).all(axis=0)
    if not there.any():
        raise SceneError("No date of the series has class probabilities; every image may be cloudy.")
    shares, days = shares[:, there], days[there]
    best = shares.argmax(axis=0)
    found, now = [], int(best[0])
    t = 1
    while t + last <= days.size:
        new = int(best[t])
        gain = float((shares[new, t : t + last] - shares[now, t : t + last]).mean())
        if new != now and (best[t : t + last] == new).all() and gain > margin:
            found.append((now, new, int(days[t - 1]), int(days[t]), gain))
            now = new
        t += 1
    return found
