"""The two-pass way for members of class scores writes what the objective's own functions say."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from ecumene.legends import Legend
from ecumene.mapping.layers import OUTLIER, VALID
from ecumene.mapping.member_postprocess import MemberPostprocessor
from ecumene.mapping.postprocess import GenericPostprocessor, build_postprocessor, empty_layers
from ecumene.objectives import Members, PixelRegression, Segmentation
from ecumene.trust.calibration import Calibration
from ecumene.trust.conformal import ConformalSets

LEGEND = Legend.from_names(["water", "forest", "built", "bare"])


def prepared(members, with_size=False):
    rng = np.random.default_rng(0)
    objective = Members(Segmentation(LEGEND), members)
    p = rng.dirichlet(np.ones(4), 400)
    target = np.array([rng.choice(4, p=row) for row in p])
    calibration = Calibration(sets=ConformalSets.fit(p, target, 0.8), with_set_size=with_size)
    model = SimpleNamespace(
        objective=objective, calibration=calibration, detector=SimpleNamespace(threshold=0.5), scaling=None
    )
    specs = (*objective.layer_specs(), *calibration.extra_layer_specs(objective), OUTLIER, VALID)
    return model, specs


@pytest.mark.parametrize("members", [1, 2, 5])
@pytest.mark.parametrize("with_size", [False, True])
def test_both_ways_agree(members, with_size):
    model, specs = prepared(members, with_size)
    fast = build_postprocessor(model, specs)
    assert isinstance(fast, MemberPostprocessor)
    slow = GenericPostprocessor(model.objective, model.calibration, specs, 0.5)
    rng = np.random.default_rng(members)
    output = (5 * rng.standard_normal((members * 4, 40, 30))).astype(np.float32)
    output[:, :3] = 0.0
    output[0, 4] = 90.0
    score, needed = rng.random((40, 30)).astype(np.float32), rng.random((40, 30)) > 0.2
    moments = fast.moments(output)
    np.testing.assert_allclose(moments, slow.moments(output), atol=2e-6)
    for step in ("core", "seam"):
        results = []
        for way in (fast, slow):
            layers = empty_layers(specs, needed.shape)
            getattr(way, step)(output if step == "core" else moments, score, needed, layers)
            results.append(layers)
        for spec in specs:
            one, other = (result[spec.name].astype(np.int64) for result in results)
            assert np.abs(one - other).max() <= (0 if spec.categorical or spec.role == "set" else 1), spec.name
    total, inner, outer = (
        results[0][name][0][needed].astype(int) for name in ("uncertainty", "aleatoric", "epistemic")
    )
    assert np.abs(total - inner - outer).max() <= 1


def test_a_pixel_does_not_depend_on_where_it_lies_in_a_window():
    model, specs = prepared(3)
    fast = build_postprocessor(model, specs)
    output = (5 * np.random.default_rng(5).standard_normal((12, 33, 47))).astype(np.float32)
    whole = fast.moments(output)
    np.testing.assert_array_equal(fast.moments(output[:, 5:20, 3:40])[:, :, :], whole[:, 5:20, 3:40])


def test_only_wanted_layers_are_filled_and_numbers_go_the_generic_way():
    model, specs = prepared(2)
    few = tuple(spec for spec in specs if spec.name in {"value", "epistemic", "valid", "outlier"})
    fast = build_postprocessor(model, few)
    layers = empty_layers(few, (6, 6))
    fast.core(np.zeros((8, 6, 6), np.float32), np.zeros((6, 6), np.float32), np.ones((6, 6), bool), layers)
    assert set(layers) == {"value", "epistemic", "valid", "outlier"}
    assert (layers["epistemic"] == 0).all()
    numbers = Members(PixelRegression(("h",)), 2)
    other = SimpleNamespace(objective=numbers, calibration=None, detector=None)
    assert type(build_postprocessor(other, (*numbers.layer_specs(), VALID))) is GenericPostprocessor
