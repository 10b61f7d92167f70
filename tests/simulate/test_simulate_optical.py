"""What Sentinel-2 sees of the town."""

from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from ecumene.core.errors import ConfigurationError
from ecumene.sensors import get_sensor
from ecumene.simulate import Cover, noise_sigma, observe_sentinel2, simulate_city, sun_position
from ecumene.simulate.atmosphere import clear_atmosphere
from ecumene.simulate.clouds import make_clouds
from ecumene.simulate.cover import Material
from ecumene.simulate.noise import generator
from ecumene.simulate.optical import sample
from ecumene.simulate.phenology import leaf_area
from ecumene.simulate.shadows import cast_shadow, slope_light
from ecumene.simulate.spectra import END_MEMBERS, band_spectra
from ecumene.simulate.sun import Sun

SUMMER = np.datetime64("2023-07-06")


@cache
def town():
    return simulate_city(3)


@cache
def seen(level="L2A", clouds=0.0, seed=1):
    return observe_sentinel2(town(), SUMMER, level=level, cloud_cover=clouds, seed=seed)


def pure(cover):
    return (town().land_cover(2023) == cover) & (town().purity(2023) > 0.99)


@pytest.mark.parametrize(("level", "count"), [("L1C", 13), ("L2A", 12)])
def test_bands_and_physical_ranges(level, count):
    image = seen(level, 0.2)
    assert image.image.shape == (count, 256, 256)
    assert image.image.dtype == np.float32
    assert ("B10" in image.bands) == (level == "L1C")
    assert np.isfinite(image.image).all()
    assert image.truth.min() > 0
    assert image.truth.max() < 1
    # Noise may leave the physical range a little, as in real products.
    assert image.image.min() > -0.05
    assert image.image.max() < 1.1


def test_vegetation_water_and_soil_look_as_they_do():
    observation = seen()
    red, green, nir = observation.band("B04"), observation.band("B03"), observation.band("B08")
    ndvi = (nir - red) / (nir + red)
    assert np.median(ndvi[pure(Cover.FOREST)]) > 0.75
    assert (ndvi[pure(Cover.FOREST)] > 0.5).mean() > 0.97
    assert np.median(nir[pure(Cover.WATER)]) < 0.06
    assert np.median((green - nir)[pure(Cover.WATER)]) > 0
    assert np.median(ndvi[pure(Cover.BARE)]) < 0.25
    assert np.median(observation.band("B11")[pure(Cover.BARE)]) > np.median(nir[pure(Cover.BARE)])


def test_seasons():
    winter = observe_sentinel2(town(), "2023-02-20")
    red, nir = winter.band("B04"), winter.band("B08")
    summer = (seen().band("B08") - seen().band("B04")) / (seen().band("B08") + seen().band("B04"))
    assert np.median(((nir - red) / (nir + red))[pure(Cover.FOREST)]) < np.median(summer[pure(Cover.FOREST)]) - 0.1


def test_seasons_of_the_south_are_half_a_year_away():
    city = simulate_city(5, (96, 96), epsg=32720)
    forest = city.land_cover(2020) == Cover.FOREST

    def ndvi(date):
        observation = observe_sentinel2(city, date)
        red, nir = observation.band("B04")[forest], observation.band("B08")[forest]
        return np.median((nir - red) / (nir + red))

    assert ndvi("2020-01-10") > ndvi("2020-08-01") + 0.1


def test_leaf_area_rises_and_falls():
    zero, one = np.zeros(1), np.ones(1)
    course = [leaf_area(Material.WINTER_CEREAL, day, zero, one)[0] for day in (20, 140, 215)]
    assert course[1] > 3 > 0.5 > course[2]
    maize = [leaf_area(Material.MAIZE, day, zero, one)[0] for day in (120, 220, 330)]
    assert maize[1] > 3 > 0.2 > max(maize[0], maize[2])


def test_end_members_are_reflectances_with_the_known_features():
    waves = np.arange(0.42, 2.4, 0.01)
    spectra = dict(zip(END_MEMBERS, band_spectra(waves, np.full(waves.shape, 0.01)).T.T, strict=True))
    for spectrum in spectra.values():
        assert 0 < spectrum.min() < spectrum.max() < 0.7

    def at(name, wave):
        return np.interp(wave, waves, spectra[name])

    for name in ("leaves dark", "grass lush", "needles dark", "maize pale"):
        assert at(name, 0.56) > max(at(name, 0.49), at(name, 0.67))  # the green peak
        assert at(name, 0.80) > 5 * at(name, 0.67)  # the red edge
        assert at(name, 1.65) > max(at(name, 1.45), at(name, 1.94))  # leaf water
    assert np.all(np.diff(spectra["soil bright"][waves < 1.6]) > 0)
    assert at("tile new", 0.66) > 2 * at("tile new", 0.49)


@pytest.mark.parametrize("band", ["B02", "B8A", "B11", "B09"])
def test_noise_level_of_each_band(band):
    first, second = seen("L1C", 0.0, 1), seen("L1C", 0.0, 2)
    number = first.bands.index(band)
    factor = round(get_sensor("sentinel-2").band(band).ground_sampling_m / 10)
    noise = (first.image - first.truth)[number, ::factor, ::factor]
    expected = noise_sigma(band, first.truth[number, ::factor, ::factor], first.sun.cosine)
    ratio = noise / expected
    assert abs(ratio.std() - 1) < 0.08
    assert abs(ratio.mean()) < 0.1
    # Aerosol differs between acquisitions, noise as well.
    assert not np.array_equal(first.image, second.image)


def test_noise_has_the_specified_ratio_at_the_reference_radiance():
    reference = np.pi * 128.0 / (1959.7 * 1.0)
    assert reference / noise_sigma("B02", reference, 1.0) == pytest.approx(154)
    assert noise_sigma("B02", 0.0, 1.0) < noise_sigma("B02", 0.5, 1.0)


def test_coarse_bands_are_blurred_and_repeated():
    observation = seen()
    for band, factor in (("B05", 2), ("B01", 6)):
        image = observation.band(band)
        whole = 256 // factor * factor
        blocks = image[:whole, :whole].reshape(whole // factor, factor, whole // factor, factor)
        assert (blocks == blocks[:, :1, :, :1]).all()
    edges = [np.abs(np.diff(observation.truth[observation.bands.index(b)], axis=1)).mean() for b in ("B02", "B01")]
    assert edges[1] < 0.5 * edges[0]


def test_the_point_spread_has_the_stated_transfer_at_nyquist():
    def contrast(period, spacing):
        wave = np.tile(np.cos(2 * np.pi * np.arange(240) / period), (240, 1))
        return np.ptp(sample(wave, spacing)[12:28, 12:28]) / 2

    # Pixels of 10 m are integrated before; those of 20 m are integrated here over two samples (0.71 there).
    assert contrast(2, 10.0) == pytest.approx(np.exp(-2 * np.pi**2 * 0.42**2 * 0.25), rel=0.01)
    wave = np.tile(np.cos(2 * np.pi * (np.arange(240) + 0.5) / 4 - np.pi / 4), (240, 1))
    blurred = np.ptp(sample(wave, 20.0)[12:28, 12:28]) / np.ptp(wave.reshape(240, 120, 2).mean(axis=2))
    assert blurred == pytest.approx(np.exp(-2 * np.pi**2 * 0.42**2 * 0.25), rel=0.05)
    assert sample(np.ones((64, 64)), 60.0).shape == (11, 11)
    assert np.allclose(sample(np.full((50, 70), 0.3), 60.0), 0.3)


def test_sun_positions_against_known_facts():
    noon = sun_position(np.datetime64("2023-06-21"), 47.0, local_solar_hour=12.0)
    assert noon.zenith == pytest.approx(47.0 - 23.44, abs=0.1)
    assert noon.azimuth == pytest.approx(180.0, abs=0.1)
    morning = sun_position(np.datetime64("2023-03-20"), 47.0, local_solar_hour=9.0)
    assert 90 < morning.azimuth < 180
    assert sun_position(np.datetime64("2023-12-21"), -47.0).azimuth < 90  # in the north-east
    with pytest.raises(ConfigurationError, match="higher than 10 degrees"):
        sun_position(np.datetime64("2023-12-21"), 65.0)


@pytest.mark.parametrize("date", ["2023-07-06", "2023-03-01"])
def test_cloud_shadows_lie_away_from_the_sun_at_the_right_distance(date):
    sun = sun_position(np.datetime64(date), 47.0)
    clouds = make_clouds(generator(9), (256, 256), 10.0, 0.15, sun)
    rows, cols = clouds.displacement
    assert np.hypot(rows, cols) * 10 == pytest.approx(clouds.height_m * np.tan(np.radians(sun.zenith)), rel=0.02)
    assert rows < 0  # the sun is in the south: shadows fall north, to smaller rows
    assert cols < 0  # and in the east of south in the morning: shadows fall west
    expected = np.degrees(np.arctan2(-cols, rows)) % 360
    assert expected == pytest.approx(sun.azimuth, abs=2) or (expected + 180) % 360 == pytest.approx(sun.azimuth, abs=2)
    # Measured: the shadow's thickness field is the cloud's, moved.
    moved = ndimage.shift(clouds.thickness, (rows, cols), order=0)
    inner = (slice(0, 256 + rows), slice(0, 256 + cols))
    assert np.corrcoef(moved[inner].ravel(), clouds.sunlit_thickness[inner].ravel())[0, 1] > 0.9


def test_clouds_are_bright_and_shadows_dark_and_the_mask_says_where():
    observation, clear = seen("L2A", 0.25), seen("L2A", 0.0)
    assert (observation.mask == 2).mean() == pytest.approx(0.25, abs=0.01)
    nir, before = observation.band("B08"), clear.band("B08")
    thick = observation.cloud_thickness > 10
    assert nir[thick].mean() > 0.45
    assert (nir / before)[observation.mask == 1].mean() < 0.85
    untouched = (observation.mask == 0) & (observation.cloud_thickness == 0)
    away = ndimage.binary_erosion(untouched, iterations=5)
    assert np.abs(nir - before)[away].mean() < 0.02
    assert not clear.mask.any()


def test_cirrus_band_sees_clouds_only():
    observation = seen("L1C", 0.25)
    b10 = observation.band("B10")
    clear = observation.mask == 0
    assert b10[clear].mean() < 0.003
    assert b10[observation.cloud_thickness > 10].mean() > 5 * max(b10[clear].mean(), 1e-4)


def test_the_top_of_the_atmosphere_is_bluer_and_hazier():
    top, surface = seen("L1C").truth, seen("L2A").truth
    forest = pure(Cover.FOREST)
    assert (top[0] - surface[0])[forest].mean() > 0.05  # B01: Rayleigh scattering
    assert abs((top[8] - surface[8])[forest].mean()) < 0.06  # B8A: nearly clear


def test_rayleigh_reflectance_falls_with_the_fourth_power():
    air = clear_atmosphere([0.45, 0.90], 0.8, aerosol=1e-9)
    assert air.path[0] / air.path[1] == pytest.approx(16, rel=0.1)


def test_cast_shadow_of_a_tower_has_the_right_length_and_direction():
    height = np.zeros((101, 101), np.float32)
    height[50, 50] = 40.0
    shade = cast_shadow(height, 2.5, Sun(zenith=45.0, azimuth=90.0))
    rows, cols = np.nonzero(shade)
    assert set(rows) == {50}
    assert cols.max() == 49
    assert cols.min() == 35  # 40 m of shadow are 16 cells of 2.5 m, the last of them grazing


def test_slopes_towards_the_sun_are_brighter():
    x = np.tile(np.arange(50.0), (50, 1)) * 2.0  # rises eastwards
    assert slope_light(x, 10.0, Sun(45.0, 270.0)).mean() > 1.1
    assert slope_light(x, 10.0, Sun(45.0, 90.0)).mean() < 0.9
    assert np.allclose(slope_light(np.zeros((5, 5)), 10.0, Sun(45.0, 90.0)), 1.0)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"level": "L3"}, "L1C or L2A"),
        ({"cloud_cover": 1.5}, "between 0 and 1"),
        ({"date": "yesterday"}, "no date"),
        ({"date": "NaT"}, "missing"),
        ({"date": "2040-07-01"}, "2016 to 2024"),
    ],
)
def test_wrong_arguments_get_a_sentence(arguments, text):
    with pytest.raises(ConfigurationError, match=text):
        observe_sentinel2(town(), **{"date": "2023-07-01", **arguments})


def test_a_missing_band_gets_a_sentence():
    with pytest.raises(ConfigurationError, match="no band 'B10'"):
        seen().band("B10")


def test_full_and_no_cloud():
    full = observe_sentinel2(simulate_city(2, (64, 64)), SUMMER, cloud_cover=1.0)
    assert (full.mask == 2).mean() > 0.99
