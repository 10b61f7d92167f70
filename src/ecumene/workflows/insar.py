"""The verb `insar`: motion, or heights, with error bars from interferograms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, ContractError
from ecumene.core.progress import Progress, silent
from ecumene.mapping.product import Product
from ecumene.physics.interferometry.atmosphere import atmospheric_screens, fit_ramp, remove_screens
from ecumene.physics.interferometry.checks import coherence_stack, phase_stack
from ecumene.physics.interferometry.geometry import RadarGeometry, slant_range_of
from ecumene.physics.interferometry.goldstein import goldstein_filter
from ecumene.physics.interferometry.network import PairNetwork
from ecumene.physics.interferometry.reference import apply_reference
from ecumene.physics.interferometry.sbas import MotionSeries, invert_series
from ecumene.physics.interferometry.unwrapping import components, unwrap
from ecumene.workflows.array_product import ArrayProduct, check_free, input_record, write_array_product
from ecumene.workflows.insar_heights import joint_heights, reference_point, unwrapped_heights
from ecumene.workflows.insar_input import RasterStack, order_by_pairs, read_pairs, read_rasters
from ecumene.workflows.insar_layers import motion_layers, motion_results
from ecumene.workflows.number_layers import Layer

RAMPS = {"none": None, "offset": 0, "plane": 1, "quadratic": 2}
QUANTITIES = ("auto", "velocity", "height")
Paths = Sequence[str | Path]


@dataclass(frozen=True)
class InsarOptions:
    """Options of the processing; all are written into the product.

    Attributes:
        looks: Independent looks behind phases and coherence.
        quantity: `velocity`, `height`, or `auto` (a single pair gives height).
        motion: Out of linear, quadratic, seasonal.
        dem_error: Estimate the error of the DEM with the motion.
        reference: `auto` (best coherence), `median` (of the image), or `X,Y` in the grid's coordinate system.
        ramp: Fitted to each interferogram and removed: none, offset, plane, quadratic.
        atmosphere_pixels: Width of the spatial low-pass of the atmosphere, pixels; 0: not filtered.
        atmosphere_days: Width of the temporal low-pass, days.
        goldstein: Alpha of Goldstein's filter before unwrapping; None: no filter; -1: from coherence.
        unwrapping: `minimum-cost-flow` or `reliability`, for wrapped input.
        wrapped: Real input is wrapped phase (complex input always is).
        minimum_coherence: Pixels of a pair below it are left out.
        minimum_temporal_coherence: Below it a pixel is flagged.
        height_range_m: Lowest and highest height to search jointly in the wrapped phases of all pairs, without
            unwrapping (`few_baseline.estimate_heights`); None: each pair is unwrapped.
    """

    looks: float
    quantity: str = "auto"
    motion: tuple[str, ...] = ("linear",)
    dem_error: bool = True
    reference: str = "auto"
    ramp: str = "none"
    atmosphere_pixels: float = 0.0
    atmosphere_days: float = 30.0
    goldstein: float | None = None
    unwrapping: str = "minimum-cost-flow"
    wrapped: bool = False
    minimum_coherence: float = 0.0
    minimum_temporal_coherence: float = 0.7
    height_range_m: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot work before any file is read."""
        if self.quantity not in QUANTITIES:
            raise ConfigurationError(f"{self.quantity!r} cannot be mapped; choose one of: {', '.join(QUANTITIES)}.")
        if self.ramp not in RAMPS:
            raise ConfigurationError(f"There is no ramp {self.ramp!r}; choose one of: {', '.join(RAMPS)}.")
        if self.height_range_m is not None and self.quantity == "velocity":
            raise ConfigurationError("A range of heights is given, but velocity is asked for; leave out one of them.")
        if not self.looks >= 1:
            raise ConfigurationError(f"The number of looks must be at least 1, not {self.looks}.")


def insar(
    interferograms: Paths,
    pairs: str | Path,
    out: str | Path,
    *,
    coherence: Paths,
    looks: float,
    wavelength_m: float,
    incidence_deg: float,
    slant_range_m: float | None = None,
    orbit_height_m: float | None = None,
    dem: str | Path | None = None,
    passes: int = 2,
    sign: int = 1,
    nodata: float | None = None,
    crs: str | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
    **options: Any,
) -> Product:
    """Turn interferograms into velocity, series and DEM error, or a single pair into height.

    Args:
        interferograms: Rasters with unwrapped phase (radians), wrapped phase, or complex values; one band a pair,
            flat Earth and topography removed.
        pairs: CSV with the columns `first`, `second` (dates) and `bperp_m` (b_second - b_first, metres).
        out: Folder of the product.
        coherence: Rasters with one band a pair, 0..1.
        looks: Independent looks behind the phases.
        wavelength_m: Radar wavelength, metres.
        incidence_deg: Incidence angle at the scene, degrees.
        slant_range_m: Slant range to the scene, metres; or give `orbit_height_m`.
        orbit_height_m: Height of the orbit, metres; the slant range follows on a spherical Earth.
        dem: Raster of heights on the same grid: removes delay that follows height, with the ramp.
        passes: 2 repeat pass, 1 bistatic.
        sign: -1 where the processor delivers `conj(first) * second`.
        nodata: Stored value without data, where the files do not say it.
        crs: Coordinate system of files that state none.
        overwrite: Replace a product in the folder.
        progress: Called with (done, total, what).
        **options: Fields of `InsarOptions`.

    Returns:
        The product: value, uncertainty, outlier, valid; series, DEM error and quality beside them.

    Raises:
        EcumeneError: With a sentence, for unusable files, tables, options or folders.
    """
    chosen = _options(looks, options)
    network = read_pairs(pairs, single_pass=passes == 1)
    as_height = _gives_height(chosen, network)
    geometry = RadarGeometry(
        wavelength_m, _slant_range(slant_range_m, orbit_height_m, incidence_deg), incidence_deg, passes, sign
    )
    folder = check_free(Path(out), overwrite)
    stack = read_rasters(interferograms, nodata=nodata, crs=crs)
    quality_stack = read_rasters(coherence, nodata=None, crs=crs)
    terrain = None if dem is None else read_rasters([dem], crs=crs)
    for other, what in ((quality_stack, "coherence"), (terrain, "DEM")):
        if other is not None and other.geobox != stack.geobox:
            raise ContractError(f"The {what} lies on another grid than the interferograms; bring it to theirs.")
    given = order_by_pairs(stack, network, "interferogram")
    phase_stack(np.abs(given) if np.iscomplexobj(given) else given, network.pairs)  # refuses infinite or missing phase
    quality = coherence_stack(order_by_pairs(quality_stack, network, "coherence").real, given.shape)
    layers: list[Layer]
    if chosen.height_range_m is not None:
        if chosen.ramp != "none" or terrain is not None or chosen.goldstein is not None:
            raise ConfigurationError(
                "Ramp, DEM and Goldstein's filter belong to unwrapping; leave them out with --height-range."
            )
        point = reference_point(given, quality, chosen.reference, stack)
        layers, valid, results = joint_heights(given, quality, network, geometry, chosen, point)
    else:
        phase = _unwrapped(given, quality, chosen, progress)
        phase, point = _referenced(phase, quality, chosen, stack, None if terrain is None else terrain.values[0].real)
        made = unwrapped_heights if as_height else _motion
        layers, valid, results = made(phase, quality, network, geometry, chosen, progress)
    files = [*stack.files, *quality_stack.files, *((terrain.files) if terrain else ()), Path(pairs)]
    results["reference_pixel"] = None if point is None else list(point)
    product = ArrayProduct(
        name="insar-height" if as_height else "insar-velocity",
        title="Height from interferometry" if as_height else "Line-of-sight velocity from interferometry",
        lineage=_lineage(as_height, network, chosen),
        geobox=stack.geobox,
        layers=layers,
        valid=valid,
        inputs=(input_record("interferograms", "radar", files),),
        start=f"{network.dates[0]}T00:00:00Z",
        end=f"{network.dates[-1]}T00:00:00Z",
        parameters=_parameters(chosen, geometry),
        results=results,
    )
    progress(1, 1, "writing")
    return write_array_product(folder, product)


def _gives_height(options: InsarOptions, network: PairNetwork) -> bool:
    """Whether heights are asked for, or are all that these pairs can give."""
    if network.single_pass and options.quantity == "velocity":
        raise ConfigurationError(
            "Bistatic pairs have no time between their images, so they give heights, not velocity."
        )
    alone = network.single_pass or network.pairs == 1 or options.height_range_m is not None
    return options.quantity == "height" or (options.quantity == "auto" and alone)


def _options(looks: float, options: dict[str, Any]) -> InsarOptions:
    given = {key: value for key, value in options.items() if value is not None}
    unknown = sorted(set(given) - set(InsarOptions.__dataclass_fields__))
    if unknown:
        raise ConfigurationError(f"There is no option {unknown[0]!r} of insar.")
    if "motion" in given:
        motion = given["motion"]
        given["motion"] = tuple(motion.split(",")) if isinstance(motion, str) else tuple(motion)
    return InsarOptions(looks=looks, **given)


def _slant_range(slant_range_m: float | None, orbit_height_m: float | None, incidence_deg: float) -> float:
    if slant_range_m is not None:
        return float(slant_range_m)
    if orbit_height_m is None:
        raise ConfigurationError(
            "The slant range is unknown; give --slant-range in metres, or --orbit-height (Sentinel-1: 693000)."
        )
    return float(slant_range_of(incidence_deg, orbit_height_m))


def _unwrapped(
    given: NDArray[Any], quality: NDArray[np.float64], options: InsarOptions, progress: Progress
) -> NDArray[np.float64]:
    """Unwrap what is wrapped; leave out what has too little coherence, and areas apart from the largest."""
    usable = np.isfinite(given) & np.isfinite(quality) & (quality >= options.minimum_coherence)
    if not np.iscomplexobj(given) and not options.wrapped:
        return np.where(usable, given, np.nan)
    phase = np.full(given.shape, np.nan)
    for m, (band, coherent, valid) in enumerate(zip(given, quality, usable, strict=True)):
        progress(m, len(given), "unwrapping")
        if not valid.any():
            raise ContractError(
                f"Interferogram {m + 1} has no usable pixel; leave it out or lower the coherence limit."
            )
        field = band
        if options.goldstein is not None:
            alpha = None if options.goldstein < 0 else options.goldstein
            field = goldstein_filter(np.where(valid, band, np.nan), alpha, coherence=coherent)
        labels, _ = components(valid)
        largest = labels == 1 + int(np.argmax(np.bincount(labels[labels > 0])[1:]))
        phase[m] = unwrap(field, np.nan_to_num(coherent), method=options.unwrapping, valid=largest)
    return phase


def _referenced(
    phase: NDArray[np.float64],
    quality: NDArray[np.float64],
    options: InsarOptions,
    stack: RasterStack,
    height: NDArray[np.float64] | None,
) -> tuple[NDArray[np.float64], tuple[int, int] | None]:
    degree = RAMPS[options.ramp]
    if degree is None and height is not None:
        degree = 0
    if degree is not None:
        phase = np.stack([band - fit_ramp(band, height_m=height, degree=degree) for band in phase])
    point = reference_point(phase, quality, options.reference, stack)
    return apply_reference(phase, point), point


def _motion(
    phase: NDArray[np.float64],
    quality: NDArray[np.float64],
    network: PairNetwork,
    geometry: RadarGeometry,
    options: InsarOptions,
    progress: Progress,
) -> tuple[list[tuple[Any, NDArray[Any]]], NDArray[np.bool_], dict[str, Any]]:
    def inverted(values: NDArray[np.float64]) -> MotionSeries:
        return invert_series(
            values,
            np.nan_to_num(quality),
            network,
            geometry,
            options.looks,
            motion=options.motion,
            dem_error=options.dem_error,
            minimum_temporal_coherence=options.minimum_temporal_coherence,
        )

    progress(0, 2, "inversion")
    series = inverted(phase)
    if options.atmosphere_pixels > 0:
        progress(1, 2, "atmosphere")
        screens = atmospheric_screens(
            series, geometry, sigma_pixels=options.atmosphere_pixels, cutoff_days=options.atmosphere_days
        )
        phase = remove_screens(phase, screens, network)
        series = inverted(phase)
    return motion_layers(series), series.valid, motion_results(series, phase)


def _lineage(as_height: bool, network: PairNetwork, options: InsarOptions) -> str:
    if options.height_range_m is not None:
        what = "Heights searched jointly in the wrapped phases of all pairs, weighted by coherence"
    elif as_height:
        what = "Heights from unwrapped phase, combined by inverse variance"
    else:
        what = (
            f"Small-baseline inversion with the motion model {'+'.join(options.motion)}"
            f"{' and DEM error' if options.dem_error else ''}; positive towards the satellite"
        )
    return f"{what}; {network.pairs} interferograms of {network.acquisitions} acquisitions."


def _parameters(options: InsarOptions, geometry: RadarGeometry) -> dict[str, Any]:
    values = {name: getattr(options, name) for name in InsarOptions.__dataclass_fields__}
    values["motion"] = list(options.motion)
    return values | {
        "wavelength_m": geometry.wavelength_m,
        "slant_range_m": float(np.mean(geometry.slant_range_m)),
        "incidence_deg": float(np.mean(geometry.incidence_deg)),
        "passes": geometry.passes,
        "sign": geometry.sign,
    }
