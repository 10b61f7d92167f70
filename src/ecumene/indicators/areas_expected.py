"""Areas of classes from calibrated probabilities, with intervals that include the classification's own uncertainty.

Two estimates, both the sum of probabilities plus a correction by what labels say:

- `calibrated_areas` takes the correction from blocks that the model was calibrated on. It needs no reference sample,
  but rests on the assumption that the map's blocks are like those blocks.
- `difference_areas` takes it from a reference sample that is stratified by map class. It holds whatever the
  probabilities are worth, as the estimates of Olofsson et al. (2014) do, and is sharper where they are worth something.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecumene.core.errors import ConfigurationError, ProductError
from ecumene.core.window import Window
from ecumene.indicators.areas import pixel_areas
from ecumene.indicators.maps import open_map, read_masked
from ecumene.indicators.olofsson import Estimate
from ecumene.samples.raster_labels import tiles
from ecumene.trust.block_residuals import BlockResiduals

TILE = 512


@dataclass(frozen=True)
class AreaEstimates:
    """Areas of the classes.

    Attributes:
        method: `calibrated probabilities` or `difference estimator`.
        expected_m2: `[K]` sum of area times probability, without correction.
        areas: Corrected area of each class with its interval, in square metres.
        confidence: Level of the intervals.
        total_m2: Area of all valid pixels.
        warnings: What restricts the estimates, one sentence each.
    """

    method: str
    expected_m2: NDArray[np.float64]
    areas: tuple[Estimate, ...]
    confidence: float
    total_m2: float
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able numbers; undefined ones are None."""
        return {
            "method": self.method,
            "expected_m2": self.expected_m2.tolist(),
            "areas_m2": [estimate.to_dict() for estimate in self.areas],
            "confidence": self.confidence,
            "total_m2": self.total_m2,
            "warnings": list(self.warnings),
        }


def expected_areas(probability: Path | str, n_classes: int) -> NDArray[np.float64]:
    """Sum true area times probability over a layer of class probabilities, tile by tile.

    Stored probabilities are rounded; each pixel's are brought to the sum 1 again.

    Args:
        probability: GeoTIFF with one band a class.
        n_classes: K.

    Returns:
        `[K]` in square metres.

    Raises:
        ProductError: If the file cannot be read or has other bands.
    """
    sums = np.zeros(n_classes)
    with open_map(probability) as (dataset, geobox):
        _require_bands(dataset, n_classes, probability)
        for tile in tiles(Window(0, 0, dataset.height, dataset.width), TILE):
            shares, known = read_shares(dataset, tile)
            area = np.where(known, np.broadcast_to(pixel_areas(geobox, tile), known.shape), 0.0)
            sums += np.einsum("khw,hw->k", shares, area)
    return sums


def probabilities_at(
    probability: Path | str, rows: NDArray[np.integer], cols: NDArray[np.integer], n_classes: int
) -> NDArray[np.float64]:
    """Return class probabilities `[N, K]` of a layer at pixels; NaN where there are none.

    Raises:
        ProductError: If the file cannot be read or has other bands.
    """
    found = np.full((len(rows), n_classes), np.nan)
    with open_map(probability) as (dataset, _):
        _require_bands(dataset, n_classes, probability)
        across = -(-dataset.width // TILE)
        tile_of = rows // TILE * across + cols // TILE
        for number in np.unique(tile_of).tolist():
            here = np.flatnonzero(tile_of == number)
            row, col = number // across * TILE, number % across * TILE
            tile = Window(row, col, min(TILE, dataset.height - row), min(TILE, dataset.width - col))
            shares, known = read_shares(dataset, tile)
            place = rows[here] - row, cols[here] - col
            found[here] = np.where(known[place][:, None], shares[(slice(None), *place)].T, np.nan)
    return found


def _require_bands(dataset: Any, n_classes: int, path: Path | str) -> None:
    if dataset.count != n_classes:
        raise ProductError(
            f"The layer {Path(path).name} has {dataset.count} bands, but the map has {n_classes} classes; give the "
            "probability layer of the same product."
        )


def read_shares(dataset: Any, window: Window) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return (probabilities `[K, h, w]` with the sum 1, 0 where unknown; known `[h, w]`) of a window.

    Stored probabilities are rounded; each pixel's are brought to the sum 1 again.

    Args:
        dataset: Open layer of class probabilities, one band a class.
        window: Inside the layer.

    Raises:
        ProductError: If the file is damaged.
    """
    stored = read_masked(dataset, window, what="The probabilities")
    known = ~np.ma.getmaskarray(stored).any(axis=0)
    values = np.where(known, stored.filled(0).astype(np.float64), 0.0)
    total = values.sum(axis=0)
    known &= total > 0
    return values / np.where(known, total, 1.0), known


def calibrated_areas(expected_m2: ArrayLike, residuals: BlockResiduals, confidence: float = 0.95) -> AreaEstimates:
    """Estimate areas from the sum of probabilities and the residuals of calibration blocks.

    The map consists of B = area / block area blocks, whose mean residual is unknown, and G calibration blocks are from
    the same population. The area is A (mean probability + mean residual of the G blocks), and its variance
    A^2 s^2 (1/G + 1/B), with the variance s^2 of residuals over blocks: 1/G for what G blocks cannot tell about the
    model's bias, 1/B for the chance of this map. Student's t with G - 1 degrees of freedom gives the interval. This is
    the model-assisted difference estimator with blocks as sampling units (Saerndal, Swensson and Wretman 1992, chapters
    6 and 8), applied to a prediction.

    It assumes that labels are complete or drawn at random within their blocks, that blocks are independent (errors
    correlated over longer distances than a block make the interval too short), and that the map's place and time are
    those of the labels. Polygons drawn where a class is obvious break the first assumption.

    Args:
        expected_m2: `[K]` from `expected_areas`.
        residuals: Of the model's calibration.
        confidence: Two-sided level in (0, 1).

    Raises:
        ConfigurationError: If classes do not fit or the level is out of range.
    """
    from scipy.stats import t as student

    sums = np.asarray(expected_m2, dtype=np.float64)
    if sums.shape != (len(residuals.mean),):
        raise ConfigurationError(
            f"The residuals are for {len(residuals.mean)} classes, but there are {sums.size} areas; use the "
            "map's own model."
        )
    _check_level(confidence)
    total = float(sums.sum())
    blocks = max(1.0, total / residuals.block_area_m2)
    values = sums + total * np.asarray(residuals.mean)
    errors = total * np.asarray(residuals.deviation) * math.sqrt(1.0 / residuals.n_blocks + 1.0 / blocks)
    factor = float(student.ppf(0.5 + 0.5 * confidence, residuals.n_blocks - 1))
    warnings = (
        f"The intervals rest on {residuals.n_blocks} calibration blocks and on the assumption that the map is like "
        "them.",
    )
    estimates = _estimates(values, errors, factor, total)
    return AreaEstimates("calibrated probabilities", sums, estimates, confidence, total, warnings)


def difference_areas(
    expected_m2: ArrayLike,
    stratum_areas_m2: ArrayLike,
    stratum: NDArray[np.integer],
    probabilities: NDArray[np.floating],
    reference: NDArray[np.integer],
    confidence: float = 0.95,
) -> AreaEstimates:
    """Estimate areas from the sum of probabilities and a reference sample stratified by map class.

    A_k = sum of area times p_k + sum over strata h of A_h mean_h(y_k - p_k), with the variance sum over h of
    A_h^2 var_h(y_k - p_k) / n_h: the stratified difference estimator (Cochran 1977, chapter 7, with the known slope 1;
    McRoberts 2011 for maps of classes). With probabilities of 0 and 1 it is the estimator of Olofsson et al. (2014), up
    to n against n - 1. It is unbiased for points drawn at random within each map class, whatever the probabilities are.

    Args:
        expected_m2: `[K]` from `expected_areas`.
        stratum_areas_m2: `[K]` mapped area of each class.
        stratum: `[N]` map class index of each reference element.
        probabilities: `[N, K]` of the map there.
        reference: `[N]` reference class index.
        confidence: Two-sided level in (0, 1).

    Returns:
        The estimates; a stratum with area and fewer than two elements adds no correction and a warning, and errors
        that it would add to are then too small.

    Raises:
        ConfigurationError: If shapes do not fit or the level is out of range.
    """
    from scipy.stats import norm

    sums, areas = np.asarray(expected_m2, dtype=np.float64), np.asarray(stratum_areas_m2, dtype=np.float64)
    classes = len(sums)
    if areas.shape != sums.shape or probabilities.shape != (len(stratum), classes) or len(reference) != len(stratum):
        raise ConfigurationError("Areas, probabilities, map classes and reference classes do not fit together.")
    _check_level(confidence)
    residual = -np.asarray(probabilities, dtype=np.float64)
    residual[np.arange(len(reference)), reference] += 1.0
    usable = np.isfinite(residual).all(axis=1)
    values, variance, thin = sums.copy(), np.zeros(classes), []
    for h in range(classes):
        own = residual[usable & (stratum == h)]
        if areas[h] == 0.0:
            continue
        if len(own) < 2:
            thin.append(h)
            continue
        values += areas[h] * own.mean(axis=0)
        variance += areas[h] ** 2 * own.var(axis=0, ddof=1) / len(own)
    total = float(sums.sum())
    factor = float(norm.ppf(0.5 + 0.5 * confidence))
    warnings: tuple[str, ...] = ()
    if thin:
        share = 100.0 * float(areas[thin].sum() / areas.sum())
        warnings = (
            f"{len(thin)} map class(es) with {share:.2g} % of the area have fewer than two reference elements; there "
            "the probabilities are taken as they are.",
        )
    estimates = _estimates(values, np.sqrt(variance), factor, total)
    return AreaEstimates("difference estimator", sums, estimates, confidence, total, warnings)


def _check_level(confidence: float) -> None:
    if not 0.0 < confidence < 1.0:
        raise ConfigurationError(f"The confidence must lie between 0 and 1, but is {confidence}.")


def _estimates(
    values: NDArray[np.float64], errors: NDArray[np.float64], factor: float, total: float
) -> tuple[Estimate, ...]:
    """Pair values with errors; values and intervals are cut at 0 and at the total."""
    found = []
    for value, error in zip(values.tolist(), errors.tolist(), strict=True):
        margin = factor * error
        low, high = min(max(0.0, value - margin), total), max(0.0, min(total, value + margin))
        found.append(Estimate(min(max(0.0, value), total), error, margin, low, high))
    return tuple(found)
