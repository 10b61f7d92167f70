"""Small-baseline series: motion, its rate and the error of the DEM from many interferograms.

Berardino, Fornaro, Lanari and Sansosti, "A new algorithm for surface deformation monitoring based on small
baseline differential SAR interferograms", IEEE TGRS 40(11), 2002, inverts pairs to acquisitions and fits a model
to them. Here both steps are one generalised least-squares problem per pixel,

    phase = A (G beta + a) + e,      a ~ N(0, s_a^2 I),      e ~ N(0, s^2 W^-1)

with `A` the pairs, `G` the motion model and the DEM error, `W` the inverse phase variances from coherence and
looks, `a` the noise of acquisitions (atmosphere, motion that the model lacks). What differs from the paper:

- `s^2` comes from the misfit inside the network (loops) and only ever enlarges the errors: averaged
  interferograms of the same images have correlated noise, so that small misfits prove little;
- `s_a^2` is the estimate of Mandel and Paule (Rukhin, "Estimating heterogeneity variance in meta-analysis",
  J. R. Stat. Soc. B 75(3), 2013): residuals of the model decide the error bars of the rate, which thus hold with
  an atmosphere that is white in time;
- subsets of acquisitions without a common pair are bridged by the model itself (as in NSBAS: Lopez-Quiroz et
  al., J. Appl. Geophys. 69(1), 2009) in place of the minimum-norm velocity, and are flagged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.physics.interferometry.checks import coherence_stack, phase_stack
from ecumene.physics.interferometry.geometry import RadarGeometry
from ecumene.physics.interferometry.network import PairNetwork, closure_phases
from ecumene.physics.interferometry.phase_statistics import phase_deviation

INVALID = 1
"""Too few usable interferograms for the unknowns."""
CLOSURE = 2
"""A loop of three pairs has whole cycles left: an unwrapping error."""
POOR_FIT = 4
"""The phases contradict each other by more than coherence explains (chi-square test of the network)."""
BRIDGED = 8
"""Subsets of acquisitions have no common pair; the model alone joins them."""
LOW_COHERENCE = 16
"""The temporal coherence of the inversion is below the threshold."""

OUTLIER_FLAGS = CLOSURE | POOR_FIT | LOW_COHERENCE
"""Flags with which a pixel must not be trusted."""

MOTIONS = ("linear", "quadratic", "seasonal")


@dataclass(frozen=True)
class MotionSeries:
    """Motion of every pixel; towards the satellite is positive.

    Attributes:
        network: Pairs and dates.
        displacement_m: Along the line of sight since the first date, without the DEM error, metres, `[N, ...]`;
            NaN where not valid.
        displacement_deviation_m: Its standard deviation: phase noise and acquisition noise, `[N, ...]`.
        names: Names of the parameters: `rate`, `acceleration`, `sine`, `cosine`, `dem_error`.
        units: Their units: m/yr, m/yr^2, m, m, m.
        parameters: Values, `[D, ...]`.
        standard_deviation: Of the parameters, `[D, ...]`.
        unit_variance: Variance of unit weight s^2 inside the network, 1 or more where coherence is too
            optimistic, `[...]`.
        acquisition_deviation_m: Noise of single acquisitions s_a about the model, metres, `[...]`.
        reduced_misfit: Chi-square of the model per degree of freedom without acquisition noise, `[...]`.
        temporal_coherence: Of phases and series (Pepe and Lanari 2006), 0..1, `[...]`.
        observations: Interferograms used, `[...]`.
        flags: Bits of this module, uint8 `[...]`.
    """

    network: PairNetwork
    displacement_m: NDArray[np.float64]
    displacement_deviation_m: NDArray[np.float64]
    names: tuple[str, ...]
    units: tuple[str, ...]
    parameters: NDArray[np.float64]
    standard_deviation: NDArray[np.float64]
    unit_variance: NDArray[np.float64]
    acquisition_deviation_m: NDArray[np.float64]
    reduced_misfit: NDArray[np.float64]
    temporal_coherence: NDArray[np.float64]
    observations: NDArray[np.int64]
    flags: NDArray[np.uint8]

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Pixels that could be inverted."""
        return np.asarray((self.flags & INVALID) == 0)

    @property
    def outlier(self) -> NDArray[np.bool_]:
        """Pixels that must not be trusted."""
        return np.asarray((self.flags & OUTLIER_FLAGS) != 0)

    def parameter(self, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return value and standard deviation of a parameter (KeyError if there is none)."""
        if name not in self.names:
            raise KeyError(name)
        place = self.names.index(name)
        return self.parameters[place], self.standard_deviation[place]

    @property
    def velocity_m_per_year(self) -> NDArray[np.float64]:
        """Rate towards the satellite, metres a year, `[...]`."""
        return self.parameter("rate")[0]


def model_design(
    network: PairNetwork, geometry: RadarGeometry, motion: Sequence[str], dem_error: bool
) -> tuple[NDArray[np.float64], tuple[str, ...], tuple[str, ...]]:
    """Return phases per unit of every parameter `[N, D]`, names and units.

    Args:
        network: Dates and baselines.
        geometry: Scalar geometry (the scene's centre; DEM errors scale with range and incidence).
        motion: Names out of `MOTIONS`.
        dem_error: Estimate the error of the DEM, too.

    Raises:
        ConfigurationError: If a name is unknown, baselines are missing or all equal, or parameters cannot be told
            apart or are more than acquisitions allow.
    """
    unknown = [name for name in motion if name not in MOTIONS]
    if unknown or not motion:
        raise ConfigurationError(f"Choose the motion model out of {', '.join(MOTIONS)}; {list(motion)} is none.")
    years = network.years
    towards = -geometry.phase_per_metre
    turn = 2.0 * np.pi * years
    columns: list[NDArray[np.float64]] = []
    names: list[str] = []
    units: list[str] = []
    parts = {
        "linear": ((years,), ("rate",), ("m/yr",)),
        "quadratic": ((0.5 * years**2,), ("acceleration",), ("m/yr^2",)),
        "seasonal": ((np.sin(turn), np.cos(turn)), ("sine", "cosine"), ("m", "m")),
    }
    for name in dict.fromkeys(("linear", *motion)):  # every model has a rate
        values, labels, of = parts[name]
        columns += [towards * value for value in values]
        names += labels
        units += of
    if dem_error:
        baselines = network.acquisition_baselines()
        if np.ptp(baselines) <= 1e-9 * max(1.0, float(np.abs(baselines).max())):
            raise ConfigurationError(
                "All baselines are equal, so the error of the DEM cannot be seen; leave it out (--no-dem-error)."
            )
        columns.append(np.asarray(geometry.height_rate(baselines)))
        names.append("dem_error")
        units.append("m")
    design = np.stack(columns, axis=1)
    if design.shape[1] > network.acquisitions - 1:
        raise ConfigurationError(
            f"{network.acquisitions} acquisitions cannot decide {design.shape[1]} unknowns; "
            "choose a simpler motion model or add acquisitions."
        )
    seen = network.incidence @ design
    if np.linalg.matrix_rank(seen / np.linalg.norm(seen, axis=0), tol=1e-6) < design.shape[1]:
        raise ConfigurationError(
            "Motion and baselines are linearly dependent in these pairs, so they cannot be told apart; "
            "leave out a motion model or the DEM error."
        )
    return design, tuple(names), tuple(units)


def invert_series(
    phase: ArrayLike,
    coherence: ArrayLike,
    network: PairNetwork,
    geometry: RadarGeometry,
    looks: float,
    *,
    motion: Sequence[str] = ("linear",),
    dem_error: bool = True,
    minimum_pairs: int | None = None,
    minimum_temporal_coherence: float = 0.7,
    level: float = 1e-3,
    rescale: bool = True,
) -> MotionSeries:
    """Invert unwrapped, referenced interferograms to motion with error bars.

    Args:
        phase: Unwrapped phases, radians, `[M, ...]`, referenced (see `reference`); NaN means no data.
        coherence: Coherence `[M, ...]` or what broadcasts to it, 0..1; weights the phases.
        network: The pairs.
        geometry: Wavelength, range and incidence. Arrays of the image's shape are allowed for these: the DEM
            error is then scaled pixel by pixel.
        looks: Independent looks behind the phases.
        motion: Out of `MOTIONS`; a rate is always there.
        dem_error: Estimate the error of the DEM from the baselines, too.
        minimum_pairs: Interferograms that a pixel needs; None: two more than unknowns.
        minimum_temporal_coherence: Below it a pixel is flagged.
        level: Probability of the chi-square test that flags contradicting phases.
        rescale: Enlarge errors by the misfit inside the network.

    Returns:
        The series.

    Raises:
        ConfigurationError: See `model_design`; also if there are fewer pairs than unknowns.
        ContractError: If shapes do not fit, a phase is infinite, or there is no coherence at all.
    """
    from ecumene.physics.interferometry.sbas_kernels import invert_pixels

    stack = phase_stack(phase, network.pairs)
    quality_in = coherence_stack(coherence, stack.shape)
    lever = np.asarray(geometry.slant_range_m) * np.sin(np.radians(geometry.incidence_deg))
    centre = float(np.mean(lever))
    scalar = RadarGeometry(geometry.wavelength_m, centre, 90.0 - 1e-9, geometry.passes, geometry.sign)
    design, names, units = model_design(network, scalar, motion, dem_error)
    needed = design.shape[1] + 2 if minimum_pairs is None else max(minimum_pairs, design.shape[1])
    if network.pairs < needed:
        raise ConfigurationError(
            f"{network.pairs} interferograms cannot decide {design.shape[1]} unknowns with error bars; "
            f"give at least {needed}."
        )
    shape, pixels = stack.shape[1:], int(np.prod(stack.shape[1:], dtype=np.int64))
    flat, weight = _weights(stack, quality_in, looks)
    usable = (weight > 0).sum(axis=1) >= needed
    weight[~usable] = 0.0
    out = {
        "parameters": np.full((pixels, len(names)), np.nan),
        "covariance": np.full((pixels, len(names), len(names)), np.nan),
        "series": np.full((pixels, network.acquisitions), np.nan),
        "deviation": np.full((pixels, network.acquisitions), np.nan),
        "quality": np.full((pixels, 6), np.nan),
    }
    invert_pixels(flat, weight, network.first_index, network.second_index, design, rescale, *(out[key] for key in out))
    if dem_error:
        _without_dem_error(out, design)
    scaled = _scale_dem_error(out, names, lever / centre, shape)
    flags = _flags(out["quality"], network, closure_phases(stack, network).suspect.ravel(), level)
    flags[out["quality"][:, 5] < minimum_temporal_coherence] |= LOW_COHERENCE
    flags[(flags & INVALID) != 0] = INVALID
    return _assemble(scaled, network, geometry, names, units, shape, flags)


def _weights(
    stack: NDArray[np.float64], coherence: NDArray[np.float64], looks: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return phases and inverse variances `[P, M]`; weight 0 without data or coherence."""
    deviation = phase_deviation(np.clip(coherence, 0.0, 0.999), looks)
    known = np.isfinite(stack) & (coherence > 0) & (deviation > 0)
    weight = np.where(known, 1.0 / np.square(np.where(known, deviation, 1.0)), 0.0)
    flat = np.where(known, stack, 0.0).reshape(stack.shape[0], -1)
    return np.ascontiguousarray(flat.T), np.ascontiguousarray(weight.reshape(stack.shape[0], -1).T)


def _without_dem_error(out: dict[str, NDArray[np.float64]], design: NDArray[np.float64]) -> None:
    """Take the DEM error's phase out of the series, and its uncertainty into the series' error."""
    step = design[:, -1] - design[0, -1]
    out["series"] -= out["parameters"][:, -1:] * step
    out["deviation"] = np.sqrt(np.square(out["deviation"]) + out["covariance"][:, -1, -1, None] * np.square(step))


def _scale_dem_error(
    out: dict[str, NDArray[np.float64]], names: tuple[str, ...], relative: NDArray[np.float64], shape: tuple[int, ...]
) -> dict[str, NDArray[np.float64]]:
    """Heights scale with range and incidence: from the scene's centre to every pixel."""
    if "dem_error" not in names or np.all(relative == 1.0):
        return out
    place = names.index("dem_error")
    factor = np.broadcast_to(relative, shape).ravel()
    out["parameters"][:, place] *= factor
    out["covariance"][:, place, :] *= factor[:, None]
    out["covariance"][:, :, place] *= factor[:, None]
    return out


def _flags(
    quality: NDArray[np.float64], network: PairNetwork, suspect: NDArray[np.bool_], level: float
) -> NDArray[np.uint8]:
    from scipy.stats import chi2

    flags = np.zeros(len(quality), np.uint8)
    rank, observations, scale = quality[:, 0], quality[:, 1], quality[:, 2]
    flags[~(rank >= 0)] = INVALID
    flags[suspect] |= CLOSURE
    redundant = observations - rank
    limit = chi2.isf(level, np.maximum(redundant, 1)) / np.maximum(redundant, 1)
    with np.errstate(invalid="ignore"):
        flags[(redundant > 0) & (scale > limit)] |= POOR_FIT
        flags[(rank >= 0) & (rank < network.acquisitions - 1)] |= BRIDGED
    return flags


def _assemble(
    out: dict[str, NDArray[np.float64]],
    network: PairNetwork,
    geometry: RadarGeometry,
    names: tuple[str, ...],
    units: tuple[str, ...],
    shape: tuple[int, ...],
    flags: NDArray[np.uint8],
) -> MotionSeries:
    per_metre = abs(geometry.phase_per_metre)
    quality = out["quality"].T.reshape(6, *shape)
    acquisition = np.sqrt(quality[3]) / per_metre
    noise = out["deviation"].T.reshape(-1, *shape) / per_metre
    other = np.ones(noise.shape[0])
    other[0] = 0.0  # the first date is zero by definition; all others carry its noise and their own
    total = np.sqrt(noise**2 + 2.0 * acquisition**2 * other.reshape(-1, *([1] * len(shape))))
    variances = np.diagonal(out["covariance"], axis1=1, axis2=2)
    return MotionSeries(
        network=network,
        displacement_m=geometry.displacement(out["series"].T.reshape(-1, *shape)),
        displacement_deviation_m=total,
        names=names,
        units=units,
        parameters=np.ascontiguousarray(out["parameters"].T).reshape(-1, *shape),
        standard_deviation=np.sqrt(np.ascontiguousarray(variances.T)).reshape(-1, *shape),
        unit_variance=quality[2],
        acquisition_deviation_m=acquisition,
        reduced_misfit=quality[4],
        temporal_coherence=quality[5],
        observations=quality[1].astype(np.int64),
        flags=flags.reshape(shape),
    )
