"""Area-adjusted accuracy and areas from a stratified sample.

Olofsson, Foody, Herold, Stehman, Woodcock and Wulder (2014), "Good practices for estimating area and
assessing accuracy of land change", Remote Sensing of Environment 148, doi:10.1016/j.rse.2014.02.015.
Equation numbers below are the paper's. As there, ROWS ARE MAP CLASSES (the strata) and COLUMNS ARE
REFERENCE CLASSES; a matrix of `ecumene.indicators.accuracy` has to be transposed first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.indicators.accuracy import _quantile, number

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Estimate:
    """A value with its standard error and symmetric confidence interval.

    Attributes:
        value: The estimate.
        standard_error: Its standard error; NaN where a stratum has fewer than two samples.
        margin: Half width of the interval, z times the standard error.
        low: Lower end, not below 0.
        high: Upper end, not above the largest possible value.
    """

    value: float
    standard_error: float
    margin: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float | None]:
        """Return JSON-able numbers; undefined ones are None."""
        return {key: number(getattr(self, key)) for key in ("value", "standard_error", "margin", "low", "high")}


@dataclass(frozen=True)
class OlofssonReport:
    """The estimates of Olofsson et al. (2014).

    Attributes:
        class_names: Names, in the order of the matrix.
        counts: int64 `[K, K]`, rows = MAP class (stratum), columns = REFERENCE class.
        weights: Share of the mapped area of each stratum, summing to 1 over sampled strata.
        mapped_areas: Mapped area of each class, in `area_unit`.
        proportions: Estimated area proportions p_ij (eq. 4), rows = map.
        overall: Overall accuracy (eq. 1, 5).
        users: User's accuracy of each class (eq. 2, 6); NaN for classes that are not mapped.
        producers: Producer's accuracy of each class (eq. 3, 7); NaN for classes never seen in the
            reference.
        areas: Error-adjusted area of each class (eq. 9 to 11), in `area_unit`.
        area_unit: Unit of the areas.
        confidence: Level of the intervals.
        warnings: What restricts the estimates, one sentence each.
    """

    class_names: tuple[str, ...]
    counts: NDArray[np.int64]
    weights: NDArray[np.float64]
    mapped_areas: NDArray[np.float64]
    proportions: NDArray[np.float64]
    overall: Estimate
    users: tuple[Estimate, ...]
    producers: tuple[Estimate, ...]
    areas: tuple[Estimate, ...]
    area_unit: str
    confidence: float
    warnings: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """Return one row a class: samples, weight, mapped area, UA, PA, area, each with its interval."""
        import pandas as pd

        columns: dict[str, Any] = {
            "samples_in_map_class": self.counts.sum(axis=1),
            "samples_in_reference_class": self.counts.sum(axis=0),
            "weight": self.weights,
            f"mapped_area_{self.area_unit}": self.mapped_areas,
        }
        for name, estimates in (
            ("users_accuracy", self.users),
            ("producers_accuracy", self.producers),
            (f"area_{self.area_unit}", self.areas),
        ):
            for part, suffix in (("value", ""), ("standard_error", "_se"), ("low", "_low"), ("high", "_high")):
                columns[name + suffix] = [getattr(item, part) for item in estimates]
        return pd.DataFrame(columns, index=pd.Index(self.class_names, name="class"))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able numbers; undefined ones are None."""
        classes = {
            name: {
                "mapped_area": number(self.mapped_areas[index]),
                "users_accuracy": self.users[index].to_dict(),
                "producers_accuracy": self.producers[index].to_dict(),
                "area": self.areas[index].to_dict(),
            }
            for index, name in enumerate(self.class_names)
        }
        return {
            "method": "Olofsson et al. 2014, doi:10.1016/j.rse.2014.02.015",
            "axes": "rows = map, columns = reference",
            "class_names": list(self.class_names),  # a JSON object need not keep the order of the matrix
            "counts": self.counts.tolist(),
            "weights": [number(item) for item in self.weights],
            "overall_accuracy": self.overall.to_dict(),
            "classes": classes,
            "area_unit": self.area_unit,
            "confidence": self.confidence,
            "warnings": list(self.warnings),
        }


def olofsson_report(
    counts: ArrayLike,
    mapped_areas: ArrayLike,
    class_names: Sequence[str] | None = None,
    *,
    area_unit: str = "m2",
    confidence: float = 0.95,
) -> OlofssonReport:
    """Estimate accuracy and areas from a sample stratified by map class.

    A stratum with area but without samples cannot be estimated: it is left out, the estimates then hold for the
    sampled strata only, and a warning says so. A stratum with one sample has no variance: standard errors that need
    it are NaN, with a warning. A class that is not mapped (area 0) but found in the reference gets an area and a
    producer's accuracy.

    Args:
        counts: `[K, K]` sample counts; rows = MAP class, columns = REFERENCE class.
        mapped_areas: `[K]` mapped area of each class (any unit, or weights).
        class_names: Names; default `0`, `1`, ...
        area_unit: Unit of `mapped_areas`, for display.
        confidence: Two-sided level in (0, 1); z is 1.96 for 0.95.

    Returns:
        The estimates.

    Raises:
        ConfigurationError: If shapes or values are impossible.
        LabelError: If no stratum has samples, or samples lie in a stratum without area.
    """
    table, area = _checked(counts, mapped_areas)
    names = tuple(class_names) if class_names is not None else tuple(str(i) for i in range(len(area)))
    if len(names) != len(area):
        raise ConfigurationError("There must be one class name for each row of the matrix.")
    rows = table.sum(axis=1)
    if impossible := _listed(names, (rows > 0) & (area == 0)):
        raise LabelError(
            f"There are samples in the map class {impossible}, whose mapped area is 0; the areas and the "
            "samples do not belong to the same map."
        )
    sampled = (rows > 0) & (area > 0)
    if not sampled.any():
        raise LabelError("No reference sample lies in the map; there is nothing to estimate.")
    warnings = _warnings(names, rows, area)
    covered = float(area[sampled].sum())
    weights = np.where(sampled, area / covered, 0.0)
    # The paper rounds the normal quantile of its 95 % intervals.
    z = 1.96 if confidence == 0.95 else _quantile(confidence)

    within = np.divide(table, rows[:, None], out=np.zeros(table.shape), where=rows[:, None] > 0)
    proportions = weights[:, None] * within
    spread = _binomial_variance(within, rows)  # n_ij/n_i. (1 - n_ij/n_i.) / (n_i. - 1)
    columns = proportions.sum(axis=0)
    users = np.where(sampled, np.diag(within), np.nan)
    producers = np.divide(np.diag(proportions), columns, out=np.full(len(area), np.nan), where=columns > 0)
    weighted = np.where(sampled[:, None], weights[:, None] ** 2 * spread, 0.0)
    return OlofssonReport(
        names,
        table.astype(np.int64),
        weights,
        area,
        proportions,
        _estimates(np.trace(proportions), np.sqrt(np.trace(weighted)), z)[0],
        _estimates(users, np.sqrt(np.where(sampled, np.diag(spread), np.nan)), z),
        _estimates(producers, np.sqrt(_producers_variance(weighted, columns, producers)), z),
        _estimates(covered * columns, covered * np.sqrt(weighted.sum(axis=0)), z, covered),
        area_unit,
        confidence,
        warnings,
    )


def _estimates(values: ArrayLike, errors: ArrayLike, z: float, largest: float = 1.0) -> tuple[Estimate, ...]:
    """Pair values with standard errors; the interval is cut at 0 and at the largest possible value."""
    out = []
    for value, error in zip(np.atleast_1d(values).tolist(), np.atleast_1d(errors).tolist(), strict=True):
        known = np.isfinite(error)
        low = max(0.0, value - z * error) if known else np.nan
        high = min(largest, value + z * error) if known else np.nan
        out.append(Estimate(value, error, z * error, low, high))
    return tuple(out)


def _producers_variance(
    weighted: NDArray[np.float64], columns: NDArray[np.float64], producers: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Eq. 7, with areas divided by the total: N_i. becomes W_i and the estimated N_.j becomes p_.j.

    Args:
        weighted: `[K, K]`, W_i^2 n_ij/n_i. (1 - n_ij/n_i.) / (n_i. - 1).
        columns: p_.j.
        producers: PA_j.
    """
    own = np.diag(weighted)
    others = weighted.sum(axis=0) - own
    # A difference of NaN is NaN; the diagonal alone may be NaN while the others are not, and then the
    # sum is NaN too, as it must be.
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = ((1 - producers) ** 2 * own + producers**2 * others) / columns**2
    return np.where(np.isnan(variance), np.nan, np.maximum(variance, 0.0))


def _binomial_variance(within: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return p (1 - p) / (n - 1) of each row; NaN for rows with fewer than two samples."""
    out = np.full(within.shape, np.nan)
    enough = rows > 1
    out[enough] = within[enough] * (1 - within[enough]) / (rows[enough, None] - 1)
    return out


def _checked(counts: ArrayLike, mapped_areas: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    table, area = np.asarray(counts, dtype=np.float64), np.asarray(mapped_areas, dtype=np.float64)
    if table.ndim != 2 or table.shape[0] != table.shape[1] or area.shape != (len(table),):
        raise ConfigurationError("The counts must be a square matrix with one mapped area for each row.")
    if (table < 0).any() or (table != np.rint(table)).any() or not np.isfinite(area).all() or (area < 0).any():
        raise ConfigurationError("Counts must be whole numbers, and areas finite; neither may be negative.")
    return table, area


def _warnings(names: Sequence[str], rows: NDArray[np.float64], area: NDArray[np.float64]) -> tuple[str, ...]:
    out = []
    if (empty := (rows == 0) & (area > 0)).any():
        share = 100 * area[empty].sum() / area.sum()
        out.append(
            f"No reference sample lies in the map class {_listed(names, empty)} "
            f"({share:.2g} % of the area); all estimates hold for the rest of the map only."
        )
    if (single := (rows == 1) & (area > 0)).any():
        out.append(
            f"The map class {_listed(names, single)} has one reference sample, so that "
            "standard errors which depend on it are undefined; add samples there."
        )
    return tuple(out)


def _listed(names: Sequence[str], which: NDArray[np.bool_]) -> str:
    return ", ".join(name for name, chosen in zip(names, which, strict=True) if chosen)
