"""A real series: what is filled under simulated clouds, and how honest its error bars are."""

import os
from pathlib import Path

import numpy as np
import pytest

from ecumene.restoration.holdout import calibrate, hold_out
from ecumene.restoration.metrics import error_bar_measures
from ecumene.workflows.clear_scenes import open_clear_input, take_sample

DATA = os.environ.get("ECUMENE_DATA")
CLEAR = ("2015-07-11", "2015-08-30", "2015-09-09")


@pytest.mark.skipif(DATA is None, reason="ECUMENE_DATA does not name the folder of real data")
def test_slovenia_is_filled_with_honest_error_bars():
    folder = Path(DATA or ".") / "s2_eopatch_slovenia"
    source = open_clear_input(
        [folder / f"S2_L1C_{day}.tif" for day in CLEAR],
        None,
        mask_clouds=False,
        radar_declaration={},
        sensor="sentinel-2",
        level="L1C",
        offset=0,
    )
    sample = take_sample(source)
    names = ("linear", "regression")
    fitted, judged = hold_out(sample, names, rounds=1, seed=1), hold_out(sample, names, rounds=1, seed=2)
    assert judged["regression"].scores()["rmse"] < 0.7 * judged["linear"].scores()["rmse"] < 0.03
    held = judged["regression"]
    calibration = calibrate(fitted["regression"])
    known = held.known
    deviation = calibration.apply(held.mean[:, known], held.deviation[:, known], held.surprise[known])
    half = calibration.interval[:, None] * deviation
    found = error_bar_measures(held.mean[:, known], deviation, held.truth[:, known], half_width=half)
    assert found["uce_over_rmse"] < 0.15
    assert 0.86 < found["coverage_90"] < 0.94
    assert np.all(deviation > 0.0)
