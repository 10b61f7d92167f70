"""Top-of-atmosphere reflectance of a gas-absorbing, weakly scattering atmosphere, with analytic Jacobians.

    y(band) = integral g(lambda; band) [ rho_a (lambda/0.55)^-1.3 T^s + rho(lambda) T ] d lambda
    T(lambda) = exp(-sum over gases of tau_g),  tau_g = c_g (sqrt(1 + 2 u S_g(lambda) / c_g) - 1)

with the slant column u = vertical column * air mass (1/cos sun + 1/cos view), Malkmus's band model with
saturation c = pi B / 2 (Malkmus 1967; Liou 2002, "An Introduction to Atmospheric Radiation", eq. 4.4.17),
surface reflectance rho a polynomial, path reflectance rho_a of aerosol at 0.55 micrometres that sees the share s
of the absorption (scattering height), and Gaussian instrument responses g. A wavelength shift of the
instrument enters through the first and second derivative of g.

Left out, so that the model stays closed and fast: multiple scattering between surface and air, polarisation, the
height dependence of line shapes, Fraunhofer lines (spectra are reflectances), and surface anisotropy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix

from ecumene.core.errors import ConfigurationError, ContractError
from ecumene.physics.retrieval.bands import Gas, get_gas

Float = NDArray[np.float64]

_REFERENCE_UM = 0.55
_ANGSTROM = 1.3
_PATH_SHARE = 0.3
_FWHM = 2.0 * math.sqrt(2.0 * math.log(2.0))
_POINTS_PER_FWHM = 4.0
_REACH_SIGMA = 5.5
_NEGATIVE_DEPTH = 0.1


@dataclass(frozen=True)
class StateElement:
    """One element of the state vector."""

    name: str
    unit: str
    prior: float
    deviation: float


class ForwardModel:
    """Reflectance spectra from atmospheric and surface states.

    Args:
        center_um: Centre wavelengths of the bands, micrometres `[M]`.
        fwhm_um: Full widths at half maximum, micrometres `[M]` or one for all.
        air_mass: Two-way air mass, 1/cos(sun zenith) + 1/cos(view zenith).
        gases: Names of built-in gases or `Gas` entries that are retrieved.
        surface_order: Degree of the polynomial of the surface reflectance.
        path: Retrieve the aerosol's path reflectance; else it is 0.
        shift: Retrieve a wavelength shift, nanometres; else it is 0.

    Raises:
        ConfigurationError: If the geometry, a gas or the polynomial is out of range.
        ContractError: If wavelengths or widths are missing, not positive, or disagree in number.
    """

    def __init__(
        self,
        center_um: ArrayLike,
        fwhm_um: ArrayLike,
        air_mass: float,
        gases: tuple[str | Gas, ...] = ("h2o",),
        *,
        surface_order: int = 3,
        path: bool = True,
        shift: bool = False,
    ) -> None:
        center = np.asarray(center_um, np.float64)
        try:
            width = np.broadcast_to(np.asarray(fwhm_um, np.float64), center.shape)
        except ValueError as error:
            raise ContractError("Every spectral band needs one centre wavelength and one width.") from error
        if center.ndim != 1 or center.size < 3 or not (np.all(center > 0.0) and np.all(width > 0.0)):
            raise ContractError("A retrieval needs at least three bands with positive centre wavelengths and widths.")
        if not (math.isfinite(air_mass) and 2.0 <= air_mass <= 30.0):
            raise ConfigurationError(f"The two-way air mass lies between 2 and 30, but is {air_mass:g}.")
        if not gases or not 0 <= surface_order <= 8:
            raise ConfigurationError(
                "A forward model needs at least one gas, and a surface polynomial of degree 0 to 8."
            )
        self.center_um, self.fwhm_um, self.air_mass = center, np.asarray(width), float(air_mass)
        self.gases = tuple(get_gas(gas) if isinstance(gas, str) else gas for gas in gases)
        if len({gas.name for gas in self.gases}) != len(self.gases):
            raise ConfigurationError("A gas is named twice in the state.")
        self.surface_order, self.has_path, self.has_shift = surface_order, path, shift
        self._fine = self._fine_grid()
        self._strength = np.stack([self._absorption(gas) for gas in self.gases])
        self._response = self._responses()
        middle, half = 0.5 * (center.max() + center.min()), max(0.5 * (center.max() - center.min()), 1e-6)
        self._basis = np.polynomial.legendre.legvander((self._fine - middle) / half, surface_order)
        self._scatter = (self._fine / _REFERENCE_UM) ** -_ANGSTROM

    @property
    def elements(self) -> tuple[StateElement, ...]:
        """The state vector's elements with a weak default prior: gases, surface coefficients, path, shift."""
        found = [StateElement(gas.name, gas.unit, gas.typical, gas.deviation) for gas in self.gases]
        found += [
            StateElement(f"surface_{k}", "1", 0.3 if k == 0 else 0.0, 0.1 if k == 0 else 0.08 / (k + 1))
            for k in range(self.surface_order + 1)
        ]
        if self.has_path:
            found.append(StateElement("path", "1", 0.03, 0.015))
        if self.has_shift:
            found.append(StateElement("shift", "nm", 0.0, 0.3))
        return tuple(found)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the state's elements."""
        return tuple(element.name for element in self.elements)

    @property
    def linear(self) -> NDArray[np.bool_]:
        """Elements in which spectra are linear while the others are fixed: surface and path, `[n]`."""
        return np.array([name == "path" or name.startswith("surface_") for name in self.names])

    @property
    def bands(self) -> int:
        """Number of spectral bands."""
        return int(self.center_um.size)

    def prior(self) -> tuple[Float, Float]:
        """Return prior mean `[n]` and covariance `[n, n]` (diagonal) of the state."""
        elements = self.elements
        return (
            np.array([element.prior for element in elements]),
            np.diag([element.deviation**2 for element in elements]),
        )

    def informative_bands(self, *, floor: float = 0.05) -> NDArray[np.bool_]:
        """Return the bands whose typical gas transmittance is above `floor`: darker ones hold noise only."""
        tau = np.sum([self._depth(k, np.array([gas.typical]))[0] for k, gas in enumerate(self.gases)], axis=0)
        return np.asarray((self._response[0] @ np.exp(-tau))[:, 0] > floor)

    def __call__(self, state: NDArray[Any]) -> tuple[Float, Float]:
        """Return spectra and Jacobians.

        Args:
            state: `[P, n]`, in the order of `elements`.

        Returns:
            (reflectance `[P, M]`, dy/dx `[P, M, n]`).

        Raises:
            ContractError: If the state's length is wrong.
        """
        x = np.atleast_2d(np.asarray(state, np.float64))
        if x.shape[1] != len(self.elements):
            raise ContractError(
                f"The state has {x.shape[1]} elements, but the forward model takes {len(self.elements)}: "
                f"{', '.join(self.names)}."
            )
        fine = self._fine_spectra(x)
        if not self.has_shift:
            seen = self._through(0, fine)
            return np.ascontiguousarray(seen[..., 0]), np.ascontiguousarray(seen[..., 1:])
        by = x[:, -1][:, None, None] * 1e-3  # nanometres to micrometres
        zeroth, first, second = (self._through(order, fine) for order in range(3))
        seen = zeroth + by * first + 0.5 * by**2 * second
        to_shift = 1e-3 * (first[..., :1] + by * second[..., :1])
        return np.ascontiguousarray(seen[..., 0]), np.concatenate([seen[..., 1:], to_shift], axis=2)

    def _fine_spectra(self, x: Float) -> Float:
        """Return spectrum and Jacobian columns (but the shift's) on the fine grid, `[F, 1 + n, P]`."""
        count, order = len(self.gases), self.surface_order + 1
        depths = [self._depth(k, x[:, k]) for k in range(count)]
        tau = np.sum([depth for depth, _ in depths], axis=0)
        through, above = np.exp(-tau), np.exp(-_PATH_SHARE * tau) * self._scatter[:, None]
        surface = self._basis @ x[:, count : count + order].T
        path = x[:, count + order] if self.has_path else np.zeros(len(x))
        reflected, scattered = surface * through, path * above
        slope = -(reflected + _PATH_SHARE * scattered)
        result = np.empty((self._fine.size, 1 + count + order + int(self.has_path), len(x)))
        result[:, 0] = reflected + scattered
        for k, (_, derivative) in enumerate(depths):
            result[:, 1 + k] = slope * derivative
        for k in range(order):
            result[:, 1 + count + k] = through * self._basis[:, k : k + 1]
        if self.has_path:
            result[:, -1] = above
        return result

    def _through(self, order: int, fine: Float) -> Float:
        """See `[F, n, P]` through the instrument (or a derivative of it): `[P, M, n]`."""
        seen = self._response[order] @ fine.reshape(fine.shape[0], -1)
        return np.asarray(seen).reshape(self.bands, *fine.shape[1:]).transpose(2, 0, 1)

    def _fine_grid(self) -> Float:
        margin = 2.0 * float(self.fwhm_um.max())
        # Fine enough for the instrument and for the narrowest absorption band.
        narrowest = min((band.width_um for gas in self.gases for band in gas.bands), default=np.inf)
        step = min(float(self.fwhm_um.min()) / _POINTS_PER_FWHM, 0.6 * narrowest)
        low, high = float(self.center_um.min()) - margin, float(self.center_um.max()) + margin
        grid = np.linspace(low, high, int(np.ceil((high - low) / step)) + 1)
        near = (np.abs(grid[:, None] - self.center_um) <= 3.0 * self.fwhm_um + step).any(axis=1)
        return np.asarray(grid[near])

    def _absorption(self, gas: Gas) -> Float:
        """Strength of a gas on the fine grid, per unit of column."""
        total = np.zeros_like(self._fine)
        for band in gas.bands:
            total += band.strength * np.exp(-0.5 * ((self._fine - band.center_um) / band.width_um) ** 2)
        return total

    def _responses(self) -> tuple[Any, Any, Any]:
        """Normalised Gaussian responses (sparse `[M, F]`) and their first two derivatives by the centre wavelength."""
        sigma = (self.fwhm_um / _FWHM)[:, None]
        t = (self._fine - self.center_um[:, None]) / sigma
        bell = np.exp(-0.5 * t**2) * (np.abs(t) <= _REACH_SIGMA)
        area = bell.sum(axis=1, keepdims=True)
        first, second = bell * t / sigma, bell * (t**2 - 1.0) / sigma**2
        # A constant spectrum stays constant whatever the shift: the derivatives sum to zero.
        first = first / area - bell / area * (first / area).sum(axis=1, keepdims=True)
        second = second / area - bell / area * (second / area).sum(axis=1, keepdims=True)
        return csr_matrix(bell / area), csr_matrix(first), csr_matrix(second)

    def _depth(self, index: int, column: Float) -> tuple[Float, Float]:
        """Optical depth `[F, P]` of a gas and its derivative by the vertical column.

        Negative columns, through which an iteration may pass, have a smooth bounded continuation: the depth
        tends to -0.1, its slope at 0 is the weak limit's.
        """
        strength = (self._strength[index] * self.air_mass)[:, None]
        saturation = self.gases[index].saturation
        root = np.sqrt(1.0 + 2.0 * np.maximum(column, 0.0) * strength / saturation)
        decay = np.exp(np.minimum(column, 0.0) * strength / _NEGATIVE_DEPTH)
        depth = saturation * (root - 1.0) - _NEGATIVE_DEPTH * (1.0 - decay)
        return depth, strength * decay / root


def two_way_air_mass(sun_zenith_deg: float, view_zenith_deg: float = 0.0) -> float:
    """Return 1/cos(sun zenith) + 1/cos(view zenith) of a plane-parallel atmosphere.

    Raises:
        ConfigurationError: If an angle is not in [0, 80] degrees, beyond which the Earth's curvature matters.
    """
    for name, angle in (("sun", sun_zenith_deg), ("view", view_zenith_deg)):
        if not 0.0 <= angle <= 80.0:
            raise ConfigurationError(f"The {name} zenith angle must be in [0, 80] degrees, but is {angle}.")
    return 1.0 / math.cos(math.radians(sun_zenith_deg)) + 1.0 / math.cos(math.radians(view_zenith_deg))
