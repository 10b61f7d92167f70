"""The benchmark of scene classification: fair draws, and what it says of differences."""

import numpy as np
import pytest
from support import ROOT, load_script

from ecumene.samples.contract import Part
from ecumene.systems import get_system


@pytest.fixture(scope="module")
def benchmark():
    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(str(ROOT / "benchmarks"))
    try:
        return load_script(ROOT / "benchmarks" / "scenes_rsscn7.py")
    finally:
        patch.undo()


def test_draws_are_of_each_class_and_larger_shares_hold_smaller_ones(benchmark):
    label = np.repeat(np.arange(7), 80)
    small, large = (benchmark.divide_images(label, share, 3) for share in (0.2, 0.5))
    for parts, learned, held in ((small, 16, 2), (large, 40, 4)):
        assert np.bincount(label[parts != Part.TEST]).tolist() == [learned] * 7
        assert np.bincount(label[parts == Part.VALIDATION]).tolist() == [held] * 7
    assert set(np.flatnonzero(small != Part.TEST)) < set(np.flatnonzero(large != Part.TEST))
    np.testing.assert_array_equal(small, benchmark.divide_images(label, 0.2, 3))
    assert (small != benchmark.divide_images(label, 0.2, 4)).any()


def test_differences_are_paired_over_draws(benchmark):
    ours, theirs = [0.90, 0.80, 0.85, 0.70], [0.88, 0.78, 0.83, 0.69]
    found = benchmark.paired(ours, theirs)
    difference = np.subtract(ours, theirs)
    half = 3.182446 * difference.std(ddof=1) / 2  # Student's t, three degrees of freedom
    assert found["mean"] == pytest.approx(0.0175)
    assert (found["low"], found["high"]) == pytest.approx((0.0175 - half, 0.0175 + half), rel=1e-5)
    assert (found["better_in"], found["draws"]) == (4, 4)


def test_rows_compare_the_draws_that_both_have(benchmark):
    runs = {
        f"{method} {draw}": {
            "method": method, "share": 0.5, "draw": draw, "overall_accuracy": accuracy + 0.01 * draw, "seconds": 1.0,
        }
        for method, accuracy, draws in (("svm", 0.6, 3), ("googlenet", 0.7, 2))
        for draw in range(draws)
    }  # fmt: skip
    rows = {row["method"]: row for row in benchmark.summarise(runs)}
    assert rows["googlenet"]["against_svm"]["draws"] == 2
    assert rows["googlenet"]["against_svm"]["mean"] == pytest.approx(0.1)
    assert rows["svm"]["overall_accuracy"]["mean"] == pytest.approx(0.61)
    assert "against_svm" not in rows["svm"]


def test_every_network_is_a_published_system_with_one_class_an_image(benchmark):
    import argparse

    for name, wanted in benchmark.NETWORKS.items():
        get_system(wanted["system"])
        system = benchmark.chosen_system(name, argparse.Namespace(input_size=96, epochs=3))
        assert system.objective == "scene-classification"
        assert system.network_arguments["input_size"] == 96
        assert system.training["epochs"] == 3


def test_the_course_of_a_training_is_kept(benchmark):
    curve = benchmark.Curve(loud=False)
    for epoch, text in enumerate(("macro_f1 0.100", "macro_f1 0.250"), start=1):
        curve(epoch, 2, text)
    curve(1, 7, "windows")
    assert curve.validation == [0.1, 0.25]


def options(**changes):
    import argparse

    known = {"shares": [0.5], "networks": ["svm", "googlenet"], "epochs": 3, "input_size": 64, "no_curves": False}
    return argparse.Namespace(**{**known, "draws": [0, 1, 2], "minutes": float("inf"), "quick": True, **changes})


def test_every_draw_has_all_methods_and_the_first_ones_the_learning_curves(benchmark):
    runs = benchmark.runs_of_draw(0, options())
    assert runs[:2] == [("svm", 0.5), ("googlenet", 0.5)]
    assert {share for _, share in runs} == {0.5, *benchmark.CURVE_SHARES}
    assert benchmark.runs_of_draw(benchmark.CURVE_DRAWS, options()) == runs[:2]
    assert benchmark.runs_of_draw(0, options(no_curves=True)) == runs[:2]


def test_another_length_of_training_is_another_run(benchmark):
    short, long = options(), options(epochs=9)
    assert benchmark.run_key("svm", 0.5, 1, short) == benchmark.run_key("svm", 0.5, 1, long)
    assert benchmark.run_key("googlenet", 0.5, 1, short) != benchmark.run_key("googlenet", 0.5, 1, long)


def test_no_draw_is_begun_that_would_end_too_late_and_done_ones_are_not_repeated(benchmark, monkeypatch):
    clock, drawn = [0.0], []

    class Quick(benchmark.Bench):
        def open(self):
            pass

        def draw(self, draw):
            drawn.append(draw)
            clock[0] += 60.0 if draw else 0.0
            return bool(draw)

    monkeypatch.setattr(benchmark.time, "monotonic", lambda: clock[0])
    Quick(options(draws=[0, 1, 2, 3, 4], minutes=2.5)).run()
    assert drawn == [0, 1, 2]
