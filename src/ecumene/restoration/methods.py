"""The classical methods by name, fitted on a sample of a series."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.restoration.closest import Closest
from ecumene.restoration.contract import FillMethod, Sample
from ecumene.restoration.interpolation import Harmonic, Linear
from ecumene.restoration.kriging import Kriging
from ecumene.restoration.least_cloudy import LeastCloudy
from ecumene.restoration.mosaic import Mosaic
from ecumene.restoration.radar_regression import FEWEST_PIXELS, Regression
from ecumene.restoration.variogram import Variogram, fit_variogram, unknown_variogram
from ecumene.restoration.weighted_dates import WeightedDates, WeightRule

TEMPORAL = ("linear", "harmonic", "kriging", "closest", "mosaic", "least-cloudy")
"""Methods that weigh other dates; where nothing tells them apart, the first one is taken."""
REGRESSIONS = ("regression", "sar-date-regression", "sar-regression")
"""Methods that learn from clear pixels: on other dates, on these and radar, on radar alone."""
METHODS = (*TEMPORAL, *REGRESSIONS)


def applicable(sample: Sample) -> tuple[str, ...]:
    """Return the methods that a series allows.

    Weighing other dates needs a clear pixel on any date; learning from other dates needs two that share clear pixels;
    radar needs radar and clear pixels beside it.
    """
    series = sample.series
    radar = series.radar is not None and bool(
        (np.isfinite(series.radar).all(axis=1) & series.clear).sum() >= FEWEST_PIXELS
    )
    several = int((series.clear.sum(axis=0) >= 2).sum()) >= FEWEST_PIXELS
    found = list(TEMPORAL) if len(series.days) > 1 and series.clear.any() else []
    if several:
        found += ["regression", "sar-date-regression"] if radar else ["regression"]
    return (*found, "sar-regression") if radar else tuple(found)


def learn_variogram(sample: Sample) -> Variogram:
    """Return the series' variogram, or the wide one of a series whose dates share no clear pixels.

    Raises:
        LabelError: If no pixel is clear on any date.
    """
    try:
        return fit_variogram(sample)
    except LabelError:
        return unknown_variogram(sample)


def fit_method(name: str, sample: Sample, variogram: Variogram | None = None) -> FillMethod:
    """Fit one method.

    Args:
        name: One of `METHODS`.
        sample: Pixels of the series.
        variogram: Of this sample, if it is known already.

    Raises:
        ConfigurationError: If there is no such method.
        LabelError: If the series cannot teach it.
    """
    if name not in METHODS:
        raise ConfigurationError(f"There is no method {name!r} to fill clouds; choose one of: {', '.join(METHODS)}.")
    if name == "sar-regression":
        if sample.series.radar is None:
            raise LabelError("The method sar-regression needs radar; give it with --radar.")
        return Regression.fit("sar-regression", sample, None)
    variogram = variogram or learn_variogram(sample)
    if name in TEMPORAL:
        return WeightedDates(weight_rule(name, sample, variogram), variogram)
    kriging = WeightedDates(Kriging(variogram), variogram)
    return Regression.fit("regression" if name == "regression" else "sar-date-regression", sample, kriging)


def fit_methods(
    names: Sequence[str], sample: Sample, variogram: Variogram | None = None
) -> dict[str, FillMethod | None]:
    """Fit several methods on one sample; None for those that it cannot teach.

    Args:
        names: Of the methods.
        sample: Pixels of the series.
        variogram: What weighted dates take for the series' variogram; None: that of the sample.
    """
    fitted: dict[str, FillMethod | None] = {}
    for name in names:
        try:
            variogram = variogram or learn_variogram(sample)
            fitted[name] = fit_method(name, sample, variogram)
        except LabelError:
            fitted[name] = None
    return fitted


def weight_rule(name: str, sample: Sample, variogram: Variogram) -> WeightRule:
    """Return the weight rule of a temporal method."""
    if name == "least-cloudy":
        return LeastCloudy(sample.series.clear.mean(axis=1), sample.series.days)
    if name == "kriging":
        return Kriging(variogram)
    simple: dict[str, WeightRule] = {
        "closest": Closest(),
        "linear": Linear(),
        "harmonic": Harmonic(),
        "mosaic": Mosaic(),
    }
    return simple[name]
