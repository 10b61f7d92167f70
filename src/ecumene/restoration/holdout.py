"""Clear pixels hidden under simulated clouds and filled: which method is best, and how long error bars must be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import EcumeneError
from ecumene.restoration.chain import Chain
from ecumene.restoration.cloud_simulation import cover_field
from ecumene.restoration.contract import Array, Filled, FillMethod, Floats, Sample, SeriesPixels, Target
from ecumene.restoration.methods import TEMPORAL, applicable, fit_method, fit_methods, learn_variogram
from ecumene.restoration.radar_regression import FEWEST_PIXELS
from ecumene.restoration.variance_function import VarianceFunction, fit_variance_function
from ecumene.trust.variance_choice import VarianceChoice, choose_variance

COVER, ROUNDS = 0.4, 3
_COARSE = 256  # cells along the longer side of a simulated mask
_MOST = 20_000  # elements of a band that an error bar is fitted on
_MOST_WHOLE = 6  # dates that are hidden whole
Z90 = 1.6448536269514722


@dataclass(frozen=True)
class HeldOut:
    """Clear pixels that were hidden, and what a method said of them.

    Attributes:
        mean: `[K, N]`; NaN where the method knew nothing.
        deviation: `[K, N]`.
        truth: `[K, N]`.
        group: `[N]`, block and date; elements of a group are not independent.
        surprise: `[N]`.
    """

    mean: Array
    deviation: Array
    truth: Array
    group: NDArray[np.int64]
    surprise: Array

    @property
    def known(self) -> NDArray[np.bool_]:
        """Elements that the method filled, `[N]`."""
        return np.asarray(np.isfinite(self.mean[0]))

    def scores(self) -> dict[str, float]:
        """Return the share that was filled, and MAE and RMSE there."""
        known = self.known
        if not known.any():
            return {"filled": 0.0}
        error = self.mean[:, known] - self.truth[:, known]
        return {
            "filled": float(known.mean()),
            "mae": float(np.abs(error).mean()),
            "rmse": float(np.sqrt(np.mean(error**2))),
        }


def simulated_covers(sample: Sample, seed: int) -> NDArray[np.bool_]:
    """Return for each date a cloud-shaped mask of the sampled pixels, bool `[T, P]`; about 40 % of them are covered."""
    rows, cols = sample.rows, sample.cols
    height, width = int(rows.max()) + 1, int(cols.max()) + 1
    step = max(1, -(-max(height, width) // _COARSE))
    shape = (max(8, -(-height // step)), max(8, -(-width // step)))
    covers = []
    for date in range(len(sample.series.days)):
        mask = cover_field(shape, COVER, 7919 * seed + date, longest=max(4.0, max(shape) / 3.0))
        covers.append(mask[rows // step, cols // step])
    return np.stack(covers)


def hold_out(
    sample: Sample, names: tuple[str, ...], *, whole: bool = False, seed: int = 0, rounds: int = ROUNDS
) -> dict[str, HeldOut]:
    """Fill hidden clear pixels by each method.

    In every round all dates are covered by simulated clouds of their own; methods are fitted on what stays clear, and
    judged where a clear pixel is covered. With `whole`, one date after the other is hidden entirely instead, as is
    right for dates that have (nearly) no clear pixel to learn from.

    Args:
        sample: Pixels of the series.
        names: Methods.
        whole: Hide whole dates.
        seed: Of the clouds.
        rounds: Sets of clouds.

    Returns:
        Results by name, for the same hidden pixels; a method that could not be fitted knows nothing of them.
    """
    parts: dict[str, list[HeldOut]] = {name: [] for name in names}
    series = sample.series
    dates = len(series.days)
    # Two clear dates leave no pair when one is hidden. A variogram has so few parameters that it may know all pairs.
    known = learn_variogram(sample) if whole and series.clear.any() else None
    trials: list[tuple[NDArray[np.bool_], list[int]]] = []
    if whole:
        seen = [date for date in range(dates) if series.clear[date].sum() >= FEWEST_PIXELS]
        places = {round(place) for place in np.linspace(0, len(seen) - 1, _MOST_WHOLE).tolist()} if seen else set()
        for date in (seen[index] for index in sorted(places)):
            cover = np.zeros(series.clear.shape, bool)
            cover[date] = True
            trials.append((cover, [date]))
    else:
        trials = [(simulated_covers(sample, seed * 1009 + number), list(range(dates))) for number in range(rounds)]
    for covers, judged in trials:
        left = SeriesPixels(series.image, series.clear & ~covers, series.days, series.radar)
        shown = Sample(left, sample.group, sample.rows, sample.cols)
        fitted = fit_methods(names, shown, known)
        for name in names:
            parts[name] += [_judge(fitted[name], sample, left, covers[date], date) for date in judged]
    return {name: _join(found) for name, found in parts.items() if found}


def _judge(
    method: FillMethod | None, sample: Sample, left: SeriesPixels, cover: NDArray[np.bool_], date: int
) -> HeldOut:
    hidden = np.flatnonzero(cover & sample.series.clear[date])
    shown = left.take(hidden)
    if method is None:
        nothing = np.full((shown.bands, shown.pixels), np.nan, np.float32)
        filled = Filled(nothing, nothing, nothing[0])
    else:
        filled = method.fill(shown, Target(float(left.days[date]), date))
    truth = sample.series.image[date][:, hidden].astype(np.float64)
    group = sample.group[hidden] * len(left.days) + date
    return HeldOut(
        filled.mean.astype(np.float64), filled.deviation.astype(np.float64), truth, group, filled.surprise.astype(float)
    )


def _join(parts: list[HeldOut]) -> HeldOut:
    return HeldOut(
        np.concatenate([part.mean for part in parts], axis=1),
        np.concatenate([part.deviation for part in parts], axis=1),
        np.concatenate([part.truth for part in parts], axis=1),
        np.concatenate([part.group for part in parts]),
        np.concatenate([part.surprise for part in parts]),
    )


@dataclass(frozen=True)
class Calibration:
    """How a method's error bars are changed, band by band.

    Attributes:
        choices: What is done to the variances of each band.
        interval: `[K]`: half widths of 90 % intervals, in recalibrated standard deviations.
        groups: Blocks that it rests on.
        surprise_limit: Surprise above which a filled pixel is flagged.
        function: Which pixels are worse than others; None: all of the same dates are alike.
    """

    choices: tuple[VarianceChoice, ...]
    interval: Array
    groups: int
    surprise_limit: float
    function: VarianceFunction | None = None

    def apply(self, mean: Floats, deviation: Floats, surprise: Floats) -> NDArray[np.float32]:
        """Return recalibrated standard deviations `[K, P]` of what a method filled."""
        spread = np.asarray(deviation, np.float64)
        if self.function is not None:
            spread = spread * np.sqrt(self.function.factor(mean, surprise))
        parts = [choice.apply(band) for choice, band in zip(self.choices, spread, strict=True)]
        return np.stack(parts).astype(np.float32)

    def to_dict(self, bands: tuple[str, ...]) -> dict[str, Any]:
        """Return a JSON-able form."""
        return {
            "blocks": self.groups,
            "bands": {
                band: {"change": choice.to_dict(), "interval_90_in_deviations": round(float(factor), 4)}
                for band, choice, factor in zip(bands, self.choices, self.interval, strict=True)
            },
            "surprise_limit": float(f"{self.surprise_limit:.6g}") if np.isfinite(self.surprise_limit) else None,
            "variance_function": None if self.function is None else self.function.to_dict(),
        }


def no_calibration(bands: int) -> Calibration:
    """Return the calibration of a method that could not be tried: its own error bars, Gaussian intervals, no flags."""
    return Calibration((VarianceChoice(),) * bands, np.full(bands, Z90), 0, float("inf"))


def calibrate(held: HeldOut) -> Calibration:
    """Recalibrate error bars on held-out pixels, with blocks as units.

    Variances by `trust.variance_choice`: nothing is changed that is not surely better on left-out blocks. The 90 %
    interval of a band is the recalibrated deviation times the quantile of |error| over deviation that covers 90 %, with
    blocks of the same weight: errors of filled pixels have longer tails than a Gaussian's.
    """
    known = np.flatnonzero(held.known)
    if len(known) < 100:
        return no_calibration(len(held.mean))
    if len(known) > _MOST:
        known = np.sort(np.random.default_rng(0).choice(known, _MOST, replace=False))
    group, surprise = held.group[known], held.surprise[known]
    mean, deviation, truth = (part[:, known] for part in (held.mean, held.deviation, held.truth))
    function = fit_variance_function(mean, deviation, truth, surprise, group)
    if function is not None:
        deviation = deviation * np.sqrt(function.factor(mean, surprise))
    _, block, counts = np.unique(group, return_inverse=True, return_counts=True)
    weight = 1.0 / (len(counts) * counts[block])
    choices, interval = [], []
    for m, s, t in zip(mean, deviation, truth, strict=True):
        try:
            choice = choose_variance(m, s, t, group)
        except EcumeneError as error:
            choice = VarianceChoice(note=str(error))
        ratio = np.abs(t - m) / np.asarray(choice.apply(s))
        order = np.argsort(ratio)
        place = np.searchsorted(np.cumsum(weight[order]), 0.9)
        choices.append(choice)
        interval.append(float(ratio[order][min(place, len(order) - 1)]))
    surprise = surprise[np.isfinite(surprise)]
    limit = float("inf")
    if surprise.size:
        low, high = np.quantile(surprise, (0.25, 0.75))
        limit = float(max(high + 3.0 * (high - low), np.quantile(surprise, 0.99)))  # Tukey's outer fence at least
    return Calibration(tuple(choices), np.array(interval), len(counts), limit, function)


@dataclass(frozen=True)
class Chosen:
    """A fitted method with its calibration, and why it was taken.

    Attributes:
        method: What fills; several in a chain where the first cannot fill everything.
        calibration: Of its error bars.
        scores: Held-out scores of all methods that were tried.
        reason: One sentence.
    """

    method: FillMethod
    calibration: Calibration
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    reason: str = ""


def is_hidden(sample: Sample, index: int | None) -> bool:
    """Whether a date has too few clear pixels to be learned from, so that it counts as hidden whole."""
    return index is None or int(sample.series.clear[index].sum()) < FEWEST_PIXELS


def choose_method(sample: Sample, wanted: str, *, whole: bool = False, seed: int = 0) -> Chosen | None:
    """Fit a method and calibrate it; `auto` takes the one with the smallest error on hidden clear pixels.

    `auto` ranks by RMSE among methods that fill nearly as many pixels as any (95 %), and lets the others that rank
    next fill what is left.

    Args:
        sample: Pixels of the series.
        wanted: A method's name, or `auto`.
        whole: Choose for dates without clear pixels of their own; see `hold_out`.
        seed: Of the simulated clouds.

    Returns:
        The choice; None if the series teaches nothing, so that nothing can be filled.

    Raises:
        ConfigurationError: If the method is unknown.
        LabelError: If the named method cannot be fitted.
    """
    names = applicable(sample) if wanted == "auto" else (wanted,)
    if wanted != "auto":
        fit_method(wanted, sample)  # a wrong name or an unfit series is refused before the work
    held = hold_out(sample, names, whole=whole, seed=seed) if names else {}
    if wanted != "auto":
        found = held.get(wanted)
        calibration = calibrate(found) if found is not None else no_calibration(sample.series.bands)
        scores = {} if found is None else {wanted: found.scores()}
        return Chosen(fit_method(wanted, sample), calibration, scores, f"{wanted} was asked for.")
    scores = {name: result.scores() for name, result in held.items()}
    able = {name: score for name, score in scores.items() if score.get("filled", 0.0) > 0.0}
    if not able:  # nothing could be hidden, so that no method is known to be better than another
        simplest = next((name for name in ("linear", "sar-regression") if name in names), None)
        if simplest is None:
            return None
        reason = f"{simplest} was taken, because too few clear pixels could be hidden to compare methods."
        return Chosen(fit_method(simplest, sample), no_calibration(sample.series.bands), scores, reason)
    most = max(score["filled"] for score in able.values())
    ranked = sorted(able, key=lambda name: (able[name]["filled"] < 0.95 * most, able[name]["rmse"]))
    # What the best one cannot fill (no other date, no radar) may still be known to simpler ones.
    others = (("sar-regression",),) if ranked[0] in TEMPORAL else (("regression",), TEMPORAL, ("sar-regression",))
    order = [ranked[0]]
    for family in others:
        order += [name for name in ranked if name in family and name not in order][:1]
    fitted = [fit_method(name, sample) for name in order]
    method = fitted[0] if len(fitted) == 1 else Chain(tuple(fitted))
    joined = _first_known([held[name] for name in order])
    reason = (
        f"{ranked[0]} had the smallest root mean squared error ({able[ranked[0]]['rmse']:.4f}) of {len(able)} methods "
        f"on {len(held[ranked[0]].truth[0])} clear pixels "
        + ("of dates hidden whole." if whole else "hidden under simulated clouds.")
    )
    return Chosen(method, calibrate(joined), scores, reason)


def _first_known(parts: list[HeldOut]) -> HeldOut:
    """Return what a chain of methods would have said of the same hidden pixels."""
    first, *others = parts
    for more in others:
        take = ~first.known & more.known
        first = HeldOut(
            np.where(take, more.mean, first.mean),
            np.where(take, more.deviation, first.deviation),
            first.truth,
            first.group,
            np.where(take, more.surprise, first.surprise),
        )
    return first
