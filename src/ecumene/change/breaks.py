"""One break in the season-trend model of a series: its date with an interval, how large, and how probable."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from ecumene.change.breaks_kernels import find_breaks
from ecumene.change.seasons import model_design
from ecumene.change.series import DAYS_A_YEAR, PixelSeries, pixel_series, run_blocks
from ecumene.core.errors import ConfigurationError

Single = NDArray[np.float32]
Breaking = Literal["level", "trend", "all"]


@dataclass(frozen=True)
class BreakModel:
    """What breaks, and what is assumed about it.

    Attributes:
        order: Harmonics of the year, 0 to 3.
        trend: Whether the model has a linear trend.
        breaking: What changes at the break: `level`; `trend`, level and trend; `all`, the season too.
        trimming: Smallest share of a band's observations on either side of a break.
        least: Smallest number of them; never below one more than the coefficients that change.
        prior: Probability of a break before the series is seen; its date is then equally probable on all days that
            trimming allows.
        autocorrelation: Correlation of the noise of consecutive observations, in [0, 1); see `detect_breaks`.
        level: Probability that the interval of the date holds.
    """

    order: int = 1
    trend: bool = True
    breaking: Breaking = "level"
    trimming: float = 0.15
    least: int = 3
    prior: float = 0.5
    autocorrelation: float = 0.0
    level: float = 0.9

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ConfigurationError: If one is violated.
        """
        if self.breaking not in ("level", "trend", "all"):
            raise ConfigurationError(f"{self.breaking!r} cannot break; choose level, trend or all.")
        if self.breaking == "trend" and not self.trend:
            raise ConfigurationError("A model without trend cannot break in its trend; choose level or all.")
        if not 0.0 <= self.trimming < 0.5 or self.least < 1:
            raise ConfigurationError("Trimming must be in [0, 0.5) and the least number of observations at least 1.")
        if not 0.0 < self.prior < 1.0 or not 0.0 < self.level < 1.0:
            raise ConfigurationError("The prior of a break and the level of its interval must lie between 0 and 1.")
        if not 0.0 <= self.autocorrelation < 1.0:
            raise ConfigurationError("The autocorrelation of the noise must be at least 0 and below 1.")

    def moving(self, columns: int) -> NDArray[np.int64]:
        """Return which of the design's columns have coefficients that change."""
        return np.arange({"level": 1, "trend": 2, "all": columns}[self.breaking], dtype=np.int64)

    @property
    def inflation(self) -> float:
        """By how much autocorrelation lowers the number of independent observations."""
        return (1.0 + self.autocorrelation) / (1.0 - self.autocorrelation)


@dataclass(frozen=True)
class Breaks:
    """The most probable break of every pixel; NaN where a series is too short for the model.

    Attributes:
        date: float32 `[*space]`, day since 1970-01-01 before which the break lies with probability one half, if
            there is a break.
        date_low: float32 `[*space]`, lower end of the date's interval, given that there is a break.
        date_high: float32 `[*space]`, upper end.
        probability: float32 `[*space]`, that there is a break; 0.5 where the series says nothing and the prior is 0.5.
        last_before: float32 `[*space]`, day of the last observation before the most probable place of the break.
        first_after: float32 `[*space]`, day of the first observation after it.
        magnitude: float32 `[B, *space]`, value after minus value before at the break, without season.
        magnitude_deviation: float32 `[B, *space]`, its standard deviation, given the date.
        scale: float32 `[B, *space]`, residual standard deviation of the model with the break.
        log_bayes_factor: float32 `[*space]`, for a break at any date against none, natural logarithm.
        largest_f: float32 `[*space]`, largest F statistic over all dates (mean over the bands that have one).
        observations: float32 `[*space]`, over all bands.
        days: int64 `[T]`.
        level: Of the interval.
        posterior: float32 `[T, *space]`, probability that the break lies between dates t - 1 and t, given that there is
            one; or None.
    """

    date: Single
    date_low: Single
    date_high: Single
    probability: Single
    last_before: Single
    first_after: Single
    magnitude: Single
    magnitude_deviation: Single
    scale: Single
    log_bayes_factor: Single
    largest_f: Single
    observations: Single
    days: NDArray[np.int64]
    level: float
    posterior: Single | None

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Where there is a result, bool `[*space]`."""
        return np.isfinite(self.log_bayes_factor)

    def layers(self) -> Single:
        """Return date, its interval, probability and the magnitudes as one array `[4 + B, *space]`."""
        return np.concatenate(
            [np.stack([self.date, self.date_low, self.date_high, self.probability]), self.magnitude], axis=0
        )

    def interval(self, level: float) -> tuple[Single, Single]:
        """Return (low, high) of the date at another level.

        Raises:
            ConfigurationError: If the distribution was not kept, or the level is out of range.
        """
        if self.posterior is None:
            raise ConfigurationError("Other intervals need the distribution of the date; detect with keep=True.")
        if not 0.0 < level < 1.0:
            raise ConfigurationError("The level of an interval must lie between 0 and 1.")
        return self._quantile(0.5 * (1.0 - level)), self._quantile(0.5 * (1.0 + level))

    def _quantile(self, share: float) -> Single:
        assert self.posterior is not None
        done = np.cumsum(self.posterior.astype(np.float64), axis=0)
        index = np.clip((done < share * done[-1]).sum(axis=0), 1, self.days.size - 1)
        before = np.take_along_axis(done, index[None] - 1, axis=0)[0]
        inside = np.maximum(np.take_along_axis(done, index[None], axis=0)[0] - before, 1e-300)
        start, end = self.days[index - 1], self.days[index]
        found = start + (share * done[-1] - before) / inside * (end - start)
        return np.where(self.valid, found, np.nan).astype(np.float32)


def detect_breaks(
    values: Any,
    dates: Any,
    valid: Any = None,
    *,
    model: BreakModel | None = None,
    keep: bool = False,
    threads: int | None = None,
) -> Breaks:
    """Look for one break over all dates that trimming allows, in the manner of BFAST's structural change tests.

    For a break before date k the model is y = X b + Z_k d + e: X is the season-trend design, and Z_k repeats those of
    its columns that change for dates k and later. With M = 1 - X (X'X)^-1 X' and the residuals r = M y the break
    lowers the residual sum of squares R by g' C^-1 g, g = Z_k' r, C = Z_k' M Z_k (Frisch-Waugh-Lovell), for all k in
    one sweep of sums. The largest F over k is Andrews' statistic (1993, Econometrica 61(4):821-856), which BFAST
    (Verbesselt et al. 2010, doi 10.1016/j.rse.2009.08.014) tests through strucchange.

    Date: for uniform priors of b, d and log sigma the density of a break between two observations is proportional to
    det(C)^(-1/2) R_k^(-(n - D - Q) / 2) on every day between them: the profile likelihood of the date, with the
    penalty for the estimated coefficients. The interval cuts off equal tails of it.

    Probability: the Bayes factor of a break before k against none, for Zellner's g prior of d with the weight of one
    observation (g = n), is (1 + n)^((n - D - Q) / 2) (1 + n R_k / R_0)^(-(n - D) / 2) (Liang et al. 2008, JASA
    103(481):410-423, equation 6); its mean over all days times the prior odds gives the odds of a break.

    Bands count as independent given the date; their densities and factors are multiplied. Noise that is not white is
    not part of the model; `autocorrelation` rho divides the exponents by (1 + rho) / (1 - rho), the loss of independent
    observations of a first-order autoregressive process, and n in the prior's g as well (g = n (1 - rho) / (1 + rho));
    that widens the intervals and lowers the probabilities.

    Differences from BFAST: the season is fitted together with the breaks instead of in turns, one break is
    looked for (`detect_several_breaks` finds more), and the probability replaces the test's critical values.

    Args:
        values: `[B, T, *space]`; NaN: missing.
        dates: `[T]`, ascending, each once.
        valid: bool `[T, *space]` or `[B, T, *space]`; None: NaN says what is missing.
        model: What can break.
        keep: Whether to keep the distribution of the date (as large as one band of the series).
        threads: None: all that this process may use; results do not depend on it.

    Returns:
        The breaks. Every pixel is independent of the others, so blocks can be computed apart.

    Raises:
        SceneError: If dates are not usable or too few, or nothing is valid.
        ConfigurationError: If shapes or options are wrong.
    """
    model = model or BreakModel()
    series = pixel_series(values, dates, valid)
    return _result(series, model, search(series, model, keep, threads))


def search(
    series: PixelSeries, model: BreakModel, keep: bool, threads: int | None
) -> tuple[Single, NDArray[np.int32], Single, Single]:
    """Run the compiled search over all pixels.

    Returns:
        (summary `[6, P]`, brackets `[2, P]`, magnitudes `[3, B, P]`, posterior `[T, P]` or `[0, 0]`) of `find_breaks`;
        the summary's shares are one half and the ends of the interval.

    Raises:
        SceneError: If the series has too few dates.
    """
    design = model_design(series.days, model.order, model.trend)
    moving = model.moving(design.shape[1])
    days = series.days.astype(np.float64)
    middle = 0.5 * (days[0] + days[-1])
    change = np.zeros((days.size, moving.size))
    change[:, 0] = 1.0
    if moving.size > 1 and model.trend:
        change[1:, 1] = (0.5 * (days[1:] + days[:-1]) - middle) / DAYS_A_YEAR
    tail = 0.5 * (1.0 - model.level)
    shares = np.array([0.5, tail, 1.0 - tail])
    pixels = series.pixels
    summary, brackets = np.empty((6, pixels), np.float32), np.empty((2, pixels), np.int32)
    magnitudes = np.empty((3, series.bands, pixels), np.float32)
    posterior = np.empty((days.size, pixels) if keep else (0, 0), np.float32)

    def work(start: int, stop: int) -> None:
        find_breaks(
            series.values, series.valid, start, stop, days, design, moving, change, model.least, model.trimming,
            model.inflation, shares, summary, brackets, magnitudes, posterior,
        )  # fmt: skip

    run_blocks(work, pixels, threads)
    return summary, brackets, magnitudes, posterior


def break_probability(log_bayes_factor: Any, prior: float) -> Single:
    """Return the probability of a break from its log Bayes factor and prior."""
    odds = np.asarray(log_bayes_factor, np.float64) + math.log(prior / (1.0 - prior))
    return np.asarray(expit(odds), np.float32)


def _result(series: PixelSeries, model: BreakModel, found: tuple[Single, NDArray[np.int32], Single, Single]) -> Breaks:
    summary, brackets, magnitudes, posterior = found
    around = np.where(brackets >= 0, series.days[brackets], np.nan).astype(np.float32)
    spread = series.spread
    return Breaks(
        date=spread(summary[3]),
        date_low=spread(summary[4]),
        date_high=spread(summary[5]),
        probability=spread(break_probability(summary[0], model.prior)),
        last_before=spread(around[0]),
        first_after=spread(around[1]),
        magnitude=spread(magnitudes[0]),
        magnitude_deviation=spread(magnitudes[1]),
        scale=spread(magnitudes[2]),
        log_bayes_factor=spread(summary[0]),
        largest_f=spread(summary[1]),
        observations=spread(summary[2]),
        days=series.days,
        level=model.level,
        posterior=spread(posterior) if posterior.size else None,
    )
