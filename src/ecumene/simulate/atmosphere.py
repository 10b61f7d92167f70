"""A one-layer atmosphere in closed form, good to a few thousandths of reflectance for the bands used here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Two-way transmittance of water vapour, ozone, oxygen and other gases for an air mass of 2 (sun at 0, nadir
# view) in a mid-latitude summer, at the wavelengths of Sentinel-2's bands; rounded, typical of radiative
# transfer with 6S (Vermote et al. 1997). Narrow features between the nodes are not resolved.
_GAS_UM = (0.40, 0.443, 0.49, 0.56, 0.665, 0.705, 0.74, 0.783, 0.835, 0.865, 0.945, 1.375, 1.61, 2.20, 2.50)
_GAS = (1.0, 0.995, 0.982, 0.915, 0.945, 0.955, 0.955, 0.985, 0.955, 0.995, 0.30, 0.004, 0.965, 0.945, 0.90)


@dataclass(frozen=True)
class Atmosphere:
    """Optical properties in each band.

    Attributes:
        path: Path reflectance of air and aerosol.
        down: Transmittance from the sun to the ground, direct and diffuse.
        up_direct: Direct transmittance from the ground to the sensor.
        up_diffuse: Diffuse transmittance from the ground to the sensor.
        diffuse_share: Diffuse part of the irradiance on the ground.
        albedo: Spherical albedo of the atmosphere.
        gas: Two-way gaseous transmittance.
    """

    path: NDArray[np.float64]
    down: NDArray[np.float64]
    up_direct: NDArray[np.float64]
    up_diffuse: NDArray[np.float64]
    diffuse_share: NDArray[np.float64]
    albedo: NDArray[np.float64]
    gas: NDArray[np.float64]

    def gain(self, band: int) -> tuple[float, float]:
        """Return slope and intercept of top-of-atmosphere reflectance over surface reflectance in a band."""
        up = self.up_direct[band] + self.up_diffuse[band]
        return float(self.gas[band] * self.down[band] * up), float(self.gas[band] * self.path[band])

    def to_top(self, surface: NDArray, around: NDArray) -> NDArray[np.float32]:
        """Return top-of-atmosphere reflectance.

        The diffuse part of the signal comes from the surroundings (adjacency): Vermote et al. 1997, eq. 12.

        Args:
            surface: Surface reflectance `[bands, H, W]`.
            around: The same, averaged over the surroundings.

        Returns:
            float32 `[bands, H, W]`.
        """
        result = np.empty(surface.shape, np.float32)
        for band, (ground, near) in enumerate(zip(surface, around, strict=True)):
            mixed = self.up_direct[band] * ground + self.up_diffuse[band] * near
            coupled = self.down[band] * mixed / (1.0 - self.albedo[band] * near)
            result[band] = self.gas[band] * (self.path[band] + coupled)
        return result


def clear_atmosphere(
    wavelength_um: ArrayLike, sun_cosine: float, *, aerosol: float = 0.12, angstrom: float = 1.3
) -> Atmosphere:
    """Return the optics of a cloudless atmosphere for a nadir view.

    Rayleigh optical depth from Hansen and Travis (1974); aerosol optical depth by Angstrom's law; path
    reflectance in single scattering with Henyey-Greenstein aerosol (g = 0.65); total transmittances and
    spherical albedo as fitted by Tanre et al. (1979).

    Args:
        wavelength_um: Centre wavelengths, micrometres.
        sun_cosine: Cosine of the sun's zenith angle.
        aerosol: Aerosol optical depth at 0.55 micrometres.
        angstrom: Angstrom exponent.
    """
    wave = np.asarray(wavelength_um, np.float64)
    rayleigh = 0.008569 * wave**-4 * (1.0 + 0.0113 * wave**-2 + 0.00013 * wave**-4)
    particles = aerosol * (wave / 0.55) ** -angstrom
    cos_scatter = -sun_cosine  # the sensor looks straight down
    phase_air = 0.75 * (1.0 + cos_scatter**2)
    g = 0.65
    phase_particles = (1.0 - g**2) / (1.0 + g**2 - 2.0 * g * cos_scatter) ** 1.5
    path = (rayleigh * phase_air + 0.95 * particles * phase_particles) / (4.0 * sun_cosine)
    effective = 0.52 * rayleigh + 0.16 * particles
    down, up = np.exp(-effective / sun_cosine), np.exp(-effective)
    direct_down, direct_up = np.exp(-(rayleigh + particles) / sun_cosine), np.exp(-(rayleigh + particles))
    gas = np.interp(wave, _GAS_UM, _GAS) ** (0.5 * (1.0 + 1.0 / sun_cosine))
    return Atmosphere(
        path=path,
        down=down,
        up_direct=direct_up,
        up_diffuse=up - direct_up,
        diffuse_share=1.0 - direct_down / down,
        albedo=(0.92 * rayleigh + 0.33 * particles) * np.exp(-(rayleigh + particles)),
        gas=gas,
    )
