import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecumene.core.errors import ConfigurationError
from ecumene.physics.tomography import make_geometry, make_grid, order_penalties, steering

BASE = {"wavelength_m": 0.031, "slant_range_m": 7e5, "incidence_deg": 35.0}


def test_rayleigh_and_height_follow_from_the_geometry():
    geometry = make_geometry(np.linspace(-135, 135, 25), **BASE)
    assert geometry.rayleigh_m == pytest.approx(0.031 * 7e5 / (2 * 270))
    assert geometry.ambiguity_m == pytest.approx(0.031 * 7e5 / (2 * 270 / 24))
    assert geometry.elevation_to_height == pytest.approx(np.sin(np.radians(35)))
    bistatic = make_geometry(np.linspace(-135, 135, 25), passes=1, **BASE)
    assert bistatic.rayleigh_m == pytest.approx(2 * geometry.rayleigh_m)


def test_phase_is_that_of_the_changed_path():
    # The range from a sensor displaced by b across the line of sight to a point at elevation s, exactly.
    baselines, elevation, distance = np.array([0.0, 50.0, 120.0]), 30.0, 7e5
    geometry = make_geometry(baselines, **BASE)
    path = np.sqrt(distance**2 + (baselines - elevation) ** 2) - np.sqrt(distance**2 + baselines**2)
    exact = -4 * np.pi / 0.031 * (path - path[0])
    model = np.angle(steering(geometry, np.array([elevation])))
    assert np.abs(np.angle(np.exp(1j * (exact - model)))).max() < 1e-3


def test_velocity_away_from_the_satellite_lowers_the_phase():
    times = np.array([0.0, 1.0, 2.0, 2.5])
    geometry = make_geometry([0, 100, -50, 80], **BASE, times_years=times, motion=("linear",))
    phase = np.unwrap(np.angle(steering(geometry, np.array([0.0, 1.0]))))
    assert phase[1] - phase[0] == pytest.approx(-4 * np.pi / 0.031 * 1e-3)
    opposite = make_geometry([0, 100, -50, 80], **BASE, times_years=times, motion=("linear",), sign=-1)
    theta = np.array([12.0, 3.0])
    np.testing.assert_allclose(steering(opposite, theta), steering(geometry, theta).conj())


def test_seasonal_motion_takes_any_phase():
    times = np.linspace(0, 3, 30)
    geometry = make_geometry(
        np.random.default_rng(0).uniform(-100, 100, 30), **BASE, times_years=times, motion=("seasonal",)
    )
    assert geometry.parameter_names == ("elevation", "seasonal_sine", "seasonal_cosine")
    wave = 5e-3 * np.sin(2 * np.pi * (times - 0.2))
    sine, cosine = 5 * np.cos(0.4 * np.pi), -5 * np.sin(0.4 * np.pi)
    got = np.angle(steering(geometry, np.array([0.0, sine, cosine])))
    want = -4 * np.pi / 0.031 * (wave - wave.mean())
    constant = np.exp(1j * (got - want))
    assert np.abs(constant - constant[0]).max() < 1e-9


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"baselines_m": [50.0, 50.0, 50.0]}, "baselines are equal"),
        ({"baselines_m": [50.0]}, "baselines are equal"),
        ({"baselines_m": [0.0, np.nan, 3.0]}, "acquisition 2 is not finite"),
        ({"wavelength_m": 0.0}, "wavelength"),
        ({"slant_range_m": -1.0}, "slant range"),
        ({"incidence_deg": 95.0}, "incidence"),
        ({"passes": 3}, "passes"),
        ({"motion": ("linear",)}, "needs the acquisition times"),
        ({"motion": ("thermal",)}, "needs the temperatures"),
        ({"motion": ("tidal",)}, "unknown"),
        ({"motion": ("linear",), "times_years": [0.0, 1.0]}, "2 time values for 3"),
        ({"motion": ("linear",), "times_years": [1.0, 1.0, 1.0]}, "all equal"),
        (
            {"motion": ("linear",), "times_years": [0.0, 1.0, 2.0], "baselines_m": [0.0, 10.0, 20.0]},
            "linearly dependent",
        ),
    ],
)
def test_unusable_geometry_is_refused_in_one_sentence(change, sentence):
    given_ = {"baselines_m": [0.0, 40.0, 130.0], **BASE, **change}
    with pytest.raises(ConfigurationError, match=sentence) as caught:
        make_geometry(**given_)
    assert str(caught.value).count(". ") == 0


def test_grids_are_refused_when_empty_or_enormous():
    geometry = make_geometry([0.0, 40.0, 130.0], **BASE)
    with pytest.raises(ConfigurationError, match="empty"):
        make_grid(geometry, (10.0, 10.0))
    with pytest.raises(ConfigurationError, match="search grid"):
        make_grid(geometry, (-1e7, 1e7))
    with pytest.raises(ConfigurationError, match="oversampling"):
        make_grid(geometry, (0.0, 10.0), oversampling=0.5)


@settings(max_examples=30, deadline=None)
@given(st.floats(-300, 290), st.floats(1, 400), st.floats(1, 20))
def test_grid_steps_never_exceed_the_asked_share_of_the_resolution(low, extent, oversampling):
    geometry = make_geometry([0.0, 40.0, 130.0], **BASE)
    grid = make_grid(geometry, (low, low + extent), oversampling=oversampling)
    assert grid.steps[0] <= geometry.rayleigh_m / oversampling * (1 + 1e-9)
    np.testing.assert_allclose(np.sum(np.abs(grid.dictionary) ** 2, axis=0), 3.0)
    np.testing.assert_allclose(grid.limits[0], [low, low + extent])


def test_fewer_acquisitions_than_unknowns_are_refused():
    with pytest.raises(ConfigurationError, match="unknowns"):
        order_penalties("bic", 2, 3, 1)
    with pytest.raises(ConfigurationError, match="criterion"):
        order_penalties("dic", 1, 20, 1)
    penalties = order_penalties("bic", 2, 25, 1)
    np.testing.assert_allclose(penalties, [0, 3 * np.log(50), 6 * np.log(50)])
