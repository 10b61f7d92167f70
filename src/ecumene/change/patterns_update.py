"""Following a series on without its history: cumulative sums of what new dates say against the last known level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.change.patterns import UNKNOWN, Patterns
from ecumene.change.series import day_of
from ecumene.core.errors import ConfigurationError, SceneError

Float = NDArray[np.float64]


@dataclass
class CumulativeSums:
    """Two-sided CUSUM of every pixel and band (Page 1954, Biometrika 41(1-2):100-115).

    With the level mu and the residual scale s that a pixel had at the end of its series, a new value x moves
    S+ = max(0, S+ + (x - mu) / s - k) and S- = max(0, S- - (x - mu) / s - k); a sum above h is an alarm. The change is
    dated at the last observation at which the sum was still 0, Page's estimate of where it began. Only the sums
    are kept, so a series is followed date by date. Known level and scale are taken as exact; after a short history
    false alarms come more often than the average run length of theory says.

    Attributes:
        level: `[B, *space]`, mu; NaN: not followed.
        scale: `[B, *space]`, s > 0.
        day: Last day that was added.
        slack: k, half of the shift that is looked for, in units of s.
        limit: h, in units of s.
        sums: `[2, B, *space]`, S+ and S-.
        since: `[2, B, *space]`, day at which each sum was 0 for the last time.
        alarm: float32 `[*space]`, day of the alarm; NaN: none.
        began: float32 `[*space]`, day after which the change began, of the sum that raised the alarm.
        direction: int8 `[*space]`, 1 up, -1 down, 0 no alarm.
    """

    level: Float
    scale: Float
    day: int
    slack: float
    limit: float
    sums: Float
    since: Float
    alarm: NDArray[np.float32]
    began: NDArray[np.float32]
    direction: NDArray[np.int8]

    @classmethod
    def start(cls, level: Any, scale: Any, day: Any, *, slack: float = 0.5, limit: float = 8.0) -> CumulativeSums:
        """Begin with known levels.

        Args:
            level: `[B, *space]`.
            scale: `[B, *space]`, residual standard deviation.
            day: Last day of the known series.
            slack: See `slack`.
            limit: See `limit`; for independent Gaussian noise and slack 0.5 a limit of 5 gives one false alarm in about
                900 dates a sum, 8 one in some 20,000.

        Raises:
            ConfigurationError: If shapes differ, or an option is out of range.
        """
        known, spread = np.asarray(level, np.float64), np.asarray(scale, np.float64)
        if known.shape != spread.shape or known.ndim < 1:
            raise ConfigurationError("Level and scale must have one shape [bands, ...].")
        if not slack >= 0.0 or not limit > 0.0:
            raise ConfigurationError("The slack of cumulative sums must be at least 0 and their limit above 0.")
        last = day_of(day)
        usable = np.isfinite(known) & (spread > 0.0)
        space = known.shape[1:]
        return cls(
            np.where(usable, known, np.nan), np.where(usable, spread, np.nan), last, slack, limit,
            np.zeros((2, *known.shape)), np.full((2, *known.shape), float(last)),
            np.full(space, np.nan, np.float32), np.full(space, np.nan, np.float32), np.zeros(space, np.int8),
        )  # fmt: skip

    @classmethod
    def after(cls, found: Patterns, *, slack: float = 0.5, limit: float = 8.0) -> CumulativeSums:
        """Begin where the patterns of a series end: their last level and residual scale.

        Args:
            found: The patterns.
            slack: As for `start`.
            limit: As for `start`.
        """
        level = np.where(found.pattern == UNKNOWN, np.nan, found.level)
        return cls.start(level, found.scale, int(found.days[-1]), slack=slack, limit=limit)

    def add(self, values: Any, date: Any, valid: Any = None) -> NDArray[np.bool_]:
        """Add one date.

        Args:
            values: `[B, *space]`; NaN: missing.
            date: A date, or days since 1970-01-01; after the one before.
            valid: bool `[*space]` or `[B, *space]`.

        Returns:
            bool `[*space]`: pixels that raise their alarm with this date. Each raises one; then it rests until it is
            started anew.

        Raises:
            ConfigurationError: If shapes differ.
            SceneError: If the date repeats or runs backwards.
        """
        x, day = np.asarray(values, np.float64), day_of(date)
        if x.shape != self.level.shape:
            raise ConfigurationError(f"A date must be {list(self.level.shape)}, not of shape {list(x.shape)}.")
        if day <= self.day:
            raise SceneError(
                f"The date {np.datetime64(day, 'D')} is not after the last one, {np.datetime64(self.day, 'D')}; add "
                "dates in their order."
            )
        there = np.isfinite(x) & np.isfinite(self.level) & np.isnan(self.alarm)
        if valid is not None:
            mask = np.asarray(valid, np.bool_)
            if mask.shape not in (x.shape, x.shape[1:]):
                raise ConfigurationError(f"The mask must be {list(x.shape[1:])}, not of shape {list(mask.shape)}.")
            there &= mask
        self.day = day
        away = np.where(there, (x - self.level) / self.scale, 0.0)
        for side, sign in enumerate((1.0, -1.0)):
            moved = np.maximum(0.0, self.sums[side] + sign * away - self.slack)
            self.sums[side] = np.where(there, moved, self.sums[side])
            self.since[side] = np.where(there & (moved == 0.0), float(day), self.since[side])
        bands = self.sums.shape[1]
        flat = self.sums.reshape(2 * bands, -1)
        best = flat.argmax(axis=0)
        place = best, np.arange(flat.shape[1])
        new = (flat[place] > self.limit).reshape(self.alarm.shape) & np.isnan(self.alarm)
        began = self.since.reshape(2 * bands, -1)[place].reshape(self.alarm.shape)
        side_of = np.where(best < bands, 1, -1).reshape(self.alarm.shape)
        self.alarm = np.where(new, day, self.alarm).astype(np.float32)
        self.began = np.where(new, began, self.began).astype(np.float32)
        self.direction = np.where(new, side_of, self.direction).astype(np.int8)
        return np.asarray(new, np.bool_)
