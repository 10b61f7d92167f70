"""A static site in a real browser, from a plain file server: it draws and says what the map's own server would."""

import base64
import contextlib
import json
import math

import numpy as np
import pytest
import viewer_products
import web_products
from range_server import file_server
from web_browser import MapPage, chromium, require_browser

from ecumene.mapping.product import open_product
from ecumene.viewer.export import export_site
from ecumene.viewer.pixel import read_pixel
from ecumene.viewer.server.library import open_library

SIZE = 256
LOOKS = (
    {"band": 1, "colormap": None, "low": None, "high": None, "hide": [], "fade": 0.0},
    {"band": 1, "colormap": None, "low": None, "high": None, "hide": [3], "fade": 0.7},
    {"band": 1, "colormap": "cividis", "low": 5.0, "high": 20.0, "hide": [], "fade": 0.0},
)
_CREATE = """async () => {
  const { createSource } = await import(new URL('static/js/source-static.js', document.baseURI).href);
  window.source = await createSource();
  window.site = await window.source.open();
}"""
_TILE = """async ([id, layer, z, x, y, look]) => {
  const rgba = await window.source.site.tile(id, layer, z, x, y, look);
  if (!rgba) return null;
  let text = "";
  const part = 8192;
  for (let i = 0; i < rgba.length; i += part) text += String.fromCharCode(...rgba.subarray(i, i + part));
  return btoa(text);
}"""
_PIXEL = """async ([id, lon, lat]) => {
  return window.source.pixel(window.site.products.find((product) => product.id === id), lon, lat);
}"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    require_browser()
    root = tmp_path_factory.mktemp("products")
    folders = [
        web_products.class_product(root / "town", "2019-07-06"),
        web_products.class_product(root / "grown", "2023-07-06", built=24),
        web_products.height_product(root / "heights"),
        web_products.radar_product(root / "radar"),
    ]
    viewer_products.class_product(root / "striped", overviews=False)  # other blocks and compression, no overviews
    return open_library([*folders, root / "striped"])


@pytest.fixture(scope="module")
def site(library, tmp_path_factory):
    return export_site(library, tmp_path_factory.mktemp("site") / "site")


@pytest.fixture(scope="module")
def browser(site):
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def hosted(site):
    with file_server(site) as (address, seen):
        yield address, seen


def without_map(view, address):
    """Open the site's page without its map, which only costs time, and create its data source."""
    view.page.route("**/js/main.js", lambda route: route.fulfill(body="", content_type="text/javascript"))
    view.page.goto(address)
    view.page.evaluate(_CREATE)


@pytest.fixture(scope="module")
def source(browser, hosted):
    """A page with the data source of the site, without a map."""
    with contextlib.closing(MapPage(browser, hosted[0])) as view:
        without_map(view, hosted[0])
        yield view.page


def tile_of(lon, lat, z):
    count = 2**z
    x = int((lon + 180) / 360 * count)
    y = int((1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2 * count)
    return x, y


def server_tile(library, name, layer, z, x, y, look):
    from io import BytesIO

    from PIL import Image

    from ecumene.viewer.server.tiles import TileLook, TileMaker

    limits = None if look["low"] is None else (look["low"], look["high"])
    asked = TileLook(look["band"], look["colormap"], limits, frozenset(look["hide"]), look["fade"])
    sources = library.entry(name).sources(layer, (-180.0, -90.0, 180.0, 90.0))
    png = TileMaker().tile(sources, layer, z, x, y, asked)
    return np.asarray(Image.open(BytesIO(png)).convert("RGBA")).astype(int)


@pytest.mark.parametrize("name", ["town", "heights", "radar", "striped"])
def test_browser_draws_the_tiles_of_the_server(source, library, name):
    about = library.entry(name).description
    west, south, east, north = about["bounds"]
    lon, lat = west + 0.6 * (east - west), south + 0.4 * (north - south)
    for number, layer in enumerate(about["layers"]):
        look = LOOKS[number % len(LOOKS)] if layer["kind"] == "numbers" else LOOKS[number % 2]
        for z in (about["zoom"]["max"] - 1, about["zoom"]["max"] + 1):
            x, y = tile_of(lon, lat, z)
            drawn = source.evaluate(_TILE, [name, layer["name"], z, x, y, look])
            assert drawn is not None
            got = np.frombuffer(base64.b64decode(drawn), np.uint8).reshape(SIZE, SIZE, 4).astype(int)
            want = server_tile(library, name, layer["name"], z, x, y, look)
            both = (got[..., 3] > 0) & (want[..., 3] > 0)
            assert both.any() or (want[..., 3] == 0).all()
            # Two ways of warping put the border between two pixels a little differently, by a fraction of a pixel.
            assert np.mean((got[..., 3] > 0) == (want[..., 3] > 0)) > 0.98, (layer["name"], z)
            if both.any():
                near = 8 if layer["kind"] in {"numbers", "date"} else 1  # ramps rise a few levels from pixel to pixel
                # Radar geometry has few pixels, of which a larger part lies on a border.
                alike = 0.9 if name == "radar" else 0.95
                assert np.mean(np.abs(got - want).max(-1)[both] <= near) > alike, (layer["name"], z)


def test_browser_raises_the_ground_as_the_server_does(source, library):
    from io import BytesIO

    from PIL import Image

    from ecumene.viewer.server.tiles import TileMaker

    entry = library.entry("heights")
    about = entry.description
    west, south, east, north = about["bounds"]
    z = about["zoom"]["max"] - 1
    x, y = tile_of((west + east) / 2, (south + north) / 2, z)
    drawn = source.evaluate(_TILE.replace(".tile(id, layer, z, x, y, look)", ".relief(id, z, x, y)"),
                            ["heights", "", z, x, y, None])  # fmt: skip
    got = np.frombuffer(base64.b64decode(drawn), np.uint8).reshape(SIZE, SIZE, 4).astype(int)
    png = TileMaker().relief(entry.sources("value", (-180.0, -90.0, 180.0, 90.0)), about["relief"], z, x, y)
    want = np.asarray(Image.open(BytesIO(png)).convert("RGBA")).astype(int)
    assert (got[..., 3] == 255).all()
    metres = [colours[..., 0] * 256 + colours[..., 1] + colours[..., 2] / 256 - 32768 for colours in (got, want)]
    assert metres[1].max() > 20
    assert np.mean(np.abs(metres[0] - metres[1]) < 1) > 0.97
    assert source.evaluate("() => window.source.relief(window.site.products[2])").startswith("ecog://heights/")


def same(got, want, where=""):
    if isinstance(want, dict):
        assert set(got) == set(want), where
        for key in want:
            same(got[key], want[key], f"{where}.{key}")
    elif isinstance(want, list):
        assert len(got) == len(want), where
        for number, (mine, other) in enumerate(zip(got, want, strict=True)):
            same(mine, other, f"{where}.{number}")
    elif isinstance(want, float) or (isinstance(want, int) and not isinstance(want, bool)):
        assert got == pytest.approx(want, rel=1e-6, abs=1e-6), where
    else:
        assert got == want, where


@pytest.mark.parametrize("name", ["town", "heights", "radar", "striped"])
def test_a_click_is_answered_as_by_the_server(source, library, name):
    entry = library.entry(name)
    about = entry.description
    west, south, east, north = about["bounds"]
    generator = np.random.default_rng(4)
    places = [
        (west + a * (east - west), south + b * (north - south)) for a, b in generator.uniform(-0.05, 1.05, (30, 2))
    ]
    inside = 0
    for lon, lat in places:
        want = json.loads(json.dumps(read_pixel(entry.product, about, lon=lon, lat=lat)))
        got = source.evaluate(_PIXEL, [name, lon, lat])
        want["card"] = got["card"]  # the only address in the answer, and it differs
        same(got, want)
        inside += want["inside"]
    assert inside > 15


def test_numbers_are_written_as_by_the_server(source):
    generator = np.random.default_rng(6)
    values = [
        *generator.normal(0, 100, 300),
        *(generator.integers(-99999, 99999, 900) / generator.choice([1, 2, 8], 900)),
    ]
    values += [*(10 ** generator.uniform(-9, 12, 300)), 0.5, 1.5, 2006.5, 12345, 1234.5, -0.125, 99999.5, 1e6, 999999.5]
    cases = [
        (float(value), int(digits)) for value, digits in zip(values, generator.integers(1, 7, len(values)), strict=True)
    ]
    written = source.evaluate(
        """async (cases) => {
          const { fixed, general } = await import(new URL('static/js/static-pixel.js', document.baseURI).href);
          return cases.map(([value, digits]) => [fixed(value, digits), general(value, digits)]);
        }""",
        cases,
    )
    assert [tuple(pair) for pair in written] == [(f"{value:.{n}f}", f"{value:.{n}g}") for value, n in cases]


@pytest.fixture(scope="module")
def opened(browser, hosted):
    with contextlib.closing(MapPage(browser, hosted[0])) as view:
        yield view.open()


def seen(view, pixel):
    return view.colour(*web_products.place(*pixel))


def test_map_legend_and_fading_work_without_a_server(opened, hosted):
    opened.faults.clear()
    opened.reset()
    assert (seen(opened, (50, 10)), seen(opened, (20, 60)), seen(opened, (50, 33))) == (
        (0, 100, 200), (0, 100, 0), (200, 0, 0),
    )  # fmt: skip
    opened.shot("static-site")
    panel = opened.click(*web_products.place(50, 33))
    assert "built-up" in panel
    assert "64" in panel
    assert "built-up or cropland" in panel
    opened.page.locator("label:has-text('water') input[type=checkbox]").first.uncheck()
    opened.rest()
    assert seen(opened, (50, 10)) != (0, 100, 200)
    opened.reset()
    opened.page.evaluate("() => window.ecumene.state.set({ fade: 1 })")
    opened.rest()
    town = seen(opened, (50, 33))
    assert max(abs(a - b) for a, b in zip(town, (200, 0, 0), strict=True)) > 20  # what is unsure shines through less
    opened.reset()
    assert opened.faults == []
    rasters = [(path, status) for path, status, _ in hosted[1] if path.endswith(".tif")]
    assert rasters
    assert {status for _, status in rasters} == {206}
    assert all(url.startswith((hosted[0], "blob:", "data:")) for url in opened.requests)


def test_vectors_charts_and_card_are_files(source):
    heights = "window.site.products.find((product) => product.id === 'heights')"
    found = source.evaluate(
        f"async () => window.source.vectors({heights}, {heights}.vectors[0], [-180, -85, 180, 85], 5)"
    )
    assert (len(found["features"]), found["total"], found["truncated"]) == (5, 16, True)
    west, south, _, north = source.evaluate(f"() => {heights}.bounds")
    none = source.evaluate(
        f"async (box) => window.source.vectors({heights}, {heights}.vectors[0], box, 50)",
        [west - 2, south, west - 1, north],
    )
    assert none["features"] == []
    charts = source.evaluate("async () => window.source.charts(window.site.products[0])")["charts"]
    assert "built-up" in [chart["id"] for chart in charts]


def test_server_that_sends_whole_files_will_do(browser, site, library):
    with file_server(site, ranges=False) as (address, requests), contextlib.closing(MapPage(browser, address)) as view:
        without_map(view, address)
        lon, lat = web_products.place(50, 33)
        answer = view.page.evaluate(_PIXEL, ["town", lon, lat])
        assert answer["value"]["class"] == "built-up"
        assert view.faults == []
        whole = (site / "products" / "town" / "value.tif").stat().st_size
        assert ("/products/town/value.tif", 200, whole) in requests


def test_missing_file_is_said_in_one_sentence(browser, site, tmp_path):
    import shutil

    broken = tmp_path / "site"
    shutil.copytree(site, broken)
    (broken / "products" / "town" / "probability.tif").unlink()
    with file_server(broken) as (address, _), contextlib.closing(MapPage(browser, address)) as view:
        without_map(view, address)
        said = view.page.evaluate(
            "async () => window.source.pixel(window.site.products[0], 15.003, 46.945).catch((error) => error.message)"
        )
        assert said == "The file probability.tif is missing on the server (404)."


def test_exported_copy_is_a_product(site):
    assert open_product(site / "products" / "town", verify=False).legend is not None
