import functools
import http.server
import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pystac
import pytest
from scene_files import grid, write
from support import RangeHandler

from ecumene.core.errors import ConfigurationError, ContractError, SceneError
from ecumene.core.window import Window
from ecumene.scenes.reading import read_bands
from ecumene.scenes.stac import scenes_from_stac
from ecumene.scenes.stack import align_scenes

GRID = grid(40, 50)
BBOX = [16.25, 45.10, 16.30, 45.16]
ROLES = ["data", "reflectance"]


def make_item(folder, name, when, *, properties=None, raster=None, version="1.0", collection="sentinel-2-l2a", seed=0):
    """An Item with B02, B04 (10 m), B11 (20 m), SCL and a thumbnail beside it."""
    folder = Path(folder) / name
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for band, shape, pixel in (("B02", (40, 50), 10.0), ("B04", (40, 50), 10.0), ("B11", (20, 25), 20.0)):
        values = rng.integers(1100, 9000, (1, *shape)).astype(np.uint16)
        values[0, :2] = 0
        write(folder / f"{band}.tif", values, grid(*shape, pixel), 0)
    codes = np.full((1, 20, 25), 4, np.uint8)
    codes[0, 10:12, 10:12] = 9
    write(folder / "SCL.tif", codes, grid(20, 25, 20.0), 0)
    (folder / "thumb.png").write_bytes(b"no picture")
    item = pystac.Item(
        id=name,
        geometry={
            "type": "Polygon",
            "coordinates": [[[16.25, 45.1], [16.3, 45.1], [16.3, 45.16], [16.25, 45.16], [16.25, 45.1]]],
        },
        bbox=BBOX,
        datetime=when,
        properties={"platform": "sentinel-2b", "constellation": "sentinel-2", "proj:epsg": 32633} | (properties or {}),
        collection=collection,
    )
    keys = {"B02": "blue", "B04": "red", "B11": "swir16"}
    for band, key in keys.items():
        shape, pixel = ((20, 25), 20.0) if band == "B11" else ((40, 50), 10.0)
        affine = grid(*shape, pixel).affine
        fields = {"proj:shape": list(shape), "proj:transform": list(affine)[:6], "gsd": pixel}
        if version == "1.0":
            fields["eo:bands"] = [{"name": key, "common_name": key}]
            fields["raster:bands"] = [{"nodata": 0, "data_type": "uint16"} | (raster or {})]
        else:
            fields["bands"] = [
                {"name": band, "eo:common_name": key, "nodata": 0, "data_type": "uint16"}
                | {f"raster:{k}": v for k, v in (raster or {}).items()}
            ]
        item.add_asset(
            key, pystac.Asset(f"./{band}.tif", media_type=pystac.MediaType.COG, roles=ROLES, extra_fields=fields)
        )
    item.add_asset(
        "scl",
        pystac.Asset(
            "./SCL.tif",
            media_type=pystac.MediaType.COG,
            roles=["data"],
            extra_fields={"proj:shape": [20, 25], "proj:transform": list(grid(20, 25, 20.0).affine)[:6]},
        ),
    )
    item.add_asset("thumbnail", pystac.Asset("./thumb.png", media_type="image/png", roles=["thumbnail"]))
    value = item.to_dict(include_self_link=False, transform_hrefs=False)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(value))
    return path


def make_catalogue(folder, dates=("2022-06-01", "2020-06-01")):
    """A static catalogue > collection > two Items of different processing baselines."""
    links = []
    for seed, day in enumerate(dates):
        baseline = "05.00" if day >= "2022-01-25" else "02.14"
        when = datetime.fromisoformat(f"{day}T10:05:59.123456").replace(tzinfo=UTC)
        make_item(folder, f"item{seed}", when, properties={"s2:processing_baseline": baseline}, seed=seed)
        links.append({"rel": "item", "href": f"./item{seed}/item{seed}.json"})
    collection = {
        "type": "Collection",
        "stac_version": "1.0.0",
        "id": "sentinel-2-l2a",
        "description": "x",
        "license": "proprietary",
        "extent": {"spatial": {"bbox": [BBOX]}, "temporal": {"interval": [[None, None]]}},
        "links": links,
    }
    (folder / "collection.json").write_text(json.dumps(collection))
    catalogue = {
        "type": "Catalog",
        "stac_version": "1.0.0",
        "id": "root",
        "description": "x",
        "links": [{"rel": "child", "href": "./collection.json"}],
    }
    (folder / "catalog.json").write_text(json.dumps(catalogue))
    return folder / "catalog.json"


WHEN = datetime(2022, 6, 1, 10, 5, 59, tzinfo=UTC)


def only(path, **kw):
    (source,) = scenes_from_stac(path, **kw)
    return source


def test_a_static_catalogue_becomes_a_series(tmp_path):
    sources = scenes_from_stac(make_catalogue(tmp_path))
    assert [source.id for source in sources] == ["item1", "item0"]  # by time
    assert sources[0].time == np.datetime64("2020-06-01T10:05:59.123456")
    assert {source.sensor for source in sources} == {"sentinel-2"}
    assert {source.level for source in sources} == {"L2A"}
    assert sources[0].band_names == ("B02", "B04", "B11")
    assert sources[0].geobox == GRID
    assert [band.offset for band in sources[0].bands] == [0.0] * 3  # baseline 02.14
    assert [band.offset for band in sources[1].bands] == pytest.approx([-0.1] * 3)  # baseline 05.00
    block = align_scenes(sources).read(Window(0, 0, 40, 50))
    expected = np.zeros((40, 50), bool)
    expected[:2] = True
    expected[20:24, 20:24] = True  # SCL class 9, at 20 m
    np.testing.assert_array_equal(np.isnan(block.image[0, 0]), expected)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_values_equal_those_of_odc_stac(tmp_path, version):
    odc_stac = pytest.importorskip("odc.stac")
    path = make_item(tmp_path, "one", WHEN, raster={"scale": 1e-4, "offset": -0.1}, version=version)
    source = only(path)
    ours = read_bands(source, ["B02", "B11"], source.geobox)
    item = pystac.Item.from_file(str(path))
    theirs = odc_stac.load([item], bands=["blue", "swir16"], geobox=GRID, resampling="nearest")
    blue = theirs["blue"].isel(time=0).values
    np.testing.assert_allclose(ours[0], np.where(blue == 0, np.nan, blue * 1e-4 - 0.1), atol=1e-6)
    bilinear = odc_stac.load([item], bands=["swir16"], geobox=GRID, resampling="bilinear")["swir16"].isel(time=0).values
    inner = (slice(8, -4), slice(4, -4))  # away from gaps and borders, where the treatments differ
    np.testing.assert_allclose(ours[1][inner], bilinear[inner] * 1e-4 - 0.1, atol=1.1e-4)  # theirs rounds to integers


def test_offsets_are_applied_once(tmp_path):
    shifted = {"scale": 1e-4, "offset": -0.1}
    cases = {
        "said": ({"s2:processing_baseline": "05.00"}, shifted, -0.1),
        "done": ({"s2:processing_baseline": "05.00", "earthsearch:boa_offset_applied": True}, shifted, 0.0),
        "todo": ({"s2:processing_baseline": "05.00", "earthsearch:boa_offset_applied": False}, shifted, -0.1),
        "old": ({"s2:processing_baseline": "03.01"}, {"scale": 1e-4}, 0.0),
        "new": ({"s2:processing_baseline": "04.00"}, {}, -0.1),
        "zero": ({"s2:processing_baseline": "05.11"}, {"scale": 1e-4, "offset": 0}, 0.0),
        "version": ({"processing:version": "05.10"}, {}, -0.1),
    }
    for name, (properties, raster, offset) in cases.items():
        source = only(make_item(tmp_path, name, WHEN, properties=properties, raster=raster))
        assert source.bands[0].offset == pytest.approx(offset), name
        assert source.bands[0].scale == pytest.approx(1e-4)
    with pytest.raises(ConfigurationError, match="neither raster:offset nor s2:processing_baseline"):
        scenes_from_stac(make_item(tmp_path, "silent", WHEN))


def test_bands_are_chosen_and_missing_ones_named(tmp_path):
    path = make_item(tmp_path, "one", WHEN, properties={"s2:processing_baseline": "05.00"})
    assert only(path, bands=["swir16", "B02"]).band_names == ("B11", "B02")
    with pytest.raises(ContractError, match=r"no asset for the band B08; its assets have B02, B04, B11"):
        scenes_from_stac(path, bands=["B08"])


def test_the_finest_asset_of_a_band_wins_and_pictures_are_left_out(tmp_path):
    path = make_item(tmp_path, "one", WHEN, properties={"s2:processing_baseline": "05.00"})
    value = json.loads(path.read_text())
    assets = value["assets"]
    coarse = dict(assets["blue"]) | {"href": "./B11.tif", "gsd": 20}
    value["assets"] = {"B02_20m": coarse, "visual": assets["blue"] | {"href": "./thumb.png"}} | assets
    path.write_text(json.dumps(value))
    source = only(path, bands=["B02"])
    assert source.bands[0].href.endswith("B02.tif")


def test_wavelength_identifies_a_band_with_a_foreign_name(tmp_path):
    path = make_item(tmp_path, "one", WHEN, properties={"s2:processing_baseline": "05.00"})
    value = json.loads(path.read_text())
    asset = value["assets"].pop("red")
    asset["eo:bands"] = [{"name": "rededge1", "common_name": "rededge", "center_wavelength": 0.704}]
    value["assets"]["rededge1"] = asset
    path.write_text(json.dumps(value))
    assert "B05" in only(path).band_names


def test_filters(tmp_path):
    root = make_catalogue(tmp_path)
    assert only(root, datetime="2020-06").id == "item1"
    assert only(root, datetime="2022-06-01").id == "item0"
    assert only(root, datetime="2021-01-01/..").id == "item0"
    assert only(root, datetime="../2021-01-01").id == "item1"
    assert len(scenes_from_stac(root, bbox=(16.2, 45.0, 16.26, 45.12), collection="sentinel-2-l2a")) == 2
    assert len(scenes_from_stac(root, max_items=1)) == 1
    for nothing in ({"bbox": (10, 40, 11, 41)}, {"datetime": "2019"}, {"collection": "other"}):
        with pytest.raises(SceneError, match="No Item"):
            scenes_from_stac(root, **nothing)
    with pytest.raises(ConfigurationError, match="west, south, east, north"):
        scenes_from_stac(root, bbox=(1, 2, 3))


def test_hrefs_outside_of_the_catalogue_are_refused(tmp_path):
    inside = tmp_path / "catalogue"
    inside.mkdir()
    properties = {"s2:processing_baseline": "05.00"}
    secret = make_item(tmp_path, "secret", WHEN, properties=properties).parent / "B02.tif"
    path = make_item(inside, "one", WHEN, properties=properties)
    value = json.loads(path.read_text())
    for href in (
        str(secret),
        "../../secret/B02.tif",
        "http://127.0.0.1:9/B02.tif",
        f"/vsizip/{secret}",
        f"file://{secret}",
    ):
        value["assets"]["blue"]["href"] = href
        path.write_text(json.dumps(value))
        with pytest.raises(SceneError, match="outside of the allowed roots"):
            scenes_from_stac(path)
    value["assets"]["blue"]["href"] = str(secret)
    path.write_text(json.dumps(value))
    assert only(path, allowed_roots=[secret.parent]).bands[0].href == str(secret)
    (inside / "catalog.json").write_text(
        json.dumps({"type": "Catalog", "id": "c", "links": [{"rel": "item", "href": "../secret/secret.json"}]})
    )
    with pytest.raises(SceneError, match="outside of the allowed roots"):
        scenes_from_stac(inside / "catalog.json")


def test_bad_items_are_sentences(tmp_path):
    properties = {"s2:processing_baseline": "05.00"}
    path = make_item(tmp_path, "one", WHEN, properties=properties)
    original = path.read_text()
    (path.parent / "B04.tif").unlink()
    with pytest.raises(SceneError, match=r"B04\.tif"):
        scenes_from_stac(path)
    value = json.loads(original)
    del value["assets"]["blue"]["href"]
    path.write_text(json.dumps(value))
    with pytest.raises(SceneError, match="has no href"):
        scenes_from_stac(path)
    value = json.loads(original)
    value["properties"] = {"datetime": "2022-06-01T00:00:00Z"}
    path.write_text(json.dumps(value))
    with pytest.raises(ConfigurationError, match="does not name a known sensor"):
        scenes_from_stac(path)
    value = json.loads(original) | {"collection": "mystery"}
    path.write_text(json.dumps(value))
    with pytest.raises(ConfigurationError, match="does not say a product level"):
        scenes_from_stac(path)
    path.write_text('{"type": "Feat')
    with pytest.raises(SceneError, match="cannot be read as STAC JSON"):
        scenes_from_stac(path)
    path.write_text('{"type": "Polygon"}')
    with pytest.raises(SceneError, match="no STAC Item"):
        scenes_from_stac(path)
    with pytest.raises(SceneError, match="cannot be read as STAC JSON"):
        scenes_from_stac(tmp_path / "absent.json")


def test_an_item_in_memory_needs_a_place_for_relative_hrefs(tmp_path):
    path = make_item(tmp_path, "one", WHEN, properties={"s2:processing_baseline": "05.00"})
    item = pystac.Item.from_file(str(path))
    assert only(item).band_names == ("B02", "B04", "B11")
    with pytest.raises(SceneError, match="outside of the allowed roots"):
        scenes_from_stac(json.loads(path.read_text()))


class Handler(RangeHandler):
    """A static server with byte ranges, a redirect to elsewhere and a small search API."""

    def do_GET(self):
        url = urlsplit(self.path)
        if url.path == "/elsewhere.json":
            self.send_response(302)
            self.send_header("Location", "http://localhost:1/secret.json")
            self.end_headers()
        elif url.path == "/api/":
            base = f"http://{self.headers['Host']}/api/"
            self.send_json(
                {
                    "type": "Catalog",
                    "stac_version": "1.0.0",
                    "id": "api",
                    "description": "x",
                    "conformsTo": [
                        "https://api.stacspec.org/v1.0.0/core",
                        "https://api.stacspec.org/v1.0.0/item-search",
                    ],
                    "links": [
                        {"rel": "root", "href": base},
                        {"rel": "search", "href": base + "search", "type": "application/geo+json", "method": "GET"},
                    ],
                }
            )
        elif url.path == "/api/search":
            query = parse_qs(url.query)
            self.server.queries.append(query)
            base = f"http://{self.headers['Host']}"
            features = []
            for path in sorted(Path(self.directory).glob("item*/item*.json")):
                value = json.loads(path.read_text())
                if value["collection"] in query.get("collections", [value["collection"]])[0].split(","):
                    value["links"] = [{"rel": "self", "href": f"{base}/{path.parent.name}/{path.name}"}]
                    features.append(value)
            self.send_json({"type": "FeatureCollection", "features": features, "links": []})
        else:
            self.send_part()

    do_HEAD = do_GET


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    make_catalogue(tmp_path)
    handler = functools.partial(Handler, directory=str(tmp_path))
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    running.queries = []
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield running, f"http://127.0.0.1:{running.server_address[1]}"
    running.shutdown()
    running.server_close()


def test_a_catalogue_on_a_web_server_reads_the_same_pixels(server, tmp_path):
    _, address = server
    remote = scenes_from_stac(f"{address}/catalog.json")
    local = scenes_from_stac(tmp_path / "catalog.json")
    assert [source.id for source in remote] == [source.id for source in local]
    assert remote[0].bands[0].href.startswith(address)
    here, there = (align_scenes(sources).read(Window(0, 0, 40, 50)) for sources in (local, remote))
    np.testing.assert_array_equal(here.image, there.image)


def test_an_api_is_searched(server):
    running, address = server
    sources = scenes_from_stac(
        f"{address}/api/", collection="sentinel-2-l2a", bbox=(16.0, 45.0, 17.0, 46.0), datetime="2022-01-01/2022-12-31"
    )
    assert [source.id for source in sources] == ["item0"]
    (query,) = running.queries
    assert query["collections"] == ["sentinel-2-l2a"]
    assert query["bbox"] == ["16.0,45.0,17.0,46.0"]
    assert query["datetime"][0].startswith("2022-01-01")
    image = read_bands(sources[0], ["B02"], GRID)
    assert np.isfinite(image[0, 2:]).all()


def test_other_hosts_need_to_be_allowed(server, tmp_path):
    _, address = server
    path = tmp_path / "item0" / "item0.json"
    value = json.loads(path.read_text())
    value["assets"]["blue"]["href"] = f"{address.replace('127.0.0.1', 'localhost')}/item0/B02.tif"
    path.write_text(json.dumps(value))
    for start in (f"{address}/item0/item0.json", path):
        with pytest.raises(SceneError, match="outside of the allowed roots"):
            scenes_from_stac(start)
    # the user may name the host
    value["assets"]["blue"]["href"] = f"{address}/item0/B02.tif"
    path.write_text(json.dumps(value))
    assert only(path, allowed_roots=[address]).bands[0].href.startswith(address)
    with pytest.raises(SceneError, match="redirects to another host"):
        scenes_from_stac(f"{address}/elsewhere.json")
    with pytest.raises(SceneError, match=r"does not exist \(404\)"):
        scenes_from_stac(f"{address}/absent.json")
