"""Collections as one map, vector layers, and grids in other coordinate systems."""

from __future__ import annotations

import io
import json

import geopandas
import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from viewer_collections import make_collection
from viewer_products import LEGEND, PIXELS, class_layers, number_layers, write_product

pytest.importorskip("fastapi", reason="needs the extra viewer")
pytest.importorskip("rio_tiler", reason="needs the extra viewer")
pytest.importorskip("duckdb", reason="needs the extra viewer")
pytest.importorskip("httpx", reason="needs httpx")

from starlette.testclient import TestClient

from ecumene.core.errors import ProductError
from ecumene.core.files import multihash_of
from ecumene.mapping.product import open_product
from ecumene.viewer.layers import describe_product
from ecumene.viewer.pixel import read_pixel, with_bar
from ecumene.viewer.places import lonlat_to_mercator, mercator_to_lonlat, tile_bounds
from ecumene.viewer.server.app import create_app
from ecumene.viewer.server.collection import MOST_SOURCES
from ecumene.viewer.server.library import open_library
from ecumene.viewer.vectors import read_features

BASE = "http://127.0.0.1"


def add_parquet(folder, frame, name="points", **columns):
    """Add a GeoParquet file to a product."""
    path = folder / f"{name}.parquet"
    frame.to_parquet(path, index=False, **columns)
    item = json.loads((folder / "item.json").read_text())
    item["assets"][name] = {
        "href": f"./{name}.parquet", "type": "application/vnd.apache.parquet", "roles": ["data"], "title": name,
        "file:checksum": multihash_of(path), "file:size": path.stat().st_size,
    }  # fmt: skip
    (folder / "item.json").write_text(json.dumps(item))


def colour_at(client, product, x, y, zoom=15):
    """Return the colour of the value at a place in UTM."""
    from pyproj import Transformer

    lon, lat = Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True).transform(x, y)
    mx, my = lonlat_to_mercator(lon, lat)
    half = 20037508.342789244
    side = 2 * half / 2**zoom
    place = int((mx + half) // side), int((half - my) // side)
    answer = client.get(f"/api/products/{product}/tiles/value/{zoom}/{place[0]}/{place[1]}.png")
    assert answer.status_code == 200, answer.text
    picture = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGBA"))
    there = picture[int((half - my) / side % 1 * 256), int((mx + half) / side % 1 * 256)]
    return "#" + bytes(there[:3]).hex(), (lon, lat)


@pytest.mark.parametrize("index", [True, False])
def test_a_collection_is_one_map(tmp_path, index):
    folder = make_collection(tmp_path / "land", 3, 2, index=index)
    client = TestClient(create_app(open_library([folder])), base_url=BASE)
    about = client.get("/api/products").json()["products"][0]
    assert (about["kind"], about["tiles_number"], about["zoom"]["min"]) == ("collection", 6, 0)
    for k in range(6):
        x, y = 500_000 + 640 * (k % 3) + 320, 5_000_000 - 640 * (k // 3) - 320
        colour, (lon, lat) = colour_at(client, "land", x, y)
        said = client.get("/api/products/land/pixel", params={"lon": lon, "lat": lat}).json()
        assert colour == LEGEND.classes[k % 3].colour
        assert said["value"]["class"] == LEGEND.names[k % 3]
    outlines = client.get("/api/products/land/vectors/footprints").json()
    assert (outlines["total"], outlines["returned"], outlines["truncated"]) == (6, 6, False)
    assert client.get("/api/products/land/pixel?col=1&row=1").status_code == 404
    assert not client.get("/api/products/land/pixel?lon=0&lat=0").json()["inside"]


def test_days_of_a_collection_are_entries_of_one_group(tmp_path):
    folder = make_collection(tmp_path / "days", 2, 1, days=("2024-06-01", "2024-06-11"))
    client = TestClient(create_app(open_library([folder])), base_url=BASE)
    first, second = client.get("/api/products").json()["products"]
    assert (first["id"], second["id"]) == ("days-2024-06-01", "days-2024-06-11")
    assert first["group"] == second["group"]
    colours = [colour_at(client, name, 500_320, 4_999_680)[0] for name in (first["id"], second["id"])]
    assert colours == [LEGEND.classes[0].colour, LEGEND.classes[1].colour]


def test_far_out_a_large_collection_shows_outlines_only(tmp_path):
    folder = make_collection(tmp_path / "wide", 6, 5)
    client = TestClient(create_app(open_library([folder])), base_url=BASE)
    about = client.get("/api/products").json()["products"][0]
    assert about["tiles_number"] > MOST_SOURCES
    assert 0 < about["zoom"]["min"] <= about["zoom"]["max"]
    assert any("outlines" in text for text in about["warnings"])
    far = client.get("/api/products/wide/tiles/value/0/0/0.png")
    assert np.asarray(Image.open(io.BytesIO(far.content)).convert("RGBA"))[..., 3].max() == 0
    assert colour_at(client, "wide", 500_320, 4_999_680, zoom=about["zoom"]["min"])[0] == LEGEND.classes[0].colour


def test_a_hostile_index_is_refused(tmp_path):
    folder = make_collection(tmp_path / "land", 1, 1)
    stac = pytest.importorskip("stac_geoparquet.arrow")
    item = json.loads(next(folder.glob("tiles/*/item.json")).read_text())
    for href in ("../../secret/item.json", "http://host/item.json", "/etc/item.json", "./tiles/../x/item.json"):
        rows = [item | {"links": [{"rel": "self", "href": href, "type": "application/geo+json"}]}]
        stac.to_parquet(stac.parse_stac_items_to_arrow(rows), folder / "items.parquet")
        with pytest.raises(ProductError, match="no product of it"):
            open_library([folder])
    (folder / "items.parquet").write_bytes(b"no table")
    with pytest.raises(ProductError, match="cannot be read"):
        open_library([folder])


def test_a_tile_that_leads_out_of_its_collection_is_refused(tmp_path):
    folder = make_collection(tmp_path / "land", 2, 1)
    away = tmp_path / "away"
    (folder / "tiles" / "x01y00").rename(away)
    (folder / "tiles" / "x01y00").symlink_to(away)
    client = TestClient(create_app(open_library([folder])), base_url=BASE)
    answer = client.get("/api/products/land/tiles/value/0/0/0.png")
    assert answer.status_code == 404
    assert "leads out" in answer.json()["error"]


@pytest.fixture(scope="module")
def with_vectors(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vectors") / "p"
    layers, _ = class_layers((60, 60))
    write_product(folder, layers, legend=LEGEND)
    generator = np.random.default_rng(0)
    x, y = 500_000 + generator.uniform(0, 600, 500), 5_000_000 - generator.uniform(0, 600, 500)
    squares = geopandas.GeoDataFrame(
        {"class": [LEGEND.names[k % 3] for k in range(500)], "height_m": np.arange(500.0),
         "height_standard_deviation_m": 2.0, "good": True},
        geometry=shapely.box(x, y, x + 5, y + 5), crs="EPSG:32633",
    )  # fmt: skip
    squares.loc[3, "height_m"] = np.nan
    add_parquet(folder, squares, "buildings", write_covering_bbox=True, schema_version="1.1.0", row_group_size=100)
    add_parquet(folder, squares.set_geometry(squares.centroid)[["good", "geometry"]], "spots")
    return folder, squares


def test_vectors_are_described_from_the_footer(with_vectors):
    product = open_product(with_vectors[0])
    houses, spots = describe_product(product)["vectors"]
    assert (houses["geometry"], houses["number"], houses["colour_by"]) == ("polygon", 500, "class")
    assert houses["height"] == {"column": "height_m", "uncertainty": "height_standard_deviation_m"}
    kinds = {column["name"]: column["kind"] for column in houses["columns"]}
    assert kinds == {
        "class": "text", "height_m": "number", "height_standard_deviation_m": "number", "good": "flag"
    }  # fmt: skip
    assert (spots["geometry"], spots["height"], spots["colour_by"]) == ("point", None, None)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_features_of_a_box_are_those_that_touch_it(with_vectors, ends):
    folder, squares = with_vectors
    west, south, east, north = squares.to_crs("EPSG:4326").total_bounds
    x, y = sorted(west + (east - west) * e for e in ends[:2]), sorted(south + (north - south) * e for e in ends[2:])
    box = (x[0], y[0], x[1], y[1])
    found = read_features(open_product(folder), "buildings", box, 10_000)
    wanted = squares.to_crs("EPSG:4326").geometry.buffer(0).intersects(shapely.box(*box)).sum()
    assert found["returned"] == wanted
    assert found["total"] == 500
    assert not found["truncated"]


def test_features_have_a_limit_colours_and_no_nan(with_vectors):
    found = read_features(open_product(with_vectors[0]), "buildings", None, 10)
    assert (found["returned"], found["truncated"]) == (10, True)
    assert [feature["properties"]["colour"] for feature in found["features"][:3]] == [
        entry.colour for entry in LEGEND.classes
    ]
    assert found["features"][3]["properties"]["height_m"] is None
    json.dumps(found, allow_nan=False)
    lon, lat = found["features"][0]["geometry"]["coordinates"][0][0]
    assert 14.9 < lon < 15.1
    assert 45 < lat < 45.2
    with pytest.raises(ProductError, match="no vector layer"):
        read_features(open_product(with_vectors[0]), "../x")


def test_points_of_a_product_without_a_place_lie_on_its_pixels(tmp_path):
    folder = write_product(tmp_path / "radar", number_layers((40, 30)), crs=PIXELS)
    frame = geopandas.GeoDataFrame({"height_m": [1.0, 9.0]}, geometry=shapely.points([[0.5, 0.5], [29.5, 39.5]]))
    add_parquet(folder, frame)
    product = open_product(folder)
    about = describe_product(product)
    for feature, pixel in zip(read_features(product, "points")["features"], ((0, 0), (29, 39)), strict=True):
        lon, lat = feature["geometry"]["coordinates"]
        said = read_pixel(product, about, lon=lon, lat=lat)
        assert (said["col"], said["row"]) == pixel
    box = tuple(about["bounds"])
    assert read_features(product, "points", box)["returned"] == 2


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:4326", Affine(0.001, 0, 14.0, 0, -0.001, 45.0)),
        ("EPSG:3035", Affine(20, 0, 4_321_000, 0, -20, 3_210_000)),
        ("EPSG:32633", Affine(8, 6, 500_000, 6, -8, 5_000_000)),
        ("EPSG:4326", Affine(0.01, 0, -179.99, 0, -0.01, 80.0)),
    ],
)
def test_other_grids(tmp_path, crs, transform):
    folder = write_product(tmp_path / "p", number_layers((50, 60)), crs=crs, transform=transform)
    product = open_product(folder)
    about = describe_product(product)
    client = TestClient(create_app(open_library([folder])), base_url=BASE)
    for col, row in ((0, 0), (59, 49), (31, 17)):
        there = read_pixel(product, about, col=col, row=row)
        again = read_pixel(product, about, lon=there["lon"], lat=there["lat"])
        assert (again["col"], again["row"]) == (col, row)
        assert again["value"]["bands"][0]["value"] == pytest.approx(50 * col / 59, abs=1e-4)
        west, south, east, north = about["bounds"]
        assert west <= there["lon"] <= east
        assert south <= there["lat"] <= north
    assert client.get("/api/products/p/tiles/value/3/4/2.png").status_code == 200


@given(st.integers(0, 24), st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_places_of_tiles_hold_together(z, across, down):
    x, y = int(across * 2**z), int(down * 2**z)
    left, bottom, right, top = tile_bounds(z, x, y)
    for mx, my in ((left, bottom), (right, top)):
        assert np.allclose(lonlat_to_mercator(*mercator_to_lonlat(mx, my)), (mx, my), atol=1e-5)
    assert right - left == pytest.approx(top - bottom)


def test_error_bars_round_what_they_belong_to():
    assert with_bar(18.9413, 7.4322, "m") == "18.9 ± 7.4 m"
    assert with_bar(-3.14159, 0.0123, "mm/yr") == "-3.142 ± 0.012 mm/yr"
    assert with_bar(1234.5, 87.0, "m") == "1234 ± 87 m"
    assert with_bar(100.0, 12.34, "days since 2020-01-01") == "2020-04-10 ± 12 days"
