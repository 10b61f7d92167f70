"""Charts as data: the figures of an assessment, of a model and of calibration blocks, each with its interval."""

from __future__ import annotations

import json

import geopandas
import numpy as np
import pytest
from viewer_products import LEGEND, SHAPE, class_product, number_product

from ecumene.core.errors import ProductError
from ecumene.mapping.product import open_product
from ecumene.trust.block_residuals import BlockResiduals
from ecumene.viewer.charts import Chart, product_charts
from ecumene.workflows.assess import assess_product


def reference(folder, values, field, number=120, seed=0):
    """Write reference points at random pixels."""
    generator = np.random.default_rng(seed)
    col, row = generator.integers(0, SHAPE[1] - 40, number), generator.integers(30, SHAPE[0], number)
    x, y = 500_000 + 10 * (col + 0.5), 5_000_000 - 10 * (row + 0.5)
    frame = geopandas.GeoDataFrame(
        {field: [values(r, c) for r, c in zip(row, col, strict=True)]},
        geometry=geopandas.points_from_xy(x, y), crs="EPSG:32633",
    )  # fmt: skip
    frame.to_file(folder / "reference.gpkg")
    return folder / "reference.gpkg"


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("charts")
    made, truth = class_product(folder / "classes")
    return open_product(made), truth, folder


def test_areas_carry_the_intervals_of_the_assessment(classes):
    product, truth, folder = classes
    names = dict(zip(LEGEND.values, LEGEND.names, strict=True))
    points = reference(folder, lambda r, c: names[truth["value"][r, c]] if (r + c) % 9 else "water", "class")
    assess_product(product, points, out=folder / "a.json")
    figures = json.loads((folder / "a.json").read_text())
    charts = {chart["id"]: chart for chart in product_charts(product, None, figures)}
    mapped, estimated = charts["areas"]["series"]
    for k, name in enumerate(LEGEND.names):
        found = figures["area_adjusted"]["classes"][name]["area"]
        assert estimated["y"][k] == pytest.approx(found["value"] / 1e4)
        assert estimated["low"][k] <= estimated["y"][k] <= estimated["high"][k]
    assert sum(mapped["y"]) == pytest.approx(sum(estimated["y"]), rel=1e-6)
    users = charts["accuracy"]["series"][0]
    assert users["y"] == pytest.approx(
        [figures["area_adjusted"]["classes"][name]["users_accuracy"]["value"] for name in LEGEND.names]
    )
    assert len(charts["areas"]["table"]["columns"]) == 3


def test_areas_from_probabilities_carry_the_intervals_of_the_blocks(classes):
    product, truth, _ = classes
    residuals = BlockResiduals((0.02, -0.02, 0.0), (0.05, 0.04, 0.03), 8, 1e6)
    series = product_charts(product, residuals=residuals)[0]["series"]
    assert [part["name"] for part in series] == ["mapped", "from probabilities"]
    wide = series[1]
    total = sum(series[0]["y"])
    share = truth["probability"][:, truth["valid"]].mean(axis=1)
    assert wide["y"][2] == pytest.approx(total * share[2], rel=0.02)
    assert all(low < value < high for low, value, high in zip(wide["low"], wide["y"], wide["high"], strict=True))
    assert "blocks" in product_charts(product, residuals=residuals)[0]["caption"]


def test_figures_of_the_model_become_charts(classes):
    curve = {"removed": [0.0, 0.5], "error": [1.0, 0.4], "oracle": [1.0, 0.2], "ause": 0.1}
    bins = {"confidence": [0.5, None, 0.9], "accuracy": [0.4, None, 0.8], "count": [10, 0, 30]}
    accuracy = {
        "calibration": {"reliability": bins, "reliability_before": bins, "scaling": "temperature",
                        "expected_calibration_error": 0.1},
        "sparsification": curve,
        "error_bars": {"pit_histogram": [0.5, 0.5], "sparsification": curve},
    }  # fmt: skip
    charts = {chart["id"]: chart for chart in product_charts(classes[0], accuracy)}
    assert {"areas", "reliability", "sparsification", "error-bar-histogram", "sparsification-error-bars"} == set(charts)
    assert [part["name"] for part in charts["reliability"]["series"]] == ["as the model is", "calibrated"]
    assert charts["reliability"]["series"][1]["weight"] == [0.25, 0.75]
    assert charts["reliability"]["diagonal"]
    for chart in charts.values():
        Chart.model_validate(chart)
        assert chart["table"]["rows"]


def test_errors_of_numbers_are_a_table(tmp_path):
    product = open_product(number_product(tmp_path / "heights"))
    points = reference(tmp_path, lambda r, c: 50 * c / (SHAPE[1] - 1) + 1.0, "height")
    assess_product(product, points, out=tmp_path / "a.json")
    charts = {
        chart["id"]: chart for chart in product_charts(product, None, json.loads((tmp_path / "a.json").read_text()))
    }
    rows = {row[0]: row[1] for row in charts["errors"]["table"]["rows"]}
    assert float(rows["bias, m"]) == pytest.approx(-1.0, abs=0.01)
    assert float(rows["root mean squared error, m"]) == pytest.approx(1.0, abs=0.01)
    assert rows["reference within its interval"] == "100.0%"


@pytest.mark.parametrize(
    "chart",
    [
        "no list", [{"id": "a b", "title": "t", "kind": "bars", "table": {"columns": [], "rows": []}}],
        [{"id": "a", "title": "t", "kind": "bars", "table": {"columns": [], "rows": []},
          "series": [{"name": "s", "y": [1], "x": [1, 2]}]}],
        [{"id": "a", "title": "t", "kind": "bars", "html": "<b>", "table": {"columns": [], "rows": []}}],
        [{"id": "a", "title": "t", "kind": "bars", "table": {"columns": [], "rows": []}}] * 51,
    ],
)  # fmt: skip
def test_damaged_charts_of_a_product_are_said(tmp_path, chart):
    product = open_product(number_product(tmp_path / "p", shape=(20, 20), properties={"ecumene:charts": chart}))
    with pytest.raises(ProductError, match="charts in the Item of p are damaged"):
        product_charts(product)


def test_dates_of_a_series_share_one_ramp(tmp_path):
    from viewer_products import write_product

    from ecumene.mapping.layers import VALID
    from ecumene.objectives.prediction import LayerSpec
    from ecumene.viewer.layers import describe_product

    series = np.stack([np.zeros((20, 20)), np.linspace(-10, 0, 400).reshape(20, 20), np.full((20, 20), -3.0)])
    spec = LayerSpec(
        "displacement", "float32", float("nan"), "mm", band_names=("2018-01-06", "2018-01-30", "2018-02-11")
    )
    error = LayerSpec("displacement_uncertainty", "float32", float("nan"), "mm", band_names=spec.band_names)
    layers = [(spec, series), (error, np.abs(series) / 10), (VALID, np.ones((1, 20, 20), np.uint8))]
    shown = {layer["name"]: layer for layer in describe_product(
        open_product(write_product(tmp_path / "p", layers)))["layers"]}  # fmt: skip
    limits = {tuple(band["limits"]) for band in shown["displacement"]["bands"]}
    assert len(limits) == 1
    low, high = limits.pop()
    assert -10.01 < low < -9
    assert -1 < high <= 0
    assert shown["displacement"]["uncertainty"]["layer"] == "displacement_uncertainty"
    assert shown["displacement"]["uncertainty"]["band_for"] == [1, 2, 3]
