"""The assessor's sheet and the report in a real browser: keys, what is hidden, what is saved, who can use them."""

import contextlib

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import viewer_products
from affine import Affine
from web_browser import MapPage, chromium, require_browser

from ecumene.indicators.sampling_design import draw_design
from ecumene.workflows.assess import assess_map

SHAPE = (90, 75)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    require_browser()
    root = tmp_path_factory.mktemp("sheet")
    viewer_products.class_product(root / "land", shape=SHAPE)
    draw_design(root / "land" / "value.tif", viewer_products.LEGEND, total=9, minimum=3).write(root / "points.gpkg")
    row, column = np.mgrid[: SHAPE[0], : SHAPE[1]]
    profile = {"driver": "GTiff", "count": 3, "height": SHAPE[0], "width": SHAPE[1], "dtype": "uint16", "nodata": 0}
    profile |= {"crs": "EPSG:32633", "transform": Affine(10, 0, 500_000, 0, -10, 5_000_000)}
    with rasterio.open(root / "scene.tif", "w", **profile) as target:
        target.write((np.stack([column, row, column + row]) * 10 + 1).astype("uint16"))
    (root / "scene.scene.yaml").write_text(
        "sensor: sentinel-2\nlevel: L2A\nbands: [B04, B03, B02]\nscale: 0.0001\noffset: 0\nunit: '1'\nnodata: 0\n"
        "time: 2024-06-01T10:00:00Z\n"
    )
    return root


@pytest.fixture(scope="module")
def browser(folder):
    with chromium() as running:
        yield running


@pytest.fixture
def sheet(browser, folder):
    """A page with a new sheet."""
    from ecumene.viewer.server.app import create_app
    from ecumene.viewer.server.library import Library
    from ecumene.viewer.server.running import serving
    from ecumene.viewer.sheet.routes import sheet_extension
    from ecumene.workflows.view_assess import open_sheet

    (folder / "labels.gpkg").unlink(missing_ok=True)
    session = open_sheet(folder / "land", folder / "points.gpkg", folder / "labels.gpkg", [str(folder / "scene.tif")])
    extension = sheet_extension(session)
    with (
        serving(create_app(Library(), extensions=[extension])) as address,
        contextlib.closing(MapPage(browser, address)) as view,
    ):
        view.page.goto(address + extension.start)
        view.page.wait_for_function("() => window.ecumeneSheet")
        view.page.evaluate("() => window.ecumeneSheet.ready")
        yield view


def press(view, key, answered):
    view.page.keyboard.press(key)
    view.page.wait_for_function(
        "(count) => document.querySelector('#progress-text').textContent.startsWith(`${count} of`)"
        " && !window.ecumeneSheet.state.busy",
        arg=answered,
    )


def title(view):
    return view.page.inner_text("#point-title")


def test_points_are_judged_by_keys_and_assess_reads_the_file(sheet, folder):
    assert "token" not in sheet.page.url  # the secret is taken out of sight
    assert title(sheet) == "Point 1 of 9"
    assert "built-up" not in sheet.page.inner_text("#verdict")
    sheet.page.wait_for_function("() => [...document.images].every((image) => image.complete && image.naturalWidth)")
    assert sheet.page.locator("#chips img").count() == 2
    sheet.shot("assessor-sheet")
    press(sheet, "2", 1)
    assert title(sheet) == "Point 2 of 9"  # without showing the map it goes on at once
    sheet.page.keyboard.press("c")
    sheet.page.check("#reveal")
    press(sheet, "1", 2)
    assert title(sheet) == "Point 2 of 9"
    assert "The map says" in sheet.page.inner_text("#verdict")
    sheet.page.keyboard.press("ArrowRight")
    sheet.page.wait_for_function("() => document.querySelector('#point-title').textContent === 'Point 3 of 9'")
    assert sheet.page.is_hidden("#verdict")
    press(sheet, "0", 3)
    press(sheet, "u", 2)
    found = gpd.read_file(folder / "labels.gpkg")
    assert sorted(found["class"].dropna()) == ["forest", "water"]
    assert sorted(found["confidence"].dropna()) == ["likely", "sure"]
    assert sheet.faults == []
    assert assess_map(folder / "land", folder / "labels.gpkg").sample_size == 2


def test_without_the_secret_nothing_is_saved(sheet, folder):
    sheet.page.evaluate("() => sessionStorage.clear()")
    sheet.page.reload()
    sheet.page.wait_for_function("() => window.ecumeneSheet")
    sheet.page.evaluate("() => window.ecumeneSheet.ready")
    assert "by the address that the command printed" in sheet.page.inner_text("#notice")
    sheet.page.keyboard.press("1")
    assert not (folder / "labels.gpkg").exists()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_the_sheet(sheet, scheme):
    sheet.page.emulate_media(color_scheme=scheme)
    sheet.page.check("#reveal")
    press(sheet, "3", 1)
    assert sheet.accessibility_faults() == []
    if scheme == "dark":
        sheet.shot("assessor-sheet-dark")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_read_the_report(browser, folder, tmp_path, scheme):
    from ecumene.workflows.view_report import report_product

    path = report_product(folder / "land", tmp_path / "report.html")
    with contextlib.closing(MapPage(browser, "", color_scheme=scheme)) as view:
        view.page.goto(path.as_uri())
        view.shot(f"report-{scheme}")
        wide = view.page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0
        assert view.faults == []  # also nothing that the page's own policy refused
        assert view.page.evaluate("() => [...document.images].every((image) => image.naturalWidth > 0)")
        assert view.accessibility_faults() == []
        view.page.set_viewport_size({"width": 380, "height": 700})
        assert view.page.evaluate("() => document.documentElement.scrollWidth - innerWidth") <= 0
        assert view.requests == [path.as_uri()] or all(url.startswith(("file:", "data:")) for url in view.requests)
