"""A real small-baseline stack (Sentinel-1, Mexico City) against the DEM error that another processor found."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import rasterio

from ecumene.physics.interferometry.geometry import RadarGeometry
from ecumene.physics.interferometry.network import closure_phases, make_network
from ecumene.physics.interferometry.reference import apply_reference
from ecumene.physics.interferometry.sbas import invert_series

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not os.environ.get("ECUMENE_DATA"), reason="ECUMENE_DATA does not name the real data sets"),
]


def test_mexico_city_subsides_and_its_dem_error_agrees():
    folder = Path(os.environ["ECUMENE_DATA"]) / "insar_s1_mexico_city_2018"
    with (folder / "pairs.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    net = make_network([r["first"] for r in rows], [r["second"] for r in rows], [float(r["bperp_m"]) for r in rows])
    bands = {}
    for name in ("unwrapped_phase_rad", "coherence", "dem_error_reference_m"):
        with rasterio.open(folder / f"{name}.tif") as source:
            bands[name] = source.read().astype(float)
    phase = bands["unwrapped_phase_rad"]
    phase[phase == 0] = np.nan
    phase = apply_reference(phase)
    found = invert_series(phase, bands["coherence"], net, RadarGeometry(0.0554658, 804_360.0, 31.9), 8)
    value, deviation = found.parameter("dem_error")
    reference = bands["dem_error_reference_m"][0]
    both = found.valid & np.isfinite(reference)
    assert both.sum() > 5800
    assert np.corrcoef(value[both], reference[both])[0, 1] > 0.88
    assert abs(np.mean((value - reference)[both])) < 2.0
    assert np.sqrt(np.mean(((value - reference) / deviation)[both] ** 2)) < 1.0
    closures = closure_phases(phase, net)
    assert np.mean(closures.cycles[np.isfinite(closures.phase)] != 0) < 1e-3
    # the lake bed sinks by 0.2 m a year against the city's median, the hills rise against it
    low, high = np.nanpercentile(found.velocity_m_per_year, [1, 99])
    assert -0.25 < low < -0.15
    assert 0.05 < high < 0.15
    assert np.nanmedian(found.parameter("rate")[1]) < 0.012
    assert np.mean(found.outlier[found.valid]) < 0.1
