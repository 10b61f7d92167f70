"""Products: valid files, honest metadata, and folders that cannot mislead."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from mapping_fakes import NAMES, grid, make_model, make_regression, make_stack
from pydantic import ValidationError
from rio_cogeo.cogeo import cog_validate

from ecumene.core.errors import ConfigurationError, ProductError
from ecumene.core.files import multihash_of
from ecumene.mapping import MapOptions, map_stack, open_product
from ecumene.mapping.blocks import block_layout
from ecumene.mapping.polygons import pixel_area_m2
from ecumene.mapping.stac_models import validate_item
from ecumene.mapping.statistics import BandStatistics, band_statistics, merge_statistics, stac_statistics
from ecumene.objectives.prediction import LayerSpec

OPTIONS = MapOptions(window=96, overlap=8, tile=300, blocksize=128, probability=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One product with everything in it."""
    folder = tmp_path_factory.mktemp("product")
    (folder / "scene.tif").write_bytes(b"not really an image, only a file with a checksum")
    stack = make_stack(
        520, 610, files=(str(folder / "scene.tif"),), properties={"license": "CC-BY-4.0"}, geobox=grid(520, 610)
    )
    stack.pixels[0, :, 100:140, 200:260] = np.nan
    options = OPTIONS.model_copy(update={"polygons": True, "minimum_mapping_unit_m2": 1500.0})
    return stack, map_stack(stack, make_model(), folder / "p", options=options)


def test_every_raster_is_a_valid_cog(made):
    _, product = made
    for layer in product.layers.values():
        valid, errors, warnings = cog_validate(layer.path, quiet=True)
        assert valid, errors
        assert not warnings
        with rasterio.open(layer.path) as source:
            assert source.overviews(1)
            assert source.block_shapes[0] == (128, 128)
            assert source.compression.value.lower() == "zstd"
            assert source.crs.to_epsg() == 32633


def test_rasters_describe_themselves(made):
    _, product = made
    with rasterio.open(product.path("value")) as source:
        colours = source.colormap(1)
        first = product.legend.classes[0].colour
        assert colours[1] == (*bytes.fromhex(first[1:]), 255)
        assert source.nodata == 255
        assert "built & paved" in source.tags()["classes"]
    names = ElementTree.parse(product.folder / "value.tif.aux.xml").getroot().findall(".//Category")
    assert [entry.text for entry in names] == [None, *NAMES]
    with rasterio.open(product.path("probability")) as source:
        assert source.descriptions == NAMES
        assert source.scales == (0.004,) * 4
    with rasterio.open(product.path("valid")) as source:
        assert source.nodata is None


@pytest.mark.parametrize("shape", [(600, 256), (530, 128), (2100, 511), (129, 128), (128, 1024), (2100, 1024)])
def test_levels_one_block_wide_are_valid_too(tmp_path, shape):
    options = MapOptions(blocksize=128, window=256, overlap=8, quicklook=False)
    product = map_stack(make_stack(*shape), make_model(), tmp_path / "p", options=options)
    for layer in product.layers.values():
        assert cog_validate(layer.path, strict=True, quiet=True)[0]


@given(st.integers(1, 30000), st.integers(1, 30000), st.sampled_from([128, 256, 512, 1024]))
def test_no_level_passes_for_striped(height, width, wanted):
    block, overviews = block_layout((height, width), wanted)
    assert 64 <= block <= 4096
    for level in range(overviews + 1):
        rows, cols = -(-height // 2**level), -(-width // 2**level)
        assert cols != block or rows <= 512
    assert overviews >= 1 or max(height, width) <= max(block, 512)


def test_deflate_is_written_when_asked_for(tmp_path):
    product = map_stack(
        make_stack(40, 40), make_model(), tmp_path / "p", options=MapOptions(compress="deflate", quicklook=False)
    )
    with rasterio.open(product.path("value")) as source:
        assert source.compression.value.lower() == "deflate"


def test_overviews_of_classes_hold_only_classes(made):
    _, product = made
    with rasterio.open(product.path("value"), overview_level=0) as source:
        assert set(np.unique(source.read(1))) <= {1, 2, 3, 4, 255}


def test_item_validates_offline_and_says_what_was_measured(made, monkeypatch):
    import socket

    monkeypatch.setattr(socket, "create_connection", lambda *a, **k: pytest.fail("the network was used"))
    stack, product = made
    item = json.loads(product.item_path.read_text())
    validate_item(item)
    properties = item["properties"]
    assert properties["datetime"] == "2024-06-01T10:00:00Z"
    assert properties["proj:code"] == "EPSG:32633"
    assert properties["proj:shape"] == [520, 610]
    assert properties["license"] == "CC-BY-4.0"
    with rasterio.open(product.path("uncertainty")) as source:
        physical = source.read(1, masked=True) * 0.004
    statistics = item["assets"]["uncertainty"]["bands"][0]["statistics"]
    assert statistics["mean"] == pytest.approx(physical.mean(), rel=1e-6)
    assert statistics["stddev"] == pytest.approx(physical.std(), rel=1e-5)
    assert statistics["maximum"] == pytest.approx(physical.max())
    assert statistics["valid_percent"] == pytest.approx(100 * np.isfinite(stack.pixels[0, 0]).mean())
    with rasterio.open(product.path("value")) as source:
        codes = source.read(1)
    assert {code: int((codes == code).sum()) for code in (1, 2, 3, 4)} == product.class_pixels
    assert product.legend == make_model().objective.legend


def test_item_holds_provenance_without_private_paths(made):
    stack, product = made
    text = product.item_path.read_text()
    assert str(product.folder.parent) not in text
    links = {link["rel"]: link for link in product.item["links"]}
    assert links["derived_from"]["href"] == "scene.tif"
    assert links["derived_from"]["file:checksum"] == multihash_of(stack.files[0])
    assert links["describedby"]["href"] == "./model_card.md"
    assert "fake-net" in (product.folder / "model_card.md").read_text()
    assert str(product.folder.parent) not in (product.folder / ".work" / "plan.json").read_text()


def test_footprint_contains_the_centre(made):
    _, product = made
    west, south, east, north = product.item["bbox"]
    lon, lat = product.geobox.extent.centroid.to_crs("EPSG:4326").coords[0]
    assert west < lon < east
    assert south < lat < north
    ring = product.item["geometry"]["coordinates"][0]
    assert ring[0] == ring[-1]


def test_a_grid_across_the_antimeridian_is_cut(tmp_path):
    stack = make_stack(60, 60, geobox=grid(60, 60, "EPSG:32601", 1000.0, (275_000.0, 6_000_000.0)))
    product = map_stack(stack, make_model(), tmp_path / "p", options=MapOptions(quicklook=False))
    assert product.item["geometry"]["type"] == "MultiPolygon"
    assert product.item["bbox"][0] > 0 > product.item["bbox"][2]


def test_styles_are_xml_and_hold_the_legend(made):
    _, product = made
    entries = ElementTree.parse(product.folder / "value.qml").getroot().findall(".//paletteEntry")
    assert [(e.get("value"), e.get("label"), e.get("color")) for e in entries][2] == (
        "3",
        "built & paved",
        product.legend.classes[2].colour,
    )
    items = ElementTree.parse(product.folder / "uncertainty.qml").getroot().findall(".//item")
    assert [float(e.get("value")) for e in items] == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_polygons_agree_with_the_raster(made):
    import geopandas
    from rasterio.features import rasterize

    _, product = made
    frame = geopandas.read_parquet(product.polygons)
    pixel = pixel_area_m2(product.geobox)
    assert pixel == pytest.approx(100.0, rel=2e-3)
    assert frame.crs.to_epsg() == 32633
    assert set(frame["class"]) <= set(NAMES)
    assert frame["probability"].between(0.1, 1).all()
    valid = sum(product.class_pixels.values())
    assert frame["area_m2"].sum() == pytest.approx(valid * pixel, rel=1e-3)
    assert (frame["area_m2"] < 1500 * 0.99).mean() < 0.02  # only regions without a neighbour stay small
    painted = rasterize(
        zip(frame.geometry, frame["code"], strict=True),
        out_shape=product.geobox.shape,
        transform=product.geobox.affine,
        fill=255,
        dtype="uint8",
    )
    with rasterio.open(product.path("value")) as source:
        codes = source.read(1)
    np.testing.assert_array_equal(painted == 255, codes == 255)
    assert (painted == codes).mean() > 0.6


def test_polygons_without_a_unit_are_the_raster(tmp_path):
    import geopandas
    from rasterio.features import rasterize

    product = map_stack(
        make_stack(70, 80), make_model(), tmp_path / "p", options=MapOptions(polygons=True, quicklook=False)
    )
    frame = geopandas.read_parquet(product.polygons)
    shapes = list(zip(frame.geometry, frame["code"], strict=True))
    painted = rasterize(shapes, out_shape=(70, 80), transform=product.geobox.affine, dtype="uint8")
    with rasterio.open(product.path("value")) as source:
        np.testing.assert_array_equal(painted, source.read(1))
    with rasterio.open(product.path("probability")) as source:
        best = source.read().max(axis=0) * 0.004
    weighted = (frame["probability"] * frame["area_m2"]).sum() / frame["area_m2"].sum()
    assert weighted == pytest.approx(best.mean(), abs=2e-3)


def test_polygons_of_a_number_are_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="value is a number"):
        map_stack(make_stack(30, 30), make_regression(), tmp_path / "p", options=MapOptions(polygons=True))


def test_regression_product_has_nan_nodata_and_a_ramp(tmp_path):
    stack = make_stack(60, 50)
    stack.pixels[0, :, :5] = np.nan
    product = map_stack(stack, make_regression(), tmp_path / "p")
    with rasterio.open(product.path("value")) as source:
        values = source.read(1)
    np.testing.assert_array_equal(np.isnan(values), np.arange(60)[:, None] < np.full((1, 50), 5))
    assert np.isnan(product.layers["value"].nodata)
    assert product.legend is None
    statistics = product.layers["value"].statistics[0]
    assert statistics["mean"] == pytest.approx(np.nanmean(values), rel=1e-4)


@pytest.fixture
def small(tmp_path):
    return map_stack(make_stack(30, 30), make_model(), tmp_path / "p", options=MapOptions(quicklook=False))


def rewrite(product, change):
    item = json.loads(product.item_path.read_text())
    change(item)
    product.item_path.write_text(json.dumps(item))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda i: i["properties"].update({"ecumene:product_version": 99}), "newer ecumene"),
        (lambda i: i["assets"]["value"].update(href="../../secret.tif"), "outside of its folder"),
        (lambda i: i["assets"]["value"].update(href="/etc/passwd"), "outside of its folder"),
        (lambda i: i["assets"]["value"].update(href="https://example.org/v.tif"), "outside of its folder"),
        (lambda i: i["assets"]["value"].update(href="./gone.tif"), "lacks its file"),
        (lambda i: i["properties"].pop("proj:shape"), "damaged"),
        (lambda i: i["assets"]["value"].update({"file:checksum": "1220abc"}), "damaged"),
        (lambda i: i["properties"].pop("ecumene:product_version"), "not the Item"),
    ],
)
def test_products_that_mislead_are_refused(small, change, words):
    rewrite(small, change)
    with pytest.raises(ProductError, match=words):
        open_product(small.folder)


def test_missing_and_changed_products(small, tmp_path):
    with pytest.raises(ProductError, match="no finished product"):
        open_product(tmp_path)
    path = small.path("value")
    path.write_bytes(path.read_bytes() + b"x")
    open_product(small.folder)
    with pytest.raises(ProductError, match="changed after"):
        open_product(small.folder, verify=True)
    with pytest.raises(ProductError, match="no layer 'height'"):
        small.path("height")
    small.item_path.write_text("{")
    with pytest.raises(ProductError, match="not the Item"):
        open_product(small.folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda i: i["properties"].update({"proj:epsg": 4326}),
        lambda i: i["assets"]["value"]["bands"][0].update({"raster:scale": "big"}),
        lambda i: i["assets"]["value"]["bands"][0]["classification:classes"][0].update(color_hint="#ff0000"),
        lambda i: i["assets"]["value"]["bands"][0]["classification:classes"][0].update(name="two words"),
        lambda i: i["assets"]["value"]["bands"][0]["classification:classes"].append({"value": 1, "name": "again"}),
        lambda i: i["stac_extensions"].pop(),
        lambda i: i["properties"].pop("processing:software"),
    ],
)
def test_extension_models_refuse_wrong_fields(small, change):
    item = json.loads(small.item_path.read_text())
    change(item)
    with pytest.raises(ValidationError):
        validate_item(item)


def test_core_schema_refuses_wrong_fields(small):
    from pystac.errors import STACValidationError

    item = json.loads(small.item_path.read_text())
    item["properties"]["created"] = 12
    with pytest.raises(STACValidationError):
        validate_item(item)


def test_statistics_of_parts_are_those_of_the_whole():
    generator = np.random.default_rng(0)
    for dtype, nodata in (("uint8", 255), ("int16", -9999), ("float32", np.nan), ("int32", -1)):
        spec = LayerSpec(name="x", dtype=dtype, nodata=nodata, scale=0.5, offset=3.0)
        stored = generator.integers(0, 200, (40, 30)).astype(dtype)
        valid = generator.random((40, 30)) > 0.3
        stored[5:8] = nodata
        whole = band_statistics(stored, valid, spec)
        parts = [band_statistics(stored[k : k + 10], valid[k : k + 10], spec) for k in range(0, 40, 10)]
        assert merge_statistics(parts) == whole
        use = valid.copy()
        use[5:8] = False
        physical = stored[use].astype(float) * 0.5 + 3
        numbers = stac_statistics(whole, spec, 1200)
        assert whole.count == use.sum()
        assert numbers["mean"] == pytest.approx(physical.mean())
        assert numbers["stddev"] == pytest.approx(physical.std())
        assert (numbers["minimum"], numbers["maximum"]) == (physical.min(), physical.max())
    assert merge_statistics([BandStatistics()]).count == 0
