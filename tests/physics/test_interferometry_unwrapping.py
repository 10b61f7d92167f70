"""Unwrapping: congruent always, exact where it can be, cheapest by minimum-cost flow."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, sparse
from scipy.optimize import linprog

from ecumene.core.errors import ConfigurationError, ContractError
from ecumene.physics.interferometry.unwrapping import METHODS, components, jump_cost, residues, unwrap, wrap

CYCLE = 2 * np.pi


def hill(shape=(50, 70), cycles=6.0):
    rows, cols = np.indices(shape)
    distance = ((rows - shape[0] / 2) / shape[0]) ** 2 + ((cols - shape[1] / 2) / shape[1]) ** 2
    return cycles * CYCLE * np.exp(-8 * distance) + 0.05 * cols


def least_cost(phase, weight):
    """The same optimum by a general linear programme (HiGHS)."""
    charge = residues(phase)
    height, width = phase.shape
    across, down = height * (width - 1), (height - 1) * width
    rows, cols, signs = [], [], []
    for r in range(height - 1):
        for c in range(width - 1):
            face = r * (width - 1) + c
            edges = [
                (r * (width - 1) + c, 1),
                ((r + 1) * (width - 1) + c, -1),
                (across + r * width + c + 1, 1),
                (across + r * width + c, -1),
            ]
            for edge, sign in edges:
                rows.append(face), cols.append(edge), signs.append(sign)
    balance = sparse.csr_array((signs, (rows, cols)), shape=(charge.size, across + down))
    cost = np.concatenate(
        [np.minimum(weight[:, 1:], weight[:, :-1]).ravel(), np.minimum(weight[1:], weight[:-1]).ravel()]
    )
    solution = linprog(
        np.concatenate([cost, cost]), A_eq=sparse.hstack([balance, -balance]), b_eq=-charge.ravel(), bounds=(0, None)
    )
    return solution.fun


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(METHODS), st.booleans())
def test_result_is_congruent_with_the_input(seed, method, masked):
    rng = np.random.default_rng(seed)
    phase = rng.uniform(-np.pi, np.pi, (9, 12))
    valid = rng.random(phase.shape) > 0.2 if masked else None
    result = unwrap(phase, method=method, valid=valid)
    usable = np.ones(phase.shape, bool) if valid is None else valid
    turns = (result - phase)[usable] / CYCLE
    assert np.allclose(turns, np.rint(turns), atol=1e-9)
    assert np.isnan(result[~usable]).all()


@pytest.mark.parametrize("method", METHODS)
def test_smooth_phase_is_recovered_up_to_a_constant(method):
    truth = hill()
    assert np.abs(np.diff(truth, axis=0)).max() < np.pi
    assert np.abs(np.diff(truth, axis=1)).max() < np.pi
    error = unwrap(wrap(truth), method=method) - truth
    assert np.ptp(error) < 1e-9
    error = unwrap(np.exp(1j * truth), method=method) - truth
    assert np.ptp(error) < 1e-9


@pytest.mark.parametrize("seed", range(4))
def test_flow_has_the_least_cost_of_all(seed):
    rng = np.random.default_rng(seed)
    phase = wrap(rng.uniform(-np.pi, np.pi, (14, 17)) + ndimage.gaussian_filter(rng.normal(size=(14, 17)), 3) * 20)
    coherence = rng.uniform(0.1, 0.95, phase.shape)
    weight = coherence**2 / (1 - coherence**2)
    assert np.abs(residues(phase)).sum() > 20
    best = least_cost(phase, weight)
    assert jump_cost(unwrap(phase, coherence), coherence) == pytest.approx(best, rel=1e-9)
    assert jump_cost(unwrap(phase, method="reliability"), coherence) >= best - 1e-9


def test_coherence_leads_the_jumps_through_noise():
    rng = np.random.default_rng(7)
    truth = hill((96, 96), 8.0)
    coherence = np.full(truth.shape, 0.95)
    coherence[30:66, 40:56] = 0.1
    noise = np.where(coherence > 0.5, 0.1, 1.8) * rng.normal(size=truth.shape)
    phase = wrap(truth + noise)
    good = coherence > 0.5
    wrong = {}
    for name, quality in (("with", coherence), ("without", None)):
        turns = np.rint((unwrap(phase, quality) - truth)[good] / CYCLE)
        wrong[name] = np.mean(turns != np.median(turns))
    assert wrong["with"] <= 0.002
    assert wrong["with"] <= wrong["without"]


def test_gaps_do_not_disturb_and_areas_are_told_apart():
    truth = hill()
    valid = np.ones(truth.shape, bool)
    valid[:, 30:34] = False
    phase = np.where(valid, wrap(truth), np.nan)
    labels, number = components(valid)
    assert number == 2
    for method in METHODS:
        error = unwrap(phase, method=method, valid=valid) - truth
        for k in (1, 2):
            assert np.ptp(error[labels == k]) < 1e-9


def test_residues_are_whole_and_vanish_for_smooth_phase():
    assert not residues(wrap(hill())).any()
    vortex = np.angle(np.exp(1j * np.arctan2(*np.meshgrid(np.arange(-3.5, 4), np.arange(-3.5, 4)))))
    assert np.abs(residues(vortex)).sum() == 1


def test_bad_phases_are_refused_in_a_sentence():
    with pytest.raises(ContractError, match="not finite"):
        unwrap(np.full((4, 4), np.nan))
    with pytest.raises(ContractError, match="no valid pixel"):
        unwrap(np.zeros((4, 4)), valid=np.zeros((4, 4), bool))
    with pytest.raises(ConfigurationError, match="method"):
        unwrap(np.zeros((4, 4)), method="guess")
    with pytest.raises(ContractError, match="zero everywhere"):
        unwrap(np.zeros((4, 4)), np.zeros((4, 4)))
    with pytest.raises(ContractError, match="image"):
        unwrap(np.zeros(4))
    with pytest.raises(ContractError, match="2 x 2"):
        unwrap(np.zeros((1, 4)))
