import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecumene.core.errors import ConfigurationError
from ecumene.physics.tomography import (
    make_geometry,
    make_grid,
    simulate_stack,
    solve_fista,
    solve_l1,
    universal_threshold,
)


def scene(seed, pixels=12, looks=1, oversampling=10.0, noise=0.1):
    rng = np.random.default_rng(seed)
    geometry = make_geometry(rng.uniform(-135, 135, 20), 0.031, 7e5, 35.0)
    grid = make_grid(geometry, (-90.0, 90.0), oversampling=oversampling)
    x = rng.standard_normal((pixels, 2, looks)) + 1j * rng.standard_normal((pixels, 2, looks))
    data = simulate_stack(geometry, rng.uniform(-80, 80, (pixels, 2, 1)), x, noise, rng)
    return grid, data


def objective(a, y, x, kappa):
    rows = np.sqrt(np.sum(np.abs(x) ** 2, axis=2)).sum(axis=1)
    return 0.5 * np.sum(np.abs(y - a @ x) ** 2, axis=(1, 2)) + kappa * rows


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1, 3]), st.floats(0.05, 1.2), st.sampled_from([3.0, 10.0, 25.0]))
def test_optimality_conditions_hold(seed, looks, share, oversampling):
    grid, y = scene(seed, 4, looks, oversampling)
    a = grid.dictionary
    largest = np.sqrt(np.sum(np.abs(a.conj().T @ y) ** 2, axis=2)).max(axis=1)
    kappa = share * largest
    found = solve_l1(a, y, kappa, tolerance=1e-10)
    assert found.converged.all()
    x = found.dense()
    pull = np.sqrt(np.sum(np.abs(a.conj().T @ (y - a @ x)) ** 2, axis=2))
    assert (pull.max(axis=1) <= kappa * (1 + 1e-4)).all()
    active = np.sqrt(np.sum(np.abs(x) ** 2, axis=2)) > 1e-3
    p, atom = np.nonzero(active)
    np.testing.assert_allclose(pull[p, atom], kappa[p], rtol=1e-4)
    assert x.any() == (share < 1)


def test_agrees_with_an_independent_solver():
    pytest.importorskip("torch")
    grid, y = scene(3, 20, oversampling=4.0)
    kappa = 3.0
    ours = solve_l1(grid.dictionary, y, kappa, tolerance=1e-10)
    theirs = solve_fista(grid.dictionary, y, kappa, tolerance=1e-9)
    assert theirs.converged.all()
    assert np.abs(ours.dense() - theirs.amplitude).max() < 1e-4
    np.testing.assert_allclose(
        objective(grid.dictionary, y, ours.dense(), kappa),
        objective(grid.dictionary, y, theirs.amplitude, kappa),
        rtol=1e-8,
    )


def test_many_snapshots_equal_their_reduction():
    grid, y = scene(4, 5, looks=50)
    full = solve_l1(grid.dictionary, y, 30.0, tolerance=1e-9)
    x = full.dense()
    assert x.shape == (5, grid.size, 50)
    pull = np.sqrt(np.sum(np.abs(grid.dictionary.conj().T @ (y - grid.dictionary @ x)) ** 2, axis=2))
    assert (pull.max(axis=1) <= 30.0 * (1 + 1e-4)).all()
    assert full.count.min() >= 1


def test_gram_and_direct_correlations_agree():
    # Above 512 atoms correlations are computed from the residual instead of the Gram matrix.
    rng = np.random.default_rng(0)
    geometry = make_geometry(rng.uniform(-135, 135, 20), 0.031, 7e5, 35.0)
    y = simulate_stack(geometry, rng.uniform(-80, 80, (6, 2, 1)), np.ones((6, 2)), 0.05, rng)
    wide = make_grid(geometry, (-90.0, 90.0), oversampling=140.0).dictionary
    assert wide.shape[1] > 512
    found = solve_l1(wide, y, 2.0, tolerance=1e-9)
    x = found.dense()
    assert found.converged.all()
    padded = solve_l1(wide[:, ::2], y, 2.0, tolerance=1e-9).dense()
    fine, coarse = objective(wide, y[..., None], x, 2.0), objective(wide[:, ::2], y[..., None], padded, 2.0)
    assert (fine <= coarse + 1e-7).all()  # the finer dictionary holds the coarser one
    np.testing.assert_allclose(fine, coarse, rtol=1e-2)


def test_result_does_not_depend_on_threads():
    grid, y = scene(5, 300)
    one, two = (solve_l1(grid.dictionary, y, 2.0, threads=n) for n in (1, 2))
    np.testing.assert_array_equal(one.index, two.index)
    np.testing.assert_array_equal(one.amplitude, two.amplitude)


def test_universal_threshold_has_the_stated_false_alarm():
    rng = np.random.default_rng(6)
    n, atoms = 16, 16
    dictionary = np.exp(2j * np.pi * np.outer(np.arange(n), np.arange(atoms)) / n)  # orthogonal: atoms independent
    noise = 2.0 * (rng.standard_normal((4000, n)) + 1j * rng.standard_normal((4000, n))) / np.sqrt(2)
    kappa = universal_threshold(2.0, n, atoms, false_alarm=0.2)
    rate = np.mean(solve_l1(dictionary, noise, kappa).count > 0)
    assert 0.15 < rate < 0.2  # the union bound is an upper one: 1 - (1 - 0.2/16)^16 = 0.18
    np.testing.assert_allclose(universal_threshold(3.0, 25, 40.0, false_alarm=1.0), 3 * np.sqrt(25 * np.log(40)))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"data": np.full((2, 20), np.nan + 0j)}, "not finite"),
        ({"data": np.zeros((2, 7), complex)}, "do not fit"),
        ({"threshold": 0.0}, "threshold"),
        ({"tolerance": 1e-16}, "tolerance"),
        ({"dictionary": np.eye(20)[:, :4] * [1, 2, 3, 4]}, "norm"),
    ],
)
def test_bad_input_is_refused(change, sentence):
    grid, y = scene(7, 2)
    given_ = {"dictionary": grid.dictionary, "data": y[:, :, 0], "threshold": 1.0, **change}
    with pytest.raises(ConfigurationError, match=sentence):
        solve_l1(**given_)


def test_silence_gives_nothing():
    grid, _ = scene(8, 1)
    found = solve_l1(grid.dictionary, np.zeros((3, 20), complex), 1.0)
    assert found.converged.all()
    assert not found.dense().any()
