"""Error bars of internal learning: clear pixels are hidden, the network is fitted without them, and errors are seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import LabelError
from ecumene.restoration.cloud_simulation import cover_field
from ecumene.restoration.contract import Array, Sample, SeriesPixels
from ecumene.restoration.holdout import COVER, Calibration, HeldOut, calibrate, no_calibration
from ecumene.restoration.internal_learning import Frames, InternalOptions, Restored, neighbours, restore
from ecumene.restoration.variogram import Variogram, fit_variogram

_MOST_WHOLE = 2  # dates that are hidden whole: each costs a fit
_FEWEST = 300  # hidden pixels below which nothing is learned of errors
_MOST = 20_000  # hidden pixels that the error is learned on
_ROUNDS = 4


@dataclass(frozen=True)
class InternalError:
    """The error of what a fitted network fills.

    Variance of a band = `base` + `factor` times the variance over the network's snapshots + `lone` where the pixel is
    clear on no date.

    Attributes:
        base: `[K]`.
        factor: `[K]`.
        lone: `[K]`.
        usual: `[K]`, mean variance over snapshots.
    """

    base: Array
    factor: Array
    lone: Array
    usual: Array

    @classmethod
    def fit(cls, squared: Array, wander: Array, lone: NDArray[np.bool_], spread: Array) -> InternalError:
        """Fit by non-negative least squares of relative errors.

        Args:
            squared: `[K, N]`, squared errors of hidden pixels.
            wander: `[K, N]`, variance over snapshots.
            lone: bool `[N]`: clear on no date.
            spread: `[K]`, standard deviation of the bands, which is the error of lone pixels if too few were hidden.
        """
        from scipy.optimize import nnls

        tested = int(lone.sum()) >= _FEWEST
        rows = []
        for y, w, band in zip(squared, wander, spread, strict=True):
            design = np.stack([np.ones_like(w), w, lone.astype(np.float64)], axis=1)
            used = slice(None) if tested else ~lone
            expected = np.full(len(y[used]), max(float(y.mean()), 1e-10))
            for _ in range(_ROUNDS):
                found, _ = nnls(design[used] / expected[:, None], y[used] / expected)
                expected = np.maximum(design[used] @ found, 1e-10)
            rows.append([max(found[0], 1e-10), found[1], found[2] if tested else band**2])
        table = np.array(rows)
        return cls(table[:, 0], table[:, 1], table[:, 2], np.maximum(wander.mean(axis=1), 1e-12))

    def deviation(self, wander: NDArray[np.floating], lone: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return standard deviations `[K, N]`."""
        variance = self.base[:, None] + self.factor[:, None] * wander + self.lone[:, None] * lone
        return np.sqrt(variance).astype(np.float32)

    def surprise(self, wander: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return how much more than usual the network wavered at each pixel `[N]`, mean over bands."""
        return np.asarray((wander / self.usual[:, None]).mean(axis=0), np.float32)


@dataclass(frozen=True)
class InternalTrust:
    """What hidden clear pixels say of one kind of date.

    Attributes:
        error: Of what is filled; None: nothing could be hidden.
        calibration: Of the standard deviations that this gives.
        scores: Share filled, MAE and RMSE on hidden pixels.
        spread: `[K]`, standard deviation of the bands over clear pixels.
        tried: How far the hidden dates were from others; None: parts of dates were hidden, or nothing.
    """

    error: InternalError | None
    calibration: Calibration
    scores: dict[str, float]
    spread: Array
    tried: Tried | None = None

    def of_date(self, frames: Frames, restored: Restored, date: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return standard deviations `[K, H, W]` and surprises `[H, W]` of a date; NaN where nothing is known."""
        bands, shape = restored.mean.shape[1], restored.mean.shape[2:]
        mean, wander = (maps.reshape(bands, -1) for maps in restored.of(date))
        known = np.flatnonzero(np.isfinite(mean[0]))
        lone = ~frames.shown.ravel()[known]
        deviation, surprise = np.full_like(mean, np.nan), np.full(mean.shape[1], np.nan, np.float32)
        deviation[:, known], surprise[known] = self.bars(mean[:, known], wander[:, known], lone)
        if self.tried is not None and not frames.learned[date]:
            others = np.sort(frames.days[frames.learned])
            deviation[:, known] *= np.sqrt(self.tried.growth(others, float(frames.days[date])))[:, None]
        return deviation.reshape(bands, *shape), surprise.reshape(shape)

    def bars(
        self, mean: NDArray[np.float32], wander: NDArray[np.float32], lone: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return standard deviations `[K, N]` and surprises `[N]` of pixels `[K, N]`.

        Where nothing could be tried, a network may be as wrong as any pixel of the scene would be.
        """
        if self.error is None:
            wide = np.repeat(self.spread[:, None], mean.shape[1], axis=1).astype(np.float32)
            return wide, np.full(mean.shape[1], np.nan, np.float32)
        surprise = self.error.surprise(wander)
        return self.calibration.apply(mean, self.error.deviation(wander, lone), surprise), surprise


@dataclass(frozen=True)
class Hidden:
    """Clear pixels that were hidden, and what a network fitted without them said of them.

    Attributes:
        mean: `[K, N]`; NaN where nothing was known.
        wander: `[K, N]`.
        truth: `[K, N]`.
        lone: bool `[N]`: clear on no date after hiding.
        group: `[N]`, block and date.
        day: Of the date.
        others: Days that the network was fitted to, ascending, where the date was hidden whole; else empty.
        variogram: Of the series, where the date was hidden whole.
    """

    mean: Array
    wander: Array
    truth: Array
    lone: NDArray[np.bool_]
    group: NDArray[np.int64]
    day: float
    others: Array
    variogram: Variogram | None


def hide_and_restore(frames: Frames, options: InternalOptions, *, whole: bool, place: int = 0) -> list[Hidden]:
    """Hide clear pixels of a series, fit a network to what is left, and return what it says of them.

    Args:
        frames: The series.
        options: How networks are fitted; its seed is that of the clouds, too.
        whole: Hide single dates whole (two at most), instead of clouds on all of them at once.
        place: Number of the window, so that its blocks differ from those of others.

    Returns:
        One entry a date that was hidden; none where too little is left to learn from.
    """
    shape = frames.clear.shape[1:]
    learned = np.flatnonzero(frames.learned)
    trials: list[tuple[NDArray[np.bool_], list[int]]] = []
    if whole:
        for date in _whole_dates(frames):
            cover = np.zeros(frames.clear.shape, bool)
            cover[date] = True
            trials.append((cover, [date]))
    elif len(learned):
        covers = np.zeros(frames.clear.shape, bool)
        for date in learned.tolist():
            longest = max(4.0, max(shape) / 3.0)
            covers[date] = cover_field(shape, COVER, 7919 * (1009 * options.seed + place) + date, longest=longest)
        trials.append((covers, learned.tolist()))
    found: list[Hidden] = []
    variogram = _variogram(frames) if whole and trials else None
    for cover, dates in trials:
        left = frames.hide(cover)
        restored = restore(left, options, dates)
        if restored is None:
            continue
        kept = [date for date in dates if left.learned[date] != whole]
        found += [_hidden(frames, left, restored, date, place, variogram) for date in kept]
    return found


def _whole_dates(frames: Frames) -> list[int]:
    """Return the dates that are hidden whole, ascending in time."""
    learned = np.flatnonzero(frames.learned)
    order = learned[np.argsort(frames.days[learned], kind="stable")]
    if not len(order):
        return []
    return [int(order[index]) for index in sorted({round(i) for i in np.linspace(0, len(order) - 1, _MOST_WHOLE)})]


@dataclass(frozen=True)
class Tried:
    """What dates that were hidden whole say of others: how far they were from their neighbours in time.

    A wholly clouded date that is further from its neighbours than those that were tried is filled worse.

    Attributes:
        variogram: Of the series.
        expected: `[K]`, mean squared error that it expects of the tried dates.
    """

    variogram: Variogram
    expected: Array

    @classmethod
    def of(cls, hidden: Sequence[Hidden]) -> Tried | None:
        """Return what hidden dates say; None where none was hidden whole, or no two dates share clear pixels."""
        variogram = next((part.variogram for part in hidden if part.variogram is not None), None)
        if variogram is None:
            return None
        each = [_expected(variogram, part.others, part.day) for part in hidden if len(part.others)]
        return cls(variogram, np.mean(each, axis=0))

    def growth(self, others: Array, day: float) -> NDArray[np.float32]:
        """Return by how much the variance of a day between others exceeds that of the tried ones `[K]`, at least 1."""
        if not len(others):
            return np.ones(len(self.expected), np.float32)
        return np.asarray(np.maximum(_expected(self.variogram, others, day) / self.expected, 1.0), np.float32)


def _expected(variogram: Variogram, others: Array, day: float) -> Array:
    """Return the mean squared error `[K]` of a day that is interpolated from other days, ascending."""
    return np.asarray(variogram.error_variance(neighbours(others, day)[None], others, day)[0], np.float64)


def _variogram(frames: Frames) -> Variogram | None:
    """Return the variogram of the dates that are learned from; None where no two of them share clear pixels."""
    order = np.flatnonzero(frames.learned)
    order = order[np.argsort(frames.days[order], kind="stable")]
    shape = frames.clear.shape[1:]
    rows, cols = (part.ravel() for part in np.mgrid[: shape[0], : shape[1]])
    pixels = SeriesPixels(
        frames.image[order].reshape(len(order), -1, rows.size),
        frames.clear[order].reshape(len(order), -1),
        frames.days[order],
    )
    try:
        return fit_variogram(Sample(pixels, _blocks(rows, cols, shape), rows, cols))
    except LabelError:
        return None


def _blocks(rows: NDArray[np.intp], cols: NDArray[np.intp], shape: tuple[int, ...]) -> NDArray[np.intp]:
    """Return the number of the block that each pixel of a part lies in, below 1,000,000."""
    edge = int(np.clip(max(shape) // 16, 8, 256))
    return np.asarray((rows // edge) * 1000 + cols // edge)


def _hidden(
    frames: Frames, left: Frames, restored: Restored, date: int, place: int, variogram: Variogram | None
) -> Hidden:
    rows, cols = np.nonzero(frames.clear[date] & ~left.clear[date])
    block = (place * 1_000_000 + _blocks(rows, cols, frames.clear.shape[1:])) * len(frames.days) + date
    mean, wander, truth = (part[:, rows, cols].astype(np.float64) for part in (*restored.of(date), frames.image[date]))
    others = np.empty(0) if variogram is None else np.sort(frames.days[left.learned])
    return Hidden(
        mean,
        wander,
        truth,
        ~left.shown[rows, cols],
        block.astype(np.int64),
        float(frames.days[date]),
        others,
        variogram,
    )


def learn_trust(hidden: Sequence[Hidden], spread: Array, *, seed: int = 0) -> InternalTrust:
    """Return error bars of what networks fill, from hidden clear pixels.

    Args:
        hidden: Of one kind of date, see `hide_and_restore`.
        spread: `[K]`, standard deviation of the bands over clear pixels.
        seed: Of the choice among many pixels.
    """
    parts = [np.concatenate([getattr(part, name) for part in hidden], axis=-1) for name in _COLUMNS] if hidden else []
    known = np.flatnonzero(np.isfinite(parts[0][0])) if hidden else np.empty(0, np.intp)
    if len(known) < _FEWEST:
        return InternalTrust(None, no_calibration(len(spread)), {"filled": 0.0}, spread)
    share = len(known) / parts[0].shape[1]
    if len(known) > _MOST:
        known = np.sort(np.random.default_rng(seed).choice(known, _MOST, replace=False))
    mean, wander, truth, lone, group = (part[..., known] for part in parts)
    error = InternalError.fit((mean - truth) ** 2, wander, lone, spread)
    held = HeldOut(
        mean, error.deviation(wander, lone).astype(np.float64), truth, group, error.surprise(wander).astype(np.float64)
    )
    return InternalTrust(error, calibrate(held), held.scores() | {"filled": share}, spread, Tried.of(hidden))


_COLUMNS = ("mean", "wander", "truth", "lone", "group")
