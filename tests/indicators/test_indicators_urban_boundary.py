"""The urban functional boundary on drawn towns."""

import numpy as np
import pytest

from ecumene.core.errors import ConfigurationError
from ecumene.indicators.urban_boundary import CORE, RURAL, SUBURBAN, built_up_density, disc, urban_zones

PIXEL = (50.0, 50.0)


def test_a_disc_has_the_area_of_a_disc():
    assert disc(1000.0, PIXEL).sum() * 2500.0 == pytest.approx(np.pi * 1e6, rel=0.02)
    with pytest.raises(ConfigurationError):
        disc(20.0, PIXEL)


def test_density_is_the_share_of_known_land():
    built = np.zeros((80, 80))
    built[:, :40] = 1.0
    known = np.ones_like(built)
    density = built_up_density(built, known, PIXEL)
    assert density[40, 5] == pytest.approx(1.0)
    assert density[40, 75] == pytest.approx(0.0, abs=1e-9)
    assert density[40, 39:41].mean() == pytest.approx(0.5, abs=0.02)
    known[:, 40:] = 0.0  # what is not known does not dilute
    assert built_up_density(built, known, PIXEL)[40, 39] == pytest.approx(1.0)
    assert np.isnan(built_up_density(built, known, PIXEL)[40, 79])


def test_core_suburb_village_and_park():
    density = np.zeros((60, 60))
    density[10:40, 10:40] = 0.8
    density[20:24, 20:24] = 0.0  # a park within
    density[40:48, 10:40] = 0.3  # suburb beside the core
    density[52:58, 50:58] = 0.3  # a village on its own
    zones = urban_zones(density)
    assert zones[15, 15] == CORE
    assert zones[22, 22] == SUBURBAN
    assert zones[44, 20] == SUBURBAN
    assert zones[55, 55] == RURAL
    assert (urban_zones(density, least_core_pixels=10_000) == RURAL).all()
    with pytest.raises(ConfigurationError):
        urban_zones(density, core=0.2, suburban=0.3)
