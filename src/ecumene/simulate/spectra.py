"""Reflectance of pure surfaces from 0.4 to 2.5 micrometres, parametric.

Vegetation is an optically thick canopy whose shape follows what leaf and canopy models (PROSPECT,
Jacquemoud and Baret 1990; SAIL, Verhoef 1984) and spectral libraries agree on: chlorophyll absorbs at 0.43
and 0.67 micrometres, the red edge lies near 0.715 and moves to longer waves with more chlorophyll, the
near infrared is a plateau, leaf water absorbs at 0.97, 1.2, 1.45 and 1.94. Everything else is a line through
rounded values, typical of what spectral libraries show (soils: Baumgardner et al. 1985, Stoner and
Baumgardner 1981; urban surfaces: Herold et al. 2004, Heiden et al. 2007, LUMA of Kotthaus et al. 2014;
waters: Kirk 2011). The values are rounded by hand, none is a measurement, and none is copied from a library.

Each surface has a pair of end-members; an object lies somewhere between the two (fresh and old asphalt,
dry and moist soil), which makes most of the variability within a class, and much of the overlap between
classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecumene.simulate.cover import Material

_NODES_UM = (0.40, 0.44, 0.49, 0.56, 0.665, 0.705, 0.74, 0.783, 0.84, 0.865, 0.945, 1.375, 1.61, 2.20, 2.50)

_LINES: dict[str, tuple[float, ...]] = {
    "water clear": (
        0.022,
        0.026,
        0.030,
        0.026,
        0.013,
        0.010,
        0.008,
        0.007,
        0.006,
        0.006,
        0.004,
        0.002,
        0.003,
        0.002,
        0.002,
    ),
    "water turbid": (
        0.045,
        0.052,
        0.065,
        0.098,
        0.088,
        0.076,
        0.050,
        0.046,
        0.038,
        0.034,
        0.020,
        0.004,
        0.007,
        0.004,
        0.004,
    ),
    "dry plants": (0.05, 0.06, 0.08, 0.13, 0.18, 0.20, 0.23, 0.25, 0.28, 0.29, 0.31, 0.33, 0.36, 0.25, 0.22),
    "petals": (0.03, 0.035, 0.06, 0.24, 0.22, 0.27, 0.38, 0.44, 0.47, 0.48, 0.46, 0.22, 0.26, 0.14, 0.10),
    "soil dark": (0.03, 0.035, 0.045, 0.065, 0.095, 0.105, 0.115, 0.127, 0.143, 0.148, 0.165, 0.19, 0.22, 0.17, 0.15),
    "soil bright": (0.08, 0.10, 0.125, 0.18, 0.26, 0.28, 0.295, 0.31, 0.33, 0.335, 0.36, 0.40, 0.44, 0.38, 0.34),
    "asphalt fresh": (0.045, 0.05, 0.055, 0.063, 0.07, 0.073, 0.076, 0.08, 0.084, 0.086, 0.09, 0.10, 0.11, 0.105, 0.10),
    "asphalt old": (0.10, 0.11, 0.12, 0.14, 0.16, 0.167, 0.172, 0.177, 0.183, 0.186, 0.19, 0.205, 0.225, 0.21, 0.20),
    "concrete dark": (0.12, 0.135, 0.15, 0.175, 0.20, 0.205, 0.21, 0.215, 0.22, 0.222, 0.225, 0.24, 0.26, 0.24, 0.22),
    "concrete bright": (
        0.22,
        0.245,
        0.27,
        0.31,
        0.34,
        0.347,
        0.353,
        0.358,
        0.363,
        0.365,
        0.367,
        0.37,
        0.39,
        0.36,
        0.33,
    ),
    "tile new": (0.055, 0.065, 0.08, 0.12, 0.25, 0.28, 0.30, 0.315, 0.325, 0.33, 0.35, 0.42, 0.45, 0.40, 0.36),
    "tile weathered": (0.05, 0.057, 0.066, 0.09, 0.145, 0.16, 0.17, 0.18, 0.188, 0.192, 0.205, 0.25, 0.27, 0.24, 0.22),
    "bitumen": (0.04, 0.045, 0.05, 0.055, 0.06, 0.062, 0.064, 0.066, 0.069, 0.07, 0.073, 0.085, 0.095, 0.09, 0.085),
    "slate": (0.09, 0.10, 0.11, 0.12, 0.13, 0.133, 0.136, 0.14, 0.145, 0.147, 0.15, 0.165, 0.18, 0.17, 0.16),
    "metal bright": (0.36, 0.40, 0.43, 0.45, 0.46, 0.455, 0.45, 0.435, 0.42, 0.42, 0.44, 0.47, 0.48, 0.44, 0.40),
    "metal painted": (0.12, 0.15, 0.165, 0.16, 0.155, 0.16, 0.17, 0.18, 0.19, 0.195, 0.205, 0.22, 0.235, 0.20, 0.18),
    "gravel grey": (0.13, 0.15, 0.17, 0.20, 0.23, 0.238, 0.245, 0.25, 0.258, 0.262, 0.27, 0.29, 0.31, 0.28, 0.26),
    "gravel light": (0.20, 0.23, 0.27, 0.33, 0.39, 0.40, 0.41, 0.42, 0.43, 0.432, 0.44, 0.46, 0.49, 0.44, 0.40),
}


def canopy(wavelength_um: ArrayLike, *, chlorophyll: float, water: float, plateau: float) -> NDArray[np.float64]:
    """Return the reflectance of an optically thick canopy.

    Args:
        wavelength_um: Wavelengths in micrometres.
        chlorophyll: Relative absorption of the pigments, about 0.5 (pale) to 1.5 (dark green).
        water: Relative absorption of leaf water, about 0.5 to 1.6.
        plateau: Reflectance of the near-infrared plateau, about 0.2 (conifers) to 0.5 (lush grass).

    Returns:
        Reflectance, 0..1, of the shape of `wavelength_um`.
    """
    w = np.asarray(wavelength_um, np.float64)

    def dip(centre: float, width: float) -> NDArray[np.float64]:
        return np.exp(-0.5 * ((w - centre) / width) ** 2)

    pigments = 2.4 * dip(0.43, 0.06) + 1.6 * dip(0.485, 0.035) + 2.3 * dip(0.672, 0.026) + 1.5 * dip(0.62, 0.042)
    edge = 0.712 + 0.010 * chlorophyll
    rise = 1.0 / (1.0 + np.exp(-(w - edge) / 0.0125))
    visible = 0.42 * plateau * np.exp(-chlorophyll * 0.75 * pigments)
    infrared = plateau * (1.0 + 0.08 * np.tanh((w - 0.78) / 0.06))
    liquid = 0.10 * dip(0.97, 0.03) + 0.16 * dip(1.20, 0.05) + 1.15 * dip(1.46, 0.11) + 1.9 * dip(1.96, 0.16)
    liquid = liquid + 0.85 * np.clip((w - 1.3) / 0.9, 0.0, 1.6)
    return (visible * (1.0 - rise) + infrared * rise) * np.exp(-water * liquid)


_CANOPIES: dict[str, tuple[float, float, float]] = {
    "leaves pale": (0.95, 1.0, 0.36),
    "leaves dark": (1.25, 1.20, 0.33),
    "needles pale": (1.0, 1.1, 0.25),
    "needles dark": (1.45, 1.35, 0.18),
    "grass pale": (0.50, 0.55, 0.32),
    "grass lush": (0.75, 0.75, 0.39),
    "cereal pale": (0.80, 0.9, 0.42),
    "cereal lush": (1.3, 1.25, 0.50),
    "maize pale": (0.90, 1.10, 0.44),
    "maize lush": (1.25, 1.40, 0.52),
    "beet pale": (0.75, 1.20, 0.46),
    "beet lush": (1.05, 1.50, 0.55),
}

END_MEMBERS: tuple[str, ...] = (*_LINES, *_CANOPIES)
"""Names of the end-members, in the order of the spectra."""


@dataclass(frozen=True)
class Look:
    """How a material varies.

    Attributes:
        pair: The two end-members that an object lies between.
        spread: Standard deviation of the logarithm of an object's brightness.
        texture: Standard deviation of the logarithm of the brightness of single cells.
        variety: 0 keeps objects at the middle of the pair, 1 spreads them from one end to the other.
    """

    pair: tuple[str, str]
    spread: float
    texture: float
    variety: float = 0.85


LOOKS: dict[Material, Look] = {
    Material.WATER: Look(("water clear", "water turbid"), 0.08, 0.03),
    Material.BROADLEAF: Look(("leaves pale", "leaves dark"), 0.05, 0.18),
    Material.CONIFER: Look(("needles pale", "needles dark"), 0.05, 0.17),
    Material.GRASS: Look(("grass pale", "grass lush"), 0.06, 0.10),
    Material.WINTER_CEREAL: Look(("cereal pale", "cereal lush"), 0.05, 0.06),
    Material.MAIZE: Look(("maize pale", "maize lush"), 0.05, 0.08),
    Material.RAPESEED: Look(("cereal pale", "cereal lush"), 0.05, 0.06),
    Material.ROOT_CROP: Look(("beet pale", "beet lush"), 0.05, 0.08),
    Material.SOIL: Look(("soil dark", "soil bright"), 0.12, 0.12),
    Material.ASPHALT: Look(("asphalt fresh", "asphalt old"), 0.06, 0.08, 0.6),
    Material.CONCRETE: Look(("concrete dark", "concrete bright"), 0.12, 0.08),
    Material.TILE: Look(("tile new", "tile weathered"), 0.15, 0.10),
    Material.DARK_ROOF: Look(("bitumen", "slate"), 0.18, 0.10),
    Material.METAL: Look(("metal painted", "metal bright"), 0.20, 0.06),
    Material.GRAVEL: Look(("gravel grey", "gravel light"), 0.12, 0.12),
}


@cache
def _band_spectra(bands: tuple[tuple[float, float], ...]) -> NDArray[np.float64]:
    spectra = np.empty((len(END_MEMBERS), len(bands)))
    # Five points across the width stand for the spectral response: bands are narrow against the features.
    offsets = np.linspace(-0.4, 0.4, 5)
    for column, (centre, width) in enumerate(bands):
        waves = centre + width * offsets
        for row, name in enumerate(END_MEMBERS):
            if name in _LINES:
                values = np.interp(waves, _NODES_UM, _LINES[name])
            else:
                chlorophyll, water, plateau = _CANOPIES[name]
                values = canopy(waves, chlorophyll=chlorophyll, water=water, plateau=plateau)
            spectra[row, column] = values.mean()
    return spectra


def band_spectra(centres_um: ArrayLike, widths_um: ArrayLike) -> NDArray[np.float64]:
    """Return the reflectance of all end-members in the bands of an instrument.

    Args:
        centres_um: Centre wavelengths of the bands, micrometres.
        widths_um: Full widths at half maximum, micrometres.

    Returns:
        float64 `[end-members, bands]`, reflectance 0..1, rows in the order of `END_MEMBERS`.
    """
    pairs = zip(np.atleast_1d(centres_um), np.atleast_1d(widths_um), strict=True)
    return _band_spectra(tuple((float(centre), float(width)) for centre, width in pairs)).copy()
