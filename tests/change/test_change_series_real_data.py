"""A cleared forest in Bolivia, seen by Sentinel-1 and Landsat."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from ecumene.change.breaks import detect_breaks
from ecumene.change.breaks_sequence import follow_changes

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not os.environ.get("ECUMENE_DATA"), reason="ECUMENE_DATA does not name the real data sets"),
]


def day(text: str) -> int:
    return int(np.datetime64(text).astype(int))


@pytest.fixture(scope="module")
def pixel():
    """Return (days, values `[2, T, 1]`): VV in dB, NDVI."""
    path = Path(os.environ["ECUMENE_DATA"]) / "s1_landsat_deforestation_pixel_bolivia" / "series.csv"
    with path.open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["value"].strip().lower() not in ("", "nan", "na")]
    days = np.unique([day(row["date"]) for row in rows])
    values = np.full((2, days.size, 1), np.nan)
    for row in rows:
        values[0 if row["sensor"].startswith("S1") else 1, np.searchsorted(days, day(row["date"])), 0] = row["value"]
    assert [int(n) for n in (~np.isnan(values)).sum(axis=(1, 2))] == [73, 31]
    return days, values


@pytest.mark.parametrize("bands", [[0], [1], [0, 1]])
def test_the_clearing_is_dated_to_early_2016(pixel, bands):
    days, values = pixel
    found = detect_breaks(values[bands], days)
    assert found.probability[0] > 0.99
    assert day("2015-12-15") < found.date[0] < day("2016-01-31")
    assert found.date_high[0] - found.date_low[0] < 45
    assert (found.magnitude[:, 0] < 0).all()


def test_following_the_radar_series_finds_it_too(pixel):
    days, values = pixel
    found = follow_changes(values[:1], days, confirm=4)
    assert found.count[0] == 1
    assert (found.date_low[0, 0], found.date_high[0, 0]) == (day("2015-12-30"), day("2016-01-05"))
