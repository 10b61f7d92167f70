"""The verb `assess`: how good a map is, with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ProductError
from ecumene.core.files import sha256_of, write_json
from ecumene.indicators.accuracy import AccuracyReport, accuracy_report
from ecumene.indicators.areas import class_areas
from ecumene.indicators.areas_expected import AreaEstimates, difference_areas, expected_areas, probabilities_at
from ecumene.indicators.extraction import Extraction, extract_at
from ecumene.indicators.olofsson import OlofssonReport, olofsson_report
from ecumene.legends import Legend
from ecumene.mapping.product import Product, open_product
from ecumene.workflows.assess_numbers import NumberAssessment, assess_numbers

BLOCK_COLUMN = "block"
"""Column of a reference file that says which points belong together (for bootstrap intervals)."""


@dataclass(frozen=True)
class Assessment:
    """What a comparison with reference labels gave.

    Attributes:
        legend: Classes of the map.
        sample: Map and reference class at every usable reference element.
        accuracy: Plain accuracy of the sample (rows = reference).
        adjusted: Area-adjusted accuracy and areas (rows = map), areas in square metres.
        reference: Name and SHA-256 of the reference file.
        with_probabilities: Areas from the same sample and the map's probabilities, where it has them.
    """

    legend: Legend
    sample: Extraction
    accuracy: AccuracyReport
    adjusted: OlofssonReport
    reference: dict[str, str]
    with_probabilities: AreaEstimates | None = None

    @property
    def sample_size(self) -> int:
        """Reference elements that lie on mapped pixels."""
        return int(self.accuracy.matrix.sum())

    def measure(self, name: str) -> float:
        """Return an overall measure of the sample: `overall_accuracy`, `macro_f1`, `kappa`, `mean_iou`."""
        return float(self.accuracy.measures[name])

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-able numbers."""
        return {
            "reference": self.reference,
            "sample_size": self.sample_size,
            "outside_of_map": self.sample.outside,
            "on_nodata": self.sample.nodata,
            "accuracy": self.accuracy.to_dict(),
            "area_adjusted": self.adjusted.to_dict(),
            "areas_with_probabilities": self.with_probabilities.to_dict() if self.with_probabilities else None,
        }


def assess_map(
    product: str | Path | Product,
    reference: str | Path,
    *,
    field: str = "class",
    out: str | Path | None = None,
    confidence: float = 0.95,
) -> Assessment:
    """Compare a product's classes with reference labels.

    The area-adjusted figures and their intervals (Olofsson et al. 2014) hold for reference points that were
    drawn at random within each map class; points from training polygons are a first check only.

    Args:
        product: A product of classes.
        reference: Vector file with points or polygons in any coordinate system; a column `block`, if there
            is one, says which elements belong together and gives block-bootstrap intervals as well.
        field: Column of the reference class (name or code).
        out: JSON file to write.
        confidence: Level of all intervals.

    Returns:
        The assessment.

    Raises:
        ProductError: If the product has no classes.
        LabelError: If the reference has an unknown class, or none of it lies on the map.
    """
    opened = product if isinstance(product, Product) else open_product(Path(product))
    legend = opened.legend
    if legend is None:
        raise ProductError(f"{opened.folder.name} has no classes, so it cannot be assessed with reference classes.")
    raster = opened.path("value")
    sample = extract_at(reference, field, raster, legend, group_field=BLOCK_COLUMN)
    accuracy = accuracy_report(
        sample.reference, sample.mapped, legend.names, blocks=sample.group, confidence=confidence
    )
    mapped = class_areas(raster, legend).for_legend(legend)
    adjusted = olofsson_report(accuracy.matrix.T, mapped, legend.names, confidence=confidence)
    described = {"name": Path(reference).name, "sha256": sha256_of(reference)}
    hybrid = _areas_with_probabilities(opened, sample, mapped, confidence)
    assessment = Assessment(legend, sample, accuracy, adjusted, described, hybrid)
    if out is not None:
        write_json(out, assessment.to_dict())
    return assessment


def assess_product(
    product: str | Path | Product,
    reference: str | Path,
    *,
    field: str | None = None,
    out: str | Path | None = None,
    confidence: float = 0.95,
) -> Assessment | NumberAssessment:
    """Compare a product with reference labels: classes by `assess_map`, numbers by `assess_numbers`.

    Args:
        product: A product of classes or of numbers.
        reference: Vector file, see there.
        field: Column of the reference; None: `class` for classes, the number's name for numbers.
        out: JSON file to write.
        confidence: Level of all intervals.

    Raises:
        ProductError: If the product cannot be used.
        LabelError: If the reference cannot be used, or none of it lies on the map.
    """
    opened = product if isinstance(product, Product) else open_product(Path(product))
    if opened.legend is None:
        return assess_numbers(opened, reference, field=field, out=out, confidence=confidence)
    return assess_map(opened, reference, field=field or "class", out=out, confidence=confidence)


def _areas_with_probabilities(
    product: Product, sample: Extraction, mapped: NDArray[np.float64], confidence: float
) -> AreaEstimates | None:
    """Estimate areas from reference elements and the map's probabilities; None for a map without them."""
    if "probability" not in product.layers:
        return None
    layer, classes = product.path("probability"), len(sample.legend)
    found = probabilities_at(layer, sample.row, sample.col, classes)
    sums = expected_areas(layer, classes)
    return difference_areas(sums, mapped, sample.mapped, found, sample.reference, confidence)
