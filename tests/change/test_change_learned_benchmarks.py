"""The benchmarks of learned change measure what they say: parts that share no pixel, figures of all cities together."""

import sys
from pathlib import Path

import numpy as np
import pytest
from support import ROOT, load_script

sys.path.insert(0, str(ROOT / "benchmarks"))

from change_data import ReferencePair


@pytest.fixture(scope="module")
def few():
    return load_script(Path(ROOT) / "benchmarks" / "change.py")


@pytest.fixture(scope="module")
def oscd():
    return load_script(Path(ROOT) / "benchmarks" / "change_oscd.py")


def reference(side=240):
    rng = np.random.default_rng(0)
    images = rng.normal(80, 10, (2, 6, side, side))
    changed = rng.random((side, side)) < 0.3
    labelled = rng.random((side, side)) < 0.8
    return ReferencePair("taizhou", images[0], images[1], ("B1",) * 6, changed & labelled, labelled, {})


def test_patches_of_learning_and_test_pixels_never_overlap(few):
    draw = few.draw_pixels(reference(), 30, seed=1)
    learned = np.stack([np.concatenate(parts) for parts in zip(draw.learn, draw.stop, strict=True)])
    tested = np.stack(draw.test)
    assert learned.shape == (2, 60)
    gaps = np.abs(learned[:, :, None] - tested[:, None, :]).max(axis=0)
    assert gaps.min() > 2 * few.RADIUS
    known = reference().changed[tuple(learned)]
    assert known.sum() == 30


def test_a_patch_is_what_surrounds_its_pixel(few):
    one = reference()
    cut = few.patches(one, (np.array([0, 100]), np.array([5, 200])))
    assert cut.shape == (2, 2, 6, 5, 5)
    np.testing.assert_allclose(cut[1, 0], one.before[:, 98:103, 198:203], rtol=1e-6)
    assert np.isnan(cut[0, :, :, :2]).all()


def test_repetitions_are_grouped_by_pair_size_and_method(few):
    found = {"oa": 0.9, "kappa": 0.8, "f1": 0.7, "auc": 0.95}
    other = {**found, "oa": 0.8}
    summary = few.summarise({"taizhou|50|0|svm": found, "taizhou|50|1|svm": other, "taizhou|200|0|svm": found})
    assert summary["taizhou|50|svm"]["seeds"] == 2
    assert summary["taizhou|50|svm"]["oa"]["mean"] == pytest.approx(0.85)


def test_figures_are_of_all_pixels_together(oscd):
    first, second = np.array([True, True, False]), np.array([True, False, True])
    assert oscd.counts(first, second) == {"tp": 1, "fp": 1, "fn": 1}
    pooled = oscd.figures([{"tp": 1, "fp": 1, "fn": 0}, {"tp": 9, "fp": 0, "fn": 5}])
    assert pooled == {"f1": round(20 / 26, 4), "precision": round(10 / 11, 4), "recall": round(10 / 15, 4)}
    assert oscd.area_under_curve(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True])) == 0.75
