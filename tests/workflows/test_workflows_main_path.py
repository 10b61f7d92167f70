"""The whole way with each kind of learner: train, map, assess; and what the options of the verbs do."""

from __future__ import annotations

import json

import geopandas
import numpy as np
import pytest
import rasterio
from end_to_end import SEED, UNET_EPOCHS, copy_scene, raster_bytes, read, rewrite, weights_of
from rasterio.features import rasterize
from rio_cogeo.cogeo import cog_validate
from shapely.geometry import box

from ecumene import assess_map, map_scenes, train_model
from ecumene.core.errors import ConfigurationError, ContractError, ProductError
from ecumene.mapping.product import open_product
from ecumene.mapping.stac_models import validate_item

LAYERS = {"value", "uncertainty", "outlier", "valid", "prediction_set", "probability"}


def scenes_for(system, town):
    return [*town.sentinel2, town.cloudy] if system == "ltae-series" else town.sentinel2[1]


def check_product(product, town):
    """A product is whole, on the scene's grid, consistent between its layers, and says where it comes from."""
    assert set(product.layers) == LAYERS
    with rasterio.open(town.sentinel2[1]) as dataset:
        grid = dataset.transform, dataset.crs, dataset.shape
    for layer in product.layers.values():
        assert cog_validate(layer.path, quiet=True)[0]
        with rasterio.open(layer.path) as dataset:
            assert (dataset.transform, dataset.crs, dataset.shape) == grid
    value, valid = read(product.path("value")), read(product.path("valid")) == 1
    assert valid.any()
    np.testing.assert_array_equal(value == 255, ~valid)
    assert set(np.unique(value[valid])) <= {item.value for item in product.legend.classes}
    with rasterio.open(product.path("uncertainty")) as dataset:
        entropy = dataset.read(1, masked=True)
        entropy = entropy * dataset.scales[0] + dataset.offsets[0]
    np.testing.assert_array_equal(np.ma.getmaskarray(entropy), ~valid)
    assert 0 <= entropy.min() < entropy.max() <= 1
    with rasterio.open(product.path("probability")) as dataset:
        probability = dataset.read() * dataset.scales[0] + dataset.offsets[0]
    assert len(probability) == len(product.legend.names)
    np.testing.assert_allclose(probability[:, valid].sum(axis=0), 1, atol=0.03)
    # Rounded probabilities tie; the class of the map is among the largest.
    codes = np.array([item.value for item in product.legend.classes])
    chosen = np.take_along_axis(probability, np.where(valid, np.searchsorted(codes, value), 0)[None], axis=0)[0]
    assert (chosen[valid] >= probability.max(axis=0)[valid] - 1e-9).all()
    validate_item(product.item)
    derived = [link for link in product.item["links"] if link["rel"] == "derived_from"]
    assert derived
    assert product.item["properties"]["license"] == "CC0-1.0"
    assert (product.folder / "quicklook.png").stat().st_size > 500
    assert (product.folder / "value.qml").exists()


@pytest.mark.parametrize(
    ("system", "epochs"),
    [("random-forest", None), ("gradient-boosting", None), ("mlp-pixel", 8), ("ltae-series", 8)],
)
def test_train_map_assess(town, tmp_path, system, epochs):
    scenes = scenes_for(system, town)
    model = train_model(
        scenes, town.labels, tmp_path / "model", system=system, epochs=epochs, split_by="feature", seed=SEED
    )
    assert model.spec.training["system"] == system
    figures = model.spec.training["accuracy"]
    assert figures["pixels"] > 0
    assert 0 <= figures["overall"]["overall_accuracy"]["value"] <= 1
    assert "expected_calibration_error" in figures["calibration"]
    product = map_scenes(tmp_path / "model", scenes, tmp_path / "product")
    check_product(open_product(tmp_path / "product", verify=True), town)
    assessment = assess_map(product, town.reference, out=tmp_path / "assessment.json")
    shares = geopandas.read_file(town.reference)["class"].value_counts(normalize=True)
    assert assessment.measure("overall_accuracy") > shares.max() + 0.15


def test_train_map_assess_with_a_unet(town, unet, scene, tmp_path):
    product = map_scenes(unet, scene, tmp_path / "product")
    check_product(open_product(tmp_path / "product", verify=True), town)
    assessment = assess_map(product, town.reference)
    shares = geopandas.read_file(town.reference)["class"].value_counts(normalize=True)
    assert assessment.measure("overall_accuracy") > shares.max()


def test_an_assessment_holds_areas_that_add_up(town, product, tmp_path):
    assessment = assess_map(product, town.reference, out=tmp_path / "assessment.json")
    stored = json.loads((tmp_path / "assessment.json").read_text())
    assert stored == json.loads(json.dumps(assessment.to_dict()))
    assert assessment.sample_size == 200
    assert int(assessment.accuracy.matrix.sum()) == 200
    adjusted = assessment.adjusted
    ground = 96 * 80 * 100.0
    assert sum(adjusted.mapped_areas) == pytest.approx(ground, rel=2e-3)
    assert sum(area.value for area in adjusted.areas) == pytest.approx(sum(adjusted.mapped_areas))
    assert adjusted.overall.margin > 0
    assert 0 < adjusted.overall.value < 1
    counts = np.array([(read(product / "value.tif") == item.value).sum() for item in assessment.legend.classes])
    np.testing.assert_allclose(adjusted.mapped_areas / np.sum(adjusted.mapped_areas), counts / counts.sum(), atol=1e-6)


def test_the_same_seed_gives_the_same_weights_and_rasters(town, unet, scene, tmp_path):
    train_model(
        scene, town.labels, tmp_path / "model", system="unet-small", split_by="feature", seed=SEED, epochs=UNET_EPOCHS
    )
    assert weights_of(tmp_path / "model") == weights_of(unet)
    map_scenes(unet, scene, tmp_path / "a")
    map_scenes(tmp_path / "model", scene, tmp_path / "b")
    assert raster_bytes(tmp_path / "a") == raster_bytes(tmp_path / "b")


def test_the_same_seed_gives_the_same_trees_and_another_seed_others(town, forest, scene, tmp_path):
    for name, seed in (("same", SEED), ("other", SEED + 1)):
        train_model(scene, town.labels, tmp_path / name, system="random-forest", split_by="feature", seed=seed)
    assert weights_of(tmp_path / "same") == weights_of(forest)
    assert weights_of(tmp_path / "other") != weights_of(forest)


def test_holdout_has_only_what_training_never_saw(town, forest, scene, tmp_path):
    held = geopandas.read_file(forest.with_name("holdout.gpkg"))
    polygons = geopandas.read_file(town.labels)
    assert set(held.columns) >= {"class", "block", "geometry"}
    joined = geopandas.sjoin(held, polygons, predicate="within")
    assert len(joined) >= 0.9 * len(held)  # a pixel's centre lies in the polygon that labels it
    assert (joined["class_left"] == joined["class_right"]).all()
    tested = set(joined["index_right"])
    assert 0 < len(tested) < 0.5 * len(polygons)
    # Whatever the scene shows under them, the same trees come out.
    with rasterio.open(scene) as dataset:
        where = rasterize(polygons.geometry.iloc[sorted(tested)], dataset.shape, transform=dataset.transform) == 1
    changed = rewrite(copy_scene(scene, tmp_path), lambda numbers: np.where(where, 9000, numbers).astype(np.uint16))
    train_model(changed, town.labels, tmp_path / "m", system="random-forest", split_by="feature", seed=SEED)
    assert (tmp_path / "m" / "forest.safetensors").read_bytes() == (forest / "forest.safetensors").read_bytes()
    product = map_scenes(forest, scene, tmp_path / "product")
    assessment = assess_map(product, forest.with_name("holdout.gpkg"))
    assert assessment.sample_size == len(held)
    interval = assessment.to_dict()["accuracy"]["overall"]["overall_accuracy"]["block_interval"]
    assert interval is not None
    assert interval[0] <= assessment.measure("overall_accuracy") <= interval[1]


def test_an_image_model_learns_from_every_date_and_maps_one(town, tmp_path):
    one = train_model(
        town.sentinel2[1], town.labels, tmp_path / "one", system="mlp-pixel", epochs=1, split_by="feature", seed=SEED
    )
    two = train_model(
        town.sentinel2, town.labels, tmp_path / "two", system="mlp-pixel", epochs=1, split_by="feature", seed=SEED
    )
    # Both have one image as input, and the second was tested on the pixels of both dates.
    assert len(two.spec.inputs) == len(one.spec.inputs) == 12
    assert not two.spec.temporal
    assert two.spec.training["accuracy"]["pixels"] == 2 * one.spec.training["accuracy"]["pixels"]
    assert len(two.spec.training["scenes"]) == 2
    map_scenes(two, town.sentinel2[0], tmp_path / "product")
    with pytest.raises(ContractError, match="maps one image, but the scenes make a series of 2 dates"):
        map_scenes(two, town.sentinel2, tmp_path / "refused")
    assert not (tmp_path / "refused").exists()


def test_auto_chooses_by_the_number_of_dates(town, tmp_path):
    model = train_model(
        [*town.sentinel2, town.cloudy], town.labels, tmp_path / "m", epochs=1, split_by="feature", seed=SEED
    )
    assert model.spec.training["system"] == "ltae-series"
    assert model.spec.temporal
    with pytest.raises(ContractError, match="one date only"):
        map_scenes(model, town.sentinel2[0], tmp_path / "refused")
    with pytest.raises(ConfigurationError, match="only one date was given"):
        train_model(town.sentinel2[0], town.labels, tmp_path / "n", system="ltae-series")
    assert not (tmp_path / "refused").exists()
    assert not (tmp_path / "n").exists()


def test_two_sensors_are_learned_from_and_mapped_together(town, tmp_path):
    scenes = [town.sentinel2[1], town.sentinel1]
    model = train_model(
        scenes, town.labels, tmp_path / "model", system="random-forest", split_by="feature", seed=SEED,
        use_bands=["B04", "B08", "VV", "VH"],
    )  # fmt: skip
    assert [band.key for band in model.spec.inputs] == [
        "sentinel-2/B04",
        "sentinel-2/B08",
        "sentinel-1/VV",
        "sentinel-1/VH",
    ]
    assert [band.unit for band in model.spec.inputs] == ["1", "1", "dB", "dB"]
    product = map_scenes(model, scenes, tmp_path / "product")
    assert assess_map(product, town.reference).measure("overall_accuracy") > 0.43
    derived = [link for link in product.item["links"] if link["rel"] == "derived_from"]
    assert {link["title"] for link in derived} >= {path.stem for path in scenes}
    with pytest.raises(ContractError, match=r"needs sentinel-1/VV, sentinel-1/VH, which the scenes do not have"):
        map_scenes(model, scenes[0], tmp_path / "refused")
    assert not (tmp_path / "refused").exists()


def test_use_bands_leaves_out_and_orders(town, scene, tmp_path):
    model = train_model(
        scene, town.labels, tmp_path / "model", system="random-forest", split_by="feature", seed=SEED,
        use_bands=["B08", "B04", "sentinel-2/B03"],
    )  # fmt: skip
    assert [band.band for band in model.spec.inputs] == ["B08", "B04", "B03"]
    map_scenes(model, scene, tmp_path / "all")
    map_scenes(model, scene, tmp_path / "some", bands=["B03", "B04", "B08"])
    assert raster_bytes(tmp_path / "all") == raster_bytes(tmp_path / "some")
    with pytest.raises(ConfigurationError, match="have no band 'B99'; they have B01, B02"):
        train_model(scene, town.labels, tmp_path / "no", system="random-forest", use_bands=["B99"])
    assert not (tmp_path / "no").exists()


def test_clip_maps_inside_of_polygons_only(town, forest, product, scene, tmp_path):
    with rasterio.open(scene) as dataset:
        left, bottom, _, top = dataset.bounds
        transform, shape, crs = dataset.transform, dataset.shape, dataset.crs
    area = box(left + 143, bottom + 207, left + 558, top - 101)
    # Given in degrees: the clip is brought to the scene's grid.
    clip = geopandas.GeoDataFrame(geometry=[area], crs=crs).to_crs(4326)
    clip.to_file(tmp_path / "aoi.gpkg")
    clipped = map_scenes(forest, scene, tmp_path / "clipped", clip=tmp_path / "aoi.gpkg")
    inside = rasterize([area], shape, transform=transform).astype(bool)
    valid = read(clipped.path("valid")) == 1
    assert (valid != inside).sum() <= 4  # a straight edge is not quite straight in degrees
    value = read(clipped.path("value"))
    np.testing.assert_array_equal(value[valid], read(product / "value.tif")[valid])
    assert (value[~valid] == 255).all()


def test_polygons_repeat_the_raster_and_keep_to_their_least_size(forest, product, scene, tmp_path):
    whole = geopandas.read_parquet(product / "polygons.parquet")
    value = read(product / "value.tif")
    assert whole.area.sum() == pytest.approx((value != 255).sum() * 100.0)
    assert whole.crs is not None
    coarse = map_scenes(forest, scene, tmp_path / "p", polygons=True, minimum_mapping_unit_m2=2000.0)
    large = geopandas.read_parquet(coarse.folder / "polygons.parquet")
    assert large.area.min() >= 2000.0
    assert len(large) < len(whole)


def test_a_finished_product_is_kept_and_another_plan_is_refused(forest, scene, tmp_path):
    first = map_scenes(forest, scene, tmp_path / "p")
    stamps = {path.name: path.stat().st_mtime_ns for path in first.folder.glob("*.tif")}
    map_scenes(forest, scene, tmp_path / "p")
    assert {path.name: path.stat().st_mtime_ns for path in first.folder.glob("*.tif")} == stamps
    with pytest.raises(ProductError, match="another plan"):
        map_scenes(forest, scene, tmp_path / "p", probability=False)
    smaller = map_scenes(forest, scene, tmp_path / "p", probability=False, overwrite=True)
    assert "probability" not in smaller.layers
    assert not (tmp_path / "p" / "probability.tif").exists()


def test_masked_clouds_are_not_mapped_and_unmasked_ones_are_flagged(town, forest, tmp_path):
    masked = map_scenes(forest, town.cloudy, tmp_path / "masked")
    open_ = map_scenes(forest, town.cloudy, tmp_path / "open", mask_clouds=False)
    scl = read(town.cloudy.with_name(f"{town.cloudy.stem}_SCL.tif"))
    cloud = np.isin(scl, (8, 9))
    assert cloud.any()
    assert (read(masked.path("valid"))[cloud] == 0).all()
    assert (read(open_.path("valid")) == 1).all()
    flagged = read(open_.path("outlier")) == 1
    assert flagged[scl == 9].mean() > 0.9


def test_a_wrong_scale_is_flagged_everywhere(forest, scene, tmp_path):
    """Digital numbers passed off as reflectance cannot be known by their values, but the flag tells."""
    wrong = map_scenes(forest, scene, tmp_path / "p", scale=1.0, offset=0.0)
    assert (read(wrong.path("outlier")) == 1).all()


def test_probabilities_can_be_left_out_and_onnx_agrees_with_torch(town, scene, tmp_path):
    model = train_model(
        scene, town.labels, tmp_path / "model", system="mlp-pixel", epochs=2, split_by="feature", seed=SEED, onnx=True
    )
    assert (tmp_path / "model" / "model.onnx").exists()
    torch_map = map_scenes(model, scene, tmp_path / "torch", backend="torch")
    onnx_map = map_scenes(tmp_path / "model", scene, tmp_path / "onnx", backend="onnx", probability=False)
    assert "probability" not in onnx_map.layers
    one, two = read(torch_map.path("value")), read(onnx_map.path("value"))
    assert (one == two).mean() > 0.999
