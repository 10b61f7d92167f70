"""The verb `series` on single pixels in a CSV: simulated, and a cleared forest in Bolivia."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ecumene.core.errors import ConfigurationError, EcumeneError, ProductError, SceneError
from ecumene.workflows.series_options import SeriesOptions
from ecumene.workflows.series_table import follow_table, is_table, read_table

DAYS = np.arange("2017-01-05", "2020-12-20", 20, dtype="datetime64[D]")


@pytest.fixture(autouse=True)
def undrawn(monkeypatch, request):
    """No pictures but in the test of pictures."""
    if "picture" not in request.node.name:
        monkeypatch.setattr("ecumene.workflows.series_table.draw_table", lambda *_: None)


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Two pixels, two bands; one pixel drops twice."""
    rng = np.random.default_rng(0)
    rows = []
    for pixel, first, second in (("a", 30, 55), ("b", 999, 999)):
        for k, day in enumerate(DAYS):
            drop = 4.0 * (k >= first) + 4.0 * (k >= second)
            rows.append(
                {"date": day, "pixel": pixel, "VV": -8 - drop + rng.normal(0, 0.4), "VH": -15 + rng.normal(0, 0.4)}
            )
    path = tmp_path_factory.mktemp("wide") / "wide.csv"
    frame = pd.DataFrame(rows)
    frame.loc[3, "VV"] = np.nan
    frame.to_csv(path, index=False)
    return path


def test_a_break_has_its_interval_and_its_probability(wide, tmp_path):
    found = follow_table([wide], tmp_path / "out", SeriesOptions(breaks={"order": 0, "trend": False}))
    table = pd.read_csv(tmp_path / "out" / "changes.csv", keep_default_na=False)
    assert list(table["pixel"]) == ["a", "b"]
    assert float(table["probability"][0]) > 0.99 > 0.5 > float(table["probability"][1])
    assert table["date_low"][0] <= table["date"][0] <= table["date_high"][0]
    told = json.loads((tmp_path / "out" / "series.json").read_text())
    assert told["bands"] == ["VV", "VH"]
    assert told["input"]["file:checksum"].startswith("1220")
    assert found.pixels == 2
    with pytest.raises(ProductError, match="--overwrite"):
        follow_table([wide], tmp_path / "out", SeriesOptions())


def test_the_noise_s_autocorrelation_is_estimated_or_stated(wide, tmp_path):
    for number, said in enumerate(("auto", "0.2")):
        out = tmp_path / str(number)
        follow_table([wide], out, SeriesOptions(breaks={"autocorrelation": said}))
        told = json.loads((out / "series.json").read_text())["parameters"]["breaks"]["autocorrelation"]
        assert told == (pytest.approx(0.2) if said == "0.2" else pytest.approx(0.1, abs=0.1))
    with pytest.raises(ConfigurationError, match="number from 0 to 1, or auto"):
        follow_table([wide], tmp_path / "no", SeriesOptions(breaks={"autocorrelation": "much"}))


@pytest.mark.parametrize("options", [{"method": "breaks", "most": 3}, {"method": "sequence", "most": 3, "confirm": 4}])
def test_several_changes_of_a_pixel_are_rows(wide, tmp_path, options):
    chosen = SeriesOptions(**options, use_bands=["VV"], breaks={"order": 0, "trend": False})
    table = follow_table([wide], tmp_path / "out", chosen).changes
    dates = table[table["pixel"] == "a"]["date"].to_numpy("datetime64[D]")
    assert np.abs((dates - DAYS[[30, 55]]).astype(int)).max() <= 20
    assert (table[table["pixel"] == "a"]["magnitude_VV"] < -3).all()
    assert list(table[table["pixel"] == "b"]["number"]) == [0]


def test_alarms_and_patterns_of_pixels_and_their_picture(wide, tmp_path):
    alarm = follow_table([wide], tmp_path / "a", SeriesOptions(history="2018-06-30", use_bands=["VV"])).changes
    assert alarm["date"][0] >= str(DAYS[30])
    assert alarm["date"][1] == ""
    found = follow_table([wide], tmp_path / "p", SeriesOptions(method="patterns", use_bands=["VV"])).changes
    assert list(found["pattern"]) != ["constant", "constant"]
    assert found["pattern"][1] == "constant"
    assert (tmp_path / "p" / "quicklook.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("time,value\n2020-01-01,1\n", "no column `date`"),
        ("date,value\n", "no column `date`"),
        ("date,value\nsoon,1\n", "Line 2 of t.csv has no date"),
        ("date,value\n2020-01-01,one\n", "Line 2 of t.csv holds 'one' instead of a number"),
        ("date,value\n2020-01-01,1\n2020-01-01,2\n", "two values of value of pixel 1 on 2020-01-01"),
        ("date,value\n2020-01-01,\n", "holds no value"),
        ("date,value\n2020-01-01,1\n2020-02-01,2\n", "series of 2 dates is too short"),
        ("date\n2020-01-01\n", "no column of values"),
    ],
)
def test_tables_that_cannot_be_used_get_a_sentence(tmp_path, text, said):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(SceneError, match=said) as caught:
        follow_table([path], tmp_path / "out", SeriesOptions())
    assert str(caught.value).endswith(".")
    assert not (tmp_path / "out").exists()


def test_one_value_is_monitored_and_nothing_old_stays_beside_what_is_new(wide, tmp_path, monkeypatch):
    out = tmp_path / "out"
    options = SeriesOptions(history="2018-06-30", overwrite=True)
    assert [name for name in follow_table([wide], out, options).changes if "magnitude" in name] == ["magnitude_VV"]
    told = json.loads((out / "series.json").read_text())
    assert told["bands"] == ["VV"]
    assert len(told["dates"]) == len(DAYS)  # the other pixel has the date on which one lacks VV

    def broken(*_):
        raise OSError

    monkeypatch.setattr("ecumene.workflows.series_table.draw_table", broken)
    with pytest.raises(OSError):
        follow_table([wide], out, options)
    assert not (out / "series.json").exists()
    (tmp_path / "item.json").write_text("{}")
    with pytest.raises(ProductError, match="holds a product of images"):
        follow_table([wide], tmp_path, options)


def test_options_of_scenes_are_refused(wide, tmp_path):
    for options, told in (
        (SeriesOptions(method="omnibus"), {}), (SeriesOptions(align=True, count="x"), {}),
        (SeriesOptions(), {"sensor": "landsat-8"}), (SeriesOptions(use_bands=["HH"]), {}),
        (SeriesOptions(method="monitor"), {}), (SeriesOptions(method="patterns", objects=True), {}),
        (SeriesOptions(animation=False), {}), (SeriesOptions(history="2018-06-30", use_bands=["VV", "VH"]), {}),
    ):  # fmt: skip
        with pytest.raises(EcumeneError):
            follow_table([wide], tmp_path / "out", options, told)
    assert not is_table([wide, wide])


@pytest.fixture(scope="module")
def forest():
    root = os.environ.get("ECUMENE_DATA")
    if not root:
        pytest.skip("ECUMENE_DATA does not name the real data sets")
    return Path(root) / "s1_landsat_deforestation_pixel_bolivia" / "series.csv"


@pytest.mark.data
@pytest.mark.parametrize("bands", [["S1_VV_dB"], None])
def test_the_clearing_of_a_forest_is_dated_to_early_2016(forest, tmp_path, bands):
    series = read_table(forest)
    assert len(series.bands) == 2
    assert np.isfinite(series.values).sum(axis=(1, 2)).tolist() == [73, 31]
    found = follow_table([forest], tmp_path / "out", SeriesOptions(use_bands=bands)).changes.iloc[0]
    assert found["probability"] > 0.99
    assert "2015-12-15" < found["date_low"] <= found["date"] <= found["date_high"] < "2016-02-15"
    assert (np.datetime64(found["date_high"]) - np.datetime64(found["date_low"])).astype(int) < 45
    assert found["magnitude_S1_VV_dB"] < 0
