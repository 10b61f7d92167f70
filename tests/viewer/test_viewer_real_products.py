"""Products of real data open like any other: a land-cover map, and motion of the ground from interferograms."""

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image

pytest.importorskip("fastapi", reason="needs the extra viewer")
pytest.importorskip("rio_tiler", reason="needs the extra viewer")
pytest.importorskip("httpx", reason="needs httpx")

from pyproj import Transformer
from starlette.testclient import TestClient

from ecumene import map_scenes, train_model
from ecumene.viewer.places import lonlat_to_mercator
from ecumene.viewer.server.app import create_app
from ecumene.viewer.server.library import open_library
from ecumene.workflows.insar import insar
from ecumene.workflows.view_export import export_products
from ecumene.workflows.view_why import open_why

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif("ECUMENE_DATA" not in os.environ, reason="set ECUMENE_DATA to the folder of the data sets"),
]
LEVEL = {"sensor": "sentinel-2", "level": "L1C", "scale": 1e-4, "offset": 0.0}


def data(name):
    return Path(os.environ["ECUMENE_DATA"]) / name


def client_of(folder, **more):
    library = open_library([folder])
    return TestClient(create_app(library, **more), base_url="http://127.0.0.1"), library


def degrees(product, row, col):
    x, y = product.geobox.affine * (col + 0.5, row + 0.5)
    return Transformer.from_crs(product.geobox.crs.proj, "EPSG:4326", always_xy=True).transform(x, y)


def colour_of(client, name, layer, lon, lat, zoom):
    """Return the colour of a tile at a place."""
    x, y = lonlat_to_mercator(lon, lat)
    half = 20037508.342789244
    side = 2 * half / 2**zoom
    answer = client.get(
        f"/api/products/{name}/tiles/{layer}/{zoom}/{int((x + half) // side)}/{int((half - y) // side)}.png"
    )
    picture = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGBA"))
    return picture[int((half - y) / side % 1 * 256), int((x + half) / side % 1 * 256)]


def test_land_cover_of_slovenia_is_shown_read_and_explained(tmp_path):
    scene = data("s2_eopatch_slovenia") / "S2_L1C_2015-08-30.tif"
    labels = data("s2_eopatch_slovenia") / "lulc_vector.geojson"
    train_model([scene], labels, tmp_path / "model", label_field="LULC_NAME", system="random-forest",
                split_by="feature", mask_clouds=False, seed=1, **LEVEL)  # fmt: skip
    product = map_scenes(tmp_path / "model", [scene], tmp_path / "map", mask_clouds=False, **LEVEL)
    client, library = client_of(tmp_path / "map")
    about = client.get("/api/products").json()["products"][0]
    names = {entry["value"]: entry for entry in about["legend"]["classes"]}
    assert "forest" in " ".join(entry["name"] for entry in names.values()).lower()
    with rasterio.open(product.path("value")) as dataset:
        value = dataset.read(1)
    for row, col in ((50, 50), (20, 70), (80, 15)):
        lon, lat = degrees(product, row, col)
        said = client.get("/api/products/map/pixel", params={"lon": lon, "lat": lat}).json()
        assert (said["row"], said["col"]) == (row, col)
        assert said["value"]["class"] == names[value[row, col]]["name"]
        seen = colour_of(client, "map", "value", lon, lat, about["zoom"]["max"] + 1)
        assert "#" + bytes(seen[:3]).hex() == names[value[row, col]]["colour"]
    assert about["relief"] is None
    assert export_products([tmp_path / "map"], tmp_path / "site").is_dir()
    extension = open_why(library, [tmp_path / "model"], [str(scene)], LEVEL)
    why = TestClient(create_app(library, extensions=[extension]), base_url="http://127.0.0.1")
    lon, lat = degrees(product, 50, 50)
    found = why.get("/api/products/map/why", params={"lon": lon, "lat": lat}).json()
    assert names[value[50, 50]]["name"] in found["text"]
    assert {band["name"].split("/")[0] for band in found["sections"][0]["bands"]} == {"sentinel-2"}


def test_motion_of_mexico_city_is_shown_and_the_error_of_its_dem_is_a_height(tmp_path):
    folder = data("insar_s1_mexico_city_2018")
    product = insar([folder / "unwrapped_phase_rad.tif"], folder / "pairs.csv", tmp_path / "motion",
                    coherence=[folder / "coherence.tif"], looks=8, wavelength_m=0.0554658, incidence_deg=39.7,
                    orbit_height_m=700_000.0, nodata=0.0)  # fmt: skip
    client, _ = client_of(tmp_path / "motion")
    about = client.get("/api/products").json()["products"][0]
    value = next(layer for layer in about["layers"] if layer["name"] == "value")
    assert (value["unit"], value["uncertainty"]["layer"]) == ("mm/yr", "uncertainty")
    with rasterio.open(product.path("value")) as dataset:
        velocity = dataset.read(1)
    row, col = np.unravel_index(np.nanargmin(velocity), velocity.shape)
    lon, lat = degrees(product, row, col)
    said = client.get("/api/products/motion/pixel", params={"lon": lon, "lat": lat}).json()
    assert said["value"]["bands"][0]["value"] == pytest.approx(float(velocity[row, col]), rel=1e-4)
    assert said["value"]["bands"][0]["uncertainty"] > 0
    assert colour_of(client, "motion", "value", lon, lat, about["zoom"]["max"])[3] == 255
    assert about["relief"]["layer"] == "dem_error"
    middle = tuple(int(v) for v in (2 ** about["zoom"]["max"] * ((lon + 180) / 360), 0))
    assert (
        client.get(f"/api/products/motion/relief/{about['zoom']['max']}/{middle[0]}/{middle[1]}.png").status_code == 200
    )
    assert json.dumps(about)
