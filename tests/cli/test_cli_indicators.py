"""`ecumene indicators` as it is typed."""

import json

import pytest
from end_to_end import done, run_cli
from growth_products import boundaries, class_product, population_raster


@pytest.fixture(scope="module")
def town_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("typed")
    for year in (2016, 2024):
        class_product(folder / f"growth-{year}", year)
        population_raster(folder / f"p{year}.tif", year)
    boundaries(folder / "city.gpkg", {"Town": (20, 20, 160, 140)})
    return folder


def words(folder, out, *more, first=2016):
    return [
        "indicators", folder / "growth-2016", folder / "growth-2024", "--population", f"{first}={folder / 'p2016.tif'}",
        "--population", f"2024={folder / 'p2024.tif'}", "--boundaries", folder / "city.gpkg", "--out", out, *more,
    ]  # fmt: skip


def test_a_sentence_a_city_and_the_files(town_files, tmp_path):
    shown = done(*words(town_files, tmp_path / "sdg", "--population-error", "0.01", "--built-up-error", "2016=0.03",
                        "--built-up-error", "2024=0.03")).out  # fmt: skip
    assert "Town, 2016 to 2024: built-up land went from" in shown
    assert "interval" in shown
    assert {path.name for path in (tmp_path / "sdg").iterdir()} == {
        "indicators.csv", "indicators.parquet", "indicators.json", "indicators.html",
    }  # fmt: skip
    told = json.loads((tmp_path / "sdg" / "indicators.json").read_text())
    assert told["cities"][0]["name"] == "Town"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--population-error", "much"), "is not a number"),
        (("--assessment", "2016"), "is not YEAR=VALUE"),
        (("--form", "mine"), "no form"),
    ],
)
def test_wrong_options_end_with_a_sentence(town_files, tmp_path, more, said):
    found = run_cli(*words(town_files, tmp_path / "sdg", *more))
    assert found.code == 2
    assert said in found.sentence


def test_a_year_without_product(town_files, tmp_path):
    found = run_cli(*words(town_files, tmp_path / "sdg", first=2015))
    assert found.code == 2
    assert "There is no product of 2015" in found.sentence
