"""The verb `tomography`: scatterers in three dimensions, and their motion, from a stack of complex radar images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.core.files import ensure_writable_folder
from ecumene.core.progress import Progress, silent
from ecumene.physics.tomography.grid import SearchGrid, make_grid
from ecumene.physics.tomography.noise import LEAST_DIMENSIONS, estimate_noise, noise_subspace
from ecumene.physics.tomography.noise_by_fit import noise_by_fit
from ecumene.physics.tomography.order import order_penalties
from ecumene.physics.tomography.result import INVALID, Scatterers
from ecumene.physics.tomography.sl1mmer import TomographyOptions, invert_stack
from ecumene.workflows.tomography_stack import ComplexStack, open_complex_stack

_STRIP_PIXELS = 1 << 17
_NOISE_ROWS = 64


@dataclass(frozen=True)
class TomographyProduct:
    """What was written.

    Attributes:
        folder: The product's folder.
        points: GeoParquet of the scatterers.
        laz: Point cloud as LAZ, if written.
        picture: Elevation profile of one row, if written.
        scatterers: Number of points.
        pixels: Pixels with 0, 1, 2, ... scatterers.
        outliers: Points that must not be trusted.
        rayleigh_m: Rayleigh resolution in elevation, metres.
        noise_variance: Noise that the error bars rest on.
    """

    folder: Path
    points: Path
    laz: Path | None
    picture: Path | None
    scatterers: int
    pixels: tuple[int, ...]
    outliers: int
    rayleigh_m: float
    noise_variance: float


def tomography(
    scenes: Sequence[str | Path],
    baselines: str | Path,
    out: str | Path,
    *,
    elevation_m: tuple[float, float],
    motion: Sequence[str] = (),
    motion_ranges: Sequence[tuple[float, float]] | None = None,
    method: str = "sl1mmer",
    max_scatterers: int = 2,
    criterion: str = "map",
    oversampling: float = 10.0,
    looks: int = 1,
    noise_variance: float | None = None,
    reference: tuple[int, int] | None = None,
    wavelength_m: float | None = None,
    slant_range_m: float | None = None,
    incidence_deg: float | None = None,
    passes: int = 2,
    sign: int = 1,
    laz: bool | None = None,
    profile_row: int | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> TomographyProduct:
    """Find the scatterers of every pixel and write them as points and layers.

    The points lie at the pixel's place in the images' grid, with their height above the surface that was
    removed in preprocessing; they are not shifted for layover.

    Args:
        scenes: One complex image an acquisition: coregistered, flat earth and atmosphere removed.
        baselines: The stack's table, see `open_complex_stack`.
        out: Folder of the product.
        elevation_m: Lowest and highest elevation to search, metres.
        motion: Of `linear`, `seasonal`, `thermal`.
        motion_ranges: Lowest and highest value of each motion parameter; None: defaults.
        method: `sl1mmer` or `svd-wiener`.
        max_scatterers: Most scatterers a pixel.
        criterion: Of the number of scatterers: `map`, `bic` or `aic`.
        oversampling: Grid points a Rayleigh unit of elevation.
        looks: Side of a window whose pixels are taken as snapshots of the same scatterers (1: single look).
        noise_variance: sigma^2 of one sample; None: estimated from the stack (`estimate_noise`, or `noise_by_fit`
            where no acquisition is to spare).
        reference: Row and column of a stable pixel at elevation 0.
        wavelength_m: Where the table has none; so are the following two.
        slant_range_m: Distance from sensor to scene.
        incidence_deg: Incidence angle.
        passes: 2 for repeat pass, 1 for bistatic.
        sign: Phase convention.
        laz: Write a LAZ point cloud; None: if laspy is installed.
        profile_row: Row whose elevation profile is drawn; None: the middle one.
        overwrite: Replace a product that is in the folder.
        progress: Called with (rows done, rows, what).

    Returns:
        What was written.

    Raises:
        EcumeneError: With a sentence, for unusable files, tables, options or folders.
    """
    from ecumene.workflows.tomography_picture import draw_profile
    from ecumene.workflows.tomography_product import Provenance, write_product

    if looks < 1 or looks % 2 == 0:
        raise ConfigurationError(f"The side of the snapshot window must be odd, not {looks}.")
    stack, geometry = open_complex_stack(
        scenes, baselines, wavelength_m=wavelength_m, slant_range_m=slant_range_m, incidence_deg=incidence_deg,
        passes=passes, sign=sign, motion=motion, reference=reference,
    )  # fmt: skip
    row = stack.shape[0] // 2 if profile_row is None else profile_row
    if not 0 <= row < stack.shape[0]:
        raise ConfigurationError(f"The profile's row {row} lies outside of the {stack.shape[0]} rows of the images.")
    grid = make_grid(geometry, elevation_m, motion_ranges=motion_ranges, oversampling=oversampling)
    folder = ensure_writable_folder(out)
    if (folder / "item.json").exists() and not overwrite:
        raise ConfigurationError(f"{folder} holds a product already; choose another folder or give --overwrite.")
    options = TomographyOptions(method=method, max_scatterers=max_scatterers, criterion=criterion)
    order_penalties(criterion, max_scatterers, geometry.count, len(grid.axes), looks * looks)  # refuses too few images
    noise, source = _noise(stack, grid, options) if noise_variance is None else (float(noise_variance), "stated")
    found = _invert_all(stack, grid, noise, looks, options, progress)
    provenance = Provenance(stack, grid, options, looks, noise, source, reference)
    (folder / "item.json").unlink(missing_ok=True)  # from here on the folder holds no finished product
    picture = draw_profile(folder / "profile.png", grid, stack.read(row, 1)[:, 0], found, row, noise)
    written = write_product(folder, found, provenance, laz, picture)
    points = int(found.count.sum())
    return TomographyProduct(
        folder=folder,
        points=written.points,
        laz=written.laz,
        picture=picture,
        scatterers=points,
        pixels=tuple(int(n) for n in np.bincount(found.count[found.valid], minlength=max_scatterers + 1)),
        outliers=int(found.count[found.outlier].sum()),
        rayleigh_m=geometry.rayleigh_m,
        noise_variance=noise,
    )


def _usable(pixels: NDArray[np.complex128]) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(pixels).all(axis=1) & (np.abs(pixels) > 0).all(axis=1))


def _noise(stack: ComplexStack, grid: SearchGrid, options: TomographyOptions) -> tuple[float, str]:
    """One noise level from rows spread over the whole stack, and what it was estimated from."""
    step = max(1, stack.shape[0] // _NOISE_ROWS)
    rows = [stack.read(row, 1)[:, 0].T for row in range(0, stack.shape[0], step)]
    pixels = np.concatenate(rows)
    pixels = pixels[_usable(pixels)]
    if pixels.size == 0:
        raise ConfigurationError("No pixel has finite data in all acquisitions; check the files of the stack.")
    if noise_subspace(grid).shape[1] >= LEAST_DIMENSIONS:
        return float(estimate_noise(grid, pixels).variance[0]), "what no scatterer in the searched extent explains"
    return float(noise_by_fit(grid, pixels, options).variance[0]), "residuals of the fitted scatterers"


def _invert_all(
    stack: ComplexStack, grid: SearchGrid, noise: float, looks: int, options: TomographyOptions, progress: Progress
) -> Scatterers:
    height, width = stack.shape
    rows = max(1, _STRIP_PIXELS // (width * looks * looks))
    parts: list[Scatterers] = []
    for first in range(0, height, rows):
        count = min(rows, height - first)
        half = looks // 2
        cube = stack.read(first - half, count + 2 * half)
        parts.append(_invert_strip(cube, grid, noise, looks, options))
        progress(first + count, height, "rows")
    if all((part.flags & INVALID).all() for part in parts):
        raise ConfigurationError("No pixel has finite data in all acquisitions; check the files of the stack.")
    names = [name for name in Scatterers.__dataclass_fields__ if name != "geometry"]
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return Scatterers(geometry=grid.geometry, **joined)


def _invert_strip(
    cube: NDArray[np.complex128], grid: SearchGrid, noise: float, looks: int, options: TomographyOptions
) -> Scatterers:
    half = looks // 2
    padded = np.pad(cube, ((0, 0), (0, 0), (half, half)))
    views = np.lib.stride_tricks.sliding_window_view(padded, (looks, looks), axis=(1, 2))  # [N, H, W, l, l]
    pixels = views.transpose(1, 2, 0, 3, 4).reshape(-1, cube.shape[0], looks * looks)
    if looks > 1:
        # A window that reaches over the border or missing data would hold fewer snapshots than the others.
        whole = np.asarray(np.isfinite(pixels).all(axis=(1, 2)) & (np.abs(pixels) > 0).all(axis=(1, 2)))
    else:
        whole = _usable(pixels[:, :, 0])
    if not whole.any():
        return _nothing(grid, len(pixels), looks * looks, options)
    masked = np.where(whole[:, None, None], pixels, 0.0)
    return invert_stack(grid, masked, noise_variance=noise, options=options)


def _nothing(grid: SearchGrid, pixels: int, looks: int, options: TomographyOptions) -> Scatterers:
    most, dims = options.max_scatterers, len(grid.axes)
    blank = np.full((pixels, most, dims), np.nan)
    return Scatterers(
        geometry=grid.geometry,
        count=np.zeros(pixels, np.int64),
        parameters=blank,
        standard_deviation=blank,
        amplitude=np.full((pixels, most, looks), np.nan, np.complex128),
        amplitude_standard_deviation=np.full((pixels, most), np.nan),
        phase_standard_deviation=np.full((pixels, most, looks), np.nan),
        noise_variance=np.full(pixels, np.nan),
        residual=np.full(pixels, np.nan),
        coherence=np.full(pixels, np.nan),
        scores=np.full((pixels, most + 1), np.nan),
        flags=np.full(pixels, INVALID, np.uint8),
    )
