"""Methods of the verb `series` on maps: rules of growth, seasons of a class, other grids, clouds, options."""

import numpy as np
import pytest
from affine import Affine
from change_files import layer, map_product, write
from odc.geo.geobox import GeoBox

from ecumene.core.errors import ConfigurationError, ContractError, LabelError, SceneError
from ecumene.core.window import Window
from ecumene.legends import Legend
from ecumene.workflows.indicators_maps import YEAR_UNIT
from ecumene.workflows.series import SeriesOptions, follow_series
from ecumene.workflows.series_days import DaysSeries
from ecumene.workflows.series_products import MapSeries

CLASSES = Legend.from_names(["water", "cropland", "built-up"], name="three")
CODES = np.asarray(CLASSES.values)
QUIET = {"animation": False}


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """No pictures."""
    monkeypatch.setattr("ecumene.workflows.series.draw_series", lambda path, *rest: path.write_bytes(b"png"))


def days(text):
    return np.datetime64(text, "D").astype(int)


def yearly(folder, columns, valid=None, shift=0):
    """Write maps of a row of pixels, a column each: classes by year from 2016 on."""
    products = []
    for t, row in enumerate(np.array(columns).T):
        index = np.repeat(row[None], 4, axis=0)
        chances = np.full((3, *index.shape), 0.1)
        np.put_along_axis(chances, index[None], 0.8, 0)
        known = None if valid is None else np.repeat(np.array(valid).T[t][None], 4, axis=0)
        products.append(
            map_product(folder / str(2016 + t), CODES[index], chances, time=f"{2016 + t}-07-01", legend=CLASSES,
                        valid=known, shift=shift if t else 0)
        )  # fmt: skip
    return products


COURSES = [[1, 1, 1, 1, 1], [1, 1, 2, 2, 2], [1, 2, 1, 1, 1], [2, 2, 1, 2, 2], [1, 1, 1, 1, 2], [0, 2, 2, 2, 2]]


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    return yearly(tmp_path_factory.mktemp("maps"), COURSES)


@pytest.mark.parametrize(
    ("rule", "years"),
    [("steps", [0, 2018, 0, 2016, 2020, 2017]), ("majority", [0, 2018, 0, 2016, 0, 2017])],
)
def test_published_rules_of_growth_give_the_year(maps, tmp_path, rule, years):
    found = follow_series(maps, tmp_path / "out", SeriesOptions(rule=rule, urban_boundary=True, **QUIET))
    assert layer(found, "value")[0].tolist() == years
    assert found.layers["value"].unit == YEAR_UNIT
    assert "built_up_probability" not in found.layers  # a rule knows no probability
    assert layer(found, "date_low")[0, 1] == days("2017-07-01")
    assert layer(found, "date_high")[0, 1] == days("2018-07-01")
    assert layer(found, "kind")[0, [1, 5]].tolist() == [CODES[1], CODES[0]]
    areas = found.properties["ecumene:results"]["built_up_m2"]
    assert areas["2020-07-01"]["mapped"] == pytest.approx(400.0 * sum(year > 0 for year in years), rel=0.01)
    assert ("misfit" in found.layers) == (rule == "steps")


def test_rules_refuse_what_they_do_not_know(maps, tmp_path):
    with pytest.raises(ConfigurationError, match="--interval means nothing to the rule steps"):
        follow_series(maps, tmp_path / "out", SeriesOptions(rule="steps", interval=0.5))
    with pytest.raises(SceneError, match="three maps or more, one a year"):
        follow_series(maps[:2], tmp_path / "out", SeriesOptions(rule="majority"))
    for options, said in (
        ({"last": 3}, "--last means nothing to the method growth"),
        ({"method": "switches", "urban_boundary": True}, "--urban-boundary means nothing to the method switches"),
        ({"index": ["NDVI"]}, "--index means nothing"),
        ({"mask_clouds": False}, "--no-cloud-mask means nothing"),
        ({"breaks": {"order": 2}}, "--order means nothing to the method growth"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            follow_series(maps, tmp_path / "out", SeriesOptions(**options))
    with pytest.raises(ConfigurationError, match="--nodata is said of scenes; products state it themselves"):
        follow_series(maps, tmp_path / "out", nodata=0.0)


def test_maps_on_another_grid_are_read_on_the_first_one(tmp_path):
    maps = yearly(tmp_path, COURSES, shift=1)  # later maps lie one pixel to the right
    with pytest.raises(ContractError, match=r"different grids; add --align"):
        follow_series(maps, tmp_path / "no", SeriesOptions(**QUIET))
    found = follow_series(maps, tmp_path / "out", SeriesOptions(rule="steps", align=True, **QUIET))
    year = layer(found, "value")[0]
    assert year[1] == 0  # sees the first course in later years
    assert year[2] == 2018
    assert year[5] == 2020


def test_dates_of_a_switch_are_those_on_which_the_pixel_was_seen(tmp_path):
    seen = [[True] * 5, [True, True, False, True, True], [True, False, False, True, True]]
    maps = yearly(tmp_path, [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 1, 0, 0]], seen)
    found = follow_series(maps, tmp_path / "out", SeriesOptions(method="switches", stay=0.6, **QUIET))
    low, high = layer(found, "date_low")[0], layer(found, "date_high")[0]
    assert np.isnan(low[0])
    assert low[1:].tolist() == [days("2017-07-01"), days("2016-07-01")]
    assert high[1:].tolist() == [days("2019-07-01")] * 2


class Layers:
    """One map in memory."""

    def __init__(self, index, known):
        self.index, self.known = index, known

    def classes(self, window):
        return self.index[window.slices], self.known[window.slices]


def winters(second=False, last=2020):
    """Maps every ten days: water for 100 days from November on, ten days fewer each winter; gaps in one pixel."""
    rng = np.random.default_rng(1)
    dates = np.arange("2015-09-01", f"{last}-09-05", 30 if second else 10, dtype="datetime64[D]")
    maps = []
    for date in dates:
        year = int(str(date)[:4]) - (str(date)[5:] < "09-01")
        since = (date - np.datetime64(f"{year}-11-01")).astype(int)
        wet = 0 <= since < 100 - 10 * (year - 2015)
        known = np.ones((2, 3), bool)
        if not second:
            known[:, 1] = rng.random(2) > 0.3
        maps.append(Layers(np.full((2, 3), 0 if wet else 1), known))
    grid = GeoBox((2, 3), Affine(10, 0, 500_000, 0, -10, 5_200_000), "EPSG:32633")
    return MapSeries(maps, dates.astype(np.int64), CLASSES, grid, 0.9)


def test_days_of_seasons_have_a_trend_and_a_measured_filling():
    found = DaysSeries.of(winters(), "water", "09-01", 0.9, None)
    window = Window(0, 0, 2, 3)
    layers = found.tile(window)
    assert {spec.name for spec in found.layers()} == set(layers)
    assert found.years == [2015, 2016, 2017, 2018, 2019, 2020]
    assert found.whole == [2015, 2016, 2017, 2018, 2019]
    assert layers["value"][0, 0, 0] == pytest.approx(100, abs=10)
    assert layers["trend"][0, 0, 0] == pytest.approx(-10, abs=2)
    assert layers["trend_error"][0, 0, 0] < 5
    assert layers["trend_p_value"][0, 0, 0] < 0.05
    assert found.results()["hidden_values_filled"]["season"]["accuracy"] > 0.8
    merged = DaysSeries.of(winters(), "water", "09-01", 0.9, winters(second=True))
    assert "other sensor" in merged.results()["hidden_values_filled"]
    assert merged.tile(window)["error"][:, :, 1].sum() < layers["error"][:, :, 1].sum()
    short = DaysSeries.of(winters(last=2017), "water", "09-01", 0.9, None)
    assert "trend" not in {spec.name for spec in short.layers()}


def test_seasons_that_cannot_be_counted_get_a_sentence():
    with pytest.raises(ConfigurationError, match="begins at MM-DD"):
        DaysSeries.of(winters(), "water", "02-29", 0.9, None)
    with pytest.raises(ConfigurationError, match="--count, one of water"):
        DaysSeries.of(winters(), None, "01-01", 0.9, None)
    late = winters()
    late.days[-1] += 100
    with pytest.raises(ContractError, match="in --second has no map of that date"):
        DaysSeries.of(winters(), "water", "01-01", 0.9, late)


def test_maps_of_another_sensor_come_from_a_folder(maps, tmp_path):
    others = tmp_path / "others"
    for date, code in (("2018-07-01", 0), ("2016-07-01", 0)):
        map_product(others / date, np.full((4, 6), CODES[code]), time=date, legend=CLASSES)
    options = {"count": "water", **QUIET}
    found = follow_series(maps, tmp_path / "out", SeriesOptions(second=[others], **options))
    assert len(found.item["links"]) >= 7
    with pytest.raises(ConfigurationError, match="is no product and holds none"):
        follow_series(maps, tmp_path / "no", SeriesOptions(second=[tmp_path / "empty"], **options))


def test_a_model_is_not_run_on_scenes_that_cannot_be_followed(tmp_path, monkeypatch):
    class Spec:
        temporal, patch_size, name, kind = False, None, "m", "network"

    class Objective:
        legend = CLASSES

    class Fake:
        spec, objective = Spec(), Objective()

    monkeypatch.setattr("ecumene.models.bundle.Model.load", lambda path: Fake())
    monkeypatch.setattr("ecumene.workflows.map.map_scenes", lambda *_, **__: pytest.fail("mapped"))
    scenes = [write(tmp_path / f"{k}.tif", np.ones((1, 8, 8), np.float32), shift=(k, 0)) for k in range(3)]
    told = {"sensor": "landsat-8", "level": "DN", "bands": ["B4"], "time": ["2018-07-01", "2019-07-01", "2020-07-01"]}
    with pytest.raises(ContractError, match="--align"):
        follow_series(scenes, tmp_path / "out", SeriesOptions(model=tmp_path), **told)
    with pytest.raises(ConfigurationError, match="--last means nothing to the method growth"):
        follow_series(scenes, tmp_path / "out", SeriesOptions(model=tmp_path, last=3), **told)
    told["time"] = ["2018-07-01", "2019-07-01", "2019-08-01"]
    other = map_product(tmp_path / "second", np.full((4, 6), CODES[0]), time="2017-07-01", legend=CLASSES)
    for error, options, said in (
        (SceneError, {"rule": "majority"}, "three maps or more, one a year"),
        (ConfigurationError, {"certainty": 0.4}, "between 0.5 and 1"),
        (ConfigurationError, {"interval": 1.0}, "level of an interval"),
        (ConfigurationError, {"built_up": ["sea"]}, "sea"),
        (ConfigurationError, {"method": "days"}, "--count, one of water"),
        (LabelError, {"count": "sea"}, "not in the legend"),
        (ConfigurationError, {"count": "water", "season": "13-01"}, "begins at MM-DD"),
        (ContractError, {"count": "water", "second": [other]}, "in --second has no map of that date"),
        (ConfigurationError, {"method": "switches", "last": 0}, "--last 1 or more"),
        (ConfigurationError, {"method": "switches", "stay": 1.0}, "between 0 and 1"),
        (ConfigurationError, {"method": "switches", "margin": 1.0}, "from 0 to below 1"),
    ):
        with pytest.raises(error, match=said):
            follow_series(scenes, tmp_path / "out", SeriesOptions(model=tmp_path, align=True, **options), **told)
    monkeypatch.setattr("ecumene.workflows.series.maps_years", lambda spec: True)
    told["time"] = ["2019-06-01", "2019-07-01", "2019-08-01"]
    with pytest.raises(SceneError, match="A series of 1 date is too short"):  # three scenes, but one map
        follow_series(scenes, tmp_path / "out", SeriesOptions(model=tmp_path, align=True), **told)
    assert not (tmp_path / "out").exists()
