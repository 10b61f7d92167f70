"""Heights that the page raises: which layers are heights, and tiles that hold them."""

import io

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from viewer_products import NAN, PIXELS, SHAPE, class_product, number_layers, number_product, write_product

pytest.importorskip("fastapi", reason="needs the extra viewer")
pytest.importorskip("rio_tiler", reason="needs the extra viewer")
pytest.importorskip("httpx", reason="needs httpx")

from starlette.testclient import TestClient

from ecumene.mapping.product import open_product
from ecumene.objectives.prediction import LayerSpec
from ecumene.viewer.layers import describe_product
from ecumene.viewer.places import lonlat_to_mercator
from ecumene.viewer.relief import terrarium
from ecumene.viewer.server.app import create_app
from ecumene.viewer.server.library import open_library
from ecumene.viewer.server.tiles import Source, TileLook, TileMaker

HALF = 20037508.342789244


def metres(packed):
    """Heights of a Terrarium picture, by its definition."""
    red, green, blue = (packed[..., k].astype(float) for k in range(3))
    return red * 256 + green + blue / 256 - 32768


@given(hnp.arrays(np.float64, (3, 4), elements=st.floats(0, 32767)))
def test_heights_come_back_within_half_a_step(heights):
    assert np.abs(metres(terrarium(heights)) - heights).max() <= 1 / 512


def test_where_there_is_no_height_is_the_lowest_level():
    assert metres(terrarium(np.array([[np.nan, 0.0, 40000.0]]))).tolist() == [[0.0, 0.0, 32768 - 1 / 256]]


def relief_of(folder):
    return describe_product(open_product(folder))["relief"]


def test_the_value_in_metres_that_is_called_height_is_chosen(tmp_path):
    about = relief_of(number_product(tmp_path / "heights", shape=(40, 50)))
    assert (about["layer"], about["band"], about["title"], about["lowest"]) == ("value", 1, "height", 0.0)
    layers = number_layers((40, 50))
    ground = LayerSpec("elevation", "float32", NAN, "m", role="extra", band_names=("",))
    layers.append((ground, np.full((1, 40, 50), 7.0)))
    layers[0] = (LayerSpec("value", "float32", NAN, "mm", role="value", band_names=("subsidence",)), layers[0][1])
    assert relief_of(write_product(tmp_path / "ground", layers))["layer"] == "elevation"


def test_what_is_no_height_is_not_raised(tmp_path):
    assert relief_of(class_product(tmp_path / "classes", shape=(40, 50))[0]) is None
    assert relief_of(number_product(tmp_path / "radar", shape=(40, 50), crs=PIXELS)) is None  # pixels have no size
    distance = LayerSpec("value", "float32", NAN, "m", role="value", band_names=("distance to water",))
    layers = number_layers((40, 50))[1:]  # an error bar in metres, ends of intervals
    assert relief_of(write_product(tmp_path / "far", [(distance, np.ones((1, 40, 50))), *layers])) is None


def tile_at(folder, client, row, col, zoom=14):
    """Return the metres that a relief tile holds at a pixel."""
    from pyproj import Transformer

    x, y = open_product(folder).geobox.affine * (col + 0.5, row + 0.5)
    mx, my = lonlat_to_mercator(*Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True).transform(x, y))
    side = 2 * HALF / 2**zoom
    place = int((mx + HALF) // side), int((HALF - my) // side)
    answer = client.get(f"/api/products/heights/relief/{zoom}/{place[0]}/{place[1]}.png")
    assert answer.status_code == 200
    picture = np.asarray(Image.open(io.BytesIO(answer.content)))
    return metres(picture)[int((HALF - my) / side % 1 * 256), int((mx + HALF) / side % 1 * 256)]


def test_a_tile_holds_the_metres_of_the_file_above_its_lowest(tmp_path):
    layers = number_layers()
    rise = layers[0][1].copy() + 300.0
    rise[0, :40, :40] = np.nan
    layers[0] = (layers[0][0], rise)
    folder = write_product(tmp_path / "heights", layers)
    client = TestClient(create_app(open_library([folder])), base_url="http://127.0.0.1")
    lowest = client.get("/api/products").json()["products"][0]["relief"]["lowest"]
    assert lowest == pytest.approx(300.0, abs=0.01)
    step = 50 / (SHAPE[1] - 1)
    for row, col in ((150, 30), (100, 130), (200, 220)):
        assert tile_at(folder, client, row, col) == pytest.approx(rise[0, row, col] - lowest, abs=2 * step)
    assert tile_at(folder, client, 10, 10) == 0.0  # without data
    assert metres(_picture(client, "/api/products/heights/relief/3/0/0.png")).max() == 0.0  # elsewhere


def test_one_file_has_other_levels_and_colours_in_a_collection(tmp_path):
    """A collection shares its files with products that are shown alone, and has limits of its own."""
    folder = write_product(tmp_path / "heights", number_layers())
    product = open_product(folder)
    about = describe_product(product)
    layers = {layer["name"]: layer for layer in about["layers"]}
    name, relief = about["relief"]["layer"], about["relief"]
    wide = [band | {"limits": [-500.0, 500.0]} for band in layers[name]["bands"]]
    others = layers | {name: layers[name] | {"bands": wide}}
    west, south, east, north = about["bounds"]
    z = 8
    x = int(((west + east) / 2 + 180) / 360 * 2**z)
    _, y = lonlat_to_mercator((west + east) / 2, (south + north) / 2)
    y = int((1 - y / HALF) / 2 * 2**z)
    maker = TileMaker()

    def tiles(described, lowest):
        source = [Source(product, described)]
        return maker.tile(source, name, z, x, y, TileLook()), maker.relief(source, relief | {"lowest": lowest}, z, x, y)

    own, shared = tiles(layers, relief["lowest"]), tiles(others, relief["lowest"] - 100.0)
    assert own[0] != shared[0]
    assert own[1] != shared[1]
    assert tiles(layers, relief["lowest"]) == own


def _picture(client, path):
    return np.asarray(Image.open(io.BytesIO(client.get(path).content)))


def test_products_without_heights_and_wrong_places_get_a_sentence(tmp_path):
    folder, _ = class_product(tmp_path / "classes", shape=(40, 50))
    number_product(tmp_path / "heights", shape=(40, 50), transform=Affine(10, 0, 500_000, 0, -10, 5_000_000))
    client = TestClient(create_app(open_library([folder, tmp_path / "heights"])), base_url="http://127.0.0.1")
    answer = client.get("/api/products/classes/relief/3/0/0.png")
    assert (answer.status_code, answer.json()["error"]) == (404, "The product classes has no layer of heights.")
    assert client.get("/api/products/heights/relief/3/8/0.png").status_code == 422
    assert client.get("/api/products/none/relief/3/0/0.png").status_code == 404
