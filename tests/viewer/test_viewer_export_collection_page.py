"""A collection of a static site in a real browser: drawn, read and outlined as the map's own server would."""

import base64
import contextlib
import json

import numpy as np
import pytest
from range_server import file_server
from test_viewer_export_page import _PIXEL, _TILE, LOOKS, SIZE, same, tile_of, without_map
from viewer_collections import make_collection
from web_browser import MapPage, chromium, require_browser

from ecumene.viewer import export_collection
from ecumene.viewer.export import export_site
from ecumene.viewer.places import mercator_to_lonlat, tile_bounds
from ecumene.viewer.server.library import open_library


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    require_browser()
    pytest.importorskip("duckdb", reason="needs the extra viewer")
    return open_library([make_collection(tmp_path_factory.mktemp("collections") / "wide", 6, 5, index=False)])


@pytest.fixture(scope="module")
def hosted(library, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export_collection, "PART_UNITS", 8)
        site = export_site(library, tmp_path_factory.mktemp("site") / "site")
    with file_server(site) as (address, seen):
        yield address, seen


@pytest.fixture(scope="module")
def browser(hosted):
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def source(browser, hosted):
    with contextlib.closing(MapPage(browser, hosted[0])) as view:
        without_map(view, hosted[0])
        yield view.page


def spots(about, number):
    west, south, east, north = about["bounds"]
    shares = np.random.default_rng(5).uniform(-0.05, 1.05, (number, 2))
    return [(west + a * (east - west), south + b * (north - south)) for a, b in shares]


def server_tile(library, layer, z, x, y, look):
    from io import BytesIO

    from PIL import Image

    from ecumene.viewer.server.tiles import TileLook, TileMaker

    left, bottom, right, top = tile_bounds(z, x, y)
    sources = library.entry("wide").sources(layer, (*mercator_to_lonlat(left, bottom), *mercator_to_lonlat(right, top)))
    asked = TileLook(look["band"], look["colormap"], None, frozenset(look["hide"]), look["fade"])
    png = TileMaker().tile(sources, layer, z, x, y, asked)
    return np.asarray(Image.open(BytesIO(png)).convert("RGBA")).astype(int)


def test_browser_draws_the_tiles_of_the_server(source, library):
    about = library.entry("wide").description
    drawn = 0
    for number, (lon, lat) in enumerate(spots(about, 6)):
        z = about["zoom"]["min"] + number % (about["zoom"]["max"] - about["zoom"]["min"] + 2)
        x, y = tile_of(lon, lat, z)
        found = source.evaluate(_TILE, ["wide", "value", z, x, y, LOOKS[number % 2]])
        got = np.zeros((SIZE, SIZE, 4), int)
        if found is not None:
            got = np.frombuffer(base64.b64decode(found), np.uint8).reshape(SIZE, SIZE, 4).astype(int)
        want = server_tile(library, "value", z, x, y, LOOKS[number % 2])
        both = (got[..., 3] > 0) & (want[..., 3] > 0)
        assert np.mean((got[..., 3] > 0) == (want[..., 3] > 0)) > 0.97, (z, x, y)
        drawn += both.any()
        if both.any():
            assert np.mean(np.abs(got - want).max(-1)[both] <= 1) > 0.95, (z, x, y)
    assert drawn > 2


def test_far_out_nothing_is_loaded(source, library, hosted):
    hosted[1].clear()
    assert source.evaluate(_TILE, ["wide", "value", 0, 0, 0, LOOKS[0]]) is None
    assert hosted[1] == []


def test_a_click_is_answered_as_by_the_server(source, library):
    entry = library.entry("wide")
    inside = 0
    for lon, lat in spots(entry.description, 12):
        want = json.loads(json.dumps(entry.pixel(lon=lon, lat=lat)))
        got = source.evaluate(_PIXEL, ["wide", lon, lat])
        inside += want["inside"]
        if not want["inside"]:
            assert not got["inside"]
            continue
        want["card"] = got["card"]
        same(got, want)
    assert inside > 6


def test_outlines_come_from_the_index(source, library):
    wide = "window.site.products[0]"
    ask = f"async ([box, limit]) => window.source.vectors({wide}, {wide}.vectors[0], box, limit)"
    found = source.evaluate(ask, [[-180, -85, 180, 85], 50])
    assert (len(found["features"]), found["total"], found["truncated"]) == (30, 30, False)
    assert source.evaluate(ask, [[-180, -85, 180, 85], 7])["truncated"]
    west, south, _, north = library.entry("wide").description["bounds"]
    assert source.evaluate(ask, [[west - 2, south, west - 1, north], 50])["features"] == []


def test_the_page_draws_it_and_reads_only_parts_of_files(browser, hosted, library):
    hosted[1].clear()
    with contextlib.closing(MapPage(browser, hosted[0])) as view:
        view.open()
        west, south, east, north = library.entry("wide").description["bounds"]
        lon, lat = west + 0.58 * (east - west), (south + north) / 2  # the middle of a product
        view.page.evaluate("([lon, lat]) => window.ecumene.map.jumpTo({ center: [lon, lat], zoom: 14 })", [lon, lat])
        view.rest()
        want = library.entry("wide").pixel(lon=lon, lat=lat)["value"]
        assert want["class"] in view.click(lon, lat)
        seen = view.colour(lon, lat)
        assert "#" + bytes(seen).hex() == want["colour"]
        view.shot("static-collection")
        assert view.faults == []
    assert {status for path, status, _ in hosted[1] if path.endswith(".tif")} == {206}
