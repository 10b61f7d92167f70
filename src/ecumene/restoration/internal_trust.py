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
from ecumene.restoration.internal_learning import Frames, InternalOptions, Restored, date_codes, restore
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
    """

    error: InternalError | None
    calibration: Calibration
    scores: dict[str, float]
    spread: Array

    def of_date(self, frames: Frames, restored: Restored, date: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return standard deviations `[K, H, W]` and surprises `[H, W]` of a date; NaN where nothing is known."""
        bands, shape = restored.mean.shape[1], restored.mean.shape[2:]
        mean, wander = (maps[date].reshape(bands, -1) for maps in (restored.mean, restored.wander))
        known = np.flatnonzero(np.isfinite(mean[0]))
        further = np.sqrt(growth(frames, date)).astype(np.float32)[:, None]
        lone = ~frames.clear.any(axis=0).ravel()[known]
        deviation, surprise = np.full_like(mean, np.nan), np.full(mean.shape[1], np.nan, np.float32)
        deviation[:, known], surprise[known] = self.bars(mean[:, known], wander[:, known], lone)
        if self.error is not None:
            deviation[:, known] *= further
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
    """

    mean: Array
    wander: Array
    truth: Array
    lone: NDArray[np.bool_]
    group: NDArray[np.int64]


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
    for cover, dates in trials:
        left = frames.hide(cover)
        restored = restore(left, options)
        if restored is not None:
            found += [_hidden(frames, left, restored, date, place) for date in dates if left.learned[date] != whole]
    return found


def _whole_dates(frames: Frames) -> list[int]:
    """Return the dates that are hidden whole, ascending in time."""
    learned = np.flatnonzero(frames.learned)
    order = learned[np.argsort(frames.days[learned], kind="stable")]
    if not len(order):
        return []
    return [int(order[index]) for index in sorted({round(i) for i in np.linspace(0, len(order) - 1, _MOST_WHOLE)})]


def growth(frames: Frames, date: int) -> Array:
    """Return by how much the variance of a wholly clouded date exceeds that of dates hidden whole `[K]`, at least 1.

    A date that is further from its neighbours in time than those that were tried is filled worse. The ratio is that of
    the errors which the series' variogram expects of weighted means of the same neighbours (`date_codes`).
    """
    learned = frames.learned
    least = np.ones(frames.image.shape[1])
    if learned[date] or learned.sum() < 2:
        return least
    try:
        variogram = _variogram(frames)
    except LabelError:  # no two dates share clear pixels
        return least
    tried = [_expected(variogram, frames.days, learned, hidden) for hidden in _whole_dates(frames)]
    ratio = _expected(variogram, frames.days, learned, date) / np.mean(tried, axis=0)
    return np.asarray(np.maximum(ratio, least), np.float64)


def _expected(variogram: Variogram, days: Array, learned: NDArray[np.bool_], date: int) -> Array:
    """Return the mean squared error `[K]` of a date between its neighbours, without its own pixels."""
    others = learned.copy()
    others[date] = False
    weights = date_codes(days, others)[date].astype(np.float64)
    return np.asarray(variogram.error_variance(weights[None], np.sort(days[others]), float(days[date]))[0], np.float64)


def _variogram(frames: Frames) -> Variogram:
    order = np.flatnonzero(frames.learned)
    order = order[np.argsort(frames.days[order], kind="stable")]
    shape = frames.clear.shape[1:]
    rows, cols = (part.ravel() for part in np.mgrid[: shape[0], : shape[1]])
    pixels = SeriesPixels(
        frames.image[order].reshape(len(order), -1, rows.size),
        frames.clear[order].reshape(len(order), -1),
        frames.days[order],
    )
    edge = int(np.clip(max(shape) // 16, 8, 256))
    return fit_variogram(Sample(pixels, (rows // edge) * 1000 + cols // edge, rows, cols))


def _hidden(frames: Frames, left: Frames, restored: Restored, date: int, place: int) -> Hidden:
    rows, cols = np.nonzero(frames.clear[date] & ~left.clear[date])
    edge = int(np.clip(max(frames.clear.shape[1:]) // 16, 8, 256))
    block = ((place * 1000 + rows // edge) * 1000 + cols // edge) * len(frames.days) + date
    mean, wander, truth = (
        part[date][:, rows, cols].astype(np.float64) for part in (restored.mean, restored.wander, frames.image)
    )
    lone: NDArray[np.bool_] = np.asarray(~left.clear[:, rows, cols].any(axis=0))
    return Hidden(mean, wander, truth, lone, block.astype(np.int64))


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
    return InternalTrust(error, calibrate(held), held.scores() | {"filled": share}, spread)


_COLUMNS = ("mean", "wander", "truth", "lone", "group")
