"""Per-pixel regression of reflectance on radar, on neighbouring dates, or on both."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ecumene.core.errors import LabelError
from ecumene.restoration.contract import Array, Filled, FillMethod, Sample, SeriesPixels, Target

FEWEST_PIXELS = 300
"""Clear pixels of the wanted date from which on it has a regression of its own."""
RIDGE = 1e-3
Name = Literal["sar-regression", "regression", "sar-date-regression"]


@dataclass(frozen=True)
class RidgeFit:
    """A multivariate ridge regression with its error bar.

    The prediction variance is that of ordinary regression, s_b^2 (1 + leverage) (Hastie, Tibshirani and Friedman 2009,
    The Elements of Statistical Learning, chapter 3.2), s_b the residual of band b.

    Attributes:
        center: `[F]`, mean of the features.
        scale: `[F]`, their standard deviation.
        coefficients: `[F + 1, K]`, the last row is the intercept.
        inverse: `[F, F]`, inverse of the ridged normal matrix of the standardised features.
        residual: `[K]`, residual variance.
        pixels: Pixels that it was fitted on.
    """

    center: Array
    scale: Array
    coefficients: Array
    inverse: Array
    residual: Array
    pixels: int

    @classmethod
    def fit(cls, features: Array, target: Array) -> RidgeFit:
        """Fit on features `[N, F]` and reflectances `[N, K]`."""
        number, size = features.shape
        center, scale = features.mean(axis=0), features.std(axis=0)
        scale = np.where(scale > 1e-9, scale, 1.0)
        z = (features - center) / scale
        inverse = np.linalg.inv(z.T @ z + RIDGE * number * np.eye(size))
        mean = target.mean(axis=0)
        slopes = inverse @ (z.T @ (target - mean))
        residual = ((target - mean - z @ slopes) ** 2).sum(axis=0) / max(number - size - 1, 1)
        return cls(center, scale, np.vstack([slopes, mean]), inverse, np.maximum(residual, 1e-10), number)

    def predict(self, features: Array) -> tuple[Array, Array, Array]:
        """Return mean `[N, K]`, variance `[N, K]` and squared distance from the training features over F `[N]`."""
        z = (features - self.center) / self.scale
        squared = np.einsum("nf,fg,ng->n", z, self.inverse, z, optimize=True)
        mean = z @ self.coefficients[:-1] + self.coefficients[-1]
        variance = self.residual * (1.0 + squared + 1.0 / self.pixels)[:, None]
        return mean, variance, squared * self.pixels / z.shape[1]


@dataclass(frozen=True)
class Regression:
    """Regression fitted on the wanted date's own clear pixels, or on all dates where it has too few.

    Features: VV and VH (or what the radar has) in dB of the acquisition that stands for the wanted day
    (`SeriesPixels.radar`, `SeriesPixels.wanted`), their squares and product; and what
    `neighbours` says from the other dates. One acquisition's brightness, haze and season are in the coefficients, as
    long as part of the date is clear. Linear in decibels and reflectances: no published method, but the baseline that
    networks for radar and optical data should beat.

    Attributes:
        name: `sar-regression` (radar alone), `regression` (other dates alone) or `sar-date-regression` (both).
        neighbours: Method that gives the features from other dates; None for radar alone.
        pooled: Fit on all dates.
        strange: `[K]`, added to its variance on a date that it was not fitted on: 0 where several dates show how they
            differ, else the variance of the band, because one date says nothing of another.
        own: Fits of dates that have enough clear pixels, by index.
    """

    name: str
    neighbours: FillMethod | None
    pooled: RidgeFit
    strange: Array
    own: dict[int, RidgeFit] = field(default_factory=dict)

    @classmethod
    def fit(cls, name: Name, sample: Sample, neighbours: FillMethod | None) -> Regression:
        """Fit on a sample.

        Raises:
            LabelError: If hardly any pixel has both features and a clear measurement.
        """
        series = sample.series
        own, features, targets = {}, [], []
        for date, day in enumerate(series.days):
            x = _features(name, series, Target(float(day), date), neighbours)
            y = series.image[date].T.astype(np.float64)
            known = series.clear[date] & np.isfinite(x).all(axis=1)
            if known.sum() >= FEWEST_PIXELS:
                own[date] = RidgeFit.fit(x[known], y[known])
            features.append(x[known])
            targets.append(y[known])
        every, truth = np.concatenate(features), np.concatenate(targets)
        if len(every) < 10 * (every.shape[1] + 1):
            what = "clear pixels with radar" if name == "sar-regression" else "pixels that are clear on two dates"
            raise LabelError(f"There are only {len(every)} {what}, too few to learn a regression from.")
        several = sum(len(part) >= FEWEST_PIXELS for part in targets) >= 2
        strange = np.zeros(truth.shape[1]) if several else truth.var(axis=0)
        return cls(name, neighbours, RidgeFit.fit(every, truth), strange, own)

    def fill(self, series: SeriesPixels, target: Target) -> Filled:
        """Estimate every pixel of a day; see `contract.FillMethod`."""
        features = _features(self.name, series, target, self.neighbours)
        known = np.isfinite(features).all(axis=1)
        own = None if target.index is None else self.own.get(target.index)
        model, more = (self.pooled, self.strange) if own is None else (own, np.zeros(series.bands))
        mean = np.full((series.bands, series.pixels), np.nan, np.float32)
        deviation, surprise = mean.copy(), np.full(series.pixels, np.nan, np.float32)
        if known.any():
            value, variance, distance = model.predict(features[known])
            mean[:, known], deviation[:, known] = value.T, np.sqrt(variance + more).T
            surprise[known] = distance
        return Filled(mean, deviation, surprise)


def _features(name: str, series: SeriesPixels, target: Target, neighbours: FillMethod | None) -> Array:
    """Return `[P, F]`, NaN where a part is missing."""
    parts: list[Array] = []
    if name != "regression":
        if series.radar is None:
            raise LabelError(f"The method {name} needs radar; give it with --radar.")
        found = series.wanted if target.index is None else series.radar[target.index]
        db = np.full(series.radar.shape[1:], np.nan) if found is None else found.astype(np.float64)
        products = [db[i] * db[j] for i in range(len(db)) for j in range(i, len(db))]
        parts += [db, np.stack(products)]
    if neighbours is not None:
        parts.append(neighbours.fill(series, target).mean.astype(np.float64))
    return np.concatenate(parts).T
