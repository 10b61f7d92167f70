"""Absorption bands of atmospheric gases as data.

A gas absorbs in bands; a band is a bell of line strength over wavelength. Within a few nanometres lines overlap as
Malkmus's statistical model says (Malkmus 1967, doi 10.1364/JOSA.57.000323). Centres are those of the
well-known near-infrared bands; widths and strengths are rounded, chosen so that two-way transmittances at 10 nm
resolution are typical of a mid-latitude summer (air mass 2.2). They are not spectroscopy: for columns that must
be traceable, hand in bands fitted to a line-by-line code. Everything else (Jacobians, error budget) holds for
any table.
"""

from __future__ import annotations

from dataclasses import dataclass

from ecumene.core.errors import ConfigurationError


@dataclass(frozen=True)
class AbsorptionBand:
    """One band.

    Attributes:
        center_um: Wavelength of the peak, micrometres.
        width_um: Half width at exp(-1/2) of the peak (Gaussian), micrometres.
        strength: Optical depth per unit of column in the weak limit, at the peak.
    """

    center_um: float
    width_um: float
    strength: float


@dataclass(frozen=True)
class Gas:
    """A gas of the forward model.

    Attributes:
        name: Name of its state element.
        unit: Unit of its vertical column.
        typical: Typical vertical column.
        deviation: Spread of it over the Earth, one standard deviation; the default prior.
        saturation: Malkmus's pi B / 2 with B the ratio of line width to line spacing: optical depth grows
            linearly below it and as a square root above it.
        bands: Its bands.
    """

    name: str
    unit: str
    typical: float
    deviation: float
    saturation: float
    bands: tuple[AbsorptionBand, ...]


def _bands(*entries: tuple[float, float, float]) -> tuple[AbsorptionBand, ...]:
    return tuple(AbsorptionBand(*entry) for entry in entries)


GASES: dict[str, Gas] = {
    gas.name: gas
    for gas in (
        Gas(
            "h2o",
            "kg m-2",
            20.0,
            7.0,
            0.35,
            _bands(
                (0.723, 0.008, 0.008),
                (0.820, 0.010, 0.009),
                (0.937, 0.018, 0.060),
                (1.130, 0.022, 0.075),
                (1.380, 0.030, 4.0),
                (1.870, 0.040, 5.0),
                (2.600, 0.090, 6.0),
            ),
        ),
        Gas(
            "o2",
            "hPa",
            1013.0,
            30.0,
            0.25,
            _bands((0.6880, 0.002, 4e-4), (0.7610, 0.0025, 3e-3), (1.2680, 0.006, 4e-4)),
        ),
        Gas(
            "co2",
            "ppm",
            415.0,
            12.0,
            0.30,
            _bands((1.5750, 0.006, 2.5e-4), (1.6060, 0.006, 2.5e-4), (2.0050, 0.010, 6e-3), (2.0600, 0.010, 4e-3)),
        ),
        Gas(
            "ch4",
            "ppb",
            1870.0,
            60.0,
            0.30,
            _bands((1.6660, 0.008, 5e-5), (2.2000, 0.015, 6e-5), (2.3200, 0.040, 3e-4)),
        ),
        Gas("o3", "DU", 320.0, 40.0, 50.0, _bands((0.5750, 0.035, 1.1e-4), (0.6020, 0.020, 5e-5))),
    )
}
"""Built-in gases by name; ozone's Chappuis band has no lines, so it stays in the linear limit."""


def get_gas(name: str) -> Gas:
    """Return a gas by name.

    Raises:
        ConfigurationError: If there is none of that name.
    """
    if name not in GASES:
        raise ConfigurationError(f"There is no gas {name!r} in the forward model; it has: {', '.join(GASES)}.")
    return GASES[name]
