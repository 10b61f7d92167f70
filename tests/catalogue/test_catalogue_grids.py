"""Tiles: names, places, no overlap, no gap; areas and periods that cannot be meant."""

from __future__ import annotations

from types import SimpleNamespace

import geopandas
import numpy as np
import pytest
from catalogue_data import grid, write_aoi
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import LineString, Point, box

from ecumene.catalogue import mgrs
from ecumene.catalogue.area import LONLAT, Area, read_area, transformed
from ecumene.catalogue.grids import lattice_phases, padded, parse_grid
from ecumene.catalogue.period import parse_period
from ecumene.catalogue.plan import plan_units
from ecumene.core.errors import ConfigurationError


@pytest.mark.parametrize(
    ("longitude", "latitude", "square"),
    [
        (2.2945, 48.8584, "31UDQ"),  # Paris
        (-77.0365, 38.8977, "18SUJ"),  # Washington
        (151.2153, -33.8568, "56HLH"),  # Sydney
        (11.575, 48.137, "32UPU"),  # Munich
        (15.65, 78.22, "33XWG"),  # Longyearbyen, in a widened zone
        (5.32, 60.39, "32VKN"),  # Bergen, in a widened zone
        (-78.47, -0.18, "17MQV"),  # Quito, just south of the equator
    ],
)
def test_squares_have_their_published_names(longitude, latitude, square):
    area = Area(Point(longitude, latitude).buffer(1e-4), LONLAT)
    tiles = parse_grid("mgrs").tiles(area, 10.0, {})
    assert [tile.id for tile in tiles] == [square]
    bounds = tiles[0].geobox.boundingbox
    there = transformed(Point(longitude, latitude), LONLAT, str(tiles[0].geobox.crs))
    assert box(bounds.left, bounds.bottom, bounds.right, bounds.top).contains(there)
    assert tiles[0].geobox.shape == (10_000, 10_000)


def test_squares_are_cut_where_a_zone_ends():
    """On both sides of a meridian between zones every place is mapped by exactly one of them."""
    area = Area(box(17.5, 47.0, 18.5, 47.5), LONLAT)
    tiles = parse_grid("mgrs").tiles(area, 60.0, {})
    assert {str(tile.geobox.crs) for tile in tiles} == {"EPSG:32633", "EPSG:32634"}
    generator = np.random.default_rng(0)
    for x, y in zip(generator.uniform(17.5, 18.5, 300), generator.uniform(47.0, 47.5, 300), strict=True):
        hits = 0
        for tile in tiles:
            there = transformed(Point(x, y), LONLAT, str(tile.geobox.crs))
            b = tile.geobox.boundingbox
            inside = box(b.left, b.bottom, b.right, b.top) if tile.clip is None else tile.clip
            hits += inside.intersects(there)
        assert hits == 1 or abs(x - 18.0) < 1e-4


def test_an_area_over_the_antimeridian_has_tiles_on_both_sides():
    for west in (179.9, -180.1):
        tiles = parse_grid("mgrs").tiles(Area(box(west, -17.0, west + 0.2, -16.9), LONLAT), 100.0, {})
        assert {tile.id[:2] for tile in tiles} == {"01", "60"}


@given(
    edge=st.floats(170, 900),
    resolution=st.sampled_from([10.0, 20.0, 30.0, 12.5]),
    phase=st.tuples(st.floats(0, 0.99), st.floats(0, 0.99)),
    shift=st.integers(-3000, 3000),
)
@settings(max_examples=40, deadline=None)
def test_tiles_neither_overlap_nor_leave_gaps(edge, resolution, phase, shift):
    phases = {"EPSG:32633": (round(phase[0] * resolution, 3), round(phase[1] * resolution, 3))}
    area = Area(box(500_000 + shift, 5_000_000 + shift, 501_500 + shift, 5_001_300 + shift), "EPSG:32633", clips=False)
    tiles = parse_grid(f"EPSG:32633:{edge:.3f}").tiles(area, resolution, phases)
    left = min(tile.geobox.boundingbox.left for tile in tiles)
    top = max(tile.geobox.boundingbox.top for tile in tiles)
    places = [
        (round((top - t.geobox.boundingbox.top) / resolution), round((t.geobox.boundingbox.left - left) / resolution))
        for t in tiles
    ]
    rows = max(p[0] + t.geobox.shape[0] for p, t in zip(places, tiles, strict=True))
    cols = max(p[1] + t.geobox.shape[1] for p, t in zip(places, tiles, strict=True))
    count = np.zeros((rows, cols), int)
    for (row, col), tile in zip(places, tiles, strict=True):
        count[row : row + tile.geobox.shape[0], col : col + tile.geobox.shape[1]] += 1
    assert (count == 1).all()
    assert len({tile.id for tile in tiles}) == len(tiles)


@given(st.integers(0, 70), st.sampled_from([1, 8, 32]), st.integers(-500, 500), st.integers(-500, 500))
@settings(max_examples=60, deadline=None)
def test_padding_begins_at_multiples_of_the_stride(margin, multiple, row, col):
    tile = grid(137, 91, row, col, west=500_005.0, north=5_000_005.0)
    geobox, (top, left, height, width) = padded(tile, margin, multiple)
    assert (height, width) == (137, 91)
    assert geobox[top : top + height, left : left + width] == tile
    assert min(top, left) >= margin
    assert max(top, left) < margin + multiple
    if (margin, multiple) != (0, 1):
        other, _ = padded(grid(137, 91, row, col + 91, west=500_005.0, north=5_000_005.0), margin, multiple)
        steps = (~geobox.affine) * (other.affine.c, other.affine.f)
        assert abs(steps[0] / multiple - round(steps[0] / multiple)) < 1e-6


def test_the_lattice_follows_scenes_of_the_same_resolution(land_scene):
    from ecumene.scenes.opening import describe_scenes

    assert lattice_phases(describe_scenes([land_scene]), 10.0) == {"EPSG:32633": (0.0, 0.0)}
    assert lattice_phases(describe_scenes([land_scene]), 20.0) == {}


def test_models_that_look_at_whole_scenes_get_no_tiles():
    """Neighbouring tiles would be brought to their own brightness each, and have seams."""
    spec = SimpleNamespace(temporal=True, standardised=True)
    with pytest.raises(ConfigurationError, match="would differ from tile to tile; map the two scenes themselves"):
        plan_units([], spec, parse_grid("mgrs"), area=None, composite="none", resolution=10.0, margin=0)


@pytest.mark.parametrize(
    ("text", "saying"),
    [
        ("hexagons", "unknown; write mgrs"),
        ("utm:0", "unknown"),
        ("EPSG:4326:1000", "not in metres"),
        ("EPSG:2263:1000", "not in metres"),
        ("EPSG:999999:1000", "no coordinate system"),
    ],
)
def test_a_wrong_grid_is_refused(text, saying):
    with pytest.raises(ConfigurationError, match=saying):
        parse_grid(text)


def test_poles_need_another_grid():
    area = Area(box(0, 84.5, 10, 86), LONLAT)
    with pytest.raises(ConfigurationError, match="polar grid"):
        parse_grid("mgrs").tiles(area, 100.0, {})
    assert parse_grid("EPSG:3413:100000").tiles(area, 100.0, {})


def test_zones_cover_the_globe():
    for longitude in np.arange(-180, 180, 3.7):
        for latitude in (-79, -10, 10, 60, 75):
            zone = mgrs.zone_of(longitude, latitude)
            assert 1 <= zone <= 60
            assert abs((longitude - (6 * zone - 183) + 180) % 360 - 180) <= 9


def test_periods():
    period = parse_period("2024-06/2024-08")
    assert period.holds(np.datetime64("2024-06-01"))
    assert period.holds(np.datetime64("2024-08-31T23:59:59"))
    assert not period.holds(np.datetime64("2024-09-01"))
    assert parse_period("2024").holds(np.datetime64("2024-12-31T12:00"))
    assert parse_period("2024-06-05/..").holds(np.datetime64("2030-01-01"))
    assert not parse_period("../2020").holds(np.datetime64("2021-01-01"))
    with pytest.raises(ConfigurationError, match="ends before it begins"):
        parse_period("2024-08/2024-06")
    for text in ("summer", "2024-13/2024-14", "2024-06-01/yesterday"):
        with pytest.raises(ConfigurationError, match="no period"):
            parse_period(text)


def test_areas_that_cannot_be_meant(tmp_path):
    area = read_area(write_aoi(tmp_path / "a.geojson", grid(50, 50), "EPSG:4326"))
    assert area.clips
    assert area.bounds[0] == pytest.approx(15.0, abs=0.01)
    write_aoi(tmp_path / "b.shp", grid(50, 50))
    (tmp_path / "b.prj").unlink()
    with pytest.raises(ConfigurationError, match="states no coordinate system"):
        read_area(tmp_path / "b.shp")
    geopandas.GeoDataFrame(geometry=[LineString([(0, 0), (1, 1)])], crs=LONLAT).to_file(tmp_path / "c.gpkg")
    with pytest.raises(ConfigurationError, match="holds no polygon"):
        read_area(tmp_path / "c.gpkg")
    (tmp_path / "d.geojson").write_text("not json")
    for name in ("d.geojson", "missing.geojson"):
        with pytest.raises(ConfigurationError, match="cannot be read as vector data"):
            read_area(tmp_path / name)
