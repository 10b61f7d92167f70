"""`ecumene retrieve`: gas columns from spectra."""

from __future__ import annotations

from typing import Annotated

import typer

from ecumene.cli import options as opt


@opt.grouped(declaration=opt.DECLARATION)
def retrieve(
    spectra: Annotated[str, typer.Argument(help="Cube of top-of-atmosphere reflectance.", show_default=False)],
    out: opt.Out,
    sun_zenith: Annotated[float, typer.Option(help="Sun zenith angle, degrees.", show_default=False)],
    state: Annotated[list[str] | None, typer.Option(help="Gases: h2o, o2, co2, ch4, o3; by commas.")] = None,
    view_zenith: Annotated[float, typer.Option(help="View zenith angle, degrees.")] = 0.0,
    noise: Annotated[float | None, typer.Option(help="Noise of one reflectance; else the sensor's.")] = None,
    window: Annotated[list[str] | None, typer.Option(help="Wavelengths to use, e.g. 0.86:1.03 (micrometres).")] = None,
    surface_order: Annotated[int, typer.Option(help="Degree of the surface's polynomial.")] = 3,
    shift: Annotated[bool, typer.Option("--shift", help="Fit a wavelength shift as well.")] = False,
    method: Annotated[str, typer.Option(help="optimal-estimation or network.")] = "optimal-estimation",
    seed: Annotated[int, typer.Option(help="Of the network.")] = 0,
    overwrite: opt.Overwrite = False,
    *,
    declaration: opt.Group,
) -> None:
    """Retrieve atmospheric columns: value, error bar, outlier flag, validity, with STAC Item and quick-look."""
    from ecumene.cli.printing import print_product
    from ecumene.core.errors import ConfigurationError
    from ecumene.core.progress import progress_bar
    from ecumene.workflows.retrieve import retrieve as run

    windows: list[tuple[float, float]] = []
    for text in opt.split_list(window) or []:
        try:
            low, high = (float(part) for part in text.split(":"))
        except ValueError as error:
            raise ConfigurationError(
                f"--window {text!r} is not two wavelengths in micrometres, e.g. 0.86:1.03."
            ) from error
        windows.append((low, high))
    with progress_bar("retrieve") as progress:
        product = run(
            spectra,
            out,
            state=opt.split_list(state) or ["h2o"],
            sun_zenith_deg=sun_zenith,
            view_zenith_deg=view_zenith,
            noise=noise,
            windows_um=windows or None,
            surface_order=surface_order,
            shift=shift,
            method=method,
            seed=seed,
            overwrite=overwrite,
            progress=progress,
            **declaration,
        )
    print_product(product)
