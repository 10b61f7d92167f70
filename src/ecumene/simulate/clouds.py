"""Clouds of fractal thickness, their light and their shadows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ecumene.core.errors import ConfigurationError
from ecumene.simulate.noise import fractal_field
from ecumene.simulate.shadows import step_away
from ecumene.simulate.sun import Sun

ASYMMETRY = 0.85
"""Asymmetry parameter of scattering by water droplets (Hansen and Travis 1974)."""
CLOUD_DEPTH = 0.4
"""Optical thickness above which a pixel counts as cloud in the truth."""
SHADOW_LOSS = 0.12
"""Share of the direct sunlight that a cloud must take for a pixel to count as its shadow."""

# Share of the light that a thick water cloud keeps from absorbing, by wavelength (micrometres): droplets
# absorb in the short-wave infrared (Nakajima and King 1990); 1.375 is attenuated by vapour above the cloud.
_KEEP_UM = (0.40, 0.90, 0.945, 1.30, 1.375, 1.61, 2.20, 2.50)
_KEEP = (1.0, 0.99, 0.80, 0.97, 0.25, 0.78, 0.62, 0.55)


@dataclass(frozen=True)
class Clouds:
    """Clouds above a scene.

    Attributes:
        thickness: Optical thickness in the line of sight, float32 `[H, W]`.
        sunlit_thickness: Optical thickness in the way of the sun to the ground, float32 `[H, W]`.
        height_m: Height of the clouds above ground, metres.
        displacement: Rows and columns from a cloud to its shadow, pixels.
    """

    thickness: NDArray[np.float32]
    sunlit_thickness: NDArray[np.float32]
    height_m: float
    displacement: tuple[int, int]

    def mask(self, sun: Sun) -> NDArray[np.uint8]:
        """Return the truth: 0 clear, 1 shadow of a cloud, 2 cloud."""
        lost = 1.0 - direct_transmittance(self.sunlit_thickness, sun.cosine)
        cloud = self.thickness > CLOUD_DEPTH
        return np.where(cloud, 2, np.where(lost > SHADOW_LOSS, 1, 0)).astype(np.uint8)


def direct_transmittance(thickness: NDArray, cosine: float) -> NDArray[np.float32]:
    """Return the forward transmittance of a cloud for direct light, forward peak included (delta scaling)."""
    return np.exp(-(1.0 - ASYMMETRY**2) * thickness / cosine).astype(np.float32)


def reflectance(thickness: NDArray) -> NDArray[np.float32]:
    """Return the albedo of a cloud without absorption: two-stream, Lacis and Hansen (1974)."""
    scaled = np.sqrt(3.0) * (1.0 - ASYMMETRY) * thickness
    return np.asarray(scaled / (2.0 + scaled), np.float32)


def keep(wavelength_um: NDArray) -> NDArray[np.float64]:
    """Return the share of cloud light that droplets and vapour leave, per wavelength."""
    return np.asarray(np.interp(wavelength_um, _KEEP_UM, _KEEP))


def make_clouds(rng: np.random.Generator, shape: tuple[int, int], pixel_m: float, cover: float, sun: Sun) -> Clouds:
    """Return clouds that cover a share of the scene; those outside throw their shadows into it too.

    The sensor looks straight down, so that clouds show no parallax.

    Args:
        rng: Source of randomness.
        shape: Rows and columns.
        pixel_m: Pixel size in metres.
        cover: Share of the pixels with cloud, 0..1.
        sun: Position of the sun.

    Raises:
        ConfigurationError: If the share is out of range.
    """
    if not 0.0 <= cover <= 1.0:
        raise ConfigurationError(f"The cloud cover is a share between 0 and 1, not {cover}.")
    height_m = float(rng.uniform(700.0, 1600.0))
    reach = height_m * np.tan(np.radians(sun.zenith)) / pixel_m
    rows, cols = (round(part * reach) for part in step_away(sun.azimuth))
    empty = np.zeros(shape, np.float32)
    if cover == 0.0:
        return Clouds(empty, empty, height_m, (rows, cols))
    margin = max(abs(rows), abs(cols))
    field = fractal_field(
        rng, (shape[0] + 2 * margin, shape[1] + 2 * margin), longest=900.0 / pixel_m, exponent=3.1, shortest=2.0
    )
    inside = (slice(margin, margin + shape[0]), slice(margin, margin + shape[1]))
    level = np.quantile(field[inside], 1.0 - cover) if cover < 1.0 else float(field.min()) - 0.5
    # Thickness grows steeply from a thin rim; the rim below the threshold is the haze around a cloud.
    whole = np.maximum(field - level + 0.06, 0.0)
    thickness = (CLOUD_DEPTH * (whole / 0.06) ** 1.35).astype(np.float32)
    sunlit = thickness[
        margin - rows : margin - rows + shape[0],
        margin - cols : margin - cols + shape[1],
    ]
    return Clouds(thickness[inside], ndimage.gaussian_filter(sunlit, 1.0), height_m, (rows, cols))
