"""Clouds, cirrus and cloud shadows put on a clear scene of any optical sensor, with the truth of where they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from ecumene.core.errors import ConfigurationError, ContractError
from ecumene.scenes.contract import Channel
from ecumene.scenes.grid import ground_sampling_m
from ecumene.simulate.atmosphere import Atmosphere, clear_atmosphere
from ecumene.simulate.clouds import Clouds, direct_transmittance, keep, make_clouds, reflectance
from ecumene.simulate.noise import fractal_field
from ecumene.simulate.sun import Sun, sun_position

CIRRUS_DEPTH = 0.03
"""Optical thickness of cirrus above which a pixel counts as covered."""
ICE_ASYMMETRY = 0.75
"""Asymmetry parameter of scattering by ice crystals (Baran 2012), lower than that of droplets."""
_WATER_ASYMMETRY = 0.85

# Share of cirrus light that ice leaves: ice absorbs at 1.6 and 2.2 micrometres, hardly below 1.4 (Gao et al. 1993).
_ICE_UM = (0.40, 1.30, 1.375, 1.61, 2.20, 2.50)
_ICE_KEEP = (1.0, 1.0, 0.90, 0.80, 0.75, 0.70)


@dataclass(frozen=True)
class CloudOptions:
    """How clouded the result is.

    Attributes:
        cover: Share of the pixels under water clouds, 0..1.
        cirrus_cover: Share of the pixels under cirrus, 0..1.
        cirrus_depth: Largest optical thickness of the cirrus at 0.55 micrometres.
        thickness: Factor on the optical thickness of the water clouds; 1 has thin rims and opaque cores.
    """

    cover: float = 0.4
    cirrus_cover: float = 0.3
    cirrus_depth: float = 0.5
    thickness: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        if not (0.0 <= self.cover <= 1.0 and 0.0 <= self.cirrus_cover <= 1.0):
            raise ConfigurationError("Covers of clouds and cirrus are shares between 0 and 1.")
        if not (0.0 < self.cirrus_depth <= 5.0 and 0.0 < self.thickness <= 20.0):
            raise ConfigurationError("The depth of cirrus lies in (0, 5], the factor of thickness in (0, 20].")


@dataclass(frozen=True)
class CloudyScene:
    """A clear scene with simulated clouds.

    Attributes:
        image: float32 `[K, H, W]`, reflectance with clouds; NaN where the clear scene is.
        cloud: bool `[H, W]`, under water clouds or cirrus.
        shadow: bool `[H, W]`, in the shadow of a water cloud and not under a cloud.
        opacity: float32 `[K, H, W]`, share of the clear scene's signal that clouds keep away, 0..1.
        sun: Where the sun stood.
        displacement: Rows and columns from a water cloud to its shadow, pixels.
    """

    image: NDArray[np.float32]
    cloud: NDArray[np.bool_]
    shadow: NDArray[np.bool_]
    opacity: NDArray[np.float32]
    sun: Sun
    displacement: tuple[int, int]

    @property
    def covered(self) -> NDArray[np.bool_]:
        """Cloud or shadow, `[H, W]`."""
        return self.cloud | self.shadow


def simulate_clouds(
    clear: NDArray[np.floating],
    channels: Sequence[Channel],
    *,
    pixel_m: float,
    sun: Sun,
    seed: int,
    options: CloudOptions | None = None,
) -> CloudyScene:
    """Put water clouds, their shadows and cirrus on a clear scene.

    Water clouds and cirrus are fractal fields (spectral synthesis; Grohnfeldt, Schmitt and Zhu 2018 used Perlin noise
    of the same kind). A cloud of optical thickness tau has the two-stream albedo R(tau) (Lacis and Hansen 1974) times
    the share that droplets or ice leave at the wavelength, and lets (1 - R)^2 of the ground's light through on its way
    down and up. At the top of the atmosphere the signal is

        rho' = gas R keep + path (1 - R) + (1 - R)^2 light (rho - path),

    with the clear air's path reflectance and gas transmittance of each band; in surface reflectance, path is 0 and gas
    1. In a shadow `light` is the share of the direct sun that the cloud leaves plus what the sky gives. Shadows lie
    where sun and cloud height put them, and clouds outside of the scene throw theirs into it. Cirrus is above the
    water vapour, so that it alone shines in a cirrus band. Left out: shadows of cirrus (faint, and tens of
    kilometres away), adjacency, and parallax (the sensor looks straight down).

    Args:
        clear: `[K, H, W]`, reflectance; NaN without data.
        channels: The K bands with sensor, level and wavelength.
        pixel_m: Pixel size, metres.
        sun: Position of the sun.
        seed: Of the clouds; the same one gives the same bytes.
        options: How clouded it is.

    Returns:
        The cloudy scene with its masks.

    Raises:
        ContractError: If a band is no reflectance or has no wavelength.
        ConfigurationError: If shapes or options do not fit.
    """
    options = options or CloudOptions()
    if clear.ndim != 3 or clear.shape[0] != len(channels):
        raise ConfigurationError(f"Clouds need a scene [K, H, W] with its K channels, not {clear.shape}.")
    wavelength, top = _optics(channels)
    shape = (int(clear.shape[1]), int(clear.shape[2]))
    rng = np.random.default_rng([abs(seed), int(seed < 0)])
    clouds = make_clouds(rng, shape, pixel_m, options.cover, sun)
    clouds = Clouds(
        clouds.thickness * options.thickness,
        clouds.sunlit_thickness * options.thickness,
        clouds.height_m,
        clouds.displacement,
    )
    cirrus = _cirrus(rng, shape, pixel_m, options)
    air = clear_atmosphere(wavelength, sun.cosine)
    image, passed = _through(np.asarray(clear, np.float32), clouds, cirrus, sun, wavelength, air, top)
    truth = clouds.mask(sun)
    cloud = (truth == 2) | (cirrus > CIRRUS_DEPTH)
    return CloudyScene(image, cloud, (truth == 1) & ~cloud, 1.0 - passed, sun, clouds.displacement)


def simulate_clouds_on(
    clear: NDArray[np.floating],
    channels: Sequence[Channel],
    geobox: GeoBox,
    time: np.datetime64,
    *,
    seed: int,
    options: CloudOptions | None = None,
) -> CloudyScene:
    """Put clouds on a scene whose sun follows from place and day (10:30 local solar time); see `simulate_clouds`."""
    latitude = float(geobox.extent.to_crs("EPSG:4326").centroid.coords[0][1])
    sun = sun_position(time.astype("datetime64[D]"), latitude)
    return simulate_clouds(clear, channels, pixel_m=ground_sampling_m(geobox), sun=sun, seed=seed, options=options)


def cover_field(shape: tuple[int, int], cover: float, seed: int, *, longest: float) -> NDArray[np.bool_]:
    """Return a mask of cloud shapes that covers a share of a grid; no optics.

    Args:
        shape: Rows and columns.
        cover: Share, 0..1.
        seed: Of the field.
        longest: Size of the largest shapes, pixels.
    """
    field = fractal_field(np.random.default_rng(seed), shape, longest=longest, exponent=3.4)
    if cover <= 0.0:
        return np.zeros(shape, bool)
    return np.asarray(field >= np.quantile(field, 1.0 - cover), np.bool_)


def _optics(channels: Sequence[Channel]) -> tuple[NDArray[np.float64], bool]:
    """Return wavelengths `[K]` in micrometres, and whether the level is top-of-atmosphere."""
    for channel in channels:
        if channel.unit != "1":
            raise ContractError(f"Clouds can be put on reflectance, but {channel.key} is in {channel.unit}.")
        if channel.center_wavelength_um is None:
            raise ContractError(f"The wavelength of {channel.key} is unknown; declare the scene's --sensor.")
    levels = {channel.level for channel in channels}
    if len(levels) != 1:
        raise ContractError(f"The bands are of different levels ({', '.join(sorted(levels))}); use one.")
    wavelengths = np.array([channel.center_wavelength_um for channel in channels], np.float64)
    return wavelengths, next(iter(levels)).upper().startswith(("L1", "TOA"))


def _cirrus(
    rng: np.random.Generator, shape: tuple[int, int], pixel_m: float, options: CloudOptions
) -> NDArray[np.float32]:
    """Return the optical thickness of cirrus: wide smooth sheets."""
    field = fractal_field(rng, shape, longest=6000.0 / pixel_m, exponent=3.6, shortest=4.0)
    if options.cirrus_cover == 0.0:
        return np.zeros(shape, np.float32)
    level = np.quantile(field, 1.0 - options.cirrus_cover) if options.cirrus_cover < 1.0 else float(field.min()) - 0.3
    above = np.maximum(field - level, 0.0)
    return np.asarray(options.cirrus_depth * (1.0 - np.exp(-above)), np.float32)


def _through(
    clear: NDArray[np.float32],
    clouds: Clouds,
    cirrus: NDArray[np.float32],
    sun: Sun,
    wavelength: NDArray[np.float64],
    air: Atmosphere,
    top: bool,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the scene seen through the clouds `[K, H, W]`, and the share of its signal that passes them."""
    direct = direct_transmittance(clouds.sunlit_thickness, sun.cosine)
    albedo = reflectance(clouds.thickness)
    # The two-stream albedo depends on the scaled thickness: ice counts by its own asymmetry.
    ice = reflectance(cirrus * ((1.0 - ICE_ASYMMETRY) / (1.0 - _WATER_ASYMMETRY)))
    image, passed = np.empty_like(clear), np.empty_like(clear)
    water_keep, ice_keep = keep(wavelength), np.interp(wavelength, _ICE_UM, _ICE_KEEP)
    for band in range(len(clear)):
        diffuse, gas = float(air.diffuse_share[band]), float(air.gas[band])
        path = gas * float(air.path[band]) if top else 0.0
        # The sky of a shadow is brighter than a clear one: a third of what the cloud scatters arrives.
        light = direct + (1.0 - direct) * max(diffuse, 0.12 + 0.6 * diffuse)
        ground = np.maximum(clear[band] - path, 0.0) * light
        lost = np.minimum(clear[band], path)  # air darker than the model's: the pixel has no more path than signal
        shine = water_keep[band] * (gas**0.4 if top else 1.0)
        below = albedo * shine + lost * (1.0 - albedo) + (1.0 - albedo) ** 2 * ground
        image[band] = ice * ice_keep[band] + (1.0 - ice) ** 2 * below
        passed[band] = ((1.0 - albedo) * (1.0 - ice)) ** 2
    return image, passed
