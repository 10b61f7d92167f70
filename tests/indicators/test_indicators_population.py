"""Persons on a map's grid: nobody is lost or made, whatever grids, windows and weights."""

import os
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import rasterio.warp
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from ecumene.core.errors import ConfigurationError, LabelError, ProductError
from ecumene.core.window import Window
from ecumene.indicators.areas import pixel_areas
from ecumene.indicators.maps import open_layer, open_map
from ecumene.indicators.population_error import allocation_error, dispersion_of, placement_error
from ecumene.indicators.population_raster import open_population
from ecumene.indicators.population_weights import ClassWeights, NumberWeights, ProductOfWeights
from ecumene.indicators.population_writing import write_population
from ecumene.indicators.population_zones import ZonePopulation, read_zones

UTM = "EPSG:32626"
MAP = GeoBox((120, 140), Affine(50, 0, 610_000, 0, -50, 4_186_000), UTM)
"""7.0 x 6.0 km near the Azores."""


def whole(geobox):
    return Window(0, 0, geobox.height, geobox.width)


def write(path, values, transform, crs="EPSG:4326", nodata=-1.0, units=None):
    values = np.asarray(values)
    with rasterio.open(
        path, "w", driver="GTiff", height=values.shape[0], width=values.shape[1], count=1, dtype=str(values.dtype),
        crs=crs, transform=transform, nodata=nodata,
    ) as target:  # fmt: skip
        target.write(values, 1)
        if units:
            target.units = (units,)
    return path


@pytest.fixture
def degrees(tmp_path):
    """A population of 30 arc seconds around the map, with cells well inside of it."""
    west, south, east, north = MAP.extent.to_crs("EPSG:4326").boundingbox
    step = 1 / 120
    generator = np.random.default_rng(0)
    width, height = int((east - west) / step) + 3, int((north - south) / step) + 3
    values = generator.gamma(0.7, 200, (height, width))
    transform = Affine(step, 0, west - step, 0, -step, north + step)
    return write(tmp_path / "people.tif", values, transform), values, transform


def inside_cells(shape, transform, geobox):
    """Which cells of a raster in degrees lie wholly in the map."""
    extent = shapely.Polygon(geobox.extent.geom.exterior.coords)
    found = np.zeros(shape, bool)
    for row, col in np.ndindex(shape):
        corners = [transform * (col + a, row + b) for a in np.linspace(0, 1, 5) for b in np.linspace(0, 1, 5)]
        x, y = rasterio.warp.transform("EPSG:4326", geobox.crs.to_wkt(), *zip(*corners, strict=True))
        found[row, col] = all(extent.contains(shapely.Point(p)) for p in zip(x, y, strict=True))
    return found


def test_a_warped_raster_keeps_every_cell_that_lies_inside(degrees):
    path, values, transform = degrees
    values = np.where(inside_cells(values.shape, transform, MAP), values, 0.0)
    assert (values > 0).sum() > 20
    write(path, values, transform)
    with open_population(path, MAP) as population:
        persons, known = population.persons(whole(MAP))
    assert known.all()
    assert persons.sum() == pytest.approx(values.sum(), rel=1e-12)
    assert (persons >= 0).all()


@pytest.mark.parametrize("weighted", [False, True])
def test_windows_do_not_matter(degrees, weighted):
    path, _, _ = degrees
    field = np.random.default_rng(1).random((MAP.height, MAP.width)) < 0.1
    field[:40] = False
    weights = (lambda window: field[window.slices].astype(float)) if weighted else None
    with open_population(path, MAP, weights=weights) as population:
        at_once, _ = population.persons(whole(MAP))
        parts = np.zeros_like(at_once)
        for row in range(0, MAP.height, 37):
            for col in range(0, MAP.width, 53):
                part = Window(row, col, min(37, MAP.height - row), min(53, MAP.width - col))
                parts[part.slices], _ = population.persons(part)
    np.testing.assert_allclose(parts, at_once, rtol=1e-12)


def test_weights_move_persons_inside_of_cells_only(degrees):
    path, _, _ = degrees
    field = np.random.default_rng(1).random((MAP.height, MAP.width)) < 0.2
    with (
        open_population(path, MAP) as even,
        open_population(path, MAP, weights=lambda w: field[w.slices] * 1.0) as built,
    ):
        one, two = even.persons(whole(MAP))[0], built.persons(whole(MAP))[0]
    assert two.sum() == pytest.approx(one.sum(), rel=1e-12)
    assert two[~field].sum() == pytest.approx(0)
    # Sums over large parts differ by border cells only.
    assert two[:60].sum() == pytest.approx(one[:60].sum(), rel=0.2)


@pytest.mark.parametrize("size", [20.0, 50.0, 70.0, 400.0])
def test_cells_of_any_size_keep_their_sum(tmp_path, size):
    """Finer, equal and coarser than the map, on another projection and not aligned."""
    columns, rows = int(5000 / size), int(4000 / size)
    values = np.random.default_rng(3).gamma(0.5, 10, (rows, columns))
    # A neighbouring zone's projection: turned by some degrees against the map's.
    x, y = rasterio.warp.transform(UTM, "EPSG:32625", [MAP.affine.c + 3400], [MAP.affine.f - 3000])
    transform = Affine(size, 0, x[0] - 2200, 0, -size, y[0] + 1800)
    path = write(tmp_path / "p.tif", values, transform, "EPSG:32625")
    with open_population(path, MAP) as population:
        persons, _ = population.persons(whole(MAP))
    assert persons.sum() == pytest.approx(values.sum(), rel=1e-9)


def test_what_reaches_over_the_map_leaves_its_share_outside(tmp_path):
    """One cell, half of it on the map."""
    transform = Affine(2000, 0, MAP.affine.c - 1000, 0, -2000, MAP.affine.f - 1000)
    path = write(tmp_path / "p.tif", np.array([[800.0]]), transform, UTM)
    with open_population(path, MAP) as population:
        persons, known = population.persons(whole(MAP))
    assert persons.sum() == pytest.approx(400, rel=1e-6)
    assert known.sum() == 40 * 20


def test_density_is_multiplied_by_true_areas(tmp_path):
    transform = Affine(1000, 0, MAP.affine.c + 1000, 0, -1000, MAP.affine.f - 1000)
    path = write(tmp_path / "p.tif", np.full((3, 3), 250.0), transform, UTM)
    with open_population(path, MAP, unit="persons-per-km2") as population:
        persons, _ = population.persons(whole(MAP))
    cells = GeoBox((3, 3), transform, UTM)
    assert persons.sum() == pytest.approx(250.0 * pixel_areas(cells).sum() / 1e6, rel=1e-9)


def test_nodata_is_unknown_and_not_zero(tmp_path):
    transform = Affine(1000, 0, MAP.affine.c, 0, -1000, MAP.affine.f)
    values = np.full((6, 7), 10.0)
    values[0, 0] = -1.0
    values[0, 1] = np.nan
    with open_population(write(tmp_path / "p.tif", values, transform, UTM), MAP) as population:
        persons, known = population.persons(whole(MAP))
    assert not known[:20, :40].any()
    assert known[20:].all()
    assert persons.sum() == pytest.approx(400)


def test_bad_population_rasters_give_a_sentence(tmp_path):
    transform = Affine(1000, 0, MAP.affine.c, 0, -1000, MAP.affine.f)
    negative = write(tmp_path / "n.tif", np.full((6, 7), -3.0), transform, UTM)
    with open_population(negative, MAP) as population, pytest.raises(LabelError, match="negative numbers"):
        population.persons(whole(MAP))
    dense = write(tmp_path / "d.tif", np.ones((6, 7)), transform, UTM, units="persons/km^2")
    with pytest.raises(ConfigurationError, match="a density"), open_population(dense, MAP):
        pass
    with pytest.raises(ConfigurationError, match="no population unit"), open_population(dense, MAP, unit="heads"):
        pass
    with pytest.raises(ProductError, match="does not exist"), open_population(tmp_path / "none.tif", MAP):
        pass
    fine = write(tmp_path / "f.tif", np.ones((6, 7)), Affine(0.1, 0, MAP.affine.c, 0, -0.1, MAP.affine.f), UTM)
    with pytest.raises(ConfigurationError, match="differ too much"), open_population(fine, MAP):
        pass
    unplaced = tmp_path / "u.tif"
    write(unplaced, np.ones((2, 2)), transform, None)
    with pytest.raises(ProductError, match="no coordinate reference system"), open_population(unplaced, MAP):
        pass


def box(left, top, width, height):
    """A polygon in pixels of the map."""
    return shapely.box(*(MAP.affine * (left, top + height)), *(MAP.affine * (left + width, top)))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_zones_keep_their_persons_exactly(seed):
    generator = np.random.default_rng(seed)
    points = generator.uniform((0, 0), (140, 120), (12, 2))
    cells = shapely.voronoi_polygons(
        shapely.multipoints([MAP.affine * tuple(p) for p in points]),
        extend_to=shapely.Polygon(MAP.extent.geom.exterior.coords),
    )
    extent = shapely.Polygon(MAP.extent.geom.exterior.coords)
    zones = [shapely.intersection(cell, extent) for cell in cells.geoms]
    persons = generator.gamma(1, 1e4, len(zones))
    field = generator.random((MAP.height, MAP.width)) * (generator.random((MAP.height, MAP.width)) < 0.3)
    population = ZonePopulation(zones, persons, MAP, lambda window: field[window.slices])
    found, known = population.persons(whole(MAP))
    number = population.zones(whole(MAP))
    for index, wanted in enumerate(persons):
        assert found[number == index].sum() == pytest.approx(wanted, rel=1e-9)
    assert found.sum() == pytest.approx(persons.sum(), rel=1e-9)
    assert known.all()


def test_binary_fraction_and_volume_weights(tmp_path):
    codes = np.full((120, 140), 1, np.uint8)
    codes[:, 70:] = 2
    codes[:60] = 3
    height = np.full((120, 140), 300, np.uint16)
    height[:, 100:] = 600
    classes = write(tmp_path / "c.tif", codes, MAP.affine, UTM, nodata=255)
    metres = write(tmp_path / "h.tif", height, MAP.affine, UTM, nodata=0)
    zone = [box(0, 0, 140, 120)]
    with open_map(classes) as (a, _), open_layer(metres) as (b, _):
        binary = ZonePopulation(zone, [700.0], MAP, ClassWeights(a, {1: 1.0, 2: 1.0}))
        some = ZonePopulation(zone, [700.0], MAP, ClassWeights(a, {1: 1.0, 2: 0.1}))
        volume = ZonePopulation(
            zone, [700.0], MAP, ProductOfWeights(ClassWeights(a, {1: 1.0, 2: 1.0}), NumberWeights(b, scale=0.01))
        )
        one, two, three = (p.persons(whole(MAP))[0] for p in (binary, some, volume))
        with pytest.raises(ConfigurationError, match="at least 0"):
            ClassWeights(a, {1: 0.0})
    assert one[:60].sum() == 0
    assert one[60:].std() == pytest.approx(0)
    assert two[60, 0] == pytest.approx(10 * two[60, 139])
    assert three[60, 139] == pytest.approx(2 * three[60, 0])
    assert [found.sum() for found in (one, two, three)] == pytest.approx([700, 700, 700], rel=1e-9)


def test_zones_without_target_are_spread_evenly_or_refused():
    zones, persons = [box(0, 0, 70, 120), box(70, 0, 70, 120)], [100.0, 50.0]

    def left(window):
        weights = np.zeros((window.height, window.width))
        weights[:, : max(0, 70 - window.col)] = 1
        return weights

    population = ZonePopulation(zones, persons, MAP, left, names=["west", "east"])
    found, _ = population.persons(whole(MAP))
    assert population.report.even == ("east",)
    assert found[:, 70:].sum() == pytest.approx(50, rel=1e-9)
    assert found[:, 70:].std() == pytest.approx(0, abs=1e-12)
    with pytest.raises(LabelError, match="east has persons but no pixel"):
        ZonePopulation(zones, persons, MAP, left, names=["west", "east"], empty="refuse")


def test_tiny_and_cut_zones():
    tiny, cut, far = box(10.6, 10.6, 0.2, 0.2), box(-70, 20, 140, 40), box(500, 500, 5, 5)
    population = ZonePopulation([tiny, cut, far], [7.0, 100.0, 9.0], MAP, names=["tiny", "cut", "far"])
    found, known = population.persons(whole(MAP))
    assert population.report.tiny == ("tiny",)
    assert found[10, 10] == pytest.approx(7)
    assert known[10, 10]
    assert found.sum() == pytest.approx(57, rel=1e-9)
    assert population.report.outside == ("far",)
    assert population.report.placed.tolist() == pytest.approx([7, 50, 0])
    part = Window(8, 8, 5, 5)
    assert population.persons(part)[0][2, 2] == pytest.approx(7)


@pytest.mark.parametrize(
    ("zones", "persons", "said"),
    [
        ([box(0, 0, 20, 20)], [-1.0], "has -1 persons"),
        ([box(0, 0, 20, 20)], [np.nan], "has nan persons"),
        ([box(0, 0, 20, 20), box(10, 0, 20, 20)], [1.0, 1.0], "overlap"),
        ([box(900, 900, 20, 20)], [1.0], "meets the map"),
        ([shapely.Point(0, 0)], [1.0], "no area"),
    ],
)
def test_bad_zones_give_a_sentence(zones, persons, said):
    with pytest.raises(LabelError, match=said):
        ZonePopulation(zones, persons, MAP)


def test_other_bad_arguments_of_zones():
    with pytest.raises(ConfigurationError, match="one number of persons"):
        ZonePopulation([box(0, 0, 1, 1)], [1.0, 2.0], MAP)
    with pytest.raises(ConfigurationError, match="Empty zones"):
        ZonePopulation([box(0, 0, 1, 1)], [1.0], MAP, empty="drop")
    with pytest.raises(ConfigurationError, match="at least 0"):
        ZonePopulation([box(0, 0, 9, 9)], [1.0], MAP, lambda w: np.full((w.height, w.width), -1.0))


def test_zones_from_a_file_and_the_written_raster(tmp_path):
    frame = geopandas.GeoDataFrame(
        {"name": ["a", "b"], "people": [1234.5, 0.0]}, geometry=[box(0, 0, 70, 120), box(70, 0, 70, 120)], crs=UTM
    )
    frame.to_file(tmp_path / "zones.gpkg")
    population = read_zones(tmp_path / "zones.gpkg", "people", MAP, name_field="name")
    path = write_population(tmp_path / "out.tif", population)
    with rasterio.open(path) as written:
        persons, error = written.read()
        assert written.units == ("persons", "persons")
        assert written.dtypes == ("float64", "float64")
    assert np.nansum(persons) == pytest.approx(1234.5, rel=1e-9)
    share = 1 / (70 * 120)
    assert error[0, 0] == pytest.approx(np.sqrt(1234.5 * share * (1 - share)))
    assert error[0, 139] == 0
    frame["people"] = ["many", "few"]
    frame.to_file(tmp_path / "words.gpkg")
    with pytest.raises(LabelError, match="does not hold numbers"):
        read_zones(tmp_path / "words.gpkg", "people", MAP)
    with pytest.raises(LabelError, match="no field"):
        read_zones(tmp_path / "zones.gpkg", "persons", MAP)


def test_allocation_error_by_hand():
    found = allocation_error([10, 0, 30], [8, 5, 27], [0, 0, 0])
    assert found.mean_absolute == pytest.approx(10 / 3)
    assert found.misplaced_share == pytest.approx(5 / 40)
    assert found.mean_absolute_percentage == pytest.approx(100 * (0.2 + 0.1) / 2)
    with pytest.raises(ConfigurationError, match="equally long"):
        allocation_error([1], [1, 2], [0, 0])


@pytest.mark.parametrize("rho", [0.0, 0.02, 0.2])
def test_dispersion_is_recovered_and_its_error_bars_cover(rho):
    """Persons drawn from the Dirichlet-multinomial distribution that rho describes."""
    generator = np.random.default_rng(7)
    zones, parts, total = 150, 20, 2000
    shares = generator.dirichlet(np.full(parts, 2.0), zones)
    counts = []
    for p in shares:
        drawn = p if rho == 0 else generator.dirichlet(np.maximum(p * (1 / rho - 1), 1e-9))
        counts.append(generator.multinomial(total, drawn))
    counted, expected = np.concatenate(counts).astype(float), (shares * total).ravel()
    number = np.repeat(np.arange(zones), parts).astype(float)
    found = dispersion_of(counted, expected, number)
    assert found == pytest.approx(rho, rel=0.15, abs=0.001)
    bars = placement_error(expected, np.full(expected.shape, float(total)), rho)
    assert np.mean(((counted - expected) / bars) ** 2) == pytest.approx(1, abs=0.1)
    with pytest.raises(ConfigurationError, match="dispersion"):
        placement_error(expected, expected, 2.0)


@pytest.mark.data
def test_sao_miguel_keeps_every_person():
    root = os.environ.get("ECUMENE_DATA")
    if not root:
        pytest.skip("needs the real data sets named by ECUMENE_DATA")
    folder = Path(root) / "population_sao_miguel"
    with open_map(folder / "clc2018_v2020_20u1.tif") as (cover, geobox):
        weights = ClassWeights(cover, {1: 1.0, 2: 1.0})
        with open_population(folder / "gpw_v411_2020_count_2020.tif", geobox, weights=weights) as population:
            persons, _ = population.persons(whole(geobox))
        with rasterio.open(folder / "gpw_v411_2020_count_2020.tif") as source:
            counted = float(source.read(1, masked=True).astype(np.float64).sum())
    assert persons.sum() == pytest.approx(counted, rel=1e-9)
