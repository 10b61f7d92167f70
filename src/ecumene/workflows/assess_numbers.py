"""How good a map of numbers is, with intervals: errors, error bars and coverage at reference places."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ecumene.core.errors import LabelError, ProductError
from ecumene.core.files import sha256_of, write_json
from ecumene.indicators.extraction_numbers import NumberExtraction, extract_numbers
from ecumene.indicators.regression import RegressionReport, regression_report
from ecumene.mapping.product import Product
from ecumene.trust.regression_measures import interval_report
from ecumene.workflows.regression import bar_figures

BLOCK_COLUMN = "block"
FEWEST = 2


@dataclass(frozen=True)
class NumberAssessment:
    """What a comparison with reference numbers gave.

    Attributes:
        field: Column of the reference.
        unit: Of the map.
        sample: Reference and layers at every usable reference element.
        blocks: Groups of elements that belong together.
        confidence: Level of the intervals of `errors`.
        errors: Bias, mean absolute error, RMSE and R2 with block-bootstrap intervals.
        bars: How honest the map's standard deviations are; None for a map without them.
        intervals: How often the map's intervals hold the reference; None for a map without them.
        reference: Name and SHA-256 of the reference file.
    """

    field: str
    unit: str
    sample: NumberExtraction
    blocks: int
    confidence: float
    errors: RegressionReport
    bars: dict[str, Any] | None
    intervals: dict[str, Any] | None
    reference: dict[str, str]

    @property
    def sample_size(self) -> int:
        """Reference elements that lie on mapped pixels."""
        return self.errors.count

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-able numbers."""
        return {
            "reference": self.reference,
            "field": self.field,
            "unit": self.unit,
            "sample_size": self.sample_size,
            "blocks": self.blocks,
            "confidence": self.confidence,
            "outside_of_map": self.sample.outside,
            "on_nodata": self.sample.nodata,
            "errors": self.errors.to_dict(),
            "error_bars": self.bars,
            "intervals": self.intervals,
        }


def assess_numbers(
    product: Product,
    reference: str | Path,
    *,
    field: str | None = None,
    out: str | Path | None = None,
    confidence: float = 0.95,
) -> NumberAssessment:
    """Compare a map of numbers with reference numbers.

    Args:
        product: A product of numbers.
        reference: Vector file with points or polygons in any coordinate system; a column `block`, if there is one, says
            which elements belong together. Without it every feature is a block of its own.
        field: Column of the number; None: named as the map's number.
        out: JSON file to write.
        confidence: Level of the intervals of bias, errors and R2.

    Returns:
        The assessment.

    Raises:
        ProductError: If the product has classes, or not the named number.
        LabelError: If the column is missing or not numeric, or less than two elements lie on the map.
    """
    if product.legend is not None:
        raise ProductError(f"{product.folder.name} is a map of classes; assess it with reference classes.")
    product.path("value")
    value = product.layers["value"]
    column = field or value.band_names[0]
    band = value.band_names.index(column) + 1 if column in value.band_names else 1
    if len(value.band_names) > 1 and column not in value.band_names:
        raise ProductError(
            f"{product.folder.name} has the numbers {', '.join(value.band_names)}; name one of them with --field."
        )
    names = [name for name in ("value", "uncertainty", "lower", "upper") if name in product.layers]
    layers = {name: product.path(name) for name in names}
    sample = extract_numbers(reference, column, layers, band=band, group_field=BLOCK_COLUMN)
    if len(sample) < FEWEST:
        raise LabelError(
            f"Only {len(sample)} reference number of {Path(reference).name} lies on the map; errors need at least "
            f"{FEWEST}."
        )
    described = {"name": Path(reference).name, "sha256": sha256_of(reference)}
    errors = regression_report(sample.reference, sample.layers["value"], blocks=sample.group, confidence=confidence)
    assessment = NumberAssessment(
        column,
        value.unit,
        sample,
        len(np.unique(sample.group)),
        confidence,
        errors,
        _bars(sample),
        _intervals(sample, product),
        described,
    )
    if out is not None:
        write_json(out, assessment.to_dict())
    return assessment


def _bars(sample: NumberExtraction) -> dict[str, Any] | None:
    deviation = sample.layers.get("uncertainty")
    if deviation is None:
        return None
    known = np.isfinite(deviation) & (deviation > 0.0)
    if not known.any():
        return None
    return bar_figures(sample.layers["value"][known], deviation[known], sample.reference[known])


def _intervals(sample: NumberExtraction, product: Product) -> dict[str, Any] | None:
    """Return how often the map's own intervals hold the reference, block by block."""
    wanted = stated_coverage(product)
    if wanted is None or not {"lower", "upper"} <= set(sample.layers):
        return None
    low, high = sample.layers["lower"], sample.layers["upper"]
    known = np.isfinite(low) & np.isfinite(high)
    if not known.any():
        return None
    report = interval_report(low[known], high[known], sample.reference[known], wanted, sample.group[known])
    return {"wanted_coverage": wanted, **report.to_dict()}


def stated_coverage(product: Product) -> float | None:
    """Return the coverage that the product's layer `lower` states for its intervals; None where it states none."""
    if "lower" not in product.layers:
        return None
    found = re.fullmatch(r"lower end of the ([0-9.]+) % prediction interval", product.layers["lower"].description)
    share = float(found[1]) / 100.0 if found else 0.0
    return share if 0.0 < share < 1.0 else None
