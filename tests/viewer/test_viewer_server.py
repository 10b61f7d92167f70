"""The web map's server: what it says of products, tiles that show what is stored, and the pixels behind them."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image
from pyproj import Transformer
from viewer_products import (
    LEGEND,
    PIXELS,
    SHAPE,
    class_layers,
    class_product,
    number_layers,
    number_product,
    write_product,
)

pytest.importorskip("fastapi", reason="needs the extra viewer")
pytest.importorskip("rio_tiler", reason="needs the extra viewer")
pytest.importorskip("httpx", reason="needs httpx")

from starlette.testclient import TestClient

from ecumene.core.errors import ProductError
from ecumene.mapping.product import open_product
from ecumene.viewer.colours import hex_ramp, rgb
from ecumene.viewer.places import lonlat_to_mercator, mercator_to_lonlat
from ecumene.viewer.server.app import create_app
from ecumene.viewer.server.library import open_library

BASE = "http://127.0.0.1"
COLOUR = {entry.value: rgb(entry.colour) for entry in LEGEND.classes}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("view")
    classes, truth = class_product(folder / "classes")
    numbers = number_product(folder / "heights")
    radar = write_product(folder / "radar", number_layers((90, 120)), crs=PIXELS)
    return [classes, numbers, radar], truth


@pytest.fixture(scope="module")
def client(places):
    return TestClient(create_app(open_library(places[0])), base_url=BASE)


@pytest.fixture(scope="module")
def site(client):
    return client.get("/api/products").json()


def at(col, row):
    """Return longitude and latitude of the middle of a pixel of the products in UTM."""
    return Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True).transform(
        500_000 + 10 * (col + 0.5), 5_000_000 - 10 * (row + 0.5)
    )


def tile_at(client, product, layer, lon, lat, zoom, **query):
    """Return (picture, position in it) of the tile that holds a place."""
    x, y = lonlat_to_mercator(lon, lat)
    half = 20037508.342789244
    side = 2 * half / 2**zoom
    column, row = int((x + half) // side), int((half - y) // side)
    answer = client.get(f"/api/products/{product}/tiles/{layer}/{zoom}/{column}/{row}.png", params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    picture = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGBA"))
    size = picture.shape[0]
    return picture, (int((half - y) / side % 1 * size), int((x + half) / side % 1 * size))


def test_description_says_what_there_is(site):
    classes, numbers, radar = site["products"]
    assert [layer["name"] for layer in classes["layers"]][:4] == ["value", "uncertainty", "outlier", "valid"]
    value = classes["layers"][0]
    assert (value["kind"], value["visible"], value["uncertainty"]["layer"]) == ("classes", True, "uncertainty")
    assert [entry["name"] for entry in classes["legend"]["classes"]] == list(LEGEND.names)
    assert sum(entry["share"] for entry in classes["legend"]["classes"]) == pytest.approx(1)
    assert numbers["layers"][0]["interval"] == {
        "lower": "lower", "upper": "upper", "text": "90 % prediction interval"
    }  # fmt: skip
    assert numbers["crs"]["code"] == "EPSG:32633"
    assert numbers["proj4"].startswith("+proj=utm +zone=33")
    assert classes["dates"]["label"] == "2024-06-01"
    assert (classes["card"], numbers["card"]) == ("api/products/classes/card", None)
    assert not radar["georeferenced"]
    assert "columns and rows" in radar["warnings"][0]
    assert set(site["colormaps"]) >= {"viridis", "cividis"}
    assert all(len(colours) == 256 for colours in site["colormaps"].values())


def test_bounds_hold_every_corner(site):
    west, south, east, north = site["products"][0]["bounds"]
    for col, row in ((0, 0), (SHAPE[1] - 1, 0), (0, SHAPE[0] - 1), (SHAPE[1] - 1, SHAPE[0] - 1)):
        lon, lat = at(col, row)
        assert west <= lon <= east
        assert south <= lat <= north


def test_finest_zoom_shows_every_pixel(site):
    about = site["products"][0]
    metres = 2 * 20037508.342789244 / 256 / 2 ** about["zoom"]["max"]
    shrink = np.cos(np.radians(about["bounds"][1]))
    assert metres * shrink <= 10 * 1.05
    assert metres * shrink > 4.5


@pytest.mark.parametrize(("col", "row"), [(3, 3), (129, 150), (255, 290), (100, 40), (7, 5)])
def test_a_tile_shows_the_class_that_the_file_holds(client, places, col, row):
    lon, lat = at(col, row)
    picture, place = tile_at(client, "classes", "value", lon, lat, 16)
    assert tuple(picture[place]) == (*COLOUR[places[1]["value"][row, col]], 255)


def test_hidden_classes_and_nodata_are_transparent(client, places):
    lon, lat = at(3, 100)
    shown, place = tile_at(client, "classes", "value", lon, lat, 16)
    hidden, _ = tile_at(client, "classes", "value", lon, lat, 16, hide="1")
    assert (shown[place][3], hidden[place][3]) == (255, 0)
    assert not places[1]["valid"][3, 250]
    hole, place = tile_at(client, "classes", "value", *at(250, 3), 16)
    assert hole[place][3] == 0


def test_fade_takes_opacity_in_proportion_to_the_error_bar(client, places):
    for row in (10, 150, 290):
        picture, place = tile_at(client, "classes", "value", *at(100, row), 17, fade="0.8")
        entropy = round(places[1]["entropy"][row, 100] / 0.004) * 0.004
        assert picture[place][3] == pytest.approx(255 * (1 - 0.8 * entropy), abs=1)


def test_numbers_are_painted_on_the_stated_ramp(client, site):
    layer = site["products"][1]["layers"][0]
    low, high = layer["bands"][0]["limits"]
    for colormap in ("viridis", "magma"):
        picture, place = tile_at(client, "heights", "value", *at(130, 100), 16, colormap=colormap)
        value = 50 * 130 / (SHAPE[1] - 1)
        level = int(np.floor((value - low) / (high - low) * 255 + 0.5))
        expected = [rgb(hex_ramp(colormap)[k]) for k in (level - 1, level, level + 1)]
        assert tuple(picture[place][:3]) in expected
    picture, place = tile_at(client, "heights", "value", *at(130, 100), 16, low="100", high="200")
    assert tuple(picture[place][:3]) == rgb(hex_ramp("viridis")[0])


def test_probability_band_is_the_class_of_that_position(client, places):
    for band in (1, 2, 3):
        picture, place = tile_at(client, "classes", "probability", *at(40, 100), 16, band=str(band))
        share = places[1]["probability"][band - 1][100, 40]
        wanted = rgb(hex_ramp("viridis")[int(np.floor(share * 255 + 0.5))])
        assert np.abs(picture[place][:3].astype(int) - wanted).max() <= 3


def test_far_out_and_outside_tiles_are_pictures(client):
    for z, x, y in ((0, 0, 0), (4, 0, 0), (24, 1, 1), (10, 1023, 1023)):
        answer = client.get(f"/api/products/classes/tiles/value/{z}/{x}/{y}.png")
        assert answer.status_code == 200
        assert Image.open(io.BytesIO(answer.content)).size == (256, 256)


def test_an_unchanged_tile_is_not_sent_again(client):
    address = "/api/products/classes/tiles/value/0/0/0.png"
    tag = client.get(address).headers["etag"]
    assert client.get(address, headers={"if-none-match": tag}).status_code == 304


def test_pixel_of_classes(client, places):
    lon, lat = at(40, 200)
    said = client.get("/api/products/classes/pixel", params={"lon": lon, "lat": lat}).json()
    assert (said["col"], said["row"], said["inside"], said["valid"]) == (40, 200, True, True)
    assert said["value"]["class"] == "water"
    assert said["value"]["probability"] == pytest.approx(0.8)
    assert [entry["probability"] for entry in said["probabilities"]] == pytest.approx([0.8, 0.1, 0.1])
    assert said["set"]["text"].startswith("water (set of classes that aims to hold the true class")
    assert said["text"] == "water, probability 0.80; class set water."
    assert said["channels"] == ["sentinel-2/B04"]
    assert said["inputs"][0]["title"] == "a scene"


def test_pixel_in_words(client):
    outlier = client.get("/api/products/classes/pixel", params={"col": 7, "row": 5}).json()
    flag = next(flag for flag in outlier["flags"] if flag["layer"] == "outlier")
    assert flag["alarming"]
    assert "must not be trusted" in flag["text"]
    known = client.get("/api/products/classes/pixel", params={"col": 8, "row": 5}).json()
    assert next(flag for flag in known["flags"] if flag["layer"] == "outlier")["text"] == "known"
    hole = client.get("/api/products/classes/pixel", params={"col": 250, "row": 3}).json()
    assert (hole["valid"], hole["text"], hole["value"], hole["set"]) == (False, "Not mapped here.", None, None)
    both = client.get("/api/products/classes/pixel", params={"col": 200, "row": 290}).json()
    assert both["set"]["text"].startswith("water or built-up (")


def test_pixel_of_numbers_gives_value_error_bar_and_interval(client):
    said = client.get("/api/products/heights/pixel", params={"col": 130, "row": 7}).json()
    band = said["value"]["bands"][0]
    value = 50 * 130 / (SHAPE[1] - 1)
    assert band["value"] == pytest.approx(value, rel=1e-5)
    assert band["uncertainty"] == pytest.approx(2)
    assert band["interval"] == pytest.approx([value - 3.29, value + 3.29], rel=1e-5)
    assert band["text"].startswith("25.1 ± 2.0 m (90 % prediction interval: ")


def test_outside_of_the_map_is_said(client):
    said = client.get("/api/products/classes/pixel", params={"lon": -60, "lat": 10}).json()
    assert not said["inside"]
    assert said["text"] == "Outside of the map."
    assert client.get("/api/products/classes/pixel", params={"lon": 179.9, "lat": -89.9}).status_code == 200


def test_a_product_without_a_place_has_columns_and_rows(client, site):
    about = site["products"][2]
    layer = about["layers"][0]
    low, high = layer["bands"][0]["limits"]
    for col, row in ((0, 0), (60, 45), (119, 89), (33, 71)):
        lon, lat = mercator_to_lonlat(col + 0.5 - 60, 45 - row - 0.5)
        said = client.get("/api/products/radar/pixel", params={"lon": lon, "lat": lat}).json()
        assert (said["col"], said["row"]) == (col, row)
        picture, place = tile_at(client, "radar", "value", lon, lat, 19)
        value = 50 * col / 119
        level = int(np.clip(np.floor((value - low) / (high - low) * 255 + 0.5), 0, 255))
        assert tuple(picture[place]) == (*rgb(hex_ramp("viridis")[level]), 255)
    picture, place = tile_at(client, "radar", "value", *mercator_to_lonlat(70, 0), 19)
    assert picture[place][3] == 0
    assert np.asarray(picture).shape == (256, 256, 4)


def test_charts_are_data_with_tables(client, places, tmp_path):
    found = client.get("/api/products/classes/charts").json()["charts"]
    areas = next(chart for chart in found if chart["id"] == "areas")
    pixels = [(places[1]["value"][places[1]["valid"]] == code).sum() for code in LEGEND.values]
    assert areas["series"][0]["y"] == pytest.approx([count / 100 for count in pixels], rel=2e-3)
    assert len(areas["table"]["rows"]) == len(LEGEND)
    assert client.get("/api/products/heights/charts").json() == {"charts": []}


def test_a_products_own_charts_are_checked(tmp_path):
    chart = {"id": "years", "title": "Built-up by year", "kind": "lines", "series": [{"name": "a", "y": [1.0, 2.0]}],
             "table": {"columns": ["year", "ha"], "rows": [["2000", "1"], ["2001", "2"]]}}  # fmt: skip
    good = number_product(tmp_path / "good", properties={"ecumene:charts": [chart]})
    bad = number_product(tmp_path / "bad", properties={"ecumene:charts": [chart | {"kind": "pie"}]})
    client = TestClient(create_app(open_library([good, bad])), base_url=BASE)
    assert client.get("/api/products/good/charts").json()["charts"][0]["title"] == "Built-up by year"
    answer = client.get("/api/products/bad/charts")
    assert answer.status_code == 404
    assert "damaged" in answer.json()["error"]


def test_a_large_product_without_overviews_works_and_warns(tmp_path):
    folder, _ = class_product(tmp_path / "plain", shape=(40, 1100), overviews=False)
    client = TestClient(create_app(open_library([folder])), base_url=BASE)
    about = client.get("/api/products").json()["products"][0]
    assert any("overviews" in text for text in about["warnings"])
    assert client.get("/api/products/plain/tiles/value/10/554/366.png").status_code == 200


def test_names_of_equal_folders_differ(tmp_path):
    one, two = number_product(tmp_path / "a" / "map"), number_product(tmp_path / "b" / "map")
    library = open_library([one, two])
    assert list(library.entries) == ["map", "map-2"]
    assert library.entry("map").description["group"] == library.entry("map-2").description["group"]


def test_a_replaced_product_is_shown_anew(tmp_path):
    import os

    folder, _ = class_product(tmp_path / "p")
    client = TestClient(create_app(open_library([folder])), base_url=BASE)
    before, place = tile_at(client, "p", "value", *at(3, 100), 16)
    layers, _ = class_layers(seed=1)
    layers[0] = (layers[0][0], np.full_like(layers[0][1], LEGEND.values[2]))
    write_product(folder, layers, legend=LEGEND, card="# model\n")
    os.utime(folder / "value.tif", ns=(1, 1))
    after, _ = tile_at(client, "p", "value", *at(3, 100), 16)
    assert tuple(before[place][:3]) == COLOUR[LEGEND.values[0]]
    assert tuple(after[place][:3]) == COLOUR[LEGEND.values[2]]


def test_bad_folders_get_a_sentence(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ProductError, match="no finished product"):
        open_library([empty])
    newer = number_product(tmp_path / "newer")
    item = json.loads((newer / "item.json").read_text())
    item["properties"]["ecumene:product_version"] = 99
    (newer / "item.json").write_text(json.dumps(item))
    with pytest.raises(ProductError, match="newer ecumene"):
        open_library([newer])
    lacking = number_product(tmp_path / "lacking")
    (lacking / "upper.tif").unlink()
    with pytest.raises(ProductError, match=r"lacks its file \./upper.tif"):
        open_library([lacking])
    strange = tmp_path / "strange"
    strange.mkdir()
    (strange / "collection.json").write_text('{"type": "Collection"}')
    with pytest.raises(ProductError, match="not a collection that ecumene made"):
        open_library([strange])


def test_a_file_that_is_damaged_or_gone_later_is_no_server_error(tmp_path):
    folder, _ = class_product(tmp_path / "p")
    client = TestClient(create_app(open_library([folder])), base_url=BASE, raise_server_exceptions=False)
    data = bytearray((folder / "value.tif").read_bytes())
    data[len(data) // 3 :] = bytes(len(data) - len(data) // 3)
    (folder / "value.tif").write_bytes(bytes(data))
    for address in ("tiles/value/14/8874/5979.png", "pixel?col=200&row=200", "tiles/value/16/35507/23606.png"):
        answer = client.get(f"/api/products/p/{address}")
        assert answer.status_code in {200, 404}
        if answer.status_code == 404:
            assert answer.json()["error"].endswith("map again.")
    (folder / "uncertainty.tif").unlink()
    answer = client.get("/api/products/p/tiles/uncertainty/14/8874/5979.png")
    assert (answer.status_code, answer.json()["error"]) == (
        404,
        "The product p lacks its file uncertainty.tif; map again.",
    )


def test_description_of_a_product_needs_no_server(places):
    from ecumene.viewer.layers import describe_product

    about = describe_product(open_product(places[0][0]), identifier="classes")
    json.dumps(about, allow_nan=False)
