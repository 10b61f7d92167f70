"""The web map's page in a real browser, over the real server: what is drawn, what a click says, what keys do."""

import contextlib
import time

import numpy as np
import pytest
import web_products
from web_browser import MapPage, chromium, require_browser

DAYS = {"town-2019": 6, "town-2021": 12, "town-2023": 20}
WATER, FOREST, BUILT, FIELDS = (0, 100, 200), (0, 100, 0), (200, 0, 0), (240, 150, 255)
IN_WATER, IN_FOREST, IN_TOWN, IN_FIELDS = (50, 10), (20, 60), (50, 33), (70, 60)
GROWN = (50, 45)  # fields in 2019, town in 2023
OUTLIER, UNMAPPED = (92, 76), (2, 2)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    require_browser()
    root = tmp_path_factory.mktemp("products")
    made = [web_products.class_product(root / name, f"{name[-4:]}-07-06", built) for name, built in DAYS.items()]
    others = [web_products.height_product(root / "heights"), web_products.radar_product(root / "radar")]
    others.append(web_products.height_product(root / "raised", "2024-07-06", rise=30.0))
    return [*made, *others, web_products.explanation_product(root / "why")]


@pytest.fixture(scope="module")
def address(folders):
    from ecumene.viewer.server.app import create_app
    from ecumene.viewer.server.library import open_library
    from ecumene.viewer.server.running import serving
    from ecumene.viewer.server.why import why_extension

    with serving(create_app(open_library(folders), extensions=[why_extension({"town-2019": explained})])) as where:
        yield where


def explained(lon, lat, step):
    """Stand in for a model; on the left it takes its time."""
    row, column = web_products.pixel(lon, lat)
    for _ in range(500 if column < 5 else 1):
        step()
        time.sleep(0.02)
    shares = [{"name": "sentinel-2/B08", "value": 0.5}, {"name": "sentinel-2/B02", "value": -0.25}]
    section = {"title": "Fall when hidden", "product": "a forest", "description": "occlusion", "bands": shares}
    return {"text": f"Row {row}, column {column}.", "notes": ["The map differs."], "sections": [section]}


@pytest.fixture(scope="module")
def browser(address):
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def shared(browser, address):
    """One page for all tests that leave it usable."""
    with contextlib.closing(MapPage(browser, address)) as view:
        yield view.open()


@pytest.fixture
def town(shared):
    """The shared page as it was opened; a test must leave no fault on it."""
    shared.faults.clear()
    yield shared.reset()
    assert shared.faults == []


def seen(view, pixel):
    return view.colour(*web_products.place(*pixel))


def near(a, b, allowed=3):
    return max(abs(x - y) for x, y in zip(a, b, strict=True)) <= allowed


def choose(view, product, layer=None):
    view.page.select_option("#product", label=product)
    if layer:
        view.page.check(f"input[name=layer][value={layer}]")
    return view.rest()


def test_it_opens_draws_the_classes_and_asks_nobody_else(town):
    town.shot("land-cover")
    assert [seen(town, pixel) for pixel in (IN_WATER, IN_FOREST, IN_TOWN, IN_FIELDS)] == [WATER, FOREST, BUILT, FIELDS]
    assert not near(seen(town, UNMAPPED), WATER, 20)  # nodata is not drawn
    foreign = [url for url in town.requests if not url.startswith((town.address, "blob:", "data:"))]
    assert foreign == []


def test_a_click_tells_class_probability_set_flags_and_date(town):
    text = town.click(*web_products.place(*IN_TOWN))
    assert town.page.inner_text("#panel-pixel .answer").split() == ["built-up", "probability", "64", "%"]
    assert "built-up or cropland" in text
    assert "column 33, row 50" in text
    rows = town.page.locator("#panel-pixel .bars:has-text('Probability') tbody tr")
    shares = {row.locator("th").inner_text(): row.locator(".amount").inner_text() for row in rows.all()}
    assert shares == {"built-up": "64 %", "water": "12 %", "forest": "12 %", "cropland": "12 %"}
    town.page.click("#panel-pixel summary:has-text('Dates')")
    assert "2019-07-06" in town.page.inner_text("#panel-pixel")
    assert "built-up" in town.page.inner_text("#live")


def test_a_click_warns_of_outliers_and_says_what_is_not_mapped(town):
    text = town.click(*web_products.place(*OUTLIER))
    assert "unlike" in town.page.inner_text("#panel-pixel .alarm")
    assert "cropland" in text
    assert "Not mapped here" in town.click(*web_products.place(*UNMAPPED))
    assert "outside of the product" in town.click(*web_products.place(-4, 40))


def test_an_explanation_of_the_same_date_tells_why(town):
    assert "Explanation of water by occlusion" in town.click(*web_products.place(*IN_WATER))
    rows = town.page.locator("#panel-pixel section:has-text('Why') tbody tr").all_inner_texts()
    assert [row.split() for row in rows] == [
        ["sentinel-2/B08", "0.4"],
        ["sentinel-2/B11", "-0.1"],
        ["sentinel-2/B02", "0.05"],
    ]
    choose(town, "town-2023 · 2023-07-06")
    assert "Why" not in town.click(*web_products.place(*IN_WATER))


def test_layers_bands_and_colours_are_chosen_and_the_legend_follows(town):
    town.page.check("input[name=layer][value=uncertainty]")
    town.rest().shot("uncertainty")
    sure, unsure = seen(town, IN_WATER), seen(town, IN_TOWN)
    assert sum(unsure) > sum(sure)  # cividis runs from dark to light
    assert town.page.inner_text(".legend .ends").split() == ["0", "0.5", "1"]
    town.page.select_option("#colormap", "viridis")
    assert not near(seen(town.rest(), IN_TOWN), unsure, 10)
    town.page.check("input[name=layer][value=probability]")
    town.page.select_option("#band-left", label="built-up")
    town.rest()
    assert sum(seen(town, IN_TOWN)) > sum(seen(town, IN_WATER))
    town.page.select_option("#band-left", label="water")
    town.rest()
    assert sum(seen(town, IN_TOWN)) < sum(seen(town, IN_WATER))
    town.page.check("input[name=layer][value=outlier]")
    town.rest()
    assert "outlier" in town.page.inner_text(".legend").lower()
    assert near(seen(town, OUTLIER), (213, 94, 0))


def test_a_class_is_hidden_and_comes_back(town):
    background = seen(town, (-3, 40))
    town.page.uncheck("input[data-code='1']")
    assert near(seen(town.rest(), IN_WATER), background)
    assert near(seen(town, IN_FOREST), FOREST)
    assert town.page.evaluate("() => document.activeElement.dataset.code") == "1"  # the keyboard stays where it was
    town.page.click("text=Show all")
    assert near(seen(town.rest(), IN_WATER), WATER)


def test_what_is_uncertain_fades_and_opacity_thins_everything(town):
    background = np.array(seen(town, (-3, 40)))

    def left(pixel, full):  # how much of a colour is left of the background
        full = np.array(full) - background
        return float((np.array(seen(town, pixel)) - background) @ full / (full @ full))

    town.page.fill("#fade", "100")
    town.rest().shot("faded")
    water, built = left(IN_WATER, WATER), left(IN_TOWN, BUILT)
    # Entropies over ln 4 of (0.88, 0.04 ...) and (0.64, 0.12 ...): alpha is one minus them.
    assert water == pytest.approx(1 - 0.3600, abs=0.03)
    assert built == pytest.approx(1 - 0.7567, abs=0.03)
    town.page.fill("#fade", "0")
    town.page.fill("#opacity", "50")
    town.rest()
    assert left(IN_WATER, WATER) == pytest.approx(0.5, abs=0.03)


def test_the_slider_goes_through_the_dates(town):
    assert near(seen(town, GROWN), FIELDS)
    assert "cropland" in town.click(*web_products.place(*GROWN))
    town.page.fill("#time", "2")
    town.page.wait_for_selector("#panel-pixel .answer:has-text('built-up')")  # the pixel is read at the new date
    assert near(seen(town.rest(), GROWN), BUILT)
    assert town.page.input_value("#product") == "town-2023"
    assert town.page.get_attribute("#time", "aria-valuetext") == "2023-07-06"
    assert town.page.inner_text(".time-label") == "2023-07-06"
    town.page.click("[aria-label='Earlier date']")
    assert not near(seen(town.rest(), GROWN), BUILT)
    assert town.page.input_value("#product") == "town-2021"


def test_swipe_compares_two_dates_and_a_click_reads_its_own_side(town):
    town.page.click("#swipe-button")
    town.page.select_option("#right-product", label="town-2023 · 2023-07-06")
    town.rest().shot("swipe")
    x, _ = town.screen(*web_products.place(*GROWN))
    box = town.page.locator("#maps").bounding_box()
    share = (x - box["x"]) / box["width"]
    assert share > 0.5  # right of the border
    assert near(seen(town, GROWN), BUILT)
    assert near(seen(town, IN_WATER), WATER)
    assert town.click(*web_products.place(*GROWN)).startswith("town-2023")
    assert town.click(*web_products.place(*IN_WATER)).startswith("town-2019")
    town.page.focus("#divider")
    town.page.keyboard.press("End")
    town.rest()
    assert town.page.get_attribute("#divider", "aria-valuenow") == "100"
    assert near(seen(town, GROWN), FIELDS)
    town.page.keyboard.press("Home")
    assert near(seen(town.rest(), GROWN), BUILT)
    town.page.mouse.move(box["x"] + 1, box["y"] + 100)
    town.page.mouse.down()
    town.page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 100, steps=3)
    town.page.mouse.up()
    assert town.page.get_attribute("#divider", "aria-valuenow") == "75"
    town.page.click("#swipe-button")
    assert near(seen(town.rest(), GROWN), FIELDS)


def test_the_keyboard_reads_pixels_and_changes_layers(town):
    town.page.focus("#map canvas")
    town.page.keyboard.press("2")
    town.rest()
    assert town.page.is_checked("input[name=layer][value=uncertainty]")
    town.page.keyboard.press("]")
    town.rest()
    assert town.page.input_value("#product") == "town-2021"
    assert town.page.is_checked("input[name=layer][value=uncertainty]")
    assert town.page.locator("#cross").is_visible()
    town.page.evaluate("() => document.querySelector('#panel-pixel').replaceChildren()")
    town.page.keyboard.press("Enter")
    town.page.wait_for_selector("#panel-pixel .where")
    assert "column 39, row 4" in town.page.inner_text("#panel-pixel .where") or "column 40, row 4" in (
        town.page.inner_text("#panel-pixel .where")
    )
    town.page.keyboard.press("s")
    assert town.page.get_attribute("#swipe-button", "aria-pressed") == "true"


def test_shapes_stand_up_and_tell_their_height(town):
    choose(town, "heights · 2023-07-06")
    town.page.check("input[value=buildings]")
    town.rest()
    x, y = web_products.ORIGIN[0] + 130, web_products.ORIGIN[1] - 180
    row, column = (web_products.ORIGIN[1] - y) / 10, (x - web_products.ORIGIN[0]) / 10
    flat = seen(town, (row, column))
    text = town.click(*web_products.place(row, column))
    assert "8 m ± 1.5 m high" in text
    assert town.page.inner_text(".vectors .ends").split() == ["8", "68"]  # what the colours of the buildings mean
    assert " ± " in text.split("Buildings")[0]  # the pixel's own height with its error bar
    town.page.check("#extrude")
    town.rest()
    assert town.page.evaluate("() => window.ecumene.map.getPitch()") == pytest.approx(55)
    town.shot("buildings")
    town.page.uncheck("input[value=buildings]")
    town.rest()
    assert town.page.evaluate("() => window.ecumene.map.getPitch()") == 0
    assert not near(seen(town, (row, column)), flat)


def elevation(town, row, column):
    place = list(web_products.place(row, column))
    return town.page.evaluate("(place) => window.ecumene.map.queryTerrainElevation(place)", place)


def test_the_ground_is_raised_by_its_height_and_laid_flat_again(town):
    assert not town.page.locator("#relief").count()  # classes have no height
    choose(town, "heights · 2023-07-06")
    assert not town.page.is_checked("#relief")
    assert not [url for url in town.requests if "/relief/" in url]
    town.page.check("#relief")
    town.rest().shot("relief")
    assert town.page.evaluate("() => window.ecumene.map.getPitch()") == pytest.approx(55)
    rise = elevation(town, 50, 70) - elevation(town, 50, 10)
    assert rise == pytest.approx(0.3 * 60, abs=1.5)
    assert town.page.evaluate("() => document.activeElement.id") == "relief"
    text = town.click(*web_products.place(50, 41))
    assert "column 41" in text or "column 40" in text or "column 42" in text  # a click finds the raised place
    town.page.select_option("#exaggeration", "5")
    town.rest()
    assert elevation(town, 50, 70) - elevation(town, 50, 10) == pytest.approx(5 * rise, rel=0.1)
    town.page.click("#swipe-button")
    town.page.select_option("#right-product", label="raised · 2024-07-06")
    town.rest()
    assert town.page.evaluate("() => Boolean(window.ecumene.page.right.map.getTerrain())")
    assert town.accessibility_faults() == []
    town.page.click("#swipe-button")
    town.page.focus("#map canvas")
    town.page.keyboard.press("h")
    town.rest()
    assert not town.page.is_checked("#relief")
    assert town.page.evaluate("() => window.ecumene.map.getPitch()") == 0
    assert town.page.evaluate("() => window.ecumene.map.getTerrain()") is None


def shapes(town, side):
    return town.page.evaluate(
        """(side) => { const { map } = window.ecumene.page[side];
        const layers = map.getStyle().layers.filter(({ id }) => id.startsWith("vector-")).map(({ id }) => id);
        return layers.length ? map.queryRenderedFeatures({ layers }).length : 0; }""",
        side,
    )


def test_shapes_are_shown_on_both_sides_of_the_border(town):
    choose(town, "heights · 2023-07-06")
    town.page.check("input[value=buildings]")
    town.page.click("#swipe-button")
    town.page.select_option("#right-product", label="raised · 2024-07-06")
    town.rest()
    town.rest().shot("swipe-shapes")
    assert shapes(town, "left") > 0
    assert shapes(town, "right") > 0
    x, y = web_products.ORIGIN[0] + 100 + 3 * 180 + 30, web_products.ORIGIN[1] - 180
    row, column = (web_products.ORIGIN[1] - y) / 10, (x - web_products.ORIGIN[0]) / 10
    text = town.click(*web_products.place(row, column))
    assert text.startswith("raised")
    assert "20 m ± 1.8 m high" in text
    town.page.uncheck(".right input[value=buildings]")
    town.rest()
    assert shapes(town, "right") == 0
    assert shapes(town, "left") > 0
    assert "high" not in town.click(*web_products.place(row, column))
    town.page.click("#swipe-button")
    assert shapes(town.rest(), "left") > 0


def test_why_is_computed_when_it_is_asked_for(town):
    town.click(*web_products.place(*IN_TOWN))
    assert not [url for url in town.requests if "/why?" in url]
    town.page.click("button.why")
    town.page.wait_for_selector(".why-answer table")
    answer = town.page.inner_text(".why-answer")
    assert "Row 50, column 33." in answer
    assert "The map differs." in town.page.inner_text(".why-answer .alarm")
    rows = town.page.locator(".why-answer tbody tr").all_inner_texts()
    assert [row.split() for row in rows] == [["sentinel-2/B08", "0.5"], ["sentinel-2/B02", "-0.25"]]
    assert town.accessibility_faults() == []
    town.shot("why")
    assert "Not mapped" in town.click(*web_products.place(*UNMAPPED))
    assert not town.page.locator("button.why").count()
    choose(town, "town-2023 · 2023-07-06")  # which no model is given for
    town.click(*web_products.place(*IN_TOWN))
    assert not town.page.locator("button.why").count()


def test_why_can_be_stopped_and_the_next_place_is_explained(town):
    town.click(*web_products.place(60, 2))
    town.page.click("button.why")
    town.page.wait_for_selector("button.why:has-text('Stop')")
    town.page.click("button.why")
    town.page.wait_for_selector("button.why:has-text('Why here?')")
    time.sleep(1.5)  # the server looks a few times a second whether somebody waits
    town.page.click("button.why")
    town.page.wait_for_selector("button.why:has-text('Stop')")
    town.click(*web_products.place(*IN_TOWN))  # another place stops it as well
    time.sleep(1.5)
    town.page.click("button.why")
    town.page.wait_for_selector(".why-answer table")
    assert "column 33" in town.page.inner_text(".why-answer")


def test_equal_colours_mean_equal_values_at_every_date(town):
    choose(town, "heights · 2023-07-06")
    legend = town.page.inner_text(".legend .ends")
    low, high = (float(text) for text in legend.split()[::4])
    assert low < 10 < 60 < high
    dark = seen(town, (50, 41))
    choose(town, "raised · 2024-07-06")
    assert town.page.inner_text(".legend .ends") == legend
    assert sum(seen(town, (50, 41))) > sum(dark) + 60  # viridis grows lighter with the value


def test_dates_are_shown_as_years_with_their_interval(town):
    choose(town, "heights · 2023-07-06", "built_year")
    low, _, high = town.page.inner_text(".legend .ends").split()
    assert 1989 < float(low) < float(high) < 2011
    assert "2000" in town.click(*web_products.place(50, 41)) or "All layers" in town.page.inner_text("#panel-pixel")
    town.page.click("summary:has-text('All layers')")
    assert "2000" in town.page.inner_text("#panel-pixel")


def test_a_product_without_coordinates_counts_columns_and_rows(town):
    choose(town, "radar · 2023-07-06")
    assert "no coordinate system" in town.page.inner_text("#when")
    assert not town.page.locator(".maplibregl-ctrl-scale").is_visible()
    assert not town.page.locator("#timeline").is_visible()  # heights on the Earth are no other date of it
    centre = town.page.evaluate("() => { const { lng, lat } = window.ecumene.map.getCenter(); return [lng, lat]; }")
    text = town.click(*centre)
    assert any(f"column {column}, row {row}" in text for column in (39, 40) for row in (47, 48))
    town.shot("radar")


def test_charts_are_drawn_with_their_numbers(town):
    town.page.click("#tab-charts")
    town.page.wait_for_selector(".chart canvas")
    titles = town.page.locator("figcaption").all_inner_texts()
    assert {"Built-up area by year", "SDG 11.3.1"} <= set(titles)
    assert "1.31" in town.page.inner_text("figure:has-text('SDG 11.3.1')")
    canvas = town.page.locator("figure:has-text('Built-up area by year') canvas")
    assert "Built-up area by year" in canvas.get_attribute("aria-label")
    drawn = canvas.evaluate(
        "(c) => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.filter((v, k) => k % 4 === 3 && v).length"
    )
    assert drawn > 500
    town.shot("charts")
    town.page.click("#tab-about")
    assert "Drawn for tests." in town.page.inner_text("#panel-about")


def test_dark_follows_the_system_and_the_switch(town):
    light = seen(town, (-3, 40))
    town.page.emulate_media(color_scheme="dark")
    dark = seen(town.rest(), (-3, 40))
    town.shot("dark")
    assert sum(dark) < 100 < sum(light)
    town.page.click("#theme-button")  # system -> light
    assert near(seen(town.rest(), (-3, 40)), light)
    town.page.click("#theme-button")
    town.page.emulate_media(color_scheme="light")
    assert near(seen(town.rest(), (-3, 40)), dark)
    town.page.click("#theme-button")
    assert near(seen(town.rest(), (-3, 40)), light)


def test_axe_finds_no_serious_fault(town):
    town.click(*web_products.place(*OUTLIER))
    assert town.accessibility_faults() == []
    town.page.click("#swipe-button")
    town.page.click("#tab-charts")
    town.page.wait_for_selector(".chart canvas")
    assert town.rest().accessibility_faults() == []
    town.page.emulate_media(color_scheme="dark")
    assert town.rest().accessibility_faults() == []
    town.page.click("#tab-pixel")
    assert town.accessibility_faults() == []
    town.page.emulate_media(color_scheme="light")
    town.page.click("#help-button")
    assert town.accessibility_faults() == []
    town.page.keyboard.press("Escape")
    choose(town, "heights · 2023-07-06", "uncertainty")
    assert town.accessibility_faults() == []


def test_the_address_brings_the_same_view_back(browser, address):
    lon, lat = web_products.place(*IN_TOWN)
    with contextlib.closing(MapPage(browser, address)) as view:
        view.open(f"#p=town-2023&l=uncertainty&at={lon:.5f},{lat:.5f},16")
        assert view.page.is_checked("input[name=layer][value=uncertainty]")
        assert view.page.evaluate("() => window.ecumene.map.getZoom()") == pytest.approx(16)
        view.page.check("input[name=layer][value=outlier]")
        view.page.wait_for_function("() => location.hash.includes('l=outlier')")
        view.page.evaluate("() => { location.hash = '#p=../../etc&l=%3Cb%3E&at=1e9,x,3'; }")
        view.page.wait_for_function("() => window.ecumene?.map && location.hash.includes('p=town-2019')")
        view.rest()  # nonsense is left aside
        assert view.page.input_value("#product") == "town-2019"
        assert view.faults == []


def test_a_small_screen_shows_the_map_first(browser, address):
    with contextlib.closing(MapPage(browser, address, viewport={"width": 390, "height": 780}, has_touch=True)) as view:
        view.open()
        assert not view.page.locator("#controls").is_visible()
        assert near(view.colour(*web_products.place(*IN_WATER)), WATER)
        assert "water" in view.click(*web_products.place(*IN_WATER))
        assert view.page.locator("#details").is_visible()
        assert view.page.evaluate("() => document.documentElement.scrollWidth") <= 390
        view.shot("phone")
        assert view.accessibility_faults() == []


def test_missing_parts_are_told_in_one_sentence(browser, address):
    with contextlib.closing(MapPage(browser, address)) as view:
        view.page.route("**/maplibre-gl.mjs", lambda route: route.abort())
        view.page.goto(address)
        view.page.wait_for_selector("#notice:visible")
        assert view.page.inner_text("#notice") == "The map library is missing; build it with: make install."
        view.page.unroute("**/maplibre-gl.mjs")
        view.open()
        view.page.route("**/pixel**", lambda route: route.abort())
        view.page.mouse.click(*view.screen(*web_products.place(*IN_WATER)))
        view.page.wait_for_selector("#notice:visible")
        assert view.page.inner_text("#notice") == "The server does not answer; start it again with: ecumene view."


def test_a_base_map_is_fetched_only_when_it_is_switched_on(browser, folders):
    from ecumene.viewer.server.app import create_app
    from ecumene.viewer.server.library import open_library
    from ecumene.viewer.server.running import serving

    about = {"tiles": "https://tiles.example/{z}/{x}/{y}.png", "attribution": "Example contributors"}
    square = (folders[0] / "quicklook.png").read_bytes()
    library = open_library(folders[:1])
    with (
        serving(create_app(library, basemap=about)) as where,
        contextlib.closing(MapPage(browser, where)) as view,
    ):
        answer = {"status": 200, "content_type": "image/png", "body": square}
        answer["headers"] = {"access-control-allow-origin": "*"}
        view.page.route("https://tiles.example/**", lambda route: route.fulfill(**answer))
        view.open()
        assert not [url for url in view.requests if "tiles.example" in url]
        view.page.check(".base input")
        view.rest()
        assert [url for url in view.requests if "tiles.example" in url]
        assert "Example contributors" in view.page.inner_text(".maplibregl-ctrl-attrib")
        assert view.faults == []
