"""The town and its truth."""

import hashlib
import subprocess
import sys
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecumene.core.errors import ConfigurationError
from ecumene.simulate import FRACTION_NAMES, LEGEND, Cover, observe_sentinel1, observe_sentinel2, simulate_city
from ecumene.simulate.noise import fractal_field, generator, keys_of, uniform_of

DIGEST = """
import hashlib, numpy as np
from ecumene.simulate import simulate_city, observe_sentinel1, observe_sentinel2
city = simulate_city(11, (64, 96))
parts = [city.land_cover(), city.building_height(2018), city.year_built(), city.fractions(), city.elevation,
         observe_sentinel2(city, "2020-06-01", cloud_cover=0.2, seed=4).image,
         observe_sentinel1(city, "2020-06-01", 4).image]
print(hashlib.sha256(b"".join(np.ascontiguousarray(p).tobytes() for p in parts)).hexdigest())
"""


@cache
def town():
    return simulate_city(3)


def digest_here():
    city = simulate_city(11, (64, 96))
    parts = [
        city.land_cover(),
        city.building_height(2018),
        city.year_built(),
        city.fractions(),
        city.elevation,
        observe_sentinel2(city, "2020-06-01", cloud_cover=0.2, seed=4).image,
        observe_sentinel1(city, "2020-06-01", 4).image,
    ]
    return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()


def test_the_same_seed_gives_the_same_arrays_in_another_process():
    other = subprocess.run([sys.executable, "-c", DIGEST], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == digest_here()


def test_another_seed_gives_another_town():
    assert (simulate_city(11, (64, 64)).land_cover() != simulate_city(12, (64, 64)).land_cover()).mean() > 0.3


@pytest.mark.parametrize("seed", range(4))
def test_every_class_is_there_and_none_rules(seed):
    share = np.bincount(simulate_city(seed).land_cover().ravel(), minlength=10)[1:] / 256**2
    assert share.min() > 0.002
    assert share.max() < 0.55


def test_shape_and_grid():
    city = simulate_city(1, (48, 80), epsg=32717)
    assert city.land_cover().shape == city.elevation.shape == city.purity().shape == (48, 80)
    assert city.geobox.shape == (48, 80)
    assert city.geobox.resolution.x == 10
    assert city.geobox.crs.epsg == 32717
    assert -48 < city.latitude < -45
    assert set(np.unique(city.land_cover())) <= set(LEGEND.values)


def test_built_up_ground_and_buildings_only_grow():
    city = town()
    before = city.ground(2016)
    sizes = [before.building.sum()]
    for year in range(2017, 2025):
        after = city.ground(year)
        urban_before, urban_after = city.urban_year <= year - 1, city.urban_year <= year
        assert not (urban_before & ~urban_after).any()
        assert not (before.building & ~after.building).any()
        sizes.append(after.building.sum())
        before = after
    assert sizes[-1] > 1.15 * sizes[0]


def test_growth_goes_outward():
    city = town()
    row, col = np.indices(city.urban_year.shape)
    old = city.urban_year < 1950
    centre = row[old].mean(), col[old].mean()
    distance = np.hypot(row - centre[0], col - centre[1])
    young = (city.urban_year >= 2017) & (city.urban_year <= 2024)
    assert distance[young].mean() > 1.3 * distance[old].mean()


def test_year_built_is_never_later_than_asked_for():
    city = town()
    for year in (2016, 2020, 2024):
        built = city.year_built(year)
        assert built.max() <= year
        assert built[built > 0].min() >= 1850
        assert ((built > 0) == (city.building_height(year) > 0)).all()


def test_building_heights_follow_the_class():
    city = town()
    cover, height = city.land_cover(), city.building_height()
    low = height[(cover == Cover.LOW_RISE) & (height > 0)]
    high = height[(cover == Cover.HIGH_RISE) & (height > 0)]
    assert 4 < np.median(low) < 11
    assert np.median(high) > 1.5 * np.median(low)
    assert height.max() <= 70


def test_fractions_sum_to_one_and_agree_with_the_classes():
    city = town()
    fractions = city.fractions()
    assert np.allclose(fractions.sum(axis=0), 1, atol=1e-6)
    assert fractions.min() >= 0
    by_name = dict(zip(FRACTION_NAMES, fractions, strict=True))
    cover = city.land_cover()
    assert by_name["water"][cover == Cover.WATER].mean() > 0.9
    assert by_name["tree"][cover == Cover.FOREST].mean() > 0.8
    assert by_name["building"][cover == Cover.INDUSTRIAL].mean() > by_name["building"][cover == Cover.LOW_RISE].mean()
    assert (by_name["building"] > 0).sum() == (city.building_height() > 0).sum()


def test_lakes_are_level_and_the_river_lies_low():
    city = town()
    terrain = city.terrain
    assert terrain.elevation[terrain.river_distance < 0].mean() < terrain.elevation.mean()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"shape": (16, 64)}, "32 to 4096"),
        ({"years": (2020, 2020)}, "ascending"),
        ({"epsg": 4326}, "UTM"),
        ({"epsg": 32661}, "UTM"),
    ],
)
def test_wrong_arguments_get_a_sentence(arguments, text):
    with pytest.raises(ConfigurationError, match=text):
        simulate_city(1, **{"shape": (64, 64), **arguments})


def test_a_year_outside_is_refused():
    with pytest.raises(ConfigurationError, match="2016 to 2024"):
        simulate_city(1, (32, 32)).ground(2030)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-(2**62), 2**62), min_size=2, max_size=50, unique=True), st.integers(0, 300))
def test_hashes_are_distinct_and_uniform_in_range(numbers, salt):
    keys = keys_of(np.array(numbers))
    assert len(set(keys.tolist())) == len(numbers)
    values = uniform_of(keys, salt)
    assert ((values > 0) & (values < 1)).all()


def test_hashes_are_uniform_and_salts_independent():
    keys = keys_of(np.arange(100_000))
    first, second = uniform_of(keys, 1), uniform_of(keys, 2)
    assert abs(first.mean() - 0.5) < 0.005
    assert abs(first.var() - 1 / 12) < 0.002
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.01


@settings(max_examples=15, deadline=None)
@given(st.integers(8, 90), st.integers(8, 90), st.floats(4, 60), st.floats(1, 4))
def test_fractal_fields_are_standardised(rows, cols, longest, exponent):
    field = fractal_field(generator(5), (rows, cols), longest=longest, exponent=exponent)
    assert field.shape == (rows, cols)
    assert abs(field.mean()) < 1e-3
    assert abs(field.std() - 1) < 1e-3


def test_fractal_fields_get_smoother_with_the_exponent():
    rough, smooth = (fractal_field(generator(5), (128, 128), longest=64, exponent=e) for e in (1.5, 3.5))
    assert np.diff(smooth, axis=0).std() < 0.5 * np.diff(rough, axis=0).std()
