"""`ecumene change`, `series` and `verify` as they are typed."""

import geopandas
import numpy as np
import pytest
import shapely
from change_files import DECLARED, LEGEND, map_product, optical_pair
from end_to_end import done, refused, run_cli

CONFIGURATION, SCENE, CONTRACT = 2, 3, 4
TOLD = ("--sensor", DECLARED["sensor"], "--level", "DN", "--bands", ",".join(DECLARED["bands"]))


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return optical_pair(tmp_path_factory.mktemp("typed"))


def test_change_prints_its_layers(pair, tmp_path):
    shown = done("change", *pair, "--out", tmp_path / "out", "--method", "cva", "--option", "threshold=otsu",
                 "--use", "B4,B5", "--normalise", "--no-animation", *TOLD).out  # fmt: skip
    assert "probability that the value is wrong" in shown
    assert {"item.json", "value.tif", "quicklook.png"} <= {path.name for path in (tmp_path / "out").iterdir()}
    assert not (tmp_path / "out" / "animation.webp").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--method", "cvaa"), CONFIGURATION, "did you mean cva"),
        (("--method", "recnn"), CONFIGURATION, "ecumene train --system recnn"),
        (("--option", "threshold"), CONFIGURATION, "NAME=VALUE"),
        (("--method", "log-ratio"), CONTRACT, "radar intensities"),
        (("--time", "2020-01-01,2019-01-01"), CONFIGURATION, "run backwards"),
    ],
)
def test_change_refuses_with_a_sentence(pair, tmp_path, words, code, said):
    refused("change", *pair, "--out", tmp_path / "out", *TOLD, *words, code=code, saying=said, folder=tmp_path)


def test_series_and_verify_as_typed(pair, tmp_path):
    words = ("series", *pair, "--out", tmp_path / "out", *TOLD, "--time", "2019-01-01,2020-01-01")
    refused(*words, code=SCENE, saying="series of 2 dates", folder=tmp_path)
    codes = np.asarray(LEGEND.values)[np.kron([[0, 1], [2, 0]], np.ones((8, 8), int))]
    maps = [map_product(tmp_path / str(year), codes, time=f"{year}-06-01") for year in (2019, 2020)]
    shown = done("series", *maps, "--out", tmp_path / "growth", "--built-up", "built-up", "--no-animation").out
    assert "calendar year" in shown
    boxes = [shapely.box(500_000 + 80 * k, 5_199_920, 500_080 + 80 * k, 5_200_000) for k in range(2)]
    frame = geopandas.GeoDataFrame({"use": ["lake", "lake"]}, geometry=boxes, crs="EPSG:32633")
    frame.to_file(tmp_path / "use.gpkg")
    words = ("verify", tmp_path / "use.gpkg", "--product", maps[0], "--out", tmp_path / "check", "--field", "use")
    shown = done(*words, "--class", "lake=water").out
    assert "all 2 polygons" in shown
    refused(*words, "--class", "lake", "--overwrite", code=CONFIGURATION, saying="VALUE=NAME", folder=tmp_path)


def test_pixel_series_as_typed(tmp_path):
    rng = np.random.default_rng(0)
    days = np.arange("2018-01-05", "2020-12-20", 30, dtype="datetime64[D]")
    lines = [f"{day},{-8 - 4 * (k >= 18) + rng.normal(0, 0.3):.3f}" for k, day in enumerate(days)]
    (tmp_path / "vv.csv").write_text("\n".join(["date,VV", *lines]))
    words = ("series", tmp_path / "vv.csv", "--out", tmp_path / "out", "--order", "0", "--no-trend")
    shown = done(*words).out
    assert "changes.csv" in shown
    assert str(days[18])[:7] in shown or str(days[17])[:7] in shown
    assert {"changes.csv", "series.json", "quicklook.png"} == {path.name for path in (tmp_path / "out").iterdir()}
    refused(*words, "--objects", code=CONFIGURATION, saying="--objects means nothing", folder=tmp_path)
    refused(*words, "--sensor", "sentinel-1", code=CONFIGURATION, saying="a table states", folder=tmp_path)


def test_scenes_are_mapped_with_a_model_and_followed(town, forest, tmp_path):
    from ecumene.mapping.product import open_product

    scenes = sorted(town.sentinel2)
    shown = run_cli("series", *scenes, "--model", forest, "--out", tmp_path / "growth")
    assert shown.code == 7  # the legend is the user's own
    assert "--built-up" in shown.err
    assert not list(tmp_path.iterdir())
    done("series", *scenes, "--model", forest, "--out", tmp_path / "growth", "--built-up", "industrial", "--keep-maps")
    product = open_product(tmp_path / "growth", verify=True)
    assert product.layers["value"].unit == "calendar year"
    maps = sorted(path.name for path in (tmp_path / "growth" / "maps").iterdir())
    assert len(maps) == len(scenes)
    assert product.layers["built_up_probability"].band_names[0] == maps[0][:4]
    assert len(product.item["links"]) >= len(scenes)  # scenes with checksums, not the maps between
