"""A collection from a STAC API: the search is asked for area and period, and the map is that of the files at hand."""

from __future__ import annotations

import functools
import http.server
import json
import threading
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from catalogue_data import grid, stac_catalogue, write_aoi, write_scene
from end_to_end import refused, run_cli
from support import RangeHandler
from test_catalogue_run import OPTIONS, rasters

from ecumene.core.errors import SceneError
from ecumene.workflows.map_collection import map_collection, plan_collection

pytest.importorskip("pystac_client")

PLACE = grid(192, 192)
DAYS = {"a": 0, "b": 8, "c": 40}
PAGE = 2


class Api(RangeHandler):
    """Files with byte ranges, and an item search (STAC API 1.0.0, GET) that filters and turns pages."""

    def do_GET(self):
        url = urlsplit(self.path)
        base = f"http://{self.headers['Host']}"
        if url.path == "/api/":
            links = [
                {"rel": "root", "href": f"{base}/api/"},
                {"rel": "search", "href": f"{base}/api/search", "type": "application/geo+json", "method": "GET"},
            ]
            classes = [f"https://api.stacspec.org/v1.0.0/{name}" for name in ("core", "item-search")]
            landing = {"type": "Catalog", "stac_version": "1.0.0", "id": "api", "description": "x"}
            self.send_json(landing | {"conformsTo": classes, "links": links})
        elif url.path == "/api/search":
            self.send_json(self.found(base, {name: values[0] for name, values in parse_qs(url.query).items()}))
        else:
            self.send_part()

    do_HEAD = do_GET

    def found(self, base, query):
        """Return a page of the Items of a collection, a frame and a period."""
        self.server.queries.append(query)
        fits = []
        for path in sorted(Path(self.directory).glob("[a-z].json")):
            item = json.loads(path.read_text())
            frame, moment = item["bbox"], item["properties"]["datetime"]
            west, south, east, north = (float(part) for part in query.get("bbox", "-180,-90,180,90").split(","))
            first, _, last = query.get("datetime", "/9").partition("/")
            inside = frame[0] <= east and frame[2] >= west and frame[1] <= north and frame[3] >= south
            wanted = query.get("collections", item["collection"]).split(",")
            if inside and first <= moment <= last and item["collection"] in wanted:
                corners = [[frame[0], frame[1]], [frame[2], frame[1]], [frame[2], frame[3]], [frame[0], frame[3]]]
                item["geometry"] = {"type": "Polygon", "coordinates": [[*corners, corners[0]]]}
                item["links"] = [{"rel": "self", "href": f"{base}/{path.name}"}]
                fits.append(item)
        start = int(query.get("start", 0))
        links = []
        if start + PAGE < len(fits):
            more = "&".join(f"{name}={value}" for name, value in query.items() if name != "start")
            links = [{"rel": "next", "href": f"{base}/api/search?{more}&start={start + PAGE}"}]
        return {"type": "FeatureCollection", "features": fits[start : start + PAGE], "links": links}


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    """(queries, address of the API, folder of the scenes)."""
    folder = tmp_path_factory.mktemp("api")
    scenes = [(write_scene(folder / f"{name}.tif", PLACE, day), PLACE, day) for name, day in DAYS.items()]
    stac_catalogue(folder, scenes)
    for path in folder.glob("*.scene.yaml"):
        path.unlink()  # what the Items say is all there is
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Api, directory=str(folder)))
    running.queries = []
    threading.Thread(target=running.serve_forever, daemon=True).start()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("no_proxy", "NO_PROXY"):
            patch.setenv(name, "127.0.0.1,localhost")
        yield running.queries, f"http://127.0.0.1:{running.server_address[1]}/api/", folder
    running.shutdown()
    running.server_close()


def test_a_map_from_an_api_is_that_of_the_files(api, mlp, tmp_path):
    queries, address, folder = api
    aoi = write_aoi(tmp_path / "aoi.geojson", grid(60, 60, 70, 70), "EPSG:4326")
    source = {"collection": "land", "aoi": aoi, "period": "2024-06", "grid": "EPSG:32633:2560", "options": OPTIONS}
    queries.clear()
    remote = map_collection(mlp, tmp_path / "remote", stac=address, **source)
    assert not remote.failures
    assert set(remote.plan.scenes_per_tile.values()) == {2}
    (query,) = queries
    assert query["collections"] == "land"
    west, south, east, north = (float(part) for part in query["bbox"].split(","))
    assert 0 < east - west < 0.02
    assert 0 < north - south < 0.02
    assert query["datetime"].startswith("2024-06-01T00:00:00")
    assert query["datetime"].partition("/")[2].startswith("2024-06-30T23:59:59")
    local = map_collection(mlp, tmp_path / "local", stac=folder, **source)
    assert rasters(tmp_path / "remote") == rasters(tmp_path / "local")
    assert [unit.id for unit in remote.plan.units] == [unit.id for unit in local.plan.units]


def test_all_pages_of_an_answer_are_read(api, mlp):
    queries, address, _ = api
    queries.clear()
    plan = plan_collection(mlp, stac=address, collection="land", grid="EPSG:32633:25600", options=OPTIONS)
    assert set(plan.scenes_per_tile.values()) == {len(DAYS)}
    assert len(queries) == 2
    times = {str(source.time)[:10] for unit in plan.units for source in unit.sources}
    assert times == {str(np.datetime64("2024-06-01") + day) for day in DAYS.values()}


def test_what_an_api_cannot_give_is_a_sentence(api, mlp, mlp_folder, tmp_path):
    _, address, _ = api
    start = ("map", mlp_folder, "--stac", address, "--collection", "land", "--out", tmp_path / "store")
    refused(*start, "--period", "2019", code=3, saying="No Item", folder=tmp_path)
    refused(*start[:4], "--collection", "sea", *start[6:], code=3, saying="No Item", folder=tmp_path)
    with pytest.raises(SceneError, match=r"nothing does not exist \(404\)"):
        plan_collection(mlp, stac=f"{address}nothing", options=OPTIONS)
    gone = run_cli("map", mlp_folder, "--stac", "http://127.0.0.1:9/api/", "--out", tmp_path / "store")
    assert gone.code == 3, gone.err
    assert "127.0.0.1:9" in gone.sentence
