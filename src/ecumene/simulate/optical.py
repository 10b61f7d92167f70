"""The town as Sentinel-2 sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from scipy import ndimage

from ecumene.core.errors import ConfigurationError
from ecumene.sensors import Band, get_sensor
from ecumene.simulate.atmosphere import Atmosphere, clear_atmosphere
from ecumene.simulate.city import PIXEL_M, City
from ecumene.simulate.clouds import Clouds, direct_transmittance, keep, make_clouds, reflectance
from ecumene.simulate.noise import block_mean, generator
from ecumene.simulate.shadows import slope_light
from ecumene.simulate.spectra import band_spectra
from ecumene.simulate.sun import Sun, parse_date, sun_position, year_of
from ecumene.simulate.surface import mix_surface

Level = Literal["L1C", "L2A"]

# Signal-to-noise ratio at the reference radiance (W m-2 sr-1 um-1) and solar irradiance (W m-2 um-1):
# mission requirements and spectral irradiances of the Sentinel-2 user handbook (ESA 2015, table 1 and 2).
_SIGNAL: dict[str, tuple[float, float, float]] = {
    "B01": (129, 129.0, 1884.7),
    "B02": (154, 128.0, 1959.7),
    "B03": (168, 128.0, 1823.2),
    "B04": (142, 108.0, 1512.1),
    "B05": (117, 74.5, 1424.6),
    "B06": (89, 68.0, 1287.6),
    "B07": (105, 67.0, 1162.1),
    "B08": (174, 103.0, 1041.6),
    "B8A": (72, 52.5, 955.3),
    "B09": (114, 9.0, 812.9),
    "B10": (50, 6.0, 367.2),
    "B11": (100, 4.0, 245.6),
    "B12": (100, 1.5, 85.3),
}
PSF_SIGMA = 0.42
"""Blur of optics and detector beyond the pixel's own area, in pixels of the band: together they give a
modulation transfer of 0.27 at the Nyquist frequency, within the 0.15 to 0.30 that the mission requires."""
PSF_TRANSFER = float(np.exp(-0.5 * (np.pi * PSF_SIGMA) ** 2))
"""Transfer of that blur alone at the Nyquist frequency of the band (the pixel's area has 0.64)."""
LEAST_GAIN = 0.2
"""Floor of the transmittance that noise is divided by: bands in deep absorption are not corrected."""
SKY_VIEW = 0.9
"""Share of the sky's light that still reaches a shaded cell between buildings."""


@dataclass(frozen=True, eq=False)
class Observation:
    """One simulated acquisition with its truth.

    Attributes:
        sensor: Sensor id.
        level: Product level.
        unit: Unit of `image`.
        date: Day of acquisition.
        bands: Band names, in the order of the images' first axis.
        geobox: 10 m grid.
        image: What the sensor delivers, float32 `[bands, H, W]`; bands of 20 and 60 m are repeated.
        truth: The same without noise, clouds, their shadows and speckle, float32 `[bands, H, W]`.
        mask: 0 clear, 1 shadow of a cloud, 2 cloud, uint8 `[H, W]` (all 0 for radar).
        cloud_thickness: Optical thickness of the clouds, float32 `[H, W]`.
        cloud_displacement: Rows and columns from a cloud to its shadow, pixels.
        sun: Position of the sun (None for radar).
    """

    sensor: str
    level: str
    unit: str
    date: np.datetime64
    bands: tuple[str, ...]
    geobox: GeoBox
    image: NDArray[np.float32]
    truth: NDArray[np.float32]
    mask: NDArray[np.uint8]
    cloud_thickness: NDArray[np.float32]
    cloud_displacement: tuple[int, int]
    sun: Sun | None

    def band(self, name: str) -> NDArray[np.float32]:
        """Return the image of a band by name.

        Raises:
            ConfigurationError: If the observation has no such band.
        """
        if name not in self.bands:
            raise ConfigurationError(f"There is no band {name!r}; the observation has: {', '.join(self.bands)}.")
        return np.asarray(self.image[self.bands.index(name)])


def noise_sigma(band: str, toa: NDArray | float, sun_cosine: float) -> NDArray[np.float64]:
    """Return the standard deviation of the noise of a top-of-atmosphere reflectance.

    Half of the variance at the reference radiance is read noise, half photon noise, which grows with the
    signal.

    Args:
        band: Band of Sentinel-2.
        toa: Top-of-atmosphere reflectance.
        sun_cosine: Cosine of the sun's zenith angle.
    """
    ratio, radiance, irradiance = _SIGNAL[band]
    reference = np.pi * radiance / (irradiance * sun_cosine)
    return np.asarray(reference / ratio * np.sqrt(0.5 + 0.5 * np.maximum(toa, 0.0) / reference))


def sample(image: NDArray, ground_sampling_m: float) -> NDArray[np.float32]:
    """Return an image as a band with this ground sampling records it.

    Args:
        image: `[H, W]` on the 10 m grid.
        ground_sampling_m: A multiple of 10 m.

    Returns:
        float32 `[h, w]` on the band's own grid, which begins at the same corner and covers the image.
    """
    factor = round(ground_sampling_m / PIXEL_M)
    image = np.asarray(image, np.float32)
    if factor == 1:
        # A sampled Gaussian this narrow would hardly blur; three taps have the wanted transfer exactly.
        side = (1.0 - PSF_TRANSFER) / 4.0
        for axis in (0, 1):
            image = ndimage.correlate1d(image, [side, 1.0 - 2.0 * side, side], axis=axis, mode="nearest")
        return image
    blurred = ndimage.gaussian_filter(image, PSF_SIGMA * factor, mode="nearest")
    padding = [(0, -size % factor) for size in image.shape]
    return block_mean(np.pad(blurred, padding, mode="edge"), factor)


def _repeat(image: NDArray, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return a coarse image on the 10 m grid, each pixel repeated: no value that was not measured."""
    factor = -(-shape[0] // image.shape[0])
    return np.repeat(np.repeat(image, factor, axis=0), factor, axis=1)[: shape[0], : shape[1]]


def _surface(
    city: City, date: np.datetime64, sun: Sun, bands: tuple[Band, ...], air: Atmosphere
) -> NDArray[np.float32]:
    """Return reflectance on the 10 m grid under a clear sky, relief and shadows included, `[bands, H, W]`."""
    spectra = band_spectra(
        np.array([band.center_wavelength_um for band in bands], np.float64),
        np.array([band.full_width_half_max_um for band in bands], np.float64),
    )
    mixed = mix_surface(city, city.ground(year_of(date)), date, sun)
    relief = slope_light(ndimage.gaussian_filter(city.elevation, 2.0), PIXEL_M, sun)
    lit = np.tensordot(spectra.T.astype(np.float32), mixed.lit, axes=1)
    shaded = np.tensordot(spectra.T.astype(np.float32), mixed.shaded, axes=1)
    diffuse = air.diffuse_share.astype(np.float32)[:, None, None]
    return np.asarray(lit * (diffuse + (1 - diffuse) * relief) + shaded * diffuse * SKY_VIEW, np.float32)


def _adjacent(surface: NDArray) -> NDArray[np.float32]:
    """Return the surroundings of each pixel: a window of about 1 km, half of it within 300 m."""
    near = ndimage.uniform_filter(surface, size=(0, 31, 31), mode="nearest")
    far = ndimage.uniform_filter(surface, size=(0, 101, 101), mode="nearest")
    return np.asarray(0.5 * (near + far), np.float32)


def _through_clouds(
    clear: NDArray, clouds: Clouds, sun: Sun, wavelength: NDArray, air: Atmosphere, top: bool
) -> NDArray[np.float32]:
    """Return the scene with clouds and their shadows, at the top of the atmosphere or as corrected for clear air."""
    each = (slice(None), None, None)
    direct = direct_transmittance(clouds.sunlit_thickness, sun.cosine)
    diffuse = air.diffuse_share[each]
    # The sky of a shadow is brighter than a clear one: a third of what the cloud scatters arrives.
    light = direct + (1.0 - direct) * np.maximum(diffuse, 0.12 + 0.6 * diffuse)
    path = (air.gas * air.path)[each] if top else 0.0
    ground = (clear - path) * light
    albedo = reflectance(clouds.thickness)
    kept = keep(wavelength)[each]
    seen = albedo * kept * (air.gas[each] ** 0.4 if top else 1.0) + (1.0 - albedo) ** 2 * ground + path * (1.0 - albedo)
    return np.asarray(seen, np.float32)


def observe_sentinel2(
    city: City,
    date: str | np.datetime64,
    *,
    level: Level = "L2A",
    cloud_cover: float = 0.0,
    seed: int = 0,
    with_truth: bool = True,
) -> Observation:
    """Return an acquisition of Sentinel-2, at 10:30 mean local solar time, looking straight down.

    Surface reflectance is a linear mixture of end-members; light on slopes, shadows of buildings, trees
    and clouds, adjacency, the band's point spread and ground sampling, and noise are applied in the order
    of nature. L2A is the surface reflectance without terrain correction plus the noise that atmospheric
    correction amplifies; its aerosol error is a common offset of the date. B10 exists in L1C only.

    Args:
        city: The town.
        date: Day, in the years of the town.
        level: `L1C` (top of atmosphere) or `L2A` (surface).
        cloud_cover: Share of the scene with clouds, 0..1.
        seed: Seed of noise and clouds; another seed is another acquisition of the same day.
        with_truth: Also compute `truth`; without it, it has no bands.

    Raises:
        ConfigurationError: If date, level or cloud cover are out of range.
    """
    if level not in ("L1C", "L2A"):
        raise ConfigurationError(f"Sentinel-2 is simulated at level L1C or L2A, not {level!r}.")
    day = parse_date(date)
    sun = sun_position(day, city.latitude)
    sensor = get_sensor("sentinel-2")
    names = sensor.level(level).bands or tuple(band.name for band in sensor.bands)
    bands = tuple(sensor.band(name) for name in names)
    rng = generator(city.seed, seed, int(day.astype(np.int64)), 31)
    wavelength = np.array([band.center_wavelength_um for band in bands], np.float64)
    air = clear_atmosphere(wavelength, sun.cosine, aerosol=float(rng.lognormal(np.log(0.1), 0.4)))
    clouds = make_clouds(rng, city.shape, PIXEL_M, cloud_cover, sun)
    surface = _surface(city, day, sun, bands, air)
    top = level == "L1C"
    clear = air.to_top(surface, _adjacent(surface)) if top else surface
    seen = _through_clouds(clear, clouds, sun, wavelength, air, top) if cloud_cover > 0 else clear
    # What is left after atmospheric correction: a small error of aerosol, larger at short waves.
    residual = (0.0 if top else rng.normal(0.0, 0.004)) * (wavelength / 0.49) ** -1.5
    image = np.empty_like(seen)
    truth = np.empty((len(bands) if with_truth else 0, *city.shape), np.float32)
    for number, band in enumerate(bands):
        spacing = band.ground_sampling_m or PIXEL_M
        measured = sample(seen[number], spacing) + residual[number]
        gain, path = air.gain(number) if not top else (1.0, 0.0)
        sigma = noise_sigma(band.name, measured * gain + path, sun.cosine) / max(gain, LEAST_GAIN)
        image[number] = _repeat(measured + sigma * rng.standard_normal(measured.shape), city.shape)
        if with_truth:
            truth[number] = _repeat(sample(clear[number], spacing), city.shape)
    return Observation(
        sensor=sensor.id,
        level=level,
        unit=sensor.level(level).unit,
        date=day,
        bands=names,
        geobox=city.geobox,
        image=image,
        truth=truth,
        mask=clouds.mask(sun),
        cloud_thickness=clouds.thickness,
        cloud_displacement=clouds.displacement,
        sun=sun,
    )
