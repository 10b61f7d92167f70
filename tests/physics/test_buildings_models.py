"""Block models: closed, facing outwards, and of the volume that footprint and height say."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecumene.core.errors import ContractError
from ecumene.physics.buildings.check import check_solids
from ecumene.physics.buildings.lod1 import Building, footprint_area, to_cityjson
from ecumene.physics.buildings.rings import clean_ring, signed_area

SQUARE = [(0.0, 0.0), (10.0, 0.0), (10.0, 10.0), (0.0, 10.0), (0.0, 0.0)]
HOLE = [(3.0, 3.0), (7.0, 3.0), (7.0, 7.0), (3.0, 7.0), (3.0, 3.0)]


def star(seed, corners):
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.uniform(0, 2 * np.pi, corners))
    radius = rng.uniform(4, 30, corners)
    return np.stack([400_000 + radius * np.cos(angle), 5_500_000 + radius * np.sin(angle)], axis=1)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(4, 12), st.floats(0.5, 300.0), st.floats(-50, 4000), st.booleans())
def test_any_footprint_becomes_a_closed_solid_of_its_volume(seed, corners, height, ground, reverse):
    ring = star(seed, corners)
    if abs(signed_area(ring)) < 1.0:
        return
    ring = ring[::-1] if reverse else ring
    model = to_cityjson([Building("b", [[ring]], ground, height)])
    check = check_solids(model)["b"]
    assert check.closed
    assert check.surfaces == corners + 2
    area = footprint_area([[ring]])
    # the height is rounded to the vertex grid, a millimetre
    assert check.volume_m3 == pytest.approx(area * height, abs=area * 1.1e-3 + 1e-6)
    assert model["CityObjects"]["b"]["attributes"]["ecumene_volume"] == pytest.approx(area * height, abs=1e-3)


@pytest.mark.parametrize("turn_hole", [False, True])
def test_courtyards_are_left_out(turn_hole):
    hole = HOLE[::-1] if turn_hole else HOLE
    model = to_cityjson([Building("b", [[SQUARE, hole]], 100.0, 5.0)])
    check = check_solids(model)["b"]
    assert check.closed
    assert check.volume_m3 == pytest.approx((100 - 16) * 5.0)


def test_several_parts_make_a_multisolid():
    other = [(x + 20, y) for x, y in SQUARE]
    model = to_cityjson([Building("b", [[SQUARE], [other]], 0.0, 4.0)])
    assert model["CityObjects"]["b"]["geometry"][0]["type"] == "MultiSolid"
    check = check_solids(model)["b"]
    assert check.closed
    assert check.volume_m3 == pytest.approx(800.0)


def test_file_is_cityjson_with_shared_vertices_error_and_datum():
    buildings = [
        Building("a", [[SQUARE]], 100.0, 12.0, 0.8, attributes={"storeys": 4}),
        Building("b", [[[(x + 10, y) for x, y in SQUARE]]], 100.0, 12.0, outlier=True),
    ]
    model = json.loads(
        json.dumps(to_cityjson(buildings, epsg=25832, title="t", reference_date="2020-01-01"), allow_nan=False)
    )
    assert (model["type"], model["version"]) == ("CityJSON", "2.0")
    assert model["metadata"]["referenceSystem"] == "https://www.opengis.net/def/crs/EPSG/0/25832"
    assert len(model["vertices"]) == 12  # the common wall's four are shared
    assert all(isinstance(value, int) for vertex in model["vertices"] for value in vertex)
    first, second = (model["CityObjects"][name]["attributes"] for name in ("a", "b"))
    assert first["ecumene_heightStandardDeviation"] == 0.8
    assert first["ecumene_volumeStandardDeviation"] == pytest.approx(80.0)
    assert first["storeys"] == 4
    assert second["ecumene_outlier"]
    assert "ecumene_heightStandardDeviation" not in second
    place = np.array(model["vertices"]) * model["transform"]["scale"] + model["transform"]["translate"]
    assert place.min(axis=0) == pytest.approx([0, 0, 100])
    assert place.max(axis=0) == pytest.approx([20, 10, 112])
    assert model["metadata"]["geographicalExtent"] == pytest.approx([0, 0, 100, 20, 10, 112])
    types = [entry["type"] for entry in model["CityObjects"]["a"]["geometry"][0]["semantics"]["surfaces"]]
    assert types == ["GroundSurface", "RoofSurface", "WallSurface"]


def test_checker_sees_open_and_inverted_solids():
    model = to_cityjson([Building("b", [[SQUARE]], 0.0, 4.0)])
    shell = model["CityObjects"]["b"]["geometry"][0]["boundaries"][0]
    turned = [[ring[::-1] for ring in surface] for surface in shell]
    model["CityObjects"]["b"]["geometry"][0]["boundaries"] = [turned]
    check = check_solids(model)["b"]
    assert check.closed
    assert check.volume_m3 == pytest.approx(-400.0)
    model["CityObjects"]["b"]["geometry"][0]["boundaries"] = [shell[:-1]]
    assert not check_solids(model)["b"].closed
    with pytest.raises(ContractError, match="CityJSON"):
        check_solids({"type": "CityJSON"})


def test_rings_lose_repeated_points():
    ring = clean_ring([(0, 0), (0, 0), (4, 0), (4, 3), (4, 3.0001), (0, 0)], 1e-3)
    assert len(ring) == 3
    assert signed_area(ring) == pytest.approx(6.0)


@pytest.mark.parametrize(
    ("buildings", "word"),
    [
        ([], "no building"),
        ([Building("b", [[SQUARE]], 0.0, 0.0)], "positive"),
        ([Building("b", [[SQUARE]], 0.0, float("nan"))], "positive"),
        ([Building("b", [], 0.0, 3.0)], "no footprint"),
        ([Building("b", [[SQUARE]], 0.0, 3.0)] * 2, "one identifier"),
        ([Building("b", [[[(0, 0), (1, 1), (2, 2)]]], 0.0, 3.0)], "no area"),
        ([Building("b", [[[(0, 0), (1, float("inf")), (2, 2)]]], 0.0, 3.0)], "finite"),
    ],
)
def test_bad_buildings_are_refused_in_a_sentence(buildings, word):
    with pytest.raises(ContractError, match=word):
        to_cityjson(buildings)
