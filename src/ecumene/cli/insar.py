"""`ecumene insar`: motion or height from interferograms."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ecumene.cli import options as opt


def insar(
    interferograms: Annotated[
        list[Path],
        typer.Argument(
            help="Rasters, one band a pair: unwrapped phase (rad), wrapped phase or complex.",
            metavar="IFG...",
            show_default=False,
        ),
    ],
    pairs: Annotated[Path, typer.Option(help="CSV with first, second (dates), bperp_m.", show_default=False)],
    coherence: Annotated[
        list[Path], typer.Option(help="Rasters, one band a pair, 0..1; repeat the option.", show_default=False)
    ],
    looks: Annotated[float, typer.Option(help="Independent looks of the interferograms.", show_default=False)],
    wavelength: Annotated[float, typer.Option(help="Radar wavelength, metres.", show_default=False)],
    incidence: Annotated[float, typer.Option(help="Incidence angle at the scene, degrees.", show_default=False)],
    out: opt.Out,
    slant_range: Annotated[float | None, typer.Option(help="Slant range to the scene, metres.")] = None,
    orbit_height: Annotated[float | None, typer.Option(help="Orbit height, metres, if no slant range.")] = None,
    quantity: Annotated[str, typer.Option(help="velocity, height, or auto (a single pair gives height).")] = "auto",
    height_range: Annotated[
        str | None,
        typer.Option(help="LOW,HIGH: search heights jointly in the wrapped phases of few pairs; no unwrapping."),
    ] = None,
    motion: Annotated[str, typer.Option(help="Out of linear, quadratic, seasonal; joined by commas.")] = "linear",
    dem_error: Annotated[bool, typer.Option("--dem-error/--no-dem-error", help="Estimate the DEM's error.")] = True,
    reference: Annotated[str, typer.Option(help="auto, median, or X,Y in the grid's system.")] = "auto",
    dem: Annotated[Path | None, typer.Option(help="DEM on the same grid: removes delay that follows height.")] = None,
    ramp: Annotated[str, typer.Option(help="Removed from each pair: none, offset, plane, quadratic.")] = "none",
    atmosphere: Annotated[float, typer.Option(help="Spatial width of the atmosphere filter, pixels; 0: off.")] = 0.0,
    atmosphere_days: Annotated[float, typer.Option(help="Temporal width of that filter, days.")] = 30.0,
    wrapped: Annotated[bool, typer.Option("--wrapped", help="Real input is wrapped phase.")] = False,
    unwrapping: Annotated[str, typer.Option(help="minimum-cost-flow or reliability.")] = "minimum-cost-flow",
    goldstein: Annotated[
        float | None, typer.Option(help="Alpha 0..1 of Goldstein's filter before unwrapping; -1: from coherence.")
    ] = None,
    minimum_coherence: Annotated[float, typer.Option(help="Leave out pixels of a pair below it.")] = 0.0,
    minimum_temporal_coherence: Annotated[float, typer.Option(help="Flag pixels below it.")] = 0.7,
    bistatic: Annotated[bool, typer.Option("--bistatic", help="One transmitter (TanDEM-X).")] = False,
    conjugate: Annotated[bool, typer.Option("--conjugate", help="The phase is that of conj(first) * second.")] = False,
    nodata: opt.Nodata = None,
    crs: opt.Crs = None,
    overwrite: opt.Overwrite = False,
) -> None:
    """Invert interferograms: velocity and series with error bars, DEM error; a single pair gives height."""
    from ecumene.cli.printing import print_product
    from ecumene.core.progress import progress_bar
    from ecumene.workflows.insar import insar as run

    heights = None if height_range is None else opt.split_pair(height_range, "--height-range", "two numbers of metres")
    with progress_bar("insar") as progress:
        product = run(
            interferograms,
            pairs,
            out,
            coherence=coherence,
            looks=looks,
            wavelength_m=wavelength,
            incidence_deg=incidence,
            slant_range_m=slant_range,
            orbit_height_m=orbit_height,
            dem=dem,
            passes=1 if bistatic else 2,
            sign=-1 if conjugate else 1,
            nodata=nodata,
            crs=crs,
            overwrite=overwrite,
            progress=progress,
            quantity=quantity,
            motion=motion,
            dem_error=dem_error,
            reference=reference,
            ramp=ramp,
            atmosphere_pixels=atmosphere,
            atmosphere_days=atmosphere_days,
            wrapped=wrapped,
            unwrapping=unwrapping,
            goldstein=goldstein,
            minimum_coherence=minimum_coherence,
            minimum_temporal_coherence=minimum_temporal_coherence,
            height_range_m=heights,
        )
    print_product(product)
