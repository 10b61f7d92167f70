"""Measures of the benchmark of sites: dates of building and the step function that they are compared with."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from change_semi_runs import best_step, date_errors, overlap


def test_the_nearest_step_function():
    series = np.array([[0.1, 0.2, 0.1], [0.9, 0.8, 1.0], [0.2, 0.9, 0.8], [0.1, 0.0, 0.7]])
    assert best_step(series.T[None, :, :, None])[0, :, 0].tolist() == [0, 1, 2, 3]


def test_date_errors_in_years():
    days = np.array([[0, 365, 1096, 1461]])
    truth = np.array([[[2, 3, 4, 0, 1, -1]]])
    found = np.array([[[2, 4, 0, 2, 1, 3]]])
    figures = date_errors(found, truth, days)
    # Two of three are found and one that is none: precision and recall 2/3; one in the right interval.
    assert figures["grown_precision"] == pytest.approx(2 / 3)
    assert figures["grown_recall"] == pytest.approx(2 / 3)
    assert figures["same_interval"] == 0.5
    assert figures["mean_error_years"] == pytest.approx(0.5 * (1278.5 - 730.5) / 365.25)
    assert overlap(np.zeros(3, bool), np.zeros(3, bool))["f1"] == 0.0
