"""Phase of heights and of motion: signs, scales and their exact counterparts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecumene.core.errors import ConfigurationError
from ecumene.physics.interferometry.earth_phase import OrbitPair, flat_earth_phase, remove_phase, topographic_phase
from ecumene.physics.interferometry.geometry import EARTH_RADIUS_M, RadarGeometry, slant_range_of, wavelength_of

ORBIT = EARTH_RADIUS_M + 693e3


@settings(max_examples=60, deadline=None)
@given(
    st.floats(20, 50),
    st.floats(-400, 400),
    st.floats(-400, 400),
    st.sampled_from([1, 2]),
    st.sampled_from([1, -1]),
)
def test_height_rate_is_the_derivative_of_the_exact_topographic_phase(incidence, horizontal, vertical, passes, sign):
    distance = float(slant_range_of(incidence, 693e3))
    orbits = OrbitPair(ORBIT, horizontal, vertical)
    geometry = RadarGeometry(0.0555, distance, incidence, passes, sign)
    exact = topographic_phase(geometry, orbits, distance, 1.0) - topographic_phase(geometry, orbits, distance, -1.0)
    linear = 2.0 * geometry.height_rate(orbits.perpendicular_baseline(distance))
    scale = abs(geometry.phase_per_metre) * (abs(horizontal) + abs(vertical) + 1.0) / distance
    assert abs(exact - linear) < 2e-3 * scale


def test_exact_range_difference_agrees_with_coordinates():
    distance = np.array([8.0e5, 8.5e5, 9.0e5])
    height = np.array([0.0, 1500.0, -200.0])
    orbits = OrbitPair(ORBIT, 120.0, -35.0)
    look = orbits.look_angle(distance, height)
    ground = np.stack([distance * np.sin(look), ORBIT - distance * np.cos(look)])
    assert np.allclose(np.hypot(*ground), EARTH_RADIUS_M + height, atol=1e-3)
    second = np.array([[120.0], [ORBIT - 35.0]])
    direct = np.hypot(*(ground - second)) - distance
    assert np.allclose(orbits.range_difference(distance, height), direct, atol=1e-6)


def test_slant_range_and_incidence_are_inverse():
    angles = np.array([23.0, 31.9, 39.7, 46.0])
    distance = slant_range_of(angles, 693e3, 2250.0)
    assert np.allclose(OrbitPair(ORBIT, 0.0, 0.0).incidence_deg(distance, 2250.0), angles, atol=1e-6)
    assert 870e3 < float(slant_range_of(39.7, 693e3)) < 885e3  # Sentinel-1 IW, mid swath


def test_growing_distance_gives_growing_phase_and_negative_displacement():
    geometry = RadarGeometry(0.0555, 8e5, 35.0)
    assert geometry.phase_per_metre == pytest.approx(4 * np.pi / 0.0555)
    assert geometry.displacement(geometry.phase_per_metre * 0.01) == pytest.approx(-0.01)
    assert RadarGeometry(0.0555, 8e5, 35.0, sign=-1).displacement(1.0) == pytest.approx(-geometry.displacement(1.0))


def test_height_of_ambiguity_of_tandem_x():
    geometry = RadarGeometry(0.031, 6e5, 37.0, passes=1)
    expected = 0.031 * 6e5 * np.sin(np.radians(37.0)) / 200.0
    assert geometry.height_of_ambiguity(200.0) == pytest.approx(expected)
    assert np.isinf(geometry.height_of_ambiguity(0.0))


def test_flat_earth_phase_is_removed_to_nothing():
    distance = np.linspace(8e5, 8.01e5, 300)[None].repeat(4, 0)
    geometry = RadarGeometry(0.0555, 8.005e5, 32.0)
    orbits = OrbitPair(ORBIT, 100.0, 20.0)
    phase = flat_earth_phase(geometry, orbits, distance)
    assert np.ptp(phase[0]) > 2 * np.pi
    left = remove_phase(np.exp(1j * phase).astype(np.complex64), phase)
    assert left.dtype == np.complex64
    assert np.abs(np.angle(left)).max() < 1e-2  # complex64 at thousands of radians


def test_wavelength_of_sentinel_1():
    assert wavelength_of(5.405e9) == pytest.approx(0.0554658, abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((0.0, 8e5, 35.0), "wavelength"),
        ((0.055, -1.0, 35.0), "slant range"),
        ((0.055, 8e5, 90.0), "incidence"),
        ((0.055, 8e5, 35.0, 3), "passes"),
        ((0.055, 8e5, 35.0, 2, 0), "sign"),
    ],
)
def test_impossible_radars_are_refused(arguments, word):
    with pytest.raises(ConfigurationError, match=word):
        RadarGeometry(*arguments)


def test_impossible_orbits_are_refused():
    with pytest.raises(ConfigurationError, match="orbit"):
        slant_range_of(35.0, -10.0)
    with pytest.raises(ConfigurationError, match="slant range"):
        OrbitPair(ORBIT, 1.0, 1.0).look_angle(1e3)
    with pytest.raises(ConfigurationError, match="frequency"):
        wavelength_of(0.0)
