"""The town as Sentinel-1 sees it: C-band backscatter with speckle.

Backscatter of natural surfaces is a mean per cover that follows leaf area and soil moisture, of the
magnitude that Ulaby and Dobson (1989, "Handbook of Radar Scattering Statistics for Terrain") tabulate for
C band; values are rounded by hand. Walls that face the radar add double bounce that fades as they turn
away (Franceschetti, Iodice and Riccio 2002). Layover, radar shadow and foreshortening are not simulated:
the image is in ground geometry, as after an ideal terrain correction.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

from ecumene.sensors import get_sensor
from ecumene.simulate.city import FACTOR, PIXEL_M, City
from ecumene.simulate.countryside import Ground
from ecumene.simulate.cover import VEGETATION, Material
from ecumene.simulate.noise import block_mean, generator, normal_of
from ecumene.simulate.optical import Observation
from ecumene.simulate.phenology import green_cover, leaf_area
from ecumene.simulate.shadows import shift
from ecumene.simulate.sun import parse_date, year_of
from ecumene.simulate.surface import season_day

LOOKS_ENL = 4.4
"""Equivalent number of looks of IW GRDH (Sentinel-1 product specification)."""
NOISE_DB = -24.0
"""Noise-equivalent sigma-nought, dB: better than the specified -22, as flown."""
INCIDENCE_DEG = 38.0
"""Incidence angle in the middle of the swath."""
LOOK_AZIMUTH_DEG = 78.0
"""Direction in which the antenna looks on an ascending pass, degrees clockwise from north."""
RESOLUTION_M = 20.0
"""Ground range resolution of IW GRDH, full width at half maximum."""
SPECKLE_CORRELATION = 0.55
"""Standard deviation in pixels of the kernel that correlates the speckle of neighbours."""

# dB in VV and VH at 38 degrees: bare or without leaves, and under a full canopy.
_BARE: dict[Material, tuple[float, float]] = {
    Material.WATER: (-21.0, -29.0),
    Material.BROADLEAF: (-9.8, -15.6),
    Material.CONIFER: (-8.8, -14.2),
    Material.GRASS: (-12.8, -20.0),
    Material.WINTER_CEREAL: (-11.2, -20.0),
    Material.MAIZE: (-11.0, -20.2),
    Material.RAPESEED: (-11.2, -20.0),
    Material.ROOT_CROP: (-11.0, -20.0),
    Material.SOIL: (-11.6, -20.8),
    Material.ASPHALT: (-17.5, -25.0),
    Material.CONCRETE: (-15.0, -23.0),
    Material.TILE: (-9.5, -17.5),
    Material.DARK_ROOF: (-10.0, -18.0),
    Material.METAL: (-8.5, -17.5),
    Material.GRAVEL: (-12.0, -20.5),
}
_GREEN: dict[Material, tuple[float, float]] = {
    Material.BROADLEAF: (-8.6, -14.0),
    Material.CONIFER: (-8.6, -14.0),
    Material.GRASS: (-12.2, -18.4),
    Material.WINTER_CEREAL: (-15.0, -20.4),  # upright stems absorb the vertical wave
    Material.MAIZE: (-9.6, -15.6),
    Material.RAPESEED: (-9.8, -14.6),
    Material.ROOT_CROP: (-9.2, -15.2),
}
_SOIL_LIKE = (
    Material.SOIL,
    Material.GRAVEL,
    Material.WINTER_CEREAL,
    Material.MAIZE,
    Material.RAPESEED,
    Material.ROOT_CROP,
)


def _linear(decibel: NDArray | float) -> NDArray:
    return np.asarray(10.0 ** (np.asarray(decibel) / 10.0))


def _surface_backscatter(city: City, ground: Ground, date: np.datetime64) -> NDArray[np.float32]:
    """Return sigma-nought of surfaces and canopies, linear power `[2, rows, cols]` on the fine grid."""
    material, keys = ground.material.ravel(), ground.key.ravel()
    day = season_day(city, date)
    weather = generator(city.seed, 41, int(date.astype(np.int64)))
    moisture_db, wind_db = weather.uniform(-1.5, 2.0), weather.normal(0.0, 2.0)
    result = np.zeros((2, material.size), np.float32)
    for kind in Material:
        cells = np.flatnonzero(material == kind)
        if cells.size == 0:
            continue
        key = keys[cells]
        bare = np.array(_BARE[kind])[:, None] + (moisture_db if kind in _SOIL_LIKE else 0.0)
        bare = bare + (wind_db if kind == Material.WATER else 0.0)
        level = np.broadcast_to(_linear(bare), (2, cells.size))
        if kind in VEGETATION:
            cover = green_cover(leaf_area(kind, day, normal_of(key, 103), np.exp(0.12 * normal_of(key, 104))))
            level = level * (1.0 - cover) + _linear(np.array(_GREEN[kind])[:, None]) * cover
        # Row direction, roughness and roof furniture: about 1 dB from object to object.
        result[:, cells] = level * _linear(0.9 * normal_of(key, 201))
    return result.reshape(2, *ground.material.shape)


def _double_bounce(city: City, ground: Ground) -> NDArray[np.float32]:
    """Return the power that walls facing the radar send back, linear `[2, rows, cols]` on the fine grid.

    The dihedral of ground and wall reflects in proportion to the wall's height; its lobe is wide, since
    walls carry balconies and windows: a Gaussian of 18 degrees about the perpendicular.
    """
    look = np.radians(LOOK_AZIMUTH_DEG)
    # From a wall one cell back towards the radar; rows grow southwards.
    back = (round(2 * np.cos(look)), round(-2 * np.sin(look)))
    height = np.where(ground.building, ground.height, 0.0).astype(np.float32)
    facing = np.maximum(shift(height, *back) - height, 0.0)
    facing = np.where(shift(ground.building, *back) & ~ground.building, facing, 0.0)
    # Direction of travel in the frame of the walls, which repeat every 90 degrees.
    travel = np.arctan2(-np.cos(look), np.sin(look))
    turn = np.mod(travel - city.orientation + np.pi / 4, np.pi / 2) - np.pi / 4
    lobe = np.exp(-0.5 * (turn / np.radians(18.0)) ** 2)
    power = facing * (0.06 + 0.55 * lobe) * np.exp(0.6 * shift(normal_of(ground.key, 202), *back))
    # Walls that stand askew turn the polarisation: the cross-polarised part is larger for them.
    return np.stack([power, power * (0.07 + 0.10 * (1.0 - lobe))]).astype(np.float32)


def _relief(city: City) -> NDArray[np.float32]:
    """Return the effect of slopes on sigma-nought as a factor `[H, W]`: gamma-nought is about constant."""
    down_rows, down_cols = np.gradient(ndimage.gaussian_filter(city.elevation, 2.0).astype(np.float64), PIXEL_M)
    look, incidence = np.radians(LOOK_AZIMUTH_DEG), np.radians(INCIDENCE_DEG)
    # Slope towards the radar, positive on foreslopes.
    rise = down_cols * np.sin(look) - down_rows * np.cos(look)
    local = np.clip(incidence - np.arctan(rise), 0.05, 1.5)
    return np.asarray(np.tan(incidence) / np.tan(local), np.float32) ** np.float32(0.7)


def speckle(rng: np.random.Generator, shape: tuple[int, ...], looks: float = LOOKS_ENL) -> NDArray[np.float32]:
    """Return multiplicative speckle of mean 1: gamma distributed with `looks` looks, correlated in space.

    A correlated Gaussian field is mapped through its distribution to the gamma distribution, so that the
    marginal distribution is exact (Lee and Pottier 2009, eq. 4.20).

    Args:
        rng: Source of randomness.
        shape: Any shape; the last two axes are space.
        looks: Equivalent number of looks.
    """
    sigma = (0.0,) * (len(shape) - 2) + (SPECKLE_CORRELATION,) * 2
    field = ndimage.gaussian_filter(rng.standard_normal(shape), sigma, mode="wrap")
    impulse = np.zeros((33, 33))
    impulse[16, 16] = 1.0
    spread = float(np.sqrt((ndimage.gaussian_filter(impulse, SPECKLE_CORRELATION) ** 2).sum()))
    quantile = np.clip(special.ndtr(field / spread), 1e-12, 1.0 - 1e-12)
    return np.asarray(special.gammaincinv(looks, quantile) / looks, np.float32)


def observe_sentinel1(city: City, date: str | np.datetime64, seed: int = 0) -> Observation:
    """Return an ascending acquisition of Sentinel-1 in IW mode: sigma-nought of VV and VH in dB.

    Args:
        city: The town.
        date: Day, in the years of the town.
        seed: Seed of the speckle; another seed is another acquisition of the same day.

    Returns:
        An observation whose `truth` is the backscatter without speckle and noise; its mask is all clear.

    Raises:
        ConfigurationError: If the date is out of range.
    """
    day = parse_date(date)
    ground = city.ground(year_of(day))
    power = _surface_backscatter(city, ground, day) + _double_bounce(city, ground)
    # The resolution cell is larger than the pixel.
    sigma = RESOLUTION_M / 2.355 / PIXEL_M
    pixels = block_mean(power, FACTOR) * _relief(city)
    clean = ndimage.gaussian_filter(pixels, (0.0, sigma, sigma), mode="nearest")
    rng = generator(city.seed, seed, int(day.astype(np.int64)), 42)
    noisy = (clean + _linear(NOISE_DB).astype(np.float32)) * speckle(rng, clean.shape)
    sensor = get_sensor("sentinel-1")
    return Observation(
        sensor=sensor.id,
        level="GRD",
        unit=sensor.level("GRD").unit,
        date=day,
        bands=("VV", "VH"),
        geobox=city.geobox,
        image=(10.0 * np.log10(noisy)).astype(np.float32),
        truth=(10.0 * np.log10(clean)).astype(np.float32),
        mask=np.zeros(city.shape, np.uint8),
        cloud_thickness=np.zeros(city.shape, np.float32),
        cloud_displacement=(0, 0),
        sun=None,
    )
