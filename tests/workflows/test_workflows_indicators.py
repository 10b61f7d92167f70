"""The verb `indicators` on a simulated growing city, against its truth."""

import json
import math

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from growth_products import (
    BUILT,
    PERSONS,
    SHAPE,
    YEARS,
    boundaries,
    built,
    city,
    class_product,
    cover,
    first_year_product,
    first_years,
    persons,
    population_raster,
    rectangle,
)

from ecumene.core.errors import ConfigurationError, LabelError, ProductError
from ecumene.indicators.areas import pixel_areas
from ecumene.legends import Legend
from ecumene.simulate import LEGEND
from ecumene.trust.block_residuals import BlockResiduals
from ecumene.viewer.charts import Chart
from ecumene.workflows.indicators import IndicatorOptions, compute_indicators

CITIES = {"all": (0, 0, *SHAPE), "north": (0, 0, 96, 160), "centre": (64, 48, 128, 112)}
TWO = (2016, 2024)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Products, populations and boundaries of three years."""
    folder = tmp_path_factory.mktemp("growth")
    for year in YEARS:
        class_product(folder / str(year), year)
        population_raster(folder / f"p{year}.tif", year)
    first_year_product(folder / "series")
    boundaries(folder / "cities.gpkg", CITIES)
    return folder


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """Charts as tables: pictures are drawn in the tests of the command line."""
    monkeypatch.setattr("ecumene.workflows.indicators_output.chart_diagram", lambda chart: None)


def people(folder, years=TWO):
    return [(year, folder / f"p{year}.tif") for year in years]


def run(folder, out, years=TWO, options=None, **changed):
    usual = {
        "products": [folder / str(year) for year in years],
        "population": people(folder, years),
        "boundaries": folder / "cities.gpkg",
    }
    return compute_indicators(**(usual | changed), out=out, options=options)


def inside(name):
    top, left, bottom, right = CITIES[name]
    return np.s_[top:bottom, left:right]


def test_the_table_is_the_truth(inputs, tmp_path):
    found = run(inputs, tmp_path / "sdg", YEARS)
    table = pd.read_csv(tmp_path / "sdg" / "indicators.csv")
    assert len(table) == 3 * 3  # two periods and the whole time for each city
    areas = np.broadcast_to(pixel_areas(city().geobox), SHAPE)
    for name in CITIES:
        row = table[(table.city == name) & table.whole_time].iloc[0]
        for label, year in (("first", 2016), ("last", 2024)):
            true = areas[inside(name)][built(year)[inside(name)]].sum()
            assert row[f"built_up_{label}_m2"] == pytest.approx(true, rel=1e-9)
            assert row[f"population_{label}"] == pytest.approx(persons(year)[inside(name)].sum(), rel=1e-6)
        land = math.log(row.built_up_last_m2 / row.built_up_first_m2) / 8
        growth = math.log(row.population_last / row.population_first) / 8
        assert row.lcr_log == pytest.approx(land)
        assert row.pgr == pytest.approx(growth)
        if not pd.isna(row.ratio_log):
            assert row.ratio_log == pytest.approx(land / growth)
        assert row.share_in_map == pytest.approx(1, abs=1e-4)  # straight edges in degrees are curves on the map
    whole = table[(table.city == "all") & table.whole_time].iloc[0]
    assert whole.population_first == pytest.approx(PERSONS[2016], rel=1e-6)
    places = gpd.read_parquet(tmp_path / "sdg" / "indicators.parquet")
    assert list(places.city) == list(table.city)
    assert places.crs.to_epsg() == 4326
    assert table.lcr_log_low.isna().all()  # no error is known, so there are no intervals
    assert set(table.ratio_log_set) == {"error unknown"}
    assert len(found.sentences) == 3
    assert found.sentences[0].startswith("all, 2016 to 2024: built-up land went from")


def test_json_page_and_charts(inputs, tmp_path):
    run(inputs, tmp_path / "sdg", YEARS, IndicatorOptions(open_space=["grass"], confidence=0.9))
    told = json.loads((tmp_path / "sdg" / "indicators.json").read_text())
    charts = [Chart.model_validate(entry) for entry in told["ecumene:charts"]]
    assert [chart.id for chart in charts] == [
        "built-up", "population", "ratio", "growth-types", "open-space", "published-ratios",
    ]  # fmt: skip
    assert "Published" in charts[-1].caption
    page = (tmp_path / "sdg" / "indicators.html").read_text()
    assert "Published ratios for comparison" in page
    assert "1.142" in page
    entry = next(item for item in told["cities"] if item["name"] == "all")
    areas = np.broadcast_to(pixel_areas(city().geobox), SHAPE)
    new = areas[built(2020) & ~built(2016)].sum()
    assert sum(entry["growth"]["2016-2020"]["areas_m2"].values()) == pytest.approx(new, rel=1e-9)
    taken = areas[(cover(2016) == 4) & built(2020)].sum()
    assert entry["losses_to_built_up_m2"]["2016-2020 farmland"] == pytest.approx(taken, rel=1e-9)
    grass = areas[cover(2024) == 3].sum()
    assert entry["open_space"]["share"]["value"] == pytest.approx(grass / (grass + areas[built(2024)].sum()))
    assert entry["years"]["2016"]["landscape"]["shannon_diversity"] > 0
    assert {item["what"] for item in told["provenance"]["inputs"]} >= {"product", "boundaries", "population 2016"}
    assert str(inputs) not in json.dumps(told)


def test_a_product_of_first_years_says_the_same(inputs, tmp_path):
    found = run(inputs, tmp_path / "a", products=[inputs / "series"])
    areas, first = np.broadcast_to(pixel_areas(city().geobox), SHAPE), first_years()
    for entry in found.cities:
        place = inside(entry.name)
        for year in TWO:
            true = areas[place][(first[place] > 0) & (first[place] <= year)].sum()
            assert entry.years[year].built_m2.value == pytest.approx(true, rel=1e-9)
        grown = areas[place][(first[place] > 2016) & (first[place] <= 2024)].sum()
        assert entry.measured.growth[TWO].total_m2 == pytest.approx(grown, rel=1e-9)
        assert entry.measured.growth[TWO].lost_m2 == 0


def test_the_same_inputs_give_the_same_bytes(inputs, tmp_path):
    for name in ("a", "b"):
        run(inputs, tmp_path / name)
    for file in ("indicators.csv", "indicators.json", "indicators.html"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    with pytest.raises(ProductError, match="already holds indicators"):
        run(inputs, tmp_path / "a")
    run(inputs, tmp_path / "a", options=IndicatorOptions(overwrite=True))


def noisy(year, seed, block=20):
    """Honest probabilities of built-up land and the map they give: errors are shared within blocks.

    The signal is the truth with Gaussian noise; its posterior with the true share as prior is calibrated.
    """
    generator = np.random.default_rng((seed, year))
    truth, share, sigma = built(year), built(year).mean(), 0.6
    shape = (-(-SHAPE[0] // block), -(-SHAPE[1] // block))
    shared = generator.normal(size=shape).repeat(block, 0).repeat(block, 1)[: SHAPE[0], : SHAPE[1]]
    noise = sigma * (0.8 * generator.normal(size=SHAPE) + 0.6 * shared)
    odds = np.exp(((truth + noise) - 0.5) / sigma**2) * share / (1 - share)
    p = odds / (1 + odds)
    legend = Legend.from_names(["built-up", "other"])
    return legend, np.where(p > 0.5, 1, 2).astype(np.uint8), np.stack([p, 1 - p])


def test_intervals_from_probabilities_cover_the_truth(inputs, tmp_path):
    """Twelve districts, two error-prone maps: 90 % sets of built-up change and ratio hold the true ones."""
    boxes = {f"d{r}{c}": (48 * r, 53 * c, 48 * r + 48, 53 * c + 53) for r in range(4) for c in range(3)}
    boundaries(tmp_path / "districts.gpkg", boxes)
    areas = np.broadcast_to(pixel_areas(city().geobox), SHAPE)
    held = []
    for seed in (1, 2):
        for year in TWO:
            legend, codes, p = noisy(year, seed)
            class_product(tmp_path / f"{seed}-{year}", year, codes, p, legend)
        found = run(
            inputs, tmp_path / f"sdg{seed}", products=[tmp_path / f"{seed}-{year}" for year in TWO],
            boundaries=tmp_path / "districts.gpkg", options=IndicatorOptions(confidence=0.9),
        )  # fmt: skip
        for entry in found.cities:
            if entry.problem:  # nobody lives there
                continue
            top, left, bottom, right = boxes[entry.name]
            place = np.s_[top:bottom, left:right]
            first, last = (areas[place][built(year)[place]].sum() for year in TWO)
            indicator = entry.periods[-1].forms["logarithmic"]
            true_rate = math.log(last / first) / 8
            held.append(indicator.land_rate.low <= true_rate <= indicator.land_rate.high)
            held.append(true_rate / indicator.population_rate.value in indicator.ratios)
            assert entry.years[2016].built_from.startswith("sum of the map's probabilities (errors")
    # Errors are shared within 200 m, the intervals allow for 1 km: they may be too wide, not too narrow.
    assert len(held) >= 2 * 2 * 8
    assert np.mean(held) >= 0.85


def with_blocks(folder, residuals, checksum="one"):
    """State in a product's Item what its model's calibration blocks say."""
    path = folder / "item.json"
    item = json.loads(path.read_text())
    item["properties"] |= {"ecumene:block_residuals": residuals.to_config(), "ecumene:model": {"checksum": checksum}}
    path.write_text(json.dumps(item))


def test_calibration_blocks_narrow_the_intervals_and_one_model_shares_its_bias(inputs, tmp_path):
    residuals = BlockResiduals((0.0, 0.0), (0.02, 0.02), 20, 480.0**2, (0.01, -0.01), (0.2, 0.2))
    for kind in ("plain", "blocks", "other"):
        for year in TWO:
            legend, codes, p = noisy(year, 1)
            class_product(tmp_path / kind / str(year), year, codes, p, legend)
            if kind != "plain":
                with_blocks(tmp_path / kind / str(year), residuals, "one" if kind == "blocks" else str(year))

    def widths(kind, **options):
        found = run(
            inputs, tmp_path / f"sdg-{kind}{len(options)}", products=[tmp_path / kind / str(year) for year in TWO],
            options=IndicatorOptions(confidence=0.9, population_errors={0: 0.01}, **options),
        )  # fmt: skip
        period = found.cities[0].periods[-1]
        drawn, closed = period.sampled.land_rate, period.forms["logarithmic"].land_rate
        np.testing.assert_allclose(drawn, (closed.low, closed.high), atol=0.05 * (closed.high - closed.low))
        return closed.high - closed.low, found.cities[0].years[2016].built_from, found

    plain, said, _ = widths("plain")
    assert said.endswith("(errors taken as shared within 1 km)")
    shared, said, found = widths("blocks")
    assert said.endswith("(calibration blocks)")
    apart = widths("other")[0]
    assert shared < apart < 0.5 * plain
    assert widths("blocks", built_up_correlation=0.8)[0] < 0.7 * shared
    charts = {
        chart["id"]: chart for chart in json.loads((found.folder / "indicators.json").read_text())["ecumene:charts"]
    }
    known = charts["relative-errors"]["series"]
    assert [series["name"] for series in known] == ["built-up land", "population"]
    assert known[1]["y"][0] == pytest.approx(0.01)
    with pytest.raises(ConfigurationError, match="give one from 0 to 1"):
        run(inputs, tmp_path / "x", options=IndicatorOptions(built_up_correlation=1.5))
    with_blocks(tmp_path / "plain" / "2016", BlockResiduals((0.0,) * 3, (0.1,) * 3, 5, 1e4))
    with pytest.raises(ProductError, match="does not fit its classes; map again"):
        widths("plain", open_space=())


def test_stated_errors_and_assessments(inputs, tmp_path):
    stated = IndicatorOptions(built_up_errors={0: 0.04, 2024: 0.02}, population_errors={0: 0.01})
    found = run(inputs, tmp_path / "a", options=stated).cities[0]
    assert found.years[2016].built_m2.standard_error == pytest.approx(0.04 * found.years[2016].built_m2.value)
    assert found.years[2024].built_m2.standard_error == pytest.approx(0.02 * found.years[2024].built_m2.value)
    assert found.years[2016].persons.standard_error == pytest.approx(610, rel=1e-6)
    table = pd.read_csv(tmp_path / "a" / "indicators.csv")
    assert (table.lcr_log_low < table.lcr_log).all()
    assert (table.lcr_log < table.lcr_log_high).all()
    assert table.land_faster_chance.between(0, 1).all()
    counts = (np.eye(len(LEGEND), dtype=int) * 48).tolist()
    row = LEGEND.values.index(BUILT[0])
    counts[row][LEGEND.values.index(3)] = 12  # a fifth of the low-rise houses is grass
    # The file has its own order of the classes, and its object of classes the order of the alphabet.
    order = np.random.default_rng(0).permutation(len(LEGEND))
    names = [LEGEND.names[index] for index in order]
    adjusted = {
        "counts": np.array(counts)[np.ix_(order, order)].tolist(),
        "class_names": names,
        "classes": {name: {} for name in sorted(names)},
    }
    (tmp_path / "assessed.json").write_text(json.dumps({"area_adjusted": adjusted}))
    checked = IndicatorOptions(assessments={2024: tmp_path / "assessed.json"})
    other = run(inputs, tmp_path / "b", options=checked).cities[0]
    mapped = other.measured.years[2024].areas_m2
    assert other.years[2024].built_m2.value == pytest.approx(
        other.measured.years[2024].built_m2 - 0.2 * mapped[BUILT[0]], rel=1e-9
    )
    assert other.years[2024].built_m2.standard_error == pytest.approx(mapped[BUILT[0]] * math.sqrt(0.2 * 0.8 / 59))
    assert other.years[2016].built_m2.standard_error is None
    # Files of earlier versions say the order beside the accuracy of the sample; without any order they are refused.
    del adjusted["class_names"]
    older = {"area_adjusted": adjusted, "accuracy": {"class_names": names}}
    for figures in ({"area_adjusted": adjusted}, older):
        (tmp_path / "assessed.json").write_text(json.dumps(figures))
        if figures is older:
            same = run(inputs, tmp_path / "c", options=checked).cities[0]
            assert same.years[2024].built_m2 == other.years[2024].built_m2
        else:
            with pytest.raises(LabelError, match="not an assessment"):
                run(inputs, tmp_path / "c", options=checked)


def test_options_that_other_classes_leave_without_use_are_named(inputs, tmp_path):
    legend = Legend.from_names(["built-up", "other"])
    class_product(tmp_path / "2024", 2024, np.where(built(2024), 1, 2).astype(np.uint8), legend=legend)
    products = [inputs / "2016", tmp_path / "2024"]
    found = run(inputs, tmp_path / "a", products=products, options=IndicatorOptions(green=["grass"]))
    assert sum("--green not used" in note for note in found.notes) == 1
    assert not any("not used" in note for note in run(inputs, tmp_path / "b", products=products).notes)


def test_probabilities_of_a_strip_are_read_once_and_tiles_do_not_show(inputs, tmp_path, monkeypatch):
    from ecumene.workflows import indicators_maps

    legend = Legend.from_names(["built-up", "grass", "field"])
    for year in TWO:
        p = np.random.default_rng(year).dirichlet([1, 1, 1], SHAPE).transpose(2, 0, 1)
        class_product(tmp_path / str(year), year, (p.argmax(axis=0) + 1).astype(np.uint8), p, legend)
    places, real = [], indicators_maps.read_shares

    def watched(dataset, window):
        places.append((dataset.name, window))
        return real(dataset, window)

    monkeypatch.setattr(indicators_maps, "read_shares", watched)
    boundaries(tmp_path / "one.gpkg", {"all": CITIES["all"]})
    given = {"products": [tmp_path / str(year) for year in TWO], "boundaries": tmp_path / "one.gpkg"}
    options = IndicatorOptions(green=["grass"], farmland=["field"], overwrite=True)
    found = []
    for size in (512, 50):
        monkeypatch.setattr(indicators_maps, "TILE", size)
        places.clear()
        run(inputs, tmp_path / "sdg", options=options, **given)
        assert len(places) == len(set(places)) == 2 * -(-SHAPE[0] // size) * -(-SHAPE[1] // size)
        found.append((tmp_path / "sdg" / "indicators.json").read_bytes())
    assert found[0] == found[1]
    assert b"2016-2024 green" in found[0]


def test_census_zones_cut_by_a_city(inputs, tmp_path):
    """Zones reach over the city; with built-up weights their persons lie where the houses are."""
    zones = {"west": (0, 0, 192, 80), "east": (0, 80, 192, 160)}
    files = []
    for year in TWO:
        frame = gpd.GeoDataFrame(
            {"people": [persons(year)[:, :80].sum(), persons(year)[:, 80:].sum()]},
            geometry=[rectangle(*box) for box in zones.values()],
            crs=city().geobox.crs.to_wkt(),
        )
        frame.to_file(tmp_path / f"z{year}.gpkg")
        files.append((year, tmp_path / f"z{year}.gpkg"))
    options = IndicatorOptions(population_field="people")
    found = {entry.name: entry for entry in run(inputs, tmp_path / "a", population=files, options=options).cities}
    assert found["all"].years[2024].persons.value == pytest.approx(PERSONS[2024], rel=1e-9)
    even = IndicatorOptions(population_field="people", distribute="even")
    flat = {entry.name: entry for entry in run(inputs, tmp_path / "b", population=files, options=even).cities}
    true = persons(2024)[inside("centre")].sum()
    assert abs(found["centre"].years[2024].persons.value - true) < abs(flat["centre"].years[2024].persons.value - true)
    with pytest.raises(ConfigurationError, match="--population-field"):
        run(inputs, tmp_path / "c", population=files)


def test_a_city_that_reaches_over_the_map_reports_its_share(inputs, tmp_path):
    boxes = {"edge": (60, 40, 324, 120), "far": (900, 900, 950, 950)}
    boundaries(tmp_path / "b.gpkg", boxes)
    found = run(inputs, tmp_path / "sdg", boundaries=tmp_path / "b.gpkg")
    assert found.cities[0].inside_share == pytest.approx(0.5, abs=1e-3)
    assert "50.0% of its area that lie in the map" in found.sentences[0]
    assert any("Outside of the map" in note and "far" in note for note in found.notes)
    boundaries(tmp_path / "c.gpkg", {"far": boxes["far"]})
    with pytest.raises(LabelError, match=r"No boundary of .* lies in the map"):
        run(inputs, tmp_path / "none", boundaries=tmp_path / "c.gpkg")


def test_unknown_pixels_are_left_out_and_said(inputs, tmp_path):
    valid = np.ones(SHAPE, bool)
    valid[:20] = False
    class_product(tmp_path / "2024", 2024, valid=valid)
    found = run(inputs, tmp_path / "sdg", products=[inputs / "2016", tmp_path / "2024"])
    assert found.cities[0].measured.known_share == pytest.approx(1 - 20 / SHAPE[0], rel=1e-3)
    assert any("have no class" in note for note in found.notes)
    for entry in found.cities:  # growth of ground and of population are of the same pixels
        for year in (2016, 2024):
            there = persons(year).copy()
            there[:20] = 0.0
            known = there[inside(entry.name)].sum()
            assert known < 0.99 * persons(year)[inside(entry.name)].sum() or entry.measured.known_share > 0.99
            assert entry.measured.years[year].persons == pytest.approx(known, rel=5e-3)  # cells are spread evenly


def test_a_city_without_persons(inputs, tmp_path):
    boundaries(tmp_path / "b.gpkg", {"all": (0, 0, *SHAPE)})
    import rasterio

    with rasterio.open(inputs / "p2016.tif") as source:
        profile = source.profile
    with rasterio.open(tmp_path / "zero.tif", "w", **profile) as target:
        target.write(np.zeros((profile["height"], profile["width"])), 1)
    files = [(2016, tmp_path / "zero.tif"), people(inputs)[1]]
    with pytest.raises(LabelError, match="population of all in 2016 is 0"):
        run(inputs, tmp_path / "sdg", population=files, boundaries=tmp_path / "b.gpkg")
    assert not (tmp_path / "sdg" / "indicators.json").exists()
    with rasterio.open(tmp_path / "minus.tif", "w", **profile) as target:
        target.write(np.full((profile["height"], profile["width"]), -7.0), 1)
    files[0] = (2016, tmp_path / "minus.tif")
    with pytest.raises(LabelError, match="negative numbers are no population"):
        run(inputs, tmp_path / "sdg", population=files)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["2016", "2016"], "name the year 2016 twice"),
        (["2024", "2016"], "run backwards"),
        (["2016"], "at least two years"),
        (["2016", "2020"], "no (population|product) of 20"),
        ([], "Name the products"),
        (["series", "2016"], "stands alone"),
    ],
)
def test_years_of_products(inputs, tmp_path, names, said):
    with pytest.raises(ConfigurationError, match=said):
        run(inputs, tmp_path / "sdg", products=[inputs / name for name in names])


def test_years_of_populations(inputs, tmp_path):
    one, two = people(inputs)
    with pytest.raises(ConfigurationError, match="2016 is given twice"):
        run(inputs, tmp_path / "sdg", population=[one, one])
    with pytest.raises(ConfigurationError, match="run backwards"):
        run(inputs, tmp_path / "sdg", population=[two, one])
    with pytest.raises(ConfigurationError, match="Give the population"):
        run(inputs, tmp_path / "sdg", population=[])
    with pytest.raises(LabelError, match="does not exist"):
        run(inputs, tmp_path / "sdg", population=[one, (2024, inputs / "none.tif")])
    with pytest.raises(ConfigurationError, match="give populations of years within it"):
        run(inputs, tmp_path / "sdg", products=[inputs / "series"], population=[one, (2030, two[1])])


def test_products_that_do_not_fit(inputs, tmp_path):
    other = Legend.from_names(["water", "land"])
    class_product(tmp_path / "wet", 2024, (cover(2024) == 1) + 1, legend=other)
    with pytest.raises(ProductError, match="no class that is known to be built-up"):
        run(inputs, tmp_path / "sdg", products=[inputs / "2016", tmp_path / "wet"])
    class_product(tmp_path / "undated", 2024, stated=False)
    with pytest.raises(ConfigurationError, match="states no time"):
        run(inputs, tmp_path / "sdg", products=[inputs / "2016", tmp_path / "undated"])
    named = run(inputs, tmp_path / "named", products=[inputs / "2016", f"2024={tmp_path / 'undated'}"])
    assert list(named.cities[0].years) == [2016, 2024]
    with pytest.raises(ConfigurationError, match="no class 'castles'"):
        run(inputs, tmp_path / "sdg", options=IndicatorOptions(built_up=["castles"]))
    chosen = IndicatorOptions(built_up=["industrial"])
    assert run(inputs, tmp_path / "own", options=chosen).cities[0].years[2016].built_m2.value < 3e6


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"form": "new"}, "no form"),
        ({"population_unit": "heads"}, "no population unit"),
        ({"distribute": "somehow"}, "distributed even or built-up"),
        ({"population_errors": {0: 1.5}}, "relative standard error of the population"),
        ({"built_up_errors": {1999: 0.1}}, "none of the years"),
        ({"confidence": 0.0}, "confidence"),
    ],
)
def test_bad_options_give_a_sentence(inputs, tmp_path, options, said):
    with pytest.raises(ConfigurationError, match=said):
        run(inputs, tmp_path / "sdg", options=IndicatorOptions(**options))


def test_bad_boundaries_give_a_sentence(inputs, tmp_path):
    boundaries(tmp_path / "b.gpkg", CITIES)
    frame = gpd.read_file(tmp_path / "b.gpkg")
    frame["name"] = "same"
    frame.to_file(tmp_path / "twice.gpkg")
    with pytest.raises(LabelError, match="names same more than once"):
        run(inputs, tmp_path / "sdg", boundaries=tmp_path / "twice.gpkg")
    gpd.GeoDataFrame(
        {"name": ["p"]}, geometry=[rectangle(0, 0, 9, 9).centroid], crs=city().geobox.crs.to_wkt()
    ).to_file(tmp_path / "points.gpkg")
    with pytest.raises(LabelError, match="boundary is a polygon"):
        run(inputs, tmp_path / "sdg", boundaries=tmp_path / "points.gpkg")
    (tmp_path / "no.json").write_text("{}")
    with pytest.raises(LabelError, match="not an assessment"):
        run(inputs, tmp_path / "sdg", options=IndicatorOptions(assessments={2016: tmp_path / "no.json"}))
