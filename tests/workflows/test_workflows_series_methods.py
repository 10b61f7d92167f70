"""Methods of the verb `series` on scenes that find several changes, patterns, and alarms after them."""

import numpy as np
import pytest
from change_files import layer, write

from ecumene.core.errors import ConfigurationError, ContractError, ProductError, SceneError
from ecumene.workflows.series import SeriesOptions, follow_series

SHAPE = (24, 40)
DAY = np.timedelta64(1, "D")
RADAR = {"sensor": "sentinel-1", "level": "GRD", "bands": ["VV"], "unit": "dB"}
DATES = [str(np.datetime64("2018-01-10") + int(k * 24) * DAY) for k in range(40)]
QUIET = {"animation": False}


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """No pictures."""
    monkeypatch.setattr("ecumene.workflows.series.draw_series", lambda path, *rest: path.write_bytes(b"png"))


def days(text):
    return np.datetime64(text, "D").astype(int)


def places():
    """Where buildings rise, where they are pulled down and rebuilt."""
    up, twice = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    up[3:11, 4:16] = True
    twice[13:21, 22:36] = True
    return up, twice


@pytest.fixture(scope="module")
def radar(tmp_path_factory):
    """40 dates of filtered radar: one block steps up, another one down and up again."""
    folder = tmp_path_factory.mktemp("radar")
    rng = np.random.default_rng(3)
    up, twice = places()
    paths = []
    for number, date in enumerate(DATES):
        image = -11.0 + 10 * np.log10(rng.gamma(18.0, 1 / 18.0, SHAPE))
        image += np.where(up & (number >= 20), 5.0, 0.0) + np.where(twice & (number in range(14, 32)), -6.0, 0.0)
        paths.append(write(folder / f"{date}.tif", image[None].astype(np.float32)))
    return paths


def followed(scenes, out, dates=DATES, **options):
    return follow_series(scenes, out, SeriesOptions(**QUIET, **options), time=dates, **RADAR)


@pytest.fixture(scope="module")
def patterns(radar, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ecumene.workflows.series.draw_series", lambda path, *rest: path.write_bytes(b"png"))
        return followed(radar, tmp_path_factory.mktemp("p") / "out", method="patterns", objects=True)


def test_several_breaks_have_dates_of_their_own(radar, tmp_path):
    found = followed(radar, tmp_path / "out", method="breaks", most=3, breaks={"order": 0, "trend": False})
    up, twice = places()
    count = layer(found, "count")
    assert (count[up] == 1).mean() > 0.95
    assert (count[twice] == 2).mean() > 0.9
    assert (count[~up & ~twice] == 0).mean() > 0.95
    for number, band in ((14, 1), (32, 2)):
        date = layer(found, "dates", band)[twice]
        low, high = layer(found, "dates_low", band)[twice], layer(found, "dates_high", band)[twice]
        assert np.nanmedian(np.abs(date - days(DATES[number]))) <= 24
        assert np.nanmean((low <= days(DATES[number])) & (days(DATES[number - 1]) <= high)) > 0.9
    assert found.layers["magnitudes"].band_names == ("VV 1", "VV 2", "VV 3")
    assert np.nanmedian(layer(found, "magnitudes", 1)[twice]) == pytest.approx(-6.0, abs=0.5)
    np.testing.assert_array_equal(layer(found, "value"), layer(found, "dates", 1))


def test_changes_that_are_followed_lie_between_two_dates(radar, tmp_path):
    options = {"method": "sequence", "most": 2, "confirm": 4, "breaks": {"order": 0, "trend": False}}
    found = followed(radar, tmp_path / "out", **options)
    up, _ = places()
    low, high = layer(found, "date_low")[up], layer(found, "date_high")[up]
    assert ((low == days(DATES[19])) & (high == days(DATES[20]))).mean() > 0.7
    assert (layer(found, "kind")[up & (layer(found, "count") == 1)] == 2).mean() > 0.9
    assert "left_out" in found.layers
    with pytest.raises(ConfigurationError, match=r"^prior means|--prior means nothing to the method sequence"):
        followed(radar, tmp_path / "no", method="sequence", breaks={"prior": 0.2})


def test_patterns_are_told_apart_and_objects_are_polygons(patterns):
    import geopandas

    up, twice = places()
    kind = layer(patterns, "kind")
    assert (kind[up] == 1).mean() > 0.98
    assert (kind[twice] == 4).mean() > 0.98  # a pulse downwards
    assert (kind[~up & ~twice] == 0).mean() > 0.98
    duration = layer(patterns, "duration")[twice & (kind == 4)]
    assert np.median(duration) == pytest.approx(18 * 24, abs=24)
    low, high = layer(patterns, "date_low")[up], layer(patterns, "date_high")[up]
    assert np.nanmean((low <= days(DATES[20])) & (days(DATES[19]) <= high)) > 0.9
    table = geopandas.read_file(patterns.folder / "objects.gpkg")
    assert sorted(table["pattern"]) == ["pulse", "step up"]
    assert table.area.sum() == pytest.approx(100.0 * (up.sum() + twice.sum()), rel=0.05)
    assert patterns.properties["ecumene:results"]["objects"] == 2


def test_tiles_do_not_show_in_coupled_patterns(radar, patterns, tmp_path, monkeypatch):
    monkeypatch.setattr("ecumene.workflows.series_input._EDGES", (32, 32))
    again = followed(radar, tmp_path / "out", method="patterns")
    for name in ("kind", "value", "magnitude", "probability"):
        np.testing.assert_array_equal(layer(again, name), layer(patterns, name))


@pytest.fixture(scope="module")
def later(tmp_path_factory):
    """Twelve new dates; where nothing had changed, a block gets brighter."""
    folder = tmp_path_factory.mktemp("later")
    rng = np.random.default_rng(8)
    up, _ = places()
    new = np.zeros(SHAPE, bool)
    new[14:22, 2:14] = True
    dates = [str(np.datetime64(DATES[-1]) + int(24 * (k + 1)) * DAY) for k in range(12)]
    paths = []
    for number, date in enumerate(dates):
        image = -11.0 + 10 * np.log10(rng.gamma(18.0, 1 / 18.0, SHAPE)) + 5.0 * up + 4.0 * (new & (number >= 6))
        paths.append(write(folder / f"{date}.tif", image[None].astype(np.float32)))
    return paths, dates, new


def test_new_dates_are_followed_on_from_a_product(patterns, later, tmp_path):
    paths, dates, new = later
    found = followed(paths, tmp_path / "out", dates, after=patterns.folder)
    assert found.properties["ecumene:method"]["parameters"]["method"] == "cusum"
    value, low = layer(found, "value"), layer(found, "date_low")
    assert np.isfinite(value[new]).mean() > 0.98
    assert np.isfinite(value[~new]).mean() < 0.02
    assert np.nanmedian(low[new]) == days(dates[5])
    assert (layer(found, "kind")[new & np.isfinite(value)] == 2).all()


def test_what_cannot_be_followed_on_gets_a_sentence(patterns, later, radar, tmp_path):
    paths, dates, _ = later
    out = tmp_path / "out"
    with pytest.raises(SceneError, match="is not after those of out, which end at"):
        followed(radar[-3:], out, DATES[-3:], after=patterns.folder)
    with pytest.raises(ConfigurationError, match="--after"):
        followed(paths, out, dates, method="cusum")
    moved = [write(tmp_path / f"m{k}.tif", np.zeros((1, *SHAPE), np.float32), shift=(1, 0)) for k in range(2)]
    with pytest.raises(ContractError, match="different grids"):
        followed(moved, out, dates[:2], after=patterns.folder)
    breaks = followed(radar[:8], tmp_path / "breaks", DATES[:8])
    with pytest.raises(ProductError, match="no product of"):
        followed(paths, out, dates, after=breaks.folder)
    with pytest.raises(ConfigurationError, match="--most, must be"):
        followed(radar, out, method="breaks", most=0)
    optical = [write(tmp_path / f"o{k}.tif", np.ones((1, *SHAPE), np.float32)) for k in range(6)]
    with pytest.raises(ConfigurationError, match="those of radar series"):
        follow_series(optical, out, SeriesOptions(method="patterns"), time=DATES[:6], sensor="landsat-8", level="DN",
                      bands=["B4"])  # fmt: skip
    assert not (out / "item.json").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"count": "water"}, "--count means nothing to the method breaks"),
        ({"method": "omnibus", "history": "2019-01-01"}, "--history means nothing to the method omnibus"),
        ({"method": "statistics", "interval": 0.5}, "--interval means nothing to the method statistics"),
        ({"method": "monitor", "history": "2019-01-01", "breaks": {"prior": 0.1}}, "--prior means nothing"),
        ({"keep_maps": True}, "--keep-maps means nothing to the method breaks"),
        ({"rule": "magic"}, "no rule 'magic'"),
    ],
)
def test_options_that_mean_nothing_are_refused(radar, tmp_path, options, said):
    with pytest.raises(ConfigurationError, match=said):
        followed(radar, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_radar_amplitudes_and_powers_give_the_decibels_of_their_power(tmp_path):
    from ecumene.scenes.intensity import as_decibels, as_power

    power = np.array([0.01, 1.0, 4.0, np.nan], np.float32)
    for unit, stored in (("linear power", power), ("amplitude", np.sqrt(power)), ("dB", 10 * np.log10(power))):
        np.testing.assert_allclose(as_decibels(stored, unit), 10 * np.log10(power), rtol=1e-5)
        np.testing.assert_allclose(as_power(stored, unit), power, rtol=1e-5)
    assert np.isnan(as_decibels(np.array([0.0, -1.0]), "linear power")).all()


@pytest.fixture(scope="module")
def decades(tmp_path_factory):
    """One scene a year of Landsat 5, 7 and 8: the same ground, each as its sensor sees it."""
    from ecumene.change.landsat_harmonisation import ETM_TO_OLI

    folder = tmp_path_factory.mktemp("decades")
    rng = np.random.default_rng(4)
    truth = {"red": 0.10, "nir": 0.30, "swir16": 0.20}
    bands = {"landsat-5": ("B3", "B4", "B5"), "landsat-7": ("B3", "B4", "B5"), "landsat-8": ("B4", "B5", "B6")}
    paths = []
    for year in range(2008, 2018):
        sensor = "landsat-5" if year < 2011 else "landsat-7" if year < 2013 else "landsat-8"
        place = folder / str(year)
        place.mkdir()
        image = []
        for name, value in truth.items():
            line = ETM_TO_OLI[name]
            image.append(value if sensor == "landsat-8" else (value - line.intercept) / line.slope)
        stored = np.array(image)[:, None, None] + rng.normal(0, 0.001, (3, 8, 9))
        write(place / "scene.tif", stored.astype(np.float32))
        (place / "scene.yaml").write_text(
            f"sensor: {sensor}\nlevel: L2\nbands: [{', '.join(bands[sensor])}]\nfiles: [scene.tif]\nscale: 1.0\n"
            f"offset: 0.0\ntime: {year}-07-01\n"
        )
        paths.append(place / "scene.yaml")
    return paths


def test_landsat_sensors_make_one_series(decades, tmp_path):
    found = follow_series(decades, tmp_path / "out", SeriesOptions(method="statistics", **QUIET))
    assert (layer(found, "observations") == 10).all()
    ndvi = (0.30 - 0.10) / 0.40
    for name in ("min", "max"):
        np.testing.assert_allclose(layer(found, name, 2), ndvi, atol=0.02)
    assert "landsat-5 and landsat-7 and landsat-8" in found.properties["processing:lineage"]
    named = follow_series(decades, tmp_path / "use", SeriesOptions(method="trends", use_bands=["nir"], **QUIET))
    assert named.layers["value"].band_names == ("B5",)
    assert np.abs(layer(named, "value")).max() < 0.001  # the sensors' difference would be 0.01 a year
    with pytest.raises(ContractError, match="B9 is not in all Landsat scenes"):
        follow_series(decades, tmp_path / "no", SeriesOptions(method="trends", use_bands=["B9"]))
