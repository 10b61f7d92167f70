"""`ecumene tomography`: scatterers in three dimensions from a stack of complex radar images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ecumene.cli import options as opt


def tomography(
    images: Annotated[
        list[Path],
        typer.Argument(
            help="Single-look complex images, coregistered, one an acquisition.", metavar="SLC...", show_default=False
        ),
    ],
    baselines: Annotated[
        Path, typer.Option(help="CSV: baseline_m, and as needed file, time, temperature_c.", show_default=False)
    ],
    out: opt.Out,
    elevation: Annotated[str, typer.Option(help="Lowest and highest elevation to search, metres.")] = "-50,150",
    motion: Annotated[
        list[str] | None, typer.Option(help="linear, seasonal, thermal: repeat, or separate by commas.")
    ] = None,
    motion_range: Annotated[
        list[str] | None, typer.Option(help="LOW,HIGH of each motion parameter, in their order; repeat.")
    ] = None,
    method: Annotated[str, typer.Option(help="sl1mmer or svd-wiener.")] = "sl1mmer",
    max_scatterers: Annotated[int, typer.Option(help="Most scatterers in a pixel.")] = 2,
    criterion: Annotated[str, typer.Option(help="Of the number of scatterers: map, bic or aic.")] = "map",
    oversampling: Annotated[float, typer.Option(help="Grid points in a Rayleigh unit of elevation.")] = 10.0,
    looks: Annotated[int, typer.Option(help="Side of the window whose pixels share scatterers (1: single look).")] = 1,
    noise_variance: Annotated[
        float | None, typer.Option(help="Of one sample; estimated where it is not given.")
    ] = None,
    reference: Annotated[str | None, typer.Option(help="ROW,COLUMN of a stable pixel at elevation 0.")] = None,
    wavelength: Annotated[float | None, typer.Option(help="Radar wavelength, metres.")] = None,
    slant_range: Annotated[float | None, typer.Option(help="Distance from sensor to scene, metres.")] = None,
    incidence: Annotated[float | None, typer.Option(help="Incidence angle, degrees.")] = None,
    bistatic: Annotated[bool, typer.Option("--bistatic", help="One transmitter for all images (TanDEM-X).")] = False,
    conjugate: Annotated[bool, typer.Option("--conjugate", help="The processor's phase has the other sign.")] = False,
    laz: Annotated[
        bool | None, typer.Option("--laz/--no-laz", help="Write LAZ (default: if laspy is installed).")
    ] = None,
    profile_row: Annotated[int | None, typer.Option(help="Row whose elevation profile is drawn.")] = None,
    overwrite: opt.Overwrite = False,
) -> None:
    """Find scatterers along elevation, and how they move: points with error bars, layers, profile."""
    from ecumene.core.progress import progress_bar
    from ecumene.workflows.tomography import tomography as run

    with progress_bar("tomography") as progress:
        product = run(
            images,
            baselines,
            out,
            elevation_m=opt.split_pair(elevation, "--elevation"),
            motion=opt.split_list(motion) or (),
            motion_ranges=[opt.split_pair(text, "--motion-range") for text in motion_range] if motion_range else None,
            method=method,
            max_scatterers=max_scatterers,
            criterion=criterion,
            oversampling=oversampling,
            looks=looks,
            noise_variance=noise_variance,
            reference=None if reference is None else _pixel(reference),
            wavelength_m=wavelength,
            slant_range_m=slant_range,
            incidence_deg=incidence,
            passes=1 if bistatic else 2,
            sign=-1 if conjugate else 1,
            laz=laz,
            profile_row=profile_row,
            overwrite=overwrite,
            progress=progress,
        )
    shares = ", ".join(f"{count} with {k}" for k, count in enumerate(product.pixels))
    typer.echo(f"{product.scatterers} scatterers ({product.outliers} of them flagged) in {product.points}")
    typer.echo(f"pixels: {shares}; Rayleigh resolution in elevation {product.rayleigh_m:.1f} m")


def _pixel(text: str) -> tuple[int, int]:
    from ecumene.core.errors import ConfigurationError

    try:
        row, column = (int(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigurationError(f"--reference must be ROW,COLUMN as whole numbers, not {text!r}.") from error
    return row, column
