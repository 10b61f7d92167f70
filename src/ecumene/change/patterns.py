"""Which pattern a radar series follows: nothing, a step up or down, a ramp or a pulse; with dates, sizes and errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ecumene.change.patterns_kernels import search_patterns
from ecumene.change.series import DAYS_A_YEAR, pixel_series, run_blocks
from ecumene.core.errors import ConfigurationError, SceneError

Single = NDArray[np.float32]

PATTERNS = ("constant", "step up", "step down", "ramp", "pulse")
"""Families by their codes 0 to 4; a step up is how construction looks to radar, a step down demolition."""
CONSTANT, STEP_UP, STEP_DOWN, RAMP, PULSE = range(5)
UNKNOWN = 255
"""Code of a pixel with too few observations."""


@dataclass(frozen=True)
class PatternModel:
    """What is looked for.

    Attributes:
        least: Fewest observations of a band before, during and after a change.
        prior: Probability of any change before a series is seen; the four patterns of change share it evenly, and each
            pattern's dates are equally probable.
        independent: Independent share of the observations: 1, or less where speckle of consecutive dates is correlated.
    """

    least: int = 3
    prior: float = 0.5
    independent: float = 1.0

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ConfigurationError: If one is violated.
        """
        if self.least < 2:
            raise ConfigurationError("A pattern needs at least 2 observations on either side of a change.")
        if not 0.0 < self.prior < 1.0 or not 0.0 < self.independent <= 1.0:
            raise ConfigurationError(
                "The prior of a change must lie between 0 and 1, the independent share of observations in (0, 1]."
            )


@dataclass(frozen=True)
class Patterns:
    """The pattern of every pixel; NaN where there is none or the series is too short.

    Attributes:
        pattern: uint8 `[*space]`, the most probable family, a position in `PATTERNS`; 255 unknown.
        probability: float32 `[5, *space]`, of each family; they sum to 1.
        date: float32 `[*space]`, day since 1970-01-01 at which the change begins (mean over its distribution).
        date_deviation: float32 `[*space]`, its standard deviation, days.
        duration: float32 `[*space]`, days of a ramp or a pulse; 0 for steps.
        duration_deviation: float32 `[*space]`, its standard deviation.
        amplitude: float32 `[B, *space]`, by how much the values changed (during a pulse: away from before).
        amplitude_deviation: float32 `[B, *space]`, its standard deviation, given the dates.
        level: float32 `[B, *space]`, level that the series has at its end.
        scale: float32 `[B, *space]`, residual standard deviation.
        observations: float32 `[*space]`, over all bands.
        days: int64 `[T]`.
    """

    pattern: NDArray[np.uint8]
    probability: Single
    date: Single
    date_deviation: Single
    duration: Single
    duration_deviation: Single
    amplitude: Single
    amplitude_deviation: Single
    level: Single
    scale: Single
    observations: Single
    days: NDArray[np.int64]

    @property
    def changed(self) -> NDArray[np.bool_]:
        """Where there is a pattern of change, bool `[*space]`."""
        return np.asarray((self.pattern != CONSTANT) & (self.pattern != UNKNOWN), np.bool_)

    def interval(self, level: float = 0.9) -> tuple[Single, Single]:
        """Return the ends of the date's interval, taking its distribution as normal.

        Raises:
            ConfigurationError: If the level is out of range.
        """
        if not 0.0 < level < 1.0:
            raise ConfigurationError("The level of an interval must lie between 0 and 1.")
        reach = np.float32(stats.norm.ppf(0.5 * (1.0 + level))) * self.date_deviation
        return self.date - reach, self.date + reach


def find_patterns(
    values: Any,
    dates: Any,
    valid: Any = None,
    *,
    model: PatternModel | None = None,
    family: Any = None,
    threads: int | None = None,
) -> Patterns:
    """Fit all families at all dates by least squares, and weigh them.

    The patterns of urban change in radar series of Che and Gamba (2020, doi 10.1109/IGARSS39084.2020.9323365; Che,
    Vizziello and Gamba 2022, doi 10.1109/JSTARS.2022.3203195): changes differ by their course in time. How the papers
    find them is not followed; this is a design of its own.

    A band is y = a + d z(t) + noise, with z = 0 for a constant, 0 before and 1 after a date for a step, rising evenly
    between two observations for a ramp, and 1 between two dates for a pulse. Every date and pair of dates is tried.
    With the residual sum of squares R of a fit, R_0 of the constant and n observations, its Bayes factor against the
    constant is (1 + n)^((n - 2) / 2) (1 + n R / R_0)^(-(n - 1) / 2), for a prior of d with the weight of one
    observation; for many observations its logarithm is half the difference of the Bayesian information criterion. Bands
    share the dates; their factors are multiplied. A family's weight is the mean over its dates, so a pulse, which has
    many pairs to try, pays for them; the dates' distribution gives the mean date and its error. Given the family, the
    amplitude and its error are those of the most probable dates.

    Radar intensities belong in decibels, filtered for speckle (`physics.speckle`): there noise is nearly Gaussian and
    the same at all levels. Season is not part of the model; take off what `seasons.fit_seasons` finds where there
    is one.

    Args:
        values: `[B, T, *space]`, decibels; NaN: missing.
        dates: `[T]`, ascending, each once.
        valid: bool `[T, *space]` or `[B, T, *space]`; None: NaN says what is missing.
        model: What is looked for.
        family: uint8 `[*space]`, families that are decided already (`patterns_space.couple_patterns`), whose dates and
            sizes are wanted; None: the most probable one of each pixel.
        threads: None: all; results do not depend on it.

    Returns:
        The patterns. Every pixel is independent of the others; `patterns_space` couples them.

    Raises:
        SceneError: If dates are not usable or too few, or nothing is valid.
        ConfigurationError: If shapes or options are wrong.
    """
    model = model or PatternModel()
    series = pixel_series(values, dates, valid)
    if series.days.size < 2 * model.least:
        raise SceneError(
            f"{series.days.size} dates are too few for patterns with {model.least} observations on either side of a "
            "change; give more dates, or lower the least number."
        )
    pixels, bands = series.pixels, series.bands
    fixed = np.empty(0, np.uint8) if family is None else np.array(family, np.uint8).reshape(-1)
    if family is not None and np.shape(family) != series.space:
        raise ConfigurationError(f"The families must have the shape {list(series.space)} of the pixels.")
    years = (series.days - 0.5 * (series.days[0] + series.days[-1])) / DAYS_A_YEAR
    weights = np.empty((5, pixels), np.float32)
    times = np.empty((4, pixels), np.float32)
    sizes = np.empty((4, bands, pixels), np.float32)
    code, seen = np.empty(pixels, np.uint8), np.empty(pixels, np.float32)
    prior = np.log(model.prior / 4.0 / (1.0 - model.prior))

    def work(start: int, stop: int) -> None:
        search_patterns(
            series.values, series.valid, start, stop, years, model.least, prior, model.independent, fixed, code,
            weights, times, sizes, seen,
        )  # fmt: skip

    run_blocks(work, pixels, threads)
    middle = 0.5 * float(series.days[0] + series.days[-1])
    spread = series.spread
    return Patterns(
        pattern=spread(code),
        probability=spread(weights),
        date=spread((times[0].astype(np.float64) * DAYS_A_YEAR + middle).astype(np.float32)),
        date_deviation=spread(times[1] * np.float32(DAYS_A_YEAR)),
        duration=spread(times[2] * np.float32(DAYS_A_YEAR)),
        duration_deviation=spread(times[3] * np.float32(DAYS_A_YEAR)),
        amplitude=spread(sizes[0]),
        amplitude_deviation=spread(sizes[1]),
        level=spread(sizes[2]),
        scale=spread(sizes[3]),
        observations=spread(seen),
        days=series.days,
    )
