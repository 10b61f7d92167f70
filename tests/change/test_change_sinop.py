"""A year of MODIS at labelled points: what is read, and that a left-out point is not learned from."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from support import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

import change_sinop as sinop


@pytest.mark.data
@pytest.mark.skipif(not os.environ.get("ECUMENE_DATA"), reason="ECUMENE_DATA does not name the real data sets")
def test_the_points_and_their_series_are_read():
    samples = sinop.read_samples(Path(os.environ["ECUMENE_DATA"]) / sinop.FOLDER)
    counts = dict(zip(samples.names, np.bincount(samples.target).tolist(), strict=True))
    assert counts == {"Cerrado": 3, "Forest": 3, "Pasture": 4, "Soy_Corn": 8}
    assert samples.values.shape == (18, 12)
    assert (np.diff(samples.days) > 0).all()
    assert str(np.datetime64(int(samples.days[0]), "D")) == "2013-09-14"
    assert str(np.datetime64(int(samples.days[-1]), "D")) == "2014-08-29"
    assert 0.0 < samples.values.min() < samples.values.max() < 1.0
    # Forest is the greenest over the year, pasture the least: other pixels would not show it.
    mean = samples.values.mean(axis=1)
    order = [
        float(mean[samples.target == samples.names.index(name)].mean()) for name in ("Pasture", "Soy_Corn", "Forest")
    ]
    assert order == sorted(order)
    assert order[-1] > 0.75


def test_a_left_out_point_is_not_learned_from():
    rng = np.random.default_rng(0)
    target = np.repeat([0, 1, 2], 3)
    samples = sinop.Samples(
        (0.3 * target[:, None] + rng.normal(0, 0.02, (9, 4))).astype(np.float32), np.arange(4) * 30, target,
        ("a", "b", "c"), (),
    )  # fmt: skip
    asked = []

    def method(given, learned, left, seed):
        asked.append((left, learned.tolist(), seed))
        return sinop.by_machine(given, learned, left, seed)

    found = sinop.leave_one_out(samples, method, 5)
    assert [left for left, _, _ in asked] == list(range(9))
    assert all(left not in learned and len(learned) == 8 and seed == 5 for left, learned, seed in asked)
    assert found["overall_accuracy"] == 1.0
    assert found["said"] == [samples.names[index] for index in target]
    wrong = sinop.leave_one_out(samples, lambda *_: 0, 0)
    assert sinop.summarise({"m|0": found, "m|1": wrong})["m"]["mean"] == pytest.approx(2 / 3, abs=1e-4)
