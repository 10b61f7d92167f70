"""Class maps in another legend: values, error bars, sets and provenance agree with what they come from."""

from __future__ import annotations

import json

import mapping_fakes as fakes
import numpy as np
import pytest
import rasterio
from rio_cogeo.cogeo import cog_validate
from typer.testing import CliRunner

from ecumene.cli.main import app
from ecumene.core.errors import ConfigurationError, LabelError, ProductError
from ecumene.legends import Legend
from ecumene.legends.crosswalk import get_crosswalk
from ecumene.legends.library import get_legend
from ecumene.mapping import MapOptions, map_stack, open_product
from ecumene.objectives import Segmentation
from ecumene.trust.calibration import Calibration
from ecumene.trust.conformal import ConformalSets
from ecumene.workflows.convert import convert_product

EUROSAT = get_legend("eurosat")


def _product(folder, legend=EUROSAT, sets=True, **options):
    classes = len(legend)
    stack = fakes.make_stack(70, 90)
    stack.pixels[0, :, 10:20, 30:40] = np.nan
    calibration = Calibration(sets=ConformalSets("lac", 0.9, (0.93,), classes)) if sets else None
    model = fakes.make_model(objective=Segmentation(legend), calibration=calibration)
    # Logits about as far apart as those of real models, so that every class occurs.
    model.weights["weights"] = 0.3 * (model.weights["weights"] - model.weights["weights"].mean(axis=0))
    model.weights["weights"] -= model.weights["weights"].mean(axis=(1, 2), keepdims=True)
    chosen = MapOptions(**{"window": 64, "overlap": 8, "probability": True, "quicklook": False, **options})
    return map_stack(stack, model, folder, options=chosen)


def _read(product, name):
    with rasterio.open(product.path(name)) as source:
        return source.read()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("convert")
    product = _product(folder / "eurosat")
    return product, convert_product(product.folder, folder / "worldcover", legend="worldcover")


def test_values_are_the_classes_of_the_largest_summed_probability(made):
    product, converted = made
    walk = get_crosswalk("eurosat", "worldcover")
    assert converted.legend.names == walk.target.names
    p = _read(product, "probability").astype(np.float64)
    known = _read(product, "value")[0] != 255
    summed = np.tensordot(walk.shares.T, p / np.maximum(p.sum(axis=0), 1), axes=1)
    value = _read(converted, "value")[0]
    assert np.array_equal(value != 255, known)
    best = np.array(walk.target.values)[summed.argmax(axis=0)]
    top = np.sort(summed, axis=0)
    clear = known & (top[-1] - top[-2] > 1e-6)
    assert clear.sum() > 0.9 * known.sum()
    assert np.array_equal(value[clear], best[clear])
    # Some pixels change their class because two classes that become one are together the likeliest.
    assert (walk.codes(_read(product, "value")[0])[known] != value[known]).any()


def test_uncertainty_is_the_entropy_of_the_summed_probabilities(made):
    product, converted = made
    walk = get_crosswalk("eurosat", "worldcover")
    known = _read(converted, "value")[0] != 255
    p = _read(product, "probability").astype(np.float64)[:, known]
    q = np.tensordot(walk.shares.T, p / p.sum(axis=0), axes=1)
    entropy = -np.sum(np.where(q > 0, q * np.log(np.maximum(q, 1e-30)), 0), axis=0) / np.log(11)
    layer = converted.layers["uncertainty"]
    stored = _read(converted, "uncertainty")[0][known] * layer.scale
    assert np.abs(stored - entropy).max() < layer.scale
    assert layer.role == "uncertainty"


def test_sets_flags_and_files(made):
    product, converted = made
    walk = get_crosswalk("eurosat", "worldcover")
    known = _read(converted, "value")[0] != 255
    assert np.array_equal(
        _read(converted, "prediction_set")[0][known], walk.sets(_read(product, "prediction_set")[0][known])
    )
    assert "bit 10: Moss and lichen" in converted.layers["prediction_set"].description
    assert np.array_equal(_read(converted, "valid"), _read(product, "valid"))
    assert np.array_equal(_read(converted, "outlier"), _read(product, "outlier"))
    for layer in converted.layers.values():
        valid, errors, _ = cog_validate(layer.path, quiet=True)
        assert valid, errors
    assert not (converted.folder / "work").exists()
    open_product(converted.folder, verify=True)


def test_the_item_says_where_it_comes_from(made):
    product, converted = made
    said = converted.properties["ecumene:converted"]
    assert (said["from"], said["to"], said["by"]) == ("eurosat", "worldcover", "summed probabilities")
    assert said["layers_left_out"] == []
    assert converted.properties["ecumene:model"] == product.properties["ecumene:model"]
    assert "Then converted from eurosat to worldcover" in converted.properties["processing:lineage"]
    link = converted.item["links"][-1]
    assert link["rel"] == "derived_from"
    assert product.item["id"] in link["title"]


def test_without_probabilities_codes_are_exchanged_and_the_entropy_is_a_bound(tmp_path):
    full = _product(tmp_path / "full")
    bare = _product(tmp_path / "bare", probability=False)
    exact = convert_product(full, tmp_path / "a", legend="worldcover")
    bound = convert_product(bare, tmp_path / "b", legend="worldcover")
    walk = get_crosswalk("eurosat", "worldcover")
    assert np.array_equal(_read(bound, "value"), walk.codes(_read(bare, "value")))
    assert "probability" not in bound.layers
    assert "upper bound" in bound.layers["uncertainty"].description
    known = _read(bound, "value")[0] != 255
    high, low = (_read(made, "uncertainty")[0][known].astype(int) for made in (bound, exact))
    assert np.all(high + 3 >= low)  # probabilities are stored in steps of a byte
    assert bound.properties["ecumene:converted"]["by"] == "exchanged codes"


def test_equal_calls_give_equal_rasters(made, tmp_path):
    product, converted = made
    again = convert_product(product, tmp_path / "again", legend="worldcover")
    assert fakes.raster_bytes(again.folder) == fakes.raster_bytes(converted.folder)


def test_split_classes_need_shares_and_probabilities(tmp_path):
    lcz = get_legend("lcz")
    product = _product(tmp_path / "lcz", lcz, sets=False)
    with pytest.raises(LabelError, match="'sparsely built' of lcz is more than one class"):
        convert_product(product, tmp_path / "out", legend="worldcover")
    assert not (tmp_path / "out").exists()
    shared = convert_product(product, tmp_path / "out", legend="worldcover", shares=True)
    assert "sparsely built" in shared.properties["ecumene:converted"]["split_classes"]
    bare = _product(tmp_path / "bare", lcz, sets=False, probability=False)
    with pytest.raises(ProductError, match="map with --probability"):
        convert_product(bare, tmp_path / "other", legend="worldcover", shares=True)


def test_classes_without_counterpart_are_not_valid(tmp_path):
    product = _product(tmp_path / "wc", get_legend("worldcover"), sets=False, probability=False)
    converted = convert_product(product, tmp_path / "dw", legend="dynamic_world")
    moss = _read(product, "value")[0] == 100
    assert 0.01 < moss.mean() < 0.9
    assert np.all(_read(converted, "value")[0][moss] == 255)
    assert np.all(_read(converted, "valid")[0][moss] == 0)
    assert "uncertainty" not in converted.layers
    assert "uncertainty" in converted.properties["ecumene:converted"]["layers_left_out"]


def test_maps_with_own_names(tmp_path):
    names = ("water", "forest", "town")
    product = _product(tmp_path / "own", Legend.from_names(names), sets=False)
    with pytest.raises(LabelError, match="give your own --crosswalk"):
        convert_product(product, tmp_path / "out", legend="worldcover")
    file = tmp_path / "mine.yaml"
    file.write_text(
        "target_legend: worldcover\nsource: ours\nclasses:\n  water: Permanent water bodies\n  forest: Tree cover\n"
        "  town: Built-up\n"
    )
    converted = convert_product(product, tmp_path / "out", crosswalk=file)
    assert converted.properties["ecumene:converted"]["crosswalk"] == "ours"
    few = _product(tmp_path / "few", Legend.from_names(["Forest", "River"]), sets=False)
    with pytest.raises(LabelError, match="--from eurosat"):
        convert_product(few, tmp_path / "out2", legend="worldcover")
    assert convert_product(few, tmp_path / "out2", legend="worldcover", source_legend="eurosat").class_pixels[10] > 0
    with pytest.raises(ConfigurationError, match="goes to worldcover, not to lcz"):
        convert_product(product, tmp_path / "out3", crosswalk=file, legend="lcz")


def test_what_cannot_be_converted_is_said(made, tmp_path):
    product, converted = made
    with pytest.raises(ConfigurationError, match="Name the legend"):
        convert_product(product, tmp_path / "x")
    with pytest.raises(ConfigurationError, match="no crosswalk from eurosat to lcz"):
        convert_product(product, tmp_path / "x", legend="lcz")
    with pytest.raises(ProductError, match="already holds a product"):
        convert_product(product, converted.folder, legend="worldcover")
    with pytest.raises(ProductError, match="the product itself"):
        convert_product(product, product.folder, legend="worldcover", overwrite=True)
    numbers = map_stack(fakes.make_stack(20, 20), fakes.make_regression(), tmp_path / "n", options=MapOptions())
    with pytest.raises(ProductError, match="map of numbers"):
        convert_product(numbers, tmp_path / "x", legend="worldcover")


def test_the_verb(made, tmp_path):
    product, _ = made
    result = CliRunner().invoke(
        app, ["convert", str(product.folder), "--legend", "dynamic_world", "--out", str(tmp_path / "dw")]
    )
    assert result.exit_code == 0, result.output
    item = json.loads((tmp_path / "dw" / "item.json").read_text())
    assert item["properties"]["ecumene:converted"]["to"] == "dynamic_world"
