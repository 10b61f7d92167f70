"""Products written from arrays: further files, and what their pictures show."""

import json

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from ecumene.core.errors import ProductError
from ecumene.core.files import multihash_of
from ecumene.mapping.layers import VALID
from ecumene.mapping.product import open_product
from ecumene.objectives.prediction import LayerSpec
from ecumene.workflows.array_product import ArrayProduct, ExtraFile, write_array_product

SHAPE = (30, 40)


def product(files, values=None):
    number = np.linspace(0.0, 1.0, SHAPE[0] * SHAPE[1]).reshape(1, *SHAPE) if values is None else values
    layers = [
        (LayerSpec("value", "float32", float("nan"), "m", role="value"), number),
        (VALID, np.ones((1, *SHAPE), np.uint8)),
    ]
    geobox = GeoBox(SHAPE, Affine(10, 0, 4e5, 0, -10, 5e6), "EPSG:32633")
    return ArrayProduct(
        name="trial", title="A trial", lineage="made", geobox=geobox, layers=layers, valid=np.ones(SHAPE, bool),
        inputs=(), start=None, end=None, parameters={}, results={}, files=files,
    )  # fmt: skip


def test_further_files_are_part_of_the_item(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("a,b\n1,2\n")
    written = write_array_product(tmp_path, product({"table": ExtraFile(table, "text/csv", "a table", "numbers")}))
    asset = written.item["assets"]["table"]
    assert asset["type"] == "text/csv"
    assert asset["file:checksum"] == multihash_of(table)
    assert open_product(tmp_path, verify=True)
    table.write_text("a,b\n1,3\n")
    with pytest.raises(ProductError, match="changed"):
        open_product(tmp_path, verify=True)


@pytest.mark.parametrize("case", ["outside", "missing", "taken"])
def test_a_file_that_cannot_be_part_of_the_product_leaves_none(tmp_path, case):
    folder = tmp_path / "out"
    folder.mkdir()
    place = {"outside": tmp_path / "t.csv", "missing": folder / "t.csv", "taken": folder / "t.csv"}[case]
    if case != "missing":
        place.write_text("x")
    key = "value" if case == "taken" else "table"
    with pytest.raises(ProductError, match="cannot be part"):
        write_array_product(folder, product({key: ExtraFile(place, "text/csv", "t")}))
    assert not (folder / "item.json").exists()


def test_one_bright_pixel_does_not_darken_the_picture(tmp_path):
    values = np.linspace(1.0, 2.0, SHAPE[0] * SHAPE[1]).reshape(1, *SHAPE)
    values[0, 3, 3] = 1e6
    write_array_product(tmp_path, product({}, values))
    style = (tmp_path / "value.qml").read_text()
    low, high = (float(style.split(f'{key}="')[1].split('"')[0]) for key in ("classificationMin", "classificationMax"))
    assert 1.0 < low < 1.05
    assert 1.9 < high < 2.0
    stored = json.loads((tmp_path / "item.json").read_text())["assets"]["value"]["bands"][0]["statistics"]
    assert stored["maximum"] == pytest.approx(1e6)
