"""Charts as data: series, labels and the same numbers as a table; page, site and report draw them in their own way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ecumene.core.errors import ProductError
from ecumene.mapping.product import Product
from ecumene.viewer.places import is_georeferenced

if TYPE_CHECKING:
    from ecumene.trust.block_residuals import BlockResiduals

CHARTS_PROPERTY = "ecumene:charts"
"""Property of a product's Item with charts of its own, a list of `Chart`."""

_MOST_CHARTS, _MOST_POINTS = 50, 5000


class Axis(BaseModel):
    """One axis: what it shows, in which unit; `categories` instead of numbers for bars."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    label: str = ""
    unit: str = ""
    categories: list[str] | None = None
    limits: tuple[float, float] | None = None


class Series(BaseModel):
    """Numbers of one line, of one set of bars or of dots; `low` and `high` are the ends of intervals."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: str
    colour: str | None = Field(default=None, pattern=r"^#[0-9a-f]{6}$")
    colours: list[str] | None = None
    x: Sequence[float] | None = None
    y: Sequence[float | None] = Field(max_length=_MOST_POINTS)
    low: Sequence[float | None] | None = None
    high: Sequence[float | None] | None = None
    weight: Sequence[float] | None = None
    dashed: bool = False

    @model_validator(mode="after")
    def _even(self) -> Series:
        for part in (self.colours, self.x, self.low, self.high, self.weight):
            if part is not None and len(part) != len(self.y):
                raise ValueError("the lists of a series must be equally long")
        return self


class ChartTable(BaseModel):
    """The numbers of a chart as text cells."""

    model_config = ConfigDict(extra="forbid")

    columns: list[str]
    rows: list[list[str]]


class Chart(BaseModel):
    """A chart: bars, lines, points or a mere table."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    id: str = Field(pattern=r"^[0-9A-Za-z_-]+$")
    title: str
    kind: Literal["bars", "lines", "points", "table"]
    caption: str = ""
    x: Axis = Field(default_factory=Axis)
    y: Axis = Field(default_factory=Axis)
    series: list[Series] = Field(default_factory=list)
    diagonal: bool = False
    table: ChartTable


def product_charts(
    product: Product,
    accuracy: Mapping[str, Any] | None = None,
    assessment: Mapping[str, Any] | None = None,
    residuals: BlockResiduals | None = None,
) -> list[dict[str, Any]]:
    """Return the charts that a product, its model's figures and its assessment allow.

    Args:
        product: The product.
        accuracy: Figures of the model on held-out blocks (`training.accuracy` of its description), or None.
        assessment: What `assess` wrote, or None.
        residuals: What the model's calibration blocks say about sums of probabilities, or None; gives areas with
            intervals where the product has probabilities.

    Returns:
        `Chart`s as JSON: areas, accuracy by class, reliability, sparsification, error bars, and the product's own.

    Raises:
        ProductError: If the product's own charts are damaged, or a layer cannot be read.
    """
    accuracy = accuracy or {}
    bars = accuracy.get("error_bars") or {}
    found = [
        _areas(product, assessment, residuals),
        _class_accuracy(product, assessment),
        _number_errors(assessment),
        _reliability(accuracy.get("calibration") or {}),
        _sparsification(accuracy.get("sparsification"), "wrong pixels"),
        _pit(bars.get("pit_histogram")),
        _sparsification(bars.get("sparsification"), "the root mean squared error", "error-bars"),
    ]
    return [chart.model_dump(mode="json") for chart in found if chart is not None] + own_charts(product)


def own_charts(product: Product) -> list[dict[str, Any]]:
    """Return the charts that the product's Item carries.

    Raises:
        ProductError: If they are damaged.
    """
    stated = product.properties.get(CHARTS_PROPERTY) or []
    try:
        if not isinstance(stated, list) or len(stated) > _MOST_CHARTS:
            raise ValueError("they are no list, or too many")
        return [Chart.model_validate(entry).model_dump(mode="json") for entry in stated]
    except (ValidationError, ValueError) as error:
        raise ProductError(
            f"The charts in the Item of {product.folder.name} are damaged ({str(error).splitlines()[0]}); map again."
        ) from error


def _areas(product: Product, assessment: Mapping[str, Any] | None, residuals: BlockResiduals | None) -> Chart | None:
    """Show the area of each class, with the intervals that assessment and calibration blocks give."""
    legend = product.legend
    if legend is None or not product.class_pixels:
        return None
    names, colours = list(legend.names), [entry.colour for entry in legend.classes]
    pixels = [product.class_pixels.get(code, 0) for code in legend.values]
    if not is_georeferenced(product.geobox):
        rows = [[name, str(count)] for name, count in zip(names, pixels, strict=True)]
        return Chart(
            id="areas",
            title="Pixels by class",
            kind="bars",
            caption="The product has no place on the Earth, so areas are counts of pixels.",
            x=Axis(label="class", categories=names),
            y=Axis(label="pixels"),
            series=[Series(name="mapped", colours=colours, y=[float(count) for count in pixels])],
            table=ChartTable(columns=["class", "pixels"], rows=rows),
        )
    from ecumene.indicators.areas import class_areas

    mapped = [float(area) / 1e4 for area in class_areas(product.path("value"), legend).for_legend(legend)]
    series = [Series(name="mapped", colours=colours, y=mapped)]
    columns, rows = ["class", "mapped, ha"], [[n, f"{a:,.1f}"] for n, a in zip(names, mapped, strict=True)]
    caption = "Mapped: true area of the pixels; a map's errors bias it."
    for estimated in (_estimated_areas(names, assessment), _expected_areas(product, residuals)):
        if estimated is not None:
            series.append(estimated[0])
            columns.append(f"{estimated[0].name}, ha")
            rows = [[*row, text] for row, text in zip(rows, estimated[1], strict=True)]
            caption += f" {estimated[2]}"
    return Chart(
        id="areas",
        title="Area by class",
        kind="bars",
        caption=caption,
        x=Axis(label="class", categories=names),
        y=Axis(label="area", unit="ha"),
        series=series,
        table=ChartTable(columns=columns, rows=rows),
    )


def _estimated_areas(
    names: Sequence[str], assessment: Mapping[str, Any] | None
) -> tuple[Series, list[str], str] | None:
    """Return (series with intervals in hectares, texts, sentence) of an assessment's areas, or None."""
    adjusted = (assessment or {}).get("area_adjusted") or {}
    classes = adjusted.get("classes") or {}
    if adjusted.get("area_unit") != "m2" or not set(names) <= set(classes):
        return None
    found = [classes[name]["area"] for name in names]

    said = f"Estimated: corrected by a reference sample, {adjusted.get('confidence', 0.95):.0%} intervals."
    said = " ".join([said, *map(str, adjusted.get("warnings") or [])])
    return *_with_intervals("estimated", found), said


def _expected_areas(product: Product, residuals: BlockResiduals | None) -> tuple[Series, list[str], str] | None:
    """Return the same from the product's probabilities and its model's calibration blocks, or None."""
    from ecumene.indicators.areas_expected import calibrated_areas, expected_areas

    if residuals is None or product.legend is None or "probability" not in product.layers:
        return None
    found = calibrated_areas(expected_areas(product.path("probability"), len(product.legend)), residuals)
    said = (
        "From probabilities: their sum, corrected by the model's calibration blocks, "
        f"{found.confidence:.0%} intervals. {' '.join(found.warnings)}"
    )
    return *_with_intervals("from probabilities", [area.to_dict() for area in found.areas]), said


def _with_intervals(name: str, found: Sequence[Mapping[str, float | None]]) -> tuple[Series, list[str]]:
    """Return (series in hectares, texts) of estimates in square metres."""

    def hectares(key: str) -> list[float | None]:
        return [None if (value := entry[key]) is None else value / 1e4 for entry in found]

    values, low, high = hectares("value"), hectares("low"), hectares("high")
    texts = [
        "-" if v is None else f"{v:,.1f}" if a is None or b is None else f"{v:,.1f} ({a:,.1f} to {b:,.1f})"
        for v, a, b in zip(values, low, high, strict=True)
    ]
    return Series(name=name, y=values, low=low, high=high), texts


def _class_accuracy(product: Product, assessment: Mapping[str, Any] | None) -> Chart | None:
    """Show user's and producer's accuracy of each class with intervals; None without an assessment."""
    adjusted = (assessment or {}).get("area_adjusted") or {}
    classes = adjusted.get("classes") or {}
    names = list(product.legend.names) if product.legend is not None else []
    if not names or not set(names) <= set(classes):
        return None
    series, rows = [], [[name] for name in names]
    for key, label in (("users_accuracy", "user's accuracy"), ("producers_accuracy", "producer's accuracy")):
        found = [classes[name][key] for name in names]
        series.append(
            Series(name=label, y=[e["value"] for e in found], low=[e["low"] for e in found],
                   high=[e["high"] for e in found])
        )  # fmt: skip
        for row, entry in zip(rows, found, strict=True):
            row.append("-" if entry["value"] is None else f"{entry['value']:.1%}")
    overall = adjusted["overall_accuracy"]
    low, high = overall.get("low"), overall.get("high")
    ends = "" if low is None or high is None else f" ({low:.1%} to {high:.1%})"
    value = "-" if overall["value"] is None else f"{overall['value']:.1%}"
    return Chart(
        id="accuracy",
        title="Accuracy by class",
        kind="bars",
        caption=f"Overall accuracy {value}{ends}; area-adjusted from {(assessment or {}).get('sample_size')} elements.",
        x=Axis(label="class", categories=names),
        y=Axis(label="accuracy", limits=(0.0, 1.0)),
        series=series,
        table=ChartTable(columns=["class", "user's accuracy", "producer's accuracy"], rows=rows),
    )


def _number_errors(assessment: Mapping[str, Any] | None) -> Chart | None:
    """Show the errors of numbers against a reference, and how often their intervals hold it; None for classes."""
    errors = (assessment or {}).get("errors")
    if not assessment or not errors:
        return None
    unit = "" if assessment.get("unit") in {None, "", "1"} else f" {assessment['unit']}"
    ends = errors.get("intervals") or {}
    rows = []
    for key, label in (("bias", "bias"), ("rmse", "root mean squared error"), ("mae", "mean absolute error"),
                       ("r2", "R²")):  # fmt: skip
        if errors.get(key) is None:
            continue
        low, high = ends.get(key) or (None, None)
        interval = "-" if low is None or high is None else f"{low:.3g} to {high:.3g}"
        rows.append([label + (unit and f",{unit}") * (key != "r2"), f"{errors[key]:.3g}", interval])
    sets = assessment.get("intervals") or {}
    if sets.get("coverage") is not None:
        wanted = f"wanted {sets['wanted_coverage']:.0%}"
        rows.append(["reference within its interval", f"{sets['coverage']:.1%}", wanted])
    confidence = assessment.get("confidence", 0.95)
    return Chart(
        id="errors",
        title="Errors against the reference",
        kind="table",
        caption=f"{assessment.get('sample_size')} reference elements; {confidence:.0%} intervals where there are any.",
        table=ChartTable(columns=["measure", "value", "interval"], rows=rows),
    )


def _reliability(calibration: Mapping[str, Any]) -> Chart | None:
    """Show accuracy against confidence; None where the model has no such figures."""
    from ecumene.viewer.diagrams import points_of

    after = calibration.get("reliability")
    if not after:
        return None
    curves = {"held-out blocks": points_of(after)}
    before = calibration.get("reliability_before")
    if before and calibration.get("scaling", "identity") != "identity":
        curves = {"as the model is": points_of(before), "calibrated": points_of(after)}
    error = calibration.get("expected_calibration_error")
    said = "" if error is None else f" Expected calibration error {error:.3f}."
    series = [
        Series(name=name, x=[p[0] for p in points], y=[p[1] for p in points], weight=[p[2] for p in points])
        for name, points in curves.items()
    ]
    rows = [[n, f"{c:.2f}", f"{r:.2f}", f"{s:.1%}"] for n, points in curves.items() for c, r, s in points]
    return Chart(
        id="reliability",
        title="Is the confidence honest?",
        kind="points",
        caption="Accuracy against confidence on held-out blocks; on the diagonal 0.8 is right eight times out of ten; "
        f"dot area: share of pixels.{said}",
        x=Axis(label="confidence", limits=(0.0, 1.0)),
        y=Axis(label="accuracy", limits=(0.0, 1.0)),
        series=series,
        diagonal=True,
        table=ChartTable(columns=["curve", "mean confidence", "accuracy", "share of pixels"], rows=rows),
    )


def _sparsification(curve: Mapping[str, Any] | None, what: str, suffix: str = "") -> Chart | None:
    if not curve:
        return None
    removed, error, oracle = (list(map(float, curve[key])) for key in ("removed", "error", "oracle"))
    rows = [[f"{r:.0%}", f"{e:.2f}", f"{o:.2f}"] for r, e, o in zip(removed, error, oracle, strict=True)]
    return Chart(
        id="-".join(part for part in ("sparsification", suffix) if part),
        title="Does the uncertainty know the errors?",
        kind="lines",
        caption=f"Share of {what} on held-out blocks that is left when the most uncertain pixels are left out. "
        f"Area between the curves (AUSE): {curve['ause']:.3f}.",
        x=Axis(label="share of the most uncertain pixels left out", limits=(0.0, 1.0)),
        y=Axis(label="error left, relative"),
        series=[
            Series(name="by uncertainty", x=removed, y=error),
            Series(name="by the errors themselves", x=removed, y=oracle, dashed=True),
        ],
        table=ChartTable(columns=["left out", "by uncertainty", "best possible"], rows=rows),
    )


def _pit(shares: Sequence[float] | None) -> Chart | None:
    if not shares:
        return None
    number = len(shares)
    names = [f"{i / number:.2f} to {(i + 1) / number:.2f}" for i in range(number)]
    return Chart(
        id="error-bar-histogram",
        title="Are the error bars of the right length?",
        kind="bars",
        caption="Share of held-out pixels by where the truth lies in its predicted distribution; even bars are honest, "
        "high ends say too short, a hump too long.",
        x=Axis(label="part of the predicted distribution", categories=names),
        y=Axis(label="share of pixels"),
        series=[Series(name="held-out pixels", y=list(map(float, shares)))],
        table=ChartTable(
            columns=["part of the distribution", "share of pixels"],
            rows=[[name, f"{share:.1%}"] for name, share in zip(names, shares, strict=True)],
        ),
    )
