import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecumene.core.errors import ConfigurationError
from ecumene.physics.tomography import (
    cramer_rao,
    interference_factor,
    make_geometry,
    single_scatterer_bound,
    steering,
    super_resolution_factor,
)


def geometry_of(seed, count=20, **options):
    rng = np.random.default_rng(seed)
    return make_geometry(
        rng.uniform(-150, 150, count), 0.031, 7e5, 35.0, times_years=rng.uniform(0, 4, count), **options
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(-100, 100), st.floats(0.01, 100), st.floats(0.01, 10), st.sampled_from([1, 2]))
def test_one_scatterer_has_the_closed_form(seed, elevation, power, noise, passes):
    geometry = geometry_of(seed, passes=passes)
    bound = cramer_rao(geometry, [[elevation]], [np.sqrt(power)], noise)[0, 0]
    assert bound == pytest.approx(float(single_scatterer_bound(geometry, power / noise)), rel=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.3, 2.0), st.floats(-3.1, 3.1))
def test_bound_is_the_inverse_of_the_whole_fisher_information(seed, distance, phase):
    geometry = geometry_of(seed, motion=("linear",))
    theta = np.array([[3.0, 1.0], [3.0 + distance * geometry.rayleigh_m, -2.0]])
    x = np.array([1.0, 0.7 * np.exp(1j * phase)])

    def signal(v):
        return steering(geometry, v[:4].reshape(2, 2)) @ (v[4:6] + 1j * v[6:8])

    start = np.concatenate([theta.ravel(), x.real, x.imag])
    jacobian = np.stack(
        [(signal(start + h) - signal(start - h)) / 2e-5 for h in np.eye(8) * 1e-5], axis=1
    )  # all unknowns, by differences
    fisher = 2 / 0.3 * np.real(jacobian.conj().T @ jacobian)
    expected = np.sqrt(np.diag(np.linalg.inv(fisher)))[:4].reshape(2, 2)
    np.testing.assert_allclose(cramer_rao(geometry, theta, x, 0.3), expected, rtol=1e-4)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.1, 3.0), st.floats(0, 6.3))
def test_a_second_scatterer_or_motion_never_helps(seed, distance, phase):
    geometry = geometry_of(seed)
    alone = float(single_scatterer_bound(geometry, 4.0))
    pair = [[0.0], [distance * geometry.rayleigh_m]]
    both = cramer_rao(geometry, pair, [1.0, np.exp(1j * phase)], 0.25)
    assert (both >= alone * (1 - 1e-9)).all()
    moving = geometry_of(seed, motion=("linear",))
    assert cramer_rao(moving, [[0.0, 0.0]], [1.0], 0.25)[0, 0] >= alone * (1 - 1e-9)


def test_more_snapshots_help_by_their_root():
    geometry = geometry_of(1)
    one = cramer_rao(geometry, [[5.0]], [[1.0]], 0.5)[0, 0]
    four = cramer_rao(geometry, [[5.0]], [[1.0, 1j, -1.0, -1j]], 0.5)[0, 0]
    assert four == pytest.approx(one / 2)


def test_coinciding_scatterers_have_no_bound():
    assert np.isinf(cramer_rao(geometry_of(2), [[5.0], [5.0]], [1.0, 1j], 0.1)).all()


def test_closed_form_of_two_scatterers_follows_the_exact_bound():
    # It is an approximation for evenly spread baselines: within 45 % where it exceeds 1, and it never goes below 1.
    geometry = make_geometry(np.linspace(-135, 135, 25), 0.031, 7e5, 35.0)
    alone = float(single_scatterer_bound(geometry, 4.0))
    for a in (0.1, 0.2, 0.4, 0.6, 0.8, 1.0):
        for phase in (0.0, np.pi / 4, np.pi / 2):
            exact = (
                cramer_rao(geometry, [[0.0], [a * geometry.rayleigh_m]], [1.0, np.exp(1j * phase)], 0.25)[0, 0] / alone
            )
            assert 1 / 1.45 < float(interference_factor(a, phase)) / exact < 1.45
    assert float(interference_factor(3.0, 0.3)) == 1.0


def test_super_resolution_factor_is_where_detection_crosses():
    assert super_resolution_factor([0.1, 0.3, 0.5, 1.0], [0.0, 0.25, 0.75, 1.0]) == pytest.approx(1 / 0.4)
    assert super_resolution_factor([0.2, 0.4], [0.6, 0.9]) == pytest.approx(5.0)
    assert np.isnan(super_resolution_factor([0.2, 0.4], [0.1, 0.2]))
    with pytest.raises(ConfigurationError):
        super_resolution_factor([0.4, 0.2], [0.1, 0.2])


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ConfigurationError, match="elevation"):
        cramer_rao(geometry_of(1), [[1.0, 2.0]], [1.0], 0.1)
    with pytest.raises(ConfigurationError, match="Amplitudes"):
        cramer_rao(geometry_of(1), [[1.0], [2.0]], [1.0], 0.1)
