"""The verb `series` on scenes and maps whose changes are known."""

import json

import numpy as np
import pandas as pd
import pytest
from change_files import layer, map_product, write
from PIL import Image

from ecumene.core.errors import ConfigurationError, ContractError, ProductError, SceneError
from ecumene.legends import Legend
from ecumene.viewer.charts import own_charts
from ecumene.workflows.indicators import compute_indicators
from ecumene.workflows.series import SeriesOptions, follow_series

SHAPE = (24, 32)
DAY = np.timedelta64(1, "D")
DATES = [str(np.datetime64("2018-01-10") + int(k * 48) * DAY) for k in range(24)]
BREAK = "2019-09-01"
DECLARED = {"sensor": "landsat-8", "level": "DN", "bands": ["B4", "B5", "B6"]}
QUIET = {"animation": False}


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """No pictures but those of the module's own products, which are made before."""
    monkeypatch.setattr("ecumene.workflows.series.draw_series", lambda path, *rest: path.write_bytes(b"png"))


def built():
    """Where land is built over at `BREAK`."""
    where = np.zeros(SHAPE, bool)
    where[4:16, 6:20] = True
    return where


def days(text):
    return np.datetime64(text, "D").astype(int)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Fields with a season; a block that is built over; one date under clouds."""
    folder = tmp_path_factory.mktemp("series")
    rng = np.random.default_rng(1)
    paths = []
    for number, date in enumerate(DATES):
        phase = 2 * np.pi * (days(date) % 365.25) / 365.25
        green = np.full(SHAPE, 0.5 - 0.2 * np.cos(phase))
        if date >= BREAK:
            green[built()] = 0.05
        red, nir, swir = 1500 - 1000 * green, 1500 + 3000 * green, 1800 - 800 * green
        image = np.stack([red, nir, swir]) + rng.normal(0, 40, (3, *SHAPE))
        if number == 7:
            image[:] = np.nan
        paths.append(write(folder / f"{date}.tif", image.astype(np.float32), nodata=float("nan")))
    return paths


@pytest.fixture(scope="module")
def breaks(scenes, tmp_path_factory):
    return follow_series(scenes, tmp_path_factory.mktemp("breaks") / "out", time=DATES, **DECLARED)


def test_breaks_are_dated_with_an_interval(breaks):
    value, low, high = (layer(breaks, name) for name in ("value", "date_low", "date_high"))
    assert np.isfinite(value[built()]).mean() > 0.98
    assert np.isfinite(value[~built()]).mean() < 0.1
    inside = (low <= days(BREAK)) & (days(BREAK) <= high)
    assert inside[built() & np.isfinite(value)].mean() > 0.8
    np.testing.assert_allclose(layer(breaks, "error"), (high - low) / 2, atol=1.0)
    assert breaks.layers["value"].unit == "days since 1970-01-01"
    names = breaks.layers["magnitude"].band_names
    assert names == ("NDBI", "NDVI")
    assert (layer(breaks, "magnitude", 2)[built()] < 0).all()
    assert (layer(breaks, "kind")[built() & np.isfinite(value)] == 2).all()  # NDBI rose


def test_a_date_under_clouds_is_named(breaks):
    assert breaks.properties["ecumene:results"]["dates_without_a_clear_pixel"] == [DATES[7]]


def test_the_chart_has_the_changed_area_by_year_with_its_interval(breaks):
    chart = own_charts(breaks)[0]
    series = chart["series"][0]
    assert series["x"] == [2018.0, 2019.0, 2020.0, 2021.0]
    assert series["low"] <= series["y"] <= series["high"]
    assert series["y"][-1] == pytest.approx(np.isfinite(layer(breaks, "value")).sum() * 0.01, rel=0.01)
    with Image.open(breaks.folder / "animation.webp") as picture:
        assert picture.format == "WEBP"


def test_tiles_and_repetition_change_nothing(scenes, breaks, tmp_path, monkeypatch):
    monkeypatch.setattr("ecumene.workflows.series_input._EDGES", (16, 16))
    again = follow_series(scenes, tmp_path / "out", SeriesOptions(**QUIET), time=DATES, **DECLARED)
    for name in ("value", "date_low", "probability", "magnitude"):
        np.testing.assert_array_equal(layer(again, name), layer(breaks, name))


def test_monitoring_raises_alarms_after_the_history(scenes, tmp_path):
    options = SeriesOptions(history="2019-08-20", index=["NDVI"], **QUIET)
    found = follow_series(scenes, tmp_path / "out", options, time=DATES, **DECLARED)
    assert found.properties["ecumene:method"]["parameters"]["method"] == "monitor"
    value = layer(found, "value")
    assert np.isfinite(value[built()]).mean() > 0.95
    assert np.isfinite(value[~built()]).mean() < 0.15
    assert (layer(found, "date_high") >= days(BREAK))[np.isfinite(value) & built()].all()


def test_one_value_is_monitored(scenes, tmp_path):
    options = SeriesOptions(history="2019-08-20", **QUIET)
    found = follow_series(scenes, tmp_path / "out", options, time=DATES, **DECLARED)
    parameters = found.properties["ecumene:method"]["parameters"]
    assert len(parameters["followed"]) == 1  # the first of what is followed where nothing is named
    assert parameters["mask_clouds"] is True
    assert found.layers["magnitude"].band_names == tuple(parameters["followed"])
    both = SeriesOptions(history="2019-08-20", index=["NDVI", "NDBI"], **QUIET)
    refused(ConfigurationError, "follows one value", scenes, tmp_path / "no", both, time=DATES, **DECLARED)


def test_statistics_and_trends(scenes, tmp_path):
    found = follow_series(scenes, tmp_path / "a", SeriesOptions(method="statistics", **QUIET), time=DATES, **DECLARED)
    assert found.layers["value"].band_names == ("NDBI", "NDVI")
    assert (layer(found, "observations") == 23).all()
    assert (layer(found, "min") <= layer(found, "max")).all()
    trend = follow_series(scenes, tmp_path / "b", SeriesOptions(method="trends", **QUIET), time=DATES, **DECLARED)
    assert (layer(trend, "value", 2)[built()] < 0).mean() > 0.95


def test_radar_changes_are_dated_by_the_omnibus_test(tmp_path):
    rng = np.random.default_rng(4)
    dates = [f"2020-{month:02d}-05" for month in range(1, 9)]
    shape = (64, 64)
    where = np.zeros(shape, bool)
    where[10:30, 10:40] = True
    paths = []
    for number, date in enumerate(dates):
        mean = np.where(where & (number >= 5), 12.0, 1.0)
        image = 10 * np.log10(mean * rng.gamma(4.4, 1 / 4.4, shape))
        paths.append(write(tmp_path / f"{date}.tif", image[None].astype(np.float32)))
    told = {"sensor": "sentinel-1", "level": "GRD", "bands": ["VV"], "unit": "dB"}
    found = follow_series(paths, tmp_path / "out", SeriesOptions(**QUIET), time=dates, **told)
    method = found.properties["ecumene:method"]["parameters"]
    assert method["method"] == "omnibus"
    assert "too few" in method["chosen"]
    assert found.properties["ecumene:results"]["looks"] == pytest.approx(4.4, rel=0.15)
    low, high = layer(found, "date_low"), layer(found, "date_high")
    right = (low == days(dates[4])) & (high == days(dates[5]))
    assert right[where].mean() > 0.8
    assert np.isfinite(layer(found, "value"))[~where].mean() < 0.05
    assert (layer(found, "kind")[where & right] == 2).all()


def refused(kind, match, *args, **told):
    with pytest.raises(kind, match=match) as caught:
        follow_series(*args, **told)
    assert str(caught.value).endswith(".")


def test_bad_series_are_refused_with_a_sentence(scenes, tmp_path):
    out = tmp_path / "out"
    refused(SceneError, "comes twice", scenes[:4], out, time=[*DATES[:3], DATES[2]], **DECLARED)
    refused(SceneError, "run backwards", scenes[:4], out, time=DATES[3::-1], **DECLARED)
    refused(SceneError, "series of 1 date", scenes[:1], out, time=DATES[:1], **DECLARED)
    refused(SceneError, "series of 2 dates", scenes[:2], out, time=DATES[:2], **DECLARED)
    refused(SceneError, "has no date", scenes[:4], out, **DECLARED)
    moved = write(tmp_path / "moved.tif", np.ones((3, *SHAPE), np.float32), shift=(2, 2))
    refused(ContractError, "different grids.*--align", [*scenes[:3], moved], out, time=DATES[:4], **DECLARED)
    most = SeriesOptions(most=0)
    refused(ConfigurationError, "--most, must be at least 1", scenes, out, most, time=DATES, **DECLARED)
    refused(ConfigurationError, "no method", scenes, out, SeriesOptions(method="magic"), time=DATES, **DECLARED)
    refused(ConfigurationError, "--history", scenes, out, SeriesOptions(method="monitor"), time=DATES, **DECLARED)
    refused(ConfigurationError, "follows classes", scenes, out, SeriesOptions(method="growth"), time=DATES, **DECLARED)
    refused(
        ConfigurationError, "radar intensities", scenes, out, SeriesOptions(method="omnibus"), time=DATES, **DECLARED
    )
    refused(ContractError, "swir22", scenes, out, SeriesOptions(index=["NBR"]), time=DATES, **DECLARED)
    assert not (out / "item.json").exists()


def test_a_series_under_clouds_alone_is_refused(tmp_path):
    cloud = [write(tmp_path / f"{k}.tif", np.full((3, *SHAPE), np.nan, np.float32), nodata=float("nan"))
             for k in range(4)]  # fmt: skip
    refused(SceneError, "Only 0 of 4 dates have a clear pixel", cloud, tmp_path / "out", time=DATES[:4], **DECLARED)


YEARS = (2016, 2018, 2020, 2022)
CLASSES = Legend.from_names(["water", "cropland", "built-up"], name="three")


def truth(year):
    """Classes of a town that grows by two columns of pixels a year, beside water."""
    town = np.full((32, 48), 1)
    town[:, :6] = 0
    town[8:24, 16 : 20 + 2 * (year - 2016)] = 2
    return town


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    rng = np.random.default_rng(5)
    products = []
    for year in YEARS:
        index = truth(year)
        wrong = rng.random(index.shape) > 0.97
        index = np.where(wrong, (index + rng.integers(1, 3, index.shape)) % 3, index)
        chances = np.full((3, *index.shape), 0.015)
        np.put_along_axis(chances, index[None], 0.97, 0)
        codes = np.asarray(CLASSES.values)[index]
        products.append(map_product(folder / str(year), codes, chances, time=f"{year}-07-01", legend=CLASSES))
    return products


@pytest.fixture(scope="module")
def growth(maps, tmp_path_factory):
    options = SeriesOptions(urban_boundary=True)
    return follow_series(maps, tmp_path_factory.mktemp("growth") / "growth", options)


def test_growth_is_steadier_than_its_maps(growth):
    first = np.zeros((32, 48))
    for year in reversed(YEARS):
        first[truth(year) == 2] = year
    found = layer(growth, "value")
    assert (found == first).mean() > 0.97
    grown = (first > 2016) & (found > 2016)
    assert (layer(growth, "kind")[grown] == 2).mean() > 0.95  # cropland
    assert growth.layers["value"].unit == "calendar year"
    low, high = layer(growth, "date_low"), layer(growth, "date_high")
    inside = (low < days("2019-01-01")) & (days("2018-07-01") <= high + 1)
    assert inside[(first == 2018) & np.isfinite(low)].mean() > 0.85


def test_built_up_area_covers_the_truth(growth):
    chart = own_charts(growth)[0]["series"][0]
    for year, area, low, high in zip(YEARS, chart["y"], chart["low"], chart["high"], strict=True):
        true = (truth(year) == 2).sum() * 0.01
        assert low <= true * 1.02
        assert true <= high * 1.02
        assert area == pytest.approx(true, rel=0.12)
    with Image.open(growth.folder / "animation.webp") as picture:
        assert picture.n_frames == 7


def test_indicators_take_what_series_writes(growth, tmp_path):
    import geopandas
    import shapely

    people = {}
    for year, persons in ((2016, 1000.0), (2022, 1500.0)):
        weights = (truth(year) == 2).astype(float)
        people[year] = write(tmp_path / f"p{year}.tif", (weights / weights.sum() * persons)[None])
    box = growth.geobox.boundingbox
    town = geopandas.GeoDataFrame({"name": ["town"]}, geometry=[shapely.box(*box.bbox)], crs="EPSG:32633")
    town.to_file(tmp_path / "town.gpkg")
    out = tmp_path / "sdg"
    compute_indicators([growth.folder], list(people.items()), tmp_path / "town.gpkg", out)
    found = json.loads((out / "indicators.json").read_text())["cities"][0]
    area = {year: (truth(year) == 2).sum() * 100.0 for year in (2016, 2022)}
    for year in (2016, 2022):
        assert found["years"][str(year)]["built_up_mapped_m2"] == pytest.approx(area[year], rel=0.1)
        assert found["years"][str(year)]["built_up_standard_error_m2"] is not None
    table = pd.read_csv(out / "indicators.csv")
    expected = np.log(area[2022] / area[2016]) / np.log(1.5)
    ratio = next(column for column in table.columns if "ratio" in column and table[column].dtype.kind == "f")
    assert table[ratio].iloc[0] == pytest.approx(expected, rel=0.2)


def test_days_of_a_class_are_counted(maps, tmp_path):
    found = follow_series(maps, tmp_path / "out", SeriesOptions(count="water", **QUIET))
    assert found.layers["value"].band_names == tuple(map(str, YEARS))
    counted, unknown = (np.stack([layer(found, name, k + 1) for k in range(len(YEARS))]) for name in ("value", "error"))
    assert (np.nanmedian(counted[1:-1, :, :6], axis=(1, 2)) > 360).all()
    assert np.nanmedian(counted[0, :, :6] + unknown[0, :, :6]) > 360
    assert np.nanmedian(unknown[0]) == 182, "nothing is known before the first map, of 1 July 2016"
    assert np.nanmedian(counted[:, :, 30:]) == 0


def test_lasting_switches_have_classes_and_dates(maps, tmp_path):
    found = follow_series(maps, tmp_path / "out", SeriesOptions(method="switches", last=2, **QUIET))
    new = (truth(2020) == 2) & (truth(2018) == 1)  # one date on a side is too little against a class that stays
    assert (layer(found, "to")[new] == 3).mean() > 0.8
    assert (layer(found, "date_high")[new] == days("2020-07-01")).mean() > 0.7
    table = pd.read_csv(found.folder / "switches.csv")
    assert len(table) == layer(found, "count").sum()
    assert set(table.columns) == {"x", "y", "from", "to", "date_before", "date_after", "margin"}
    stable = truth(2022) == truth(2016)
    assert (layer(found, "count")[stable] == 0).mean() > 0.95


def test_bad_maps_are_refused(maps, scenes, tmp_path):
    out = tmp_path / "out"
    refused(SceneError, "run backwards", maps[::-1], out)
    refused(SceneError, "series of 1 date", maps[:1], out)
    refused(ConfigurationError, "one kind", [*maps[:2], scenes[0]], out)
    refused(ConfigurationError, "no class 'town'", maps, out, SeriesOptions(built_up=["town"]))
    refused(ConfigurationError, "follows values", maps, out, SeriesOptions(method="breaks"))
    unknown = Legend.from_names(["a", "b"], name="two")
    plain = [map_product(tmp_path / str(k), np.ones((8, 8)), time=f"{k}-07-01", legend=unknown) for k in (2019, 2020)]
    refused(ProductError, "--built-up", plain, out)
    undated = map_product(tmp_path / "undated", np.ones((8, 8)), legend=unknown)
    refused(ConfigurationError, "states no time", [*plain, undated], out)
