"""Change in series of SAR intensities: omnibus likelihood ratio test and its factors, which date each change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from ecumene.core.errors import ConfigurationError, ContractError, SceneError
from ecumene.physics.speckle.looks import scene_looks

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class OmnibusResult:
    """Changes of each pixel of a series of T dates.

    Attributes:
        statistic: `-2 ln Q` of all dates, `[rows, cols]`.
        p_value: Probability of a larger one without change, `[rows, cols]`.
        changes: Whether there is a change between dates t and t + 1, bool `[T - 1, rows, cols]`.
        sign: Direction of each change: 1 brighter, -1 darker in all channels, 2 mixed, 0 none, int8, as `changes`.
        first: Index t of the date after the first change, int16 `[rows, cols]`; -1 without.
        last: Index of the date after the last change, alike.
        count: Number of changes, int16 `[rows, cols]`.
        valid: Pixels with positive intensity at all dates, `[rows, cols]`.
        looks: Equivalent number of looks used.
        level: Significance level used.
    """

    statistic: NDArray[np.float32]
    p_value: NDArray[np.float32]
    changes: NDArray[np.bool_]
    sign: NDArray[np.int8]
    first: NDArray[np.int16]
    last: NDArray[np.int16]
    count: NDArray[np.int16]
    valid: NDArray[np.bool_]
    looks: float
    level: float


def omnibus_test(
    intensity: ArrayLike, looks: float | None = None, *, level: float = 0.01, valid: NDArray[np.bool_] | None = None
) -> OmnibusResult:
    """Test whether the intensity of each pixel is the same at all dates, and date the changes.

    Conradsen, Nielsen and Skriver (2016, doi 10.1109/TGRS.2015.2510160). Q compares one mean for all dates with one
    a date; R_j compares dates 1..j - 1 with date j, and Q is the product of the R_j, which are independent without
    change. Where Q is significant, the first significant R_j dates the first change; then the test begins anew at
    that date, until Q of the rest is not significant. P values by the Box approximation to order 1 / looks^2.
    Channels are independent gamma intensities (diagonal covariance, as of dual-polarised GRD); the logarithms and
    degrees of freedom of channels add up. The full covariance matrices of the paper are not treated.

    Args:
        intensity: Linear, `[T, rows, cols]` or `[T, channels, rows, cols]`, T >= 2; not finite or not positive is
            nodata.
        looks: Equivalent number of looks, the same at all dates; None estimates it as the median of `scene_looks` over
            dates and channels. State it where a scene is tested in blocks, so that all blocks use the same.
        level: Significance level of each test.
        valid: Further mask, `[rows, cols]`.

    Raises:
        ConfigurationError: If looks or level are out of range.
        ContractError: If the shape is wrong.
        SceneError: If no pixel has data at all dates, or the looks cannot be estimated.
    """
    if looks is not None and not (np.isfinite(looks) and looks > 0.5):
        raise ConfigurationError(f"The number of looks must be larger than 0.5, but is {looks}.")
    if not 0.0 < level < 1.0:
        raise ConfigurationError(f"The significance level must lie between 0 and 1, but is {level}.")
    stack = np.asarray(intensity, np.float64)
    stack = stack[:, None] if stack.ndim == 3 else stack
    if stack.ndim != 4 or len(stack) < 2:
        raise ContractError(
            f"The test needs at least two dates as dates x channels x rows x columns, but the shape is {stack.shape}."
        )
    with np.errstate(invalid="ignore"):
        good = np.asarray((np.isfinite(stack) & (stack > 0.0)).all(axis=(0, 1)), np.bool_)
    if valid is not None:
        good = good & valid
    if not good.any():
        raise SceneError("No pixel has a positive intensity at all dates; leave out dates that cover little.")
    if looks is None:
        found = [scene_looks(np.where(good, image, np.nan)).value for date in stack for image in date]
        looks = max(float(np.median(found)), 0.51)
    values = stack[:, :, good]
    statistic, p_value = omnibus(values, looks)
    changes, sign = _dates(values, looks, level, p_value)
    return _assemble(good, statistic, p_value, changes, sign, looks, level)


def omnibus(values: Numbers, looks: float) -> tuple[Numbers, Numbers]:
    """Return `-2 ln Q` and its p value.

    `ln Q = L sum over channels (k ln k + sum ln x_i - k ln sum x_i)`.

    Args:
        values: Intensities `[k, channels, n]`.
        looks: L.
    """
    k = len(values)
    logs = k * np.log(k) + np.log(values).sum(axis=0) - k * np.log(values.sum(axis=0))
    statistic = -2.0 * looks * logs.sum(axis=0)
    return statistic, tail_of(statistic, k, values.shape[1], looks)


def tail_of(statistic: Numbers, dates: int, channels: int, looks: float) -> Numbers:
    """Return the probability of a larger `-2 ln Q` without change.

    Args:
        statistic: `-2 ln Q`.
        dates: Number of dates, at least 2.
        channels: Number of independent channels.
        looks: Equivalent number of looks.
    """
    rho = 1.0 - (dates / looks - 1.0 / (looks * dates)) / (6.0 * (dates - 1))
    omega = -(dates - 1) / 4.0 * (1.0 - 1.0 / rho) ** 2
    return _box_tail(rho * statistic, (dates - 1) * channels, omega * channels)


def factor(before: Numbers, values: Numbers, dates: NDArray[np.int64], looks: float) -> tuple[Numbers, Numbers]:
    """Return `-2 ln R_j` and its p value: is the j-th date like the j - 1 before?

    `ln R_j = L sum over channels (j ln j - (j-1) ln(j-1) + (j-1) ln S + ln x - j ln(S + x))`, S the sum of the dates
    before.

    Args:
        before: Sums S of the earlier dates `[channels, n]`.
        values: Intensities x of date j `[channels, n]`.
        dates: j, `[n]`, >= 2.
        looks: L.
    """
    j = dates.astype(np.float64)
    constant = j * np.log(j) - (j - 1.0) * np.log(j - 1.0)
    logs = constant + (j - 1.0) * np.log(before) + np.log(values) - j * np.log(before + values)
    statistic = -2.0 * looks * logs.sum(axis=0)
    rho = 1.0 - (1.0 + 1.0 / (j * (j - 1.0))) / (6.0 * looks)
    omega = -0.25 * (1.0 - 1.0 / rho) ** 2
    channels = len(values)
    return statistic, _box_tail(rho * statistic, channels, omega * channels)


def _box_tail(scaled: Numbers, degrees: int, omega: Numbers | float) -> Numbers:
    """Return P(> scaled) under `(1 - omega) chi2(f) + omega chi2(f + 4)` (Box 1949)."""
    half = np.maximum(scaled, 0.0) / 2.0
    one, two = special.gammaincc(degrees / 2.0, half), special.gammaincc(degrees / 2.0 + 2.0, half)
    return np.asarray(np.clip(one + omega * (two - one), 0.0, 1.0))


def _dates(values: Numbers, looks: float, level: float, p_value: Numbers) -> tuple[NDArray[np.bool_], NDArray[np.int8]]:
    """Return changes and their signs `[T - 1, n]` by the sequential procedure."""
    total, _, count = values.shape
    changes = np.zeros((total - 1, count), np.bool_)
    sign = np.zeros((total - 1, count), np.int8)
    start = np.zeros(count, np.int64)
    active = p_value < level
    sums = values[0].copy()
    for date in range(1, total):
        where = np.flatnonzero(active)
        if not where.size:
            break
        j = date - start[where] + 1
        tail = factor(sums[:, where], values[date][:, where], j, looks)[1]
        # The last date settles a significant Q of the rest that no single factor explains: no change is dated.
        hit = where[tail < level]
        changes[date - 1, hit] = True
        mean = sums[:, hit] / (date - start[hit])
        up = values[date][:, hit] > mean
        sign[date - 1, hit] = np.where(up.all(axis=0), 1, np.where(~up.any(axis=0), -1, 2))
        sums[:, where] += values[date][:, where]
        sums[:, hit] = values[date][:, hit]
        start[hit] = date
        active[hit] = False
        if date < total - 1 and hit.size:
            active[hit] = omnibus(values[date:][:, :, hit], looks)[1] < level
    return changes, sign


def _assemble(
    good: NDArray[np.bool_],
    statistic: Numbers,
    p_value: Numbers,
    changes: NDArray[np.bool_],
    sign: NDArray[np.int8],
    looks: float,
    level: float,
) -> OmnibusResult:
    def spread(part: NDArray, fill: float, dtype: type, lead: Sequence[int] = ()) -> NDArray:
        whole = np.full((*lead, *good.shape), fill, dtype)
        whole[..., good] = part
        return whole

    steps = len(changes)
    any_change = changes.any(axis=0)
    first = np.where(any_change, changes.argmax(axis=0) + 1, -1)
    last = np.where(any_change, steps - changes[::-1].argmax(axis=0), -1)
    return OmnibusResult(
        spread(statistic, np.nan, np.float32),
        spread(p_value, np.nan, np.float32),
        spread(changes, False, np.bool_, (steps,)),
        spread(sign, 0, np.int8, (steps,)),
        spread(first, -1, np.int16),
        spread(last, -1, np.int16),
        spread(changes.sum(axis=0), 0, np.int16),
        good,
        float(looks),
        float(level),
    )
